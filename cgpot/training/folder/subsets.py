# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames of a training: its subsets, held against the report of the data set."""

from __future__ import annotations

from cgpot.core.errors import InputError
from cgpot.core.files import read_json
from cgpot.molecules.charges import require_no_charges
from cgpot.molecules.compositions import require_one_composition, topologies_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.single_sites import require_single_sites
from cgpot.training.folder.graph_frames import load_frames
from cgpot.training.folder.selection import select
from cgpot.training.folder.states import TOLERANCE
from cgpot.training.settings.train_settings import TrainConfig


def load_subsets(config: TrainConfig) -> dict[str, list[CGFrame]]:
    """The frames of ``train``, ``val`` and ``test`` (those of ``val`` where there are none).

    Raises:
        InputError: labels missing, bead names that differ, molecules of several sites where the
            model has no bonds, or several compositions where the loss compares frames.
        ConfigError: more training frames asked for than there are.
    """
    stress = config.needs_stress
    energy = config.needs_energy
    every = load_frames(config.data.train, None, stress, need_energy=energy)
    frames = {"train": select(every, config.data.frames, config.data.bootstrap)}
    topologies = topologies_of(frames["train"])
    if not config.model.is_network and getattr(config.model, "bonds", None) is None:
        for topology in topologies:
            require_single_sites(
                topology,
                f"a model of type {config.model.type} without bonds",
                file=config.data.train,
            )
    if config.model.is_network and (energy or config.loss.slope):
        section = "loss.energy" if energy else "loss.slope"
        require_one_composition(frames["train"], section, file=config.data.train)
    names = topologies[0].type_names
    for name in ("val", "test"):
        path = getattr(config.data, name)
        if path is not None:
            frames[name] = load_frames(path, names, stress, need_energy=energy)
    frames.setdefault("test", frames["val"])
    return frames


def charge_warnings(config: TrainConfig, frames: list[CGFrame]) -> list[str]:
    """Warnings on charges that are ignored (``system.charges``).

    Raises:
        ConfigError: charged beads, where nobody said that they are to be ignored.
    """
    return require_no_charges(
        topologies_of(frames), ignore=config.system.charges == "ignore", file=config.data.train
    )


def check_report(config: TrainConfig, frames: list[CGFrame]) -> None:
    """Refuse a report of another system (where it states these facts).

    Raises:
        InputError: other bead names or another temperature than in the report.
    """
    path = config.data.report
    report = read_json(path) if path is not None else {}
    names = report.get("bead_names") if isinstance(report, dict) else None
    if names is not None and tuple(names) != frames[0].topology.type_names:
        raise InputError(
            f"the report is about bead types {list(names)}, the training frames hold "
            f"{list(frames[0].topology.type_names)}",
            file=path,
            key="bead_names",
        )
    temperature = report.get("temperature") if isinstance(report, dict) else None
    if (
        isinstance(temperature, int | float)
        and abs(temperature - config.temperature) > TOLERANCE * config.temperature
    ):
        raise InputError(
            f"the data are at {temperature:g} K, system.temperature is {config.temperature:g} K",
            file=path,
            key="temperature",
        )
