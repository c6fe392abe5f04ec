# SPDX-License-Identifier: GPL-2.0-or-later
"""Iterative Boltzmann inversion: Δu = k_B T ln(g_CG / g_AA) on the splines.

Of bonded terms likewise with their distributions, whose volume elements cancel.

Reith, Pütz & Müller-Plathe, J. Comput. Chem. 24, 1624 (2003).  The logarithm is fitted by
the splines with the inverse variances of its bins and the same prior as in a Newton step,
so that noise is not inverted; it goes to zero smoothly at the cutoff.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cgpot.core.units import KB
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.refine_target import Target
from cgpot.refine.reweighting import WeightedAverages

Array = NDArray[np.float64]
SEEN = 0.02
"""Bins with a g(r) below this (of either system) say nothing; of bonded terms, below this part of
the largest."""
FLOOR = 0.01
"""Least relative error of a fine bin of g(r)."""


def inversion_step(
    cg: WeightedAverages, target: Target, *, value_kT: float, curvature_kT: float
) -> Array:
    """Change of the coefficients, (size,), eV, without the pressure."""
    ideal = np.where(target.ideal > 0, target.ideal, 1.0)
    g = cg.counts / ideal
    g_error = cg.count_error / ideal
    reference_error = target.blocks.std(axis=0, ddof=1) / math.sqrt(len(target.blocks))
    seen = (g > SEEN * target.height) & (target.g > SEEN * target.height) & target.matched
    safe_g = np.where(seen, g, 1.0)
    safe_r = np.where(seen, target.g, 1.0)
    variance = (g_error / safe_g) ** 2 + (reference_error / safe_r) ** 2 + FLOOR**2
    penalty = cg.basis.penalty(value_kT, curvature_kT)
    x = cg.basis.project(np.log(safe_g / safe_r), seen / variance, penalty)
    return np.asarray(x / cg.beta)


def potential_of_mean_force(
    target: Target, basis: CountsBasis, temperature: float, wall: Array
) -> Array:
    """Splines (size,) of -k_B T ln g(r) where pairs are, and of a wall further inside, eV.

    Args:
        target: the reference.
        basis: the splines; the potential is shifted to zero at their cutoff.
        temperature: K.
        wall: slopes u'(r) of the wall on the fine bins, (pairs, fine bins), eV/Å.
    """
    kt = KB * temperature
    r = 0.5 * (target.grid.edges[1:] + target.grid.edges[:-1])
    step = r[1] - r[0]
    u = np.zeros(basis.shape)
    for p, g in enumerate(target.g[: basis.pairs, : len(r)]):
        seen = np.flatnonzero(g > SEEN)
        if len(seen) == 0:
            continue
        onset = int(seen[0])
        pmf = -np.log(np.where(g > 0, g, 1.0))
        edge = np.argmin(np.abs(r - basis.r_max))
        pmf = pmf - pmf[max(edge - 20, 0) : edge + 1].mean()
        u[p, : len(r)] = pmf
        slope = wall[p] / kt
        inner = np.cumsum(0.5 * (slope[:onset][::-1] + slope[1 : onset + 1][::-1])) * step
        u[p, :onset] = u[p, onset] - inner[::-1]
    weight = np.zeros_like(u)
    inside = (r < basis.r_max) / (0.05 + 0.05 * np.abs(u[: basis.pairs, : len(r)])) ** 2
    weight[: basis.pairs, : len(r)] = inside
    return np.asarray(basis.project(u, weight, basis.penalty(1e3, 1e3)) * kt)
