# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole stage on a small fluid: files, resume after a kill, physics of the result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_systems import NAME, N, fluid, write_case

from cgpot.core.config import validate
from cgpot.core.errors import DataError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.molecules.frame import CGFrame
from cgpot.potential.network_potential import NetworkPotential, load_model
from cgpot.potential.site_graph import neighbours
from cgpot.training.evaluation.predictions import (
    pair_coefficients,
    save_checkpoint_with_pair,
)
from cgpot.training.folder.graph_frames import to_data
from cgpot.training.folder.subsets import load_subsets
from cgpot.training.network.lightning_module import COLUMNS, read_table
from cgpot.training.network.nequip_process import command
from cgpot.training.network.preparation import prepare
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import Folder, Outcome, train

RUN = """
import sys
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train
train(load_config(sys.argv[1]), sys.argv[2], quiet=True)
"""


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
    return {k: v for k, v in state.items() if torch.is_tensor(v)}


def same_weights(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def energy(model: torch.nn.Module, frame: CGFrame) -> float:
    data = to_data(frame, *neighbours(frame, 5.0), forces=False, stress=False)
    return float(model(data)["total_energy"].detach())


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """A trained model in double precision, for derivatives."""
    path = write_case(
        tmp_path_factory.mktemp("double"), model={"dtype": "float64"}, optimiser={"epochs": 1}
    )
    train(load_config(path), path.parent / "out", quiet=True)
    return load_model(path.parent / "out" / "model.ckpt")


def test_files_and_figures(trained: Outcome) -> None:
    folder = Folder(trained.folder)
    rows = read_table(folder.metrics)
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert all(np.isfinite(float(row[c])) for row in rows for c in COLUMNS)
    assert float(rows[-1]["train_loss"]) < 0.75 * float(rows[0]["train_loss"])
    assert float(rows[-1]["val_loss"]) < 0.75 * float(rows[0]["val_loss"])
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    assert result["epochs"] == 4
    assert result["bead_names"] == [NAME]
    assert result["force_rmse"] < result["force_label_rms"]
    assert set(result["pressure_residual_bar"]) == {"mean", "error"}
    with np.load(folder.parity) as parity:
        assert parity["force_label"].shape == parity["force_model"].shape == (4 * N, 3)
        rmse = np.sqrt(np.mean((parity["force_label"] - parity["force_model"]) ** 2))
        assert rmse == pytest.approx(result["force_rmse"], rel=1e-5)
        residual = np.mean(parity["pressure_model_bar"] - parity["pressure_label_bar"])
        assert residual == pytest.approx(result["pressure_residual_bar"]["mean"], rel=1e-3)
    record = check_manifest(folder.result, stage="training")
    assert {"train", "val", "test"} <= set(record["inputs"])


def test_a_complete_folder_is_left_alone(case: Path, trained: Outcome) -> None:
    before = (trained.folder / "model.ckpt").stat().st_mtime_ns
    again = train(load_config(case), trained.folder, quiet=True)
    assert again.skipped
    assert again.result["force_rmse"] == trained.result["force_rmse"]
    assert (trained.folder / "model.ckpt").stat().st_mtime_ns == before


def test_other_inputs_need_another_folder(case: Path, trained: Outcome) -> None:
    config = load_config(case)
    other = config.model_copy(update={"seed": 99})
    with pytest.raises(InputError, match=r"other inputs \(config\.seed: 3 before, 99 now\)"):
        train(other, trained.folder, quiet=True)


def test_kill_and_resume_repeats_the_uninterrupted_run(
    case: Path, trained: Outcome, tmp_path: Path
) -> None:
    """SIGKILL after the second epoch's row: weights afterwards are equal bit by bit."""
    out = tmp_path / "out"
    words = [sys.executable, "-c", RUN, str(case), str(out)]
    process = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(read_table(out / "metrics.csv")) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "trained.json").exists()
    assert (out / "checkpoints" / "last.ckpt").exists()
    outcome = train(load_config(case), out, quiet=True)
    assert outcome.resumed
    last = Path("checkpoints") / "last.ckpt"
    assert same_weights(out / last, trained.folder / last)
    assert outcome.result["force_rmse"] == trained.result["force_rmse"]
    for a, b in zip(
        read_table(out / "metrics.csv"), read_table(trained.folder / "metrics.csv"), strict=True
    ):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }


