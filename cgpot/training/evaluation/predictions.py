# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a potential on held-out frames, and checkpoint surgery."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import atomic_path, require_file
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, internal_virial, label_stress
from cgpot.potential.potential import Potential
from cgpot.training.network.metrics import mean_with_error

Array = NDArray[np.float64]
PAIR_COEFFICIENTS = ("pair_potential.coefficients", "pair_potential.pair.coefficients")
"""Ends of the names of the pair part's coefficients, without and with a local-density part."""
DENSITY_COEFFICIENTS = ("pair_potential.density.coefficients",)


def evaluate(
    frames: list[CGFrame], potential: Potential, advance: Callable[[int], None] | None = None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Errors of a potential on frames, and the arrays behind them.

    Args:
        frames: held-out frames with force labels, in order.
        potential: labels them.
        advance: called with 1 for each frame.

    Returns:
        Errors (force_rmse in eV/Å, stress_rmse in eV/Å^3, pressure_residual_bar with mean and
        error; the last two None without stress labels) and the arrays ``force`` (n, 3),
        ``stress`` (frames, 3, 3), ``pressure_bar`` (frames,), configurational part only, both
        of the molecular virial (`cgpot.molecules.molecular_virial`),
        and ``energy_per_site`` (frames,) in eV.
    """
    force: list[Array] = []
    energy: list[float] = []
    stress: list[Array] = []
    label: list[Array] = []
    known: list[Array] = []
    for frame in frames:
        if frame.forces is None:
            raise DataError("the frame has no forces", frame=frame.source_frame)
        found = potential.labels(frame)
        offsets = centre_offsets(frame)
        force.append(found.forces)
        stress.append(-(found.virial - internal_virial(offsets, found.forces)) / frame.volume)
        energy.append(found.energy / frame.topology.n_sites)
        if advance is not None:
            advance(1)
        label.append(frame.forces)
        if frame.virial is not None:
            known.append(label_stress(frame, offsets))
    forces = np.concatenate(force)
    stresses = np.stack(stress)
    errors: dict[str, Any] = {
        "force_rmse": math.sqrt(float(np.mean((forces - np.concatenate(label)) ** 2))),
        "stress_rmse": None,
        "pressure_residual_bar": None,
    }
    arrays = {
        "force": forces,
        "stress": stresses,
        "pressure_bar": -np.einsum("fii->f", stresses) / 3.0 * EV_PER_A3_IN_BAR,
        "energy_per_site": np.array(energy),
    }
    if len(known) == len(frames):
        difference = stresses - np.stack(known)
        errors["stress_rmse"] = math.sqrt(float(np.mean(difference**2)))
        mean, error = mean_with_error(-np.einsum("fii->f", difference) / 3.0 * EV_PER_A3_IN_BAR)
        errors["pressure_residual_bar"] = {"mean": mean, "error": error}
    return errors, arrays


def label_arrays(frames: list[CGFrame]) -> dict[str, Array]:
    """The labels of frames: ``force`` (n, 3) and, where present, stress and pressure."""
    arrays = {"force": np.concatenate([f.forces for f in frames if f.forces is not None])}
    if all(frame.virial is not None for frame in frames):
        arrays["stress"] = np.stack([label_stress(f, centre_offsets(f)) for f in frames])
        trace = np.einsum("fii->f", arrays["stress"])
        arrays["pressure_bar"] = -trace / 3.0 * EV_PER_A3_IN_BAR
    return arrays


def pair_coefficients(checkpoint: str | Path) -> Array:
    """Coefficients (pairs, intervals + 3), eV, of the pair part inside a checkpoint.

    Raises:
        InputError: the model has no pair part.
    """
    state = _read(checkpoint)["state_dict"]
    return np.asarray(state[_base_key(state, PAIR_COEFFICIENTS, checkpoint)].double().numpy())


def save_checkpoint_with_pair(
    source: str | Path, target: str | Path, coefficients: Array, density: Array | None = None
) -> Path:
    """Write a copy of a checkpoint whose base has other coefficients.

    Args:
        source: checkpoint of `cgpot train`.
        target: file to write.
        coefficients: (pairs, intervals + 3), eV, of the pair part.
        density: (types, intervals + 3), eV, of the local-density part; None leaves it as it is.

    Raises:
        InputError: the model has no such part, or one of another shape.
    """
    record = _read(source)
    state = record["state_dict"]
    new: list[tuple[tuple[str, ...], Array]] = [(PAIR_COEFFICIENTS, coefficients)]
    if density is not None:
        new.append((DENSITY_COEFFICIENTS, density))
    for ends, values in new:
        key = _base_key(state, ends, source)
        old = state[key]
        if tuple(old.shape) != tuple(np.shape(values)):
            raise InputError(
                f"expected coefficients of shape {tuple(old.shape)}, found {np.shape(values)}",
                file=source,
            )
        if not np.isfinite(values).all():
            raise InputError("the new coefficients hold NaN or infinity", file=source)
        state[key] = torch.as_tensor(np.asarray(values), dtype=old.dtype)
    with atomic_path(target) as temporary:
        torch.save(record, temporary)
    return Path(target)


def _read(checkpoint: str | Path) -> dict[str, Any]:
    path = require_file(checkpoint, "checkpoint")
    record: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return record


def _base_key(state: dict[str, Any], ends: tuple[str, ...], checkpoint: str | Path) -> str:
    keys = [key for key in state if key.endswith(ends)]
    if len(keys) != 1:
        if ends == PAIR_COEFFICIENTS:
            part, reason = "pair part", "prior.type none"
        else:
            part, reason = "local-density part", "prior.local_density null"
        raise InputError(
            f"expected one {part} in the model, found {len(keys)}; was it trained with {reason}?",
            file=checkpoint,
        )
    return keys[0]


def parameter_count(model: Any) -> int:
    """Number of trainable weights."""
    return int(sum(p.numel() for p in model.parameters()))


def parity_arrays(
    labels: dict[str, Array], arrays: dict[str, Array], pair: dict[str, Array] | None = None
) -> dict[str, Array]:
    """Arrays of parity.npz, with the names that `cgpot analyze --parity` knows.

    Args:
        labels: of `label_arrays`.
        arrays: of the model (`evaluate`).
        pair: of the pair fit on the same frames, if there is one.
    """
    parity = {"force_label": labels["force"]}
    for name, found in (("model", arrays), ("pair", pair)):
        if found is not None:
            parity[f"force_{name}"] = found["force"]
            parity[f"stress_{name}"] = found["stress"]
            parity[f"pressure_{name}_bar"] = found["pressure_bar"]
    if "stress" in labels:
        parity["stress_label"] = labels["stress"]
        parity["pressure_label_bar"] = labels["pressure_bar"]
    return parity


def save_parity(path: Path, parity: dict[str, Array]) -> None:
    """Write the arrays in single precision, compressed."""
    small: dict[str, Any] = {k: np.asarray(v, dtype=np.float32) for k, v in parity.items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **small)
