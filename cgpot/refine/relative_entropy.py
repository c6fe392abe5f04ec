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
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.refine.refine_target import Target
from cgpot.refine.reweighting import WeightedAverages, relative_noise

Array = NDArray[np.float64]


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
    cg: WeightedAverages,
    target: Target,
    *,
    value_kT: float,
    curvature_kT: float,
    pressure: tuple[float, float] | None = None,
    pressure_weight: float | None = None,
) -> Array:
    """Change of the coefficients, (size,), eV.

    Args:
        cg: averages at the present coefficients.
        target: the reference.
        value_kT: prior standard deviation of a change of a coefficient, k_B T.
        curvature_kT: prior standard deviation of its second derivative, k_B T/Å^2.
        pressure: wanted pressure and its error, bar; the change then minimises the quadratic
            model of the relative entropy under dP/dc · Δc = P_ref - P_CG.
        pressure_weight: instead of that constraint, weigh its squared violation in standard
            errors of both pressures.

    Raises:
        DataError: the averages are not finite, or singular.
    """
    kt = 1.0 / cg.beta
    basis = cg.basis
    epsilon = cg.noise + reference_noise(target, cg)
    free = basis.free
    # in units of k_B T
    matrix = cg.shrunk_covariance + epsilon * basis.penalty(value_kT, curvature_kT)
    vector = -gradient(cg, target) * kt
    slope = cg.pressure_slope * kt
    a, b, j = matrix[np.ix_(free, free)], vector[free], slope[free]
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.isfinite(j).all()):
        raise DataError("the averages of the run hold NaN or infinity")
    try:
        if pressure is None:
            solved = np.linalg.solve(a, b)
        elif pressure_weight is None:
            both = np.linalg.solve(a, np.stack([b, j], axis=1))
            missing = pressure[0] - cg.pressure - float(j @ both[:, 0])
            solved = both[:, 0] + both[:, 1] * (missing / float(j @ both[:, 1]))
        else:
            variance = cg.pressure_error**2 + pressure[1] ** 2
            scale = epsilon * pressure_weight / max(variance, 1.0)
            a = a + scale * np.outer(j, j)
            b = b + scale * j * (pressure[0] - cg.pressure)
            solved = np.linalg.solve(a, b)
    except np.linalg.LinAlgError as err:
        raise DataError(f"the Newton step is singular: {err}") from err
    change = np.zeros(basis.size)
    change[free] = solved * kt
    return change
