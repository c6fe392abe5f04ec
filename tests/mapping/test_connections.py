# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds between sites, species and molecules that the mapping finds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest
from mapping_systems import make_chains

from cgpot.core.config import validate
from cgpot.core.errors import CgpotError, ConfigError
from cgpot.formats.atomistic import AtomTopology
from cgpot.formats.gromacs import read_topology
from cgpot.mapping.connections import atom_molecules
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import MappingSpec
from cgpot.molecules.species import Species

PAIR = ((0, 1),)
CHAIN = ((0, 1), (1, 2))


def build(topology: AtomTopology, data: dict[str, Any]) -> SiteMap:
    return resolve(validate(MappingSpec, data, "m.yaml"), topology, "m.yaml")


def blocks(size: int, sites: list[Any], types: dict[str, list[int]], **more: Any) -> dict[str, Any]:
    """A mapping of equal molecules of ``size`` atoms."""
    return {
        "site-types": {name: {"index": index} for name, index in types.items()},
        "system": [{"repeat": "all", "offset": size, "sites": sites, **more}],
    }


def system(
    sizes: list[int], bonds: list[tuple[int, int]], names: list[str] | None = None, **more: Any
) -> AtomTopology:
    """Molecules of atoms of 12 amu; bonds by atom."""
    molecules = np.repeat(np.arange(len(sizes)), sizes)
    values: dict[str, Any] = {
        "path": Path("a.tpr"),
        "n_atoms": len(molecules),
        "masses": np.full(len(molecules), 12.0),
        "bonds": np.array(bonds, dtype=np.int64).reshape(-1, 2),
        "molecules": molecules,
        "constraints": np.zeros((0, 2), dtype=np.int64),
    }
    if names is not None:
        values["molecule_types"] = np.repeat(names, sizes)
    return AtomTopology(**(values | more))


@pytest.fixture
def chains(rng: np.random.Generator) -> AtomTopology:
    return make_chains(rng, "orthorhombic").topology()


TWO = blocks(3, [["A", 0], ["B", 2]], {"A": [0, 1], "B": [0]})
THREE = blocks(3, [["A", 0], ["B", 1], ["C", 2]], {"A": [0], "B": [0], "C": [0]})


def test_sites_are_bonded_where_their_atoms_are(chains: AtomTopology) -> None:
    assert build(chains, TWO).topology.species == (Species("A-B", ("A", "B"), PAIR),)
    found = build(chains, THREE).topology
    assert found.species == (Species("A-B-C", ("A", "B", "C"), CHAIN),)
    np.testing.assert_array_equal(found.bonds[:2], [[0, 1], [1, 2]])
    assert len(found.bonds) == 24


def test_a_site_of_one_molecule_is_named_after_its_bead(chains: AtomTopology) -> None:
    one = blocks(3, [["MOL", 0]], {"MOL": [0, 1, 2]})
    named = replace(chains, molecule_types=np.full(36, "ETHANOL"))
    for topology in (chains, named):
        found = build(topology, one).topology
        assert found.species == (Species("MOL", ("MOL",)),)
        assert found.is_plain
    stated = build(named, blocks(3, [["MOL", 0]], {"MOL": [0, 1, 2]}, species="EtOH")).topology
    assert stated.species == (Species("EtOH", ("MOL",)),)


def test_names_of_species(chains: AtomTopology) -> None:
    named = replace(chains, molecule_types=np.full(36, "Chain A/1"))
    assert build(named, TWO).topology.species[0].name == "Chain_A_1"
    stated = blocks(3, [["A", 0], ["B", 2]], {"A": [0, 1], "B": [0]}, species="PROP")
    assert build(named, stated).topology.species[0].name == "PROP"
    with pytest.raises(ConfigError, match="species': String should match pattern"):
        build(named, blocks(3, [["A", 0], ["B", 2]], {"A": [0, 1], "B": [0]}, species="a b"))


