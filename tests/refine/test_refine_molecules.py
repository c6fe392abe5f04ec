# SPDX-License-Identifier: GPL-2.0-or-later
"""Refinement of molecules in LAMMPS: wrong bonds, angles and pairs come to a known potential."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trimer_systems import KT, TEMPERATURE, truth, write_config, write_reference, write_start

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from linear_systems import lammps_point

from cgpot.core.files import read_json
from cgpot.core.manifest import check_manifest
from cgpot.deploy.deployment import deploy
from cgpot.molecules.extxyz import read_frames
from cgpot.refine.refine_loop import Refinement, refine
from cgpot.refine.refine_settings import load_config
from cgpot.training.linear.mscg import MSCGPotential
from cgpot.training.open_potential import open_potential


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("trimers"))


@pytest.fixture(scope="module")
def found(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    """From springs of less than half the stiffness and wells of almost twice the depth."""
    folder = tmp_path_factory.mktemp("refined")
    start = write_start(folder / "start", truth(stiffness=60.0, bend=5.0, depth=1.8))
    path = write_config(folder / "refine.yaml", reference, start=str(start), deploy=True)
    return refine(load_config(path), folder / "out", quiet=True)


def stiffness(potential: MSCGPotential) -> np.ndarray:
    """Mean u'' of bond and angle where they are frequent, k_B T/Å^2 and k_B T/radian^2."""
    assert potential.bonds is not None
    assert potential.angles is not None
    found = []
    for part, name, q in (
        (potential.bonds, "bond", np.linspace(2.4, 2.6, 5)),
        (potential.angles, "angle", np.radians(np.linspace(115.0, 145.0, 5))),
    ):
        slope = part.evaluate(potential.part(name), 0, q)[1] / KT
        found.append(np.polyfit(q, slope, 1)[0])
    return np.array(found)


def pair_difference(potential: MSCGPotential) -> float:
    """Rms difference of u(r) from the truth between 4 Å and 7 Å, all pairs, k_B T."""
    r = np.linspace(4.0, 7.0, 31)
    table, true = potential.table(), truth().table()
    rows = ((0, 0), (0, 1), (1, 1))
    found = [table.energy(r, *pair) - true.energy(r, *pair) for pair in rows]
    return float(np.sqrt(np.mean(np.square(found)))) / KT


def test_molecules_come_to_the_reference(found: Refinement) -> None:
    records = found.history["iterations"]
    first, last = records[0], records[found.history["chosen"]]
    assert found.history["start"] == "mscg"
    assert list(last["pairs"]) == ["A-A", "A-B", "B-B"]
    assert list(last["terms"]) == ["A-B", "A-B-A"]
    assert first["bonded_overlap"] < 0.85
    for term in last["terms"].values():
        assert term["overlap"] > 0.92
    for name, pair in last["pairs"].items():
        assert pair["rdf_error"] < max(0.7 * first["pairs"][name]["rdf_error"], 0.05)
    wanted = last["pressure_reference_bar"]
    assert abs(first["pressure_bar"] - wanted) > 500.0
    assert abs(last["pressure_bar"] - wanted) < 150.0
    before = MSCGPotential.read(found.folder.parent / "start" / "mscg.json")
    after = MSCGPotential.read(found.folder / "model" / "mscg.json")
    assert pair_difference(after) < 0.6 * pair_difference(before)
    np.testing.assert_allclose(stiffness(before), [60.0, 5.0], rtol=0.02)
    np.testing.assert_allclose(stiffness(after), stiffness(truth()), rtol=0.3)
    check_manifest(found.folder / "history.json", stage="refine")
    assert (found.folder / "bonded.png").stat().st_size > 5000


def test_lammps_runs_what_is_written(found: Refinement, tmp_path: Path) -> None:
    """Energy, forces and virial of the deployed tables against Python."""
    potential = MSCGPotential.read(found.folder / "model" / "mscg.json")
    frame = list(read_frames(found.folder / "iter.001" / "md" / "traj.extxyz.xz"))[-1]
    frame = replace(frame, topology=potential.topology)
    forces, virial, _ = potential.labels(frame)
    content = read_json(found.folder / "deploy" / "model.cgpot.json")
    assert content["bonded"] == potential.bonded.deployed()
    pair_file = found.folder / "deploy" / "model.pair.lmp"
    _, f, w = lammps_point(tmp_path / "run", frame, pair_file, potential.bonded)
    np.testing.assert_allclose(f, forces, atol=1e-4 * np.abs(forces).max())
    np.testing.assert_allclose(w, virial, atol=2e-4 * np.abs(virial).max())
    assert deploy(found.folder, found.folder / "deploy").skipped
    trained = open_potential(found.folder)
    assert trained.kind == "mscg"
    np.testing.assert_allclose(trained.labels(frame)[0], forces)
    result = read_json(found.folder / "model" / "result.json")
    assert result["force_rmse"] < 0.2 * result["force_label_rms"]


def test_bonds_alone(reference: Path, tmp_path: Path) -> None:
    """The pairs stay as they are; the distributions of bonds and angles come right by inversion."""
    start = write_start(tmp_path / "start", truth(stiffness=60.0))
    path = write_config(
        tmp_path / "refine.yaml",
        reference,
        start=str(start),
        method="ibi",
        pairs=[],
        bonded=["bond"],
        pressure="ignore",
        iterations=3,
    )
    outcome = refine(load_config(path), tmp_path / "out", quiet=True)
    records = outcome.history["iterations"]
    assert records[0]["bonded_overlap"] < 0.85
    assert records[-1]["bonded_overlap"] > 0.95
    after = MSCGPotential.read(outcome.folder / "model" / "mscg.json")
    np.testing.assert_allclose(after.part("pair"), truth().part("pair"), atol=1e-12)
    np.testing.assert_allclose(after.part("angle"), truth().part("angle"), atol=1e-12)
    assert stiffness(after)[0] == pytest.approx(150.0, rel=0.15)


def test_from_zero(reference: Path, tmp_path: Path) -> None:
    """Bonded distributions are inverted, pairs refined on what is left out of the molecules."""
    path = write_config(tmp_path / "refine.yaml", reference, iterations=2, bonded=False)
    outcome = refine(load_config(path), tmp_path / "out", quiet=True)
    first, last = outcome.history["iterations"]
    assert outcome.history["start"] == "zero"
    assert last["rdf_error"] < first["rdf_error"]
    assert "terms" not in last
    model = MSCGPotential.read(outcome.folder / "model" / "mscg.json")
    assert model.excluded == (1, 2, 3)
    assert sorted(model.bonded.parts) == ["angle", "bond"]
    assert read_json(outcome.folder / "model" / "result.json")["temperature"] == TEMPERATURE
