# SPDX-License-Identifier: GPL-2.0-or-later
"""Potential files of LAMMPS's ``pair_style uf3``.

One file holds a block for every pair and every triplet of bead types: header, bodies and types,
cutoffs and numbers of knots, knots, coefficients, and a line ``#``.  LAMMPS sums the two-body
function over both ends of a pair, so that it is half the pair potential, and the three-body
function over every centre and pair of its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from cgpot.potential.splines import PairTable, basis
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid

Array = NDArray[np.float64]
HEADER = "#UF3 POT UNITS: metal DATE: 2025-01-01 AUTHOR: cgpot CITATION: none"
"""LAMMPS wants these words; the manifest beside the model tells date and origin."""
SPLINE_ORDER = 3


def clamped_knots(start: float, spacing: float, intervals: int) -> Array:
    """Knot vector (intervals + 7,) with both ends fourfold, Å."""
    inside = start + spacing * np.arange(intervals + 1)
    return np.concatenate([[inside[0]] * SPLINE_ORDER, inside, [inside[-1]] * SPLINE_ORDER])


def clamped_coefficients(coefficients: Array, spacing: float) -> Array:
    """Coefficients on clamped knots of a spline given on knots that run on below zero.

    The functions differ in the first and the last three intervals alone, where both sets span
    the same cubics; the new coefficients follow from as many values as there are functions.

    Args:
        coefficients: (intervals + 3,), of uniform cubic B-splines (`cgpot.potential.splines`).
        spacing: width of an interval, Å.
    """
    from scipy.interpolate import BSpline

    intervals = len(coefficients) - SPLINE_ORDER
    knots = clamped_knots(0.0, spacing, intervals)
    # averages of three neighbouring knots: one point for each function, a regular system
    points = np.convolve(knots[1:-1], np.ones(3) / 3.0, mode="valid")
    first = np.minimum((points / spacing).astype(np.int64), intervals - 1)
    weights = basis(points / spacing - first)
    values = sum(w * coefficients[first + k] for k, w in enumerate(weights))
    matrix = BSpline.design_matrix(
        np.minimum(points, np.nextafter(knots[-1], 0.0)), knots, SPLINE_ORDER
    )
    return np.asarray(np.linalg.solve(matrix.toarray(), np.asarray(values)))


def pair_block(names: tuple[str, str], coefficients: Array, spacing: float) -> str:
    """Block of a pair of bead types.

    Args:
        names: of the two bead types.
        coefficients: of the pair potential, eV, as in `PairTable`.
        spacing: width of an interval, Å.
    """
    c = 0.5 * clamped_coefficients(coefficients, spacing)
    c[-SPLINE_ORDER:] = 0.0
    knots = clamped_knots(0.0, spacing, len(c) - SPLINE_ORDER)
    return "\n".join(
        [
            HEADER,
            f"2B {names[0]} {names[1]} 0 {SPLINE_ORDER} uk",
            f"{float(knots[-1])!r} {len(knots)}",
            _line(knots),
            str(len(c)),
            _line(c),
            "#",
        ]
    )


def triplet_block(
    names: tuple[str, str, str],
    tensor: Array,
    *,
    cutoff: float,
    short_knots: Array,
    long_knots: Array,
) -> str:
    """Block of a centre and two neighbour types.

    Args:
        names: of the centre and the two neighbours.
        tensor: coefficients, eV, along r_ij, r_ik and r_jk.
        cutoff: of r_ij and r_ik, Å.
        short_knots: of r_ij and r_ik, Å.
        long_knots: of r_jk, Å.
    """
    lines = [
        HEADER,
        f"3B {' '.join(names)} 0 {SPLINE_ORDER} uk",
        f"{2.0 * cutoff!r} {cutoff!r} {cutoff!r} "
        f"{len(long_knots)} {len(short_knots)} {len(short_knots)}",
        _line(long_knots),
        _line(short_knots),
        _line(short_knots),
        " ".join(str(m) for m in tensor.shape),
    ]
    lines += [_line(row) for row in tensor.reshape(-1, tensor.shape[2])]
    return "\n".join([*lines, "#"])


def short_pair(table: PairTable, cutoff: float) -> PairTable:
    """A pair potential of zero with a shorter range: UF3 needs one beside its triplets."""
    width = 4 + SPLINE_ORDER
    zero = np.zeros((table.coefficients.shape[0], width))
    return PairTable(table.type_names, cutoff, zero, {})


def uf3_text(pair: PairTable, grid: ThreeBodyGrid | None, three: Array) -> str:
    """The file of a potential.

    Args:
        pair: the two-body part.
        grid: knots of the three-body part; None without one.
        three: its coefficients, eV, as `ThreeBody` orders them.
    """
    names = pair.type_names
    blocks = [
        pair_block((names[a], names[b]), pair.coefficients[row], pair.spacing)
        for row, (a, b) in enumerate(combinations_with_replacement(range(len(names)), 2))
    ]
    if grid is not None:
        triplets = ThreeBody(names, grid)
        blocks += [
            triplet_block(
                (names[centre], names[a], names[b]),
                tensor,
                cutoff=grid.cutoff,
                short_knots=grid.knots(grid.intervals),
                long_knots=grid.knots(grid.long_intervals),
            )
            for (centre, a, b), tensor in zip(triplets.blocks, triplets.tensors(three), strict=True)
        ]
    return "\n".join(blocks) + "\n"


def _line(values: Sequence[float] | Array) -> str:
    return " ".join(repr(float(x)) for x in values)
