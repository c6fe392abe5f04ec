# SPDX-License-Identifier: GPL-2.0-or-later
"""From `TrainConfig` to the full configuration that `nequip-train` runs as it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from cgpot.core.errors import DataError
from cgpot.core.files import write_text
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.weights import type_weights
from cgpot.training.network.model_section import network_record
from cgpot.training.settings.machine_settings import logger_names, trainer_options
from cgpot.training.settings.train_settings import TrainConfig

HEADER = """\
# Written by `cgpot train`; nequip runs it as it is:
#   nequip-train -cp {folder} -cn {name}
# and goes on after an interruption with
#   nequip-train -cp {folder} -cn {name} +ckpt_path={folder}/checkpoints/last.ckpt
"""


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


def energy_weight(config: TrainConfig, facts: DataFacts) -> float | None:
    """Weight of the MSE of the energy per bead, eV^-2; None without an energy loss.

    'auto' is 1/(3 n)/var(E/n): the likelihood as in `loss_weights`, one energy per frame.

    Raises:
        DataError: 'auto', and the energies do not vary.
    """
    wanted = config.loss.energy
    if not wanted:
        return None
    if wanted != "auto":
        return float(wanted)
    if not facts.energy_std:
        raise DataError(
            "loss.energy is 'auto', but the energies of the training frames do not vary",
            file=config.data.train,
        )
    return 1.0 / (3.0 * facts.n_sites) / facts.energy_std**2


def slope_weight(config: TrainConfig, facts: DataFacts) -> float | None:
    """Weight of the squared covariance of pressure residuals and density, as that of the stress.

    Raises:
        DataError: the training frames are of one density.
    """
    _, stress, _ = loss_weights(config, facts)
    if not config.loss.slope or stress is None:
        return None
    if not facts.density_std > 0:
        raise DataError(
            "loss.slope is given, but the density of the training frames does not vary; expected "
            "frames of an NPT run or of several densities",
            file=config.data.train,
        )
    return config.loss.slope * stress


def build(
    config: TrainConfig,
    facts: DataFacts,
    *,
    folder: Path,
    pair_file: Path | None,
    pair_range: tuple[float, int] | None,
    density_file: Path | None = None,
    density_range: tuple[float, int] | None = None,
    pairs: str = "all",
    bonded_file: Path | None = None,
) -> dict[str, Any]:
    """The configuration as plain data.

    Args:
        config: validated configuration with absolute paths.
        facts: of the training frames.
        folder: output folder (absolute).
        pair_file: pair.json of the prior, if any.
        pair_range: its cutoff (Å) and number of intervals.
        density_file: density.json of the prior, if any.
        density_range: its cutoff (Å) and number of intervals.
        pairs: which pairs of sites the network sees (`cgpot.molecules.exclusions.SEEN_PAIRS`).
        bonded_file: bonded_fit.json, whose forces and virial are taken from the labels, if any.
    """
    model = config.model
    optimiser = config.optimiser
    w_forces, w_stress, w_pressure = loss_weights(config, facts)
    steps = math.ceil(facts.n_frames / optimiser.batch_size)
    total = steps * optimiser.epochs

    w_energy = energy_weight(config, facts)
    by_type = type_weights(config.loss.per_type, facts.type_names, facts.type_force_rms)

    def reduced(name: str, weight: float, std: float) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": name, "coeff": weight * std**2}
        if name == "forces" and by_type is not None:
            options = {"field": name, "type_weights": by_type}
        elif facts.weighted:
            options = {"field": name}
        else:
            metric = {"_target_": "cgpot.training.network.metrics.ReducedMSE", "std": std}
            return {**entry, "field": name, "metric": metric}
        target = "cgpot.training.network.metrics.WeightedMSE"
        return {**entry, "metric": {"_target_": target, "std": std, **options}}

    losses = [reduced("forces", w_forces, facts.force_rms)]
    std = facts.stress_std or 1.0
    if w_stress is not None:
        losses.append(reduced("stress", w_stress, std))
    if w_energy is not None:
        spread = facts.energy_std or 1.0
        metric = {"_target_": "cgpot.training.network.metrics.EnergyDifferenceMSE", "std": spread}
        losses.append({"name": "energy", "coeff": w_energy * spread**2, "metric": metric})
    held_out = [dict(item) for item in losses]
    if w_pressure > 0:
        metric = {"_target_": "cgpot.training.network.metrics.MeanPressureLoss", "std": std}
        losses.append({"name": "mean_pressure", "coeff": w_pressure * std**2, "metric": metric})
    w_slope = slope_weight(config, facts)
    if w_slope is not None:
        metric = {
            "_target_": "cgpot.training.network.metrics.PressureSlopeLoss",
            "std": std,
            "density_std": facts.density_std,
            "masses": list(facts.type_masses),
        }
        losses.append({"name": "slope", "coeff": w_slope * std**2, "metric": metric})
    rmse = {"_target_": "nequip.train.RootMeanSquaredError"}
    held_out.append({"name": "force_rmse", "field": "forces", "metric": dict(rmse)})
    if w_stress is not None:
        held_out.append({"name": "stress_rmse", "field": "stress", "metric": dict(rmse)})
        for what, name in (("mean", ""), ("error", "_error")):
            metric = {"_target_": "cgpot.training.network.metrics.PressureResidual", "what": what}
            held_out.append({"name": f"pressure_residual{name}_bar", "metric": metric})

    extras: dict[str, Any] = {}
    if w_energy is not None:
        extras["need_energy"] = True
    if config.system.temperature_input:
        extras["need_temperature"] = True
    if facts.weighted:
        extras["state_weights"] = config.data.state_weights
    if pairs != "all":
        extras["pairs"] = pairs
    if bonded_file is not None:
        extras["bonded_file"] = str(bonded_file)

    def dataset(path: Path, **selection: int | None) -> dict[str, Any]:
        return {
            "_target_": "cgpot.training.folder.graph_frames.CGDataset",
            "file_path": str(path),
            "r_max": model.cutoff,
            "type_names": list(facts.type_names),
            "need_stress": w_stress is not None,
            **extras,
            **{name: value for name, value in selection.items() if value is not None},
        }

    network = network_record(config, facts)
    if config.system.temperature_input and facts.temperature is not None:
        network["temperature_reference"], network["temperature_scale"] = facts.temperature
    if pair_file is not None and pair_range is not None:
        pair = {
            "pair_file": str(pair_file),
            "r_max": pair_range[0],
            "intervals": pair_range[1],
            **({} if pairs == "all" else {"sees": pairs}),
        }
        network["pair_potential"] = {
            "_target_": "cgpot.training.network.pair_module.PairSpline",
            **pair,
        }
        if density_file is not None and density_range is not None:
            network["pair_potential"] = {
                "_target_": "cgpot.training.network.local_density_module.PairAndDensity",
                "pair": pair,
                "density": {
                    "density_file": str(density_file),
                    "cutoff": density_range[0],
                    "intervals": density_range[1],
                },
            }

    callbacks: list[dict[str, Any]] = [
        {
            "_target_": "cgpot.training.network.lightning_module.FiniteLoss",
            "report": str(folder / "failure.json"),
        },
        {
            "_target_": "cgpot.training.network.lightning_module.ProgressFile",
            "path": str(folder / "progress.json"),
        },
    ]
    if config.precision.tf32:
        callbacks.append(
            {"_target_": "nequip.train.callbacks.TF32Scheduler", "schedule": {0: True}}
        )
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
            "_target_": "cgpot.training.network.lightning_module.EpochTable",
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

    loader = {"batch_size": optimiser.batch_size // config.devices}
    trainer: dict[str, Any] = {
        "_target_": "lightning.Trainer",
        "accelerator": config.accelerator,
        "max_epochs": optimiser.epochs,
        "check_val_every_n_epoch": 1,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
        "callbacks": callbacks,
    }
    trainer.update(
        trainer_options(
            devices=config.devices,
            precision=config.precision,
            loggers=logger_names(config.logger),
            folder=folder,
        )
    )
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
            "train_dataset": dataset(
                config.data.train, frames=config.data.frames, bootstrap=config.data.bootstrap
            ),
            "val_dataset": [dataset(config.data.val)],
            "train_dataloader": {
                **loader,
                "_target_": "cgpot.training.folder.graph_frames.shuffled_loader",
                "seed": config.seed,
            },
            "val_dataloader": {
                **loader,
                "_target_": "cgpot.training.folder.graph_frames.ordered_loader",
            },
        },
        "trainer": trainer,
        "training_module": {
            "_target_": "cgpot.training.network.lightning_module.CGTrainingModule",
            "ema_decay": optimiser.ema_decay,
            "loss": {"_target_": "nequip.train.MetricsManager", "metrics": losses},
            "val_metrics": {"_target_": "nequip.train.MetricsManager", "metrics": held_out},
            "optimizer": descent,
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "cgpot.training.network.schedule.WarmupSchedule",
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
