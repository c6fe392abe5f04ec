# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS files against MDAnalysis, VOTCA and gmx; damaged and mixed files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mapping_trr import write_trr

from cgpot.core.errors import InputError
from cgpot.core.units import EV_PER_A3_IN_BAR, KJ_MOL
from cgpot.formats.gromacs import TrrTrajectory, edr, read_edr, read_topology, scan_trr
from cgpot.mapping.kernel import map_frame
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import load_mapping

POSITION_TOLERANCE = 2e-5
"""Å: single precision of the .trr (4e-7 nm at 4 nm) through sums of twelve."""
FORCE_TOLERANCE = 1e-5


def sites_of(raw: Path, mapping: Path, name: str = "flexible") -> SiteMap:
    return resolve(load_mapping(mapping), read_topology(raw / f"{name}.tpr"), mapping)


def nearest(d: np.ndarray, length: float) -> np.ndarray:
    return d - length * np.rint(d / length)


def test_positions_and_forces_are_those_of_mdanalysis(raw: Path, mapping: Path) -> None:
    import MDAnalysis

    universe = MDAnalysis.Universe(
        str(raw / "flexible.tpr"), str(raw / "flexible.trr"), refresh_offsets=True
    )
    sites = sites_of(raw, mapping)
    trajectory = TrrTrajectory(raw / "flexible.trr", 6000)
    assert len(trajectory) == len(universe.trajectory) == 21
    for frame, ts in zip(trajectory, universe.trajectory, strict=True):
        mapped = map_frame(frame, sites)
        length = ts.dimensions[0]
        centres = universe.atoms.center_of_mass(compound="fragments", unwrap=True)
        difference = nearest(mapped.positions - centres, length)
        assert np.abs(difference).max() < POSITION_TOLERANCE
        # MDAnalysis gives forces in kJ/(mol Å).
        sums = ts.forces.reshape(500, 12, 3).astype(np.float64).sum(axis=1) * KJ_MOL
        assert mapped.forces is not None
        assert np.abs(mapped.forces - sums).max() < FORCE_TOLERANCE
        assert frame.time == pytest.approx(ts.time)
        np.testing.assert_allclose(np.diagonal(frame.cell), ts.dimensions[:3], rtol=1e-6)
    for leftover in raw.glob(".flexible.trr_offsets*"):
        leftover.unlink()


def test_reading_leaves_no_index_file(raw: Path, tmp_path: Path) -> None:
    shutil.copy(raw / "constrained.trr", tmp_path / "a.trr")
    assert sum(1 for _ in TrrTrajectory(tmp_path / "a.trr", 6000)) == 9
    assert [p.name for p in tmp_path.iterdir()] == ["a.trr"]


def test_constraints_of_a_tpr(raw: Path) -> None:
    """h-bonds of benzene: atoms 0-6, 1-7, ... of every molecule (gmx dump -s: 3000 CONSTR)."""
    topology = read_topology(raw / "constrained.tpr")
    assert topology.constraints is not None
    assert topology.constraints.shape == (3000, 2)
    assert topology.constraints[:2].tolist() == [[0, 6], [1, 7]]
    assert topology.constraints[-1].tolist() == [5993, 5999]
    flexible = read_topology(raw / "flexible.tpr")
    assert flexible.constraints is not None
    assert len(flexible.constraints) == 0
    assert flexible.masses is not None
    assert flexible.masses[0] == 12.011
    assert not flexible.forces_hold_constraints


def test_settle_is_three_constraints() -> None:
    from MDAnalysis.topology.tpr.obj import Ilist

    from cgpot.formats.gromacs.atomistic_topology import constrained_pairs

    def settle(nr: int, atoms: list[int]) -> Ilist:
        return Ilist(nr, ("SETTLE", "Settle", 3), atoms)

    assert constrained_pairs([settle(4, [0, 0, 1, 2])]) == [(0, 1), (0, 2), (1, 2)]
    assert constrained_pairs([settle(2, [0, 0])]) == [(0, 1), (0, 2), (1, 2)]
    assert constrained_pairs([settle(0, [])]) == []


@pytest.mark.parametrize("name", ["flexible", "constrained"])
def test_virial_is_consistent_with_the_engines_pressure(raw: Path, name: str) -> None:
    """3 P V = 2 E_kin + tr W for every entry: sign, factor and unit of Xi, tail part included."""
    import pyedr

    terms = pyedr.edr_to_dict(str(raw / f"{name}.edr"))
    series = read_edr(raw / f"{name}.edr")
    assert series.virial is not None
    assert series.volume is not None
    assert series.pressure is not None
    kinetic = terms["Kinetic En."] * KJ_MOL
    trace = np.trace(series.virial, axis1=1, axis2=2)
    pressure = (2 * kinetic + trace) / (3 * series.volume) * EV_PER_A3_IN_BAR
    np.testing.assert_allclose(pressure, series.pressure, atol=0.05)


