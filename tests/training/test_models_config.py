# SPDX-License-Identifier: GPL-2.0-or-later
"""Presets, sizes and further options of the networks, and what is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from model_systems import CUTOFF, NAMES, SMALL, build, frame, predict, record
from training_systems import settings, write_case

from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, InputError
from cgpot.training.network.builders import READOUTS, SchNetModel, shrink_readout
from cgpot.training.settings.builder_options import OWN, builder, known_options
from cgpot.training.settings.model_settings import AllegroConfig, NequIPConfig, SchNetConfig
from cgpot.training.settings.presets import PRESETS
from cgpot.training.settings.train_settings import TrainConfig, load_config

CLASSES = {"nequip": NequIPConfig, "allegro": AllegroConfig, "schnet": SchNetConfig}


def config(**section: Any) -> TrainConfig:
    data = settings()
    data["model"] = {"cutoff": 5.0, **section}
    return validate(TrainConfig, data, "train.yaml")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build(name: str) -> None:
    section = dict(PRESETS[name])
    model = build({**section, "cutoff": CUTOFF})
    assert model.metadata["type_names"].split() == list(NAMES)
    weights = sum(p.numel() for p in model.parameters())
    assert weights < 1e6
    if name == "schnet-benzene":
        # embedding 2 x 240, in each block 240 x 256, 256 x 240 + 240, 240 x 240 + 240,
        # 80 x 256 + 256, 256 x 256 + 256; readout 240 x 120 + 120, 120 + 1
        block = 240 * 256 + 256 * 240 + 240 + 240 * 240 + 240 + 80 * 256 + 256 + 256 * 256 + 256
        assert weights == 2 * 240 + 2 * block + 240 * 120 + 120 + 120 + 1


def test_sizes_grow() -> None:
    sizes = [
        sum(p.numel() for p in build(dict(PRESETS[f"nequip-{size}"])).parameters())
        for size in ("tiny", "small", "medium", "large")
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 10 * sizes[0]


def test_a_preset_stands_for_its_keys() -> None:
    whole = config(preset="schnet-benzene", cutoff=7.0).model
    assert isinstance(whole, SchNetConfig)
    assert (whole.features, whole.filters, whole.gaussians) == (240, 256, 80)
    data = settings()
    data["model"] = {"preset": "schnet-benzene"}
    assert validate(TrainConfig, data).model.cutoff == 7.0
    changed = config(preset="nequip-small", features=6).model
    assert isinstance(changed, NequIPConfig)
    assert (changed.features, changed.radial_width) == (6, 16)


def test_nequip_small_is_the_model_of_the_benzene_chain(root: Path) -> None:
    path = root / "workflows" / "systems" / "benzene" / "train.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    chain = validate(TrainConfig, data).model
    data["model"] = {"preset": "nequip-small"}
    assert validate(TrainConfig, data).model == chain


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"preset": "schnet-benzine"}, r"no preset 'schnet-benzine'; did you mean 'schnet-benz"),
        ({"preset": "painn"}, r"model\.preset: no preset 'painn' \(known: schnet-benzene, .*med"),
        ({"preset": ["nequip-tiny"]}, r"model\.preset: no preset \['nequip-tiny'\]"),
        (
            {"preset": "nequip-tiny", "type": "schnet"},
            r"model\.preset: 'nequip-tiny' is a model of type 'nequip', model\.type is 'schnet'",
        ),
        ({"preset": "allegro-small", "bessel": 3}, r"key 'model\.bessel'.*did you mean 'bessels'"),
        ({"type": "allegro", "gaussians": 5}, r"key 'model\.gaussians': unknown key \(known: "),
        ({"layers": 0}, r"key 'model\.layers': .*constant for each bead type.*type mscg.*found 0"),
        ({"type": "schnet", "cutoff_function": "step"}, r"cutoff_function.*'cosine' or 'polynomi"),
        ({"l_max": 2, "features": [4, 4]}, "one number for each rotation order from 0 to l_max 2"),
        (
            {"options": {"bessel_trainabel": True}},
            r"key 'model\.options': .*nequip\.model\.NequIPGNNModel has no option "
            r"'bessel_trainabel'; did you mean 'bessel_trainable'.*readout_mlp_nonlinearity",
        ),
        ({"options": {"num_layers": 3}}, "'num_layers' has a key of its own: model.layers"),
        ({"options": {"r_max": 3}}, r"option 'r_max' is set by model\.cutoff"),
        (
            {"type": "allegro", "options": {"shared_interactions": True}},
            r"allegro\.model\.AllegroModel has no option 'shared_interactions' \(known: .*tp_path",
        ),
        (
            {"type": "schnet", "options": {"bessel_trainable": True}},
            r"SchNetModel has no option 'bessel_trainable'.*\(known: .*gaussians_trainable",
        ),
    ],
)
def test_what_a_model_lacks_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**section)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_argument_of_the_builder_is_reached(kind: str) -> None:
    """By a key, by `options`, or it is set from elsewhere: none is left out."""
    keys = CLASSES[kind].ARGUMENTS
    reached = set(keys) | set(known_options(kind, keys)) | set(OWN)
    _, functions, inner = builder(kind)
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        assert named <= reached | set(inner)
    assert set(keys) <= {name for f in functions for name in inspect.signature(f).parameters}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nequip", {"bessel_trainable": True, "convnet_sc": False}),
        ("nequip", {"per_edge_type_cutoff": {"A": {"B": 3.0}}, "type_embed_num_features": 5}),
        (
            "allegro",
            {"per_type_energy_scales": {"A": 0.3, "B": 0.4}, "tp_path_channel_coupling": 0},
        ),
        (
            "allegro",
            {"radial_chemical_embed": {"_target_": "allegro.nn.TwoBodySplineScalarEmbed"}},
        ),
        ("schnet", {"gaussians_trainable": True, "gaussian_start": 2.0, "avg_num_neighbors": 9.0}),
        ("schnet", {"shared_interactions": True, "readout_hidden": [8, 4]}),
        ("schnet", {"per_edge_type_cutoff": {"A": {"B": 3.0}}, "polynomial_cutoff_p": 4}),
        ("schnet", {"per_type_energy_shifts": {"A": 0.3, "B": 0.4}}),
    ],
)
def test_options_reach_the_model(name: str, options: dict[str, Any]) -> None:
    plain = record(SMALL[name])
    given = record({**SMALL[name], "options": options})
    assert {k: v for k, v in given.items() if plain.get(k) != v} == options
    before = predict(build(SMALL[name]), frame())
    after = predict(build({**SMALL[name], "options": options}), frame())
    assert after[0] != pytest.approx(before[0], rel=1e-9)


def test_options_for_other_bead_types_are_refused() -> None:
    for key, name in (("per_type_energy_shifts", "schnet"), ("avg_num_neighbors", "nequip")):
        with pytest.raises(
            ConfigError, match=rf"model\.options.*{key} is for bead types \['A', 'C'\], the data"
        ):
            record({**SMALL[name], "options": {key: {"A": 1.0, "C": 2.0}}})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nequip", {"readout_mlp_nonlinearity": "step"}, "cannot be built: .*'step'.*silu"),
        ("allegro", {"num_layers_": 1}, "AllegroModel has no option 'num_layers_'"),
        ("allegro", {"scalar_embed_mlp_nonlinearity": "step"}, "cannot be built: .*'step'.*silu"),
        ("schnet", {"gaussian_start": 9.0}, "cannot be built: expected at least 2 Gaussians"),
        ("schnet", {"avg_num_neighbors": {"A": 1, "B": 2}}, "one number for all bead types"),
    ],
)
def test_values_that_the_builder_refuses_are_told(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"key 'model\.options': .*{message}"):
        record({**SMALL[name], "options": options})


def test_data_with_other_type_names_are_refused(tmp_path: Path) -> None:
    import dataclasses

    from training_systems import fluid

    from cgpot.molecules.extxyz import write_frames
    from cgpot.training.training_stage import train

    path = write_case(tmp_path, model={"type": "schnet"})
    data = settings()
    data["model"] = {"type": "schnet", "cutoff": 5.0}
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    other = [
        dataclasses.replace(f, topology=dataclasses.replace(f.topology, type_names=("OTH",)))
        for f in fluid(3, 2)
    ]
    write_frames(tmp_path / "val.extxyz", other)
    with pytest.raises(InputError, match=r"val\.extxyz.*bead types \['OTH'\] differ.*\['BEA'\]"):
        train(load_config(path), tmp_path / "out", quiet=True)


def test_schnet_refuses_what_it_cannot_build() -> None:
    plain = {"seed": 1, "model_dtype": "float64", "r_max": 4.0}
    with pytest.raises(ValueError, match=r"type names must be alphanumeric, found \['A-B'\]"):
        SchNetModel(type_names=["A-B"], **plain)
    with pytest.raises(ValueError, match=r"unknown cutoff_function 'step' \(known: \['cosine'"):
        SchNetModel(type_names=["A"], cutoff_function="step", **plain)
    with pytest.raises(ValueError, match="expected at least 2 Gaussians from 0 <= start < r_max"):
        SchNetModel(type_names=["A"], gaussian_start=5.0, **plain)


@pytest.mark.parametrize("name", SMALL)
def test_the_readout_starts_small(name: str) -> None:
    """Energies of the network are `readout_start` times smaller, and nothing else changes."""
    whole = predict(build(SMALL[name]), frame())
    small = predict(build({**SMALL[name], "readout_start": 0.125}), frame())
    assert small[0] == pytest.approx(0.125 * whole[0], rel=1e-12)
    torch.testing.assert_close(small[1], 0.125 * whole[1], rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=f"no module named {READOUTS[0]}"):
        shrink_readout(torch.nn.Linear(2, 2), 0.1)


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_start(name: str) -> None:
    same = [build(SMALL[name], seed=5).state_dict() for _ in range(2)]
    other = build(SMALL[name], seed=6).state_dict()
    assert all(torch.equal(same[0][k], same[1][k]) for k in same[0])
    assert any(not torch.equal(same[0][k], other[k]) for k in other)
