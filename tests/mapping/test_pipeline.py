# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot map`` as a whole: what it writes, what it refuses, what it leaves behind."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from mapping_trr import write_trr
from typer.testing import CliRunner

from cgpot.cli.map import register
from cgpot.core.errors import CgpotError, ConfigError, DataError, InputError
from cgpot.core.files import thermo_path
from cgpot.core.manifest import check_manifest
from cgpot.core.units import KB
from cgpot.formats.gromacs import TrrTrajectory, read_edr, read_topology
from cgpot.mapping.check import (
    compare_pressures,
    likely_reason,
    require_agreement,
    temperature_note,
)
from cgpot.mapping.kernel import map_frame
from cgpot.mapping.pipeline import MapOptions, MapResult, map_trajectory
from cgpot.mapping.readers import AtomSystem, open_system
from cgpot.mapping.sites import resolve
from cgpot.mapping.spec import load_mapping
from cgpot.molecules.extxyz import read_frames

QUIET = MapOptions(quiet=True)


def opened(raw: Path, name: str = "flexible", energy: str | None = None) -> AtomSystem:
    return open_system(raw / f"{name}.tpr", raw / f"{name}.trr", raw / f"{energy or name}.edr")


def run(system: AtomSystem, mapping: Path, output: Path, options: MapOptions = QUIET) -> MapResult:
    return map_trajectory(
        mapping, system.topology, system.trajectory, system.thermo, output, options
    )


@pytest.fixture
def atoms24(tmp_path: Path) -> tuple[Path, Path]:
    """A mapping of two molecules and a .gro for synthetic trajectories of 24 atoms."""
    gro = tmp_path / "in" / "a.gro"
    gro.parent.mkdir()
    lines = ["two", "24"]
    for i in range(24):
        name = f"C{i % 12 + 1}"
        lines.append(f"{i // 12 + 1:5d}BNZ  {name:>5}{i + 1:5d}{0.1:8.3f}{0.1:8.3f}{0.1:8.3f}")
    gro.write_text("\n".join([*lines, "   3.0 3.0 3.0", ""]))
    mapping = tmp_path / "in" / "mapping.yaml"
    mapping.write_text(
        "site-types:\n  BNZ:\n    index: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n"
        f"    x-weight: {[1.0] + [0.0] * 11}\n    mass: 78.0\n"
        "system:\n  - {repeat: 2, offset: 12, sites: [[BNZ, 0]]}\n"
    )
    return mapping, gro


