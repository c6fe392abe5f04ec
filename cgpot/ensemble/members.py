# SPDX-License-Identifier: GPL-2.0-or-later
"""Ensembles: the same training from several seeds or bootstrap samples, and their spread.

The folder holds ``member.0``, ``member.1``, ... (folders of `cgpot train`) and ensemble.json;
of linear models, whose members differ by their bootstrap samples, also ``mean``
(`cgpot.ensemble.linear_mean`).
The spread of bead i is `s_i = sqrt(Σ_m |f_m,i - f̄_i|² / (k - 1))`, as ``pair_style cgpot``
evaluates it.  It measures what the data leave undecided between the members, not what all of
them have wrong in common (deep ensembles: Lakshminarayanan et al., NeurIPS 30 (2017); bootstrap
members add the variance of the finite sample).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError, InputError, ManifestError
from cgpot.core.files import read_json, require_file
from cgpot.core.manifest import check_manifest, manifest_path, write_manifest
from cgpot.core.records import EnsembleRecord
from cgpot.training.settings.train_settings import TrainConfig

Array = NDArray[np.float64]
STAGE = "ensemble"
RESULT = "ensemble.json"


@dataclass
class TrainedEnsemble:
    """What a call did.

    Attributes:
        file: path of ensemble.json.
        content: what stands in it.
        skipped: every member was complete already.
    """

    file: Path
    content: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False


def member_config(config: TrainConfig, index: int, *, bootstrap: bool) -> TrainConfig:
    """Settings of a member: seed + index, and with `bootstrap` the same number for the sample."""
    update: dict[str, Any] = {"seed": config.seed + index}
    if bootstrap:
        first = config.seed if config.data.bootstrap is None else config.data.bootstrap
        update["data"] = config.data.model_copy(update={"bootstrap": first + index})
    return config.model_copy(update=update)


def force_spread(forces: Array) -> Array:
    """Spread of each bead, (n,), from the members' forces (members, n, 3)."""
    return np.asarray(np.sqrt(np.var(forces, axis=0, ddof=1).sum(axis=-1)))


def spread_statistics(parities: list[dict[str, Array]]) -> dict[str, Any]:
    """Spread of the members and errors of their mean on the test frames.

    Args:
        parities: arrays of each member's parity.npz, of the same test frames.

    Returns:
        Force RMSE per component of the members and of their mean (eV/Å); the spread of a bead
        (root mean square, 95th percentile, largest, eV/Å); its correlations with the error of
        the mean on the same bead; the spread of the members' mean pressures (bar).  The errors
        hold the noise of the labels, which no model can fit and no spread shows: the
        correlations are lower bounds of those with the error of the mean force.

    Raises:
        DataError: the members were tested on different frames.
    """
    from scipy.stats import pearsonr, spearmanr

    label = np.asarray(parities[0]["force_label"], np.float64)
    for number, parity in enumerate(parities[1:], start=1):
        other = np.asarray(parity["force_label"])
        if other.shape != label.shape or not np.allclose(other, label, atol=1e-6):
            raise DataError(f"member {number} was tested on other frames than member 0")
    forces = np.stack([np.asarray(p["force_model"], np.float64) for p in parities])
    mean = forces.mean(axis=0)
    spread = force_spread(forces)
    error = np.linalg.norm(mean - label, axis=1)
    rounding = 1e-9 * float(np.abs(forces).max())
    constant = bool(np.ptp(spread) <= rounding or np.ptp(error) <= rounding)
    pressures = np.array([np.mean(p["pressure_model_bar"]) for p in parities])

    def rmse(values: Array) -> float:
        return float(np.sqrt(np.mean((values - label) ** 2)))

    return {
        "force_rmse_members": [rmse(f) for f in forces],
        "force_rmse_mean": rmse(mean),
        "force_label_rms": float(np.sqrt(np.mean(label**2))),
        "force_spread_rms": float(np.sqrt(np.mean(spread**2))),
        "force_spread_p95": float(np.percentile(spread, 95)),
        "force_spread_max": float(spread.max()),
        "pearson_spread_error": None if constant else float(pearsonr(spread, error)[0]),
        "spearman_spread_error": None if constant else float(spearmanr(spread, error)[0]),
        "pressure_spread_bar": float(np.std(pressures, ddof=1)),
        "beads": len(spread),
    }


