# SPDX-License-Identifier: GPL-2.0-or-later
"""Which sites of a molecule are bonded, and the angles, dihedrals and exclusions that follow."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pairs import Pairs
from cgpot.potential.basis import Mask
from cgpot.potential.species_terms import SpeciesTerms

IntArray = NDArray[np.int64]
Places = Sequence[Sequence[int]]
Between = str | Places | Mapping[str, Places] | None
"""Places of sites in the molecule (from 0), for all molecules or by species (or their beads)."""

TERM_SECTIONS = {2: "bonds", 3: "angles", 4: "dihedrals"}
NEAR = 3
"""Bonds between sites up to which pairs may be excluded (1-4)."""


def _array(found: list[tuple[int, ...]], width: int) -> IntArray:
    return np.array(found, dtype=np.int64).reshape(-1, width)


def listed(topology: Topology, between: Places | Mapping[str, Places], width: int) -> IntArray:
    """Terms (n, width) that are given by places in the molecules.

    Raises:
        ConfigError: a place beyond the molecule or given twice, no such species, beads of two
            isomers, or one list for molecules that differ.
    """
    key = f"model.{TERM_SECTIONS[width]}.between"
    kinds = [
        (kind, sites)
        for kind, sites in zip(topology.species, topology.species_sites, strict=True)
        if kind.n_sites > 1 and len(sites)
    ]
    known = sorted(kind.name for kind, _ in kinds)
    if not isinstance(between, Mapping):
        if len(known) > 1:
            raise ConfigError(
                f"one list for molecules of different beads or bonds ({', '.join(known)}); give a "
                f"list for each, as {{{known[0]}: ...}}",
                key=key,
            )
        between = dict.fromkeys(known, between)
    found: list[tuple[int, ...]] = []
    for name, places in between.items():
        mine = [k for k in kinds if k[0].name == name]
        mine = mine or [k for k in kinds if "-".join(k[0].beads) == name]
        if not mine:
            raise ConfigError(
                f"no molecule is of species {name!r} or has such beads; the data have "
                f"{known or 'single sites'}",
                key=key,
            )
        if len(mine) > 1:
            raise ConfigError(
                f"several species have the beads {name!r}: "
                f"{', '.join(kind.name for kind, _ in mine)}; give a list for each",
                key=key,
            )
        size = mine[0][0].n_sites
        for row in places:
            if len(set(row)) != width or len(row) != width or not all(0 <= p < size for p in row):
                raise ConfigError(
                    f"expected {width} different sites from 0 to {size - 1} of {name}, "
                    f"found {list(row)}",
                    key=key,
                )
            found += [tuple(int(m[p]) for p in row) for m in mine[0][1]]
    return _array(found, width)


def chosen(topology: Topology, sites: IntArray, types: Sequence[Sequence[str]] | None) -> IntArray:
    """Those terms whose beads are asked for, read from either end; all where ``types`` is None.

    Raises:
        ConfigError: an unknown bead type, or types that no term has.
    """
    if types is None:
        return sites
    width = sites.shape[1]
    key = f"model.{TERM_SECTIONS[width]}"
    found = topology.types[sites]
    keep = np.zeros(len(sites), dtype=bool)
    for names in types:
        for name in names:
            if name not in topology.type_names:
                raise ConfigError(
                    f"unknown bead type {name!r}; the data have {list(topology.type_names)}",
                    key=key,
                )
        wanted = np.array([topology.type_names.index(name) for name in names])
        mine = (found == wanted).all(axis=1) | (found == wanted[::-1]).all(axis=1)
        if not mine.any():
            if width == 2:
                a, b = names
                raise ConfigError(
                    f"no molecule holds both {a!r} and {b!r} as different sites", key=key
                )
            raise ConfigError(
                f"no {TERM_SECTIONS[width][:-1]} {'-'.join(names)} is among the {len(sites)} "
                f"{TERM_SECTIONS[width]} of the molecules",
                key=key,
            )
        keep |= mine
    return sites[keep]


def bond_sites(
    topology: Topology, types: Sequence[Sequence[str]] | None, between: Between = None
) -> IntArray:
    """Bonds (n, 2), the first site the smaller.

    Args:
        topology: the sites.
        types: pairs of types that are bonded; None: all of ``between``.
        between: None: all pairs of sites of a molecule; ``chain``: those that follow each other;
            or places in the molecule.

    Raises:
        ConfigError: see `listed` and `chosen`, or no bonds at all.
    """
    if between is None:
        pairs = [
            (int(a), int(b)) for m in topology.members for k, a in enumerate(m) for b in m[k + 1 :]
        ]
        sites = _array(list(pairs), 2)
    elif between == "chain":
        sites = _array(
            [(int(a), int(b)) for m in topology.members for a, b in pairwise(m)],
            2,
        )
    else:
        assert not isinstance(between, str)
        sites = listed(topology, between, 2)
    sites = np.unique(np.sort(sites, axis=1), axis=0)
    sites = chosen(topology, sites, types)
    if len(sites) == 0:
        raise ConfigError(
            "bonds were asked for, but every molecule is a single site", key="model.bonds"
        )
    return sites


def neighbours(bonds: IntArray) -> dict[int, list[int]]:
    """Sites bonded to each site."""
    found: dict[int, set[int]] = defaultdict(set)
    for a, b in bonds.tolist():
        found[a].add(b)
        found[b].add(a)
    return {site: sorted(near) for site, near in found.items()}


def angle_sites(bonds: IntArray) -> IntArray:
    """All i-j-k along bonds, i < k, (n, 3)."""
    found = [
        (i, j, k)
        for j, near in sorted(neighbours(bonds).items())
        for n, i in enumerate(near)
        for k in near[n + 1 :]
    ]
    return _array(list(found), 3)


def dihedral_sites(bonds: IntArray) -> IntArray:
    """All i-j-k-l along bonds, j < k, of four different sites, (n, 4)."""
    near = neighbours(bonds)
    found = [
        (i, j, k, m)
        for j, k in sorted(map(tuple, np.sort(bonds, axis=1).tolist()))
        for i in near[j]
        for m in near[k]
        if len({i, j, k, m}) == 4
    ]
    return _array(list(found), 4)


def term_sites(
    topology: Topology,
    width: int,
    bonds: IntArray | None,
    types: Sequence[Sequence[str]] | None,
    between: Between,
) -> IntArray:
    """Angles (width 3) or dihedrals (4): those along the bonds, or those given.

    Raises:
        ConfigError: see `listed` and `chosen`; no bonds to go along, or no term at all.
    """
    word = TERM_SECTIONS[width]
    if between is None:
        if bonds is None:
            raise ConfigError(
                f"{word} follow the bonds, but model.bonds is null; give bonds, or the places of "
                f"the sites in model.{word}.between",
                key=f"model.{word}",
            )
        sites = angle_sites(bonds) if width == 3 else dihedral_sites(bonds)
    else:
        assert not isinstance(between, str)
        sites = listed(topology, between, width)
        # each once, whichever end it is read from
        backward = sites[:, 0] > sites[:, -1]
        sites[backward] = sites[backward, ::-1]
        sites = np.unique(sites, axis=0)
    if len(sites) == 0:
        raise ConfigError(
            f"{word} were asked for, but no molecule has {width} sites in a row along its bonds",
            key=f"model.{word}",
        )
    return chosen(topology, sites, types)


def separated(bonds: IntArray, distances: Sequence[int]) -> IntArray:
    """Pairs of sites (n, 2) whose shortest way along bonds is one of ``distances`` (up to 3)."""
    near = neighbours(bonds)
    found: list[tuple[int, ...]] = []
    for start in near:
        reached, edge = {start}, [start]
        for distance in range(1, NEAR + 1):
            edge = sorted({b for a in edge for b in near[a]} - reached)
            reached |= set(edge)
            if distance in distances:
                found += [(start, b) for b in edge if start < b]
    return _array(found, 2)


class Exclusions:
    """Pairs of sites that do not interact, in their nearest image, as in LAMMPS.

    They are those of species: frames of other molecules of the same species have them too.

    Args:
        topology: the sites; at least one molecule of each species.
        pairs: (n, 2) sites.
    """

    def __init__(self, topology: Topology, pairs: IntArray) -> None:
        self._terms = SpeciesTerms(topology, np.asarray(pairs).reshape(-1, 2), "excluded pairs")
        self._known: weakref.WeakKeyDictionary[Topology, IntArray] = weakref.WeakKeyDictionary()

    def _codes(self, topology: Topology) -> IntArray:
        found = self._known.get(topology)
        if found is None:
            low, high = np.sort(self._terms.on(topology)[0], axis=1).T
            found = self._known[topology] = np.unique(low * topology.n_sites + high)
        return found

    def __call__(self, frame: CGFrame, pairs: Pairs) -> Mask:
        """Which pairs of a neighbour list are excluded.

        Raises:
            DataError: a molecule of a species that is not known.
        """
        codes = self._codes(frame.topology)
        if len(codes) == 0:
            return np.zeros(len(pairs.i), dtype=bool)
        n = frame.topology.n_sites
        code = np.minimum(pairs.i, pairs.j) * n + np.maximum(pairs.i, pairs.j)
        place = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
        fraction = pairs.vector @ np.linalg.inv(frame.cell)
        nearest = (np.abs(fraction) <= 0.5 + 1e-9) | ~np.asarray(frame.pbc)
        return np.asarray((codes[place] == code) & nearest.all(axis=1))


def by_species(
    topology: Topology, terms: Mapping[str, tuple[IntArray, IntArray]]
) -> dict[str, dict[str, list[list[int]]]]:
    """Terms by the name of the species: rows of kind (from 1) and places.

    Args:
        topology: the sites.
        terms: name -> sites (n, width) and kind (n,).
    """
    record: dict[str, dict[str, list[list[int]]]] = {}
    for species, sites in zip(topology.species, topology.species_sites, strict=True):
        if not len(sites):
            continue
        record[species.name] = {
            word: np.column_stack([kind[mine] + 1, topology.places[joined[mine]]]).tolist()
            for word, (joined, kind) in terms.items()
            if (mine := np.isin(joined[:, 0], sites[0])).any()
        }
    return record


def species_record(topology: Topology) -> dict[str, dict[str, Any]]:
    """Beads and bonds (None: not known) of each species, by name."""
    return {
        kind.name: {
            "beads": list(kind.beads),
            "bonds": None if kind.bonds is None else [list(bond) for bond in kind.bonds],
        }
        for kind, sites in zip(topology.species, topology.species_sites, strict=True)
        if len(sites)
    }
