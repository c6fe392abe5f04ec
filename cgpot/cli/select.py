# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot select`: configurations that an ensemble does not know go back to the atomistic engine."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("select", no_args_is_help=True)
    def select_command(
        sources: list[Path] = typer.Argument(
            ..., help="Folders of 'cgpot md' with a spread threshold (or dumped frames)."
        ),
        output: Path = typer.Option(..., "-o", "--output", help="Folder (--average: data set)."),
        frames: int = typer.Option(8, "--frames", "-n", help="At most this many configurations."),
        temperature: float | None = typer.Option(
            None, "--temperature", "-T", min=1e-6, help="K; default: that of the run folder."
        ),
        length_ps: float = typer.Option(
            20.0, "--length-ps", min=1e-6, help="Length of each atomistic run, ps."
        ),
        mapping: Path | None = typer.Option(None, help="Mapping file, for the printed commands."),
        atomistic: bool = typer.Option(
            True, help="Write atomistic starts and decks (benzene, one site a molecule)."
        ),
        seed: int = typer.Option(1, min=1, help="Orientations, velocities, baths."),
        average: bool = typer.Option(
            False, "--average", help="Average mapped held runs into one frame each."
        ),
    ) -> None:
        """Choose uncertain configurations and write atomistic runs that hold them.

        The most uncertain frame of each stretch of the runs is taken. Afterwards
        'cgpot select --average frame.*/held.extxyz -o labelled.extxyz' turns the mapped runs into
        frames with mean forces, to be added to the training data.
        """
        from cgpot.workflow import active

        if average:
            count = active.average(sources, output)
            typer.echo(f"{output}: {count} frames with mean labels")
            return
        record = active.select(
            sources, output, count=frames, temperature=temperature, length_ps=length_ps,
            mapping=mapping, atomistic=atomistic, seed=seed,
        )  # fmt: skip
        chosen = record["frames"]
        typer.echo(
            f"{output}: {len(chosen)} of {record['candidates']} configurations, force spread "
            f"{min(f['force_spread_max'] for f in chosen):.3g} to "
            f"{max(f['force_spread_max'] for f in chosen):.3g} eV/Å"
        )
        if record["commands"]:
            typer.echo("in each frame.K:")
            for command in record["commands"][:2]:
                typer.echo(f"  {command}")
            typer.echo(f"then here:\n  {record['commands'][2]}")
