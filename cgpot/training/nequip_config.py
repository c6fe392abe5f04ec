# SPDX-License-Identifier: GPL-2.0-or-later
"""From `TrainConfig` to the full configuration that `nequip-train` runs as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgpot.core.files import write_text
from cgpot.core.frame import CGFrame
from cgpot.training.config import TrainConfig

HEADER = """\
# Written by `cgpot train`; nequip runs it as it is:
#   nequip-train -cp {folder} -cn {name}
# and goes on after an interruption with
#   nequip-train -cp {folder} -cn {name} +ckpt_path={folder}/checkpoints/last.ckpt
"""


@dataclass(frozen=True)
class DataFacts:
    """What the configuration needs to know about the training frames.

    Attributes:
        type_names: bead types.
        n_frames: training frames.
        n_sites: sites of a frame.
        neighbours: mean number of neighbours within the cutoff.
        force_rms: rms force component, eV/Å.
        stress_std: standard deviation of a stress component over the frames (mean over the six
            components), eV/Å^3; None without stress labels or with a single frame.
    """

    type_names: tuple[str, ...]
    n_frames: int
    n_sites: int
    neighbours: float
    force_rms: float
    stress_std: float | None

    @classmethod
    def of(cls, frames: list[CGFrame], neighbours: float) -> DataFacts:
        """Facts of frames that have forces."""
        square = [float(np.mean(frame.forces**2)) for frame in frames if frame.forces is not None]
        std = None
        if len(frames) > 1 and all(frame.virial is not None for frame in frames):
            upper = np.triu_indices(3)
            stress = np.stack([(0.5 * (f.stress + f.stress.T))[upper] for f in frames])
            std = float(np.sqrt(stress.var(axis=0, ddof=1).mean()))
        return cls(
            type_names=frames[0].topology.type_names,
            n_frames=len(frames),
            n_sites=frames[0].topology.n_sites,
            neighbours=neighbours,
            force_rms=math.sqrt(float(np.mean(square))),
            stress_std=std,
        )


def loss_weights(config: TrainConfig, facts: DataFacts) -> tuple[float, float | None, float]:
    """Weights of the MSE of forces and stress and of the squared mean pressure residual.

    'auto' is the likelihood of independent Gaussian noise with the variances of the labels:
    1/var(F) for the mean over the 3 n force components of a frame, and 6/(3 n)/var(sigma) for
    the mean over the 6 stress components (science: inverse-variance weights per component).
    """
    loss = config.loss
    forces = 1.0 / facts.force_rms**2 if loss.forces == "auto" else float(loss.forces)
    if loss.stress is None or loss.stress == 0:
        return forces, None, 0.0
    if loss.stress == "auto":
        if not facts.stress_std:
            return forces, None, 0.0
        stress = 6.0 / (3.0 * facts.n_sites) / facts.stress_std**2
    else:
        stress = float(loss.stress)
    return forces, stress, loss.mean_pressure * stress


def energy_scale(config: TrainConfig, facts: DataFacts) -> float:
    """Scale of the network's energy per bead, eV (`ModelConfig.energy_scale`)."""
    if config.model.energy_scale != "auto":
        return float(config.model.energy_scale)
    return facts.force_rms * (0.3 if config.prior.type == "spline" else 1.0)


