# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot evaluate` and what it refuses; loss curves; versions of checkpoints."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from training_systems import N, fluid, settings
from typer.testing import CliRunner

from cgpot.analysis.parity import force_parity, read_parity
from cgpot.cli import build_app
from cgpot.core import versions
from cgpot.core.errors import InputError
from cgpot.core.manifest import check_manifest
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import Topology
from cgpot.training.evaluation.evaluation_stage import evaluate_model, figures
from cgpot.training.evaluation.parity_figure import binned_mean
from cgpot.training.network.loss_curves import LiveCurves, draw_curves
from cgpot.training.open_potential import open_potential
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Outcome, train

PNG = b"\x89PNG"


def test_the_command_repeats_the_figures_of_the_training(
    case: Path, trained: Outcome, tmp_path: Path
) -> None:
    words = ["evaluate", str(trained.folder), str(case.parent / "test.extxyz")]
    done = CliRunner().invoke(build_app(), [*words, "-o", str(tmp_path), "-q"])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    for key in ("force_rmse", "force_label_rms", "stress_rmse"):
        assert record[key] == pytest.approx(trained.result[key], rel=1e-12)
    assert record["pressure_residual_bar"] == trained.result["pressure_residual_bar"]
    assert record["pair_fit"]["force_rmse"] == trained.result["force_rmse_pair_fit"]
    assert record["n_frames"] == 4
    assert (tmp_path / "parity.png").read_bytes().startswith(PNG)
    check_manifest(tmp_path / "evaluation.json", stage="evaluation")
    arrays = read_parity(tmp_path / "parity.npz")
    assert arrays["force_label"].shape == (4 * N, 3)
    assert force_parity(arrays)["rmse_model"] == pytest.approx(record["force_rmse"], rel=1e-5)
    with np.load(trained.folder / "parity.npz") as own:
        assert set(own.files) == set(arrays)


def test_a_lone_checkpoint_on_frames_without_stress(trained: Outcome, tmp_path: Path) -> None:
    shutil.copy(trained.folder / "model.ckpt", tmp_path / "alone.ckpt")
    write_frames(
        tmp_path / "bare.extxyz", [dataclasses.replace(f, virial=None) for f in fluid(2, 8)]
    )
    record = evaluate_model(
        tmp_path / "alone.ckpt", [tmp_path / "bare.extxyz"], tmp_path / "out", quiet=True
    )
    assert record["stress_rmse"] is record["pressure_residual_bar"] is None
    assert "pair_fit" not in record
    frame = fluid(1, 8)[0]
    forces, virial, _ = open_potential(trained.folder).labels(frame)
    assert forces.shape == (N, 3)
    assert virial.shape == (3, 3)


def test_an_ensemble_is_the_mean_of_its_members(trained: Outcome, tmp_path: Path) -> None:
    members = [str(trained.folder)] * 2
    (tmp_path / "ensemble.json").write_text(
        json.dumps({"format": "cgpot-ensemble-1", "members": members}), encoding="utf-8"
    )
    frame = fluid(1, 8)[0]
    one, two = (open_potential(place).labels(frame) for place in (trained.folder, tmp_path))
    np.testing.assert_allclose(two[0], one[0], rtol=1e-6)
    np.testing.assert_allclose(two[1], one[1], rtol=1e-6)
    (tmp_path / "ensemble.json").write_text(
        '{"format": "cgpot-ensemble-1", "members": []}', encoding="utf-8"
    )
    with pytest.raises(InputError, match="expected a list of members"):
        open_potential(tmp_path)


@pytest.mark.parametrize("kind", ["mscg", "uf3"])
def test_linear_models_repeat_the_figures_of_their_training(kind: str, tmp_path: Path) -> None:
    record: dict[str, Any] = settings(optimiser={})
    record["model"] = {"type": kind, "cutoff": 5.0}
    if kind == "uf3":
        record["model"]["three_body_cutoff"] = 4.0
    for name, count in (("train", 10), ("val", 4), ("test", 4)):
        write_frames(tmp_path / f"{name}.extxyz", fluid(count, count + len(name)))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    outcome = train(load_config(tmp_path / "train.yaml"), tmp_path / "model", quiet=True)
    found = evaluate_model(outcome.folder, [tmp_path / "test.extxyz"], tmp_path / "out", quiet=True)
    assert found["kind"] == kind
    assert found["force_rmse"] == pytest.approx(outcome.result["force_rmse"], rel=1e-6)


def test_a_model_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    text = (
        '{"format": "cgpot-training-1", "kind": "pod", "bead_names": ["A"], "masses": [1.0], '
        '"cutoff": 5.0, "temperature": 300.0}'
    )
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="network, mscg, uf3 or pair, found 'pod'"):
        open_potential(tmp_path)


