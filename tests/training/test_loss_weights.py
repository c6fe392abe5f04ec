# SPDX-License-Identifier: GPL-2.0-or-later
"""Losses: weights of frames, state points and bead types; energies up to a constant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from nequip.data import AtomicDataDict
from training_systems import NAME, N, fluid, pair_forces, settings, write_case

from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.graph_keys import FRAME_WEIGHT_KEY
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.graph_frames import CGDataset, load_frames
from cgpot.training.folder.subsets import load_subsets
from cgpot.training.folder.weights import describe_states, frame_weights, type_weights
from cgpot.training.network.metrics import EnergyDifferenceMSE, WeightedMSE
from cgpot.training.network.nequip_settings import build, energy_weight
from cgpot.training.network.preparation import prepare
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import Folder, train


def states(*counts: int) -> list[CGFrame]:
    """Frames at 300, 310, ... K, with energies."""
    frames = fluid(sum(counts), 9)
    start = 0
    for number, count in enumerate(counts):
        for frame in frames[start : start + count]:
            frame.temperature = 300.0 + 10 * number
            frame.state = f"{frame.temperature:.0f}K"
            frame.energy = pair_forces(frame.positions, frame.cell)[2]
        start += count
    return frames


def batch(frames: list[CGFrame], weights: list[float]) -> Any:
    """Labels of frames as nequip's dictionary."""
    return {
        "forces": torch.from_numpy(np.concatenate([f.forces for f in frames])),
        "total_energy": torch.tensor([[f.energy or 0.0] for f in frames], dtype=torch.float64),
        "atom_types": torch.from_numpy(np.concatenate([f.topology.types for f in frames])),
        "batch": torch.arange(len(frames)).repeat_interleave(N),
        "num_atoms": torch.full((len(frames),), N),
        FRAME_WEIGHT_KEY: torch.tensor(weights, dtype=torch.float64).view(-1, 1),
    }


def test_weights_of_frames_and_states() -> None:
    frames = states(6, 2)
    assert np.allclose(frame_weights(frames), 1.0)
    equal = frame_weights(frames, "equal")
    assert equal[:6].sum() == pytest.approx(equal[6:].sum())
    assert equal.mean() == pytest.approx(1.0)
    factor = frame_weights(frames, {"310K": 3.0})
    assert factor[7] / factor[0] == pytest.approx(3.0)
    frames[0].weight = 9.0
    own = frame_weights(frames)
    assert own[0] / own[1] == pytest.approx(9.0)
    equal = frame_weights(frames, "equal")
    assert equal[0] / equal[1] == pytest.approx(9.0)
    assert equal[:6].sum() == pytest.approx(equal[6:].sum())
    table = describe_states(frames, "equal")
    assert [s["weight"] for s in table] == pytest.approx([0.5, 0.5])
    assert [(s["state"], s["n_frames"]) for s in table] == [("300K", 6), ("310K", 2)]


def test_unknown_states_and_types_are_named() -> None:
    frames = states(2, 2)
    with pytest.raises(ConfigError, match=r"state_weights.*\['320K'\].*\['300K', '310K'\]"):
        frame_weights(frames, {"320K": 1.0})
    with pytest.raises(ConfigError, match="every frame has weight 0"):
        frame_weights(frames, {"300K": 0.0, "310K": 0.0})
    assert frame_weights(frames, {"320K": 1.0}, strict=False).tolist() == [1.0] * 4
    with pytest.raises(ConfigError, match=r"loss\.per_type.*called \['WAT'\].*\['BEA'\]"):
        type_weights({"WAT": 2.0}, [NAME], (1.0, 1.0))
    with pytest.raises(ConfigError, match="every bead type has weight 0"):
        type_weights({NAME: 0.0}, [NAME], (1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"per_type": {"BEA": -1.0}}}, r"loss\.per_type.*greater than or equal to 0"),
        ({"loss": {"energy": -1.0}}, r"loss\.energy.*greater than or equal to 0"),
        ({"loss": {"energy": 1.0}}, "forces and energy as numbers"),
        ({"data": {"state_weights": "fair"}}, r"data\.state_weights"),
        ({"data": {"state_weights": {"a": -2.0}}}, r"data\.state_weights.*greater than or equal"),
        ({"data": {"frames": 0}}, r"data\.frames.*greater than or equal to 1"),
        (
            {"loss": {"energy": "auto"}, "optimiser": {"batch_size": 1}},
            "energy loss compares the frames.*batch_size of at least 2, found 1",
        ),
    ],
)
def test_wrong_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(TrainConfig, settings(**changes), "train.yaml")


