# SPDX-License-Identifier: GPL-2.0-or-later
"""result.json of a training and its manifest: what networks and linear models have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.manifest import write_manifest
from cgpot.core.records import TrainingRecord
from cgpot.molecules.compositions import groups_of
from cgpot.molecules.frame import CGFrame
from cgpot.training.folder.training_folder import STAGE, Folder
from cgpot.training.settings.train_settings import TrainConfig

Subsets = dict[str, list[CGFrame]]


def counts(frames: Subsets) -> dict[str, int]:
    """Frames of each subset."""
    return {f"n_{name}": len(frames[name]) for name in ("train", "val", "test")}


def system(frames: Sequence[CGFrame], cutoff: float, temperature: float) -> dict[str, Any]:
    """What the deployment needs to know about the system.

    Args:
        frames: training frames.
        cutoff: Å.
        temperature: K.
    """
    topology = frames[0].topology
    groups = groups_of(frames)
    several = len(groups) > 1
    return {
        "bead_names": list(topology.type_names),
        "masses": list(topology.type_masses),
        "cutoff": cutoff,
        "temperature": temperature,
        "density_kg_m3": None if several else float(np.mean([frame.density for frame in frames])),
        **({"compositions": list(groups)} if several else {}),
    }


def examples(frames: Sequence[CGFrame]) -> Sequence[CGFrame]:
    """The training frames of example.extxyz: four, spread over the set, of each composition."""
    found: list[CGFrame] = []
    for mine in groups_of(frames).values():
        found += [frames[k] for k in mine[:: max(1, len(mine) // 4)][:4]]
    return found


def write_result(
    config: TrainConfig,
    folder: Folder,
    result: dict[str, Any],
    outputs: Sequence[Path],
    *,
    unused: Sequence[str] = (),
) -> None:
    """Write result.json and its manifest, which make the folder complete.

    Args:
        config: of the training.
        folder: of the training.
        result: content of result.json.
        outputs: the other files of the result.
        unused: sections of train.yaml that the model does not use.
    """
    TrainingRecord.write(folder.result, result)
    write_manifest(
        folder.result,
        stage=STAGE,
        inputs=dict(config.data.files),
        outputs=outputs,
        config=json.loads(config.model_dump_json(exclude={"data", *unused})),
        seed=config.seed,
        extra={"temperature": config.temperature},
    )
