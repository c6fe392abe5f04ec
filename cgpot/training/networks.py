# SPDX-License-Identifier: GPL-2.0-or-later
"""The network of train.yaml as the section ``model`` of nequip's configuration."""

from __future__ import annotations

from typing import Any

from cgpot.core.errors import ConfigError
from cgpot.training.config import TrainConfig
from cgpot.training.facts import DataFacts
from cgpot.training.model_config import NequIPConfig, NetworkConfig


def energy_scale(config: TrainConfig, facts: DataFacts) -> float:
    """Scale of the network's energy per bead, eV (`NetworkConfig.energy_scale`)."""
    model = config.model
    assert isinstance(model, NetworkConfig)
    if model.energy_scale != "auto":
        return float(model.energy_scale)
    return facts.force_rms * (0.3 if config.prior.type == "spline" else 1.0)


def network_record(config: TrainConfig, facts: DataFacts) -> dict[str, Any]:
    """The network as plain data: a builder of `cgpot.training.builders` and its arguments."""
    model = config.model
    if isinstance(model, NequIPConfig):
        return {
            "_target_": "cgpot.training.builders.CGNequIPModel",
            "readout_start": model.readout_start,
            "seed": config.seed,
            "model_dtype": model.dtype,
            "compile_mode": "compile" if config.compile else "eager",
            "type_names": list(facts.type_names),
            "r_max": model.cutoff,
            "num_layers": model.layers,
            "l_max": model.l_max,
            "parity": model.parity,
            "num_features": model.features,
            "num_bessels": model.bessels,
            "polynomial_cutoff_p": model.polynomial_cutoff,
            "radial_mlp_depth": model.radial_depth,
            "radial_mlp_width": model.radial_width,
            "readout_mlp_hidden_layers_depth": model.readout_depth,
            "avg_num_neighbors": round(facts.neighbours, 6),
            "per_type_energy_scales": round(energy_scale(config, facts), 9),
            "per_type_energy_shifts": 0.0,
        }
    raise ConfigError(f"{model.type!r} is no network", key="model.type")
