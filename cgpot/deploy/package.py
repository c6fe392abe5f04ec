# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive `model.nequip.zip` and the compiled `model.nequip.pt2`, each by a process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError, ToolError
from cgpot.core.files import atomic_path, require_file
from cgpot.core.native import built_operators

LOG_LINES = 12


def stand_alone(checkpoint: str | Path, example: str | Path, target: Path) -> Path:
    """Copy a checkpoint so that it needs one example frame instead of the training set.

    Args:
        checkpoint: model.ckpt of `cgpot train`.
        example: example.extxyz beside it.
        target: file to write.

    Raises:
        InputError: not a checkpoint of `cgpot train`.
    """
    import torch

    record = torch.load(
        require_file(checkpoint, "checkpoint"), map_location="cpu", weights_only=False
    )
    try:
        parameters = deepcopy(record["hyper_parameters"])
        data = parameters["info_dict"]["data"]
        dataset = {**data["train_dataset"], "file_path": str(Path(example).resolve())}
        for selection in ("frames", "bootstrap", "bonded_file"):  # of the training set alone
            dataset.pop(selection, None)
        loader: dict[str, Any] = {"_target_": "torch.utils.data.DataLoader"}
        parameters["info_dict"]["data"] = {
            "_target_": data["_target_"],
            "seed": data["seed"],
            "train_dataset": dataset,
            "val_dataset": [dataset],
            "train_dataloader": loader,
            "val_dataloader": dict(loader),
        }
    except (KeyError, TypeError) as err:
        raise InputError(
            f"not a checkpoint of 'cgpot train': {err!r} is missing", file=checkpoint
        ) from err
    record["hyper_parameters"] = parameters
    torch.save(record, target)
    return target


def build_package(checkpoint: str | Path, example: str | Path, output: str | Path) -> Path:
    """Write `model.nequip.zip` from a checkpoint; project code is packed with it.

    Raises:
        ToolError: nequip-package failed (end of its output given).
    """
    with tempfile.TemporaryDirectory(prefix="cgpot-") as scratch:
        copy = stand_alone(checkpoint, example, Path(scratch) / "model.ckpt")
        with atomic_path(output) as temporary:
            _run(["-m", "nequip.scripts.package", "build", str(copy), str(temporary)])
    return Path(output)


def choose(device: str) -> str:
    """How tables are used on a device: ``kernels`` on CPUs where the plugin is built."""
    return "kernels" if device == "cpu" and built_operators() is not None else "torch"


def candidates(device: str) -> tuple[str, ...]:
    """The ways to use tables on a device of which the fastest is to be found by measurement."""
    return ("torch", "triton") if device == "cuda" and has_triton() else (choose(device),)


def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None


def compile_package(
    package: str | Path | Sequence[Path],
    output: str | Path,
    device: str,
    *,
    fast: bool = True,
    tables: str = "auto",
    tf32: bool = False,
    modifiers: Sequence[str] = (),
) -> Path:
    """Write `model.nequip.pt2` for a device (see `cgpot.deploy.target`).

    Args:
        package: `model.nequip.zip`, or those of the members of an ensemble.
        output: file to write.
        device: ``cpu`` or ``cuda``.
        fast: tabulated radial functions and fused kernels, where there are any.
        tables: ``kernels``, ``triton`` or ``torch`` (`cgpot.deploy.acceleration`), or ``auto``.
        tf32: products of matrices in TF32 (``cuda``).
        modifiers: of NequIP, applied to the model before.

    Raises:
        ToolError: no such device, or the compilation failed (end of its output given).
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ToolError(
            "device 'cuda' was asked for, but torch sees none; compile on the machine that "
            "runs the model (the archive .nequip.zip is made for that)"
        )
    with atomic_path(output) as temporary:
        sources = [package] if isinstance(package, (str, Path)) else package
        words = ["-m", "cgpot.deploy.target", *map(str, sources), str(temporary)]
        words += ["--device", device]
        if not fast:
            words.append("--plain")
        elif tables != "auto":
            words += ["--tables", tables]
        if tf32:
            words.append("--tf32")
        if modifiers:
            words += ["--modifiers", *modifiers]
        _run(words)
    return Path(output)


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip().splitlines()[-LOG_LINES:]
        raise ToolError(
            f"'python {' '.join(words[:3])} ...' ended with status {done.returncode}:\n"
            + "\n".join(tail)
        )
