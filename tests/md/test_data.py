# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_support import LJ, lattice, pair_energy, script

from cgpot.core.errors import DataError, InputError
from cgpot.formats.lammps.cg_data import lammps_cell, read_data, write_data
from cgpot.formats.lammps.data import read_type_names
from cgpot.formats.lammps.log import read_log
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.whole import wrap

TEXT_DECIMALS = 2e-10
"""Coordinates are written with ten decimals."""


def tilted() -> CGFrame:
    """A box in general orientation, small against the cutoff."""
    frame = lattice(3, 6.0, names=("AA", "B2"))
    cell = np.array([[17.0, 1.5, -2.0], [3.0, 18.0, 1.0], [-2.0, 4.0, 19.0]])
    inside = frame.positions @ np.linalg.inv(frame.cell)
    return replace(frame, positions=inside @ cell, cell=cell)


def test_round_trip_keeps_sites_names_masses_and_molecules(tmp_path: Path) -> None:
    frame = lattice(3, 6.0, names=("AA", "B2"))
    molecules = np.arange(27) // 3
    frame = replace(frame, topology=replace(frame.topology, molecules=molecules))
    back = read_data(write_data(tmp_path / "s.data", frame))
    assert back.topology.same_as(frame.topology)
    assert back.topology.type_masses == frame.topology.type_masses
    np.testing.assert_allclose(
        back.positions, wrap(frame.positions, frame.cell), atol=TEXT_DECIMALS
    )
    np.testing.assert_allclose(back.cell, frame.cell, atol=TEXT_DECIMALS)


def test_general_cell_is_rotated_rigidly() -> None:
    cell = tilted().cell
    new, rotation = lammps_cell(cell)
    assert np.all(np.triu(new, 1) == 0.0) or np.allclose(np.triu(new, 1), 0.0, atol=1e-12)
    assert np.all(np.diag(new) > 0)
    np.testing.assert_allclose(cell @ rotation, new, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_triclinic_energy_in_lammps_is_that_of_the_frame(tmp_path: Path) -> None:
    # independent reference: a double loop over images of the cell as it was before the rotation
    frame = tilted()
    write_data(tmp_path / "s.data", frame)
    script(
        tmp_path,
        f"units metal\natom_style molecular\nread_data s.data\n{LJ}\n"
        "thermo_modify format float %.12g\nrun 0\n",
    )
    energy = read_log(tmp_path / "in.test.log")[0]["E_pair"][0]
    assert energy == pytest.approx(pair_energy(frame), rel=1e-8)


@pytest.mark.parametrize("numeric", [False, True])
def test_lammps_reads_it_and_writes_it_back(tmp_path: Path, numeric: bool) -> None:
    frame = lattice(3, 6.0, names=("AA", "B2"))
    write_data(tmp_path / "s.data", frame)
    labels = "types numeric" if numeric else "types labels"
    script(
        tmp_path,
        f"units metal\natom_style molecular\nread_data s.data\npair_style zero 5.0\n"
        f"pair_coeff * *\nchange_box all x delta -3 4 remap units box\n"
        f"change_box all x final 0 18 remap units box\nset atom 1 image 2 -1 0\n"
        f"write_data back.data nocoeff {labels}\n",
    )
    back = read_data(tmp_path / "back.data")
    assert back.topology.same_as(frame.topology)
    np.testing.assert_allclose(back.positions, wrap(frame.positions, frame.cell), atol=1e-9)
    np.testing.assert_allclose(back.cell, frame.cell, atol=1e-9)


def test_box_origin_is_taken_off(tmp_path: Path) -> None:
    frame = lattice(3, 6.0)
    write_data(tmp_path / "s.data", frame)
    script(
        tmp_path,
        "units metal\natom_style molecular\nread_data s.data\npair_style zero 5.0\n"
        "pair_coeff * *\ndisplace_atoms all move -4 2 1 units box\n"
        "change_box all x final -4 14 y final 2 20 z final 1 19 units box\n"
        "run 0\nwrite_data back.data nocoeff\n",
    )
    back = read_data(tmp_path / "back.data")
    shift = back.positions - frame.positions
    np.testing.assert_allclose(shift - 18.0 * np.round(shift / 18.0), 0.0, atol=1e-9)


def test_velocities_reach_lammps(tmp_path: Path, rng: np.random.Generator) -> None:
    frame = tilted()
    velocities = rng.normal(size=(27, 3))
    write_data(tmp_path / "s.data", frame, velocities)
    script(
        tmp_path,
        f"units metal\natom_style molecular\nread_data s.data\n{LJ}\n"
        "thermo_style custom step ke\nthermo_modify format float %.12g\nrun 0\n",
    )
    kinetic = 0.5 * np.sum(frame.topology.masses[:, None] * velocities**2)
    # amu (Å/ps)^2 in eV: 1.66053906660e-27 * 1e4 / 1.602176634e-19; LAMMPS has seven digits
    expected = kinetic * 1.66053906660e-27 * 1e4 / 1.602176634e-19
    energy = read_log(tmp_path / "in.test.log")[0]["KinEng"][0]
    assert energy == pytest.approx(expected, rel=1e-6)


def test_names_from_comments_alone(tmp_path: Path) -> None:
    path = write_data(tmp_path / "s.data", lattice(2, 6.0, names=("AA", "B2")))
    text = path.read_text()
    start, end = text.index("Atom Type Labels"), text.index("Masses")
    path.write_text(text[:start] + text[end:])
    assert read_type_names(path) == ("AA", "B2")


def test_names_that_begin_with_a_digit_stay_comments(tmp_path: Path) -> None:
    # LAMMPS refuses such type labels
    path = write_data(tmp_path / "s.data", lattice(2, 6.0, names=("1A",)))
    assert "Labels" not in path.read_text()
    assert read_data(path).topology.type_names == ("1A",)
    script(tmp_path, "units metal\natom_style molecular\nread_data s.data\n")


def test_missing_names(tmp_path: Path) -> None:
    path = write_data(tmp_path / "s.data", lattice(2, 6.0))
    text = path.read_text().replace("# BNZ", "").replace("Atom Type Labels\n\n1 BNZ\n\n", "")
    path.write_text(text)
    with pytest.raises(InputError, match=r"s\.data: the 1 atom types have no names"):
        read_data(path)


def test_not_a_data_file(tmp_path: Path) -> None:
    path = tmp_path / "s.data"
    path.write_text("hello\n")
    with pytest.raises(InputError, match=r"s\.data: no line 'N atom types'"):
        read_data(path)
    with pytest.raises(InputError, match="no such LAMMPS data file"):
        read_data(tmp_path / "none.data")


def test_truncated_data_file(tmp_path: Path) -> None:
    path = write_data(tmp_path / "s.data", lattice(2, 6.0))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-4]))
    with pytest.raises(InputError, match=r"s\.data: not a LAMMPS data file .*atoms.* do not match"):
        read_data(path)