def test_constraints_count_as_bonds() -> None:
    # A-A=B-B with the middle joined by a constraint only would be refused as a force map, so
    # the constraint lies in a site and without it the site would be two pieces
    rigid = system([3], [(1, 2)], constraints=np.array([[0, 1]]))
    assert atom_molecules(replace(rigid, molecules=None)).tolist() == [0, 0, 0]  # type: ignore[union-attr]
    assert build(replace(rigid, molecules=None), TWO).topology.species[0].bonds == PAIR


RING = [(k, (k + 1) % 6) for k in range(6)]
RING_MAP = {"A": [0, 1]}
RING_SITES = [["A", 0], ["A", 2], ["A", 4]]


def test_rings_and_branches() -> None:
    ring = build(system([6], RING), blocks(6, RING_SITES, RING_MAP)).topology
    assert ring.species[0].bonds == ((0, 1), (0, 2), (1, 2))
    assert ring.separated((1,)).tolist() == [[0, 1], [0, 2], [1, 2]]
    star = system([7], [(0, 1), (0, 3), (0, 5), (1, 2), (3, 4), (5, 6)])
    sites = [["B", 0], ["A", 1], ["A", 3], ["A", 5]]
    found = build(star, blocks(7, sites, {"B": [0], "A": [0, 1]})).topology
    assert found.species[0].bonds == ((0, 1), (0, 2), (0, 3))
    assert len(found.angles) == 3


def test_two_species_and_the_names_of_molecule_types() -> None:
    atoms = system([1, 2, 1, 2], [(1, 2), (4, 5)], ["W", "DIM", "W", "DIM"])
    mixed = {
        "site-types": {"W": {"index": [0]}, "A": {"index": [0]}},
        "system": [
            {"anchor": 0, "repeat": 1, "offset": 1, "sites": [["W", 0]]},
            {"anchor": 1, "repeat": 1, "offset": 2, "sites": [["A", 0], ["A", 1]]},
            {"anchor": 3, "repeat": 1, "offset": 1, "sites": [["W", 0]]},
            {"anchor": 4, "repeat": 1, "offset": 2, "sites": [["A", 0], ["A", 1]]},
        ],
    }
    found = build(atoms, mixed).topology
    assert found.species == (Species("W", ("W",)), Species("DIM", ("A", "A"), PAIR))
    assert found.molecule_species.tolist() == [0, 1, 0, 1]
    mixed["system"][1]["species"] = mixed["system"][3]["species"] = "DIMER"  # type: ignore[index]
    assert build(atoms, mixed).topology.species[1].name == "DIMER"
    mixed["system"][0]["species"] = "DIMER"  # type: ignore[index]
    with pytest.raises(
        ConfigError,
        match=r"m\.yaml: two species of one name, 'DIMER': molecule 0 has the beads \[W\], "
        r"molecule 1 \[A, A\]",
    ):
        build(atoms, mixed)


def test_isomers_of_one_block_are_refused() -> None:
    atoms = system([3, 3], [(0, 1), (1, 2), (3, 4), (3, 5)])
    with pytest.raises(
        ConfigError,
        match=r"key 'system\.0': molecule 1 of this block is A-A-A_2 \(A-A-A\) with the bonds "
        r"\[0-1, 0-2\], molecule 0 is A-A-A with the bonds \[0-1, 1-2\]; expected all equal",
    ):
        build(atoms, blocks(3, [["A", 0], ["A", 1], ["A", 2]], {"A": [0]}))
    named = replace(atoms, molecule_types=np.full(6, "M"))
    with pytest.raises(
        ConfigError, match=r"two species of one name, 'M': molecule 0 has the bonds"
    ):
        build(named, blocks(3, [["A", 0], ["A", 1], ["A", 2]], {"A": [0]}))


