# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot evaluate`: a trained model on any data set, with parity arrays and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.manifest import package_versions, write_manifest
from cgpot.molecules.frame import CGFrame
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.held_out import HeldOut
from cgpot.training.evaluation.noise_floor import applicable_noise, floor_record, of_means
from cgpot.training.folder.graph_frames import load_frames
from cgpot.training.open_potential import open_potential

Array = NDArray[np.float64]
FORMAT = "cgpot-evaluation-1"
STAGE = "evaluation"


def evaluate_model(
    model: str | Path,
    data: Sequence[str | Path],
    output: str | Path,
    *,
    noise: str | Path | None = None,
    threads: int = 1,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate a model; writes evaluation.json (with manifest), parity.npz and parity.png.

    Args:
        model: training folder or checkpoint.
        data: extxyz files of `cgpot map` or `cgpot dataset`, in order.
        output: folder to write.
        noise: JSON of `cgpot noise`, the floor of the force error; default: ``noise.json``
            beside the first data file, if it is there.
        threads: CPU threads of torch.
        quiet: no progress bar.

    Returns:
        The content of evaluation.json.

    Raises:
        InputError: other bead names than the model's, frames without forces, versions.
    """
    import torch

    from cgpot.training.evaluation.parity_figure import draw_parity

    torch.set_num_threads(threads)
    trained = open_potential(model)
    frames: list[CGFrame] = []
    for path in data:
        frames += load_frames(path, trained.type_names, False)
    if not frames:
        raise InputError("the data hold no frame", file=data[0] if data else None)
    floor, noise_file = applicable_noise(noise, data[0], frames[0])
    floor = None if floor is None else of_means(floor, frames)
    held_out = HeldOut.of(
        frames,
        trained,
        trained.yardstick,
        temperature=None if trained.result is None else trained.result.temperature,
        quiet=quiet,
    )
    labels, arrays, parity = held_out.labels, held_out.arrays, held_out.parity
    sites = [frame.topology.n_sites for frame in frames]
    record: dict[str, Any] = {
        "format": FORMAT,
        "model": str(trained.path),
        "kind": trained.kind,
        "data": [str(path) for path in data],
        "n_frames": len(frames),
        "n_sites": sum(sites),
        **figures(frames, labels, arrays, held_out.errors),
        "pressure_slope": held_out.slope,
        **held_out.by_composition,
        **floor_record(labels["force"], arrays["force"], sites, floor),
        "noise_file": None if noise_file is None else str(noise_file),
        "versions": package_versions(("cgpot", "torch", "nequip")),
    }
    if held_out.pair_errors:
        record["pair_fit"] = held_out.pair_errors
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    ev.save_parity(folder / "parity.npz", parity)
    draw_parity(folder / "parity.png", parity, record)
    write_json(folder / "evaluation.json", record)
    source = trained.path
    if source.is_dir():
        names = ("ensemble.json", "result.json")
        source = next(source / name for name in names if (source / name).is_file())
    write_manifest(
        folder / "evaluation.json",
        stage=STAGE,
        inputs={
            "model": source,
            "data": [Path(path) for path in data],
            **({} if noise_file is None else {"noise": noise_file}),
        },
        outputs=[folder / "parity.npz", folder / "parity.png"],
    )
    return dict(read_json(folder / "evaluation.json"))


def figures(
    frames: list[CGFrame],
    labels: dict[str, Array],
    arrays: dict[str, Array],
    errors: dict[str, Any],
) -> dict[str, Any]:
    """Errors as plain data.

    ``explained_variance`` is 1 - <(F - f)^2>/<F^2>, ``correlation`` that of the components and
    ``slope`` <F f>/<f^2>, 1 for a model without learned noise (labels F, model f).

    Args:
        frames: with labels.
        labels: of `cgpot.training.evaluation.predictions.label_arrays`.
        arrays: of `cgpot.training.evaluation.predictions.evaluate`.
        errors: of the same.
    """
    types = np.concatenate([frame.topology.types for frame in frames])
    names = frames[0].topology.type_names
    label, model = labels["force"], arrays["force"]
    difference = model - label
    power = float(np.mean(label**2))
    square = float(np.mean(model**2))
    per_type = {
        name: {
            "n": int(np.sum(types == k)),
            "rmse": float(np.sqrt(np.mean(difference[types == k] ** 2))),
            "mae": float(np.mean(np.abs(difference[types == k]))),
            "label_rms": float(np.sqrt(np.mean(label[types == k] ** 2))),
        }
        for k, name in enumerate(names)
        if np.any(types == k)
    }
    flat = (label.ravel(), model.ravel())
    spread = min(float(np.std(part)) for part in flat)
    return {
        "force_rmse": errors["force_rmse"],
        "force_mae": float(np.mean(np.abs(difference))),
        "force_label_rms": float(np.sqrt(power)),
        "force_per_type": per_type,
        "force_correlation": float(np.corrcoef(*flat)[0, 1]) if spread > 0 else None,
        "force_explained_variance": 1.0 - float(np.mean(difference**2)) / power if power else None,
        "force_slope": float(np.mean(label * model)) / square if square else None,
        "stress_rmse": errors["stress_rmse"],
        "pressure_residual_bar": errors["pressure_residual_bar"],
        "pressure_mean_bar": {
            "label": float(labels["pressure_bar"].mean()) if "pressure_bar" in labels else None,
            "model": float(arrays["pressure_bar"].mean()),
        },
    }
