# SPDX-License-Identifier: GPL-2.0-or-later
"""Versions behind a checkpoint or a training folder, against those installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.manifest import package_versions
from cgpot.core.records.training_record import TrainingRecord

RESULT_FORMAT = TrainingRecord.FORMAT

ANALYSIS_FORMAT = "cgpot-analysis-2"
"""Format of analysis.json: since 2 comparisons lie under the name of their observable."""


def series(version: str) -> str:
    """``major.minor`` of a version."""
    return ".".join(version.split("+")[0].split(".")[:2])


def compare(recorded: dict[str, Any], source: str | Path, *, strict: bool = True) -> None:
    """Hold the versions that a checkpoint was made with against those installed.

    Another minor version of nequip may name weights or build networks otherwise: an error
    (a warning if not ``strict``).  Another minor version of torch loads the same weights, with
    results that agree within rounding: a warning.

    Args:
        recorded: package -> version.
        source: named in the message.
        strict: whether another nequip is an error.

    Raises:
        InputError: names both versions and the command that installs the right one.
    """
    installed = package_versions(("nequip", "torch"))
    for name in ("nequip", "torch"):
        old, new = recorded.get(name), installed.get(name)
        if not old or not new or series(str(old)) == series(new):
            continue
        command = f"pip install '{name}=={series(str(old))}.*'"
        message = (
            f"made with {name} {old}, installed is {new}; `{command}` in an environment of its "
            "own, or train again with this version"
        )
        if name == "nequip" and strict:
            raise InputError(message, file=source)
        warnings.warn(f"{source}: {message}", UserWarning, stacklevel=2)


def check_checkpoint(path: str | Path, *, strict: bool = True) -> dict[str, Any]:
    """Read a checkpoint of `cgpot train` or nequip-train and check its versions (`compare`).

    Returns:
        Its hyperparameters.

    Raises:
        InputError: no checkpoint of nequip, damaged, or of another nequip.
    """
    import torch

    file = require_file(path, "checkpoint")
    try:
        record = torch.load(file, map_location="cpu", weights_only=False, mmap=True)
    except Exception as err:  # torch raises pickle, zip, runtime and import errors
        raise InputError(
            f"not a readable checkpoint: {type(err).__name__}: {err}; expected model.ckpt of "
            "`cgpot train`",
            file=file,
        ) from err
    hyper = record.get("hyper_parameters") if isinstance(record, dict) else None
    if not isinstance(hyper, dict) or "model" not in hyper:
        raise InputError(
            "no checkpoint of a NequIP-framework network (no section 'hyper_parameters.model'); "
            "expected model.ckpt of `cgpot train`",
            file=file,
        )
    info = hyper.get("info_dict")
    versions = info.get("versions") if isinstance(info, dict) else None
    compare(versions if isinstance(versions, dict) else {}, file, strict=strict)
    return hyper


def read_result(folder: str | Path) -> TrainingRecord:
    """result.json of a training folder.

    Raises:
        InputError: unfinished training, a folder of another format, or a damaged one.
    """
    file = Path(folder) / "result.json"
    if not file.is_file():
        unfinished = (Path(folder) / "inputs.json").is_file()
        raise InputError(
            "the training is not finished; run the same `cgpot train` command again to go on"
            if unfinished
            else "no result.json; expected a folder of `cgpot train` or its model.ckpt",
            file=folder,
        )
    return TrainingRecord.read(file)
