# SPDX-License-Identifier: GPL-2.0-or-later
"""The training stage: fit the base, write nequip's configuration, train, evaluate."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import DataError, InputError, ManifestError, ToolError
from cgpot.core.files import atomic_path, read_json, sha256_file, write_json
from cgpot.core.frame import CGFrame
from cgpot.core.manifest import (
    check_manifest,
    manifest_path,
    package_versions,
    write_manifest,
)
from cgpot.core.progress import progress
from cgpot.core.splines import PairTable
from cgpot.core.versions import RESULT_FORMAT
from cgpot.training.config import TrainConfig
from cgpot.training.curves import LiveCurves, draw_curves
from cgpot.training.facts import DataFacts
from cgpot.training.lightning import read_table
from cgpot.training.machine import environment
from cgpot.training.nequip_config import build, energy_weight, loss_weights
from cgpot.training.nequip_config import write as write_nequip
from cgpot.training.noise import floor_record, read_noise
from cgpot.training.prior import fit_prior
from cgpot.training.states import resolve_temperature
from cgpot.training.weights import describe_states, type_weights

STAGE = "training"


@dataclass(frozen=True)
class Folder:
    """Names of the files in the output folder of `cgpot train`."""

    path: Path

    @property
    def inputs(self) -> Path:
        """What the run was started with, to know it again."""
        return self.path / "inputs.json"

    @property
    def nequip(self) -> Path:
        """nequip's configuration."""
        return self.path / "nequip.yaml"

    @property
    def pair(self) -> Path:
        """Pair part inside the model."""
        return self.path / "pair.json"

    @property
    def refit(self) -> Path:
        """Pair part of the final model, refitted beside the trained network."""
        return self.path / "pair_refit.json"

    @property
    def yardstick(self) -> Path:
        """Pair spline by force matching alone."""
        return self.path / "pair_fit.json"

    @property
    def last(self) -> Path:
        """Checkpoint of the last finished epoch."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """Checkpoint of the best epoch."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def final(self) -> Path:
        """The model that is evaluated and deployed."""
        return self.path / "model.ckpt"

    @property
    def example(self) -> Path:
        """A few training frames: shapes for packaging, and the check of the compiled model."""
        return self.path / "example.extxyz"

    @property
    def metrics(self) -> Path:
        """Table of the epochs."""
        return self.path / "metrics.csv"

    @property
    def progress(self) -> Path:
        """Batches done."""
        return self.path / "progress.json"

    @property
    def failure(self) -> Path:
        """Where the loss stopped being finite."""
        return self.path / "failure.json"

    @property
    def trained(self) -> Path:
        """Written when nequip-train has ended well."""
        return self.path / "trained.json"

    @property
    def result(self) -> Path:
        """Final figures."""
        return self.path / "result.json"

    @property
    def parity(self) -> Path:
        """Arrays of labels and predictions on the test frames."""
        return self.path / "parity.npz"

    @property
    def curves(self) -> Path:
        """Loss curves as a picture."""
        return self.path / "loss.png"

    @property
    def log(self) -> Path:
        """Output of nequip-train."""
        return self.path / "nequip-train.log"


@dataclass
class Outcome:
    """What a call did.

    Attributes:
        folder: output folder.
        result: content of result.json.
        skipped: the folder was complete already.
        resumed: the run went on from a checkpoint.
    """

    folder: Path
    result: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    resumed: bool = False


def fingerprint(config: TrainConfig) -> dict[str, Any]:
    """What decides the result: configuration, data and versions."""
    data = {
        name: sha256_file(path)
        for name, path in config.data.files.items()
        if name not in ("report", "noise")
    }
    selection: dict[str, Any] = {
        "frames": config.data.frames,
        "bootstrap": config.data.bootstrap,
    }
    if config.data.state_weights != "frames":
        selection["state_weights"] = config.data.state_weights
    versions = package_versions(("torch", "nequip"))
    return {
        "config": json.loads(config.model_dump_json(exclude={"data", "threads", "logger"})),
        "data": data,
        "selection": selection,
        "versions": {k: versions[k] for k in ("torch", "nequip") if k in versions},
    }


