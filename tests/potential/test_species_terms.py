# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonded terms by species: any order and number of molecules, and isomers told apart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "molecules"))

from molecule_systems import CHAIN, EVERY, ISOMER, MASSES, NAMES, WATER, mixture, plain_bonds

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.formats.lammps.bonded_sections import check_own_terms, sections_of
from cgpot.formats.lammps.cg_data import read_data, write_data
from cgpot.molecules.compositions import catalogue
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.matching import matching
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.potential.connectivity import listed
from cgpot.potential.species_terms import SpeciesTerms
from cgpot.training.linear.bonded_terms import BondedTerms, terms_along_bonds
from cgpot.training.settings.model_settings import MSCGConfig

KT = 0.02585


def test_terms_of_one_molecule_are_found_in_all() -> None:
    topology = mixture(EVERY, each=4)
    kinds = catalogue([topology])
    assert kinds.n_molecules == len(EVERY)
    bonds, rows = SpeciesTerms(kinds, kinds.bonds).on(topology)
    assert {tuple(sorted(b)) for b in bonds.tolist()} == plain_bonds(topology)
    assert len(bonds) == len(plain_bonds(topology))
    np.testing.assert_array_equal(
        np.sort(topology.types[bonds], axis=1), np.sort(kinds.types[kinds.bonds[rows]], axis=1)
    )
    for width, name in ((3, "angles"), (4, "dihedrals")):
        found, _ = SpeciesTerms(kinds, getattr(kinds, name)).on(topology)
        wanted = {min(tuple(t), tuple(t[::-1])) for t in getattr(topology, name).tolist()}
        assert {min(tuple(t), tuple(t[::-1])) for t in found.tolist()} == wanted
        assert found.shape == (len(wanted), width)


def test_terms_that_are_not_of_a_species() -> None:
    topology = mixture((CHAIN,), each=2, seed=None)
    with pytest.raises(DataError, match=r"sites \[2, 3\] of a term are of different molecules"):
        SpeciesTerms(topology, np.array([[0, 1], [2, 3]]))
    with pytest.raises(DataError, match=r"molecules 0 and 1 are both of species HEX .*different"):
        SpeciesTerms(topology, np.array([[0, 1], [3, 5]]))
    with pytest.raises(DataError, match="molecules 0 and 1 are both of species HEX"):
        SpeciesTerms(topology, np.array([[0, 1]]))


def test_which_species_a_species_is() -> None:
    known = [CHAIN, ISOMER, WATER]
    assert matching(CHAIN, known) == 0
    assert matching(replace(ISOMER, name="X"), known) == 1
    # the structure decides where a name stands for another isomer
    assert matching(replace(ISOMER, name="HEX"), known) == 1
    assert matching(replace(CHAIN, bonds=None), known) == 0
    with pytest.raises(DataError, match=r"species Y \(A-B-A\) .*not known may be any of HEX .*ISO"):
        matching(replace(CHAIN, name="Y", bonds=None), known)
    assert matching(replace(CHAIN, name="Y", bonds=None), [CHAIN, WATER]) == 0
    assert matching(Species("R", ("A", "B", "A"), ((0, 1), (0, 2), (1, 2))), known) is None
    assert matching(Species("C", ("B", "A"), ((0, 1),)), known) is None


def isomers(n: int = 4) -> CGFrame:
    """Chains A-B-A bonded 0-1-2 and 1-0-2, and waters, on a lattice."""
    rng = np.random.default_rng(8)
    topology = mixture((CHAIN, ISOMER, WATER), each=n)
    cell = np.diag([24.0, 24.0, 24.0])
    positions = np.zeros((topology.n_sites, 3))
    lattice = 6.0 * np.array(list(np.ndindex(4, 4, 4)), dtype=float) + 3.0
    shapes = {
        "HEX": np.array([[-2.0, 0, 0], [0, 0, 0], [1.2, 1.6, 0]]),
        "ISO": np.array([[0.0, 0, 0], [2.0, 0, 0], [-1.0, 1.7, 0]]),
        "WAT": np.zeros((1, 3)),
    }
    for corner, members, k in zip(
        lattice, topology.members, topology.molecule_species, strict=False
    ):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        shape = shapes[topology.species[k].name]
        positions[members] = corner + (shape + rng.normal(scale=0.05, size=shape.shape)) @ axes
    return CGFrame(topology, positions, cell)


@pytest.fixture
def bonded() -> BondedTerms:
    return terms_along_bonds([isomers()], KT, (1,))


