# SPDX-License-Identifier: GPL-2.0-or-later
"""Which sites each atom is in: none (left out), one, or several (shared)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.mapping.connections import Assigned

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """Links of atoms as links of sites; of shared atoms one for each pair of their sites.

    Attributes:
        first, second: (n,) sites of the two atoms.
        columns: (n, 2) place of each atom in its site.
    """

    first: IntArray
    second: IntArray
    columns: IntArray

    @property
    def within(self) -> Links:
        """Those whose ends are of one site."""
        same = self.first == self.second
        return Links(self.first[same], self.second[same], self.columns[same])

    @property
    def sites(self) -> IntArray:
        """(n, 2) sites."""
        return np.stack([self.first, self.second], axis=1)


class Membership:
    """Atoms of all sites, by atom.

    Args:
        sites: all sites.
        n_atoms: atoms of the system.

    Attributes:
        count: (n_atoms,) number of sites of each atom.
    """

    def __init__(self, sites: Sequence[Assigned], n_atoms: int) -> None:
        size = [len(atoms) for _, atoms, _ in sites]
        every = np.concatenate([atoms for _, atoms, _ in sites])
        order = np.argsort(every, kind="stable")
        self._site = np.repeat(np.arange(len(sites)), size)[order]
        self._column = np.concatenate([np.arange(n) for n in size])[order]
        self.count = np.bincount(every, minlength=n_atoms)
        self._start = np.concatenate([[0], np.cumsum(self.count)])

    @property
    def left_out(self) -> IntArray:
        """Atoms of no site."""
        return np.flatnonzero(self.count == 0)

    @property
    def shared(self) -> IntArray:
        """Atoms of several sites."""
        return np.flatnonzero(self.count > 1)

    def sites_of(self, atom: int) -> IntArray:
        """Sites of an atom."""
        return self._site[self._start[atom] : self._start[atom + 1]]

    def links(self, pairs: IntArray) -> Links:
        """Pairs of atoms (n, 2) as links of sites; those with an atom of no site are left out."""
        a, b = pairs[:, 0], pairs[:, 1]
        several = self.count[a] * self.count[b]
        row = np.repeat(np.arange(len(pairs)), several)
        k = np.arange(len(row)) - np.repeat(np.cumsum(several) - several, several)
        width = self.count[b][row]
        at = self._start[a][row] + k // np.maximum(width, 1)
        to = self._start[b][row] + k % np.maximum(width, 1)
        columns = np.stack([self._column[at], self._column[to]], axis=1)
        return Links(self._site[at], self._site[to], columns)

    def site_bonds(self, pairs: IntArray) -> IntArray:
        """(n, 2) sites joined by bonds of atoms, or by an atom that they share; both ends too."""
        own = np.repeat(self.shared[:, None], 2, axis=1)
        return np.concatenate([self.links(pairs).sites, self.links(own).sites])
