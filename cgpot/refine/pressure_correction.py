# SPDX-License-Identifier: GPL-2.0-or-later
"""Pressure of a spline potential: linear response, and Reith's linear correction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.reweighting import WeightedAverages

Array = NDArray[np.float64]


def predicted(cg: WeightedAverages, change: Array) -> float:
    """Pressure (bar) to first order after a change of the coefficients.

    dP/dc_k = <P_k> - β Cov(P, S_k): the virial of B_k itself, and the change of the mean of
    all that there is through the distribution of configurations.
    """
    return cg.pressure + float(cg.pressure_slope @ change)


def ramps(basis: CountsBasis, shapes: int = 1) -> Array:
    """Coefficients (size, n) of (1 - r/r_c)^k, k from 1 to ``shapes``, of each refined pair.

    Smoothed at r_c.

    Raises:
        DataError: no pair is refined.
    """
    edges = basis.grid.edges
    r = 0.5 * (edges[1:] + edges[:-1])
    weak = 1e-9 * np.eye(basis.size)
    found = []
    for row in np.flatnonzero(basis.refined[: basis.pairs]):
        for power in range(1, shapes + 1):
            target, weight = np.zeros((2, *basis.shape))
            target[row, : len(r)] = np.clip(1.0 - r / basis.r_max, 0.0, None) ** power
            weight[row, : len(r)] = r < basis.r_max
            found.append(basis.project(target, weight, weak))
    if not found:
        raise DataError("no pair is refined by which the pressure could be matched")
    return np.stack(found, axis=1)


def linear_correction(
    cg: WeightedAverages, change: Array, wanted: float, largest_kT: float
) -> Array:
    """Reith's ΔV = A (1 - r/r_c), (size,), eV, on top of a change that is already decided.

    A is what brings the pressure to the wanted one by linear response, at most ``largest_kT``
    (Reith et al., J. Comput. Chem. 24, 1624 (2003), with the response measured instead of
    guessed; they take at most 0.1 k_B T).
    """
    shape = ramps(cg.basis).sum(axis=1)
    limit = largest_kT / cg.beta
    amplitude = (wanted - predicted(cg, change)) / float(cg.pressure_slope @ shape)
    return shape * float(np.clip(amplitude, -limit, limit))