def test_flexible_run(raw: Path, mapping: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.extxyz.xz"
    result = run(opened(raw), mapping, out)
    assert (result.n_frames, result.n_sites, result.virial) == (21, 500, "exact")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "all.extxyz.xz",
        "all.extxyz.xz.manifest.json",
        "all.thermo.csv",
    ]
    record = check_manifest(out, stage="mapping")
    assert record["virial"] == "exact"
    assert record["n_constraints"] == 0
    assert record["temperature"] == 300.0
    assert {role: len(v) for role, v in record["inputs"].items()} == {
        "mapping": 1, "topology": 1, "trajectory": 1, "energy": 1,
    }  # fmt: skip
    frames = list(read_frames(out))
    assert [f.time for f in frames[:2]] == [12.5, 25.0]
    sites = resolve(load_mapping(mapping), opened(raw).topology, mapping)
    thermo = read_edr(raw / "flexible.edr")
    assert thermo.virial is not None
    for i, atom_frame in enumerate(TrrTrajectory(raw / "flexible.trr", 6000)):
        direct = map_frame(atom_frame, sites, virial=thermo.virial[i])
        assert np.abs(frames[i].positions - direct.positions).max() < 6e-5
        assert frames[i].forces is not None
        assert direct.forces is not None
        assert np.abs(frames[i].forces - direct.forces).max() < 6e-6
        assert frames[i].virial is not None
        assert direct.virial is not None
        symmetric = 0.5 * (direct.virial + direct.virial.T)
        np.testing.assert_allclose(frames[i].virial, symmetric, atol=1e-9)
    with open(thermo_path(out), newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 21
    labels = [float(r["pressure_label_bar"]) for r in rows]
    assert labels == pytest.approx([f.pressure(300.0) for f in frames], abs=1e-3)
    # The molecular virial leaves out the noise of the intramolecular one.
    assert np.std(labels) < 300 < np.std([float(r["pressure_engine_bar"]) for r in rows])


def test_constrained_run_uses_degrees_of_freedom(raw: Path, mapping: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.extxyz"
    result = run(opened(raw, "constrained"), mapping, out)
    assert result.virial == "dof"
    assert any("3000 constraints" in note for note in result.notes)
    record = check_manifest(out)
    assert record["virial"] == "dof"
    assert record["internal_dof"] == 18000 - 3000 - 1500
    thermo = read_edr(raw / "constrained.edr")
    assert thermo.virial is not None
    frame = next(read_frames(out))
    expected = np.trace(thermo.virial[0]) + 13500 * KB * 300.0
    assert frame.virial is not None
    assert np.trace(frame.virial) == pytest.approx(expected, abs=1e-6)
    # Against the engine: 3 P V = tr W + n_dof k_B T(t); 14997 degrees of freedom (gmx dump -s).
    assert thermo.pressure is not None
    assert thermo.temperature is not None
    difference = thermo.pressure[0] - frame.pressure(300.0)
    kelvin = thermo.temperature[0]
    from cgpot.core.units import EV_PER_A3_IN_BAR

    kinetic = (14997 * kelvin - 15000 * 300.0) * KB / (3 * frame.volume) * EV_PER_A3_IN_BAR
    assert difference == pytest.approx(kinetic, abs=0.1)


def test_exact_form_on_a_constrained_run_is_far_off(raw: Path, mapping: Path) -> None:
    """The formula without constraint forces: about -1.1 kbar against the engine."""
    system = opened(raw, "constrained")
    sites = resolve(load_mapping(mapping), system.topology, mapping)
    assert system.thermo is not None
    assert system.thermo.virial is not None
    assert system.thermo.pressure is not None
    differences = [
        map_frame(f, sites, virial=w).pressure(300.0) - p
        for f, w, p in zip(
            system.trajectory, system.thermo.virial, system.thermo.pressure, strict=True
        )
    ]
    assert -2500 < np.mean(differences) < -200


def test_unknown_constraints_are_asked_for(raw: Path, mapping: Path, tmp_path: Path) -> None:
    system = opened(raw)
    unknown = replace(system, topology=replace(system.topology, constraints=None))
    with pytest.raises(ConfigError, match="does not tell whether the run has constraints"):
        run(unknown, mapping, tmp_path / "a.extxyz")
    assert not list(tmp_path.iterdir())


def test_energies_of_another_run(raw: Path, mapping: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"constrained\.edr, frame 0: no entry at time 12\.5 ps"):
        run(opened(raw, energy="constrained"), mapping, tmp_path / "a.extxyz.xz")
    assert not list(tmp_path.iterdir())


def test_energies_with_another_volume(raw: Path, mapping: Path, tmp_path: Path) -> None:
    system = opened(raw)
    assert system.thermo is not None
    assert system.thermo.volume is not None
    volume = system.thermo.volume.copy()
    volume[5] *= 1.001
    mixed = replace(system, thermo=replace(system.thermo, volume=volume))
    with pytest.raises(InputError, match=r"frame 5: volume .*the files belong to different runs"):
        run(mixed, mapping, tmp_path / "a.extxyz.xz")
    assert not list(tmp_path.iterdir())


def test_topology_of_another_system(raw: Path, tmp_path: Path, atoms24: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="frame 0: 6000 atoms, but the topology has 24"):
        open_system(atoms24[1], raw / "flexible.trr", raw / "flexible.edr")


def test_nan_leaves_nothing_behind(tmp_path: Path, atoms24: tuple[Path, Path]) -> None:
    mapping, gro = atoms24
    trr = tmp_path / "in" / "a.trr"
    write_trr(trr, 4, nan=2)
    out = tmp_path / "out"
    system = open_system(gro, trr, None, forces_only=True)
    with pytest.raises(DataError, match="frame 2: forces of atom 5 hold NaN"):
        run(system, mapping, out / "a.extxyz")
    assert not list(out.iterdir())


def test_failure_keeps_the_older_output(tmp_path: Path, atoms24: tuple[Path, Path]) -> None:
    mapping, gro = atoms24
    good, bad = tmp_path / "in" / "good.trr", tmp_path / "in" / "bad.trr"
    write_trr(good, 3)
    write_trr(bad, 3, nan=1)
    out = tmp_path / "a.extxyz"
    run(open_system(gro, good, None, forces_only=True), mapping, out)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(DataError, match="frame 1"):
        run(open_system(gro, bad, None, forces_only=True), mapping, out)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_forces_alone(tmp_path: Path, atoms24: tuple[Path, Path]) -> None:
    mapping, gro = atoms24
    write_trr(tmp_path / "a.trr", 3)
    system = open_system(gro, tmp_path / "a.trr", None, forces_only=True)
    result = run(system, mapping, tmp_path / "a.extxyz")
    assert result.virial == "none"
    frame = next(read_frames(tmp_path / "a.extxyz"))
    assert frame.virial is None
    assert frame.forces is not None
    assert result.check.agrees is None


def test_repeated_frames(raw: Path, mapping: Path, tmp_path: Path) -> None:
    data = (raw / "constrained.trr").read_bytes()
    (tmp_path / "twice.trr").write_bytes(data + data)
    system = open_system(raw / "constrained.tpr", tmp_path / "twice.trr", raw / "constrained.edr")
    with pytest.raises(InputError, match="frame 9: time 8 ps does not follow 40 ps"):
        run(system, mapping, tmp_path / "a.extxyz")


def test_window_and_stride(raw: Path, mapping: Path, tmp_path: Path) -> None:
    options = MapOptions(begin=25.0, end=100.0, stride=2, quiet=True)
    run(opened(raw), mapping, tmp_path / "a.extxyz", options)
    frames = list(read_frames(tmp_path / "a.extxyz"))
    assert [f.time for f in frames] == [25.0, 50.0, 75.0, 100.0]
    assert [f.source_frame for f in frames] == [1, 3, 5, 7]
    with pytest.raises(InputError, match="no frame left of 21 after --begin 500"):
        run(opened(raw), mapping, tmp_path / "b.extxyz", replace(options, begin=500.0, end=None))


def test_output_name(raw: Path, mapping: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected an output name ending in \.extxyz"):
        run(opened(raw), mapping, tmp_path / "a.xyz")


def test_pressure_mismatch_is_refused_or_recorded(raw: Path, mapping: Path, tmp_path: Path) -> None:
    system = opened(raw)
    assert system.thermo is not None
    assert system.thermo.pressure is not None
    shifted = replace(
        system, thermo=replace(system.thermo, pressure=system.thermo.pressure + 3000.0)
    )
    out = tmp_path / "a.extxyz"
    with pytest.raises(DataError, match=r"they differ by .*standard errors.*Likely reason"):
        run(shifted, mapping, out)
    assert not list(tmp_path.iterdir())
    result = run(shifted, mapping, out, MapOptions(accept_mismatch="a test", quiet=True))
    assert "pressure mismatch accepted: a test" in result.notes
    record = json.loads((tmp_path / "a.extxyz.manifest.json").read_text())
    assert record["options"]["accept_pressure_mismatch"] == "a test"
    assert record["pressure_check_bar"]["agrees"] is False


def test_comparison_of_pressures() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(0, 200, 400)
    engine = label + rng.normal(0, 800, 400)
    check = compare_pressures(label, engine)
    assert check.agrees is True
    assert check.difference is not None
    assert check.difference.error == pytest.approx(800 / 20, rel=0.4)
    require_agreement(check, "", "x")
    off = compare_pressures(label, engine + 400)
    assert off.agrees is False
    with pytest.raises(DataError, match=r"x: mean pressure .* Likely reason: because"):
        require_agreement(off, "because", "x")
    assert compare_pressures(label[:5], engine[:5]).agrees is None
    assert compare_pressures(label, None).agrees is None
    same = compare_pressures(label, label)
    assert same.agrees is True
    assert compare_pressures(label, label + 1.0).agrees is False


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1100.0, 2900.0, True, True), "constraint forces are missing"),
        ((3000.0, 2900.0, False, True), "kinetic pressure inside the molecules"),
        ((500.0, 2900.0, None, True), "may have constraints"),
        ((-200.0, 2900.0, False, True), "tail corrections"),
    ],
)
def test_likely_reasons(arguments: tuple[Any, ...], match: str) -> None:
    assert match in likely_reason(*arguments)


