# SPDX-License-Identifier: GPL-2.0-or-later
"""Energies that depend on the temperature: exact potentials at two temperatures, one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thermal_systems import COLD, HOT, THERMAL, exact, write_two
from training_systems import NAME, fluid, settings

from cgpot.core.checkpoints import save_at_temperature
from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, InputError
from cgpot.deploy.deployment import deploy
from cgpot.deploy.verify import CompiledModel
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.network_potential import NetworkPotential, load_model
from cgpot.training.folder.graph_frames import CGDataset
from cgpot.training.folder.states import resolve_temperature, temperatures
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import Outcome, train


@pytest.fixture(scope="module")
def thermal(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    path = write_two(tmp_path_factory.mktemp("thermal"), **THERMAL)
    return train(load_config(path), path.parent / "out", quiet=True)


def rmse(model: NetworkPotential, frames: list[CGFrame], reference: list[CGFrame]) -> float:
    """Force error, relative to the rms force of the reference."""
    found = np.concatenate([model.labels(f).forces for f in frames])
    label = np.concatenate([f.forces for f in reference if f.forces is not None])
    return float(np.sqrt(np.mean((found - label) ** 2) / np.mean(label**2)))


def test_one_model_holds_both_potentials(thermal: Outcome) -> None:
    model = NetworkPotential.read(thermal.folder / "model.ckpt")
    assert model.takes_temperature
    assert model.stored_temperature is None
    for temperature, other in ((COLD, HOT), (HOT, COLD)):
        own = exact(4, 30, temperature)
        right = rmse(model, own, own)
        wrong = rmse(model, [replace(f, temperature=other) for f in own], own)
        assert right < 0.25
        assert wrong > 2 * right
    assert thermal.result["temperature_input"] == {"reference": 5.0, "scale": 1.0}
    assert thermal.result["warnings"] == []
    assert thermal.result["temperature"] == pytest.approx(5.0)


def test_the_energy_is_linear_in_the_temperature(thermal: Outcome) -> None:
    model = NetworkPotential.read(thermal.folder / "model.ckpt")
    frame = exact(1, 31, COLD)[0]
    forces = [model.labels(replace(frame, temperature=t)).forces for t in (COLD, 5.0, HOT)]
    assert np.allclose(forces[0] + forces[2], 2 * forces[1], atol=1e-10)


def test_a_stored_temperature_stands_for_that_of_the_frame(
    thermal: Outcome, tmp_path: Path
) -> None:
    source = thermal.folder / "model.ckpt"
    frames = exact(2, 32, HOT)
    bare = [replace(f, temperature=None) for f in frames]
    with pytest.raises(InputError, match="takes the temperature as an input, but the frame"):
        NetworkPotential.read(source).labels(bare[0])
    hot = NetworkPotential.read(save_at_temperature(source, tmp_path / "hot.ckpt", HOT))
    assert hot.stored_temperature == HOT
    network = NetworkPotential.read(source)
    for own, other in zip(frames, bare, strict=True):
        for a, b in zip(network.labels(own), hot.labels(other), strict=True):
            assert np.array_equal(a, b)


def test_a_model_without_input_has_no_choice(trained: Outcome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trained without system\.temperature_input"):
        save_at_temperature(trained.folder / "model.ckpt", tmp_path / "a.ckpt", 300.0)


def test_batches_mix_temperatures(thermal: Outcome) -> None:
    from nequip.data import AtomicDataDict

    model = load_model(thermal.folder / "model.ckpt")
    path = thermal.folder.parent / "val.extxyz"
    dataset = CGDataset(str(path), 5.0, [NAME], need_temperature=True)
    items = [dataset[0], dataset[3]]
    together = model(AtomicDataDict.batched_from_list(items))["forces"]
    apart = torch.cat([model(item)["forces"] for item in items])
    assert torch.allclose(together, apart, atol=1e-10)


@pytest.mark.parametrize(
    "section",
    [
        {"type": "schnet", "features": 8, "filters": 8, "gaussians": 10},
        {"type": "allegro"},
    ],
)
def test_every_network_takes_a_temperature(section: dict[str, Any]) -> None:
    from hydra.utils import instantiate
    from nequip.utils.global_state import set_global_state

    from cgpot.potential.site_graph import neighbours
    from cgpot.training.folder.facts import DataFacts
    from cgpot.training.folder.graph_frames import to_data
    from cgpot.training.network.model_section import network_record

    set_global_state()
    record = {**settings(), "model": {"cutoff": 5.0, "readout_start": 1.0, **section}}
    config = validate(TrainConfig, record, "train.yaml")
    frames = exact(1, 1, COLD) + exact(1, 1, HOT)
    options = network_record(config, DataFacts.of(frames, 30.0))
    model = instantiate(
        options, temperature_reference=5.0, temperature_scale=1.0, _recursive_=False
    )
    forces = []
    for frame in frames:
        data = to_data(frame, *neighbours(frame, 5.0), forces=False, stress=False, temperature=True)
        forces.append(model(data)["forces"].detach())
    assert NetworkPotential(model).takes_temperature
    assert not torch.allclose(forces[0], forces[1], rtol=1e-3)


def config_of(**changes: Any) -> TrainConfig:
    return validate(TrainConfig, settings(**changes), "train.yaml")


def test_what_is_refused() -> None:
    cold, hot = exact(2, 1, COLD), exact(2, 2, HOT)
    bare = [replace(f, temperature=None) for f in cold]
    null = config_of(system={"temperature": None})
    asked = config_of(system={"temperature": None, "temperature_input": True})
    assert temperatures(hot + cold) == [COLD, HOT]
    with pytest.raises(ConfigError, match=r"system\.temperature'.*frames carry no temperature"):
        resolve_temperature(null, {"train": bare})
    with pytest.raises(InputError, match=r"frame 2.*2 of 4 frames of the train set carry no temp"):
        resolve_temperature(null, {"train": cold + bare})
    with pytest.raises(InputError, match="2 of 2 frames of the val set carry no temperature"):
        resolve_temperature(asked, {"train": cold + hot, "val": bare})
    with pytest.raises(ConfigError, match=r"all at 4 K; a dependence.*two or more"):
        resolve_temperature(asked, {"train": cold})
    with pytest.raises(InputError, match=r"frames are at 6 K, system\.temperature is 5 K"):
        resolve_temperature(config_of(), {"train": hot})
    with pytest.raises(ConfigError, match=r"system\.temperature.*give it in K"):
        _ = null.temperature
    config, warnings = resolve_temperature(null, {"train": cold + hot})
    assert config.temperature == 5.0
    assert "4, 6 K" in warnings[0]
    assert resolve_temperature(asked, {"train": cold + hot})[1] == []


def test_the_data_set_refuses_a_frame_without_temperature(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.extxyz", fluid(1, 1))
    with pytest.raises(InputError, match="takes the temperature as an input, but the frame"):
        CGDataset(str(tmp_path / "a.extxyz"), 5.0, [NAME], need_temperature=True)


def test_deployment_needs_a_temperature_in_range(thermal: Outcome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"from 4 to 6 K; expected --temperature.*no temperature"):
        deploy(thermal.folder, tmp_path, quiet=True)
    with pytest.raises(InputError, match="expected --temperature between them, found 9 K"):
        deploy(thermal.folder, tmp_path, temperature=9.0, quiet=True)


def test_a_plain_model_is_deployed_at_its_own_temperature(trained: Outcome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a potential of mean force at 5 K, not at 350 K"):
        deploy(trained.folder, tmp_path, temperature=350.0, quiet=True)


@pytest.mark.slow
def test_deployed_at_each_temperature(thermal: Outcome, tmp_path: Path) -> None:
    model = NetworkPotential.read(thermal.folder / "model.ckpt")
    for temperature in (COLD, HOT):
        folder = tmp_path / f"{temperature:g}"
        done = deploy(thermal.folder, folder, temperature=temperature, quiet=True)
        assert done.content["temperature"] == temperature
        assert deploy(thermal.folder, folder, temperature=temperature, quiet=True).skipped
        compiled = CompiledModel(folder / "model.nequip.pt2")
        for frame in exact(2, 40, temperature):
            found, eager = compiled.labels(frame), model.labels(frame)
            assert np.allclose(found.forces, eager.forces, atol=1e-9)
            assert np.allclose(found.virial, eager.virial, atol=1e-8)