def train_ensemble(
    config: TrainConfig,
    output: str | Path,
    members: int,
    *,
    bootstrap: bool = False,
    restart: bool = False,
    quiet: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> TrainedEnsemble:
    """Train the members one after another and describe how they differ.

    The same call goes on where an interrupted one ended; with more members it adds them.

    Args:
        config: settings of the first member.
        output: folder for the members and ensemble.json.
        members: number of models, at least 2.
        bootstrap: resample the training frames of each member.
        restart: replace members that were trained with other settings.
        quiet: no progress bars.
        say: takes a line for each member.

    Raises:
        ConfigError: fewer than two members, or linear models without a bootstrap.
        InputError: a member's folder holds a run with other inputs.
        DataError: a training failed, or members with different test frames.
    """
    from cgpot.training.training_stage import train

    if members < 2:
        raise ConfigError(f"an ensemble has at least 2 members, found {members}", key="members")
    if not config.model.is_network and not bootstrap:
        raise ConfigError(
            f"a fit of type {config.model.type!r} has no random start: members that differ by "
            "the seed alone would be equal; resample the frames of each (--bootstrap)",
            key="bootstrap",
        )
    folder = Path(output).resolve()
    names = [f"member.{index}" for index in range(members)]
    outcomes = []
    for index, name in enumerate(names):
        say(f"member {index + 1} of {members}: {folder / name}")
        settings = member_config(config, index, bootstrap=bootstrap)
        outcomes.append(train(settings, folder / name, restart=restart, quiet=quiet))
    file = folder / RESULT
    skipped = all(outcome.skipped for outcome in outcomes)
    mean = None
    if not config.model.is_network:
        from cgpot.ensemble.linear_mean import FOLDER, write_mean

        mean = FOLDER
        write_mean(folder, [outcome.folder for outcome in outcomes], config.model.type)
    if skipped and _current(file, names):
        return TrainedEnsemble(file, read_json(file), skipped=True)
    parities = []
    for outcome in outcomes:
        with np.load(require_file(outcome.folder / "parity.npz", "parity arrays")) as arrays:
            parities.append(dict(arrays))
    first = outcomes[0].result
    content = {
        "format": EnsembleRecord.FORMAT,
        "members": names,
        "bootstrap": bootstrap,
        "seeds": [config.seed + index for index in range(members)],
        "kind": first.get("kind", "network"),
        "bead_names": first["bead_names"],
        "temperature": first["temperature"],
        "n_test": first["n_test"],
        "mean": mean,
        "spread": spread_statistics(parities),
    }
    for stale in (manifest_path(file), file):
        stale.unlink(missing_ok=True)
    EnsembleRecord.write(file, content)
    write_manifest(
        file,
        stage=STAGE,
        inputs={"members": [outcome.folder / "result.json" for outcome in outcomes]},
        config={
            "members": members,
            "bootstrap": bootstrap,
            "training": json.loads(config.model_dump_json(exclude={"data"})),
        },
        seed=config.seed,
    )
    return TrainedEnsemble(file, content)


def _current(file: Path, names: list[str]) -> bool:
    """Whether ensemble.json describes exactly these members."""
    if not file.is_file() or not manifest_path(file).is_file():
        return False
    try:
        check_manifest(file, stage=STAGE)
    except ManifestError:
        return False
    return bool(read_json(file).get("members") == names)


def read_ensemble(path: str | Path) -> tuple[EnsembleRecord, list[Path]]:
    """ensemble.json of a folder, and the folders of its members.

    Raises:
        InputError: not an ensemble, or a member is missing.
    """
    p = Path(path)
    file = require_file(p / RESULT if p.is_dir() else p, "ensemble")
    record = EnsembleRecord.read(file)
    folders = [file.parent / name for name in record.members]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"the member {folder.name} is missing", file=file)
    return record, folders
