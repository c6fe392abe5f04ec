# SPDX-License-Identifier: GPL-2.0-or-later
"""Weights of frames in the losses: their own, and those of their state points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError
from cgpot.molecules.frame import CGFrame

Array = NDArray[np.float64]
StateWeights = str | Mapping[str, float]


def check_linear_loss(kind: str, given: Mapping[str, Any]) -> None:
    """Refuse options of the section ``loss`` that a linear model lacks, instead of ignoring them.

    Args:
        kind: type of the model.
        given: options that were given.

    Raises:
        ValueError: the option is named, with what there is instead.
    """
    if given.get("energy") not in (None, 0):
        raise ValueError(
            f"loss.energy is for networks; a model of type {kind!r} takes the weight of its energy "
            "rows from model.energy"
        )
    if given.get("mean_pressure", 0) > 0:
        raise ValueError(
            f"loss.mean_pressure is for networks; a model of type {kind!r} meets the mean pressure "
            "with model.match_mean_virial"
        )
    if given.get("per_type") is not None:
        raise ValueError(
            f"loss.per_type is for networks; a model of type {kind!r} weights the forces of all "
            "bead types alike"
        )
    for name in ("forces", "stress"):
        if isinstance(given.get(name), int | float) and given[name]:
            raise ValueError(
                f"loss.{name} as a number is for networks; a model of type {kind!r} takes the "
                "weight of its virial rows, relative to the forces, from model.virial"
            )


def state_of(frame: CGFrame) -> str:
    """Name of the frame's state point; its temperature alone where the file names none."""
    if frame.state is not None:
        return frame.state
    return "unnamed" if frame.temperature is None else f"{frame.temperature:.0f}K"


def frame_weights(
    frames: Sequence[CGFrame], states: StateWeights = "frames", *, strict: bool = True
) -> Array:
    """Weight of each frame, (n,), 1 on average.

    A frame's own weight (`CGFrame.weight`: the number of samples behind a mean-force label) is
    multiplied by that of its state point.

    Args:
        frames: the frames of one subset.
        states: ``frames``: every state counts as its frames do; ``equal``: the same total weight
            for every state; a mapping: a factor on each named state (others: 1).
        strict: refuse names of states that the frames do not have.

    Raises:
        ConfigError: unknown states, or all weights zero.
    """
    own = np.asarray([frame.weight for frame in frames], dtype=np.float64)
    names = np.asarray([state_of(frame) for frame in frames])
    factors = np.ones(len(frames))
    if isinstance(states, str):
        if states == "equal":
            for name in np.unique(names):
                factors[names == name] = 1.0 / own[names == name].sum()
    else:
        unknown = sorted(set(states) - set(names.tolist()))
        if unknown and strict:
            raise ConfigError(
                f"no training frame is of state {unknown}; the frames hold "
                f"{sorted(set(names.tolist()))}",
                key="data.state_weights",
            )
        for name, factor in states.items():
            factors[names == name] = float(factor)
    weights = own * factors
    if not weights.sum() > 0:
        raise ConfigError("every frame has weight 0", key="data.state_weights")
    return np.asarray(weights / weights.mean())


def type_weights(
    wanted: str | Mapping[str, float] | None, names: Sequence[str], rms: Sequence[float]
) -> list[float] | None:
    """Factor on the squared force error of each bead type; None for equal ones.

    Args:
        wanted: ``auto`` (inverse variance of the forces of each type, relative to that of all
            sites), factors by name (others: 1), or None.
        names: bead types of the data.
        rms: rms force component of each type and, last, of all sites, eV/Å.

    Raises:
        ConfigError: a name that is no bead type, or all factors zero.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return [(rms[-1] / value) ** 2 if value > 0 else 1.0 for value in rms[:-1]]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ConfigError(
            f"no bead type is called {unknown}; the data hold {list(names)}", key="loss.per_type"
        )
    result = [float(wanted.get(name, 1.0)) for name in names]
    if not any(result):
        raise ConfigError("every bead type has weight 0", key="loss.per_type")
    return result


def describe_states(frames: Sequence[CGFrame], states: StateWeights) -> list[dict[str, Any]]:
    """What the frames hold at each state: number, temperature (K), density, share of weight."""
    weights = frame_weights(frames, states)
    result = []
    for name in dict.fromkeys(state_of(frame) for frame in frames):
        mine = [k for k, frame in enumerate(frames) if state_of(frame) == name]
        known = [t for k in mine if (t := frames[k].temperature) is not None]
        result.append(
            {
                "state": name,
                "n_frames": len(mine),
                "temperature": float(np.mean(known)) if known else None,
                "density_kg_m3": float(np.mean([frames[k].density for k in mine])),
                "weight": float(weights[mine].sum() / len(frames)),
            }
        )
    return result