def test_a_molecule_in_pieces_is_refused() -> None:
    atoms = system([3, 3], [(0, 1), (1, 2), (3, 4)])
    with pytest.raises(
        ConfigError,
        match=r"molecule 1 \(sites 3 to 5\): species 'A-B-C_2': its bonds leave 2 pieces; no bond "
        r"joins site 2 \(C\) to site 0 \(A\).*sites are bonded where their atoms are, in a\.tpr",
    ):
        build(atoms, THREE)


def test_molecules_that_contradict_the_topology(chains: AtomTopology) -> None:
    # every second atom first: neighbouring numbers belong to different molecules
    order = np.argsort(np.arange(36) % 3, kind="stable")
    place = np.argsort(order)
    bonds = place[chains.bonds]
    for molecules in (chains.molecules[order], None, np.zeros(36, dtype=np.int64)):  # type: ignore[index]
        mixed = replace(chains, bonds=bonds, molecules=molecules)
        with pytest.raises(
            ConfigError,
            match=r"m\.yaml: site 0 \(A, molecule 0\) holds atoms 0 and 1, which belong to "
            r"molecules 0 and 1 of chains\.tpr; expected a site within one molecule",
        ):
            build(mixed, TWO)
    with pytest.raises(
        ConfigError,
        match=r"sites 0 \(A\) and 1 \(A\) are of one molecule, 0, in the mapping, but of molecules "
        r"0 and 1 in chains\.tpr",
    ):
        build(chains, blocks(6, [["A", 0], ["A", 3]], {"A": [0, 1, 2]}))


def test_bonds_that_leave_a_molecule_are_refused() -> None:
    atoms = system([4], [(0, 1), (1, 2), (2, 3)])
    with pytest.raises(
        ConfigError,
        match=r"site 1 \(A\) is of molecule 1 in the mapping, but a\.tpr has it in one molecule, "
        "0, with those of molecule 0; expected whole molecules, so that no bond leaves them",
    ):
        build(atoms, blocks(2, [["A", 0]], {"A": [0, 1]}))


def test_molecule_numbers_by_residue_give_way_to_bonds() -> None:
    atoms = system([4], [(0, 1), (1, 2), (2, 3)], molecules=np.array([0, 0, 1, 1]))
    found = build(atoms, blocks(4, [["A", 0], ["A", 2]], {"A": [0, 1]})).topology
    assert found.species[0].bonds == PAIR


def test_stated_bonds_where_the_topology_has_none() -> None:
    bare = replace(system([3, 3], []), molecules=None, bonds=None, constraints=None)
    unknown = build(bare, THREE).topology
    assert unknown.species == (Species("A-B-C", ("A", "B", "C"), None),)
    assert not unknown.has_bonds
    stated = blocks(3, THREE["system"][0]["sites"], {"A": [0], "B": [0], "C": [0]})
    stated["system"][0] |= {"bonds": [[1, 0], [2, 1]], "species": "TRI"}
    for atoms in (bare, system([3, 3], [])):
        found = build(atoms, stated).topology
        assert found.species == (Species("TRI", ("A", "B", "C"), CHAIN),)
        np.testing.assert_array_equal(found.bonds, [[0, 1], [1, 2], [3, 4], [4, 5]])


@pytest.mark.parametrize(
    ("bonds", "match"),
    [
        ([[0, 1], [0, 1], [1, 2]], r"key 'system\.0\.bonds': .*the bond \[0, 1\] is given twice"),
        ([[0, 1], [1, 3]], "names place 3; expected 0 to 2"),
        ([[0, 1]], "its bonds leave 2 pieces"),
        ([[0, 0], [0, 1], [1, 2]], "names a site twice"),
        ([[0, 1], [1, -2]], "greater than or equal to 0"),
    ],
)
def test_stated_bonds_that_are_wrong(bonds: list[list[int]], match: str) -> None:
    data = blocks(3, THREE["system"][0]["sites"], {"A": [0], "B": [0], "C": [0]}, bonds=bonds)
    with pytest.raises(ConfigError, match=match):
        build(system([3, 3], []), data)


