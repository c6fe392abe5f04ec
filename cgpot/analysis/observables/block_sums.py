# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms over frames in bounded memory, with blocks for their errors, and their overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError

Array = NDArray[np.float64]
BLOCKS = 10
KEPT = 512
BOOTSTRAPS = 200
SEED = 7


@dataclass
class BlockSums:
    """Sums of counts over contiguous stretches of frames; no stretch spans two replicas.

    Beyond ``2 * kept`` stretches of a replica neighbours are merged, so that memory is bounded.
    """

    kept: int = KEPT
    _parts: list[list[Array]] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _stride: list[int] = field(default_factory=list)

    def add(self, counts: Array, replica: int = 0) -> None:
        """Add the counts of a frame."""
        while len(self._parts) <= replica:
            self._parts.append([])
            self._open.append(0)
            self._stride.append(1)
        part = self._parts[replica]
        if self._open[replica] == 0:
            part.append(np.array(counts, dtype=np.float64))
        else:
            part[-1] += counts
        self._open[replica] = (self._open[replica] + 1) % self._stride[replica]
        if self._open[replica] == 0 and len(part) >= 2 * self.kept:
            self._parts[replica] = [a + b for a, b in zip(part[::2], part[1::2], strict=True)]
            self._stride[replica] *= 2

    @property
    def total(self) -> Array:
        """Sum over all frames."""
        return np.sum([np.sum(part, axis=0) for part in self._parts if part], axis=0)

    def blocks(self) -> Array:
        """Sums of about ten contiguous blocks, (n_blocks, ...)."""
        return np.stack([block.sum(axis=0) for block in cut_blocks(self._filled)])

    def halves(self) -> Array:
        """Sums of two halves, (2, ...): by replica where there are several, else by time."""
        return np.stack([half.sum(axis=0) for half in cut_halves(self._filled)])

    @property
    def _filled(self) -> list[Array]:
        return [np.stack(part) for part in self._parts if part]


def cut_blocks(parts: Sequence[Array]) -> list[Array]:
    """About ten contiguous blocks of samples; no block spans two replicas.

    Args:
        parts: samples (n, ...) of each replica, in order.
    """
    n = sum(len(part) for part in parts)
    blocks = []
    for part in parts:
        wanted = max(1 if len(parts) > 1 else 2, round(BLOCKS * len(part) / n))
        blocks += np.array_split(part, min(wanted, len(part)))
    return blocks


def cut_halves(parts: Sequence[Array]) -> list[Array]:
    """Two halves of samples: by replica where there are several, else by time."""
    if len(parts) > 1:
        cut = (len(parts) + 1) // 2
        return [np.concatenate(parts[:cut]), np.concatenate(parts[cut:])]
    middle = len(parts[0]) // 2
    return [parts[0][:middle], parts[0][middle:]]


def means(pieces: Sequence[Array]) -> Array:
    """The mean over the samples of each piece, (pieces, ...)."""
    return np.stack([piece.mean(axis=0) for piece in pieces])


@dataclass(frozen=True)
class Distribution:
    """A normalised histogram with the blocks behind its errors.

    Attributes:
        edges: (bins + 1,) edges of the bins.
        p: (bins,) probability density: its integral is 1.
        error: (bins,) standard error over the blocks.
        blocks: (n_blocks, bins) counts of the blocks.
        halves: (2, bins) densities of the two halves.
        powers: (n_blocks, 2) sums of the values and of their squares.
    """

    edges: Array
    p: Array
    error: Array
    blocks: Array
    halves: Array
    powers: Array

    @property
    def x(self) -> Array:
        """Centres of the bins."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def halves_overlap(self) -> float:
        """Overlap of the two halves."""
        return overlap(self.halves[0], self.halves[1])

    def moments(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Mean and standard deviation of the values, each with its jackknife error."""
        n = self.blocks.sum(axis=1)
        m = len(n)
        left = np.array(
            [
                _moments(n.sum() - a, self.powers.sum(axis=0) - b)
                for a, b in zip(n, self.powers, strict=True)
            ]
        )
        error = np.sqrt((m - 1) / m * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
        mean, deviation = _moments(n.sum(), self.powers.sum(axis=0))
        return (mean, float(error[0])), (deviation, float(error[1]))


def _moments(n: float, powers: Array) -> tuple[float, float]:
    mean = float(powers[0] / n)
    return mean, math.sqrt(max(float(powers[1] / n) - mean**2, 0.0))


def distribution(blocks: Array, halves: Array, edges: Array) -> Distribution:
    """The distribution of counts, beside which the first two powers of the values are summed.

    Args:
        blocks: (n_blocks, bins + 2) counts and powers of `BlockSums.blocks`.
        halves: (2, bins + 2) of `BlockSums.halves`.
        edges: (bins + 1,).

    Raises:
        DataError: no counts at all, or in one block only.
    """
    counts, powers = blocks[:, :-2], blocks[:, -2:]
    some = counts.sum(axis=1) > 0
    counts, powers = counts[some], powers[some]
    if len(counts) < 2:
        raise DataError("expected counts in at least two blocks of frames for an error")
    width = np.diff(edges)
    return Distribution(
        edges=edges,
        p=_density(counts.sum(axis=0), width),
        error=_density(counts, width).std(axis=0, ddof=1) / math.sqrt(len(counts)),
        blocks=counts,
        halves=_density(halves[:, :-2], width),
        powers=powers,
    )


def _density(counts: Array, width: Array) -> Array:
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, 1.0) / width)


def overlap(p: Array, q: Array) -> float:
    """Sum of the smaller of two histograms (bins,), each normalised to 1: 1 for equal ones.

    >>> overlap(np.array([1.0, 1.0]), np.array([0.0, 3.0]))
    0.5
    """
    return float(np.minimum(p / p.sum(), q / q.sum()).sum())


def overlap_noise(sigma: Array) -> float:
    """Overlap of two runs of one system on average: half-normal means of the differences.

    Args:
        sigma: (bins,) combined standard errors of the two histograms, each normalised to 1.
    """
    return 1.0 - 0.5 * math.sqrt(2.0 / math.pi) * float(sigma.sum())


def compare_distributions(one: Distribution, other: Distribution) -> dict[str, float]:
    """Overlap of two distributions on the same bins.

    ``overlap_error`` comes from drawing the blocks of both again with replacement (200 times);
    ``overlap_noise`` is what two runs of one system with these errors would give on average
    (half-normal mean, sqrt(2/pi) sigma a bin): noise alone makes an overlap smaller than 1.

    Raises:
        DataError: the bins differ.
    """
    if one.edges.shape != other.edges.shape or not np.allclose(one.edges, other.edges):
        raise DataError("the histograms have different bins; expected those of the reference")
    rng = np.random.default_rng(SEED)

    def draw(blocks: Array) -> Array:
        return blocks[rng.integers(len(blocks), size=len(blocks))].sum(axis=0)

    draws = [overlap(draw(one.blocks), draw(other.blocks)) for _ in range(BOOTSTRAPS)]
    width = np.diff(one.edges)
    sigma = np.sqrt(one.error**2 + other.error**2) * width
    return {
        "overlap": overlap(one.p * width, other.p * width),
        "overlap_error": float(np.std(draws)),
        "overlap_noise": overlap_noise(sigma),
    }
