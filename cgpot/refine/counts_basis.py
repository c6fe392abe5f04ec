# SPDX-License-Identifier: GPL-2.0-or-later
"""What splines make of counts: their sums, pressures, and fits on the bins.

A frame is a table of counts (`cgpot.refine.frame_counts.FrameTally`), so that every estimate can be
made again for other coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.potential.splines import ZERO_AT_CUTOFF, basis, basis_derivative, locate
from cgpot.refine.frame_counts import Grid, TermRows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_POINTS = 4
TERM_BEND = 0.25
"""Second difference of a bonded term's coefficients that is believed beforehand, as a part of the
value: between knots that resolve a term its energy bends more than a pair's."""


@dataclass(frozen=True)
class Block:
    """Rows of counts and the coefficients whose splines they are summed with.

    Attributes:
        rows: of the counts.
        columns: of the coefficients, ``width`` for each row.
        values: (bins, width) mean of each spline in each bin.
        virial: (bins, width) mean of its tr W; zero of angles and dihedrals.
        fixed: whether the number of what is counted is fixed (bonded terms).
    """

    rows: slice
    columns: slice
    values: Array
    virial: Array
    fixed: bool

    @property
    def width(self) -> int:
        """Coefficients of a row."""
        return int(self.values.shape[1])

    def of(self, counts: Array) -> Array:
        """The block's part of counts (..., rows, bins)."""
        return counts[..., self.rows, : len(self.values)]

    def each(self) -> list[tuple[int, slice]]:
        """Row and columns of each of its functions."""
        width, first = self.width, self.columns.start
        return [
            (row, slice(first + k * width, first + (k + 1) * width))
            for k, row in enumerate(range(self.rows.start, self.rows.stop))
        ]


