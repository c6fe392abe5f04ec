# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair counts and what a spline potential makes of them.

All sums over pairs run over histograms of the distances, fine against the knots, so that a
frame is a vector of counts and every estimate can be made again for other coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.pairs import pair_distances
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.splines import ZERO_AT_CUTOFF, basis, basis_derivative, locate, pair_index

Array = NDArray[np.float64]
FINE = 4
"""Fine bins in a bin of g(r)."""
_POINTS = 4


@dataclass(frozen=True)
class Grid:
    """Histogram of pair distances: ``bins`` bins of g(r) up to ``r_max``, each cut in `FINE`.

    Attributes:
        r_max: Å.
        bins: number of (coarse) bins.
    """

    r_max: float
    bins: int

    @property
    def edges(self) -> Array:
        """Edges of the fine bins, Å."""
        return np.linspace(0.0, self.r_max, self.bins * FINE + 1)

    @property
    def r(self) -> Array:
        """Centres of the coarse bins, Å."""
        return (np.arange(self.bins) + 0.5) * self.r_max / self.bins

    @property
    def shells(self) -> Array:
        """Volumes of the fine shells, Å^3."""
        return np.asarray(4.0 / 3.0 * np.pi * np.diff(self.edges**3))

    def coarse(self, g: Array) -> Array:
        """g(r) on fine bins (..., bins * FINE) averaged over the shells of each coarse bin."""
        shells = self.shells.reshape(self.bins, FINE)
        parts = g.reshape(*g.shape[:-1], self.bins, FINE)
        return np.asarray((parts * shells).sum(axis=-1) / shells.sum(axis=-1))


def all_pairs(topology: Topology) -> Array:
    """Number of pairs of sites of every pair of bead types, (pairs,)."""
    n = np.bincount(topology.types, minlength=len(topology.type_names)).astype(np.float64)
    rows = combinations_with_replacement(range(len(n)), 2)
    return np.array([n[a] * (n[a] - 1) / 2 if a == b else n[a] * n[b] for a, b in rows])


def count_pairs(frame: CGFrame, grid: Grid) -> NDArray[np.uint32]:
    """Counts (pairs, fine bins) of one frame; every pair of sites once.

    Raises:
        DataError: the grid exceeds half the box.
    """
    i, j, distance = pair_distances(frame, grid.r_max)
    fine = grid.bins * FINE
    k = np.minimum((distance * (fine / grid.r_max)).astype(np.int64), fine - 1)
    types = frame.topology.types
    index = pair_index(len(frame.topology.type_names))
    rows = int(index.max()) + 1
    counts = np.bincount(k + fine * index[types[i], types[j]], minlength=rows * fine)
    return counts.reshape(rows, fine).astype(np.uint32)


@dataclass(frozen=True)
class CountsBasis:
    """B-splines of a pair table on a grid of distances.

    Coefficients are flat vectors of ``pairs * width`` (``width = intervals + 3``), eV.

    Attributes:
        pairs: number of pairs of bead types.
        r_max: cutoff of the table, Å.
        intervals: number of intervals.
        grid: the histogram; must reach as far as the table.
    """

    pairs: int
    r_max: float
    intervals: int
    grid: Grid
    values: Array = field(init=False, repr=False)
    virial: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        edges = self.grid.edges
        part = (np.arange(_POINTS) + 0.5) / _POINTS
        r = edges[:-1, None] + np.diff(edges)[:, None] * part
        weight = r**2 / (r**2).sum(axis=1, keepdims=True)
        inside = (r < self.r_max) * weight
        first, t = locate(r, self.r_max, self.intervals)
        b = basis(t)
        d = basis_derivative(t) * (self.intervals / self.r_max)
        values = np.zeros((len(r), self.width))
        virial = np.zeros_like(values)
        lines = np.broadcast_to(np.arange(len(r))[:, None], r.shape)
        for k in range(4):
            np.add.at(values, (lines, first + k), b[k] * inside)
            np.add.at(virial, (lines, first + k), -r * d[k] * inside)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "virial", virial)

    @property
    def width(self) -> int:
        """Coefficients of a pair of types."""
        return self.intervals + 3

    @property
    def size(self) -> int:
        """Coefficients of all pairs."""
        return self.pairs * self.width

    @property
    def free(self) -> NDArray[np.int64]:
        """Indices of the coefficients that are not held at zero."""
        rows = [
            np.arange(p * self.width, (p + 1) * self.width - ZERO_AT_CUTOFF)
            for p in range(self.pairs)
        ]
        return np.concatenate(rows)

    def sums(self, counts: Array) -> Array:
        """Σ_pairs B_k of counts (..., pairs, fine bins): (..., size)."""
        return (counts @ self.values).reshape(*counts.shape[:-2], self.size)

    def independent(self, counts: Array) -> Array:
        """Covariance (size, size) of `sums` if pairs were independent, from mean counts."""
        result = np.zeros((self.size, self.size))
        for p in range(self.pairs):
            part = slice(p * self.width, (p + 1) * self.width)
            result[part, part] = self.values.T @ (self.values * counts[p][:, None])
        return result

    def pressures(self, counts: Array, volume: float) -> Array:
        """Pressure (bar) of unit coefficients (1 eV): -Σ r B_k' / 3V, (..., size)."""
        trace = (counts @ self.virial).reshape(*counts.shape[:-2], self.size)
        return np.asarray(trace * (EV_PER_A3_IN_BAR / (3.0 * volume)))

    def potential(self, coefficients: Array) -> Array:
        """u(r) of flat coefficients on the fine bins, (pairs, fine bins), eV."""
        return coefficients.reshape(self.pairs, self.width) @ self.values.T

    def penalty(self, value: float, curvature: float) -> Array:
        """Inverse covariance (size, size) of a change believed to have these sizes.

        Args:
            value: standard deviation of the coefficients.
            curvature: that of the second derivative, per Å^2.
        """
        second = np.diff(np.eye(self.width), 2, axis=0) / (self.r_max / self.intervals) ** 2
        one = second.T @ second / curvature**2 + np.eye(self.width) / value**2
        return np.asarray(np.kron(np.eye(self.pairs), one), dtype=np.float64)

    def project(self, target: Array, weight: Array, penalty: Array) -> Array:
        """Coefficients (size,) by weighted least squares to a function on the fine bins.

        Args:
            target: (pairs, fine bins).
            weight: (pairs, fine bins), inverse variances; 0 leaves a bin out.
            penalty: (size, size), added to the normal matrix.
        """
        matrix = penalty.copy()
        vector = np.zeros(self.size)
        for p in range(self.pairs):
            part = slice(p * self.width, (p + 1) * self.width)
            weighted = self.values * weight[p][:, None]
            matrix[part, part] += self.values.T @ weighted
            vector[part] = weighted.T @ target[p]
        free = self.free
        result = np.zeros(self.size)
        result[free] = np.linalg.solve(matrix[np.ix_(free, free)], vector[free])
        return result
