# SPDX-License-Identifier: GPL-2.0-or-later
"""Species and bonds in data sets, several compositions in one, and any order of the columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest

from cgpot.core.errors import CgpotError, DataError, InputError
from cgpot.molecules.extxyz import from_atoms, read_frames, reader, to_atoms, write_frames
from cgpot.molecules.extxyz.species_key import parse_species, species_text
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

BNZ = Species("BNZ", ("B",))
HEX = Species("HEX", ("T", "M", "T"), ((0, 1), (1, 2)))
STAR = Species("STAR+1", ("M", "T", "T", "M"), ((0, 1), (0, 2), (0, 3)))
RING = Species("ring-4_a", ("M",) * 4, ((0, 1), (1, 2), (2, 3), (0, 3)))
LONG = Species("PE", ("T", *("M",) * 998, "T"), tuple((k, k + 1) for k in range(999)))
GIVEN = Species(
    "G", ("T", "M", "M", "T"), ((0, 1), (1, 2), (2, 3)), angles=((0, 1, 2),), dihedrals=()
)
UNKNOWN = Species("U", ("T", "T"), None)
EVERY = (BNZ, HEX, STAR, RING, LONG, GIVEN, UNKNOWN)
NAMES, MASSES = ("B", "T", "M"), (78.114, 43.089, 28.054)


def topology(*kinds: Species, charges: tuple[float, ...] = ()) -> Topology:
    """Molecules of the species in this order."""
    species = tuple(dict.fromkeys(kinds))
    return Topology(
        NAMES,
        MASSES,
        np.array([NAMES.index(bead) for kind in kinds for bead in kind.beads]),
        np.repeat(np.arange(len(kinds)), [kind.n_sites for kind in kinds]),
        charges,
        species,
        np.array([species.index(kind) for kind in kinds]),
    )


def frame(rng: np.random.Generator, *kinds: Species, charges: tuple[float, ...] = ()) -> CGFrame:
    sites = topology(*kinds, charges=charges)
    x = rng.uniform(0, 20, (sites.n_sites, 3))
    return CGFrame(sites, x, np.eye(3) * 20.0, forces=rng.normal(size=x.shape), virial=np.eye(3))


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_species_come_back(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    path = tmp_path / f"a.extxyz{suffix}"
    old = frame(rng, *EVERY, HEX, HEX, BNZ, charges=(0.0, -0.25, 0.125))
    write_frames(path, [old, old])
    first, second = read_frames(path)
    assert first.topology.species == EVERY
    assert first.topology.same_as(old.topology)
    assert first.topology.type_charges == (0.0, -0.25, 0.125)
    assert first.topology is second.topology
    again = from_atoms(to_atoms(old))
    assert again.topology.same_as(old.topology)


def test_the_value_is_compact_and_plain_text_to_ase(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "a.extxyz"
    one = frame(rng, BNZ, BNZ, HEX, HEX, HEX, BNZ, LONG)
    write_frames(path, [one])
    text = "BNZ:B: HEX:T,M,T:0..2 PE:T,M*998,T:0..999 | BNZ*2 HEX*3 BNZ PE"
    assert species_text(one.topology) == text
    assert f' species_bonds="{text}" ' in path.read_text().splitlines()[1]
    assert ase.io.read(path).info["species_bonds"] == text
    assert species_text(topology(RING)) == "ring-4_a:M*4:0..3,0-3 | ring-4_a"
    assert species_text(topology(GIVEN)) == "G:T,M*2,T:0..3:0-1-2:- | G"
    assert species_text(topology(UNKNOWN, UNKNOWN)) == "U:T*2:? | U*2"
    sparse = Species("S", ("M",) * 5, ((0, 1), (1, 3), (2, 3), (3, 4)))
    assert species_text(topology(sparse)) == "S:M*5:0-1,2..4,1-3 | S"
    assert parse_species(species_text(topology(sparse)))[0] == (sparse,)


def test_no_key_where_species_say_no_more_than_beads(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    bare = frame(rng, Species("B", ("B",)), Species("B", ("B",)))
    derived = replace(bare, topology=replace(bare.topology, species=()))
    several = replace(bare, topology=replace(bare.topology, species=(), molecules=np.zeros(2, int)))
    for k, one in enumerate((bare, derived, several)):
        write_frames(tmp_path / f"{k}.extxyz", [one])
        assert "species_bonds" not in (text := (tmp_path / f"{k}.extxyz").read_text())
        assert "charges" not in text
    assert (tmp_path / "0.extxyz").read_bytes() == (tmp_path / "1.extxyz").read_bytes()
    back = next(read_frames(tmp_path / "2.extxyz")).topology
    assert back.species == (Species("B-B", ("B", "B"), None),)


def test_several_compositions(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz"
    pure, other = frame(rng, BNZ, BNZ, BNZ), frame(rng, HEX, HEX)
    mixed = frame(rng, BNZ, HEX)
    write_frames(path, [pure, other, mixed, mixed, pure, other])
    found = [f.topology for f in read_frames(path, several=True)]
    for new, old in zip(found, (pure, other, mixed, mixed, pure, other), strict=True):
        assert new.same_as(old.topology)
    assert found[0] is found[4]
    assert found[1] is found[5]
    assert found[2] is found[3]
    assert found[0].type_names == NAMES
    with pytest.raises(
        InputError,
        match=r"a\.extxyz, frame 1: 2 HEX differ from 3 BNZ of frame 0; this step takes frames of "
        "one composition",
    ):
        list(read_frames(path))


def test_one_name_for_two_species(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz"
    bent = replace(HEX, bonds=((0, 1), (0, 2)))
    write_frames(path, [frame(rng, BNZ), frame(rng, BNZ, HEX), frame(rng, bent)])
    with pytest.raises(
        InputError,
        match=r"key 'species_bonds', frame 2: species HEX \(T-M-T\) has the bonds 0-1,0-2, but "
        r"HEX \(T-M-T\) of frame 1 has 0\.\.2",
    ):
        list(read_frames(path, several=True))


def test_charges_of_another_system(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame(rng, BNZ), frame(rng, BNZ, charges=(1.0, 0.0, 0.0))])
    with pytest.raises(InputError, match=r"frame 1: .*charges 1, 0, 0.*one data set holds one"):
        list(read_frames(path, several=True))


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        (" | ", " ", InputError, r"expected species, '\|' and the molecules"),
        ("HEX:T,M,T:0..2", "HEX", InputError, "expected NAME:BEADS:BONDS, found 'HEX'"),
        ("0..2", "0.2", InputError, "expected places such as 0-1, found '0.2'"),
        ("0..2", "0..3", DataError, r"the bond \[2, 3\] names place 3; expected 0 to 2"),
        ("0..2", "0-1", DataError, "its bonds leave 2 pieces"),
        ("HEX*2", "HEX*two", InputError, r"NAME\*COUNT, found 'HEX\*two'"),
        ("HEX*2", "HEX*3", DataError, "3 molecules, but 4 are given a species"),
        ("HEX*2", "OCT*2", InputError, "molecules of 'OCT', which is none of"),
        ("T,M,T", "T,T,M", DataError, r"site 2 \(place 1 of molecule 1\) is 'M'; expected 'T' of"),
        ("T,M,T", "T,C,T", DataError, "species 'HEX' has beads 'C'; the bead types are"),
    ],
)
def test_damaged_values(
    tmp_path: Path,
    rng: np.random.Generator,
    old: str,
    new: str,
    error: type[CgpotError],
    match: str,
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame(rng, BNZ, HEX, HEX)] * 2)
    lines = path.read_text().splitlines(keepends=True)
    comment = len(lines) // 2 + 1
    assert old in lines[comment]
    lines[comment] = lines[comment].replace(old, new, 1)
    path.write_text("".join(lines))
    frames = read_frames(path)
    next(frames)
    with pytest.raises(error, match=rf"a\.extxyz, key 'species_bonds', frame 1: .*{match}"):
        next(frames)


def test_runs_may_be_written_out(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame(rng, BNZ, HEX, HEX)])
    path.write_text(path.read_text().replace("BNZ HEX*2", "BNZ*1 HEX HEX"))
    assert next(read_frames(path)).topology.same_as(topology(BNZ, HEX, HEX))


def test_charges_that_are_no_numbers(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame(rng, BNZ, charges=(1.0, 0.5, 0.0))])
    path.write_text(path.read_text().replace('"1 0.5 0"', '"1 half 0"'))
    with pytest.raises(InputError, match=r"key 'bead_type_charges', frame 0: expected charges in"):
        next(read_frames(path))


def moved(line: str, order: list[int], width: list[int]) -> str:
    words = line.split()
    starts = np.cumsum([0, *width])
    groups = [words[starts[k] : starts[k + 1]] for k in range(len(width))]
    return " ".join(" ".join(groups[k]) for k in order) + " 7\n"


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [0, 5, 4, 1, 3, 2], [3, 2, 0, 1, 5, 4]])
def test_columns_in_any_order(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    order: list[int],
    quoted: bool,
) -> None:
    """The Properties text is parsed, and another column among them is passed over."""
    path = tmp_path / "a.extxyz"
    old = frame(rng, BNZ, HEX, HEX)
    write_frames(path, [old])
    lines = path.read_text().splitlines(keepends=True)
    names = ["species:S:1", "pos:R:3", "atom_types:I:1", "molecule_ids:I:1", "bead_names:S:1"]
    names.append("forces:R:3")
    before = ":".join(names)
    after = ":".join([*(names[k] for k in order), "tag:I:1"])
    assert f"Properties={before} " in lines[1]
    mark = '"' if quoted else ""
    lines[1] = lines[1].replace(f"Properties={before}", f"Properties={mark}{after}{mark}")
    lines[2:] = [moved(line, order, [1, 3, 1, 1, 1, 3]) for line in lines[2:]]
    path.write_text("".join(lines))

    first = next(read_frames(path))
    np.testing.assert_allclose(first.positions, old.positions, atol=1e-4)
    np.testing.assert_allclose(first.forces, old.forces, atol=1e-5)
    assert first.topology.same_as(old.topology)
    assert reader._table(lines) is not None
    monkeypatch.setattr(reader, "_table", lambda lines: None)
    through_ase = next(read_frames(path))
    np.testing.assert_array_equal(through_ase.positions, first.positions)
    np.testing.assert_array_equal(through_ase.forces, first.forces)
    assert through_ase.topology.same_as(first.topology)