@dataclass(frozen=True)
class CountsBasis:
    """B-splines of a pair table, and of bonded terms, on bins.

    Coefficients are flat vectors, eV: ``pairs * width`` of the pair table (``width = intervals +
    3``), then those of the bonded terms, kind after kind.

    Attributes:
        pairs: number of pairs of bead types.
        r_max: cutoff of the table, Å.
        intervals: number of intervals.
        grid: the histogram of distances; must reach as far as the table.
        within: whether pairs of one molecule are counted in rows of their own.
        terms: bonded terms.
        refined: of each function (pairs, then kinds of terms) whether it is changed; empty: all.
    """

    pairs: int
    r_max: float
    intervals: int
    grid: Grid
    within: bool = False
    terms: tuple[TermRows, ...] = ()
    refined: tuple[bool, ...] = ()
    blocks: tuple[Block, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.refined:
            object.__setattr__(self, "refined", (True,) * self.functions)
        values, virial = self._pair_splines()
        n, columns = self.pairs, slice(0, self.pairs * self.width)
        blocks = [Block(slice(0, n), columns, values, virial, False)]
        if self.within:
            blocks.append(Block(slice(n, 2 * n), columns, values, virial, False))
        row, column = blocks[-1].rows.stop, columns.stop
        for rows in self.terms:
            values, virial = _term_splines(rows)
            kinds, size = rows.term.n_kinds, rows.term.size
            blocks.append(
                Block(slice(row, row + kinds), slice(column, column + size), values, virial, True)
            )
            row, column = row + kinds, column + size
        object.__setattr__(self, "blocks", tuple(blocks))

    def _pair_splines(self) -> tuple[Array, Array]:
        edges = self.grid.edges
        r = _inside(edges)
        weight = r**2 / (r**2).sum(axis=1, keepdims=True) * (r < self.r_max)
        first, t = locate(r, self.r_max, self.intervals)
        b = basis(t)
        d = basis_derivative(t) * (self.intervals / self.r_max)
        values = np.zeros((len(r), self.width))
        virial = np.zeros_like(values)
        lines = np.broadcast_to(np.arange(len(r))[:, None], r.shape)
        for k in range(4):
            np.add.at(values, (lines, first + k), b[k] * weight)
            np.add.at(virial, (lines, first + k), -r * d[k] * weight)
        return values, virial

    @property
    def width(self) -> int:
        """Coefficients of a pair of types."""
        return self.intervals + 3

    @property
    def functions(self) -> int:
        """Pairs of bead types and kinds of bonded terms."""
        return self.pairs + sum(rows.term.n_kinds for rows in self.terms)

    @property
    def size(self) -> int:
        """Coefficients of all."""
        return self.pairs * self.width + sum(rows.term.size for rows in self.terms)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and bins of counts."""
        return self.blocks[-1].rows.stop, max(len(block.values) for block in self.blocks)

    @property
    def free(self) -> NDArray[np.int64]:
        """Indices of the coefficients that are not held."""
        free = np.zeros(self.size, dtype=bool)
        kept = iter(self.refined)
        for block in self._functions():
            for (_, columns), chosen in zip(block.each(), kept, strict=False):
                end = columns.stop - (0 if block.fixed else ZERO_AT_CUTOFF)
                free[columns.start : end] = chosen
        return np.flatnonzero(free)

    def _functions(self) -> list[Block]:
        """Blocks without that of pairs of one molecule, whose coefficients stand before."""
        return [block for k, block in enumerate(self.blocks) if not (self.within and k == 1)]

    @property
    def term_blocks(self) -> tuple[Block, ...]:
        """Blocks of the bonded terms."""
        return self.blocks[len(self.blocks) - len(self.terms) :]

    @property
    def seen(self) -> Mask:
        """(rows, bins) bins that some spline reaches."""
        found = np.zeros(self.shape, dtype=bool)
        for block in self.blocks:
            block.of(found)[...] = block.values.any(axis=1)
        return found

    def sums(self, counts: Array) -> Array:
        """Sum of each spline over what is counted (..., rows, bins): (..., size)."""
        return self._summed(counts, "values")

    def _summed(self, counts: Array, what: str) -> Array:
        result = np.zeros((*counts.shape[:-2], self.size))
        for block in self.blocks:
            part = block.of(counts) @ getattr(block, what)
            result[..., block.columns] += part.reshape(*counts.shape[:-2], -1)
        return result

    def independent(self, counts: Array) -> Array:
        """Covariance (size, size) of `sums` if pairs and terms were independent, from mean counts.

        The number of pairs within a distance varies, that of bonded terms does not.
        """
        result = np.zeros((self.size, self.size))
        for block in self.blocks:
            for row, columns in block.each():
                mine = counts[row, : len(block.values)]
                result[columns, columns] += block.values.T @ (block.values * mine[:, None])
                if block.fixed and mine.sum() > 0:
                    mean = mine @ block.values
                    result[columns, columns] -= np.outer(mean, mean) / mine.sum()
        return result

    def pressures(self, counts: Array, volume: float) -> Array:
        """Pressure (bar) of unit coefficients (1 eV): -Σ r B_k' / 3V, (..., size)."""
        trace = self._summed(counts, "virial")
        return np.asarray(trace * (EV_PER_A3_IN_BAR / (3.0 * volume)))

    def potential(self, coefficients: Array) -> Array:
        """Energies of flat coefficients on the bins, (rows, bins), eV; 0 beyond a row's bins."""
        found = np.zeros(self.shape)
        for block in self.blocks:
            c = coefficients[block.columns].reshape(-1, block.width)
            block.of(found)[...] = c @ block.values.T
        return found

    def penalty(self, value: float, curvature: float) -> Array:
        """Inverse covariance (size, size) of a change believed to have these sizes.

        Args:
            value: standard deviation of the coefficients.
            curvature: that of the second derivative of a pair's, per Å^2; see `TERM_BEND`.
        """
        matrix = np.eye(self.size) / value**2
        second = np.diff(np.eye(self.width), 2, axis=0) / (self.r_max / self.intervals) ** 2
        one = second.T @ second / curvature**2
        columns = self.blocks[0].columns
        matrix[columns, columns] += np.kron(np.eye(self.pairs), one)
        for rows, block in zip(self.terms, self.term_blocks, strict=True):
            matrix[block.columns, block.columns] += rows.term.roughness() / (TERM_BEND * value) ** 2
        return matrix

    def project(self, target: Array, weight: Array, penalty: Array) -> Array:
        """Coefficients (size,) by weighted least squares to functions on the bins.

        Args:
            target: (rows, bins).
            weight: (rows, bins), inverse variances; 0 leaves a bin out.
            penalty: (size, size), added to the normal matrix.
        """
        matrix = penalty.copy()
        vector = np.zeros(self.size)
        for block in self.blocks:
            for row, columns in block.each():
                n = len(block.values)
                weighted = block.values * weight[row, :n, None]
                matrix[columns, columns] += block.values.T @ weighted
                vector[columns] += weighted.T @ target[row, :n]
        free = self.free
        result = np.zeros(self.size)
        result[free] = np.linalg.solve(matrix[np.ix_(free, free)], vector[free])
        return result


def _inside(edges: Array) -> Array:
    """(bins, points) places inside the bins."""
    part = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.asarray(edges[:-1, None] + np.diff(edges)[:, None] * part)


def _term_splines(rows: TermRows) -> tuple[Array, Array]:
    """Means over each bin of the splines of a term and of their tr W.

    Angles do not change when a frame is scaled: they have no part in the trace of the virial.
    """
    q = _inside(rows.edges)
    weight = rows.term.jacobian(q)
    weight = weight / weight.sum(axis=1, keepdims=True)
    values, slopes = rows.term.splines(q.ravel())
    shape = (*q.shape, rows.term.width)
    mean = np.einsum("bp,bpk->bk", weight, values.reshape(shape))
    if rows.name != "bond":
        return mean, np.zeros_like(mean)
    return mean, -np.einsum("bp,bpk->bk", weight * q, slopes.reshape(shape))
