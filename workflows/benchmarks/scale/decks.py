# SPDX-License-Identifier: GPL-2.0-or-later
"""Short runs of LAMMPS with a deployed model, and what its log tells of them."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DECK = """units metal
atom_style molecular
special_bonds lj/coul 1 1 1
read_data {data}
replicate {replicate}
{potential}
neighbor {skin} bin
velocity all create {temperature} 7 loop all
fix 1 all nve
timestep {timestep}
{columns}
thermo {every}
run {warm} post no
run {steps}
info memory
"""
TIMES = """compute c all pair cgpot
thermo_style custom step temp pe etotal c_c[6] c_c[7]"""
PLAIN = "thermo_style custom step temp pe etotal"


@dataclass(frozen=True)
class Model:
    """A deployed potential.

    Attributes:
        name: of the system in tables.
        kind: how it was deployed: fast, plain, table.
        file: compiled model (`.nequip.pt2`), or LAMMPS commands (`.pair.lmp`).
        bead_names: in the order of the atom types.
    """

    name: str
    kind: str
    file: Path
    bead_names: tuple[str, ...]

    @property
    def compiled(self) -> bool:
        """Whether `pair_style cgpot` runs it."""
        return self.file.name.endswith(".nequip.pt2")

    def commands(self, style: str = "") -> str:
        """LAMMPS commands of the potential."""
        if not self.compiled:
            return f"include {self.file}"
        return f"pair_style cgpot {style}\npair_coeff * * {self.file} {' '.join(self.bead_names)}"


def deck(
    model: Model,
    data: Path,
    replicate: tuple[int, int, int],
    *,
    warm: int,
    steps: int,
    every: int | None = None,
    timestep_fs: float = 10.0,
    temperature: float = 300.0,
    skin: float = 2.0,
    style: str = "",
) -> str:
    """A run at constant energy."""
    return DECK.format(
        data=data,
        replicate=" ".join(map(str, replicate)),
        potential=model.commands(style),
        skin=skin,
        temperature=temperature,
        timestep=timestep_fs * 1e-3,
        columns=TIMES if model.compiled else PLAIN,
        every=every or max(steps, 1),
        warm=warm,
        steps=steps,
    )


def run_lammps(text: str, ranks: int, folder: Path) -> str:
    """The screen output of LAMMPS for a deck; ends the program where LAMMPS fails."""
    from cgpot.core.native import built_plugin, find_tool, lammps_environment, lammps_program

    plugin = built_plugin()
    if plugin is None:
        sys.exit("the plugin is not built: run `make plugin`")
    (folder / "in.deck").write_text(text, encoding="utf-8")
    words = [str(lammps_program()), "-in", "in.deck", "-log", "none", "-nocite"]
    if ranks > 1:
        launcher = find_tool("mpiexec")
        if launcher is None:
            sys.exit("mpiexec is not installed")
        words = [launcher, "-n", str(ranks), *words]
    # Linux counts what this program holds into the largest resident set of a program that it
    # starts, not into that of its grandchildren; the second command keeps the shell alive
    words = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *words]
    done = subprocess.run(
        words,
        cwd=folder,
        env=lammps_environment(str(plugin.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:])
        sys.exit(f"LAMMPS ended with status {done.returncode}")
    return done.stdout


def thermo_rows(text: str) -> list[list[float]]:
    """The thermo lines of the last run in a log: rows of numbers."""
    rows: list[list[float]] = []
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            rows, inside = [], True
        elif line.startswith("Loop time"):
            inside = False
        elif inside:
            try:
                rows.append([float(word) for word in words])
            except ValueError:
                continue
    return rows


def measures(text: str, ranks: int) -> dict[str, Any]:
    """Speed, shares and memory from a log of :data:`DECK`.

    Returns:
        ``beads``, ``steps``, ``steps_per_second``, ``outside_model_percent`` (of `pair_style
        cgpot`; None for others), ``outside_pair_percent``, ``cpu_use_percent`` (mean over ranks),
        ``memory_MB_per_rank`` (largest).
    """
    loop = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", text)[-1]
    seconds, steps, beads = float(loop[0]), int(loop[1]), int(loop[2])
    pair = re.findall(r"^Pair\s*\|\s*\S+\s*\|\s*(\S+)", text, re.MULTILINE)[-1]
    cpu = re.findall(r"^(\S+)% CPU use", text, re.MULTILINE)[-1]
    memory = re.findall(r"Maximum resident set size:\s*(\S+) Mbyte", text)
    last = (thermo_rows(text) or [[]])[-1]
    outside = 100.0 * (1.0 - last[4] / ranks / seconds) if len(last) >= 6 else None
    return {
        "beads": beads,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "outside_model_percent": outside,
        "outside_pair_percent": 100.0 * (1.0 - float(pair) / seconds),
        "cpu_use_percent": float(cpu),
        "memory_MB_per_rank": float(memory[-1]) if memory else math.nan,
    }
