# SPDX-License-Identifier: GPL-2.0-or-later
"""Refinement of a mixture of two types: all three pair functions, deployed and run in LAMMPS."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixture_systems import (
    MASSES,
    NAMES,
    PAIRS,
    TEMPERATURE,
    labelled,
    lennard_jones,
    write_reference,
    write_settings,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from linear_systems import lammps_point

from cgpot.cli import main
from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.manifest import check_manifest
from cgpot.core.units import KB
from cgpot.deploy.deployment import deploy
from cgpot.distill.teacher import Teacher
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.potential.base import Base
from cgpot.potential.splines import PairTable
from cgpot.refine.refine_loop import Refinement, refine
from cgpot.refine.refine_settings import load_config
from cgpot.refine.reweighting import shrunk
from cgpot.training.evaluation.evaluation_stage import evaluate_model
from cgpot.training.open_potential import open_potential

KT = KB * TEMPERATURE


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("mixture"))


def refined(folder: Path, reference: Path, method: str, **changes: object) -> Refinement:
    config = load_config(
        write_settings(folder / "refine.yaml", reference, method=method, **changes)
    )
    return refine(config, folder / "out", quiet=True)


@pytest.fixture(scope="module")
def entropy(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    return refined(tmp_path_factory.mktemp("entropy"), reference, "relative-entropy", deploy=True)


def deviation(table: PairTable, g: np.ndarray, r: np.ndarray, row: int) -> float:
    """Rms difference from the true u(r) where pairs are frequent, a constant apart, k_B T."""
    a, b = PAIRS[row]
    near = (g[row] > 0.5) & (r < 7.0)
    difference = (table.energy(r, a, b) - lennard_jones(r, row)[0])[near] / KT
    return float(np.std(difference))


def check_mixture(outcome: Refinement) -> None:
    """Every pair comes to its g(r) and its potential; the pressure too."""
    history = outcome.history
    records = history["iterations"]
    first, last = records[0], records[history["chosen"]]
    assert history["chosen"] > 0
    assert set(first["pairs"]) == {"A-A", "A-B", "B-B"}
    r, g = np.array(history["r_A"]), np.array(history["g_reference"])
    before = PairTable.read(outcome.folder / "iter.000" / "potential.json")
    after = PairTable.read(outcome.folder / "model" / "pair.json")
    for row, name in enumerate(("A-A", "A-B", "B-B")):
        assert last["pairs"][name]["rdf_error"] < 0.8 * first["pairs"][name]["rdf_error"]
        assert last["pairs"][name]["rdf_error"] < 1.8 * last["pairs"][name]["rdf_error_noise"]
        assert deviation(after, g, r, row) < 0.8 * deviation(before, g, r, row)
    wanted = last["pressure_reference_bar"]
    assert abs(last["pressure_bar"] - wanted) < 0.4 * abs(first["pressure_bar"] - wanted)


def test_relative_entropy_of_a_mixture(entropy: Refinement) -> None:
    check_mixture(entropy)


def test_inversion_of_a_mixture(reference: Path, tmp_path: Path) -> None:
    check_mixture(refined(tmp_path, reference, "ibi"))


def test_a_step_from_few_frames_is_no_longer_than_one_from_many() -> None:
    """With as many frames as splines the sample's covariance is singular, the shrunk one not."""
    rng = np.random.default_rng(2)
    size, most = 30, 4000
    mixing = np.eye(size) + 0.5 * np.diag(np.ones(size - 1), 1)
    true = mixing @ mixing.T
    every = rng.normal(size=(most, size)) @ mixing.T
    target = np.diag(np.diag(true))
    direction = rng.normal(size=(size, 200))
    errors = []
    for n in (40, most):
        x = every[:n] - every[:n].mean(axis=0)
        w = np.full(n, 1.0 / n)
        found = shrunk(x, w, 1.0 / n, target)
        sample = (x * w[:, None]).T @ x
        step = np.linalg.norm(np.linalg.solve(found, direction), axis=0)
        plain = np.linalg.norm(np.linalg.solve(sample, direction), axis=0)
        right = np.linalg.norm(np.linalg.solve(true, direction), axis=0)
        errors.append((np.median(step / right), np.median(plain / right)))
    assert errors[0][1] > 5.0  # far too long
    assert 0.3 < errors[0][0] < 1.5
    assert errors[1][0] == pytest.approx(1.0, abs=0.1)


