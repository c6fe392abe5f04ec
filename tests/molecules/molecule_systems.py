# SPDX-License-Identifier: GPL-2.0-or-later
"""Molecules of many shapes for the tests."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

WATER = Species("WAT", ("W",))
CHAIN = Species("HEX", ("A", "B", "A"), ((0, 1), (1, 2)))
ISOMER = Species("ISO", ("A", "B", "A"), ((0, 1), (0, 2)))
RING = Species("RING", ("B",) * 6, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)))
TRIANGLE = Species("TRI", ("A",) * 3, ((0, 1), (1, 2), (0, 2)))
STAR = Species("STAR", ("B", "A", "A", "A", "W"), ((0, 1), (0, 2), (0, 3), (3, 4)))
FUSED = Species(
    "FUSED",
    ("A",) * 8,
    ((0, 1), (1, 2), (2, 3), (0, 3), (2, 4), (4, 5), (5, 6), (6, 7), (3, 6)),
)
LONG = Species("LONG", ("A",) * 40, tuple((k, k + 1) for k in range(39)))
EVERY = (WATER, CHAIN, ISOMER, RING, TRIANGLE, STAR, FUSED, LONG)
NAMES, MASSES = ("A", "B", "W"), (15.0, 14.0, 18.0)


def mixture(
    kinds: tuple[Species, ...] = EVERY, each: int = 3, seed: int | None = 5, **more: object
) -> Topology:
    """Molecules in random order; with a seed, their sites are scattered over the numbers."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(kinds)), each)
    rng.shuffle(label)
    molecules = np.repeat(np.arange(len(label)), [kinds[k].n_sites for k in label])
    types = np.array([NAMES.index(bead) for k in label for bead in kinds[k].beads])
    if seed is not None:
        keep = rng.permutation(len(molecules))
        # the order within a molecule stays, only the molecules are interleaved
        scattered = molecules[keep]
        own = np.argsort(scattered, kind="stable")
        new_types = np.empty_like(types)
        new_types[own] = types
        molecules, types = scattered, new_types
    return Topology(NAMES, MASSES, types, molecules, species=kinds, molecule_species=label, **more)  # type: ignore[arg-type]


def plain_bonds(topology: Topology) -> set[tuple[int, int]]:
    """Bonds of all molecules, molecule by molecule in plain Python."""
    found = set()
    for number, molecule in enumerate(sorted(set(topology.molecules.tolist()))):
        sites = [s for s in range(topology.n_sites) if topology.molecules[s] == molecule]
        for a, b in topology.species[topology.molecule_species[number]].bonds or ():
            found.add(tuple(sorted((sites[a], sites[b]))))
    return found  # type: ignore[return-value]


def all_distances(n: int, bonds: set[tuple[int, int]]) -> NDArray[np.float64]:
    """Bonds between all pairs of sites (Floyd and Warshall); infinite between molecules."""
    far = np.full((n, n), np.inf)
    np.fill_diagonal(far, 0.0)
    for a, b in bonds:
        far[a, b] = far[b, a] = 1.0
    for middle in range(n):
        np.minimum(far, far[:, [middle]] + far[[middle]], out=far)
    return far


def walks(n: int, bonds: set[tuple[int, int]], width: int) -> set[tuple[int, ...]]:
    """Terms of different sites in a row along bonds, each from its lower end."""
    near: dict[int, list[int]] = {k: [] for k in range(n)}
    for a, b in bonds:
        near[a].append(b)
        near[b].append(a)
    rows: list[tuple[int, ...]] = [(k,) for k in range(n)]
    for _ in range(width - 1):
        rows = [(*r, k) for r, k in itertools.chain(*([(r, k) for k in near[r[-1]]] for r in rows))]
        rows = [r for r in rows if len(set(r)) == len(r)]
    return {min(r, r[::-1]) for r in rows}
