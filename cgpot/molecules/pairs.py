# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of sites within a cutoff: the one search for neighbours of the package.

`half_list` has each pair once, with the bonds between its sites; `neighbour_images` has both
directions and the shift of the second site by whole cells, as graphs want them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.exclusions import bonds_left_out, seen_mask
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
        frame: whose sites they are.
    """

    i: IntArray
    j: IntArray
    vector: Array
    distance: Array
    frame: CGFrame = field(repr=False)

    def select(self, mask: NDArray[np.bool_]) -> Pairs:
        """Those pairs where the mask is true."""
        chosen = Pairs(
            self.i[mask], self.j[mask], self.vector[mask], self.distance[mask], self.frame
        )
        if "bond_distance" in self.__dict__:
            chosen.__dict__["bond_distance"] = self.bond_distance[mask]
        return chosen

    @cached_property
    def bond_distance(self) -> IntArray:
        """(pairs,) bonds between the sites: 1, 2, 3; 4: more, of one molecule; 0: of two.

        Found when it is first asked for (`cgpot.molecules.topology.Topology.bond_distance_of`).

        Raises:
            InputError: the bonds of a species are not known.
        """
        return self.frame.topology.bond_distance_of(self.i, self.j)

    def seen(self, pairs: str) -> Pairs:
        """Those pairs that a potential sees (`cgpot.molecules.exclusions.seen_mask`).

        Args:
            pairs: one of `cgpot.molecules.exclusions.SEEN_PAIRS`.

        Raises:
            ConfigError: `pairs` is none of them.
            InputError: the bonds of a species are not known.
        """
        if pairs == "all":
            return self
        frame = self.frame
        return self.select(
            seen_mask(pairs, self.bond_distance, self.vector, frame.cell, np.asarray(frame.pbc))
        )


@dataclass(frozen=True)
class Neighbours:
    """Pairs of sites in both directions (full list), in the order of the first site.

    Attributes:
        i: (edges,) first site.
        j: (edges,) second site.
        shift: (edges, 3) whole cells by which the second site is moved.
        vector: (edges, 3) from i to that image of j, Å.
        distance: (edges,) Å.
    """

    i: IntArray
    j: IntArray
    shift: IntArray
    vector: Array
    distance: Array


def half_list(frame: CGFrame, cutoff: float) -> Pairs:
    """Pairs within the cutoff (Å), each once; small cells see several images.

    Raises:
        DataError: two sites at the same place.
    """
    lengths = np.diagonal(frame.cell)
    rectangular = np.count_nonzero(frame.cell - np.diag(lengths)) == 0
    if rectangular and all(frame.pbc) and cutoff < 0.5 * np.min(np.abs(lengths)):
        pairs = _tree(frame, np.abs(lengths), cutoff)
    else:
        pairs = _cells(frame, cutoff)
    if len(pairs.distance) and not pairs.distance.min() > 0.0:
        k = int(np.argmin(pairs.distance))
        raise DataError(
            f"sites {pairs.i[k]} and {pairs.j[k]} are at the same place", frame=frame.source_frame
        )
    return pairs


def neighbour_images(
    positions: Array, cell: Array, cutoff: float, pbc: tuple[bool, ...] = (True, True, True)
) -> Neighbours:
    """Pairs within the cutoff in both directions, by cells; any box, any number of images.

    Args:
        positions: (n, 3) Å, wrapped or not.
        cell: (3, 3) Å, rows.
        cutoff: Å.
        pbc: periodic directions.
    """
    from matscipy.neighbours import neighbour_list

    i, j, distance, vector, shift = neighbour_list(
        "ijdDS", positions=positions, cell=cell, pbc=np.asarray(pbc), cutoff=float(cutoff)
    )
    return Neighbours(i.astype(np.int64), j.astype(np.int64), shift, vector, distance)


def hidden_pairs(pairs: str) -> Callable[[CGFrame, Pairs], NDArray[np.bool_]] | None:
    """The pairs of a neighbour list that a potential does not see: frame and list -> mask.

    None where it sees all.

    Args:
        pairs: one of `cgpot.molecules.exclusions.SEEN_PAIRS`.

    Raises:
        ConfigError: `pairs` is none of them.
    """
    bonds_left_out(pairs)
    if pairs == "all":
        return None

    def hidden(frame: CGFrame, found: Pairs) -> NDArray[np.bool_]:
        pbc = np.asarray(frame.pbc)
        return ~seen_mask(pairs, found.bond_distance, found.vector, frame.cell, pbc)

    return hidden


def shortest_between_molecules(frame: CGFrame, limit: float = np.inf) -> float:
    """Shortest distance between sites of different molecules, Å, where it is below the limit.

    Args:
        frame: the sites.
        limit: Å; longer distances do not matter, which makes the search short.

    Returns:
        The distance; infinite where there is none below the limit.

    Raises:
        DataError: two sites at the same place.
    """
    molecules = frame.topology.molecules
    if frame.topology.n_molecules < 2:
        return np.inf
    reach = min(limit, 1.5 * (frame.volume / frame.topology.n_sites) ** (1.0 / 3.0))
    while True:
        pairs = half_list(frame, reach)
        other = pairs.distance[molecules[pairs.i] != molecules[pairs.j]]
        if len(other):
            return float(other.min())
        if reach >= limit or reach > np.linalg.norm(frame.cell, axis=1).sum():
            return np.inf
        reach = min(limit, 2.0 * reach)


def _tree(frame: CGFrame, lengths: Array, cutoff: float) -> Pairs:
    """A rectangular periodic cell more than twice as wide as the cutoff.

    Two libraries for one search: 500 beads of liquid benzene take 3.1 ms so and 5.2 ms by the cells
    of matscipy at 10 Å, 6.8 ms and 30 ms at 15 Å (one core); other boxes need the cells.
    """
    from scipy.spatial import cKDTree

    wrapped = np.mod(frame.positions, lengths)
    wrapped[wrapped >= lengths] = 0.0  # what rounding makes of -1e-17
    found = cKDTree(wrapped, boxsize=lengths).query_pairs(cutoff, output_type="ndarray")
    i, j = found[:, 0].astype(np.int64), found[:, 1].astype(np.int64)
    vector = wrapped[j] - wrapped[i]
    vector -= lengths * np.rint(vector / lengths)
    return Pairs(i, j, vector, np.sqrt(np.einsum("pa,pa->p", vector, vector)), frame)


def _cells(frame: CGFrame, cutoff: float) -> Pairs:
    """Any cell."""
    full = neighbour_images(frame.positions, frame.cell, cutoff, frame.pbc)
    i, j, shift = full.i, full.j, full.shift
    # Of a pair of a site with its own image, the one whose first non-zero shift is positive.
    first = np.where(shift[:, 0] != 0, shift[:, 0], shift[:, 1])
    sign = np.where(first != 0, first, shift[:, 2])
    keep = (i < j) | ((i == j) & (sign > 0))
    return Pairs(i[keep], j[keep], full.vector[keep], full.distance[keep], frame)
