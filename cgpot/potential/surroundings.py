# SPDX-License-Identifier: GPL-2.0-or-later
"""How far the surroundings pull bonds apart: generalised forces along bond lengths.

A bond grows alone when all that hangs on one end moves along it as one body: other lengths
and angles stay as they are, and the force on that body is the force along the bond (a
vector field b with b.grad r = 1; Ciccotti, Kapral & Vanden-Eijnden, ChemPhysChem 6, 1809 (2005)).
The mean over both ends is taken.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
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
    none = np.zeros(0, dtype=np.int64)
    rows: list[list[IntArray]] = [[none], [none]]
    members: list[list[IntArray]] = [[none], [none]]
    for neighbours, chain, terms, molecules in _chains(topology, sites):
        for end, (start, first) in enumerate((chain, chain[::-1])):
            body = _side(neighbours, start, first)
            if body is None:
                open_[terms] = False
                continue
            members[end].append(molecules[:, body].ravel())
            rows[end].append(np.repeat(terms, len(body)))
    ends = zip(rows, members, strict=True)
    return open_, [(np.concatenate(r), np.concatenate(m)) for r, m in ends]


def ring_kinds(term: TermBasis) -> Mask:
    """Kinds (n_kinds,) of terms with a bond that lies in a ring, or with sites not bonded."""
    closed = np.zeros(term.n_kinds, dtype=bool)
    for neighbours, chain, terms, _ in _chains(term.topology, term.sites):
        if any(_side(neighbours, *pair) is None for pair in pairwise(chain)):
            closed[term.kind[terms]] = True
    return closed


def _chains(
    topology: Topology, sites: IntArray
) -> Iterator[tuple[list[set[int]], list[int], IntArray, IntArray]]:
    """Terms that join the same places in molecules of one species.

    Yields:
        Bonded neighbours of each place, the places, the rows of ``sites`` (n,), and the sites of
        the molecule of each, (n, n_sites of the species).
    """
    owner = topology.molecule_index[sites[:, 0]]
    for k, (kind, every) in enumerate(zip(topology.species, topology.species_sites, strict=True)):
        here = np.flatnonzero(topology.molecule_species[owner] == k)
        number = np.searchsorted(np.flatnonzero(topology.molecule_species == k), owner[here])
        chains, which = np.unique(topology.places[sites[here]], axis=0, return_inverse=True)
        neighbours = _neighbours(kind)
        for row, chain in enumerate(chains.tolist()):
            mine = which.ravel() == row
            yield neighbours, chain, here[mine], every[number[mine]]


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