def build(
    config: TrainConfig,
    facts: DataFacts,
    *,
    folder: Path,
    pair_file: Path | None,
    pair_range: tuple[float, int] | None,
) -> dict[str, Any]:
    """The configuration as plain data.

    Args:
        config: validated configuration with absolute paths.
        facts: of the training frames.
        folder: output folder (absolute).
        pair_file: pair.json of the prior, if any.
        pair_range: its cutoff (Å) and number of intervals.
    """
    model = config.model
    optimiser = config.optimiser
    w_forces, w_stress, w_pressure = loss_weights(config, facts)
    steps = math.ceil(facts.n_frames / optimiser.batch_size)
    total = steps * optimiser.epochs

    def reduced(name: str, weight: float, std: float) -> dict[str, Any]:
        metric = {"_target_": "cgpot.training.metrics.ReducedMSE", "std": std}
        return {"name": name, "field": name, "coeff": weight * std**2, "metric": metric}

    losses = [reduced("forces", w_forces, facts.force_rms)]
    std = facts.stress_std or 1.0
    if w_stress is not None:
        losses.append(reduced("stress", w_stress, std))
    held_out = [dict(item) for item in losses]
    if w_pressure > 0:
        metric = {"_target_": "cgpot.training.metrics.MeanPressureLoss", "std": std}
        losses.append({"name": "mean_pressure", "coeff": w_pressure * std**2, "metric": metric})
    rmse = {"_target_": "nequip.train.RootMeanSquaredError"}
    held_out.append({"name": "force_rmse", "field": "forces", "metric": dict(rmse)})
    if w_stress is not None:
        held_out.append({"name": "stress_rmse", "field": "stress", "metric": dict(rmse)})
        for what, name in (("mean", ""), ("error", "_error")):
            metric = {"_target_": "cgpot.training.metrics.PressureResidual", "what": what}
            held_out.append({"name": f"pressure_residual{name}_bar", "metric": metric})

    def dataset(path: Path) -> dict[str, Any]:
        return {
            "_target_": "cgpot.training.dataset.CGDataset",
            "file_path": str(path),
            "r_max": model.cutoff,
            "type_names": list(facts.type_names),
            "need_stress": w_stress is not None,
        }

    network: dict[str, Any] = {
        "_target_": "cgpot.training.builders.CGNequIPModel",
        "readout_start": model.readout_start,
        "seed": config.seed,
        "model_dtype": model.dtype,
        "compile_mode": "compile" if config.compile else "eager",
        "type_names": list(facts.type_names),
        "r_max": model.cutoff,
        "num_layers": model.layers,
        "l_max": model.l_max,
        "parity": model.parity,
        "num_features": model.features,
        "num_bessels": model.bessels,
        "polynomial_cutoff_p": model.polynomial_cutoff,
        "radial_mlp_depth": model.radial_depth,
        "radial_mlp_width": model.radial_width,
        "readout_mlp_hidden_layers_depth": model.readout_depth,
        "avg_num_neighbors": round(facts.neighbours, 6),
        "per_type_energy_scales": round(energy_scale(config, facts), 9),
        "per_type_energy_shifts": 0.0,
    }
    if pair_file is not None and pair_range is not None:
        network["pair_potential"] = {
            "_target_": "cgpot.training.modules.PairSpline",
            "pair_file": str(pair_file),
            "r_max": pair_range[0],
            "intervals": pair_range[1],
        }

    callbacks: list[dict[str, Any]] = [
        {
            "_target_": "cgpot.training.lightning.FiniteLoss",
            "report": str(folder / "failure.json"),
        },
        {
            "_target_": "cgpot.training.lightning.ProgressFile",
            "path": str(folder / "progress.json"),
        },
    ]
    if optimiser.patience is not None:
        callbacks.append(
            {
                "_target_": "lightning.pytorch.callbacks.EarlyStopping",
                "monitor": "val0_epoch/weighted_sum",
                "patience": optimiser.patience,
                "min_delta": 0.0,
            }
        )
    callbacks.append(
        {
            "_target_": "cgpot.training.lightning.EpochTable",
            "path": str(folder / "metrics.csv"),
        }
    )
    callbacks.append(
        {
            "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
            "dirpath": str(folder / "checkpoints"),
            "filename": "best",
            "monitor": "val0_epoch/weighted_sum",
            "save_top_k": 1,
            "save_last": True,
            "save_on_train_epoch_end": True,
            "enable_version_counter": False,
        }
    )

    if optimiser.weight_decay > 0:
        descent = {"_target_": "torch.optim.AdamW", "weight_decay": optimiser.weight_decay}
    else:
        descent = {"_target_": "torch.optim.Adam"}
    descent["lr"] = optimiser.learning_rate

    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": optimiser.batch_size}
    trainer: dict[str, Any] = {
        "_target_": "lightning.Trainer",
        "accelerator": config.accelerator,
        "devices": 1,
        "max_epochs": optimiser.epochs,
        "check_val_every_n_epoch": 1,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
        "callbacks": callbacks,
    }
    if optimiser.gradient_clip is not None:
        trainer["gradient_clip_val"] = optimiser.gradient_clip
    return {
        "hydra": {
            "run": {"dir": str(folder / "log")},
            "output_subdir": None,
            "job": {"chdir": False},
        },
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.NequIPDataModule",
            "seed": config.seed,
            "train_dataset": dataset(config.data.train),
            "val_dataset": [dataset(config.data.val)],
            "train_dataloader": {
                **loader,
                "_target_": "cgpot.training.dataset.shuffled_loader",
                "seed": config.seed,
            },
            "val_dataloader": dict(loader),
        },
        "trainer": trainer,
        "training_module": {
            "_target_": "cgpot.training.lightning.CGTrainingModule",
            "ema_decay": optimiser.ema_decay,
            "loss": {"_target_": "nequip.train.MetricsManager", "metrics": losses},
            "val_metrics": {"_target_": "nequip.train.MetricsManager", "metrics": held_out},
            "optimizer": descent,
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "cgpot.training.schedule.WarmupSchedule",
                    "total_steps": total,
                    "warmup_steps": round(optimiser.warmup * total),
                    "final": optimiser.final_rate,
                    "kind": optimiser.schedule,
                },
                "interval": "step",
                "frequency": 1,
            },
            "model": network,
        },
    }


def write(path: Path, record: dict[str, Any]) -> Path:
    """Write the configuration as YAML with a header that says how to run it."""
    header = HEADER.format(folder=path.parent, name=path.name)
    return write_text(path, header + yaml.safe_dump(record, sort_keys=False))
