# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of LAMMPS's ``pair_style local/density``.

LAMMPS puts a cubic spline through equally spaced values, with zero slope at both ends, and goes on
without slope beyond them.  The values written lie on a grid that holds the knots of F, and reach
far enough that its ends are never seen.
"""

from __future__ import annotations

import math

import numpy as np

from cgpot.core.errors import InputError
from cgpot.potential.density_table import DensityTable

CELLS = 100
"""Cells of the grid in an interval of F."""
ENDS = 60
"""Cells beyond what is needed: the wrong slope at an end is a quarter of it a cell further."""
BEYOND = 2.0
"""Sampled ranges above the last knot that the values still cover."""


def density_text(table: DensityTable) -> str:
    """One potential for each type of the central site, all types as neighbours.

    Args:
        table: with the indicator ``lammps`` and weights of 1.

    Raises:
        InputError: another indicator or other weights, which LAMMPS does not have.
    """
    if table.indicator != "lammps" or any(weight != 1.0 for weight in table.weights):
        raise InputError(
            "LAMMPS's local/density has the indicator 'lammps' and weights of 1; found "
            f"{table.indicator!r} and {list(table.weights)}"
        )
    cells = table.steps / CELLS
    below = [
        math.ceil(max(low, 0.0) / cell) for low, cell in zip(table.spans[:, 0], cells, strict=True)
    ]
    above = round((1.0 + BEYOND) * CELLS * table.intervals)
    points = max(below) + above + 2 * ENDS + 1
    everyone = " ".join(str(k + 1) for k in range(len(table.type_names)))
    lines = [
        f"# local density, central sites {' '.join(table.type_names)}",
        "# UNITS: metal",
        f"{len(table.type_names)} {points}",
        "",
    ]
    for kind, cell in enumerate(cells):
        first = table.spans[kind, 0] - (below[kind] + ENDS) * cell
        rho = first + cell * np.arange(points)
        value, _ = table.embedding(rho, kind)
        lines += [
            f"0.0 {table.cutoff!r}",
            f"{kind + 1}",
            everyone,
            f"{float(rho[0])!r} {float(rho[-1])!r} {float(cell)!r}",
            *(f"{u:.16e}" for u in value),
            "",
        ]
    return "\n".join(lines) + "\n"
