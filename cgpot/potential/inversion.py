# SPDX-License-Identifier: GPL-2.0-or-later
"""Boltzmann inversion of bonded distributions: splines whose ideal chain has them.

``u(q) = -k_B T ln(p(q) / J(q))`` with J the volume element of the coordinate: r^2 of a bond, sin of
an angle, one of a dihedral (Tschöp et al., Acta Polym. 49, 61 (1998)).  Where force matching has to
know each state's weight from the forces between them, which a barrier hides, inversion takes it
from the counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.term_basis import TermBasis

Array = NDArray[np.float64]

PARTS = 4
"""Bins of the histogram in each interval of the spline."""
LEAST = 5
"""Counts of a bin that is trusted."""
SLOPE_WEIGHT = 10.0
"""Weight of the anchor's slope where nothing was seen, as counts of a bin one interval away."""
SMOOTH = 1e-2
"""Penalty on squared second differences of u / k_B T."""


def invert(term: TermBasis, frames: Sequence[CGFrame]) -> Array:
    """Coefficients (size,), eV, of the splines that the distributions of frames give.

    Beyond the sampled coordinates the slope is that of the anchors (`TermBasis.target`).

    Args:
        term: bonds, angles or dihedrals; it observes the frames.
        frames: atomistic ones, mapped.

    Raises:
        DataError: a kind of terms with too few samples in every bin.
    """
    counts = np.zeros((term.n_kinds, term.intervals * PARTS))
    for frame in frames:
        term.observe(frame)
        measured = term.measure(frame)
        first, t, _ = term.locate(measured.value)
        place = first * PARTS + np.minimum((t * PARTS).astype(np.int64), PARTS - 1)
        np.add.at(counts, (measured.kind, place), 1.0)
    term.freeze()
    k = np.arange(term.intervals * PARTS)
    _, _, scale = term.locate(term.centres(np.arange(1)))
    q = term.centres(k // PARTS) + ((k % PARTS + 0.5) / PARTS - 0.5) / scale
    values, slopes = term.splines(q)
    free = term.free().reshape(term.n_kinds, term.width)
    second = np.diff(np.eye(term.width), 2, axis=0)
    found = np.zeros((term.n_kinds, term.width))
    for kind in range(term.n_kinds):
        seen = counts[kind] >= LEAST
        if not seen.any():
            raise DataError(
                f"no bin of the distribution of {term.kind_name(kind)} holds {LEAST} samples of "
                f"{int(counts[kind].sum())}; give more frames"
            )
        weight = np.sqrt(counts[kind][seen])
        target = -np.log(counts[kind][seen] / term.jacobian(q[seen]))
        pull = np.sqrt(SLOPE_WEIGHT) / scale
        rows = np.vstack(
            [
                np.column_stack([values[seen] * weight[:, None], weight]),
                np.column_stack([slopes[~seen] * pull, np.zeros(int((~seen).sum()))]),
                np.column_stack([second * np.sqrt(SMOOTH), np.zeros(len(second))]),
            ]
        )
        right = np.concatenate(
            [target * weight, term.target(kind, q[~seen]) / term.kt * pull, np.zeros(len(second))]
        )
        columns = np.append(np.flatnonzero(free[kind]), term.width)
        solved = np.linalg.lstsq(rows[:, columns], right, rcond=None)[0]
        found[kind, free[kind]] = solved[:-1] * term.kt
    return found.ravel()
