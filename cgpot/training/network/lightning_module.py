# SPDX-License-Identifier: GPL-2.0-or-later
"""nequip's training module, with checkpoints that stand alone, and the run's callbacks."""

from __future__ import annotations

import csv
import math
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from nequip.data import AtomicDataDict
from nequip.train import EMALightningModule

from cgpot.core.files import atomic_path, write_json
from cgpot.potential.graph_keys import OFFSET_KEY

BASE_FILES = ("pair_file", "density_file")
COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_force_chi2",
    "train_stress_chi2",
    "val_loss",
    "val_force_rmse",
    "val_stress_rmse",
    "val_pressure_residual_bar",
    "val_pressure_residual_error_bar",
    "seconds",
)
"""Columns of metrics.csv; forces in eV/Å, stress in eV/Å^3; chi2: mean square error
in units of the variance of the labels; empty where there is no label."""

_SOURCES = {
    "train_loss": "train_loss_epoch/weighted_sum",
    "train_force_chi2": "train_loss_epoch/forces",
    "train_stress_chi2": "train_loss_epoch/stress",
    "val_loss": "val0_epoch/weighted_sum",
    "val_force_rmse": "val0_epoch/force_rmse",
    "val_stress_rmse": "val0_epoch/stress_rmse",
    "val_pressure_residual_bar": "val0_epoch/pressure_residual_bar",
    "val_pressure_residual_error_bar": "val0_epoch/pressure_residual_error_bar",
}


