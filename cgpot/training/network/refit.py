# SPDX-License-Identifier: GPL-2.0-or-later
"""Refit the base to what a trained network leaves.

Stochastic descent finds the mean virial slowly: it is one weak direction among noisy frames.
The base is linear, so its best values beside the trained network follow from one least-squares
problem over all training frames, with the mean virial (and its slope with density) as exact
constraints (pressure matching, Das & Andersen, J. Chem. Phys. 132, 164106 (2010)).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.local_density import Exclude, LocalDensityBasis
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.training.linear.pair_fit import N_BLOCKS, PairFit

Array = NDArray[np.float64]


def refit_pair(
    labels: Iterable[tuple[CGFrame, Labels]],
    n_frames: int,
    base: PairTable,
    *,
    temperature: float,
    smooth: float,
    match_mean_virial: bool,
) -> PairTable:
    """The pair table that, beside the network, fits the labels best (`refit_base`)."""
    return refit_base(
        labels,
        n_frames,
        Base(base),
        temperature=temperature,
        smooth=smooth,
        match_mean_virial=match_mean_virial,
    ).pair


def refit_base(
    labels: Iterable[tuple[CGFrame, Labels]],
    n_frames: int,
    base: Base,
    *,
    temperature: float,
    smooth: float,
    match_mean_virial: bool,
    match_slope: bool = False,
    exclude: Exclude | None = None,
) -> Base:
    """The base that, beside the network, fits the labels best.

    Args:
        labels: training frames with the model's labels, in order.
        n_frames: their number (for blocks).
        base: what is inside that model.
        temperature: K.
        smooth: penalty on second differences of the change, relative (`PairFit.solve`).
        match_mean_virial: make the mean pressure residual on these frames vanish.
        match_slope: make the slope of the residual with density vanish.
        exclude: pairs of sites that the base does not see: frame and pairs -> mask.

    Raises:
        DataError: a frame without forces, or without a virial that is to be matched, or a density
            that does not vary where the slope is to be matched.
    """
    pair, density = base.pair, base.density
    fit = PairFit(
        pair.type_names,
        pair.r_max,
        pair.spacing,
        temperature,
        density=None
        if density is None
        else LocalDensityBasis.of(density, exclude, linear=density.cutoff > pair.r_max),
        exclude=exclude,
    )
    for number, (frame, found) in enumerate(labels):
        if frame.forces is None:
            raise DataError("the frame has no forces to match", frame=frame.source_frame)
        residual = None
        if frame.virial is not None:
            residual = 0.5 * (frame.virial + frame.virial.T) - found.virial
        elif match_mean_virial or match_slope:
            raise DataError("the frame has no virial to match", frame=frame.source_frame)
        block = number * N_BLOCKS // max(n_frames, 1)
        fit.add([(frame, frame.forces - found.forces, residual)], block)
    before = fit.quality(np.zeros(fit.joint.size))
    solved = fit.solve_base(
        match_mean_virial=match_mean_virial,
        match_slope=match_slope,
        smooth=smooth,
        correction=True,
    )
    change = solved.pair
    info: dict[str, Any] = {
        **pair.info,
        "refit": {
            "frames": before["frames"],
            "force_rmse_before": before["force_rmse"],
            "force_rmse_after": change.info["force_rmse"],
            "mean_pressure_residual_bar_before": before["mean_pressure_residual_bar"],
            "mean_pressure_residual_bar_after": change.info["mean_pressure_residual_bar"],
        },
    }
    if match_slope:
        zero = fit.equations.pressure_slope(np.zeros(fit.joint.size), temperature)
        for when, record in (("before", zero), ("after", change.info["pressure_slope"])):
            residual = record["model"]["value"] - record["labels"]["value"]
            info["refit"][f"pressure_slope_residual_{when}"] = residual
    refitted = pair.with_coefficients(pair.coefficients + change.coefficients, info)
    if density is None or solved.density is None:
        return Base(refitted)
    total = density.coefficients + solved.density.coefficients
    return Base(refitted, density.with_coefficients(total, density.info))
