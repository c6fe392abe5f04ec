# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes of whole molecules by species: what radius of gyration and end-to-end distance share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.histogram import Histogram
from cgpot.analysis.observables.observable import System
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BINS = 200
SPARE = 1.5
"""Upper end of a histogram in units of the longest contour in the reference's first frame."""


def chain_ends(kind: Species) -> tuple[int, int] | None:
    """Places of the two ends of an unbranched chain of three sites or more; None: it is none."""
    if kind.bonds is None or kind.n_sites < 3 or len(kind.bonds) != kind.n_sites - 1:
        return None
    degree = np.bincount(np.array(kind.bonds).ravel(), minlength=kind.n_sites)
    ends = np.flatnonzero(degree == 1)
    return (int(ends[0]), int(ends[1])) if len(ends) == 2 else None


class SizeHistogram(Histogram):
    """A length of each molecule, by species; runs use the bins of the reference."""

    axis = "length / Å"

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._kinds: list[tuple[Species, IntArray, Array]] = []
        topology = system.sites()
        masses = topology.masses
        for kind, sites in zip(topology.species, topology.species_sites, strict=True):
            if topology.has_bonds and len(sites) and self.applies(kind):
                self._kinds.append((kind, sites, masses[sites[0]]))
        self.labels = [kind.name for kind, _, _ in self._kinds]

    def applies(self, kind: Species) -> bool:
        """Whether molecules of this species have such a size."""
        return kind.n_sites > 1

    def sizes(self, kind: Species, sites: Array, masses: Array) -> Array:
        """The length (n_molecules,), Å.

        Args:
            kind: the species.
            sites: (n_molecules, n_sites, 3) whole molecules, Å.
            masses: (n_sites,) amu.
        """
        raise NotImplementedError

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Count the molecules of a frame.

        Raises:
            DataError: a molecule cannot be made whole.
        """
        if not self._kinds:
            return
        whole = self.system.whole(frame)
        if not self.edges:
            self.edges = [self._edges(kind, whole[sites]) for kind, sites, _ in self._kinds]
        values = [self.sizes(kind, whole[sites], m) for kind, sites, m in self._kinds]
        kinds = np.repeat(np.arange(len(values)), [len(v) for v in values])
        self.record(np.concatenate(values), kinds, replica)

    def _edges(self, kind: Species, sites: Array) -> Array:
        """Bins up to 1.5 times the longest contour of the reference's first frame."""
        key = f"{self.name}:{kind.name}"
        if key not in self.system.ranges:
            bonds = np.array(kind.bonds)
            steps = np.linalg.norm(sites[:, bonds[:, 1]] - sites[:, bonds[:, 0]], axis=2)
            self.system.ranges[key] = SPARE * float(steps.sum(axis=1).max())
        return np.linspace(0.0, self.system.ranges[key], BINS + 1)
