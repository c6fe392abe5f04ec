# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot map``: atomistic trajectory to coarse-grained data set."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Virial(StrEnum):
    """Forms of the virial."""

    auto = "auto"
    exact = "exact"
    dof = "dof"


class Units(StrEnum):
    """LAMMPS unit styles that are read."""

    metal = "metal"
    real = "real"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("map", no_args_is_help=True)
    def map_command(
        mapping: Annotated[Path, typer.Argument(help="Mapping file (YAML, OpenMSCG's terms).")],
        topology: Annotated[
            Path, typer.Option("--topology", "-s", help=".tpr, .gro or LAMMPS data file.")
        ],
        trajectory: Annotated[
            Path,
            typer.Option("--trajectory", "-f", help=".trr or LAMMPS dump, with forces."),
        ],
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Data set: .extxyz, .extxyz.xz or .gz.")
        ],
        energy: Annotated[
            Path | None,
            typer.Option(
                "--energy", "-e", help=".edr, or LAMMPS log / thermo yaml with pressure tensor."
            ),
        ] = None,
        forces_only: Annotated[
            bool, typer.Option(help="Map without virial labels (no --energy).")
        ] = False,
        units: Annotated[
            Units | None, typer.Option(help="LAMMPS units of data, dump and log.")
        ] = None,
        timestep: Annotated[
            float | None,
            typer.Option(help="LAMMPS time step in ps, where the files hold no times."),
        ] = None,
        temperature: Annotated[
            float | None, typer.Option(min=1e-6, help="Temperature of the run, K.")
        ] = None,
        begin: Annotated[float | None, typer.Option(help="First time, ps.")] = None,
        end: Annotated[float | None, typer.Option(help="Last time, ps.")] = None,
        stride: Annotated[int, typer.Option(min=1, help="Take every n-th frame.")] = 1,
        virial: Annotated[
            Virial,
            typer.Option(help="auto: exact unless constraint forces are missing."),
        ] = Virial.auto,
        skip_incomplete: Annotated[
            bool, typer.Option(help="Leave out frames without forces instead of refusing.")
        ] = False,
        accept_pressure_mismatch: Annotated[
            str | None,
            typer.Option(
                metavar="REASON",
                help="Accept labels whose pressure is not the engine's; the reason is recorded.",
            ),
        ] = None,
        position_decimals: Annotated[
            int, typer.Option(min=2, max=8, help="Decimals of positions, Å.")
        ] = 4,
        force_decimals: Annotated[
            int, typer.Option(min=2, max=8, help="Decimals of forces, eV/Å.")
        ] = 5,
        report: Annotated[
            bool, typer.Option(help="Write <name>.report.json: labels, g(r), density.")
        ] = True,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    ) -> None:
        """Map a trajectory with forces and virial to a data set for training."""
        from cgpot.mapping.pipeline import MapOptions, map_trajectory
        from cgpot.mapping.readers import open_system

        system = open_system(
            topology,
            trajectory,
            energy,
            units=None if units is None else units.value,
            timestep=timestep,
            skip_incomplete=skip_incomplete,
            forces_only=forces_only,
        )
        result = map_trajectory(
            mapping,
            system.topology,
            system.trajectory,
            system.thermo,
            output,
            MapOptions(
                temperature=temperature,
                begin=begin,
                end=end,
                stride=stride,
                virial=virial.value,
                accept_mismatch=accept_pressure_mismatch,
                position_decimals=position_decimals,
                force_decimals=force_decimals,
                quiet=quiet,
            ),
        )
        typer.echo(
            f"{result.output}: {result.n_frames} frames of {result.n_sites} sites, virial "
            f"{result.virial}"
        )
        check = result.check
        if check.label is not None:
            typer.echo(
                f"  mean pressure of the labels {check.label.mean:.1f} ± {check.label.error:.1f} "
                f"bar (spread {check.label.std:.0f}) at {result.temperature:.1f} K"
            )
        if check.engine is not None and check.difference is not None:
            typer.echo(
                f"  mean pressure of the engine {check.engine.mean:.1f} ± "
                f"{check.engine.error:.1f} bar (spread {check.engine.std:.0f}); difference "
                f"{check.difference.mean:.1f} ± {check.difference.error:.1f} bar"
            )
        for note in result.notes:
            typer.echo(f"  note: {note}")
        if report and result.n_frames > 1:
            from cgpot.cli.dataset import print_summary
            from cgpot.core.files import write_json
            from cgpot.dataset.dataset_stage import report_on, report_path

            facts = report_on(output, quiet=quiet)
            write_json(report_path(output), facts)
            print_summary(facts, f"Labels of {output.name}")
