# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train`: from a data set to a trained model."""

from __future__ import annotations

from pathlib import Path

import typer

from cgpot.cli.slope_table import composition_cells, point_cells, slope_cells


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("train")
    def train_command(
        config: Path = typer.Argument(..., help="YAML file of the training."),
        output: Path = typer.Option(..., "-o", "--output", help="Folder for all files."),
        dataset: Path | None = typer.Option(
            None, "--dataset", help="Folder of 'cgpot dataset'; replaces the section 'data'."
        ),
        restart: bool = typer.Option(
            False, "--restart", help="Replace a run with other inputs in the folder."
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Fit the pair base, train the network on it, and evaluate both on held-out frames.

        A run that was interrupted goes on with the same command, with the same result.
        """
        from cgpot.training.settings.train_settings import load_config
        from cgpot.training.training_stage import train

        settings = load_config(config, dataset)
        outcome = train(settings, output, restart=restart, quiet=quiet)
        print_summary(outcome.folder, outcome.result, outcome.skipped, outcome.resumed)


def print_summary(folder: Path, result: dict[str, object], skipped: bool, resumed: bool) -> None:
    """Print what a training gave (`cgpot.training.folder.outcome.Outcome`)."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if skipped:
        console.print(f"{folder} is complete and its inputs are unchanged; nothing to do")
    elif resumed:
        console.print("went on from checkpoints/last.ckpt")
    kind = str(result.get("kind", "network"))
    table = Table("quantity", "network" if kind == "network" else "model", "pair fit", "labels")
    table.add_row(
        "force rmse (rms), eV/Å",
        f"{result['force_rmse']:.5f}",
        f"{result['force_rmse_pair_fit']:.5f}",
        f"{result['force_label_rms']:.5f}",
    )

    def residual(key: str) -> str:
        value = result[key]
        if not isinstance(value, dict):
            return "-"
        return f"{value['mean']:+.1f} ± {value['error']:.1f}"

    table.add_row(
        "mean pressure residual, bar",
        residual("pressure_residual_bar"),
        residual("pressure_residual_bar_pair_fit"),
        "0",
    )
    slope = result.get("pressure_slope")
    if isinstance(slope, dict):
        table.add_row("dP/dρ, bar/(kg/m^3)", *slope_cells(slope))
        for row in point_cells(slope):
            table.add_row(*row)
    for row in composition_cells(result.get("compositions")):  # type: ignore[arg-type]
        table.add_row(*row)
    console.print(table)
    explained = result.get("explained")
    if isinstance(explained, float):
        floor = result.get("noise_floor")
        text = "unknown (at most the error above)"
        if isinstance(floor, dict):
            text = f"{floor['rmse']:.5f} ± {floor['rmse_error']:.5f} eV/Å"
            if isinstance(result["explainable"], float):
                text += f", which leaves {100 * result['explainable']:.1f} % to explain"
            free = result.get("noise_free")
            if isinstance(free, dict):
                from cgpot.cli.evaluate import noise_free_text

                text += f"; force rmse without noise {noise_free_text(free)} eV/Å"
        console.print(
            f"of the label variance, {100 * explained:.1f} % explained; noise floor {text}"
        )
    warnings = result.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        console.print(f"warning: {warning}", style="yellow")
    if kind != "network":
        console.print(
            f"{result['n_parameters']} coefficients from {result['n_train']} frames in "
            f"{result['seconds']} s"
        )
        return
    console.print(
        f"{result['epochs']} epochs (best: {result['best_epoch']}), "
        f"{result['n_parameters']} weights, {result['seconds']} s, "
        f"{result['frames_per_second']} frames/s; model: {folder / 'model.ckpt'}"
    )
