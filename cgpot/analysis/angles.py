# SPDX-License-Identifier: GPL-2.0-or-later
"""Angular distribution in the first shell: neighbour - centre - neighbour, one bead type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.pairs import pair_distances
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.whole import minimum_image

Array = NDArray[np.float64]
ANGLE_BINS = 45


@dataclass(frozen=True)
class AngleDistribution:
    """Distribution of first-shell angles.

    Attributes:
        theta: (bins,) bin centres, degrees.
        p: (bins,) probability density per degree (integrates to 1).
        error: (bins,) standard error over contiguous blocks of frames.
        radius: shell radius, Å.
        n_frames: frames behind it.
    """

    theta: Array
    p: Array
    error: Array
    radius: float
    n_frames: int


def angle_distribution(
    frames: Sequence[CGFrame], bead_type: int, radius: float, bins: int = ANGLE_BINS
) -> AngleDistribution:
    """Angles between two neighbours within ``radius`` of a site, all of one bead type.

    Raises:
        DataError: fewer than two frames, no angle at all, or a radius beyond half the box.
    """
    if len(frames) < 2:
        raise DataError(f"expected at least 2 frames for an angular distribution: {len(frames)}")
    edges = np.linspace(0.0, 180.0, bins + 1)
    cos_edges = np.cos(np.radians(edges))[::-1]
    samples = np.stack([_frame_counts(f, bead_type, radius, cos_edges)[::-1] for f in frames])
    if samples.sum() == 0:
        raise DataError(f"no site has two neighbours within {radius:.2f} Å")
    width = 180.0 / bins
    blocks = np.stack([b.sum(axis=0) for b in np.array_split(samples, min(10, len(samples)))])
    blocks = blocks[blocks.sum(axis=1) > 0]
    densities = blocks / blocks.sum(axis=1, keepdims=True) / width
    total = samples.sum(axis=0)
    spread = densities.std(axis=0, ddof=1) if len(blocks) > 1 else np.zeros(bins)
    return AngleDistribution(
        theta=0.5 * (edges[1:] + edges[:-1]),
        p=total / total.sum() / width,
        error=spread / np.sqrt(len(blocks)),
        radius=radius,
        n_frames=len(frames),
    )


def _frame_counts(frame: CGFrame, bead_type: int, radius: float, cos_edges: Array) -> Array:
    topology = frame.topology
    i, j, _ = pair_distances(frame, radius)
    keep = (
        (topology.types[i] == bead_type)
        & (topology.types[j] == bead_type)
        & (topology.molecules[i] != topology.molecules[j])
    )
    i, j = np.concatenate([i[keep], j[keep]]), np.concatenate([j[keep], i[keep]])
    if len(i) == 0:
        return np.zeros(len(cos_edges) - 1)
    order = np.argsort(i, kind="stable")
    i, j = i[order], j[order]
    vectors = minimum_image(frame.positions[j] - frame.positions[i], frame.cell)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = np.bincount(i, minlength=topology.n_sites)
    slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = int(counts.max())
    padded = np.zeros((topology.n_sites, most, 3))
    padded[i, slot] = vectors
    cosines = padded @ padded.transpose(0, 2, 1)
    valid = np.arange(most)[None, :] < counts[:, None]
    upper = np.triu(np.ones((most, most), dtype=bool), 1)
    mask = valid[:, :, None] & valid[:, None, :] & upper
    values = np.clip(cosines[mask], -1.0, 1.0)
    return np.histogram(values, bins=cos_edges)[0].astype(np.float64)
