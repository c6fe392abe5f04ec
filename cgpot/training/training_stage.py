# SPDX-License-Identifier: GPL-2.0-or-later
"""The training stage: fit the base, write nequip's configuration, train, evaluate."""

from __future__ import annotations

import time
from pathlib import Path

from cgpot.core.errors import ConfigError
from cgpot.core.files import write_json
from cgpot.molecules.compositions import topologies_of
from cgpot.molecules.frame import CGFrame
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.training.evaluation.noise_floor import read_noise
from cgpot.training.folder.fingerprint import earlier_run, fingerprint
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.states import resolve_temperature
from cgpot.training.folder.subsets import charge_warnings, check_report, load_subsets
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import write_result
from cgpot.training.linear.bonded_part import BondedPart, fit_bonded, has_molecules
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
        ConfigError: settings that molecules of several sites do not have.
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
    warnings += charge_warnings(config, frames["train"])
    if config.data.noise is not None:
        read_noise(config.data.noise)
    check_report(config, frames["train"])
    part = _bonded(config, folder, frames["train"], quiet=quiet)
    if part is not None:
        frames = {name: [part.remainder(f) for f in some] for name, some in frames.items()}
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


def _bonded(
    config: TrainConfig, folder: Folder, frames: list[CGFrame], *, quiet: bool
) -> BondedPart | None:
    """What is taken from the labels of molecules of several sites: the folder's, or a new fit.

    Raises:
        ConfigError: no pair base, whose walls keep molecules apart, or an input of the temperature.
    """
    if not any(has_molecules(topology) for topology in topologies_of(frames)):
        return None
    if config.prior.type == "none":
        raise ConfigError(
            "molecules of several sites need a base below the network; expected spline or wall",
            key="prior.type",
        )
    if config.system.temperature_input:
        raise ConfigError(
            "the bonded part of molecules of several sites belongs to one temperature",
            key="system.temperature_input",
        )
    if folder.bonded.is_file() and folder.bonded_fit.is_file() and folder.inputs.is_file():
        return BondedPart.read(folder.bonded_fit)
    found = fit_bonded(config, frames, quiet=quiet)
    if found is None:
        return None
    found.taken.write(folder.bonded_fit)
    found.run.write(folder.bonded)
    write_for_lammps(folder.path, found.run)
    return found.taken
