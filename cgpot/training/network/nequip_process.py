# SPDX-License-Identifier: GPL-2.0-or-later
"""The process of nequip-train: its command line, its progress and how it ended."""

from __future__ import annotations

import subprocess
import sys
import time

from cgpot.core.errors import DataError, ToolError
from cgpot.core.files import read_json
from cgpot.core.progress import progress
from cgpot.training.folder.training_folder import Folder
from cgpot.training.network.loss_curves import LiveCurves
from cgpot.training.settings.machine_settings import environment
from cgpot.training.settings.train_settings import TrainConfig


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


def run_nequip(config: TrainConfig, folder: Folder, *, resume: bool, quiet: bool) -> float:
    """Run nequip-train and follow its progress; returns the seconds it took.

    Args:
        config: of a network.
        folder: prepared (`cgpot.training.network.preparation.prepare`).
        resume: go on from the checkpoint of the last finished epoch.
        quiet: no progress bar.

    Raises:
        DataError: the loss became NaN (epoch, batch and frames are named).
        ToolError: nequip-train failed.
    """
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