def test_nequip_train_runs_the_file_as_it_is(case: Path, trained: Outcome, tmp_path: Path) -> None:
    config = load_config(case)
    folder = Folder(tmp_path / "plain")
    folder.path.mkdir()
    prepare(config, folder, load_subsets(config)["train"], quiet=True)
    subprocess.run(
        ["nequip-train", "-cp", str(folder.path), "-cn", folder.nequip.name],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    assert same_weights(folder.last, Folder(trained.folder).last)
    assert command(folder, resume=False)[-2:] == ["-cn", "nequip.yaml"]


def test_a_checkpoint_needs_no_file_beside_it(trained: Outcome, tmp_path: Path) -> None:
    shutil.copy(trained.folder / "model.ckpt", tmp_path / "alone.ckpt")
    text = str(torch.load(tmp_path / "alone.ckpt", weights_only=False)["hyper_parameters"])
    assert "pair.json" not in text
    frame = fluid(1, 9)[0]
    left = NetworkPotential.read(tmp_path / "alone.ckpt").labels(frame)
    right = NetworkPotential.read(trained.folder / "model.ckpt").labels(frame)
    np.testing.assert_array_equal(left.forces, right.forces)


def test_other_pair_coefficients_change_the_model(trained: Outcome, tmp_path: Path) -> None:
    """Zero coefficients leave the network; the difference in forces is the pair part."""
    from cgpot.potential.base import Base
    from cgpot.potential.splines import PairTable

    source = trained.folder / "model.ckpt"
    table = PairTable.read(trained.folder / "pair.json")
    old = pair_coefficients(source)
    np.testing.assert_allclose(old, table.coefficients, rtol=1e-6, atol=1e-6)
    save_checkpoint_with_pair(source, tmp_path / "bare.ckpt", np.zeros_like(old))
    frame = fluid(1, 9)[0]
    full, w_full, _ = NetworkPotential.read(source).labels(frame)
    bare, w_bare, _ = NetworkPotential.read(tmp_path / "bare.ckpt").labels(frame)
    force, virial, _ = Base(table).labels(frame)
    scale = np.abs(full).max()
    np.testing.assert_allclose(full - bare, force, atol=2e-6 * scale)
    np.testing.assert_allclose(w_full - w_bare, virial, atol=1e-5 * np.abs(w_full).max())


def test_forces_and_virial_are_derivatives_of_the_energy(double: torch.nn.Module) -> None:
    """Central differences, 1e-4 Å and 1e-5 of strain: 1e-6 of the largest value."""
    frame = fluid(1, 9)[0]
    forces, virial, _ = NetworkPotential(double).labels(frame)
    step = 1e-4
    for site, axis in ((0, 0), (17, 1), (40, 2)):
        values = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[site, axis] += sign * step
            values.append(energy(double, CGFrame(frame.topology, moved, frame.cell)))
        slope = -(values[0] - values[1]) / (2 * step)
        assert forces[site, axis] == pytest.approx(slope, abs=1e-6 * np.abs(forces).max())
    strain = 1e-5
    for a, b in ((0, 0), (1, 1), (0, 2)):
        values = []
        for sign in (1, -1):
            matrix = np.eye(3)
            matrix[a, b] += 0.5 * sign * strain
            matrix[b, a] += 0.5 * sign * strain
            values.append(
                energy(
                    double,
                    CGFrame(frame.topology, frame.positions @ matrix, frame.cell @ matrix),
                )
            )
        work = -(values[0] - values[1]) / (2 * strain)
        assert virial[a, b] == pytest.approx(work, abs=1e-6 * np.abs(virial).max())


def test_invariances(double: torch.nn.Module, rng: np.random.Generator) -> None:
    """Translation, wrapping, permutation and rotation, to 1e-9 of the largest force."""
    frame = fluid(1, 9)[0]
    base = energy(double, frame)
    forces, virial, _ = NetworkPotential(double).labels(frame)
    size = np.abs(forces).max()

    moved = CGFrame(frame.topology, frame.positions + np.array([1.3, -7.0, 20.2]), frame.cell)
    assert energy(double, moved) == pytest.approx(base, rel=1e-10)

    order = rng.permutation(N)
    shuffled = CGFrame(frame.topology, frame.positions[order], frame.cell)
    permuted = NetworkPotential(double).labels(shuffled).forces
    np.testing.assert_allclose(permuted, forces[order], atol=1e-9 * size)

    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.linalg.det(q))
    turned = CGFrame(frame.topology, frame.positions @ q, frame.cell @ q)
    rotated, w, _ = NetworkPotential(double).labels(turned)
    np.testing.assert_allclose(rotated, forces @ q, atol=1e-9 * size)
    np.testing.assert_allclose(w, q.T @ virial @ q, atol=1e-9 * np.abs(virial).max())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    path = write_case(
        tmp_path / "case", optimiser={"learning_rate": 1e30, "epochs": 2, "warmup": 0.0}
    )
    with pytest.raises(DataError, match=r"loss became (nan|inf|-inf) in epoch 0.*learning_rate"):
        train(load_config(path), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "result.json").exists()


def test_frames_without_stress_are_refused_before_training(tmp_path: Path) -> None:
    import dataclasses

    from cgpot.molecules.extxyz import write_frames

    path = write_case(tmp_path / "case")
    bare = [dataclasses.replace(f, virial=None) for f in fluid(4, 2)]
    write_frames(path.parent / "val.extxyz", bare)
    with pytest.raises(InputError, match=r"val\.extxyz.*frame 0.*the loss asks for stress"):
        train(load_config(path), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "nequip.yaml").exists()


def test_forces_alone_and_early_stopping_reach_the_configuration(tmp_path: Path) -> None:
    import yaml

    path = write_case(
        tmp_path / "case",
        loss={"stress": None},
        prior={"type": "none"},
        optimiser={"patience": 2, "gradient_clip": 5.0, "weight_decay": 0.01},
    )
    config = load_config(path)
    assert isinstance(validate(TrainConfig, yaml.safe_load(path.read_text("utf-8"))), TrainConfig)
    folder = Folder(tmp_path / "out")
    folder.path.mkdir()
    prepare(config, folder, load_subsets(config)["train"], quiet=True)
    record = yaml.safe_load(folder.nequip.read_text(encoding="utf-8"))
    module = record["training_module"]
    assert [m["name"] for m in module["loss"]["metrics"]] == ["forces"]
    assert "pair_potential" not in module["model"]
    assert module["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert record["trainer"]["gradient_clip_val"] == 5.0
    targets = [c["_target_"].rsplit(".", 1)[-1] for c in record["trainer"]["callbacks"]]
    assert "EarlyStopping" in targets
    assert not folder.pair.exists()
    assert folder.yardstick.exists()
