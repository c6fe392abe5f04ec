# SPDX-License-Identifier: GPL-2.0-or-later
"""Boltzmann inversion of bonded distributions: splines whose ideal chain has them.

``u(q) = -k_B T ln(p(q) / J(q))`` with J the volume element of the coordinate: r^2 of a bond, sin of
an angle, one of a dihedral (Tschöp et al., Acta Polym. 49, 61 (1998)).  Where force matching has to
know each state's weight from the forces between them, which a barrier hides, inversion takes it
from the counts.

In the liquid the surroundings pull at bonds too.  Their mean force Q(r) along a bond
(`cgpot.potential.surroundings`) is known from the potential between molecules on the same frames,
and what is left to the bonded term is ``u'(r) = -k_B T d ln(p / J) / dr + Q(r)``.  Bonds are stiff,
so that their surroundings do not answer.  They do answer to angles and dihedrals: for three-site
hexane Q made the overlap of the bonds' distribution 0.99 from 0.91, that of the angles 0.94 from
0.97 (MS-CG tables, 100 ps at 646 kg/m^3), and so it is taken for bonds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.bonds import BondBasis
from cgpot.potential.surroundings import Bodies, ring_kinds
from cgpot.potential.term_basis import Measured, TermBasis

Array = NDArray[np.float64]

PARTS = 4
"""Bins of the histogram in each interval of the spline."""
AROUND = 200
"""Frames from which the mean force of the surroundings is taken."""
LEAST = 5
"""Counts of a bin that is trusted."""
SLOPE_WEIGHT = 10.0
"""Weight of the anchor's slope where nothing was seen, as counts of a bin one interval away."""
SMOOTH = 1e-2
"""Penalty on squared second differences of u / k_B T."""
Forces = Callable[[CGFrame], Array]
"""Forces (n, 3), eV/Å, of a potential on a frame."""


def invert(
    term: TermBasis,
    frames: Sequence[CGFrame],
    around: Forces | None = None,
    keep: Array | None = None,
) -> Array:
    """Coefficients (size,), eV, of the splines that the distributions of frames give.

    Beyond the sampled coordinates the slope is that of the anchors (`TermBasis.target`).

    Args:
        term: bonds, angles or dihedrals; it observes the frames.
        frames: atomistic ones, mapped.
        around: forces of the rest of the potential, whose mean along bonds is taken from at most
            about `AROUND` of the frames; None: the surroundings are taken not to pull.
        keep: coefficients (size,) for kinds of terms in rings, whose coordinates are not
            independent; None inverts them too.

    Raises:
        DataError: a kind of terms with too few samples in every bin.
    """
    counts = np.zeros((term.n_kinds, term.intervals * PARTS))
    for frame in frames:
        measured = term.measure(frame)
        term.note(measured)
        np.add.at(counts, (measured.kind, _place(term, measured)[0]), 1.0)
    term.freeze()
    pull = np.zeros_like(counts)
    if around is not None and isinstance(term, BondBasis):
        pull = _pull(term, frames, around)
    closed = np.zeros(term.n_kinds, dtype=bool) if keep is None else ring_kinds(term)
    k = np.arange(term.intervals * PARTS)
    _, _, scale = term.locate(term.centres(np.arange(1)))
    q = term.centres(k // PARTS) + ((k % PARTS + 0.5) / PARTS - 0.5) / scale
    values, slopes = term.splines(q)
    free = term.free().reshape(term.n_kinds, term.width)
    second = np.diff(np.eye(term.width), 2, axis=0)
    found = np.zeros((term.n_kinds, term.width))
    for kind in range(term.n_kinds):
        if keep is not None and closed[kind]:
            found[kind] = keep.reshape(found.shape)[kind]
            continue
        seen = counts[kind] >= LEAST
        if not seen.any():
            raise DataError(
                f"no bin of the distribution of {term.kind_name(kind)} holds {LEAST} samples of "
                f"{int(counts[kind].sum())}; give more frames"
            )
        weight = np.sqrt(counts[kind][seen])
        target = -np.log(counts[kind][seen] / term.jacobian(q[seen]))
        target = target + pull[kind][seen] / term.kt
        stiff = np.sqrt(SLOPE_WEIGHT) / scale
        rows = np.vstack(
            [
                np.column_stack([values[seen] * weight[:, None], weight]),
                np.column_stack([slopes[~seen] * stiff, np.zeros(int((~seen).sum()))]),
                np.column_stack([second * np.sqrt(SMOOTH), np.zeros(len(second))]),
            ]
        )
        right = np.concatenate(
            [target * weight, term.target(kind, q[~seen]) / term.kt * stiff, np.zeros(len(second))]
        )
        columns = np.append(np.flatnonzero(free[kind]), term.width)
        solved = np.linalg.lstsq(rows[:, columns], right, rcond=None)[0]
        found[kind, free[kind]] = solved[:-1] * term.kt
    return found.ravel()


def _pull(term: BondBasis, frames: Sequence[CGFrame], around: Forces) -> Array:
    """Integral of Q up to each bin, (kinds, bins), eV; zero for bonds in rings."""
    total, counts = np.zeros((2, term.n_kinds, term.intervals * PARTS))
    bodies = Bodies(term)
    scale = 1.0
    for frame in frames[:: max(1, len(frames) // AROUND)]:
        measured = term.measure(frame)
        open_, along = bodies.forces(frame, measured, around(frame))
        place, scale = _place(term, measured)
        np.add.at(total, (measured.kind[open_], place[open_]), along[open_])
        np.add.at(counts, (measured.kind[open_], place[open_]), 1.0)
    mean = total / np.maximum(counts, 1.0)
    return np.asarray((np.cumsum(mean, axis=1) - 0.5 * mean) / scale / PARTS)


def _place(term: TermBasis, measured: Measured) -> tuple[NDArray[np.int64], float]:
    """Bin of each coordinate, and intervals a unit."""
    first, t, scale = term.locate(measured.value)
    return first * PARTS + np.minimum((t * PARTS).astype(np.int64), PARTS - 1), scale
