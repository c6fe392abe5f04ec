# SPDX-License-Identifier: GPL-2.0-or-later
"""What decides the result of a training, to know a folder of the same run again."""

from __future__ import annotations

import json
from typing import Any

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, sha256_file
from cgpot.core.manifest import manifest_path, package_versions
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.training_folder import Folder
from cgpot.training.settings.train_settings import TrainConfig


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


def difference(old: Any, new: dict[str, Any]) -> str:
    """First thing in which two fingerprints differ, in words; empty where they are alike."""

    def walk(a: Any, b: Any, path: str) -> str:
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted(set(a) | set(b)):
                found = walk(a.get(key), b.get(key), f"{path}.{key}" if path else key)
                if found:
                    return found
            return ""
        return "" if a == b else f"{path}: {str(a)[:40]} before, {str(b)[:40]} now"

    return walk(old, new, "")


def earlier_run(folder: Folder, identity: dict[str, Any], *, restart: bool) -> Outcome | None:
    """What a folder holds of the same run, if it is complete.

    With ``restart`` the files of a run with other inputs are removed.

    Raises:
        InputError: the folder holds a run with other inputs or versions, which are named.
    """
    if not folder.inputs.is_file():
        return None
    found = difference(read_json(folder.inputs), identity)
    if found.startswith("versions.") and not restart:
        raise InputError(
            f"the folder was trained with other versions ({found}); go on with the "
            "versions of inputs.json, or give --restart to train anew",
            file=folder.path,
        )
    if found and not restart:
        raise InputError(
            f"the folder holds a run with other inputs ({found}); give another folder, "
            "or --restart to replace it",
            file=folder.path,
        )
    if found:
        folder.clear()
    elif folder.is_complete:
        return Outcome(folder.path, read_json(folder.result), skipped=True)
    return None


def earlier_fit(folder: Folder, identity: dict[str, Any], *, restart: bool) -> Outcome | None:
    """As `earlier_run`, for fits that do not resume: an incomplete result is removed.

    Args:
        folder: of the fit.
        identity: its `fingerprint`, without what does not decide the result of such a fit.
        restart: replace a result of other inputs.

    Raises:
        InputError: the folder holds a run with other inputs, which are named.
    """
    earlier = earlier_run(folder, identity, restart=restart)
    if earlier is None:
        for path in (manifest_path(folder.result), folder.result):
            path.unlink(missing_ok=True)
    return earlier
