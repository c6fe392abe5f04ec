# SPDX-License-Identifier: GPL-2.0-or-later
"""The noise floor of synthetic labels of known noise; the frames behind a loss of NaN."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_systems import NAME, N, fluid, write_case
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.core.errors import DataError, InputError
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.training.evaluation.evaluation_stage import evaluate_model
from cgpot.training.evaluation.noise_floor import (
    applicable_noise,
    conditional_mean,
    floor_record,
    measure_noise,
    noise_free,
    of_means,
    read_noise,
)
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Outcome, train

NOISE = 0.2


def held(seed: int, count: int = 40, memory: float = 0.0) -> tuple[CGFrame, list[CGFrame]]:
    """A configuration with its exact force, and noisy samples of it with a given memory."""
    exact = fluid(1, seed)[0]
    assert exact.forces is not None
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, N, 3))
    for k in range(1, count):  # an autoregressive process of unit variance
        noise[k] = memory * noise[k - 1] + np.sqrt(1 - memory**2) * noise[k]
    frames = [replace(exact, forces=exact.forces + NOISE * x, temperature=300.0) for x in noise]
    return exact, frames


def test_noise_and_mean_force_of_independent_samples(tmp_path: Path) -> None:
    files, exact = [], []
    for seed in range(3):
        one, frames = held(seed)
        exact.append(one)
        files.append(tmp_path / f"{seed}.extxyz")
        write_frames(files[-1], frames)
    report = measure_noise(files, tmp_path / "noise.json", frames=tmp_path / "mean.extxyz")
    assert report["rmse"] == pytest.approx(NOISE, rel=0.03)
    assert report["rmse_error"] < 0.01
    assert report["rmse_per_type"][NAME] == pytest.approx(report["rmse"], rel=1e-3)
    means = list(read_frames(tmp_path / "mean.extxyz"))
    assert [m.weight for m in means] == pytest.approx([40.0] * 3, rel=0.05)
    for mean, one in zip(means, exact, strict=True):
        assert mean.forces is not None
        assert mean.virial is not None
        error = np.sqrt(np.mean((mean.forces - one.forces) ** 2))
        assert error == pytest.approx(NOISE / np.sqrt(40), rel=0.2)
        assert np.allclose(mean.virial, one.virial, atol=1e-3)
        assert np.allclose(mean.positions, one.positions)
    assert read_noise(tmp_path / "noise.json")["rmse"] == report["rmse"]


def test_correlated_samples_count_less(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.extxyz", held(5, count=150, memory=0.7)[1])
    found = conditional_mean(tmp_path / "a.extxyz")
    expected = (1 + 0.7) / (1 - 0.7)
    assert found.inefficiency == pytest.approx(expected, rel=0.15)
    assert found.frame.weight == pytest.approx(150 / found.inefficiency)
    assert np.sqrt(found.variance.mean()) == pytest.approx(NOISE, rel=0.04)


def test_runs_that_are_not_held_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    frames = held(1, count=6)[1]
    moved = frames[4].positions.copy()
    moved[7, 0] += 0.5
    write_frames(path, [*frames[:4], replace(frames[4], positions=moved), frames[5]])
    with pytest.raises(DataError, match=r"frame 4: site 7 is 0\.4.*Å from its mean.*held fixed"):
        conditional_mean(path)
    write_frames(path, [*frames[:5], replace(frames[5], cell=1.1 * frames[5].cell)])
    with pytest.raises(DataError, match="the cell changes"):
        conditional_mean(path)
    write_frames(path, frames[:3])
    with pytest.raises(DataError, match="at least 4 frames of one configuration, found 3"):
        conditional_mean(path)
    write_frames(path, [replace(f, forces=None) for f in frames])
    with pytest.raises(InputError, match="frame 0: the frame has no forces"):
        conditional_mean(path)
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="expected format 'cgpot-noise-1'"):
        read_noise(tmp_path / "other.json")


def test_sites_on_the_border_of_the_cell_do_not_move(tmp_path: Path) -> None:
    frames = held(2, count=5)[1]
    wrapped = frames[3].positions.copy()
    wrapped[0] += frames[3].cell[0]
    write_frames(tmp_path / "a.extxyz", [*frames[:3], replace(frames[3], positions=wrapped)])
    assert conditional_mean(tmp_path / "a.extxyz").n_frames == 4


def test_explained_variance_by_hand() -> None:
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=(200 * N, 3)), rng.normal(size=(200 * N, 3))
    record = floor_record(signal + 0.5 * noise, signal, N, {"rmse": 0.5, "rmse_error": 0.01})
    assert record["explained"] == pytest.approx(0.8, abs=0.01)
    assert record["explainable"] == pytest.approx(0.8, abs=0.01)
    bound = record["noise_floor_upper_bound"]
    assert abs(bound["rmse"] - 0.5) < 4 * bound["rmse_error"]
    assert floor_record(signal, signal, N, None)["noise_floor"] is None
    assert floor_record(signal, signal, N, None)["noise_free"] is None


def test_the_error_without_noise() -> None:
    """A model that is off by 0.3 in labels with noise 0.4: an error of 0.5, of which 0.3 is its."""
    rng = np.random.default_rng(1)
    signal, noise, fault = (rng.normal(size=(300 * N, 3)) for _ in range(3))
    floor = {"rmse": 0.4, "rmse_error": 0.002}
    free = floor_record(signal + 0.4 * noise, signal + 0.3 * fault, N, floor)["noise_free"]
    assert free["rmse"] == pytest.approx(0.3, abs=4 * free["rmse_error"])
    assert 0 < free["rmse_error"] < 0.01
    assert not free["within_error_of_zero"]
    perfect = floor_record(signal + 0.4 * noise, signal, N, floor)["noise_free"]
    assert perfect["within_error_of_zero"]
    assert perfect["rmse"] < perfect["rmse_error"]
    by_hand = noise_free(0.5, 0.01, {"rmse": 0.4, "rmse_error": 0.0})
    assert by_hand["rmse"] == pytest.approx(0.3)
    assert by_hand["rmse_error"] == pytest.approx(0.5 / 0.3 * 0.01)


def test_evaluation_tells_floor_and_remainder(tmp_path: Path, trained: Outcome) -> None:
    """From noise.json beside the data, from --noise, or not at all where it does not belong."""
    write_frames(tmp_path / "held.extxyz", held(1)[1])
    measure_noise([tmp_path / "held.extxyz"], tmp_path / "other.json")
    data = tmp_path / "data.extxyz"
    write_frames(data, fluid(4, 9, noise=NOISE))
    words = ["evaluate", str(trained.folder), str(data), "-o", str(tmp_path / "e"), "-q"]

    def evaluated(*more: str) -> tuple[str, dict[str, Any]]:
        done = CliRunner().invoke(build_app("evaluate"), [*words, *more])
        assert done.exit_code == 0, done.output
        return done.output, json.loads((tmp_path / "e" / "evaluation.json").read_text())

    text, record = evaluated()
    assert record["noise_floor"] is None
    assert record["noise_free"] is None
    assert "noise floor" not in text
    text, record = evaluated("--noise", str(tmp_path / "other.json"))
    assert "noise floor of the labels" in text
    assert "force rmse without noise" in text
    expected = np.sqrt(record["force_rmse"] ** 2 - record["noise_floor"]["rmse"] ** 2)
    assert record["noise_free"]["rmse"] == pytest.approx(expected)
    exact = tmp_path / "exact.extxyz"
    write_frames(exact, fluid(4, 9))
    truth = evaluate_model(trained.folder, [exact], tmp_path / "x", quiet=True)
    assert record["noise_free"]["rmse"] == pytest.approx(truth["force_rmse"], rel=0.1)
    (tmp_path / "noise.json").write_text((tmp_path / "other.json").read_text())
    assert evaluated()[1]["noise_file"] == str(tmp_path / "noise.json")
    # that of other beads, or of another temperature, is refused if asked for, else left alone
    record = json.loads((tmp_path / "noise.json").read_text())
    for change, words_of_refusal in (
        ({"bead_names": ["X"]}, r"bead types \['X'\], the frames hold \['BEA'\]"),
        ({"temperature": 400.0}, "measured at 400 K, the frames are at 300 K"),
    ):
        (tmp_path / "noise.json").write_text(json.dumps({**record, **change}))
        frame = replace(fluid(1, 9)[0], temperature=300.0)
        assert applicable_noise(None, data, frame) == (None, None)
        with pytest.raises(InputError, match=words_of_refusal):
            applicable_noise(tmp_path / "noise.json", data, frame)


def test_command_and_training_report_the_floor(tmp_path: Path) -> None:
    write_frames(tmp_path / "held.extxyz", held(1)[1])
    words = ["noise", str(tmp_path / "held.extxyz"), "-o", str(tmp_path / "noise.json")]
    done = CliRunner().invoke(build_app("noise"), words)
    assert done.exit_code == 0, done.output
    assert "noise floor 0.19" in done.output
    path = write_case(tmp_path, data={"noise": "noise.json"}, optimiser={"epochs": 1})
    words = ["train", str(path), "-o", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(build_app("train"), words)
    assert done.exit_code == 0, done.output
    assert "of the label variance" in done.output
    assert "% to explain" in done.output.replace("\n", " ")
    assert "force rmse without noise" in " ".join(done.output.split())
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["noise_floor"]["rmse"] == pytest.approx(NOISE, rel=0.05)
    assert result["noise_floor_upper_bound"]["rmse"] == pytest.approx(result["force_rmse"])


def test_a_loss_of_nan_names_the_frames(tmp_path: Path) -> None:
    path = write_case(tmp_path, optimiser={"learning_rate": 1e30, "epochs": 3})
    with pytest.raises(DataError, match=r"batch \d+, training frames \d+ \(source frame \d+\), "):
        train(load_config(path), tmp_path / "out", quiet=True)
    failure = json.loads((tmp_path / "out" / "failure.json").read_text(encoding="utf-8"))
    assert len(failure["frames"]) == 2
    assert all(f["index"] == f["source_frame"] for f in failure["frames"])


def test_the_floor_of_mean_forces_is_that_of_their_samples() -> None:
    """Means over 4 and over 16 samples: variances of 1/4 and 1/16, 5/32 on average."""
    floor = {"rmse": 0.4, "rmse_error": 0.02}
    frames = [replace(fluid(1, seed)[0], weight=weight) for seed, weight in ((1, 4.0), (2, 16.0))]
    scaled = of_means(floor, frames)
    assert scaled == pytest.approx({k: v * np.sqrt(5 / 32) for k, v in floor.items()})
    assert of_means(floor, [replace(frames[0], weight=1.0)]) == pytest.approx(floor)
