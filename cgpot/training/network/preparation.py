# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the folder before a network trains: its base and nequip's configuration."""

from __future__ import annotations

import numpy as np

from cgpot.core.errors import DataError
from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.site_graph import neighbours
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import examples
from cgpot.training.linear.bonded_part import seen_pairs
from cgpot.training.network.base_fit import fit_prior
from cgpot.training.network.nequip_settings import build, write
from cgpot.training.settings.train_settings import TrainConfig


def prepare(config: TrainConfig, folder: Folder, frames: list[CGFrame], *, quiet: bool) -> None:
    """Fit the base and write nequip's configuration.

    Args:
        config: of a network.
        folder: to write into; holds the bonded part, if there is one.
        frames: training frames, less the bonded part.
        quiet: no progress bars.

    Raises:
        DataError: no neighbours within the cutoff, or a stress that does not vary.
    """
    pairs = seen_pairs(config, catalogue(topologies_of(frames)))
    sample = frames[:: max(1, len(frames) // 50)]
    mean = float(
        np.mean(
            [
                neighbours(f, config.model.cutoff, pairs)[0].shape[1] / f.topology.n_sites
                for f in sample
            ]
        )
    )
    facts = DataFacts.of(frames, mean, config.data.state_weights)
    if mean == 0:
        raise DataError(
            f"no site has a neighbour within {config.model.cutoff} Å", file=config.data.train
        )
    if config.needs_stress and not facts.stress_std:
        raise DataError(
            "the stress does not vary over the training frames; expected at least two different "
            "frames",
            file=config.data.train,
        )
    prior = fit_prior(config, frames, facts, quiet=quiet)
    prior.yardstick.write(folder.yardstick)
    if prior.table is not None:
        prior.table.write(folder.pair)
    if prior.density is not None:
        prior.density.write(folder.density)
    write_frames(folder.example, examples(frames))
    record = build(
        config,
        facts,
        folder=folder.path,
        pair_file=folder.pair if prior.table is not None else None,
        pair_range=(prior.table.r_max, prior.table.intervals) if prior.table else None,
        density_file=folder.density if prior.density is not None else None,
        density_range=(prior.density.cutoff, prior.density.intervals) if prior.density else None,
        pairs=pairs,
        bonded_file=folder.bonded_fit if folder.bonded_fit.is_file() else None,
    )
    write(folder.nequip, record)
