# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot evaluate`: a trained model on any data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from cgpot.cli.slope_table import composition_cells, point_cells, slope_cells


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("evaluate")
    def evaluate_command(
        model: Path = typer.Argument(
            ..., help="Folder of 'cgpot train' or 'ensemble', or a model.ckpt."
        ),
        data: list[Path] = typer.Argument(..., help="extxyz files of 'cgpot map' or 'dataset'."),
        output: Path = typer.Option(..., "-o", "--output", help="Folder for all files."),
        noise: Path | None = typer.Option(
            None, "--noise", help="JSON of 'cgpot noise'; default: noise.json beside the data."
        ),
        threads: int = typer.Option(1, "--threads", min=1, help="CPU threads."),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Compare forces and pressure of a model with the labels of any data set.

        Writes evaluation.json, parity.npz (for 'cgpot analyze --parity') and parity.png.
        """
        from cgpot.training.evaluation.evaluation_stage import evaluate_model

        result = evaluate_model(model, data, output, noise=noise, threads=threads, quiet=quiet)
        _summary(output, result)


def noise_free_text(free: dict[str, Any]) -> str:
    """What is left of a force error above the floor, in words."""
    if free["within_error_of_zero"]:
        return f"0 within its error (< {free['rmse_error']:.5f})"
    return f"{free['rmse']:.5f} ± {free['rmse_error']:.5f}"


def _summary(folder: Path, result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def number(value: float | None, form: str = ".5f") -> str:
        return "-" if value is None else format(value, form)

    def residual(value: dict[str, float] | None) -> str:
        return "-" if not value else f"{value['mean']:+.1f} ± {value['error']:.1f}"

    pair = result.get("pair_fit") or {}
    table = Table("quantity", result["kind"], "pair fit", "labels")
    table.add_row(
        "force rmse (rms), eV/Å",
        number(result["force_rmse"]),
        number(pair.get("force_rmse")),
        number(result["force_label_rms"]),
    )
    for name, row in result["force_per_type"].items():
        if len(result["force_per_type"]) > 1:
            table.add_row(f"  {name}", number(row["rmse"]), "", number(row["label_rms"]))
    table.add_row("force correlation", number(result["force_correlation"], ".4f"), "", "")
    table.add_row("stress rmse, eV/Å^3", number(result["stress_rmse"], ".3e"), "", "")
    table.add_row(
        "mean pressure residual, bar",
        residual(result["pressure_residual_bar"]),
        residual(pair.get("pressure_residual_bar")),
        "0",
    )
    slope = result.get("pressure_slope")
    if slope:
        table.add_row("dP/dρ, bar/(kg/m^3)", *slope_cells(slope))
        for row in point_cells(slope):
            table.add_row(*row)
    for row in composition_cells(result.get("compositions")):
        table.add_row(*row)
    floor, free = result.get("noise_floor"), result.get("noise_free")
    if floor:
        text = f"{floor['rmse']:.5f} ± {floor['rmse_error']:.5f}"
        table.add_row("  noise floor of the labels, eV/Å", text, "", "")
    if free:
        table.add_row("  force rmse without noise, eV/Å", noise_free_text(free), "", "")
    console = Console()
    console.print(table)
    console.print(f"{result['n_frames']} frames; {folder / 'parity.png'}")
