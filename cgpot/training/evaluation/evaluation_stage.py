# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot evaluate`: a trained model on any data set, with parity arrays and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.manifest import package_versions, write_manifest
from cgpot.core.records import EnsembleRecord, TrainingRecord
from cgpot.core.versions import check_checkpoint, read_result
from cgpot.molecules.frame import CGFrame
from cgpot.potential.refined import refined_model
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.held_out import HeldOut, Labels, network_labels
from cgpot.training.evaluation.noise_floor import applicable_noise, floor_record, of_means
from cgpot.training.folder.graph_frames import load_frames
from cgpot.training.folder.training_folder import Folder
from cgpot.training.linear.bonded_part import BondedPart

Array = NDArray[np.float64]
FORMAT = "cgpot-evaluation-1"
STAGE = "evaluation"


@dataclass(frozen=True)
class Trained:
    """A trained model, ready to label frames.

    Attributes:
        path: file or folder that was given.
        kind: ``network``, ``mscg``, ``uf3`` or ``pair`` (of a refinement).
        type_names: bead types that it knows, in the order of their indices.
        labels: forces (n, 3) in eV/Å and virial W (3, 3) in eV of a frame.
        yardstick: pair fit of the same training frames (or its labels), if there is one.
        result: result.json of its training or ensemble.json; None for a lone checkpoint.
    """

    path: Path
    kind: str
    type_names: tuple[str, ...]
    labels: Labels
    yardstick: PairTable | Labels | None
    result: TrainingRecord | EnsembleRecord | None = None


def load_trained(path: str | Path) -> Trained:
    """A folder of `cgpot train`, `cgpot refine` or `cgpot ensemble`, or a checkpoint file.

    Raises:
        InputError: neither, unfinished, damaged, or of other versions.
    """
    place = refined_model(path)
    if not place.exists():
        raise InputError(
            "no such file or folder; expected a folder of `cgpot train` or its model.ckpt",
            file=place,
        )
    if place.is_file():
        return _network(place, None, None)
    if (place / "ensemble.json").is_file():
        return _ensemble(place)
    result = read_result(place)
    kind = result.kind
    table = PairTable.read(place / "pair_fit.json") if (place / "pair_fit.json").is_file() else None
    if kind == "network":
        return _network(place / "model.ckpt", table, result, place)
    return Trained(place, kind, result.bead_names, _linear(place, kind), table, result)


def _linear(place: Path, kind: str) -> Labels:
    """Labels of a linear model."""
    from cgpot.training.linear import mscg_stage as stage
    from cgpot.training.linear import uf3_stage
    from cgpot.training.linear.mscg import MSCGPotential
    from cgpot.training.linear.uf3 import UF3Potential

    if kind == "pair":
        table = PairTable.read(place / "pair.json")
        return lambda frame: ev.pair_labels(table, frame)
    potential: MSCGPotential | UF3Potential
    if kind == "mscg":
        potential = MSCGPotential.read(place / stage.POTENTIAL)
    elif kind == "uf3":
        potential = UF3Potential.read(place / uf3_stage.POTENTIAL)
    else:
        raise InputError(
            f"expected a model of kind network, mscg, uf3 or pair, found {kind!r}",
            file=place / "result.json",
            key="kind",
        )

    def labels(frame: CGFrame) -> tuple[Array, Array]:
        forces, virial, _ = potential.labels(frame)
        return forces, virial

    return labels


def _ensemble(place: Path) -> Trained:
    """The mean of the members of a folder of `cgpot ensemble`."""
    record = EnsembleRecord.read(place / "ensemble.json")
    members = [load_trained(place / name) for name in record.members]

    def labels(frame: CGFrame) -> tuple[Array, Array]:
        each = [member.labels(frame) for member in members]
        forces = np.mean([forces for forces, _ in each], axis=0)
        return forces, np.asarray(np.mean([virial for _, virial in each], axis=0))

    first = members[0]
    return Trained(place, first.kind, first.type_names, labels, first.yardstick, record)


def _network(
    checkpoint: Path,
    table: PairTable | None,
    result: TrainingRecord | None,
    place: Path | None = None,
) -> Trained:
    check_checkpoint(checkpoint)
    model = ev.load_model(checkpoint)
    names = tuple(model.metadata["type_names"].split())
    bare = network_labels(model)
    file = Folder((place or checkpoint.parent).resolve()).bonded
    if not file.is_file():
        return Trained(place or checkpoint, "network", names, bare, table, result)
    part, pairs = BondedPart.read(file), ev.pairs_of(model)

    def with_bonds(labels: Labels) -> Labels:
        def summed(frame: CGFrame) -> tuple[Array, Array]:
            forces, virial, _ = part.labels(frame)
            more, pressure = labels(frame)
            return forces + more, virial + pressure

        return summed

    yardstick = None if table is None else with_bonds(lambda f: ev.pair_labels(table, f, pairs))
    return Trained(place or checkpoint, "network", names, with_bonds(bare), yardstick, result)


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
    trained = load_trained(model)
    frames: list[CGFrame] = []
    for path in data:
        frames += load_frames(path, trained.type_names, False)
    if not frames:
        raise InputError("the data hold no frame", file=data[0] if data else None)
    floor, noise_file = applicable_noise(noise, data[0], frames[0])
    floor = None if floor is None else of_means(floor, frames)
    held_out = HeldOut.of(
        frames,
        trained.labels,
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
