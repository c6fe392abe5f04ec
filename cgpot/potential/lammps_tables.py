# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of LAMMPS's tables: pairs, bonds, angles, dihedrals and three-body angles."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from cgpot.potential.bonds import BondBasis
from cgpot.potential.splines import PairTable
from cgpot.potential.term_basis import TermBasis
from cgpot.potential.threebody import ThreeBodySW

Array = NDArray[np.float64]
PAIR_POINTS = 2000
R_MIN = 0.2
"""Å; LAMMPS stops where two beads come closer than the first point."""
BOND_POINTS = 4000
BOND_EXTENSION = 2.0
"""Å of the parabolas at both ends of a bond table."""
ANGLE_POINTS = 1801
DIHEDRAL_POINTS = 1440
UNITS = "# UNITS: metal\n"


def pair_keys(table: PairTable) -> list[tuple[int, int, str]]:
    """LAMMPS types a <= b (counted from 1) and the keyword of each pair."""
    names = table.type_names
    return [
        (a + 1, b + 1, f"{names[a]}-{names[b]}")
        for a, b in combinations_with_replacement(range(len(names)), 2)
    ]


def pair_text(table: PairTable) -> str:
    """u (eV) and -u' (eV/Å) of every pair from `R_MIN` to r_max, for ``pair_style table``."""
    r = np.linspace(R_MIN, table.r_max, PAIR_POINTS)
    parts = [UNITS]
    for a, b, key in pair_keys(table):
        u = table.energy(r, a - 1, b - 1)
        f = table.force(r, a - 1, b - 1)
        rows = "\n".join(
            f"{n} {x:.10f} {e:.12e} {g:.12e}"
            for n, (x, e, g) in enumerate(zip(r, u, f, strict=True), start=1)
        )
        parts.append(f"\n{key}\nN {PAIR_POINTS} R {R_MIN!r} {table.r_max!r}\n\n{rows}\n")
    return "".join(parts)


def three_body_text(three: ThreeBodySW, coefficients: Array) -> str:
    """f(theta) in eV and -df/dtheta in eV/degree, 0 to 180 degrees, for ``sw/angle/table``."""
    degrees = np.linspace(0.0, 180.0, ANGLE_POINTS)
    parts = [UNITS]
    for row in range(len(three.blocks)):
        u, slope = three.function(coefficients, row, np.radians(degrees))
        rows = _rows(degrees, u, -slope * np.pi / 180.0)
        parts.append(f"\n{three.block_name(row)}\nN {ANGLE_POINTS}\n\n{rows}\n")
    return "".join(parts)


def three_body_parameters(three: ThreeBodySW, table: str) -> list[str]:
    """Lines of the parameter file of ``sw/angle/table``, one for each triplet of types.

    epsilon = sigma = 1, a = cutoff, gamma as fitted; A = 0 leaves the two-body part out.

    Args:
        three: the basis.
        table: path of the table of `three_body_text`.
    """
    names = three.type_names
    lines = []
    for i, j, k in product(range(len(names)), repeat=3):
        row = three.blocks.index((i, min(j, k), max(j, k)))
        words = [names[i], names[j], names[k], "1.0", "1.0", repr(three.cutoff), "1.0"]
        words += [repr(three.gamma), "0.0", "0.0", "0.0", "0.0", "0.0", "0.0"]
        words += [table, three.block_name(row), "spline", str(ANGLE_POINTS)]
        lines.append(" ".join(words))
    return lines


def term_text(name: str, part: TermBasis, coefficients: Array) -> tuple[str, int]:
    """The table of bonds, angles or dihedrals, and its number of points.

    u in eV, zero at its lowest, and -u' in eV/Å or eV/degree: over the sampled lengths of bonds
    and the parabolas beyond; angles from 0 to 180 degrees; dihedrals once around from -180.

    Args:
        name: ``bond``, ``angle`` or ``dihedral``.
        part: its splines.
        coefficients: eV.
    """
    unit, word = np.pi / 180.0, ""
    if isinstance(part, BondBasis):
        low, high = max(part.low - BOND_EXTENSION, 0.0), part.high + BOND_EXTENSION
        unit, shown = 1.0, np.linspace(low, high, BOND_POINTS)
    elif name == "angle":
        shown = np.linspace(0.0, 180.0, ANGLE_POINTS)
    else:
        word, shown = " DEGREES", np.linspace(-180.0, 180.0, DIHEDRAL_POINTS, endpoint=False)
    parts = [UNITS]
    for kind in range(part.n_kinds):
        u, slope = part.evaluate(coefficients, kind, shown if unit == 1.0 else np.radians(shown))
        rows = _rows(shown, u - u.min(), -slope if unit == 1.0 else -slope * np.pi / 180.0)
        parts.append(f"\n{part.kind_name(kind)}\nN {len(shown)}{word}\n\n{rows}\n")
    return "".join(parts), len(shown)


def _rows(x: Array, u: Array, f: Array) -> str:
    lines = (
        f"{n} {a:.12g} {b:.12e} {c:.12e}"
        for n, (a, b, c) in enumerate(zip(x, u, f, strict=True), 1)
    )
    return "\n".join(lines)
