# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train` for models of type uf3: fit, evaluate, and write LAMMPS's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError
from cgpot.core.files import read_json
from cgpot.core.manifest import manifest_path
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.subsets import load_subsets
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import write_result
from cgpot.training.folder.weights import frame_weights
from cgpot.training.linear.fitted import evaluate_potential
from cgpot.training.linear.linear_training import LinearFit, train_with
from cgpot.training.linear.uf3 import fit_uf3
from cgpot.training.settings.model_settings import UF3Config
from cgpot.training.settings.train_settings import TrainConfig

POTENTIAL = "uf3.json"


def train_uf3(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> Outcome:
    """Fit UF3 and evaluate it on the held-out frames; a complete folder is left alone.

    Args:
        config: with a section ``model`` of type uf3.
        output: folder for all files.
        restart: replace what was fitted from other inputs.
        quiet: no progress bars.

    Raises:
        ConfigError: another type of model.
        InputError: labels missing, bead names that differ, or a folder of another run.
        DataError: too few pairs or a singular system.
    """
    model = _model(config)
    stress = config.loss.stress not in (None, 0)

    def fit(config: TrainConfig, folder: Folder, train: list[CGFrame]) -> LinearFit:
        temperature = config.temperature
        weights = frame_weights(train, config.data.state_weights)
        potential = fit_uf3(model, train, temperature, stress=stress, weights=weights, quiet=quiet)
        # the yardstick is the plain pair fit: forces alone
        plain = UF3Config(
            cutoff=model.cutoff, spacing=model.spacing, three_body_cutoff=None, energy=0
        )
        pair = fit_uf3(plain, train, temperature, stress=False, weights=weights, quiet=True).pair
        lammps = write_for_lammps(folder.path, potential)
        written = [potential.write(folder.path / POTENTIAL), pair.write(folder.yardstick)]
        files = [*written, *lammps.files]
        return LinearFit(potential, Base(pair), potential.cutoff, files, lammps.record)

    return train_with(fit, config, output, restart=restart, quiet=quiet)


def _model(config: TrainConfig) -> UF3Config:
    """The section ``model``, refused where it is of another type."""
    model = config.model
    if not isinstance(model, UF3Config):
        raise ConfigError(f"expected a model of type 'uf3', found {model.type!r}", key="model")
    return model


def replace_potential(
    config: TrainConfig,
    output: str | Path,
    potential: UF3Potential,
    facts: dict[str, Any],
    *,
    quiet: bool = False,
) -> Outcome:
    """Put another potential of the same form into a finished folder, and evaluate it anew.

    Args:
        config: that the folder was made with.
        output: the folder.
        potential: takes the place of the fitted one.
        facts: where it comes from; key ``matching`` of result.json.
        quiet: no progress bars.

    Raises:
        ConfigError: another type of model.
    """
    model = _model(config)
    folder = Folder(Path(output).resolve())
    result = read_json(folder.result)
    manifest_path(folder.result).unlink(missing_ok=True)
    potential = replace(potential, overlay=model.overlay)
    lammps = write_for_lammps(folder.path, potential)
    result["lammps"] = lammps.record
    files = [potential.write(folder.path / POTENTIAL), *lammps.files]
    pair = PairTable.read(folder.yardstick)
    test = load_subsets(config)["test"]
    result |= evaluate_potential(potential, Base(pair), test, folder.parity, quiet=quiet)
    result["matching"] = facts
    files += [folder.yardstick, folder.example, folder.parity]
    write_result(config, folder, result, files)
    return Outcome(folder.path, result)
