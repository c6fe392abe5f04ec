# SPDX-License-Identifier: GPL-2.0-or-later
"""The training stage: fit the base, write nequip's configuration, train, evaluate."""

from __future__ import annotations

import time
from pathlib import Path

from cgpot.core.files import write_json
from cgpot.training.evaluation.noise_floor import read_noise
from cgpot.training.folder.fingerprint import earlier_run, fingerprint
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.states import resolve_temperature
from cgpot.training.folder.subsets import check_report, load_subsets
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import write_result
from cgpot.training.network.nequip_process import run_nequip
from cgpot.training.network.preparation import prepare
from cgpot.training.network.trained_network import finish, outputs
from cgpot.training.settings.train_settings import TrainConfig

__all__ = ["Folder", "Outcome", "train"]


def train(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> Outcome:
    """Run the stage, or go on where an interrupted run ended.

    Args:
        config: from `cgpot.training.settings.train_settings.load_config`.
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
        from cgpot.training.linear.mscg_stage import train_linear

        return train_linear(config, output, restart=restart, quiet=quiet)
    folder = Folder(Path(output).resolve())
    folder.path.mkdir(parents=True, exist_ok=True)
    identity = fingerprint(config)
    earlier = earlier_run(folder, identity, restart=restart)
    if earlier is not None:
        return earlier
    outcome = Outcome(folder.path)
    start = time.monotonic()
    frames = load_subsets(config)
    config, warnings = resolve_temperature(config, frames)
    if config.data.noise is not None:
        read_noise(config.data.noise)
    check_report(config, frames["train"])
    if not folder.inputs.is_file() or not folder.nequip.is_file():
        prepare(config, folder, frames["train"], quiet=quiet)
        write_json(folder.inputs, identity)
    if not folder.trained.is_file():
        outcome.resumed = folder.last.is_file()
        seconds = run_nequip(config, folder, resume=outcome.resumed, quiet=quiet)
        write_json(folder.trained, {"seconds": seconds})
    outcome.result = finish(config, folder, frames, quiet=quiet)
    outcome.result["warnings"] = warnings
    outcome.result["wall_seconds"] = round(time.monotonic() - start, 2)
    write_result(config, folder, outcome.result, outputs(folder))
    return outcome