def test_a_data_file_of_isomers(bonded: BondedTerms, tmp_path: Path) -> None:
    """The record tells them apart, a data file goes there and back, each with its own bonds."""
    frame = isomers()
    record = bonded.deployed()
    assert record is not None
    assert record["species"]["ISO"] == {"beads": ["A", "B", "A"], "bonds": [[0, 1], [0, 2]]}
    assert sorted(record["molecules"]) == ["HEX", "ISO", "WAT"]
    found = sections_of(record, frame.topology, "m.cgpot.json", "start")
    pairs = {tuple(sorted(row)) for row in found.terms["bonds"][:, 1:].tolist()}
    assert pairs == plain_bonds(frame.topology)
    path = write_data(tmp_path / "s.data", frame, bonded=found)
    back = read_data(path)
    assert next(kind.name for kind in back.topology.species if kind.n_sites > 1) == "A-B-A"
    again = sections_of(record, back.topology, "m.cgpot.json", path)
    for word, rows in found.terms.items():
        np.testing.assert_array_equal(again.terms[word], rows)
    check_own_terms(path, again)
    # forces of the two kinds of angles are those of each isomer's own middle
    angles, kinds = bonded.parts["angle"].terms_on(frame)
    assert len(angles) == 8
    middles = frame.topology.types[angles[:, 1]]
    assert sorted(set(zip(middles.tolist(), kinds.tolist(), strict=True))) == [(0, 0), (1, 1)]


def test_data_that_contradict_the_model(bonded: BondedTerms) -> None:
    """Site, molecule and what was expected are named."""
    record = bonded.deployed()
    assert record is not None
    topology = isomers().topology
    bare = Topology(NAMES, MASSES, topology.types, topology.molecules)
    with pytest.raises(
        InputError, match=r"start.data: molecule \d+ \(from site \d+\): .*may be any of HEX .*ISO"
    ):
        sections_of(record, bare, "m.cgpot.json", "start.data")
    ring = Species("R", ("A", "B", "A"), ((0, 1), (0, 2), (1, 2)))
    other = replace(topology, species=(ring, ISOMER, WATER))
    with pytest.raises(
        InputError,
        match=r"molecule \d+ \(from site \d+\) is R \(A-B-A\) with bonds 0-1, 0-2, 1-2; the model "
        r"\(m.cgpot.json\) expected one of: .*HEX \(A-B-A\) with bonds 0-1, 1-2",
    ):
        sections_of(record, other, "m.cgpot.json", "start.data")
    old = {key: value for key, value in record.items() if key != "species"}
    old["molecules"] = {"A-B-A": record["molecules"]["HEX"], "W": {}}
    with pytest.raises(InputError, match=r"m.cgpot.json, .*several species of the beads A-B-A"):
        sections_of(old, topology, "m.cgpot.json", "start.data")


def test_terms_by_species_in_the_settings() -> None:
    """Beads of two isomers are no key; their names are."""
    topology = isomers().topology
    config = MSCGConfig(
        cutoff=6.0,
        bonds={"between": {"HEX": [[0, 1], [1, 2]], "ISO": [[0, 1], [0, 2]]}},  # type: ignore[arg-type]
    )
    assert config.bonds is not None
    assert isinstance(config.bonds.between, dict)
    found = listed(topology, config.bonds.between, 2)
    assert {tuple(sorted(row)) for row in found.tolist()} == plain_bonds(topology)
    with pytest.raises(ConfigError, match=r"several species have the beads 'A-B-A': HEX, ISO"):
        listed(topology, {"A-B-A": [[0, 1]]}, 2)
    with pytest.raises(ConfigError, match=r"beads or bonds \(HEX, ISO\)"):
        listed(topology, [[0, 1]], 2)


def test_a_potential_of_isomers_is_read_as_it_was_written(
    bonded: BondedTerms, tmp_path: Path
) -> None:
    from cgpot.potential.pair_basis import PairBasis
    from cgpot.training.linear.bonded_part import BondedPart
    from cgpot.training.linear.mscg import MSCGPotential

    frame = isomers()
    for part in bonded.parts.values():
        part.observe(frame)
        part.freeze()
    pair = PairBasis(NAMES, 5.0, 0.5, 300.0, exclude=bonded.exclusions())
    bare = MSCGPotential(
        catalogue([frame.topology]), pair, bonded.bonds, None, np.zeros(0), np.zeros((0, 0)), {},
        bonded.angles, bonded.dihedrals, bonded.excluded,
    )  # fmt: skip
    c = np.random.default_rng(1).normal(size=bare.joint.size)
    made = replace(bare, coefficients=c, samples=np.zeros((0, len(c))))
    back = MSCGPotential.read(made.write(tmp_path / "mscg.json"))
    assert [kind.bonds for kind in back.topology.species] == [
        kind.bonds for kind in made.topology.species
    ]
    for one, two in zip(made.labels(frame), back.labels(frame), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)
    assert BondedPart(back).lammps_parts().bonded == bonded.deployed()