def test_the_deployed_tables_are_those_of_lammps(entropy: Refinement, tmp_path: Path) -> None:
    """Energy, forces and virial of LAMMPS for all three pairs, where beads come."""
    with pytest.raises(SystemExit) as stop:
        main(["deploy", str(entropy.folder), "-o", str(tmp_path / "deployed"), "--name", "ibi"])
    assert stop.value.code == 0
    folder = tmp_path / "deployed"
    content = read_json(folder / "ibi.cgpot.json")
    check_manifest(folder / "ibi.cgpot.json", stage="deploy")
    assert (content["kind"], content["pair_file"]) == ("pair", "ibi.pair.lmp")
    assert content["bead_names"] == list(NAMES)
    assert content["masses"] == list(MASSES)
    assert content["temperature"] == TEMPERATURE
    assert content["refined"]["method"] == "relative-entropy"
    assert content["data"]["force_rmse"] > 0
    table = PairTable.read(entropy.folder / "model" / "pair.json")
    run = entropy.folder / "iter.001" / "md" / "traj.extxyz.xz"
    frame = list(read_frames(run))[-1]
    energy, forces, virial = lammps_point(tmp_path / "run", frame, folder / "ibi.pair.lmp")
    f, w, u = Base(table).labels(frame)
    assert energy == pytest.approx(u, abs=1e-4)
    np.testing.assert_allclose(forces, f, atol=2e-5 * np.abs(f).max())
    np.testing.assert_allclose(virial, w, atol=2e-5 * np.abs(w).max())
    # once more nothing is done; the model folder itself will do, and deploy: true has done it
    assert deploy(entropy.folder, folder, name="ibi").skipped
    assert deploy(entropy.folder / "model", tmp_path / "again").sidecar.is_file()
    assert (entropy.folder / "deploy" / "model.pair.lmp").is_file()


def test_md_and_report_take_it(entropy: Refinement, reference: Path, tmp_path: Path) -> None:
    deploy(entropy.folder, tmp_path / "deployed")
    words = ["md", "nvt", "--pair-file", str(tmp_path / "deployed" / "model.pair.lmp"), "-q"]
    words += ["--start", str(reference), "-T", str(TEMPERATURE), "--length-ps", "4"]
    words += ["--thermo-ps", "0.04", "--dump-ps", "0.08", "-o", str(tmp_path / "nvt")]
    analyze = ["analyze", "--reference", str(reference), "--run", str(tmp_path / "nvt"), "--quiet"]
    analyze += ["--parity", str(entropy.folder / "model" / "parity.npz")]
    analyze += ["--temperature", str(TEMPERATURE), "--output", str(tmp_path / "analysis")]
    report = ["report", "--analysis", str(tmp_path / "analysis")]
    report += ["--train", str(entropy.folder / "model"), "--deploy", str(tmp_path / "deployed")]
    report += ["--output", str(tmp_path / "report.html")]
    for command in (words, analyze, report):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 0, command
    text = (tmp_path / "report.html").read_text()
    assert "A (40 amu), B (60 amu)" in text
    assert "SHA-256 of model.table" in text


def test_it_is_a_teacher_and_can_be_evaluated(
    entropy: Refinement, reference: Path, tmp_path: Path
) -> None:
    frame = next(iter(read_frames(reference)))
    table = PairTable.read(entropy.folder / "model" / "pair.json")
    taught, spread = Teacher([entropy.folder]).label(frame)
    forces, virial, _ = Base(table).labels(frame)
    assert spread == 0.0
    assert taught.forces is not None
    np.testing.assert_allclose(taught.forces, forces)
    np.testing.assert_allclose(taught.virial, virial)
    # its energy is that of which the forces are the slope
    step = 1e-4
    moved = frame.positions.copy()
    moved[3, 1] += step
    upper = Teacher([entropy.folder]).label(replace(frame, positions=moved))[0].energy
    moved = moved.copy()
    moved[3, 1] -= 2 * step
    lower = Teacher([entropy.folder]).label(replace(frame, positions=moved))[0].energy
    assert upper is not None
    assert lower is not None
    assert (lower - upper) / (2 * step) == pytest.approx(forces[3, 1], abs=1e-6)
    assert open_potential(entropy.folder).kind == "pair"
    write_frames(tmp_path / "some.extxyz", [labelled(frame)])
    record = evaluate_model(entropy.folder, [tmp_path / "some.extxyz"], tmp_path / "e", quiet=True)
    assert record["force_rmse"] < 0.3 * record["force_label_rms"]


def test_what_cannot_be_deployed(entropy: Refinement, tmp_path: Path) -> None:
    (tmp_path / "begun" / "iter.000").mkdir(parents=True)
    with pytest.raises(InputError, match=r"not finished.*goes on where it stopped"):
        deploy(tmp_path / "begun", tmp_path / "d")
    old = tmp_path / "old"
    old.mkdir()
    write_json(old / "result.json", {"format": "cgpot-refined-pair-1", "kind": "pair"})
    with pytest.raises(InputError, match=r"of an earlier version.*no iteration is run again"):
        deploy(old, tmp_path / "d")
    with pytest.raises(InputError, match="at 150 K, not at 300 K"):
        deploy(entropy.folder, tmp_path / "d", temperature=300.0)
    assert not (tmp_path / "d").exists()
