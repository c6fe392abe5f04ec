# SPDX-License-Identifier: GPL-2.0-or-later
"""Pressure of a spline potential: linear response, and Reith's linear correction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.reweighting import WeightedAverages

Array = NDArray[np.float64]


def predicted(cg: WeightedAverages, change: Array) -> float:
    """Pressure (bar) to first order after a change of the coefficients.

    dP/dc_k = <P_k> - β Cov(P, S_k): the virial of B_k itself, and the change of the mean of
    all that there is through the distribution of configurations.
    """
    return cg.pressure + float(cg.pressure_slope @ change)


def ramp(basis: CountsBasis) -> Array:
    """Coefficients (size,) of 1 - r/r_c for every refined pair of types, smoothed at r_c."""
    edges = basis.grid.edges
    r = 0.5 * (edges[1:] + edges[:-1])
    target, weight = np.zeros((2, *basis.shape))
    target[: basis.pairs, : len(r)] = np.clip(1.0 - r / basis.r_max, 0.0, None)
    weight[: basis.pairs, : len(r)] = r < basis.r_max
    return basis.project(target, weight, 1e-9 * np.eye(basis.size))


def linear_correction(
    cg: WeightedAverages, change: Array, wanted: float, largest_kT: float
) -> Array:
    """Reith's ΔV = A (1 - r/r_c), (size,), eV, on top of a change that is already decided.

    A is what brings the pressure to the wanted one by linear response, at most ``largest_kT``
    (Reith et al., J. Comput. Chem. 24, 1624 (2003), with the response measured instead of
    guessed; they take at most 0.1 k_B T).
    """
    shape = ramp(cg.basis)
    limit = largest_kT / cg.beta
    amplitude = (wanted - predicted(cg, change)) / float(cg.pressure_slope @ shape)
    return shape * float(np.clip(amplitude, -limit, limit))