def test_figures_of_a_known_case() -> None:
    """Two bead types; predictions are half the labels of one and exact for the other."""
    frame = fluid(1, 4)[0]
    types = np.arange(N) % 2
    topology = Topology(("A", "B"), (1.0, 2.0), types, np.arange(N))
    frame = dataclasses.replace(frame, topology=topology)
    assert frame.forces is not None
    model = frame.forces * np.where(types == 0, 0.5, 1.0)[:, None]
    arrays = {"force": model, "pressure_bar": np.zeros(1)}
    errors = {"force_rmse": 0.0, "stress_rmse": None, "pressure_residual_bar": None}
    record = figures([frame], {"force": frame.forces}, arrays, errors)
    rms = np.sqrt(np.mean(frame.forces[types == 0] ** 2))
    assert record["force_per_type"]["A"]["rmse"] == pytest.approx(0.5 * rms)
    assert record["force_per_type"]["B"]["rmse"] == 0.0
    share = np.sum(frame.forces[types == 0] ** 2) / np.sum(frame.forces**2)
    assert record["force_explained_variance"] == pytest.approx(1.0 - 0.25 * share)


def test_the_binned_mean_recovers_a_noisy_line() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=20000)
    centre, mean, error = binned_mean(x, 0.7 * x + rng.normal(0.0, 2.0, x.size))
    assert np.all(np.abs(mean - 0.7 * centre) < 4.5 * error)
    assert len(centre) > 10


def test_other_bead_names_are_refused(trained: Outcome, tmp_path: Path) -> None:
    topology = Topology(("WAT",), (18.0,), np.zeros(N, np.int64), np.arange(N))
    frames = [dataclasses.replace(f, topology=topology) for f in fluid(1, 8)]
    write_frames(tmp_path / "water.extxyz", frames)
    with pytest.raises(InputError, match=r"bead types \['WAT'\] differ from the expected"):
        evaluate_model(trained.folder, [tmp_path / "water.extxyz"], tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_frames_without_forces_are_refused(trained: Outcome, tmp_path: Path) -> None:
    write_frames(
        tmp_path / "bare.extxyz", [dataclasses.replace(f, forces=None) for f in fluid(1, 8)]
    )
    with pytest.raises(InputError, match="the frame has no forces"):
        evaluate_model(trained.folder, [tmp_path / "bare.extxyz"], tmp_path / "out", quiet=True)


def test_what_is_no_model_is_refused(trained: Outcome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_potential(tmp_path / "nowhere")
    with pytest.raises(InputError, match="expected a folder of `cgpot train`"):
        open_potential(tmp_path)
    (tmp_path / "inputs.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="the training is not finished"):
        open_potential(tmp_path)
    (tmp_path / "text.ckpt").write_text("no checkpoint", encoding="utf-8")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        open_potential(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="no checkpoint of a NequIP-framework network"):
        open_potential(tmp_path / "other.ckpt")


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"format": "cgpot-training-0"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"found 'cgpot-training-0'.*--restart"):
        open_potential(tmp_path)


def installed(monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    monkeypatch.setattr(versions, "package_versions", lambda wanted: dict(names))


def test_a_checkpoint_of_another_nequip_says_what_to_install(
    trained: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, nequip="9.4.2", torch=torch.__version__)
    with pytest.raises(InputError, match=r"installed is 9\.4\.2; `pip install 'nequip==0\.\d+\.\*"):
        open_potential(trained.folder)


def test_a_checkpoint_of_another_torch_warns(
    trained: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    installed(monkeypatch, nequip=importlib.metadata.version("nequip"), torch="9.1.0")
    with pytest.warns(UserWarning, match=r"made with torch .*installed is 9\.1\.0"):
        versions.check_checkpoint(trained.folder / "model.ckpt")


def test_patch_releases_are_the_same_version(
    recwarn: pytest.WarningsRecorder, monkeypatch: Any
) -> None:
    installed(monkeypatch, nequip="0.19.7", torch="2.13.1")
    versions.compare({"nequip": "0.19.1", "torch": "2.13.0+cpu"}, "model.ckpt")
    assert not recwarn.list


def test_the_loss_picture_is_drawn(trained: Outcome, tmp_path: Path) -> None:
    assert (trained.folder / "loss.png").read_bytes().startswith(PNG)
    assert not draw_curves(tmp_path / "metrics.csv", tmp_path / "none.png")
    header, row = (trained.folder / "metrics.csv").read_text(encoding="utf-8").splitlines()[:2]
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    for name in cells:
        if "pressure" in name or "stress" in name:
            cells[name] = ""
    text = f"{header}\n{','.join(cells.values())}\n"
    (tmp_path / "metrics.csv").write_text(text, encoding="utf-8")
    live = LiveCurves(tmp_path / "metrics.csv", tmp_path / "loss.png", interval=0.0)
    assert live.update()
    assert not live.update()
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