def test_weighted_mean_square_error_by_hand() -> None:
    frames = states(2)
    types = np.arange(N) % 2
    for k, frame in enumerate(frames):
        topology = Topology(("A", "B"), (1.0, 1.0), types, np.arange(N))
        frames[k] = replace(frame, topology=topology)
    target = batch(frames, [0.5, 1.5])
    rng = np.random.default_rng(1)
    error = rng.normal(size=(2 * N, 3))
    preds = {**target, "forces": target["forces"] + torch.from_numpy(error)}
    metric = WeightedMSE("forces", 0.2, [2.0, 0.25])
    found = float(metric(preds, target))
    weight = np.repeat([0.5, 1.5], N)[:, None] * np.tile([2.0, 0.25], N)[:, None]
    assert found == pytest.approx(np.mean(weight * error**2) / 0.04)
    assert float(metric.compute()) == pytest.approx(found)
    plain = {k: v for k, v in target.items() if k != FRAME_WEIGHT_KEY}
    assert float(WeightedMSE("forces", 1.0)(preds, plain)) == pytest.approx(np.mean(error**2))
    stress = {"stress": torch.zeros(2, 3, 3), FRAME_WEIGHT_KEY: target[FRAME_WEIGHT_KEY]}
    off = {"stress": torch.ones(2, 3, 3) * torch.tensor([1.0, 2.0]).view(2, 1, 1)}
    assert float(WeightedMSE("stress", 1.0)(off, stress)) == pytest.approx((0.5 + 1.5 * 4) / 2)


def test_energies_count_up_to_a_constant_and_without_bias() -> None:
    rng = np.random.default_rng(4)
    error = rng.normal(scale=2.0, size=4000)
    number = torch.tensor([N])

    def value(e: np.ndarray, metric: EnergyDifferenceMSE) -> float:
        target = {
            "total_energy": torch.zeros(len(e), 1, dtype=torch.float64),
            "num_atoms": number.expand(len(e)),
        }
        preds = {"total_energy": torch.from_numpy(e).view(-1, 1)}
        return float(metric(preds, target))

    metric = EnergyDifferenceMSE(0.5)
    pairs = [value(error[k : k + 2], metric) for k in range(0, 4000, 2)]
    expected = np.var(error, ddof=1) / N**2 / 0.25
    assert float(metric.compute()) == pytest.approx(expected)
    assert np.mean(pairs) == pytest.approx(expected, rel=0.1)
    shifted = [value(error[:7] + shift, EnergyDifferenceMSE(0.5)) for shift in (0.0, -400.0)]
    assert shifted[0] == pytest.approx(shifted[1])
    assert value(error[:1], EnergyDifferenceMSE(0.5)) == 0.0


def test_energy_loss_needs_energies(tmp_path: Path) -> None:
    path = write_case(tmp_path, loss={"energy": "auto"})
    with pytest.raises(InputError, match=r"train\.extxyz.*frame 0.*the loss asks for energies"):
        train(load_config(path), tmp_path / "out", quiet=True)
    with pytest.raises(InputError, match="asks for energies"):
        load_frames(path.parent / "val.extxyz", None, False, need_energy=True)
    frames = states(2)
    frames[1].energy = frames[0].energy
    config = validate(TrainConfig, settings(loss={"energy": "auto"}), "train.yaml")
    with pytest.raises(DataError, match=r"loss\.energy is 'auto', but the energies.*not vary"):
        energy_weight(config, DataFacts.of(frames, 10.0))


