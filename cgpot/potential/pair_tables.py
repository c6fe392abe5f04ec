# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair tables in the file format of LAMMPS's ``pair_style table``."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np

from cgpot.core.files import write_text
from cgpot.potential.splines import PairTable

POINTS = 2000
R_MIN = 0.2
"""Å; LAMMPS stops where two beads come closer than the first point."""


def pair_keys(table: PairTable) -> list[tuple[int, int, str]]:
    """LAMMPS types a <= b (counted from 1) and the keyword of each pair."""
    names = table.type_names
    return [
        (a + 1, b + 1, f"{names[a]}-{names[b]}")
        for a, b in combinations_with_replacement(range(len(names)), 2)
    ]


def write_lammps_table(path: str | Path, table: PairTable, points: int = POINTS) -> Path:
    """Write u (eV) and -u' (eV/Å) of every pair, ``points`` distances from `R_MIN` to r_max."""
    r = np.linspace(R_MIN, table.r_max, points)
    parts = ["# UNITS: metal\n"]
    for a, b, key in pair_keys(table):
        u = table.energy(r, a - 1, b - 1)
        f = table.force(r, a - 1, b - 1)
        rows = "\n".join(
            f"{n} {x:.10f} {e:.12e} {g:.12e}"
            for n, (x, e, g) in enumerate(zip(r, u, f, strict=True), start=1)
        )
        parts.append(f"\n{key}\nN {points} R {R_MIN!r} {table.r_max!r}\n\n{rows}\n")
    return write_text(path, "".join(parts))
