# SPDX-License-Identifier: GPL-2.0-or-later
"""Newton steps on the relative entropy of a potential linear in its coefficients.

With u = Σ c_k B_k and S_k = Σ B_k over pairs, bonds, angles and dihedrals the relative entropy
has the gradient β (<S_k>_AA - <S_k>_CG) and the Hessian β^2 Cov_CG(S_k, S_l), and is convex
(Shell, J. Chem. Phys. 129, 144108 (2008); Chaimovich & Shell, J. Chem. Phys. 134, 094112
(2011)).  Its minimum reproduces the mean of every S_k: g(r) and the bonded distributions at the
resolution of the knots.

The gradient is known to within its statistical error, whose covariance is the Hessian over
the number of independent frames.  The step is the mean of the posterior for a Gaussian
prior of the change, (H + ε Λ)^-1 (-G) with ε the sum of 1/n of both sides: directions that
the data do not determine stay where they were, and less so the longer the runs are.  H is
that of `cgpot.refine.reweighting.shrunk`, which does not fall short where frames are few.

The pressure is imposed along smooth ramps.  The minimum under the constraint itself lies along
H^-1 dP/dc, in which the noise of dP/dc (covariances of as many coefficients as there are frames)
is largest: of three-site hexane, with 200 of 400 frames, it foresaw a pressure that the other
frames put 350 to 570 bar beside, and lost a fifth of the gain in relative entropy; the ramps were
100 bar off and lost a thirtieth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.refine.pressure_correction import ramps
from cgpot.refine.refine_target import Target
from cgpot.refine.reweighting import WeightedAverages, relative_noise

Array = NDArray[np.float64]
State = tuple[WeightedAverages, Target]
VISIBLE = 0.1
"""g(r) from which on a change of u(r) counts for the length of a step; of bonded terms, part of
the largest count."""


def gradient(cg: WeightedAverages, target: Target) -> Array:
    """Gradient of the relative entropy, (size,), 1/eV."""
    return cg.beta * (cg.basis.sums(target.counts) - cg.sums)


def hessian(cg: WeightedAverages) -> Array:
    """Hessian of the relative entropy, (size, size), 1/eV^2."""
    return cg.beta**2 * cg.covariance


def reference_noise(target: Target, cg: WeightedAverages) -> float:
    """Squared error of the reference's mean counts over the variance of a CG frame."""
    ideal = target.ideal
    error = target.blocks.std(axis=0, ddof=1) / math.sqrt(len(target.blocks)) * ideal
    return relative_noise(error, cg.count_variance)


def newton_step(
    states: Sequence[State],
    *,
    value_kT: float,
    curvature_kT: float,
    match_pressure: bool = False,
    pressure_weight: float | None = None,
) -> Array:
    """Change of the coefficients, (size,), eV, for states (densities) of one temperature.

    Args:
        states: averages at the present coefficients, and the reference of each.
        value_kT: prior standard deviation of a change of a coefficient, k_B T.
        curvature_kT: prior standard deviation of its second derivative, k_B T/Å^2.
        match_pressure: add ramps (1 - r/r_c)^k of the refined pairs by which dP/dc · Δc = P_ref -
            P_CG in each state, their mix that of the least relative entropy; no effect without a
            wanted pressure.
        pressure_weight: instead of that constraint, weigh its squared violation in standard
            errors of both pressures.

    Raises:
        DataError: the averages are not finite, or singular.
    """
    first = states[0][0]
    kt, basis, free = 1.0 / first.beta, first.basis, first.basis.free
    # in units of k_B T
    matrix = np.zeros((basis.size, basis.size))
    vector = np.zeros(basis.size)
    epsilon = 0.0
    for cg, target in states:
        matrix += cg.shrunk_covariance
        vector -= gradient(cg, target) * kt
        epsilon = max(epsilon, cg.noise + reference_noise(target, cg))
    matrix += epsilon * basis.penalty(value_kT, curvature_kT)
    wanted = [(cg, t.pressure) for cg, t in states if match_pressure and t.pressure is not None]
    slopes = np.array([cg.pressure_slope[free] * kt for cg, _ in wanted]).reshape(-1, len(free))
    missing = np.array([pressure[0] - cg.pressure for cg, pressure in wanted])
    a, b = matrix[np.ix_(free, free)], vector[free]
    if not all(np.isfinite(x).all() for x in (a, b, slopes, missing)):
        raise DataError("the averages of the run hold NaN or infinity")
    try:
        solved = np.linalg.solve(a, b)
        if wanted:
            shapes = ramps(basis, len(wanted))[free]
            cost, slope = shapes.T @ a @ shapes, slopes @ shapes
            rest = missing - slopes @ solved
            if pressure_weight is None:
                cheapest = np.linalg.solve(cost, slope.T)
                mix = cheapest @ np.linalg.solve(slope @ cheapest, rest)
            else:
                variance = [cg.pressure_error**2 + p[1] ** 2 for cg, p in wanted]
                weighed = slope.T * (epsilon * pressure_weight / np.maximum(variance, 1.0))
                mix = np.linalg.solve(cost + weighed @ slope, weighed @ rest)
            solved = solved + shapes @ mix
    except np.linalg.LinAlgError as err:
        raise DataError(f"the Newton step is singular: {err}") from err
    change = np.zeros(basis.size)
    change[free] = solved * kt
    return change


def largest_change(states: Sequence[State], change: Array) -> float:
    """Largest change of a function where there are pairs or terms, k_B T."""
    largest = 0.0
    for cg, target in states:
        inside = (target.g > VISIBLE * target.height) & target.matched & cg.basis.seen
        u = np.abs(cg.basis.potential(change))[inside]
        largest = max(largest, float(u.max()) * cg.beta if u.size else 0.0)
    return largest
