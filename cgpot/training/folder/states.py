# SPDX-License-Identifier: GPL-2.0-or-later
"""The temperature of a training: of the system, of its frames, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cgpot.core.errors import ConfigError, InputError
from cgpot.molecules.frame import CGFrame
from cgpot.training.settings.train_settings import TrainConfig

TOLERANCE = 0.02
"""Largest relative difference between system.temperature and that of the frames."""
SAME = 0.1
"""K; frames within this of each other are at one temperature."""


def temperatures(frames: Sequence[CGFrame]) -> list[float]:
    """The temperatures that frames carry, K, ascending, each once (to `SAME`)."""
    result: list[float] = []
    for value in sorted(f.temperature for f in frames if f.temperature is not None):
        if not result or value - result[-1] > SAME:
            result.append(value)
    return result


def temperature_scale(frames: Sequence[CGFrame]) -> tuple[float, float]:
    """Middle and half width of the temperatures, K: reference and scale of the model input."""
    known = temperatures(frames)
    return 0.5 * (known[0] + known[-1]), 0.5 * (known[-1] - known[0])


def resolve_temperature(
    config: TrainConfig, frames: Mapping[str, Sequence[CGFrame]]
) -> tuple[TrainConfig, list[str]]:
    """The configuration with the temperature of its frames, and warnings.

    Args:
        config: as read.
        frames: frames of each subset, ``train`` among them.

    Raises:
        ConfigError: no temperature anywhere, or a temperature input where all frames have one
            temperature.
        InputError: frames without a temperature that is needed, or one that differs from
            system.temperature.
    """
    train = frames["train"]
    known = temperatures(train)
    given = config.system.temperature
    asked = config.system.temperature_input
    if given is None or asked:
        for name, subset in frames.items():
            lacking = [k for k, frame in enumerate(subset) if frame.temperature is None]
            if lacking and (known or asked):
                raise InputError(
                    f"{len(lacking)} of {len(subset)} frames of the {name} set carry no "
                    "temperature (key 'temperature' of the comment line); write the data set "
                    "with 'cgpot dataset', or give system.temperature without "
                    "system.temperature_input",
                    file=getattr(config.data, name) or config.data.val,
                    frame=lacking[0],
                )
    if asked and len(known) < 2:
        raise ConfigError(
            f"the training frames are all at {known[0]:g} K; a dependence on the temperature "
            "needs frames at two or more",
            key="system.temperature_input",
        )
    if given is None:
        if not known:
            raise ConfigError(
                "null, and the frames carry no temperature; give it in K",
                key="system.temperature",
            )
        mean = float(np.mean([f.temperature for f in train if f.temperature is not None]))
        system = config.system.model_copy(update={"temperature": mean})
        config = config.model_copy(update={"system": system})
    elif len(known) == 1 and abs(known[0] - given) > TOLERANCE * given:
        raise InputError(
            f"the frames are at {known[0]:g} K, system.temperature is {given:g} K",
            file=config.data.train,
            key="temperature",
        )
    warnings = []
    if len(known) > 1 and not asked:
        listed = ", ".join(f"{value:g}" for value in known)
        warnings.append(
            f"the training frames are at {listed} K, but the model does not know the "
            "temperature: a potential of mean force belongs to its temperature, and this one is "
            "an average over them; train on one temperature, or set system.temperature_input"
        )
    return config, warnings
