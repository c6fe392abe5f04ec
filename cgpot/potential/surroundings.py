# SPDX-License-Identifier: GPL-2.0-or-later
"""How far the surroundings pull bonds apart: generalised forces along bond lengths.

A bond grows alone when all that hangs on one end moves along it as one body: other lengths
and angles stay as they are, and the force on that body is the force along the bond (a
vector field b with b.grad r = 1; Ciccotti, Kapral & Vanden-Eijnden, ChemPhysChem 6, 1809 (2005)).
The mean over both ends is taken.
"""

from __future__ import annotations

import weakref
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.potential.bonds import BondBasis
from cgpot.potential.term_basis import Measured, TermBasis

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Bodies:
    """The bodies that hang on either end of bonds, for each topology.

    Args:
        term: the bonds.
    """

    def __init__(self, term: BondBasis) -> None:
        self.term = term
        self._known: weakref.WeakKeyDictionary[
            Topology, tuple[Mask, list[tuple[IntArray, IntArray]]]
        ] = weakref.WeakKeyDictionary()

    def of(self, frame: CGFrame) -> tuple[Mask, list[tuple[IntArray, IntArray]]]:
        """Whether each bond of a frame has bodies (it lies in no ring), and for both ends the
        members: bond and site of each.
        """
        found = self._known.get(frame.topology)
        if found is None:
            sites, _ = self.term.terms_on(frame)
            found = self._known[frame.topology] = _bodies(frame.topology, sites)
        return found

    def forces(self, frame: CGFrame, measured: Measured, forces: Array) -> tuple[Mask, Array]:
        """Which bonds have bodies, and the force (bonds,) that draws each apart, eV/Å.

        Args:
            frame: the sites.
            measured: the bonds on it.
            forces: (n, 3) on the sites, eV/Å.
        """
        open_, ends = self.of(frame)
        n = len(measured.value)
        total = np.zeros(n)
        for end, (rows, members) in enumerate(ends):
            pulled = [np.bincount(rows, forces[members, k], minlength=n) for k in range(3)]
            total += np.einsum("at,ta->t", np.array(pulled), measured.gradient[:, 1 - end])
        return open_, 0.5 * total


def _bodies(topology: Topology, sites: IntArray) -> tuple[Mask, list[tuple[IntArray, IntArray]]]:
    """See `Bodies.of`."""
    open_ = np.ones(len(sites), dtype=bool)
    members: list[list[IntArray]] = [[], []]
    rows: list[list[IntArray]] = [[], []]
    place = np.zeros(topology.n_sites, dtype=np.int64)
    for mine in topology.species_sites:
        place[mine] = np.arange(mine.shape[1])
    row_of = np.zeros(topology.n_molecules, dtype=np.int64)
    for k in range(len(topology.species)):
        own = topology.molecule_species == k
        row_of[own] = np.arange(int(own.sum()))
    owner = topology.molecule_index[sites[:, 0]] if len(sites) else np.zeros(0, dtype=np.int64)
    for k, (kind, mine) in enumerate(zip(topology.species, topology.species_sites, strict=True)):
        here = np.flatnonzero(topology.molecule_species[owner] == k)
        if not len(here):
            continue
        neighbours = _neighbours(kind)
        local = place[sites[here]]
        unique, which = np.unique(local, axis=0, return_inverse=True)
        for number, chain in enumerate(unique.tolist()):
            terms = here[which.ravel() == number]
            for end, (start, first) in enumerate((chain, chain[::-1])):
                body = _side(neighbours, start, first)
                if body is None:
                    open_[terms] = False
                    continue
                of_molecules = mine[row_of[owner[terms]]][:, body]
                members[end].append(of_molecules.ravel())
                rows[end].append(np.repeat(terms, len(body)))
    empty = [np.zeros(0, dtype=np.int64)]
    return open_, [
        (np.concatenate(rows[end] or empty), np.concatenate(members[end] or empty))
        for end in (0, 1)
    ]


def ring_kinds(term: TermBasis) -> Mask:
    """Kinds (n_kinds,) of terms with a bond that lies in a ring, or with sites not bonded."""
    topology, closed = term.topology, np.zeros(term.n_kinds, dtype=bool)
    owner = topology.molecule_species[topology.molecule_index[term.sites[:, 0]]]
    for k, (kind, mine) in enumerate(zip(topology.species, topology.species_sites, strict=True)):
        neighbours = _neighbours(kind)
        place = {int(site): p for row in mine for p, site in enumerate(row)}
        open_: dict[tuple[int, int], bool] = {}
        for sites, number in zip(
            term.sites[owner == k].tolist(), term.kind[owner == k].tolist(), strict=True
        ):
            for pair in pairwise(place[site] for site in sites):
                if pair not in open_:
                    open_[pair] = _side(neighbours, *pair) is not None
                closed[number] |= not open_[pair]
    return closed


def _neighbours(kind: Species) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(kind.n_sites)]
    for a, b in kind.bonds or ():
        found[a].add(b)
        found[b].add(a)
    return found


def _side(neighbours: list[set[int]], start: int, first: int) -> list[int] | None:
    """Sites on the side of ``first`` when its bond to ``start`` is cut.

    None where they are not bonded, or a ring joins both sides.
    """
    if first not in neighbours[start]:
        return None
    found, queue = {first}, [first]
    while queue:
        site = queue.pop()
        for other in neighbours[site]:
            if (site, other) == (first, start):
                continue
            if other == start:
                return None
            if other not in found:
                found.add(other)
                queue.append(other)
    return sorted(found)