@pytest.mark.gromacs
def test_centres_are_those_of_gmx(raw: Path, mapping: Path, tmp_path: Path) -> None:
    """``gmx traj -com`` of the first molecule, made whole by ``gmx trjconv -pbc mol``."""
    index = tmp_path / "mol.ndx"
    index.write_text("[ first ]\n" + " ".join(str(i) for i in range(1, 13)) + "\n")
    tpr, trr = str(raw / "flexible.tpr"), str(raw / "flexible.trr")
    whole, com = str(tmp_path / "whole.trr"), str(tmp_path / "com.xvg")
    for command, answer in (
        (["trjconv", "-s", tpr, "-f", trr, "-o", whole, "-pbc", "mol"], "0\n"),
        (
            ["traj", "-s", tpr, "-f", whole, "-n", str(index), "-com", "-ox", com, "-xvg", "none"],
            "0\n",
        ),
    ):
        subprocess.run(["gmx", *command], input=answer, text=True, check=True, capture_output=True)
    reference = np.loadtxt(com)
    sites = sites_of(raw, mapping)
    for row, frame in zip(reference, TrrTrajectory(raw / "flexible.trr", 6000), strict=True):
        mapped = map_frame(frame, sites)
        assert row[0] == pytest.approx(frame.time)
        difference = nearest(mapped.positions[0] - 10 * row[1:4], frame.cell[0, 0])
        assert np.abs(difference).max() < 1e-3  # -ox prints 1e-5 nm and more


