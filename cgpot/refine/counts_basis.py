# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair counts and what a spline potential makes of them.

All sums over pairs run over histograms of the distances, fine against the knots, so that a
frame is a vector of counts and every estimate can be made again for other coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import PairCounter
from cgpot.molecules.topology import Topology
from cgpot.potential.splines import ZERO_AT_CUTOFF, basis, basis_derivative, locate

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
        """Centres of the coarse bins, Å: those of the analysis to the last digit."""
        edges = np.linspace(0.0, self.r_max, self.bins + 1)
        return np.asarray(0.5 * (edges[1:] + edges[:-1]))

    @property
    def shells(self) -> Array:
        """Volumes of the fine shells, Å^3."""
        return np.asarray(4.0 / 3.0 * np.pi * np.diff(self.edges**3))

    def coarse(self, g: Array) -> Array:
        """g(r) on fine bins (..., bins * FINE) averaged over the shells of each coarse bin."""
        shells = self.shells.reshape(self.bins, FINE)
        parts = g.reshape(*g.shape[:-1], self.bins, FINE)
        return np.asarray((parts * shells).sum(axis=-1) / shells.sum(axis=-1))

    def counter(self, topology: Topology) -> PairCounter:
        """Counts pairs of different molecules on the fine bins, as the analysis does.

        Its rows are the pairs of bead types; ``between`` is the number of pairs of each.
        """
        return PairCounter(topology, self.r_max, self.bins * FINE)

    def counts(self, frames: Iterable[CGFrame]) -> NDArray[np.uint32]:
        """Counts (frames, pairs, fine bins) of frames of one topology.

        Raises:
            DataError: no frames, or the grid exceeds half the box.
        """
        counter: PairCounter | None = None
        found = []
        for frame in frames:
            counter = counter or self.counter(frame.topology)
            found.append(counter.count(frame))
        if not found:
            raise DataError("no frames to count pairs in; expected at least one")
        return np.stack(found)


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
