# SPDX-License-Identifier: GPL-2.0-or-later
"""The course of a linear training: read the frames, fit, evaluate, write result.json.

What differs from model to model is a function that fits and writes the files of the potential.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgpot.core.files import write_json
from cgpot.core.records import TrainingRecord
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Potential
from cgpot.training.folder.fingerprint import earlier_fit, fingerprint
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.states import resolve_temperature
from cgpot.training.folder.subsets import charge_warnings, check_report, load_subsets
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import counts, examples, system, write_result
from cgpot.training.linear.fitted import FittedPotential, evaluate_potential
from cgpot.training.settings.train_settings import TrainConfig


@dataclass(frozen=True)
class LinearFit:
    """What a fit gives.

    Attributes:
        potential: the fitted potential.
        yardstick: pair fit of the same frames, by the forces alone, beside bonded terms.
        cutoff: Å; how far it reaches.
        files: what was written for it.
        lammps: LAMMPS's files (names) and commands.
        facts: further keys of result.json.
    """

    potential: FittedPotential
    yardstick: Potential
    cutoff: float
    files: list[Path]
    lammps: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


Fit = Callable[[TrainConfig, Folder, list[CGFrame]], LinearFit]
"""Fits to the training frames and writes the potential's files into the folder."""


def train_with(
    fit: Fit,
    config: TrainConfig,
    output: str | Path,
    *,
    unused: Sequence[str] = (),
    restart: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Fit a linear model and evaluate it on held-out frames; a complete folder is left alone.

    Args:
        fit: of the model.
        config: with the model's section ``model``.
        output: folder for all files.
        unused: sections of train.yaml that the model does not use; they may change without
            another fit.
        restart: replace what was fitted from other inputs.
        quiet: no progress bars.

    Raises:
        InputError: labels missing, bead names that differ, or a folder of another run.
        DataError: too few pairs or a singular system.
    """
    folder = Folder(Path(output).resolve())
    folder.path.mkdir(parents=True, exist_ok=True)
    identity = fingerprint(config)
    identity.pop("versions", None)
    identity["config"] = {k: v for k, v in identity["config"].items() if k not in unused}
    earlier = earlier_fit(folder, identity, restart=restart)
    if earlier is not None:
        return earlier
    start = time.monotonic()
    frames = load_subsets(config)
    config, warnings = resolve_temperature(config, frames)
    train = frames["train"]
    warnings += charge_warnings(config, train)
    check_report(config, train)
    found = fit(config, folder, train)
    seconds = time.monotonic() - start
    write_frames(folder.example, examples(train))
    figures = evaluate_potential(
        found.potential,
        found.yardstick,
        frames["test"],
        folder.parity,
        temperature=config.temperature,
        quiet=quiet,
    )
    result = {
        "format": TrainingRecord.FORMAT,
        "kind": config.model.type,
        **figures,
        "epochs": None,
        "best_epoch": None,
        "n_parameters": found.potential.info["fitted"],
        **counts(frames),
        "seconds": round(seconds, 2),
        "frames_per_second": round(len(train) / seconds, 3),
        **system(train, found.cutoff, config.temperature),
        "dtype": "float64",
        **found.facts,
        "fit": found.potential.info,
        "lammps": found.lammps,
        "warnings": warnings,
        "wall_seconds": round(time.monotonic() - start, 2),
    }
    write_json(folder.inputs, identity)
    files = [*found.files, folder.example, folder.parity]
    write_result(config, folder, result, files, unused=unused)
    return Outcome(folder.path, result)
