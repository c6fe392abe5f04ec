# SPDX-License-Identifier: GPL-2.0-or-later
"""Training by changing `model.type`, then archive and compiled model of each type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from model_systems import CUTOFF, NAMES, SMALL, build, frame, graph
from training_systems import NAME, fluid, settings, write_case

from cgpot.molecules.frame import CGFrame
from cgpot.potential.network_potential import NetworkPotential
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Folder, Outcome, train

TYPES = ["schnet", "allegro"]


def one_epoch(folder: Path, section: dict[str, Any]) -> Outcome:
    path = write_case(folder)
    data = settings(optimiser={"epochs": 1})
    data["model"] = {"cutoff": 5.0, "dtype": "float64", **section}
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return train(load_config(path), folder / "out", quiet=True)


@pytest.fixture(scope="module", params=TYPES)
def trained_type(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Type and folder of one epoch of training."""
    section = SMALL[request.param]
    return request.param, one_epoch(tmp_path_factory.mktemp(request.param), section)


def test_one_epoch(trained_type: tuple[str, Outcome]) -> None:
    kind, outcome = trained_type
    folder = Folder(outcome.folder)
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    assert (result["kind"], result["model"]) == ("network", kind)
    assert result["epochs"] == 1
    assert result["bead_names"] == [NAME]
    assert np.isfinite(result["force_rmse"])
    assert result["n_parameters"] > 100
    assert folder.final.is_file()
    assert folder.parity.is_file()


def compiled_is_eager(model: Any, example: CGFrame, others: list[CGFrame], folder: Path) -> None:
    """The compiled model on the frame that it was compiled with and on other sizes."""
    from cgpot.deploy.target import compile_model
    from cgpot.deploy.verify import CompiledModel, compare

    path = compile_model(model, graph(example), folder / "model.nequip.pt2")
    compiled = CompiledModel(path)
    for item in (example, *others):
        errors = compare([NetworkPotential(model).labels(item)], [compiled.labels(item)])
        assert errors
        assert all(value < 1e-10 for value in errors.values()), errors


def test_compiled_schnet_equals_eager(tmp_path: Path) -> None:
    """Two bead types, and frames of two sizes."""
    model = build({**SMALL["schnet"], "interactions": 1})
    compiled_is_eager(model, frame(), [frame(8, 2)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nequip", "allegro", "schnet", "schnet-polynomial"])
def test_compiled_equals_eager(name: str, tmp_path: Path) -> None:
    compiled_is_eager(build(SMALL[name]), frame(), [frame(8, 2), frame(64, 3)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["schnet", "schnet-polynomial", "allegro", "nequip"])
def test_compiled_training_steps_equal_eager(name: str) -> None:
    """torch.compile in training (batches of two frames or more): gradients of every weight."""
    from nequip.data import AtomicDataDict

    batch = [graph(frame(27, 1)), graph(frame(27, 2))]
    gradients = []
    for mode in ("eager", "compile"):
        model = build(SMALL[name], compile_mode=mode)
        model.train()
        out = model(AtomicDataDict.batched_from_list(batch))
        (out["forces"].square().mean() + out["stress"].square().mean()).backward()
        gradients.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    scale = max(float(g.abs().max()) for g in gradients[0].values())
    for key, value in gradients[0].items():
        other = gradients[1].get(key, torch.zeros_like(value))
        torch.testing.assert_close(other, value, rtol=1e-8, atol=1e-10 * scale)


def deploy_and_check(outcome: Outcome) -> None:
    """`cgpot deploy`: archive and compiled model agree with the checkpoint, cgpot verifies it."""
    from cgpot.deploy.deployment import deploy
    from cgpot.deploy.verify import CompiledModel

    deployed = deploy(outcome.folder, outcome.folder.parent / "deploy", quiet=True)
    content = json.loads(deployed.sidecar.read_text(encoding="utf-8"))
    for form in ("package", "compiled"):
        assert all(value <= 1e-9 for value in content["verification"][form].values())
    other = fluid(1, 12)[0]
    wanted = NetworkPotential.read(outcome.folder / "model.ckpt").labels(other)
    found = CompiledModel(deployed.sidecar.parent / "model.nequip.pt2").labels(other)
    assert found.energy == pytest.approx(wanted.energy, rel=1e-9)
    np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-9 * np.abs(wanted.forces).max())


@pytest.mark.slow
def test_deployed(trained_type: tuple[str, Outcome]) -> None:
    deploy_and_check(trained_type[1])


def test_archive_holds_the_modules(trained_type: tuple[str, Outcome], tmp_path: Path) -> None:
    """The archive alone, without the checkpoint, gives the checkpoint's numbers."""
    from cgpot.deploy.package import build_package

    _, outcome = trained_type
    path = build_package(
        outcome.folder / "model.ckpt", outcome.folder / "example.extxyz", tmp_path / "a.nequip.zip"
    )
    other = fluid(1, 12)[0]
    wanted = NetworkPotential.read(outcome.folder / "model.ckpt").labels(other)
    found = NetworkPotential.read(path).labels(other)
    assert found.energy == pytest.approx(wanted.energy, rel=1e-12)
    np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-12)


def test_names_and_cutoff_are_in_the_metadata() -> None:
    for section in SMALL.values():
        metadata = build(section).metadata
        assert metadata["type_names"].split() == list(NAMES)
        assert float(metadata["r_max"]) == CUTOFF