def train(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> Outcome:
    """Run the stage, or go on where an interrupted run ended.

    Args:
        config: from `cgpot.training.config.load_config`.
        output: folder for all files.
        restart: forget what is in the folder when it was made from other inputs.
        quiet: no progress bars.

    Raises:
        InputError: labels missing, bead names that differ, or a folder of another run.
        DataError: the loss became NaN (epoch and batch are named).
        ToolError: nequip-train failed.
    """
    if config.model.type == "uf3":
        from cgpot.training.linear.uf3_stage import train_uf3

        return train_uf3(config, output, restart=restart, quiet=quiet)
    if not config.model.is_network:
        from cgpot.training.linear.stage import train_linear

        return train_linear(config, output, restart=restart, quiet=quiet)
    folder = Folder(Path(output).resolve())
    folder.path.mkdir(parents=True, exist_ok=True)
    identity = fingerprint(config)
    outcome = Outcome(folder.path)
    if folder.inputs.is_file():
        difference = _difference(read_json(folder.inputs), identity)
        if difference.startswith("versions.") and not restart:
            raise InputError(
                f"the folder was trained with other versions ({difference}); go on with the "
                "versions of inputs.json, or give --restart to train anew",
                file=folder.path,
            )
        if difference and not restart:
            raise InputError(
                f"the folder holds a run with other inputs ({difference}); give another folder, "
                "or --restart to replace it",
                file=folder.path,
            )
        if difference:
            _clear(folder)
        elif _complete(folder):
            outcome.result = read_json(folder.result)
            outcome.skipped = True
            return outcome
    start = time.monotonic()
    frames = _load(config)
    config, warnings = resolve_temperature(config, frames)
    if config.data.noise is not None:
        read_noise(config.data.noise)
    if config.data.report is not None:
        _check_report(config, frames["train"])
    if not folder.inputs.is_file() or not folder.nequip.is_file():
        _prepare(config, folder, frames["train"], quiet=quiet)
        write_json(folder.inputs, identity)
    if not folder.trained.is_file():
        outcome.resumed = folder.last.is_file()
        seconds = _nequip_train(config, folder, resume=outcome.resumed, quiet=quiet)
        write_json(folder.trained, {"seconds": seconds})
    outcome.result = _finish(config, folder, frames, quiet=quiet)
    outcome.result["warnings"] = warnings
    outcome.result["wall_seconds"] = round(time.monotonic() - start, 2)
    write_json(folder.result, outcome.result)
    _manifest(config, folder)
    return outcome


def _difference(old: Any, new: dict[str, Any]) -> str:
    """First thing in which two fingerprints differ, in words."""

    def walk(a: Any, b: Any, path: str) -> str:
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted(set(a) | set(b)):
                found = walk(a.get(key), b.get(key), f"{path}.{key}" if path else key)
                if found:
                    return found
            return ""
        return "" if a == b else f"{path}: {str(a)[:40]} before, {str(b)[:40]} now"

    return walk(old, new, "")


def earlier_fit(folder: Folder, identity: dict[str, Any], *, restart: bool) -> Outcome | None:
    """What a folder holds of the same fit, if it is complete; for fits that do not resume.

    An incomplete result, or with ``restart`` one of other inputs, is removed.

    Raises:
        InputError: the folder holds a run with other inputs, which are named.
    """
    if folder.inputs.is_file():
        difference = _difference(read_json(folder.inputs), identity)
        if difference and not restart:
            raise InputError(
                f"the folder holds a run with other inputs ({difference}); give another folder, "
                "or --restart to replace it",
                file=folder.path,
            )
        if not difference and _complete(folder):
            return Outcome(folder.path, read_json(folder.result), skipped=True)
    for path in (manifest_path(folder.result), folder.result):
        path.unlink(missing_ok=True)
    return None


def _complete(folder: Folder) -> bool:
    if not folder.result.is_file() or not manifest_path(folder.result).is_file():
        return False
    try:
        check_manifest(folder.result, stage=STAGE)
    except ManifestError:
        return False
    return True


def _clear(folder: Folder) -> None:
    """Remove the files of another run (only those that this stage writes)."""
    names = [name for name, value in vars(Folder).items() if isinstance(value, property)]
    files = [getattr(folder, name) for name in names]
    for path in [*files, manifest_path(folder.result)]:
        path.unlink(missing_ok=True)


def _load(config: TrainConfig) -> dict[str, list[CGFrame]]:
    from cgpot.training.dataset import load_frames
    from cgpot.training.selection import select

    stress = config.needs_stress
    energy = config.needs_energy
    every = load_frames(config.data.train, None, stress, need_energy=energy)
    frames = {"train": select(every, config.data.frames, config.data.bootstrap)}
    names = frames["train"][0].topology.type_names
    for name in ("val", "test"):
        path = getattr(config.data, name)
        if path is not None:
            frames[name] = load_frames(path, names, stress, need_energy=energy)
    frames.setdefault("test", frames["val"])
    return frames


def _check_report(config: TrainConfig, frames: list[CGFrame]) -> None:
    """Refuse a report of another system (where it states these facts)."""
    path = config.data.report
    report = read_json(path) if path is not None else {}
    names = report.get("bead_names") if isinstance(report, dict) else None
    if names is not None and tuple(names) != frames[0].topology.type_names:
        raise InputError(
            f"the report is about bead types {list(names)}, the training frames hold "
            f"{list(frames[0].topology.type_names)}",
            file=path,
            key="bead_names",
        )
    temperature = report.get("temperature") if isinstance(report, dict) else None
    if (
        isinstance(temperature, int | float)
        and abs(temperature - config.temperature) > 0.02 * config.temperature
    ):
        raise InputError(
            f"the data are at {temperature:g} K, system.temperature is {config.temperature:g} K",
            file=path,
            key="temperature",
        )


def _prepare(config: TrainConfig, folder: Folder, frames: list[CGFrame], *, quiet: bool) -> None:
    """Fit the base and write nequip's configuration."""
    from cgpot.core.extxyz import write_frames
    from cgpot.training.dataset import neighbours

    sample = frames[:: max(1, len(frames) // 50)]
    mean = float(
        np.mean(
            [neighbours(f, config.model.cutoff)[0].shape[1] / f.topology.n_sites for f in sample]
        )
    )
    facts = DataFacts.of(frames, mean, config.data.state_weights)
    if mean == 0:
        raise DataError(
            f"no site has a neighbour within {config.model.cutoff} Å", file=config.data.train
        )
    if config.needs_stress and not facts.stress_std:
        raise DataError(
            "the stress does not vary over the training frames; expected at least two different "
            "frames",
            file=config.data.train,
        )
    prior = fit_prior(config, frames, facts, quiet=quiet)
    prior.yardstick.write(folder.yardstick)
    if prior.table is not None:
        prior.table.write(folder.pair)
    write_frames(folder.example, frames[:: max(1, len(frames) // 4)][:4])
    record = build(
        config,
        facts,
        folder=folder.path,
        pair_file=folder.pair if prior.table is not None else None,
        pair_range=(prior.table.r_max, prior.table.intervals) if prior.table else None,
    )
    write_nequip(folder.nequip, record)


def command(folder: Folder, *, resume: bool) -> list[str]:
    """The command line of nequip-train."""
    words = [
        sys.executable,
        "-m",
        "nequip.scripts.train",
        "-cp",
        str(folder.path),
        "-cn",
        folder.nequip.name,
    ]
    if resume:
        words.append(f"+ckpt_path='{folder.last}'")
    return words


def _nequip_train(config: TrainConfig, folder: Folder, *, resume: bool, quiet: bool) -> float:
    """Run nequip-train and follow its progress; returns the seconds it took."""
    folder.failure.unlink(missing_ok=True)
    folder.progress.unlink(missing_ok=True)
    start = time.monotonic()
    with open(folder.log, "a" if resume else "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command(folder, resume=resume),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(config.threads),
            cwd=folder.path,
        )
        try:
            _follow(process, folder, quiet)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if folder.failure.is_file():
        record = read_json(folder.failure)
        where = f"epoch {record['epoch']}"
        if record["batch"] is not None:
            where += f", batch {record['batch']}"
        if record.get("frames"):
            listed = [f"{f['index']} (source frame {f['source_frame']})" for f in record["frames"]]
            where += f", training frames {', '.join(listed)}"
        raise DataError(
            f"the {record['stage']} loss became {record['loss']} in {where}; lower "
            "optimiser.learning_rate or set optimiser.gradient_clip (the last good weights are "
            "in checkpoints/last.ckpt)",
            file=folder.path,
        )
    if process.returncode != 0:
        tail = folder.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        raise ToolError(
            f"nequip-train ended with status {process.returncode}:\n" + "\n".join(tail),
            file=folder.log,
        )
    return time.monotonic() - start


def _follow(process: subprocess.Popen[bytes], folder: Folder, quiet: bool) -> None:
    done = 0
    total = None
    curves = LiveCurves(folder.metrics, folder.curves)
    while total is None and process.poll() is None:
        total = _batches(folder)[1]
        time.sleep(0.2)

    def status() -> str:
        return str(read_json(folder.progress).get("status", ""))

    with progress("training", total, quiet=quiet, status=status) as advance:
        while process.poll() is None:
            now = _batches(folder)[0]
            advance(now - done)
            done = now
            curves.update()
            time.sleep(0.2)
        advance((total or done) - done)


def _batches(folder: Folder) -> tuple[int, int | None]:
    if not folder.progress.is_file():
        return 0, None
    record = read_json(folder.progress)
    return int(record["batches"]), int(record["total"])


def _refit(config: TrainConfig, folder: Folder, frames: list[CGFrame], *, quiet: bool) -> PairTable:
    """Refit the pair part beside the network of the best epoch; writes pair_refit.json."""
    from cgpot.training import evaluate as ev
    from cgpot.training.refit import refit_pair

    model = ev.load_model(folder.best)
    with progress("pair refit", len(frames), quiet=quiet) as advance:

        def labels() -> Iterator[tuple[CGFrame, np.ndarray, np.ndarray]]:
            for item in ev.model_labels(model, frames):
                advance(1)
                yield item

        table = refit_pair(
            labels(),
            len(frames),
            PairTable.read(folder.pair),
            temperature=config.temperature,
            smooth=config.prior.smooth,
            match_mean_virial=config.loss.stress not in (None, 0),
        )
    table.write(folder.refit)
    return table


def _finish(
    config: TrainConfig, folder: Folder, frames: dict[str, list[CGFrame]], *, quiet: bool
) -> dict[str, Any]:
    """Evaluate the best epoch on the test frames; write model.ckpt and parity.npz."""
    import shutil

    import torch

    from cgpot.training import evaluate as ev

    torch.set_num_threads(config.threads)
    refitted = None
    if config.prior.type == "spline" and config.prior.refit:
        refitted = _refit(config, folder, frames["train"], quiet=quiet)
        ev.save_checkpoint_with_pair(folder.best, folder.final, refitted.coefficients)
    else:
        with atomic_path(folder.final) as temporary:
            shutil.copyfile(folder.best, temporary)
    model = ev.load_model(folder.final)
    test = frames["test"]
    with progress("evaluating", len(test), quiet=quiet) as advance:

        def network(frame: CGFrame) -> tuple[np.ndarray, np.ndarray]:
            advance(1)
            _, forces, virial = next(ev.model_labels(model, [frame]))
            return forces, virial

        errors, arrays = ev.evaluate(test, network)
    table = PairTable.read(folder.yardstick)
    pair_errors, pair_arrays = ev.evaluate(test, lambda frame: ev.pair_labels(table, frame))
    labels = ev.label_arrays(test)
    ev.save_parity(folder.parity, ev.parity_arrays(labels, arrays, pair_arrays))
    held_out, _ = ev.evaluate(frames["val"], lambda frame: ev.pair_labels(table, frame))
    draw_curves(folder.metrics, folder.curves, pair_force_rmse=held_out["force_rmse"])
    rows = read_table(folder.metrics)
    best = min(rows, key=lambda row: float(row["val_loss"])) if rows else {}
    seconds = sum(float(row["seconds"]) for row in rows)
    visits = len(rows) * len(frames["train"])
    facts = DataFacts.of(frames["train"], 0.0, config.data.state_weights)
    weights = loss_weights(config, facts)
    topology = frames["train"][0].topology
    return {
        "format": RESULT_FORMAT,
        "kind": "network",
        "model": config.model.type,
        "force_rmse": errors["force_rmse"],
        "force_rmse_pair_fit": pair_errors["force_rmse"],
        "force_label_rms": float(np.sqrt(np.mean(labels["force"] ** 2))),
        **floor_record(
            labels["force"],
            arrays["force"],
            test[0].topology.n_sites,
            None if config.data.noise is None else read_noise(config.data.noise),
        ),
        "stress_rmse": errors["stress_rmse"],
        "stress_rmse_pair_fit": pair_errors["stress_rmse"],
        "pressure_residual_bar": errors["pressure_residual_bar"],
        "pressure_residual_bar_pair_fit": pair_errors["pressure_residual_bar"],
        "epochs": len(rows),
        "best_epoch": int(best["epoch"]) if best else None,
        "n_parameters": ev.parameter_count(model),
        "n_train": len(frames["train"]),
        "n_val": len(frames["val"]),
        "n_test": len(test),
        "seconds": round(seconds, 2),
        "frames_per_second": round(visits / seconds, 3) if seconds else None,
        "loss_weights": {
            "forces": weights[0],
            "stress": weights[1],
            "mean_pressure": weights[2],
            "energy": energy_weight(config, facts),
            "per_type": type_weights(config.loss.per_type, facts.type_names, facts.type_force_rms),
        },
        "states": describe_states(frames["train"], config.data.state_weights),
        "temperature_input": dict(zip(("reference", "scale"), facts.temperature, strict=True))
        if config.system.temperature_input and facts.temperature is not None
        else None,
        "bead_names": list(topology.type_names),
        "masses": list(topology.type_masses),
        "cutoff": config.model.cutoff,
        "temperature": config.temperature,
        "density_kg_m3": float(np.mean([frame.density for frame in frames["train"]])),
        "dtype": getattr(config.model, "dtype", None),
        "prior": config.prior.type,
        "refit": refitted.info["refit"] if refitted is not None else None,
    }


def _manifest(config: TrainConfig, folder: Folder) -> None:
    inputs: dict[str, Path] = dict(config.data.files)
    outputs = [
        path
        for path in (
            folder.final,
            folder.pair,
            folder.refit,
            folder.yardstick,
            folder.nequip,
            folder.metrics,
            folder.curves,
            folder.parity,
            folder.example,
        )
        if path.is_file()
    ]
    write_manifest(
        folder.result,
        stage=STAGE,
        inputs=inputs,
        outputs=outputs,
        config=json.loads(config.model_dump_json(exclude={"data"})),
        seed=config.seed,
        extra={"temperature": config.temperature},
    )
