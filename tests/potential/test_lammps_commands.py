# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written for LAMMPS: the commands word by word, the tables against the potentials."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from linear_systems import lammps_point
from potential_systems import KINDS, chains, density_table, mscg, pair_table, uf3

from cgpot.core.errors import ConfigError, InputError
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import include_text, renamed, write_for_lammps
from cgpot.potential.lammps_tables import term_text
from cgpot.potential.potential import SumOfPotentials
from cgpot.training.linear.bonded_part import BondedPart

F = "${pair_folder}/model"
TERMS = [
    "bond_style table spline 4000",
    f"bond_coeff 1 {F}.bond A-A",
    f"bond_coeff 2 {F}.bond A-B",
    "angle_style table spline 1801",
    f"angle_coeff 1 {F}.bend A-A-B",
    f"angle_coeff 2 {F}.bend A-B-A",
    "dihedral_style table spline 1440",
    f"dihedral_coeff 1 {F}.torsion A-A-B-A",
]


def pair_lines(word: str = "") -> list[str]:
    keys = (("1 1", "A-A"), ("1 2", "A-B"), ("2 2", "B-B"))
    return [f"pair_coeff {types} {word}{F}.table {key}" for types, key in keys]


def test_commands_of_tables(tmp_path: Path) -> None:
    found = write_for_lammps(tmp_path, Base(pair_table()))
    assert found.commands == ["pair_style table spline 4000", *pair_lines()]
    assert found.record == {"files": ["model.table"], "commands": found.commands}
    found = write_for_lammps(tmp_path, mscg((1, 3)))
    assert found.commands == [
        "pair_style table spline 4000",
        *pair_lines(),
        "special_bonds lj/coul 0.0 1.0 0.0",
        *TERMS,
    ]
    assert found.record["bonded"]["special_bonds"] == [0.0, 1.0, 0.0]
    found = write_for_lammps(tmp_path, BondedPart(mscg((1,))))
    assert found.commands == TERMS
    assert [path.name for path in found.files] == ["model.bond", "model.bend", "model.torsion"]


def test_commands_of_several_styles(tmp_path: Path) -> None:
    found = write_for_lammps(tmp_path, mscg(three=True, local=True))
    zeros = " 0.0" * 6
    first = f'print "A A A 1.0 1.0 5.0 1.0 1.2{zeros} {F}.angle A-A-A spline 1801" file model.sw'
    assert found.commands[:5] == [
        "pair_style hybrid/overlay table spline 4000 sw/angle/table local/density",
        *pair_lines("table "),
        f"{first} screen no",
    ]
    assert found.commands[5:12] == [
        f'print "{c} {a} {b} 1.0 1.0 5.0 1.0 1.2{zeros} {F}.angle {key} spline 1801" '
        "append model.sw screen no"
        for c, a, b, key in (
            ("A", "A", "B", "A-A-B"),
            ("A", "B", "A", "A-A-B"),
            ("A", "B", "B", "B-A-B"),
            ("B", "A", "A", "A-B-A"),
            ("B", "A", "B", "A-B-B"),
            ("B", "B", "A", "A-B-B"),
            ("B", "B", "B", "B-B-B"),
        )
    ]
    assert found.commands[12:] == [
        "pair_coeff * * sw/angle/table model.sw A B",
        f"pair_coeff * * local/density {F}.density",
        "special_bonds lj/coul 1.0 1.0 1.0",
        *TERMS,
    ]


def test_commands_of_uf3(tmp_path: Path) -> None:
    one = [f"pair_coeff * * {F}.uf3 A B"]
    assert write_for_lammps(tmp_path, uf3()).commands == ["pair_style uf3 3", *one]
    alone = uf3(triplets=False, overlay=True)
    assert write_for_lammps(tmp_path, alone).commands == ["pair_style uf3 2", *one]
    assert write_for_lammps(tmp_path, uf3(overlay=True)).commands == [
        "pair_style hybrid/overlay table linear 2000 uf3 3",
        *pair_lines("table "),
        f"pair_coeff * * uf3 {F}.uf3 A B",
    ]


def test_commands_beside_a_network(tmp_path: Path) -> None:
    network = tmp_path / "m.nequip.pt2"
    found = write_for_lammps(
        tmp_path, Base(pair_table()), name="potential", place=tmp_path, beside=network
    )
    assert found.commands[:3] == [
        "pair_style hybrid/overlay cgpot table spline 4000",
        f"pair_coeff * * cgpot {network} A B",
        f"pair_coeff 1 1 table {tmp_path}/potential.table A-A",
    ]
    assert [path.name for path in found.files] == ["potential.table"]


def test_a_network_sees_what_the_table_beside_it_leaves_out(tmp_path: Path) -> None:
    """The network finds its pairs itself, so that LAMMPS must not take any out of its list."""
    network = tmp_path / "m.nequip.pt2"
    base, part = Base(pair_table(), pairs="not-1-3"), BondedPart(mscg())
    found = write_for_lammps(tmp_path, base, part, beside=network)
    assert found.commands == [
        "pair_style hybrid/overlay cgpot table spline 4000",
        f"pair_coeff * * cgpot {network} A B",
        *pair_lines("table "),
        "special_bonds lj/coul 0.5 0.5 0.5",
        "pair_modify pair cgpot special lj/coul 1.0 1.0 1.0",
        "pair_modify pair table special lj/coul 0.0 0.0 1.0",
        *TERMS,
    ]
    assert found.bonded is not None