def test_other_atom_style(tmp_path: Path) -> None:
    path = write_data(tmp_path / "s.data", lattice(2, 6.0))
    head, atoms = path.read_text().split("Atoms # molecular\n\n")
    short = "\n".join(" ".join(line.split()[:4]) for line in atoms.splitlines() if line.strip())
    path.write_text(f"{head}Atoms\n\n{short}\n")
    with pytest.raises(InputError, match=r"atom_style molecular: .*inconsistent"):
        read_data(path)


def test_bad_numbers(tmp_path: Path) -> None:
    frame = lattice(2, 6.0)
    broken = frame.positions.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match="positions hold NaN"):
        write_data(tmp_path / "s.data", replace(frame, positions=broken))
    assert not (tmp_path / "s.data").exists()
    with pytest.raises(DataError, match="flat or left-handed"):
        write_data(tmp_path / "s.data", replace(frame, cell=np.diag([12.0, 12.0, -12.0])))
    with pytest.raises(DataError, match=r"velocities have shape \(2, 3\)"):
        write_data(tmp_path / "s.data", frame, np.zeros((2, 3)))
    path = write_data(tmp_path / "s.data", frame)
    text = path.read_text()
    path.write_text(text.replace("1  78.114", "1  0.0"))
    with pytest.raises(DataError, match=r"s\.data: bead type 'BNZ' has mass 0\.0"):
        read_data(path)
    path.write_text(text.replace(text.split()[-1], "nan"))
    with pytest.raises(DataError, match=r"s\.data: positions hold NaN"):
        read_data(path)


def test_wrap_stays_below_the_edge() -> None:
    cell = np.diag([10.0, 11.0, 12.0])
    topology = Topology(("A",), (1.0,), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert topology.n_sites == 1
    wrapped = wrap(np.array([[-1e-18, 11.0, 25.0]]), cell)
    np.testing.assert_allclose(wrapped, [[0.0, 0.0, 1.0]], atol=1e-12)
    assert np.all(wrapped < np.diag(cell))


def charged() -> CGFrame:
    """Two kinds of beads with charges, in molecules of three."""
    frame = lattice(3, 6.0, names=("AA", "B2"))
    topology = replace(frame.topology, type_charges=(0.7, -0.3), molecules=np.arange(27) // 3)
    return replace(frame, topology=topology)


def test_charges_in_atom_style_full(tmp_path: Path) -> None:
    """LAMMPS has the charges: its Coulomb energy is that of a double loop."""
    frame = charged()
    path = write_data(tmp_path / "s.data", frame)
    assert "Atoms # full" in path.read_text()
    back = read_data(path)
    assert back.topology.type_charges == (0.7, -0.3)
    assert back.topology.same_as(frame.topology)
    script(
        tmp_path,
        "units metal\natom_style full\nspecial_bonds lj/coul 1 1 1\nread_data s.data\n"
        "pair_style coul/cut 8.0\npair_coeff * *\nthermo_modify format float %.12g\nrun 0\n",
    )
    energy = read_log(tmp_path / "in.test.log")[0]["E_pair"][0]
    side, q = np.diag(frame.cell), frame.topology.charges
    total = 0.0
    for i in range(27):
        for j in range(i + 1, 27):
            d = frame.positions[j] - frame.positions[i]
            for shift in np.ndindex(3, 3, 3):
                r = np.linalg.norm(d - side * np.rint(d / side) + side * (np.array(shift) - 1))
                total += 14.399645 * q[i] * q[j] / r if r < 8.0 else 0.0
    assert energy == pytest.approx(total, rel=1e-6)


def test_sites_of_a_type_with_different_charges(tmp_path: Path) -> None:
    path = write_data(tmp_path / "s.data", charged())
    text = path.read_text()
    assert text.count("0.70000000") > 2
    path.write_text(text.replace("0.70000000", "0.20000000", 1))
    with pytest.raises(InputError, match=r"s.data: sites of type 'AA' have charges of 0.2 to 0.7"):
        read_data(path)