def test_a_ring_that_stated_bonds_cut() -> None:
    atoms = system([6, 6], RING + [(a + 6, b + 6) for a, b in RING])
    whole = blocks(6, RING_SITES, RING_MAP, bonds=[[0, 1], [1, 2], [0, 2]])
    assert build(atoms, whole).topology.species[0].bonds == ((0, 1), (0, 2), (1, 2))
    with pytest.raises(
        ConfigError,
        match=r"key 'system\.0\.bonds': a\.tpr bonds sites 0 \(A\) and 2 \(A\) of molecule 0, the "
        r"mapping does not: stated are \[0-1, 1-2\], between the atoms there are "
        r"\[0-1, 0-2, 1-2\]; expected the same",
    ):
        build(atoms, blocks(6, RING_SITES, RING_MAP, bonds=[[0, 1], [1, 2]]))
    line = system([6], RING[:5])
    with pytest.raises(ConfigError, match=r"the mapping bonds sites 0 \(A\) and 2 .* a\.tpr does"):
        build(line, blocks(6, RING_SITES, RING_MAP, bonds=[[0, 1], [1, 2], [0, 2]]))


@pytest.mark.parametrize("nested", ["groups", "sites"])
def test_nested_groups_are_those_written_out(nested: str) -> None:
    """The ionic liquid of OpenMSCG's manual, shortened: head, three repeats, tail."""
    n = 3
    size = 2 + 3 * 2 + 1
    bonds = [(m * size + k, m * size + k + 1) for m in range(n) for k in range(size - 1)]
    atoms = system([2] + [size] * n, [(0, 1)] + [(a + 2, b + 2) for a, b in bonds])
    types = {"H": {"index": [0, 1]}, "M": {"index": [0, 1]}, "T": {"index": [0]}}
    first = {"repeat": 1, "offset": 2, "sites": [["H", 0]]}
    flat = [["H", 0], ["M", 2], ["M", 4], ["M", 6], ["T", 8]]
    groups = [
        {"anchor": 0, "repeat": 1, "offset": 2, "sites": [["H", 0]]},
        {"anchor": 2, "repeat": 3, "offset": 2, "sites": [["M", 0]]},
        {"anchor": 8, "offset": 1, "sites": [["T", 0]]},
    ]
    block = {"anchor": 2, "repeat": n, "offset": size}
    expected = build(atoms, {"site-types": types, "system": [first, {**block, "sites": flat}]})
    found = build(atoms, {"site-types": types, "system": [first, {**block, nested: groups}]})
    assert found.topology.same_as(expected.topology)
    assert found.topology.species[1].bonds == ((0, 1), (1, 2), (2, 3), (3, 4))
    for a, b in zip(found.groups, expected.groups, strict=True):
        np.testing.assert_array_equal(a.atoms, b.atoms)


def test_groups_within_groups() -> None:
    inner = {"anchor": 1, "repeat": 2, "offset": 2, "sites": [["A", 0]]}
    outer = {"anchor": 3, "repeat": 2, "offset": 5, "groups": [inner], "sites": [["B", 0]]}
    data = {
        "site-types": {"A": {"index": [0, 1]}, "B": {"index": [0]}, "C": {"index": [0, 1, 2]}},
        "system": [{"repeat": 2, "offset": 13, "sites": [["C", 0], outer]}],
    }
    spec = validate(MappingSpec, data, "m.yaml")
    assert spec.system is not None
    assert spec.system[0].places() == [
        ("C", 0), ("A", 4), ("A", 6), ("B", 3), ("A", 9), ("A", 11), ("B", 8),
    ]  # fmt: skip
    chain = [(m * 13 + k, m * 13 + k + 1) for m in range(2) for k in range(12)]
    found = build(system([13, 13], chain), data).topology
    # the order of the sites is that of the file, the bonds those of the chain
    assert found.species[0].bonds == ((0, 3), (1, 2), (1, 3), (2, 6), (4, 5), (4, 6))
    for change, match in (
        ({"anchor": 4}, r"reaches atom 13 of a molecule of 13 atoms"),
        ({"sites": [], "groups": None}, "'sites' is empty"),
        ({"sites": [["D", 0]]}, "site type 'D' of 'system' is not among"),
    ):
        wrong = {
            **data,
            "system": [{**data["system"][0], "sites": [["C", 0], {**outer, **change}]}],
        }  # type: ignore[index]
        with pytest.raises(CgpotError, match=match):
            build(system([13, 13], chain), wrong)