def test_weights_of_an_overlay_are_those_of_one_style(tmp_path: Path) -> None:
    """What `pair_modify` says of a style beside another, against the labels: LAMMPS's own zero
    potential stands for the network."""
    frame = chains()
    base, part = Base(pair_table(), pairs="not-1-3"), BondedPart(mscg())
    commands = write_for_lammps(tmp_path, base, part, beside=tmp_path / "m.pt2").commands
    network = f"pair_coeff * * cgpot {tmp_path / 'm.pt2'} A B"
    lines = [line if line != network else "pair_coeff * * zero" for line in commands]
    lines = [line.replace("cgpot", "zero 7.0" if "style" in line else "zero") for line in lines]
    include = tmp_path / "model.pair.lmp"
    include.write_text(include_text(lines, tmp_path))
    _, forces, virial = lammps_point(tmp_path / "run", frame, include, part.potential.bonded)
    expected = SumOfPotentials([base, part]).labels(frame)
    np.testing.assert_allclose(forces, expected.forces, atol=1e-4 * np.abs(expected.forces).max())
    np.testing.assert_allclose(virial, expected.virial, atol=1e-4 * np.abs(expected.virial).max())


def test_parts_that_lammps_runs_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two potentials have pair, which LAMMPS runs once"):
        write_for_lammps(tmp_path, Base(pair_table()), Base(pair_table(1)))
    with pytest.raises(ConfigError, match=r"key 'pairs'.*see 1-5 pairs; expected all, not-1-2"):
        write_for_lammps(tmp_path, Base(pair_table(), pairs="intermolecular"))


def test_include_files_and_other_names() -> None:
    lines = renamed([f"pair_coeff 1 1 {F}.table A-A", f"x {F}.tables"], {"model.table": "a.table"})
    assert lines == ["pair_coeff 1 1 ${pair_folder}/a.table A-A", f"x {F}.tables"]
    assert include_text(["run 0"], Path("/data"), "A: pair") == (
        "# A: pair\nvariable pair_folder index /data\nrun 0\n"
    )


def test_tables_hold_the_potential(tmp_path: Path) -> None:
    table = pair_table()
    text = write_for_lammps(tmp_path, Base(table)).files[0].read_text().splitlines()
    assert text[:5] == ["# UNITS: metal", "", "A-A", "N 2000 R 0.2 7.0", ""]
    start = text.index("A-B") + 3
    rows = np.array([line.split() for line in text[start : start + 2000]], dtype=float)
    np.testing.assert_allclose(rows[:, 2], table.energy(rows[:, 1], 0, 1), atol=1e-9)
    h = 1e-5
    slope = (table.energy(rows[1:-1, 1] + h, 0, 1) - table.energy(rows[1:-1, 1] - h, 0, 1)) / 2 / h
    np.testing.assert_allclose(rows[1:-1, 3], -slope, atol=1e-6)


def test_terms_run_over_all_that_lammps_asks_for() -> None:
    potential = mscg()
    for name, first, last, head in (
        ("angle", 0.0, 180.0, "N 1801"),
        ("dihedral", -180.0, 179.75, "N 1440 DEGREES"),
    ):
        part = potential.bonded.parts[name]
        text, points = term_text(name, part, potential.part(name))
        lines = text.splitlines()
        assert lines[3] == head
        rows = np.array([line.split() for line in lines[5 : 5 + points]], dtype=float)
        assert (rows[0, 1], rows[-1, 1]) == (first, last)
        assert rows[:, 2].min() == 0.0
        u = part.evaluate(potential.part(name), 0, np.radians(rows[:, 1]))[0]
        np.testing.assert_allclose(rows[:, 2], u - u.min(), atol=1e-9)
        inner = np.gradient(rows[:, 2], rows[:, 1])[2:-2]
        np.testing.assert_allclose(rows[2:-2, 3], -inner, atol=2e-3 * np.abs(inner).max())


@pytest.mark.parametrize("kind", ["pair", "local density", "mscg", "three bodies", "uf3"])
def test_lammps_computes_the_labels(tmp_path: Path, kind: str) -> None:
    potential, frame = KINDS[kind](), chains()
    found = write_for_lammps(tmp_path, potential)
    include = tmp_path / "model.pair.lmp"
    include.write_text(include_text(found.commands, tmp_path))
    bonded = getattr(potential, "bonded", None)
    energy, forces, virial = lammps_point(tmp_path / "run", frame, include, bonded)
    expected = potential.labels(frame)
    np.testing.assert_allclose(forces, expected.forces, atol=1e-4 * np.abs(expected.forces).max())
    np.testing.assert_allclose(virial, expected.virial, atol=1e-4 * np.abs(expected.virial).max())
    assert np.isfinite(energy)


def test_a_density_that_lammps_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="indicator 'lammps' and weights of 1; found 'smooth'"):
        write_for_lammps(tmp_path, Base(pair_table(), density_table("smooth")))
