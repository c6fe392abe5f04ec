# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot doctor`: is everything here that cgpot needs, and what to do where it is not."""

from __future__ import annotations

import json

import typer

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warning[/]", "fail": "[red]failed[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        as_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
    ) -> None:
        """Check compiler, versions, MPI, plugin and GPU; exit status 1 when one fails."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from cgpot.plugin.doctor import diagnose

        errors = Console(stderr=True)
        if as_json:
            checks = diagnose()
            typer.echo(json.dumps([check.as_dict() for check in checks], indent=2))
        else:
            with errors.status("checking") as status:
                checks = diagnose(status.update)
            table = Table("check", "status")
            table.add_column("found", overflow="fold")
            table.add_column("what to do", overflow="fold")
            for check in checks:
                table.add_row(
                    check.name, _MARKS[check.status], escape(check.found), escape(check.advice)
                )
            Console().print(table)
        failed = [check.name for check in checks if check.status == "fail"]
        if failed:
            errors.print(f"{len(failed)} check(s) failed: {', '.join(failed)}", style="red")
            raise typer.Exit(1)
