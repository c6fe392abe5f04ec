# SPDX-License-Identifier: GPL-2.0-or-later
"""Held-out predictions against their labels, and what of the difference is noise."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import require_file

Array = NDArray[np.float64]
BLOCKS = 10


def read_parity(path: str | Path) -> dict[str, Array]:
    """Arrays of a parity file (numpy .npz), as float64.

    Known keys: ``force_label``, ``force_model``, ``force_pair`` (n, 3) eV/Å; ``stress_label``,
    ``stress_model`` eV/Å^3; ``pressure_label_bar``, ``pressure_model_bar`` (frames,);
    ``noise_floor`` (scalar, eV/Å).  All but the first two may be absent.

    Raises:
        InputError: not an .npz file, a key is missing, or shapes differ.
        DataError: NaN or infinity.
    """
    p = require_file(path, "parity file")
    try:
        with np.load(p, allow_pickle=False) as data:
            arrays = {
                key: np.asarray(data[key], dtype=np.float64)
                for key in data.files
                if data[key].dtype.kind in "fiu"
            }
    except (ValueError, OSError, zipfile.BadZipFile, AttributeError) as err:
        raise InputError(f"not a numpy .npz file: {err}", file=p) from err
    for key in ("force_label", "force_model"):
        if key not in arrays:
            raise InputError(f"the array is missing; found {sorted(arrays)}", file=p, key=key)
    for key, value in arrays.items():
        if not np.isfinite(value).all():
            raise DataError("holds NaN or infinity; expected finite numbers", file=p, key=key)
    for key, like in (
        ("force_model", "force_label"),
        ("force_pair", "force_label"),
        ("stress_model", "stress_label"),
        ("pressure_model_bar", "pressure_label_bar"),
    ):
        if key in arrays and like in arrays and arrays[key].shape != arrays[like].shape:
            raise InputError(
                f"shape {arrays[key].shape} differs from {arrays[like].shape} of '{like}'",
                file=p,
                key=key,
            )
    return arrays


def force_parity(arrays: dict[str, Array]) -> dict[str, Any]:
    """RMSE of model and pair fit, with errors, beside the label rms and the noise.

    A single-frame label is F = <F|R> + noise, and the noise is orthogonal to every function of
    R.  So no model of the sites can go below the noise floor, sqrt(Var(F|R)), and every model's
    held-out RMSE bounds it from above; so does the RMSE after the best rescaling,
    sqrt(<F^2> - <F f>^2/<f^2>), which is what is reported as ``noise_floor_upper`` when the
    file gives no ``noise_floor`` of its own.  ``slope`` is <F f>/<f^2>: 1 for a calibrated
    model, below 1 for one that has learned noise.

    Returns:
        n, label_rms, rmse_model(+_error), rmse_pair(+_error), gain_over_pair(+_error; paired
        over blocks, positive when the model is better), slope, noise_floor or
        noise_floor_upper.  Units eV/Å.
    """
    label, model = arrays["force_label"], arrays["force_model"]
    pair = arrays.get("force_pair")
    result: dict[str, Any] = {
        "unit": "eV/A",
        "n": int(label.size),
        "label_rms": _rms(label),
        "rmse_model": _rms(model - label),
        "rmse_model_error": _block_error([(model - label) ** 2]),
        "rmse_pair": None,
    }
    if pair is not None:
        result["rmse_pair"] = _rms(pair - label)
        result["rmse_pair_error"] = _block_error([(pair - label) ** 2])
        result["gain_over_pair"] = result["rmse_pair"] - result["rmse_model"]
        result["gain_over_pair_error"] = _block_error([(pair - label) ** 2, (model - label) ** 2])
    candidates = [f for f in (model, pair) if f is not None]
    bounds = [_rescaled_rms(label, f) for f in candidates]
    square = float(np.mean(model**2))
    result["slope"] = float(np.mean(label * model)) / square if square > 0 else None
    floor = arrays.get("noise_floor")
    if floor is not None and floor.size == 1:
        result["noise_floor"] = float(floor.reshape(-1)[0])
    else:
        result["noise_floor"] = None
    result["noise_floor_upper"] = min(bounds)
    return result


def pressure_parity(arrays: dict[str, Array]) -> dict[str, Any] | None:
    """Mean pressure residual (model minus label) on held-out frames, bar; None if absent."""
    if "pressure_model_bar" not in arrays or "pressure_label_bar" not in arrays:
        return None
    label = arrays["pressure_label_bar"].reshape(-1)
    model = arrays["pressure_model_bar"].reshape(-1)
    residual = model - label
    n = len(residual)
    return {
        "unit": "bar",
        "n": n,
        "label_mean": float(label.mean()),
        "label_std": float(label.std()),
        "model_mean": float(model.mean()),
        "residual_mean": float(residual.mean()),
        "residual_error": _mean_error(residual),
        "residual_rms": _rms(residual),
    }


def analyse_parity(path: str | Path) -> dict[str, Any]:
    """`force_parity` and `pressure_parity` of one file.

    Raises:
        InputError: see `read_parity`.
        DataError: see `read_parity`.
    """
    arrays = read_parity(path)
    return {"force": force_parity(arrays), "pressure": pressure_parity(arrays)}


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _rescaled_rms(label: Array, model: Array) -> float:
    square = float(np.mean(model**2))
    gain = float(np.mean(label * model)) ** 2 / square if square > 0 else 0.0
    return math.sqrt(max(float(np.mean(label**2)) - gain, 0.0))


def _block_error(squares: list[Array]) -> float | None:
    """Jackknife error of sqrt(mean a) (or of sqrt(mean a) - sqrt(mean b)) over blocks."""
    n = len(squares[0])
    if n < BLOCKS:
        return None
    parts = np.array([[b.mean() for b in np.array_split(s, BLOCKS)] for s in squares])
    sizes = np.array([len(b) for b in np.array_split(np.arange(n), BLOCKS)], dtype=np.float64)
    total = (parts * sizes).sum(axis=1, keepdims=True)
    left = np.sqrt((total - parts * sizes) / (sizes.sum() - sizes))
    values = left[0] - left[1] if len(left) > 1 else left[0]
    return float(np.sqrt((BLOCKS - 1) / BLOCKS * ((values - values.mean()) ** 2).sum()))


def _mean_error(x: Array) -> float | None:
    if len(x) < 2:
        return None
    n_blocks = min(BLOCKS, len(x))
    blocks = np.array([b.mean() for b in np.array_split(x, n_blocks)])
    return float(blocks.std(ddof=1) / math.sqrt(n_blocks))
