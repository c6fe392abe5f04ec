# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train` for models of type mscg: fit, evaluate, and write LAMMPS's files.

The sections ``prior``, ``loss`` and ``optimiser`` of train.yaml are about networks and are not
used; the weights of the rows stand in the section ``model``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from cgpot.core.errors import ConfigError
from cgpot.core.extxyz import write_frames
from cgpot.core.files import write_json
from cgpot.core.manifest import write_manifest
from cgpot.training import run as stage
from cgpot.training.config import TrainConfig
from cgpot.training.linear.curves import write_curves
from cgpot.training.linear.lammps import write_tables
from cgpot.training.linear.mscg import fit_mscg
from cgpot.training.linear.uf3_stage import evaluate_potential
from cgpot.training.model_config import MSCGConfig
from cgpot.training.states import resolve_temperature

POTENTIAL = "mscg.json"
NOT_USED = ("prior", "loss", "optimiser")


def train_linear(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> stage.Outcome:
    """Fit an MS-CG potential and evaluate it on held-out frames; a complete folder is left alone.

    Args:
        config: with a section ``model`` of type mscg.
        output: folder for all files.
        restart: replace what was fitted from other inputs.
        quiet: no progress bars.

    Raises:
        ConfigError: another type of model, or bonds that the molecules do not have.
        InputError: labels missing, bead names that differ, or a folder of another run.
        DataError: too few pairs or a singular system.
    """
    model = config.model
    if not isinstance(model, MSCGConfig):
        raise ConfigError(f"expected a model of type 'mscg', found {model.type!r}", key="model")
    folder = stage.Folder(Path(output).resolve())
    folder.path.mkdir(parents=True, exist_ok=True)
    identity = stage.fingerprint(config)
    identity.pop("versions", None)
    identity["config"] = {k: v for k, v in identity["config"].items() if k not in NOT_USED}
    earlier = stage.earlier_fit(folder, identity, restart=restart)
    if earlier is not None:
        return earlier
    start = time.monotonic()
    frames = stage._load(config)
    config, warnings = resolve_temperature(config, frames)
    if config.data.report is not None:
        stage._check_report(config, frames["train"])
    train = frames["train"]
    potential, yardstick = fit_mscg(model, train, config.temperature, quiet=quiet)
    seconds = time.monotonic() - start
    potential.write(folder.path / POTENTIAL)
    potential.table().write(folder.pair)
    yardstick.write(folder.yardstick)
    written = [folder.path / POTENTIAL, folder.pair, folder.yardstick]
    written += write_curves(folder.path, potential)
    files, commands = write_tables(folder.path, potential)
    written += files
    write_frames(folder.example, train[:: max(1, len(train) // 4)][:4])
    written.append(folder.example)
    result = evaluate_potential(folder, potential, yardstick, frames["test"], quiet=quiet)
    written.append(folder.parity)
    topology = train[0].topology
    result |= {
        "format": stage.RESULT_FORMAT,
        "kind": "mscg",
        "model": "mscg",
        "epochs": None,
        "best_epoch": None,
        "n_parameters": potential.info["fitted"],
        "n_train": len(train),
        "n_val": len(frames["val"]),
        "n_test": len(frames["test"]),
        "seconds": round(seconds, 2),
        "frames_per_second": round(len(train) / seconds, 3),
        "bead_names": list(topology.type_names),
        "masses": list(topology.type_masses),
        "cutoff": model.cutoff,
        "temperature": config.temperature,
        "density_kg_m3": float(np.mean([frame.density for frame in train])),
        "dtype": "float64",
        "prior": None,
        "refit": None,
        "not_used": list(NOT_USED),
        "fit": potential.info,
        "lammps": {"files": [path.name for path in files], "commands": commands},
        "warnings": warnings,
        "wall_seconds": round(time.monotonic() - start, 2),
    }
    write_json(folder.result, result)
    write_json(folder.inputs, identity)
    write_manifest(
        folder.result,
        stage=stage.STAGE,
        inputs=dict(config.data.files),
        outputs=written,
        config=json.loads(config.model_dump_json(exclude={"data", *NOT_USED})),
        seed=config.seed,
        extra={"temperature": config.temperature},
    )
    return stage.Outcome(folder.path, result)
