# SPDX-License-Identifier: GPL-2.0-or-later
"""Labels of a trained model on frames, errors on held-out frames, and checkpoint surgery."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import atomic_path, require_file
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, internal_virial, label_stress
from cgpot.molecules.pairs import half_list
from cgpot.potential.splines import PairTable, pair_index
from cgpot.training.folder.graph_frames import neighbours, to_data
from cgpot.training.network.metrics import mean_with_error
from cgpot.training.network.temperature_readout import (
    stored_temperature,
    takes_temperature,
)

Array = NDArray[np.float64]
PAIR_COEFFICIENTS = ("pair_potential.coefficients", "pair_potential.pair.coefficients")
"""Ends of the names of the pair part's coefficients, without and with a local-density part."""
DENSITY_COEFFICIENTS = ("pair_potential.density.coefficients",)


def load_model(checkpoint: str | Path) -> Any:
    """The model of a checkpoint (moving-average weights) as nequip's `GraphModel`, eager.

    Raises:
        InputError: no such file.
    """
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    require_file(checkpoint, "checkpoint")
    set_global_state()
    model = load_saved_model(str(checkpoint))
    model.eval()
    return model


def cutoff_of(model: Any) -> float:
    """Cutoff of the model, Å."""
    return float(model.metadata["r_max"])


def pairs_of(model: Any) -> str:
    """Which pairs of sites a model sees (`cgpot.molecules.exclusions.SEEN_PAIRS`)."""
    found = (getattr(module, "sees", None) for module in model.modules())
    return next((pairs for pairs in found if pairs is not None), "all")


def model_labels(
    model: Any, frames: Iterable[CGFrame], *, device: str = "cpu"
) -> Iterator[tuple[CGFrame, Array, Array]]:
    """Frames with the model's forces (n, 3) in eV/Å and virial W (3, 3) in eV.

    One frame at a time; the model is one of `load_model`.

    Raises:
        InputError: the model takes the temperature as an input, and neither it nor a frame has
            one.
    """
    r_max, pairs = cutoff_of(model), pairs_of(model)
    thermal = takes_temperature(model)
    stored = stored_temperature(model) if thermal else None
    for frame in frames:
        if thermal and frame.temperature is None and stored is None:
            raise InputError(
                "the model takes the temperature as an input, but the frame carries none",
                frame=frame.source_frame,
                key="temperature",
            )
        data = to_data(
            frame,
            *neighbours(frame, r_max, pairs),
            forces=False,
            stress=False,
            temperature=thermal,
        )
        out = model(AtomicDataDict.to_(data, torch.device(device)))
        forces = out[AtomicDataDict.FORCE_KEY].detach().double().cpu().numpy()
        stress = out[AtomicDataDict.STRESS_KEY].detach().double().cpu().numpy().reshape(3, 3)
        yield frame, forces, -stress * frame.volume


def pair_labels(table: PairTable, frame: CGFrame, seen: str = "all") -> tuple[Array, Array]:
    """Forces (n, 3) and virial (3, 3) of a pair table on one frame."""
    forces, virial, _ = pair_labels_and_energy(table, frame, seen)
    return forces, virial


def pair_labels_and_energy(
    table: PairTable, frame: CGFrame, seen: str = "all"
) -> tuple[Array, Array, float]:
    """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV of a pair table on a frame.

    Args:
        table: of the potential.
        frame: the sites.
        seen: which pairs interact (`cgpot.molecules.exclusions.SEEN_PAIRS`).

    Raises:
        DataError: two sites at the same place.
    """
    pairs = half_list(frame, table.r_max).seen(seen)
    i, j, vector, distance = pairs.i, pairs.j, pairs.vector, pairs.distance
    types = frame.topology.types
    forces = np.zeros((frame.topology.n_sites, 3))
    virial = np.zeros((3, 3))
    energy = 0.0
    index = pair_index(len(table.type_names))
    rows = index[types[i], types[j]]
    for row in np.unique(rows):
        a, b = np.argwhere(index == row)[0]
        mask = rows == row
        along = (table.force(distance[mask], a, b) / distance[mask])[:, None] * vector[mask]
        np.subtract.at(forces, i[mask], along)
        np.add.at(forces, j[mask], along)
        virial += np.einsum("ea,eb->ab", vector[mask], along)
        energy += float(table.energy(distance[mask], a, b).sum())
    return forces, virial, energy


def evaluate(
    frames: list[CGFrame],
    labels: Callable[[CGFrame], tuple[Array, Array]],
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Errors of a potential on frames, and the arrays behind them.

    Args:
        frames: held-out frames with force labels, in order.
        labels: forces (n, 3) and virial (3, 3) of the potential.

    Returns:
        Errors (force_rmse in eV/Å, stress_rmse in eV/Å^3, pressure_residual_bar with mean and
        error; the last two None without stress labels) and the arrays ``force`` (n, 3),
        ``stress`` (frames, 3, 3), ``pressure_bar`` (frames,), configurational part only, both
        of the molecular virial (`cgpot.molecules.molecular_virial`).
    """
    force: list[Array] = []
    stress: list[Array] = []
    label: list[Array] = []
    known: list[Array] = []
    for frame in frames:
        if frame.forces is None:
            raise DataError("the frame has no forces", frame=frame.source_frame)
        f, w = labels(frame)
        offsets = centre_offsets(frame)
        force.append(f)
        stress.append(-(w - internal_virial(offsets, f)) / frame.volume)
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