class CGTrainingModule(EMALightningModule):
    """nequip's module with moving averages; its checkpoints need no file beside them.

    The coefficients of the base are in the state dict, so the paths of the files that they were
    read from are taken out of the saved hyperparameters.
    """

    def forward(self, inputs: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The model's output; the stress of molecules of several sites is molecular."""
        return molecular_stress(super().forward(inputs), inputs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the checkpoint independent of pair.json and density.json."""
        super().on_save_checkpoint(checkpoint)
        key = "hyper_parameters"
        checkpoint[key] = without_base_files(deepcopy(dict(checkpoint[key])))


def molecular_stress(
    output: AtomicDataDict.Type, inputs: AtomicDataDict.Type
) -> AtomicDataDict.Type:
    """Make the stress of the output molecular, as its label is (`graph_frames.to_data`).

    sigma_mol = sigma + sum_i s_i F_i / V, symmetric (`cgpot.molecules.molecular_virial`).
    """
    offsets = inputs.get(OFFSET_KEY)
    if offsets is None or AtomicDataDict.STRESS_KEY not in output:
        return output
    stress = output[AtomicDataDict.STRESS_KEY]
    forces = output[AtomicDataDict.FORCE_KEY].to(stress.dtype)
    each = torch.einsum("ia,ib->iab", offsets.to(stress.dtype), forces)
    batch = inputs[AtomicDataDict.BATCH_KEY].view(-1)
    inner = torch.zeros_like(stress).index_add(0, batch, each)
    volume = torch.linalg.det(inputs[AtomicDataDict.CELL_KEY].to(stress.dtype)).abs()
    inner = 0.5 * (inner + inner.transpose(1, 2)) / volume.view(-1, 1, 1)
    return {**output, AtomicDataDict.STRESS_KEY: stress + inner}


def without_base_files(value: Any) -> Any:
    """Plain data without the files of the base (cutoffs and intervals stay)."""
    if isinstance(value, dict):
        return {k: without_base_files(v) for k, v in value.items() if k not in BASE_FILES}
    if isinstance(value, list):
        return [without_base_files(v) for v in value]
    return value


class LossNotFinite(RuntimeError):
    """The loss became NaN or infinite."""


class FiniteLoss(Callback):
    """Stop at the first loss that is not finite, before it reaches the weights.

    Args:
        report: JSON file that names the epoch and the batch.
    """

    def __init__(self, report: str) -> None:
        self.report = Path(report)
        self.batch = 0

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self.batch = batch_idx

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        """Check the loss of the batch."""
        value = float(loss.detach())
        if not math.isfinite(value):
            self._stop(trainer.current_epoch, self.batch, value, "training", self._frames(trainer))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Check the loss on the held-out frames."""
        value = float(trainer.callback_metrics.get(_SOURCES["val_loss"], 0.0))
        if not math.isfinite(value):
            self._stop(trainer.current_epoch, None, value, "validation")

    def _frames(self, trainer: Any) -> list[dict[str, Any]]:
        """The frames of the batch: place among the training frames and source frame."""
        loader = getattr(trainer, "train_dataloader", None)
        frames = getattr(getattr(loader, "dataset", None), "frames", None)
        if loader is None or frames is None or not loader.batch_size:
            return []
        order = list(loader.sampler)  # decided by seed and epoch alone
        chosen = order[self.batch * loader.batch_size : (self.batch + 1) * loader.batch_size]
        return [{"index": int(k), "source_frame": frames[k].source_frame} for k in chosen]

    def _stop(
        self,
        epoch: int,
        batch: int | None,
        value: float,
        stage: str,
        frames: list[dict[str, Any]] | None = None,
    ) -> None:
        record = {
            "epoch": epoch,
            "batch": batch,
            "loss": str(value),
            "stage": stage,
            "frames": frames or [],
        }
        write_json(self.report, record)
        raise LossNotFinite(f"{stage} loss is {value} in epoch {epoch}, batch {batch}")


class EpochTable(Checkpoint):
    """Write metrics.csv, a row an epoch; after a restart the table goes on where it was.

    A `Checkpoint` in Lightning's sense only so that it runs after the epoch's metrics exist.

    Args:
        path: the CSV file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._start = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Drop rows of epochs that are run again."""
        if trainer.is_global_zero:
            rows = read_table(self.path)
            self._write([row for row in rows if int(row["epoch"]) < trainer.current_epoch])

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Append the row of the epoch."""
        if not trainer.is_global_zero:
            return
        row: dict[str, str] = {
            "epoch": str(trainer.current_epoch),
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.6e}",
            "seconds": f"{time.monotonic() - self._start:.3f}",
        }
        for column, source in _SOURCES.items():
            value = trainer.callback_metrics.get(source)
            row[column] = "" if value is None else f"{float(value):.8g}"
        rows = [r for r in read_table(self.path) if int(r["epoch"]) != trainer.current_epoch]
        self._write([*rows, row])

    def _write(self, rows: list[dict[str, str]]) -> None:
        with (
            atomic_path(self.path) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of metrics.csv; none when there is no such file."""
    p = Path(path)
    if not p.is_file():
        return []
    with open(p, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class ProgressFile(Callback):
    """Say in a small JSON file how far the run is, for the process that waits for it.

    Args:
        path: the file: batches done, all batches, and the latest losses in words.
        interval: seconds between updates.
    """

    def __init__(self, path: str, interval: float = 1.0) -> None:
        self.path = Path(path)
        self.interval = interval
        self._last = 0.0
        self._loss = math.nan

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the number of batches done."""
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last >= self.interval:
            self._last = now
            batches = int(trainer.num_training_batches)
            done = trainer.current_epoch * batches + batch_idx + 1
            record = {
                "batches": done,
                "total": trainer.max_epochs * batches,
                "status": self._status(trainer, outputs),
            }
            write_json(self.path, record)

    def _status(self, trainer: Any, outputs: Any) -> str:
        """Training loss (mean of the last updates) and the force RMSE on held-out frames."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        words = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        if loss is not None:
            value = float(loss) / max(1, int(trainer.world_size))
            old = self._loss if math.isfinite(self._loss) else value
            self._loss = 0.8 * old + 0.2 * value
            words.append(f"loss {self._loss:.4f}")
        rmse = trainer.callback_metrics.get(_SOURCES["val_force_rmse"])
        if rmse is not None:
            words.append(f"val force rmse {float(rmse):.4f}")
        return ", ".join(words)
