# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train` for models of type mscg: fit, evaluate, and write LAMMPS's files.

The sections ``prior``, ``loss`` and ``optimiser`` of train.yaml are about networks and are not
used; the weights of the rows stand in the section ``model``.
"""

from __future__ import annotations

from pathlib import Path

from cgpot.core.errors import ConfigError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.training.folder.outcome import Outcome
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.weights import frame_weights
from cgpot.training.linear.curve_tables import write_curves
from cgpot.training.linear.linear_training import LinearFit, train_with
from cgpot.training.linear.mscg import fit_mscg, with_inverted_bonds
from cgpot.training.settings.model_settings import MSCGConfig
from cgpot.training.settings.train_settings import TrainConfig

POTENTIAL = "mscg.json"
NOT_USED = ("prior", "loss", "optimiser")


def train_linear(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> Outcome:
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

    def fit(config: TrainConfig, folder: Folder, train: list[CGFrame]) -> LinearFit:
        weights = frame_weights(train, config.data.state_weights)
        potential, yardstick = fit_mscg(
            model, train, config.temperature, weights=weights, quiet=quiet
        )
        if model.bonded == "inversion":
            potential = with_inverted_bonds(potential, train)
            if not potential.info["inverted"]:
                raise ConfigError(
                    "'inversion', but all terms lie in rings or join sites that are not bonded in "
                    "the data, whose lengths and angles are not independent; expected 'forces'",
                    key="model.bonded",
                )
        written = [
            potential.write(folder.path / POTENTIAL),
            potential.table().write(folder.pair),
            yardstick.write(folder.yardstick),
            *write_curves(folder.path, potential),
        ]
        lammps = write_for_lammps(folder.path, potential)
        return LinearFit(
            potential,
            potential.with_pair(yardstick),
            model.cutoff,
            [*written, *lammps.files],
            lammps.record,
            {"model": "mscg", "prior": None, "refit": None, "not_used": list(NOT_USED)},
        )

    return train_with(fit, config, output, unused=NOT_USED, restart=restart, quiet=quiet)
