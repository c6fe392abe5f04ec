# SPDX-License-Identifier: GPL-2.0-or-later
"""Distributions along bonds, by kind of term: the names of its bead types."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.histogram import Histogram
from cgpot.analysis.observables.observable import System
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def term_kinds(topology: Topology, terms: IntArray) -> tuple[list[str], IntArray]:
    """Kinds of terms (n, width): names as ``A-B-A``, and the kind of each term, (n,).

    A term read from either end is of one kind, named from the end whose types come first.
    """
    if len(terms) == 0:
        return [], np.zeros(0, dtype=np.int64)
    types = topology.types[terms]
    n = len(topology.type_names)
    power = n ** np.arange(types.shape[1])[::-1]
    backward = (types[:, ::-1] @ power) < (types @ power)
    types = np.where(backward[:, None], types[:, ::-1], types)
    kinds, index = np.unique(types, axis=0, return_inverse=True)
    names = ["-".join(topology.type_names[t] for t in kind) for kind in kinds]
    return names, np.asarray(index, dtype=np.int64).reshape(-1)


class TermHistogram(Histogram):
    """A quantity of the bonds, angles or dihedrals of whole molecules.

    Attributes:
        width: sites of a term, 2, 3 or 4.
    """

    width: ClassVar[int]

    def __init__(self, system: System) -> None:
        super().__init__(system)
        topology = system.sites()
        self.terms = np.zeros((0, self.width), dtype=np.int64)
        if topology.has_bonds:
            self.terms = {2: topology.bonds, 3: topology.angles, 4: topology.dihedrals}[self.width]
        self.labels, self._kind = term_kinds(topology, self.terms)
        self.edges = [self.bin_edges()] * len(self.labels)

    def bin_edges(self) -> Array:
        """Edges of equally wide bins, the same for all systems."""
        raise NotImplementedError

    def values(self, sites: Array) -> Array:
        """The quantity (n,) of terms whose whole sites are at (n, width, 3), Å."""
        raise NotImplementedError

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Count the terms of a frame.

        Raises:
            DataError: a molecule cannot be made whole.
        """
        if self.labels:
            values = self.values(self.system.whole(frame)[self.terms])
            self.record(values, self._kind, replica)


def angle(first: Array, second: Array) -> Array:
    """Angle (n,) between vectors (n, 3), degrees; from the arc tangent, exact near 0 and 180."""
    cross = np.cross(first, second)
    sine = np.sqrt(np.einsum("pa,pa->p", cross, cross))
    return np.asarray(np.degrees(np.arctan2(sine, np.einsum("pa,pa->p", first, second))))


def dihedral(sites: Array) -> Array:
    """Dihedral i-j-k-l (n,) of sites (n, 4, 3), degrees in (-180, 180]; 0 is cis (IUPAC)."""
    a, b, c = (sites[:, k + 1] - sites[:, k] for k in range(3))
    m, n = np.cross(a, b), np.cross(b, c)
    length = np.sqrt(np.einsum("pa,pa->p", b, b))
    sine = length * np.einsum("pa,pa->p", a, n)
    return np.asarray(np.degrees(np.arctan2(sine, np.einsum("pa,pa->p", m, n))))
