# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot ensemble`: several models from one training file, and their spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("ensemble")
    def ensemble_command(
        config: Path = typer.Argument(..., help="YAML file of the training."),
        output: Path = typer.Option(..., "-o", "--output", help="Folder for all members."),
        members: int = typer.Option(4, "--members", "-k", help="Number of models."),
        bootstrap: bool = typer.Option(
            False, "--bootstrap", help="Resample the training frames of each member, in blocks."
        ),
        dataset: Path | None = typer.Option(
            None, "--dataset", help="Folder of 'cgpot dataset'; replaces the section 'data'."
        ),
        restart: bool = typer.Option(
            False, "--restart", help="Replace members with other inputs in the folder."
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Train models that differ by seed (and sample), to know where they can be trusted.

        Linear models (mscg, uf3) differ by their samples alone: they need --bootstrap.

        Deploy the folder with 'cgpot deploy' and run the ensemble with 'cgpot md --model FOLDER'.
        An interrupted call goes on with the same command.
        """
        from cgpot.ensemble.members import train_ensemble
        from cgpot.training.settings.train_settings import load_config

        done = train_ensemble(
            load_config(config, dataset),
            output,
            members,
            bootstrap=bootstrap,
            restart=restart,
            quiet=quiet,
            say=(lambda text: None) if quiet else (lambda text: typer.echo(text, err=True)),
        )
        _summary(done.content, done.file, done.skipped)


def _summary(content: dict[str, Any], file: Path, skipped: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if skipped:
        console.print(f"{file.parent} is complete and its inputs are unchanged; nothing to do")
    spread = content["spread"]
    table = Table(title=f"{len(content['members'])} members, {content['n_test']} test frames")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    rmse = spread["force_rmse_members"]
    rows = [
        ("force rmse of a member, eV/Å", f"{min(rmse):.5f} to {max(rmse):.5f}"),
        ("force rmse of their mean, eV/Å", f"{spread['force_rmse_mean']:.5f}"),
        ("rms of the labels, eV/Å", f"{spread['force_label_rms']:.5f}"),
        ("rms force spread of a bead, eV/Å", f"{spread['force_spread_rms']:.5f}"),
        ("largest, eV/Å", f"{spread['force_spread_max']:.5f}"),
        ("rank correlation with the error", _number(spread["spearman_spread_error"])),
        ("spread of the mean pressure, bar", f"{spread['pressure_spread_bar']:.1f}"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if content.get("mean"):
        console.print(f"the mean of the members is a model of its own: {file.parent / 'mean'}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
