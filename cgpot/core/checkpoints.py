# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of a network's checkpoint with other contents."""

from __future__ import annotations

from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, require_file

TEMPERATURE = "baked_temperature"
"""Buffer of `cgpot.training.network.temperature_readout.TemperatureReadout`, K."""


def save_at_temperature(source: str | Path, target: str | Path, temperature: float) -> Path:
    """Write a copy of a checkpoint whose model holds its temperature (K) as a constant.

    Raises:
        InputError: no such file, or the model takes no temperature.
    """
    import torch

    record = torch.load(require_file(source, "checkpoint"), map_location="cpu", weights_only=False)
    state = record["state_dict"]
    keys = [key for key in state if key.rpartition(".")[2] == TEMPERATURE]
    if not keys:
        raise InputError(
            "the model was trained without system.temperature_input; its temperature cannot be "
            "chosen",
            file=source,
        )
    for key in keys:
        state[key] = torch.full_like(state[key], temperature)
    with atomic_path(target) as temporary:
        torch.save(record, temporary)
    return Path(target)
