# SPDX-License-Identifier: GPL-2.0-or-later
"""P(rho) of labels and model, and the loss that weights a batch's covariance with the density."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_systems import graph
from nequip.data import AtomicDataDict
from training_systems import NAME, fluid, settings, write_case
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.cli.slope_table import point_cells, slope_cells
from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.training.evaluation.pressure_density import pressure_slope, slope_with_error
from cgpot.training.folder.facts import DataFacts
from cgpot.training.network.metrics import PressureSlopeLoss
from cgpot.training.network.nequip_settings import build, loss_weights, slope_weight
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import Outcome, train


def config(**changes) -> TrainConfig:
    return validate(TrainConfig, settings(**changes), "train.yaml")


def test_slope_is_the_regression_of_the_total_pressure() -> None:
    frames = fluid(30, 5)
    labels = np.array([f.pressure(0.0) for f in frames])
    model = labels + 3.0 * np.array([f.density for f in frames]) + 7.0
    record = pressure_slope(frames, {"labels": labels, "model": model}, 300.0)
    density = [f.density for f in frames]
    total = [f.pressure(300.0) for f in frames]
    assert record["labels"]["value"] == pytest.approx(np.polyfit(density, total, 1)[0], rel=1e-9)
    assert record["model"]["value"] - record["labels"]["value"] == pytest.approx(3.0, rel=1e-9)
    assert record["model"]["error"] == pytest.approx(record["labels"]["error"], rel=1e-9)
    assert record["kinetic"]
    assert sum(point["n_frames"] for point in record["points"]) == 30
    place = [point["density_kg_m3"] for point in record["points"]]
    assert place == sorted(place)
    first = np.argsort(density)[:6]
    assert record["points"][0]["labels"]["mean"] == pytest.approx(np.array(total)[first].mean())
    # temperatures that the frames carry come first; without any the kinetic part is left out
    warm = [replace(f, temperature=300.0) for f in frames]
    own = pressure_slope(warm, {"labels": labels}, 10.0)
    assert own["labels"]["value"] == pytest.approx(record["labels"]["value"], rel=1e-12)
    bare = pressure_slope(frames, {"labels": labels})
    assert not bare["kinetic"]
    assert bare["labels"]["value"] == pytest.approx(np.polyfit(density, labels, 1)[0], rel=1e-9)


def test_error_of_the_slope_covers_its_scatter() -> None:
    rng = np.random.default_rng(1)
    found, errors = [], []
    for _ in range(200):
        density = 870.0 + 8.0 * rng.standard_normal(80)
        value, error = slope_with_error(density, 15.0 * density + 200.0 * rng.standard_normal(80))
        found.append(value)
        errors.append(error)
    assert np.mean(found) == pytest.approx(15.0, abs=4 * np.std(found) / np.sqrt(200))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.2)
    assert slope_with_error(np.arange(3.0), np.arange(3.0)) == (pytest.approx(1.0), None)


def test_one_density_has_none() -> None:
    frames = [replace(f, cell=fluid(1, 1)[0].cell) for f in fluid(5, 1)]
    assert pressure_slope(frames, {"labels": np.arange(5.0)}, 300.0) is None
    assert pressure_slope(fluid(2, 1), {"labels": np.arange(2.0)}, 300.0) is None
    assert slope_cells(None) == ("-", "-", "-")
    assert point_cells(None) == []


def test_training_and_evaluation_say_it(case: Path, trained: Outcome, tmp_path: Path) -> None:
    record = trained.result["pressure_slope"]
    frames = fluid(4, 3)
    density = [f.density for f in frames]
    slope = np.polyfit(density, [f.pressure(5.0) for f in frames], 1)[0]
    assert record["labels"]["value"] == pytest.approx(slope, rel=1e-4)  # digits of the file
    assert {"labels", "model", "pair_fit"} <= set(record)
    words = ["evaluate", str(trained.folder), str(case.parent / "test.extxyz")]
    done = CliRunner().invoke(build_app(), [*words, "-o", str(tmp_path), "-q"])
    assert done.exit_code == 0, done.output
    assert "dP/dρ" in done.output
    assert "kg/m^3, bar" in done.output


def batch_of(frames: list[CGFrame], residual: torch.Tensor) -> tuple:
    """Labels of zero stress, and predictions whose pressure is the residual (eV/Å^3)."""
    data = AtomicDataDict.batched_from_list([graph(f, 5.0) for f in frames])
    stress = torch.zeros(len(frames), 3, 3, dtype=torch.float64)
    predicted = -residual[:, None, None] * torch.eye(3, dtype=torch.float64)
    return {"stress": predicted}, {**data, "stress": stress}


def test_the_loss_is_the_square_of_the_covariance() -> None:
    """Value by numpy, gradient by finite differences; frames of two types and any size."""
    frames = []
    for k, frame in enumerate(fluid(5, 2)):
        keep = slice(0, 40 + 5 * k)
        n = keep.stop
        topology = Topology((NAME, "B"), (40.0, 70.0), np.arange(n) % 2, np.arange(n))
        frames.append(replace(frame, topology=topology, positions=frame.positions[keep]))
    rng = np.random.default_rng(0)
    residual = torch.tensor(1e-3 * rng.normal(size=5), requires_grad=True)
    loss = PressureSlopeLoss(std=2e-3, density_std=30.0, masses=[40.0, 70.0])
    prediction, target = batch_of(frames, residual)
    value = loss(prediction, target)
    density = np.array([f.density for f in frames]) / 30.0
    covariance = np.cov(density, residual.detach().numpy() / 2e-3)[0, 1]
    assert float(value.detach()) == pytest.approx(covariance**2, rel=1e-10)
    value.backward()
    h = 1e-7
    for k in range(5):
        ends = []
        for sign in (1, -1):
            moved = residual.detach().clone()
            moved[k] += sign * h
            fresh = PressureSlopeLoss(std=2e-3, density_std=30.0, masses=[40.0, 70.0])
            ends.append(float(fresh(*batch_of(frames, moved))))
        assert float(residual.grad[k]) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)
    # a shift of all pressures costs nothing: that is for mean_pressure
    shifted = PressureSlopeLoss(std=2e-3, density_std=30.0, masses=[40.0, 70.0])
    same = shifted(*batch_of(frames, residual.detach() + 0.5))
    assert float(same) == pytest.approx(covariance**2, rel=1e-9)
    # one frame has no covariance: it does not count
    loss.update(*batch_of(frames[:1], residual.detach()[:1]))
    assert float(loss.compute()) == pytest.approx(float(value.detach()), rel=1e-12)
    empty = PressureSlopeLoss(std=1.0, density_std=1.0, masses=[40.0])
    assert float(empty.compute()) == 0.0
    with pytest.raises(ValueError, match="expected positive standard deviations, found 0"):
        PressureSlopeLoss(std=1.0, density_std=0.0, masses=[40.0])


def test_the_setting_reaches_nequip(tmp_path: Path) -> None:
    frames = fluid(6, 1)
    facts = DataFacts.of(frames, 10.0)
    wanted = config(loss={"slope": 2.5})
    assert slope_weight(config(), facts) is None
    assert slope_weight(wanted, facts) == pytest.approx(2.5 * loss_weights(wanted, facts)[1])
    record = build(wanted, facts, folder=tmp_path, pair_file=None, pair_range=None)
    module = record["training_module"]
    entry = next(m for m in module["loss"]["metrics"] if m["name"] == "slope")
    assert entry["metric"]["masses"] == [40.0]
    assert entry["metric"]["density_std"] == pytest.approx(np.std([f.density for f in frames]))
    assert entry["coeff"] == pytest.approx(slope_weight(wanted, facts) * facts.stress_std**2)
    names = [m["name"] for m in module["val_metrics"]["metrics"]]
    assert "slope" not in names
    plain = build(config(), facts, folder=tmp_path, pair_file=None, pair_range=None)
    names = [m["name"] for m in plain["training_module"]["loss"]["metrics"]]
    assert "slope" not in names


def test_a_training_with_the_loss(tmp_path: Path) -> None:
    """It runs in nequip's loop, and changes what is learned."""
    found = []
    for name, weight in (("with", 3.0), ("without", None)):
        path = write_case(tmp_path / name, loss={"slope": weight}, optimiser={"epochs": 1})
        result = train(load_config(path), tmp_path / name / "out", quiet=True).result
        weights = result["loss_weights"]
        assert (weights["slope"] is None) == (weight is None)
        if weight is not None:
            assert weights["slope"] == pytest.approx(weight * weights["stress"])
        found.append(result["pressure_slope"]["model"]["value"])
    assert found[0] != pytest.approx(found[1], rel=1e-6)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"loss\.slope needs a stress weight"):
        config(loss={"slope": 1.0, "stress": None})
    with pytest.raises(ConfigError, match=r"loss\.slope compares the frames of a batch"):
        config(loss={"slope": 1.0}, optimiser={"batch_size": 1})
    with pytest.raises(ConfigError, match=r"loss\.slope is for networks.*model\.match_slope"):
        validate(
            TrainConfig,
            {**settings(loss={"slope": 1.0}), "model": {"type": "mscg"}},
            "train.yaml",
        )
    frames = fluid(4, 1)
    for frame in frames:
        frame.cell = frames[0].cell
    with pytest.raises(DataError, match=r"loss\.slope is given, but the density of the training"):
        slope_weight(config(loss={"slope": 1.0}), DataFacts.of(frames, 10.0))
