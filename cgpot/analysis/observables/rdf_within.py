# SPDX-License-Identifier: GPL-2.0-or-later
"""Distances between sites of one molecule, by pair of bead types.

Molecules are made whole along their bonds first.  The density is that of the pairs within the
range of g(r); together with g(r) between molecules it holds every pair of sites.
"""

from __future__ import annotations

import numpy as np

from cgpot.analysis.observables.histogram import Histogram
from cgpot.analysis.observables.observable import System
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import PairCounter


class DistancesWithin(Histogram):
    """Distances within molecules whose bonds are known."""

    name = "rdf_within"
    title = "Distances within molecules"
    what = "distance within molecules"
    axis = "distance r / Å"
    caption = (
        "Distances between two beads of one molecule, bonded or not, in whole molecules. Grey "
        "band: two standard errors of the atomistic reference."
    )

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._counter = PairCounter(system.sites(), system.r_max, system.bins)
        known = system.sites().has_bonds
        rows = np.flatnonzero((self._counter.within > 0) & known)
        self.labels = [self._counter.labels[k] for k in rows]
        self.edges = [self._counter.edges] * len(self.labels)
        self._kind = np.full(len(self._counter.labels), -1)
        self._kind[rows] = np.arange(len(self.labels))

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Count the distances of a frame.

        Raises:
            DataError: a molecule cannot be made whole.
        """
        if self.labels:
            distance, row = self._counter.distances_within(self.system.whole(frame))
            near = distance < self.system.r_max
            self.record(distance[near], self._kind[row[near]], replica)