def two_types(frames: list[CGFrame]) -> list[CGFrame]:
    """The same frames with a second type, whose forces are noisier."""
    types = np.arange(N) % 2
    topology = Topology((NAME, "NOI"), (40.0, 40.0), types, np.arange(N))
    rng = np.random.default_rng(3)
    result = []
    for frame in frames:
        assert frame.forces is not None
        noise = rng.normal(size=(N, 3)) * types[:, None]
        result.append(replace(frame, topology=topology, forces=frame.forces + noise))
    return result


def test_auto_per_type_is_the_inverse_variance(tmp_path: Path) -> None:
    frames = two_types(states(8))
    facts = DataFacts.of(frames, 10.0)
    forces = np.stack([f.forces for f in frames if f.forces is not None])
    rms = [np.sqrt(np.mean(forces[:, k::2] ** 2)) for k in range(2)]
    assert facts.type_force_rms[:2] == pytest.approx(rms)
    config = validate(TrainConfig, settings(loss={"per_type": "auto"}), "train.yaml")
    record = build(config, facts, folder=tmp_path, pair_file=None, pair_range=None)
    entry = record["training_module"]["loss"]["metrics"][0]
    assert "field" not in entry
    factors = entry["metric"]["type_weights"]
    assert np.asarray(factors) * np.square(rms) == pytest.approx([facts.force_rms**2] * 2)


def test_equal_data_keep_the_plain_loss(tmp_path: Path) -> None:
    config = validate(TrainConfig, settings(), "train.yaml")
    record = build(
        config, DataFacts.of(fluid(4, 1), 10.0), folder=tmp_path, pair_file=None, pair_range=None
    )
    assert record["training_module"]["loss"]["metrics"][0]["field"] == "forces"
    assert "state_weights" not in record["data"]["train_dataset"]


def test_the_whole_stage_with_weights_and_energies(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"state_weights": "equal"},
        "system": {"temperature": None},
        "prior": {"type": "none"},
        "loss": {"energy": "auto", "per_type": {NAME: 2.0}},
        "optimiser": {"epochs": 3},
    }
    path = write_case(tmp_path, **changes)
    for name, counts in (("train", (6, 2)), ("val", (2, 2)), ("test", (2, 2))):
        write_frames(tmp_path / f"{name}.extxyz", states(*counts))
    config = load_config(path)
    result = train(config, tmp_path / "out", quiet=True).result
    assert result["temperature"] == pytest.approx(302.5)
    assert "a potential of mean force belongs to its temperature" in result["warnings"][0]
    assert [s["weight"] for s in result["states"]] == pytest.approx([0.5, 0.5])
    assert result["loss_weights"]["energy"] > 0
    assert result["loss_weights"]["per_type"] == [2.0]
    assert result["force_rmse"] < result["force_label_rms"]
    record = yaml.safe_load((tmp_path / "out" / "nequip.yaml").read_text(encoding="utf-8"))
    names = [m["name"] for m in record["training_module"]["loss"]["metrics"]]
    assert names == ["forces", "stress", "energy"]
    options = {k: v for k, v in record["data"]["train_dataset"].items() if k != "_target_"}
    data = CGDataset(**options)[7]
    assert float(data[FRAME_WEIGHT_KEY]) == pytest.approx(2.0)
    assert float(data[AtomicDataDict.TOTAL_ENERGY_KEY]) == pytest.approx(
        float(states(6, 2)[7].energy or 0.0)
    )
    bad = config.model_copy(
        update={
            "data": config.data.model_copy(update={"state_weights": {"350K": 1.0}}),
            "system": config.system.model_copy(update={"temperature": 300.0}),
        }
    )
    frames = load_subsets(bad)["train"]
    with pytest.raises(ConfigError, match=r"no training frame is of state \['350K'\]"):
        prepare(bad, Folder(tmp_path / "other"), frames, quiet=True)
