# SPDX-License-Identifier: GPL-2.0-or-later
"""Refit the pair part to what a trained network leaves.

Stochastic descent finds the mean virial slowly: it is one weak direction among noisy frames.
The pair part is linear, so its best values beside the trained network follow from one
least-squares problem over all training frames, with the mean virial as an exact constraint
(pressure matching, Das & Andersen, J. Chem. Phys. 132, 164106 (2010)).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.splines import PairTable
from cgpot.training.linear.pair_fit import N_BLOCKS, PairFit

Array = NDArray[np.float64]


def refit_pair(
    labels: Iterable[tuple[CGFrame, Array, Array]],
    n_frames: int,
    base: PairTable,
    *,
    temperature: float,
    smooth: float,
    match_mean_virial: bool,
) -> PairTable:
    """The pair table that, beside the network, fits the labels best.

    Args:
        labels: training frames with the model's forces (n, 3) in eV/Å and virial (3, 3) in eV,
            as `cgpot.training.evaluation.predictions.model_labels` gives them, in order.
        n_frames: their number (for blocks).
        base: the pair part inside that model.
        temperature: K.
        smooth: penalty on second differences of the change, relative (`PairFit.solve`).
        match_mean_virial: make the mean pressure residual on these frames vanish.

    Raises:
        DataError: a frame without forces, or without a virial that is to be matched.
    """
    fit = PairFit(base.type_names, base.r_max, base.spacing, temperature)
    for number, (frame, forces, virial) in enumerate(labels):
        if frame.forces is None:
            raise DataError("the frame has no forces to match", frame=frame.source_frame)
        residual = None
        if frame.virial is not None:
            residual = 0.5 * (frame.virial + frame.virial.T) - virial
        elif match_mean_virial:
            raise DataError("the frame has no virial to match", frame=frame.source_frame)
        block = number * N_BLOCKS // max(n_frames, 1)
        fit.add([(frame, frame.forces - forces, residual)], block)
    before = fit.quality(np.zeros(fit.size))
    change = fit.solve(match_mean_virial=match_mean_virial, smooth=smooth, correction=True)
    info: dict[str, Any] = {
        **base.info,
        "refit": {
            "frames": before["frames"],
            "force_rmse_before": before["force_rmse"],
            "force_rmse_after": change.info["force_rmse"],
            "mean_pressure_residual_bar_before": before["mean_pressure_residual_bar"],
            "mean_pressure_residual_bar_after": change.info["mean_pressure_residual_bar"],
        },
    }
    return base.with_coefficients(base.coefficients + change.coefficients, info)