def polymer(residues: int = 4, molecules: int = 2) -> AtomTopology:
    """Chains of residues of three atoms, the third a side group; water between them."""
    size = 3 * residues
    n = size * molecules + 2
    resindex = np.concatenate([np.arange(size * molecules) // 3, [10**3, 10**3]])
    _, resindex = np.unique(resindex, return_inverse=True)
    universe = MDAnalysis.Universe.empty(
        n, n_residues=int(resindex.max()) + 1, atom_resindex=resindex, trajectory=False
    )
    universe.add_TopologyAttr("name", [*["C1", "C2", "X"] * (residues * molecules), "O", "O"])
    bonds = []
    for start in range(0, size * molecules, 3):
        bonds += [(start, start + 1), (start + 1, start + 2)]
        if (start + 3) % size:
            bonds.append((start + 1, start + 3))
    bonds.append((n - 2, n - 1))
    counts = [size] * molecules + [2]
    return system(counts, bonds, ["PE"] * molecules + ["OXY"], universe=universe)


def by_residue(**types: Any) -> dict[str, Any]:
    return {"site-types": types}


def test_a_polymer_by_residue() -> None:
    mono = {"selection": "name C1 C2 X", "group": "residues"}
    data = by_residue(O={"selection": "name O"}, MON=mono)
    found = build(polymer(), data).topology
    assert found.species == (
        Species("PE", ("MON",) * 4, ((0, 1), (1, 2), (2, 3))),
        Species("O", ("O",)),
    )
    assert found.molecule_species.tolist() == [0, 0, 1]
    side = {"selection": "name X", "group": "residues"}
    back = {"selection": "name C1 C2", "group": "residues"}
    found = build(polymer(3, 1), by_residue(S=side, B=back, O={"selection": "name O"})).topology
    assert found.species[0].beads == ("B", "S") * 3
    assert found.species[0].bonds == ((0, 1), (0, 2), (2, 3), (2, 4), (4, 5))
    # without groups the selected atoms of a molecule are one site
    one = build(polymer(), by_residue(M={"selection": "name C1 C2 X"}, O={"selection": "name O"}))
    assert [kind.n_sites for kind in one.topology.species] == [1, 1]


def test_groups_go_with_selections() -> None:
    with pytest.raises(ConfigError, match="'group' goes with 'selection'"):
        build(polymer(), by_residue(A={"index": [0], "group": "residues"}))
    with pytest.raises(ConfigError, match="'molecules' or 'residues'"):
        build(polymer(), by_residue(A={"selection": "all", "group": "segments"}))


def test_the_shipped_benzene_cut_in_halves(raw: Path) -> None:
    halves = build(
        read_topology(raw / "flexible.tpr"),
        {
            "site-types": {
                "A": {"selection": "name C1 C2 C3 H1 H2 H3"},
                "B": {"selection": "name C4 C5 C6 H4 H5 H6"},
            }
        },
    ).topology
    (kind,) = halves.species
    assert (kind.beads, kind.bonds) == (("A", "B"), PAIR)
    assert kind.name == read_topology(raw / "flexible.tpr").molecule_types[0]  # type: ignore[index]
