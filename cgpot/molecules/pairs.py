# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of sites within a cutoff, each pair once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of sites (half list).

    Attributes:
        i: (pairs,) first site.
        j: (pairs,) second site; the same site twice is an image of itself.
        vector: (pairs, 3) from i to j, Å.
        distance: (pairs,) Å.
    """

    i: IntArray
    j: IntArray
    vector: Array
    distance: Array

    def select(self, mask: NDArray[np.bool_]) -> Pairs:
        """Those pairs where the mask is true."""
        return Pairs(self.i[mask], self.j[mask], self.vector[mask], self.distance[mask])


def half_list(frame: CGFrame, cutoff: float) -> Pairs:
    """Pairs within the cutoff (Å), each once; small cells see several images.

    Raises:
        DataError: two sites at the same place.
    """
    lengths = np.diagonal(frame.cell)
    rectangular = np.count_nonzero(frame.cell - np.diag(lengths)) == 0
    if rectangular and all(frame.pbc) and cutoff < 0.5 * np.min(np.abs(lengths)):
        pairs = _tree(frame.positions, np.abs(lengths), cutoff)
    else:
        pairs = _cells(frame, cutoff)
    if len(pairs.distance) and not pairs.distance.min() > 0.0:
        k = int(np.argmin(pairs.distance))
        raise DataError(
            f"sites {pairs.i[k]} and {pairs.j[k]} are at the same place", frame=frame.source_frame
        )
    return pairs


def _tree(positions: Array, lengths: Array, cutoff: float) -> Pairs:
    """A rectangular periodic cell more than twice as wide as the cutoff."""
    from scipy.spatial import cKDTree

    wrapped = np.mod(positions, lengths)
    wrapped[wrapped >= lengths] = 0.0  # what rounding makes of -1e-17
    found = cKDTree(wrapped, boxsize=lengths).query_pairs(cutoff, output_type="ndarray")
    i, j = found[:, 0].astype(np.int64), found[:, 1].astype(np.int64)
    vector = wrapped[j] - wrapped[i]
    vector -= lengths * np.rint(vector / lengths)
    return Pairs(i, j, vector, np.sqrt(np.einsum("pa,pa->p", vector, vector)))


def _cells(frame: CGFrame, cutoff: float) -> Pairs:
    """Any cell."""
    from matscipy.neighbours import neighbour_list

    i, j, distance, vector, shift = neighbour_list(
        "ijdDS",
        positions=frame.positions,
        cell=frame.cell,
        pbc=np.asarray(frame.pbc),
        cutoff=float(cutoff),
    )
    # Of a pair of a site with its own image, the one whose first non-zero shift is positive.
    first = np.where(shift[:, 0] != 0, shift[:, 0], shift[:, 1])
    sign = np.where(first != 0, first, shift[:, 2])
    keep = (i < j) | ((i == j) & (sign > 0))
    return Pairs(i[keep].astype(np.int64), j[keep].astype(np.int64), vector[keep], distance[keep])
