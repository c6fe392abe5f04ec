# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixed part of the potential: what is fitted, and the pair fit it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cgpot.core.errors import DataError
from cgpot.core.progress import progress
from cgpot.molecules.compositions import catalogue, groups_of, topologies_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import hidden_pairs
from cgpot.potential.density_table import DensityTable
from cgpot.potential.local_density import Exclude, LocalDensityBasis, sampled_spans, spread
from cgpot.potential.splines import ZERO_AT_CUTOFF, PairTable, basis, basis_derivative, locate
from cgpot.training.folder.facts import DataFacts
from cgpot.training.linear.bonded_part import seen_pairs
from cgpot.training.linear.pair_fit import N_BLOCKS, PairFit, Wall, labelled
from cgpot.training.settings.train_settings import TrainConfig

INDICATOR = "smooth"
"""Of the local density below a network (`cgpot.potential.density_table.INDICATORS`)."""


@dataclass(frozen=True)
class Prior:
    """Results of the linear fits.

    Attributes:
        table: the pair part of the model; None without a prior.
        yardstick: the pair spline by force matching alone, with which the network is compared.
        density: the local-density part of the model; None without one.
    """

    table: PairTable | None
    yardstick: PairTable
    density: DensityTable | None = None


def fit_prior(
    config: TrainConfig, frames: list[CGFrame], facts: DataFacts, *, quiet: bool = False
) -> Prior:
    """Fit the pair splines, and the local-density part if asked for, to the training frames.

    Raises:
        DataError: too few pairs, no stress where the virial is to be matched, or one density where
            the slope of the pressure is.
    """
    exclude = hidden_pairs(seen_pairs(config, catalogue(topologies_of(frames))))
    fit = PairFit(
        facts.type_names,
        config.prior_range,
        config.prior.spacing,
        config.temperature,
        density=density_basis(config, frames, exclude),
        exclude=exclude,
    )
    # each block holds frames of every composition
    groups = [
        np.array_split(np.array(mine), min(N_BLOCKS, len(mine)))
        for mine in groups_of(frames).values()
    ]
    with progress("pair fit", len(frames), quiet=quiet) as advance:
        for number in range(max(len(blocks) for blocks in groups)):
            for indices in (blocks[number] for blocks in groups if number < len(blocks)):
                for index in indices:
                    fit.add(labelled([frames[index]]), number)
                    advance(1)
    prior = config.prior
    yardstick = fit.solve(smooth=prior.smooth)
    if prior.type == "none":
        return Prior(None, yardstick)
    if prior.type == "wall":
        return Prior(wall_table(fit), yardstick)
    weight = prior.virial
    if weight == "auto":
        if not facts.stress_std:
            raise DataError(
                "prior.virial is 'auto', but the frames have no stress", file=config.data.train
            )
        weight = facts.force_rms**2 / facts.stress_std**2
    constrained = prior.match_mean_virial or prior.match_slope
    if not weight and not constrained and prior.local_density is None:
        return Prior(yardstick, yardstick)
    base = fit.solve_base(
        virial_weight=float(weight or 0.0),
        match_mean_virial=prior.match_mean_virial,
        match_slope=prior.match_slope,
        smooth=prior.smooth,
    )
    return Prior(base.pair, yardstick, base.density)


def density_basis(
    config: TrainConfig, frames: list[CGFrame], exclude: Exclude | None = None
) -> LocalDensityBasis | None:
    """The basis of the section ``prior.local_density``; None without one.

    Raises:
        DataError: local densities that do not vary.
    """
    section = config.prior.local_density
    if section is None:
        return None
    topology = frames[0].topology
    weights = section.weights(topology)
    spans = sampled_spans(spread(frames), section.cutoff, INDICATOR, weights, exclude)
    return LocalDensityBasis(
        topology.type_names,
        section.cutoff,
        spans,
        section.knots,
        kind=INDICATOR,
        weights=weights,
        linear=section.cutoff > config.prior_range,
        exclude=exclude,
    )


def wall_table(fit: PairFit) -> PairTable:
    """The repulsive walls alone as a pair table, by least squares on u' (relative) and u.

    Each wall is switched off by (1 - (r/r_max)^4)^3, so that it ends at the cutoff.
    """
    rows = []
    walls = {}
    for row in range(fit.pairs):
        wall = fit.wall(row)
        walls[fit.pair_name(row)] = wall.as_dict()
        rows.append(_wall_row(wall, fit.r_max, fit.intervals))
    return PairTable(fit.type_names, fit.r_max, np.stack(rows), {"wall": walls})


def _wall_row(wall: Wall, r_max: float, intervals: int) -> np.ndarray:
    fine = np.linspace(0.0, r_max, 20 * intervals + 1)
    step = fine[1] - fine[0]
    switch = np.clip(1.0 - (fine / r_max) ** 4, 0.0, None) ** 3
    slope = wall.slope(fine)
    u = np.concatenate([[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * step)])
    u = (u - u[-1]) * switch
    slope = np.gradient(u, fine)
    first, t = locate(fine, r_max, intervals)
    value, derivative = basis(t), basis_derivative(t) * (intervals / r_max)
    scale = 1.0 / (np.abs(slope) + wall.kt)
    design = np.zeros((2 * len(fine), intervals + 3))
    lines = np.arange(len(fine))
    for k in range(4):
        design[lines, first + k] += derivative[k] * scale
        design[len(fine) + lines, first + k] += value[k] * scale
    target = np.concatenate([slope * scale, u * scale])
    free = intervals + 3 - ZERO_AT_CUTOFF
    solved, *_ = np.linalg.lstsq(design[:, :free], target, rcond=None)
    return np.concatenate([solved, np.zeros(ZERO_AT_CUTOFF)])
