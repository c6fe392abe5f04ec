# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot select`: configurations that an ensemble does not know go back to the atomistic engine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer


class Engine(StrEnum):
    """Atomistic engines that runs are written for."""

    lammps = "lammps"
    gromacs = "gromacs"


class Sampling(StrEnum):
    """What an atomistic run does."""

    held = "held"
    free = "free"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("select", no_args_is_help=True)
    def select_command(
        sources: list[Path] = typer.Argument(
            ...,
            help="Folders of 'cgpot md' with a spread threshold (or dumped frames); with --model "
            "any run folders, LAMMPS dumps or extxyz files.",
        ),
        output: Path = typer.Option(..., "-o", "--output", help="Folder (--average: data set)."),
        frames: int = typer.Option(8, "--frames", "-n", help="At most this many configurations."),
        model: list[Path] = typer.Option(
            [],
            "--model",
            help="Ensemble that judges every frame: folder of 'cgpot ensemble' (networks or "
            "linear models) or of its deployment; or several folders of 'cgpot train'.",
        ),
        threshold: float | None = typer.Option(
            None, "--threshold", min=0, help="With --model: least force spread of a bead, eV/Å."
        ),
        stride: int = typer.Option(1, min=1, help="With --model: judge every n-th frame."),
        temperature: float | None = typer.Option(
            None, "--temperature", "-T", min=1e-6, help="K; default: that of the run folder."
        ),
        atomistic: bool = typer.Option(
            True,
            help="Write atomistic starts and inputs (they need --structure and --mapping).",
        ),
        engine: Engine = typer.Option(Engine.lammps, help="Atomistic engine."),
        structure: Path | None = typer.Option(
            None,
            help="Atomistic structure of the same system: .tpr, .gro, .pdb, LAMMPS data file.",
        ),
        mapping: Path | None = typer.Option(None, help="Mapping file."),
        conformations: list[Path] = typer.Option(
            [], help="Coordinates of the same atoms (trajectories too) to take molecules from."
        ),
        topology: Path | None = typer.Option(None, help="GROMACS: your topol.top."),
        mdp: Path | None = typer.Option(
            None, help="GROMACS: your .mdp, for cutoffs and all that belongs to the force field."
        ),
        force_field: Path | None = typer.Option(
            None, help="LAMMPS: your units, styles, 'read_data ${data}' and coefficients."
        ),
        sampling: Sampling = typer.Option(
            Sampling.held, help="held: mean forces with the sites fixed; free: a run from them."
        ),
        length_ps: float = typer.Option(
            20.0, "--length-ps", min=1e-6, help="Length of each atomistic run, ps."
        ),
        equilibrate_ps: float = typer.Option(
            10.0, min=0, help="Length of the run before it, with the sites held, ps."
        ),
        anneal: float = typer.Option(
            2.0,
            min=1,
            help="The equilibration begins at this many times the temperature.",
        ),
        timestep_fs: float = typer.Option(1.0, min=1e-3, help="Of the atomistic runs, fs."),
        seed: int = typer.Option(1, min=1, help="Orientations, velocities, baths."),
        threads: int = typer.Option(1, min=1, help="With --model: CPU threads."),
        average: bool = typer.Option(
            False, "--average", help="Average mapped held runs into one frame each."
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Choose uncertain configurations and write atomistic runs that hold them.

        The most uncertain frame of each stretch of the runs is taken. Afterwards
        'cgpot select --average frame.*/held.extxyz -o labelled.extxyz' turns the mapped runs into
        frames with mean forces, to be added to the training data.
        """
        from cgpot.select.active import select
        from cgpot.select.atomistic_runs import AtomisticRuns
        from cgpot.select.averaging import average as average_runs

        if average:
            facts = average_runs(sources, output)
            typer.echo(f"{output}: {len(facts)} frames with mean labels")
            for fact in facts:
                warning = "; too short: run it longer" if fact.too_short else ""
                typer.echo(
                    f"  {fact.file}: {fact.left_out} of {fact.frames} frames left out at the "
                    f"start, {fact.samples:.1f} independent samples{warning}"
                )
            return
        runs = AtomisticRuns(
            engine=engine.value, structure=structure, mapping=mapping,
            conformations=tuple(conformations), topology=topology, mdp=mdp,
            force_field=force_field, sampling=sampling.value, length_ps=length_ps,
            equilibrate_ps=equilibrate_ps, timestep_fs=timestep_fs, anneal=anneal,
            seed=seed,
        )  # fmt: skip
        record = select(
            sources, output, count=frames, temperature=temperature,
            atomistic=runs if atomistic else None, models=model, stride=stride,
            threshold=threshold, threads=threads, quiet=quiet,
        )  # fmt: skip
        _summary(record, output)


def _summary(record: dict[str, Any], output: Path) -> None:
    chosen = record["frames"]
    typer.echo(
        f"{output}: {len(chosen)} of {record['candidates']} configurations, force spread "
        f"{min(f['force_spread_max'] for f in chosen):.3g} to "
        f"{max(f['force_spread_max'] for f in chosen):.3g} eV/Å"
    )
    if "misfit_A" in chosen[0]:
        typer.echo(
            f"  atoms of other molecules at least {min(f['closest_atoms_A'] for f in chosen):.2f}"
            f" Å apart; conformations fit the sites within "
            f"{max(f['misfit_A'] for f in chosen):.2g} Å (rms)"
        )
    for note in record["notes"]:
        typer.echo(f"  note: {note}")
    if record["commands"]:
        typer.echo("in each frame.K:")
        for command in record["commands"][:2]:
            typer.echo(f"  {command}")
        for command in record["commands"][2:]:
            typer.echo(f"then here:\n  {command}")
