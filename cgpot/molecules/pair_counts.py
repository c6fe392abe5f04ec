# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms of the distances between sites, by pair of bead types: what every g(r) is made of.

Pairs of different molecules and pairs of one molecule are counted apart.  Analysis and refinement
count with this code, so that one fluid has one g(r).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import Pairs, half_list
from cgpot.molecules.rdf import half_box
from cgpot.molecules.topology import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Counts = NDArray[np.uint32]
Hidden = Callable[[CGFrame, Pairs], NDArray[np.bool_]]
"""The pairs of a neighbour list on which a potential does not act: frame and list -> mask."""
ROUNDING = 1e-6
"""Of half the box: by how much a range may exceed it (boxes are written with few digits)."""


def pair_rows(n_types: int) -> list[tuple[int, int]]:
    """Pairs of bead types a <= b in the order of all tables of pairs."""
    return [(a, b) for a in range(n_types) for b in range(a, n_types)]


def pair_labels(topology: Topology) -> list[str]:
    """Names ``A-B`` of the pairs of bead types, in the order of `pair_rows`."""
    names = topology.type_names
    return [f"{names[a]}-{names[b]}" for a, b in pair_rows(len(names))]


def pairs_between(topology: Topology) -> Array:
    """Number of pairs of sites of different molecules, by pair of bead types, (rows,)."""
    every, own = _numbers(topology)
    return every - own


def pairs_within(topology: Topology) -> Array:
    """Number of pairs of sites of one molecule, by pair of bead types, (rows,)."""
    return _numbers(topology)[1]


def _numbers(topology: Topology) -> tuple[Array, Array]:
    n_types = len(topology.type_names)
    table = np.zeros((topology.n_molecules, n_types))
    np.add.at(table, (topology.molecule_index, topology.types), 1.0)
    total = table.sum(axis=0)
    own = table.T @ table
    rows = pair_rows(n_types)
    every = [total[a] * (total[a] - 1) / 2 if a == b else total[a] * total[b] for a, b in rows]
    within = [(own[a, a] - total[a]) / 2 if a == b else own[a, b] for a, b in rows]
    return np.array(every), np.array(within)


class PairCounter:
    """Counts of pair distances of frames that share a topology.

    Args:
        topology: the sites.
        r_max: upper end, Å; must not exceed half the box of any frame.
        bins: number of bins of equal width.
    """

    def __init__(self, topology: Topology, r_max: float, bins: int) -> None:
        self.topology = topology
        self.r_max = r_max
        self.bins = bins
        n_types = len(topology.type_names)
        self.rows = pair_rows(n_types)
        self.labels = pair_labels(topology)
        self.between = pairs_between(topology)
        self.within = pairs_within(topology)
        self._row = np.zeros((n_types, n_types), dtype=np.int64)
        for k, (a, b) in enumerate(self.rows):
            self._row[a, b] = self._row[b, a] = k
        self._own = _own_pairs(topology)

    @property
    def edges(self) -> Array:
        """Edges of the bins, (bins + 1,), Å."""
        return np.linspace(0.0, self.r_max, self.bins + 1)

    @property
    def shells(self) -> Array:
        """Volumes of the shells, (bins,), Å^3."""
        return np.asarray(4.0 / 3.0 * np.pi * np.diff(self.edges**3))

    def count(self, frame: CGFrame) -> Counts:
        """Pairs of different molecules, (rows, bins): every pair once, in its nearest image.

        Raises:
            DataError: ``r_max`` exceeds half the box, or two sites are at the same place.
        """
        return self.count_acting(frame, lambda _, pairs: np.ones(len(pairs.i), dtype=bool))[0]

    def count_acting(self, frame: CGFrame, hidden: Hidden | None) -> tuple[Counts, Counts]:
        """Pairs of different molecules, and those of one molecule on which a potential acts.

        Args:
            frame: of the topology.
            hidden: pairs on which the potential does not act; None: it acts on all.

        Returns:
            Two histograms (rows, bins): of what `count` counts, and of the other pairs.

        Raises:
            DataError: see `count`.
        """
        limit = half_box(frame.cell)
        if self.r_max > limit * (1 + ROUNDING):
            raise DataError(
                f"r_max {self.r_max:.3f} Å exceeds half the box, {limit:.3f} Å",
                frame=frame.source_frame,
            )
        pairs = half_list(frame, min(self.r_max, limit) * (1.0 - 1e-12))
        if not len(self._own[0]):
            found = self._histogram(pairs)
            return found, np.zeros_like(found)
        molecule = self.topology.molecule_index
        own = molecule[pairs.i] == molecule[pairs.j]
        within = pairs.select(own)
        if hidden is not None and len(within.i):
            within = within.select(~hidden(frame, within))
        return self._histogram(pairs.select(~own)), self._histogram(within)

    def distances_within(self, whole: Array) -> tuple[Array, IntArray]:
        """Distances (n,), Å, of all pairs of one molecule, and the row of each, (n,).

        Args:
            whole: (n_sites, 3) positions of whole molecules, Å (`whole_positions`).
        """
        i, j = self._own
        vector = whole[j] - whole[i]
        distance = np.sqrt(np.einsum("pa,pa->p", vector, vector))
        types = self.topology.types
        return distance, self._row[types[i], types[j]]

    def _histogram(self, pairs: Pairs) -> Counts:
        scaled = pairs.distance * (self.bins / self.r_max)
        k = np.minimum(scaled.astype(np.int64), self.bins - 1)
        if len(self.rows) > 1:
            types = self.topology.types
            k = k + self.bins * self._row[types[pairs.i], types[pairs.j]]
        counts = np.bincount(k, minlength=self.bins * len(self.rows))
        return counts.reshape(len(self.rows), self.bins).astype(np.uint32)


def _own_pairs(topology: Topology) -> tuple[IntArray, IntArray]:
    """All pairs of sites of one molecule, found once for each species."""
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for sites in topology.species_sites:
        a, b = np.triu_indices(sites.shape[1], 1)
        first.append(sites[:, a].ravel())
        second.append(sites[:, b].ravel())
    return np.concatenate(first), np.concatenate(second)