def test_note_on_the_temperature_of_the_sites() -> None:
    rng = np.random.default_rng(0)
    hot = rng.normal(325.0, 10.0, 100)
    note = temperature_note(hot.tolist(), 300.0)
    assert note is not None
    assert "the sites move at 32" in note
    assert temperature_note((hot - 25.0).tolist(), 300.0) is None
    assert temperature_note(hot[:4].tolist(), 300.0) is None
    assert temperature_note(hot.tolist(), None) is None


def test_command(raw: Path, mapping: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    out = tmp_path / "c.extxyz.xz"
    arguments = [
        str(mapping), "-s", str(raw / "constrained.tpr"), "-f", str(raw / "constrained.trr"),
        "-e", str(raw / "constrained.edr"), "-o", str(out), "-q",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "9 frames of 500 sites, virial dof" in result.output
    report = json.loads((tmp_path / "c.report.json").read_text())
    assert report["n_frames"] == 9
    assert report["bead_type_names"] == ["BNZ"]
    assert report["pressure_engine_bar"]["n"] >= 8
    again = CliRunner().invoke(app, [*arguments[:-2], str(tmp_path / "c.txt")])
    assert isinstance(again.exception, CgpotError)


def test_memory_stays_flat(tmp_path: Path, atoms24: tuple[Path, Path]) -> None:
    """Eight times the frames (16 MB of arrays more), and the peak grows by less than 1 MB."""
    mapping, gro = atoms24
    mapping.write_text(mapping.read_text().replace("repeat: 2", "repeat: all"))
    topology = replace(read_topology(gro), n_atoms=1200, universe=None)

    def peak(frames: int) -> int:
        trr = tmp_path / f"{frames}.trr"
        write_trr(trr, frames, atoms=1200)
        tracemalloc.start()
        system = AtomSystem(topology, TrrTrajectory(trr, 1200), None)
        run(system, mapping, tmp_path / "m.extxyz")
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    peak(3)  # imports
    assert peak(320) - peak(40) < 1_000_000
