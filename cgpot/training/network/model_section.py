# SPDX-License-Identifier: GPL-2.0-or-later
"""The network of train.yaml as the section ``model`` of nequip's configuration."""

from __future__ import annotations

from typing import Any

from cgpot.core.errors import ConfigError
from cgpot.training.folder.facts import DataFacts
from cgpot.training.settings.builder_options import check_type_names, try_build
from cgpot.training.settings.model_settings import AllegroConfig, NetworkConfig, SchNetConfig
from cgpot.training.settings.train_settings import TrainConfig

BUILDERS = {"nequip": "CGNequIPModel", "allegro": "CGAllegroModel", "schnet": "CGSchNetModel"}


def energy_scale(config: TrainConfig, facts: DataFacts) -> float:
    """Scale of the network's energy per bead, eV (`NetworkConfig.energy_scale`)."""
    model = config.model
    assert isinstance(model, NetworkConfig)
    if model.energy_scale != "auto":
        return float(model.energy_scale)
    return facts.force_rms * (0.3 if config.prior.type == "spline" else 1.0)


def network_record(config: TrainConfig, facts: DataFacts) -> dict[str, Any]:
    """The network as plain data: a builder of `cgpot.training.network.builders` and its arguments.

    Raises:
        ConfigError: no network, options for other bead types than the data have, or values that
            the builder refuses.
    """
    model = config.model
    if not isinstance(model, NetworkConfig):
        raise ConfigError(f"{model.type!r} is no network", key="model.type")
    wrong = check_type_names(model.options, facts.type_names)
    if wrong:
        raise ConfigError(wrong, key="model.options")
    record: dict[str, Any] = {
        "_target_": f"cgpot.training.network.builders.{BUILDERS[model.NETWORK]}",
        "readout_start": model.readout_start,
        "seed": config.seed,
        "model_dtype": model.dtype,
        "compile_mode": "compile" if config.compile else "eager",
        "type_names": list(facts.type_names),
        "r_max": model.cutoff,
        **model.arguments(),
        "per_type_energy_scales": round(energy_scale(config, facts), 9),
        "per_type_energy_shifts": 0.0,
    }
    if not isinstance(model, SchNetConfig):  # SchNet sums over neighbours as it is
        record["avg_num_neighbors"] = round(facts.neighbours, 6)
    if isinstance(model, AllegroConfig):
        for part in ("scalar_embed", "allegro", "readout"):
            record[f"{part}_mlp_hidden_layers_width"] = model.width
        record["radial_chemical_embed"] = {
            "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
            "num_bessels": model.bessels,
            "polynomial_cutoff_p": model.polynomial_cutoff,
        }
    record.update(model.options)
    if model.options:
        try_build(record)
    return record
