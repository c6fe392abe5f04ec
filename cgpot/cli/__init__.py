# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: ``cgpot map | dataset | train | deploy | plugin | doctor | md | ...``."""

from __future__ import annotations

import importlib
import sys

import typer

from cgpot import __version__
from cgpot.core.errors import CgpotError

COMMANDS = (
    "map",
    "dataset",
    "train",
    "distill",
    "evaluate",
    "deploy",
    "plugin",
    "doctor",
    "md",
    "analyze",
    "report",
    "refine",
    "study",
    "ensemble",
    "select",
    "noise",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"cgpot {__version__}")
        raise typer.Exit


def build_app(only: str | None = None) -> typer.Typer:
    """The application with all commands, or with one of `COMMANDS` alone (a faster start)."""
    app = typer.Typer(
        name="cgpot",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="From an atomistic trajectory to a validated coarse-grained potential in LAMMPS.",
    )

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ) -> None:
        """Turn an atomistic simulation into a CG potential, run it, and check it."""

    for name in COMMANDS if only is None else (only,):
        importlib.import_module(f"cgpot.cli.{name}").register(app)
    return app


def main(argv: list[str] | None = None) -> None:
    """Run the command line; a `CgpotError` is one line on stderr and exit status 2."""
    words = sys.argv[1:] if argv is None else argv
    only = words[0] if words and words[0] in COMMANDS else None
    try:
        build_app(only)(words)
    except CgpotError as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(2)