@pytest.mark.votca
def test_centres_are_those_of_votca(raw: Path, mapping: Path, tmp_path: Path) -> None:
    """``csg_map`` with the same weights (positions in a .gro of 1e-3 nm)."""
    atoms = [f"1:BNZ:{e}{i}" for e in "CH" for i in range(1, 7)]
    weights = " ".join(["12.011"] * 6 + ["1.008"] * 6)
    xml = tmp_path / "bnz.xml"
    xml.write_text(
        "<cg_molecule><name>BNZ</name><ident>BNZ</ident><topology><cg_beads><cg_bead>"
        "<name>B</name><type>BNZ</type><mapping>M</mapping>"
        f"<beads>{' '.join(atoms)}</beads></cg_bead></cg_beads></topology>"
        f"<maps><map><name>M</name><weights>{weights}</weights></map></maps></cg_molecule>"
    )
    out = tmp_path / "cg.gro"
    subprocess.run(
        ["csg_map", "--top", str(raw / "flexible.tpr"), "--trj", str(raw / "flexible.trr"),
         "--cg", str(xml), "--out", str(out), "--nframes", "2"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = out.read_text().splitlines()
    reference = 10 * np.array([[float(x) for x in line[20:44].split()] for line in lines[2:502]])
    frame = next(iter(TrrTrajectory(raw / "flexible.trr", 6000)))
    mapped = map_frame(frame, sites_of(raw, mapping))
    difference = nearest(mapped.positions - reference, frame.cell[0, 0])
    assert np.abs(difference).max() < 6e-3


@pytest.mark.parametrize("missing", [1, 1000, 144119, 144120 - 84])
def test_truncated_trajectory(raw: Path, tmp_path: Path, missing: int) -> None:
    data = (raw / "constrained.trr").read_bytes()
    path = tmp_path / "short.trr"
    path.write_bytes(data[:-missing])
    with pytest.raises(InputError, match=r"short.trr, frame 8: truncated trajectory"):
        TrrTrajectory(path, 6000)


def test_not_a_trajectory(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"frame 0: not a .trr frame"):
        scan_trr(raw / "flexible.edr")
    with pytest.raises(InputError, match="no such trajectory"):
        scan_trr(tmp_path / "none.trr")
    damaged = bytearray((raw / "constrained.trr").read_bytes())
    damaged[144120:144124] = struct.pack(">i", 7)
    path = tmp_path / "damaged.trr"
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"frame 1: not a .trr frame"):
        scan_trr(path)


def test_double_precision(raw: Path, tmp_path: Path) -> None:
    """A frame of a double-precision run, put together by hand (gmx_d writes such files)."""
    rng = np.random.default_rng(3)
    box, x, f = np.eye(3) * 3.0, rng.uniform(0, 3, (12, 3)), rng.normal(size=(12, 3))
    sizes = [0, 0, 72, 72, 72, 0, 0, 288, 0, 288]
    head = struct.pack(">iii12s", 1993, 13, 12, b"GMX_trn_file")
    head += struct.pack(">13i2d", *sizes, 12, 40, 0, 0.25, 0.0)
    zeros = np.zeros((3, 3))
    body = b"".join(a.astype(">f8").tobytes() for a in (box, zeros, zeros, x, f))
    path = tmp_path / "double.trr"
    path.write_bytes(head + body)
    (frame,) = TrrTrajectory(path, 12)
    assert (frame.time, frame.step) == (0.25, 40)
    np.testing.assert_array_equal(frame.positions, 10 * x)
    np.testing.assert_allclose(frame.forces, f * KJ_MOL / 10, rtol=1e-15)
    np.testing.assert_array_equal(frame.cell, 10 * box)


def test_missing_forces(tmp_path: Path) -> None:
    write_trr(tmp_path / "a.trr", 3, forces=False)
    with pytest.raises(InputError, match="frame 0: no forces in this frame \\(3 of 3"):
        TrrTrajectory(tmp_path / "a.trr", 24)
    with pytest.raises(InputError, match="no forces in this frame"):
        TrrTrajectory(tmp_path / "a.trr", 24, skip_incomplete=True)


def test_frames_without_forces_can_be_skipped(tmp_path: Path) -> None:
    write_trr(tmp_path / "with.trr", 2)
    write_trr(tmp_path / "without.trr", 1, forces=False)
    mixed = tmp_path / "mixed.trr"
    first, second = (tmp_path / "with.trr").read_bytes(), (tmp_path / "without.trr").read_bytes()
    mixed.write_bytes(second + first)
    with pytest.raises(InputError, match=r"frame 0: no forces in this frame \(1 of 3"):
        TrrTrajectory(mixed, 24)
    trajectory = TrrTrajectory(mixed, 24, skip_incomplete=True)
    assert len(trajectory) == 2
    assert [f.index for f in trajectory] == [1, 2]


def test_another_number_of_atoms(raw: Path) -> None:
    with pytest.raises(InputError, match="frame 0: 6000 atoms, but the topology has 24"):
        TrrTrajectory(raw / "flexible.trr", 24)


@pytest.mark.parametrize("name", ["a.tpr", "a.gro"])
def test_unreadable_topology(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind\n" * 5)
    with pytest.raises(InputError, match=f"{name}: not a readable"):
        read_topology(path)


def test_unknown_topology_format(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_text("x")
    with pytest.raises(InputError, match=r"unknown topology format '\.pdb'"):
        read_topology(path)


def test_gro_holds_neither_masses_nor_bonds(tmp_path: Path, mapping: Path) -> None:
    path = tmp_path / "a.gro"
    lines = ["benzene", "12"]
    for i in range(12):
        lines.append(f"    1BNZ     C{i % 6 + 1}{i + 1:5d}{0.1 * i:8.3f}{0.0:8.3f}{0.0:8.3f}")
    path.write_text("\n".join([*lines, "   3.0 3.0 3.0", ""]))
    topology = read_topology(path)
    assert topology.n_atoms == 12
    assert topology.masses is None
    assert topology.constraints is None
    assert resolve(load_mapping(mapping), topology, mapping).topology.type_masses == (78.114,)


@pytest.mark.parametrize("keep", [-50, 3000, 1500, 40])
def test_truncated_energies(raw: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "short.edr"
    path.write_bytes((raw / "flexible.edr").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"short\.edr: truncated"):
        read_edr(path)


def test_not_energies(raw: Path) -> None:
    with pytest.raises(InputError, match=r"constrained\.tpr: truncated or not an \.edr"):
        read_edr(raw / "constrained.tpr")


def test_energies_without_virial(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edr, "edr_terms", lambda path: {"Time": np.arange(3.0)})
    with pytest.raises(InputError, match=r"no virial \(terms \['Vir-XX'"):
        read_edr(raw / "flexible.edr")


def test_nan_virial(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = edr.edr_terms(raw / "flexible.edr")
    terms["Vir-YZ"][4] = np.nan
    monkeypatch.setattr(edr, "edr_terms", lambda path: terms)
    with pytest.raises(InputError, match=r"the virial at 62\.5 ps holds NaN"):
        read_edr(raw / "flexible.edr")
