# SPDX-License-Identifier: GPL-2.0-or-later
"""A Slurm job array: one process for every point, or for a teacher with its students."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cgpot.study.points import Point
from cgpot.study.study_run import groups

TEMPLATE = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --time=24:00:00
#SBATCH --output={logs}/%A_%a.log
#SBATCH --signal=B:TERM@60
# Submit with: sbatch {script}
# A task that meets its time limit goes on where it stopped when the array is submitted again.
# When all have ended: {collect}
export OMP_NUM_THREADS={threads}
exec {command} --task-id "$SLURM_ARRAY_TASK_ID" --tasks {tasks}
"""


def slurm_script(
    study: Path, folder: Path, points: Sequence[Point], threads: int, script: Path
) -> str:
    """The text of the script; absolute paths, so that it may be submitted from anywhere.

    Args:
        study: the YAML file.
        folder: of the study.
        points: all points.
        threads: CPUs of a task.
        script: where the script will be.
    """
    tasks = len(groups(points))
    words = [sys.executable, "-m", "cgpot", "study", str(study.resolve())]
    words += ["--folder", str(folder.resolve())]
    command = shlex.join(words)
    return TEMPLATE.format(
        name=f"study-{study.stem}",
        last=tasks - 1,
        tasks=tasks,
        threads=threads,
        logs=shlex.quote(str((folder / "logs").resolve())),
        script=shlex.quote(str(script)),
        command=command,
        collect=f"{command} --collect",
    )
