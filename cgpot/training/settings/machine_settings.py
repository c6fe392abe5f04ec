# SPDX-License-Identifier: GPL-2.0-or-later
"""Where and how a training runs: devices, precision, loggers and the cache of compiled code."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cgpot.core.config import StrictModel

LoggerName = Literal["none", "tensorboard", "wandb", "wandb-offline"]
CACHE = "TORCHINDUCTOR_CACHE_DIR"

_PACKAGES = {
    "tensorboard": (("tensorboard", "tensorboardX"), "pip install tensorboard"),
    "wandb": (("wandb",), "pip install wandb"),
    "wandb-offline": (("wandb",), "pip install wandb"),
}


class PrecisionConfig(StrictModel):
    """Arithmetic cheaper than that of ``model.dtype``."""

    tf32: bool = Field(
        default=False,
        description="TF32 tensor cores for float32 products (GPU): 10 bits of mantissa",
    )
    mixed: Literal["none", "bf16"] = Field(
        default="none",
        description="bf16: matrix products of the training steps in bfloat16 (autocast), "
        "weights in float32; SchNet only, eager",
    )


def check_precision(
    precision: PrecisionConfig, *, model: str, dtype: str | None, gpu: bool, compiled: bool
) -> None:
    """Refuse combinations that do not work or mean nothing.

    Args:
        precision: the section.
        model: type of the model.
        dtype: its precision; None for models that are no networks.
        gpu: whether it trains on a GPU.
        compiled: whether the steps are compiled.

    Raises:
        ValueError: names the key and what to do.
    """
    if precision.tf32 and not gpu:
        raise ValueError("precision.tf32 is of GPUs; set accelerator: gpu, or tf32: false")
    for name, on in (("tf32: true", precision.tf32), ("mixed: bf16", precision.mixed != "none")):
        if on and dtype != "float32":
            raise ValueError(
                f"precision.{name} needs model.dtype float32, found {dtype or 'no network'}"
            )
    if precision.mixed != "none":
        if model != "schnet":
            raise ValueError(
                f"precision.mixed: bf16 works with model.type schnet, found {model!r}: tensor "
                "products of e3nn refuse mixed precision (precision.tf32 is for them)"
            )
        if compiled:
            raise ValueError("precision.mixed: bf16 needs compile: false")


def logger_names(logger: LoggerName | Sequence[LoggerName]) -> list[str]:
    """The loggers asked for, each once, without ``none``."""
    names = [logger] if isinstance(logger, str) else list(logger)
    return [name for name in dict.fromkeys(names) if name != "none"]


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers whose package is not installed.

    Raises:
        ValueError: names the package and how to install it.
    """
    if {"wandb", "wandb-offline"} <= set(names):
        raise ValueError("logger: give wandb or wandb-offline, not both")
    for name in names:
        modules, command = _PACKAGES[name]
        if not any(importlib.util.find_spec(module) for module in modules):
            raise ValueError(
                f"logger {name!r} needs the package {modules[0]}, which is not installed; "
                f"`{command}`, or set logger: none (metrics.csv is always written)"
            )


def logger_records(names: Sequence[str], folder: Path) -> list[dict[str, Any]] | bool:
    """Lightning's loggers for nequip's configuration; False for none.

    Args:
        names: of `logger_names`.
        folder: output folder of the training.
    """
    target = "lightning.pytorch.loggers."
    records: list[dict[str, Any]] = []
    for name in names:
        if name == "tensorboard":
            records.append(
                {
                    "_target_": target + "TensorBoardLogger",
                    "save_dir": str(folder),
                    "name": "tensorboard",
                    "version": "",
                    "default_hp_metric": False,
                }
            )
        else:
            records.append(
                {
                    "_target_": target + "WandbLogger",
                    "save_dir": str(folder),
                    "project": "cgpot",
                    "name": folder.name,
                    "id": re.sub(r"[^A-Za-z0-9_-]", "-", str(folder).strip("/"))[-64:],
                    "resume": "allow",
                    "offline": name == "wandb-offline",
                }
            )
    return records or False


def trainer_options(
    *, devices: int, precision: PrecisionConfig, loggers: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Arguments of `lightning.Trainer` for devices, precision and loggers.

    More than one device: `nequip.train.SimpleDDPStrategy` (gradients averaged by hand, so that
    compiled steps work too); the frames are dealt out by `graph_frames`, not by
    Lightning, so that a step sees the same frames on any number of devices.
    """
    options: dict[str, Any] = {"devices": devices, "logger": logger_records(loggers, folder)}
    if loggers:
        options["log_every_n_steps"] = 10
    if devices > 1:
        options["strategy"] = {"_target_": "nequip.train.SimpleDDPStrategy"}
        options["use_distributed_sampler"] = False
    if precision.mixed == "bf16":
        options["precision"] = "bf16-mixed"
    return options


def environment(threads: int) -> dict[str, str]:
    """Environment of nequip-train: threads, and a cache of compiled code that lasts.

    torch keeps compiled graphs under the temporary folder of the machine; here they go to
    ``$XDG_CACHE_HOME/cgpot/inductor`` (default ~/.cache), so that the trainings of a study
    that share a model compile once.  `TORCHINDUCTOR_CACHE_DIR` set by the user is kept.
    """
    result = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        result[name] = str(threads)
    if CACHE not in result:
        root = Path(result.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        result[CACHE] = str(root / "cgpot" / "inductor")
    result.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    result.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")
    return result
