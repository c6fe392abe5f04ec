# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot report``: one page that shows what the CG model does beside the atomistic reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("report")
    def report_command(
        analysis: Annotated[Path, typer.Option(help="Folder of 'cgpot analyze'.")],
        output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")],
        dataset: Annotated[Path | None, typer.Option(help="Folder of 'cgpot dataset'.")] = None,
        train: Annotated[Path | None, typer.Option(help="Folder of 'cgpot train'.")] = None,
        deploy: Annotated[Path | None, typer.Option(help="Folder of 'cgpot deploy'.")] = None,
        aa_speed: Annotated[
            Path | None, typer.Option(help="Speed of the atomistic engine (JSON).")
        ] = None,
        limits: Annotated[
            Path | None, typer.Option(help="YAML file with other limits than the default ones.")
        ] = None,
        title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
        command: Annotated[
            str | None, typer.Option(help="The command that made it all, to be shown.")
        ] = None,
        results: Annotated[
            Path | None, typer.Option(help="Write the flat results here too (JSON).")
        ] = None,
    ) -> None:
        """Write one self-contained HTML page, and the same as JSON and CSV."""
        from cgpot.core.config import load_yaml
        from cgpot.report.build import ReportInput, write_report
        from cgpot.report.limits import Limits

        record, rows = write_report(
            ReportInput(
                analysis=analysis,
                dataset=dataset,
                train=train,
                deploy=deploy,
                aa_speed=aa_speed,
                limits=load_yaml(limits, Limits) if limits else Limits(),
                title=title,
                command=command,
                results=results,
                parity=_parity(train),
            ),
            output,
        )
        _print(record, rows)
        typer.echo(
            f"written: {output}, {output.with_suffix('.json')}, {output.with_suffix('.csv')}"
        )


def _parity(train: Path | None) -> dict[str, Any] | None:
    """Held-out forces of the training folder, in case the analysis was made without them."""
    path = None if train is None else train / "parity.npz"
    if path is None or not path.is_file():
        return None
    from cgpot.analysis.parity import analyse_parity

    return analyse_parity(path)


def _print(record: dict[str, Any], rows: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=record["title"])
    for head in ("", "atomistic", "CG", "limit", ""):
        table.add_column(head)
    colours = {"met": "green", "missed": "red"}
    for row in rows:
        colour = colours.get(row.status, "dim")
        table.add_row(
            row.label,
            row.texts["aa"],
            row.texts["cg"],
            row.texts["limit"],
            f"[{colour}]{row.status}[/{colour}]",
        )
    console = Console()
    console.print(table)
    console.print(record["summary"])
