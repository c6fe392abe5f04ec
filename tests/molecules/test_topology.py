# SPDX-License-Identifier: GPL-2.0-or-later
"""Topology: what follows from species and bonds, against plain Python over all sites."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from molecule_systems import (
    CHAIN,
    EVERY,
    FUSED,
    ISOMER,
    LONG,
    MASSES,
    NAMES,
    RING,
    STAR,
    TRIANGLE,
    WATER,
    all_distances,
    mixture,
    plain_bonds,
    walks,
)

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.potential import connectivity

KINDS = pytest.mark.parametrize(
    "kinds", [EVERY, (CHAIN,), (RING,), (TRIANGLE,), (STAR,), (FUSED, WATER), (LONG, ISOMER)]
)


@KINDS
def test_terms_are_those_of_walks_along_bonds(kinds: tuple[Species, ...]) -> None:
    topology = mixture(kinds)
    bonds = plain_bonds(topology)
    assert {tuple(b) for b in topology.bonds.tolist()} == bonds
    assert len(topology.bonds) == len(bonds)
    for found, width in ((topology.angles, 3), (topology.dihedrals, 4)):
        rows = [tuple(r) for r in found.tolist()]
        assert {min(r, r[::-1]) for r in rows} == walks(topology.n_sites, bonds, width)
        assert len(set(rows)) == len(rows)
    # the same, in the same order, as what MS-CG uses
    np.testing.assert_array_equal(topology.angles, connectivity.angle_sites(topology.bonds))
    np.testing.assert_array_equal(topology.dihedrals, connectivity.dihedral_sites(topology.bonds))


@KINDS
def test_bond_distances_are_the_shortest(kinds: tuple[Species, ...]) -> None:
    topology = mixture(kinds, each=2)
    n = topology.n_sites
    far = all_distances(n, plain_bonds(topology))
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    found = topology.bond_distance_of(i, j)
    expected = np.where(np.isinf(far), 0, np.minimum(far, 4))
    np.fill_diagonal(expected, 4)
    np.testing.assert_array_equal(found, expected)
    for distances in ((1,), (2,), (3,), (1, 2), (1, 2, 3)):
        pairs = topology.separated(distances)
        wanted = np.argwhere(np.isin(far, distances) & (i < j))
        np.testing.assert_array_equal(pairs, wanted)
        old = connectivity.separated(topology.bonds, distances)
        assert {*map(tuple, old.tolist())} == {*map(tuple, pairs.tolist())}


def test_no_bonds_at_all() -> None:
    topology = mixture((WATER,))
    assert len(topology.bonds) == len(topology.angles) == len(topology.dihedrals) == 0
    assert topology.separated((1, 2)).shape == (0, 2)
    np.testing.assert_array_equal(topology.bond_distance_of([0, 0], [0, 1]), [4, 0])
    np.testing.assert_array_equal(topology.tree, np.arange(topology.n_sites))
    with pytest.raises(DataError, match="bond distance 4; expected 1, 2 or 3"):
        topology.separated((4,))


def test_given_angles_and_dihedrals_win() -> None:
    kind = Species(
        "RIG",
        ("A", "B", "A", "B"),
        ((0, 1), (1, 2), (2, 3)),
        angles=((0, 3, 1),),
        dihedrals=((1, 3, 0, 2),),
    )
    topology = mixture((kind,), each=2, seed=None)
    np.testing.assert_array_equal(topology.angles, [[0, 3, 1], [4, 7, 5]])
    np.testing.assert_array_equal(topology.dihedrals, [[2, 0, 3, 1], [6, 4, 7, 5]])
    none = mixture((replace(kind, angles=(), dihedrals=()),), each=2)
    assert len(none.angles) == len(none.dihedrals) == 0
    assert len(none.bonds) == 6


def test_molecules_and_their_sites() -> None:
    topology = mixture()
    assert topology.n_molecules == 24 == len(topology.members)
    for number, sites in enumerate(topology.members):
        assert (topology.molecule_index[sites] == number).all()
        assert sites.tolist() == sorted(sites.tolist())
        beads = topology.species[topology.molecule_species[number]].beads
        assert tuple(topology.names[s] for s in sites) == beads
    gaps = replace(topology, molecules=topology.molecules * 7 + 3)
    np.testing.assert_array_equal(gaps.molecule_index, topology.molecule_index)
    np.testing.assert_array_equal(gaps.bonds, topology.bonds)


def test_a_hundred_thousand_sites_in_one_chain_and_in_many() -> None:
    n = 100_000
    one = Topology.from_bonds(
        ("A",),
        (1.0,),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.stack([np.arange(n - 1), np.arange(1, n)], axis=1),
    )
    assert [len(x) for x in (one.bonds, one.angles, one.dihedrals)] == [n - 1, n - 2, n - 3]
    assert one.bond_distance_of(0, [1, 2, 3, 4, n - 1]).tolist() == [1, 2, 3, 4, 4]
    many = Topology(
        ("A",),
        (1.0,),
        np.zeros(n, dtype=np.int64),
        np.arange(n) // 4,
        species=(Species("A4", ("A",) * 4, ((0, 1), (1, 2), (2, 3))),),
    )
    assert [len(x) for x in (many.bonds, many.angles, many.dihedrals)] == [75000, 50000, 25000]
    assert many.bond_distance_of(5, [4, 6, 7, 8]).tolist() == [1, 1, 2, 0]


def bare(types: list[int], molecules: list[int], **more: Any) -> Topology:
    return Topology(NAMES, MASSES, np.array(types), np.array(molecules), **more)


def test_species_that_nobody_states() -> None:
    topology = bare([2, 0, 1, 0, 2, 0, 1, 1, 0, 0], [0, 1, 1, 1, 2, 3, 3, 4, 5, 5])
    assert topology.species == (
        Species("W", ("W",)),
        Species("A-B-A", ("A", "B", "A"), None),
        Species("A-B", ("A", "B"), None),
        Species("B", ("B",)),
        Species("A-A", ("A", "A"), None),
    )
    assert topology.molecule_species.tolist() == [0, 1, 0, 2, 3, 4]
    assert topology.is_plain
    assert not topology.has_bonds
    for ask in (
        lambda: topology.bonds,
        lambda: topology.angles,
        lambda: topology.tree,
        lambda: topology.bond_distance_of(0, 1),
    ):
        with pytest.raises(InputError, match="needs the bonds of species A-B-A, which the data do"):
            ask()
    with pytest.raises(InputError, match=r"a\.xyz: network training needs the bonds of species A-"):
        topology.require_bonds("network training", file="a.xyz")
    # a copy with other molecules finds its species anew
    apart = replace(topology, molecules=np.arange(10))
    assert {kind.name for kind in apart.species} == {"A", "B", "W"}
    assert apart.has_bonds


def test_long_molecules_of_equal_beginning_keep_apart() -> None:
    topology = bare([0] * 20 + [0] * 19 + [1], [0] * 20 + [1] * 20)
    assert [kind.name for kind in topology.species] == [
        "A-A-A-A-A-A-A-A-and-12-more",
        "A-A-A-A-A-A-A-A-and-12-more_2",
    ]


def test_species_from_bonds_tell_isomers_apart() -> None:
    types = [0, 1, 0] * 3 + [2]
    molecules = [0] * 3 + [1] * 3 + [2] * 3 + [3]
    bonds = np.array([[0, 1], [2, 1], [3, 4], [5, 3], [6, 7], [7, 8]])
    topology = Topology.from_bonds(
        NAMES, MASSES, np.array(types), np.array(molecules), bonds, type_charges=(0.5, -1.0, 0.0)
    )
    assert topology.species == (
        replace(CHAIN, name="A-B-A"),
        replace(ISOMER, name="A-B-A_2"),
        Species("W", ("W",)),
    )
    assert topology.molecule_species.tolist() == [0, 1, 0, 2]
    assert topology.charges.tolist() == [0.5, -1.0, 0.5] * 3 + [0.0]
    assert not topology.is_plain
    named = Topology.from_bonds(
        NAMES,
        MASSES,
        np.array(types),
        np.array(molecules),
        bonds,
        species_names=["HEX", "ISO", "HEX", None],
    )
    assert [kind.name for kind in named.species] == ["HEX", "ISO", "W"]
    with pytest.raises(
        DataError,
        match=r"two species of one name, 'HEX': molecule 0 has the bonds \[0-1, 1-2\], molecule 1 "
        r"\[0-1, 0-2\]",
    ):
        Topology.from_bonds(
            NAMES,
            MASSES,
            np.array(types),
            np.array(molecules),
            bonds,
            species_names=["HEX", "HEX", "HEX", None],
        )
    with pytest.raises(DataError, match=r"of one name, 'M': molecule 0 has the beads \[A, B, A\]"):
        Topology.from_bonds(
            NAMES,
            MASSES,
            np.array(types),
            np.array(molecules),
            bonds,
            species_names=["M", "I", "M", "M"],
        )


@pytest.mark.parametrize(
    ("bonds", "match"),
    [
        ([[0, 1], [1, 2], [2, 3]], "sites 2 and 3 are bonded, but belong to molecules 0 and 1"),
        (
            [[0, 1], [3, 4], [4, 5]],
            r"molecule 0 \(sites 0 to 2\): species 'A-B-A': its bonds leave 2",
        ),
    ],
)
def test_bonds_that_contradict_the_molecules(bonds: list[list[int]], match: str) -> None:
    with pytest.raises(DataError, match=match):
        Topology.from_bonds(
            NAMES, MASSES, np.array([0, 1, 0] * 2), np.repeat([0, 1], 3), np.array(bonds)
        )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"species": (CHAIN, replace(STAR, name="HEX"))}, "two species of one name, 'HEX'"),
        ({"species": (CHAIN,)}, r"molecule 3: no species has its beads W; expected one of HEX"),
        ({"species": (CHAIN, ISOMER, WATER)}, "molecule 0: 2 species have its beads A-B-A"),
        (
            {"species": (CHAIN, WATER), "molecule_species": np.array([0, 0])},
            "4 molecules, but 2 are given a species",
        ),
        (
            {"species": (CHAIN, WATER), "molecule_species": np.array([0, 0, 0, 2])},
            r"of species 0\.\.2, but 2 are given",
        ),
        (
            {"species": (CHAIN, WATER), "molecule_species": np.array([0, 1, 0, 1])},
            "molecule 1 has 3 sites; expected 1 of species WAT",
        ),
        (
            {
                "species": (CHAIN, replace(CHAIN, name="H2", beads=("A", "A", "A")), WATER),
                "molecule_species": np.array([0, 1, 0, 2]),
            },
            r"site 4 \(place 1 of molecule 1\) is 'B'; expected 'A' of species H2 \(A-A-A\)",
        ),
        (
            {"species": (CHAIN, Species("C", ("C",))), "molecule_species": np.array([0, 0, 0, 1])},
            "species 'C' has beads 'C'; the bead types are",
        ),
        ({"type_charges": (1.0,)}, "3 bead types but 1 charges"),
        ({"type_charges": (1.0, float("nan"), 0.0)}, "bead type 'B' has charge nan"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], match: str) -> None:
    types, molecules = [0, 1, 0] * 3 + [2], [0] * 3 + [1] * 3 + [2] * 3 + [3]
    good = bare(types, molecules, species=(CHAIN, WATER))
    assert good.molecule_species.tolist() == [0, 0, 0, 1]
    with pytest.raises(DataError, match=match):
        bare(types, molecules, **change)


def test_same_as_compares_species() -> None:
    topology = mixture((CHAIN, WATER), type_charges=(0.1, -0.2, 0.0))
    assert topology.same_as(mixture((CHAIN, WATER), type_charges=(0.1, -0.2, 0.0)))
    swapped = replace(
        topology, species=(WATER, CHAIN), molecule_species=1 - topology.molecule_species
    )
    assert topology.same_as(swapped)
    for other in (
        replace(topology, species=(ISOMER, WATER)),
        replace(topology, species=(replace(CHAIN, name="H"), WATER)),
        replace(topology, species=(replace(CHAIN, angles=()), WATER)),
        replace(topology, species=()),
    ):
        assert topology.same_sites(other)
        assert not topology.same_as(other)
    assert not topology.same_sites(replace(topology, type_charges=(0.1, 0.2, 0.0)))


def test_places_of_sites_in_molecules_that_are_interleaved() -> None:
    molecules = np.array([7, 3, 7, 3, 7])
    topology = Topology(("A", "B"), (1.0, 2.0), np.array([0, 1, 0, 0, 1]), molecules)
    seen: dict[int, int] = {}
    expected = []
    for molecule in molecules.tolist():
        expected.append(seen.get(molecule, 0))
        seen[molecule] = expected[-1] + 1
    assert topology.places.tolist() == expected == [0, 0, 1, 1, 2]
