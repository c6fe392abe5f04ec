# SPDX-License-Identifier: GPL-2.0-or-later
"""g(r) of one pair of bead types: first peak, minimum, neighbours, and how two of them differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.rdf import first_peak, rdf_error, rough_peak

Array = NDArray[np.float64]
BOOTSTRAPS = 200
BOOTSTRAP_SEED = 7


@dataclass(frozen=True)
class PairRDF:
    """g(r) of one pair of bead types.

    Attributes:
        r: (bins,) bin centres, Å.
        g: (bins,) mean.
        error: (bins,) standard error from contiguous blocks.
        blocks: (n_blocks, bins) means of the blocks.
        halves: (2, bins) means of two halves (replicas when there are several).
        coordination: (bins,) neighbours of the second type within the bin's outer edge.
        coordination_error: (bins,) its standard error.
        n_frames: frames behind it.
    """

    r: Array
    g: Array
    error: Array
    blocks: Array
    halves: Array
    coordination: Array
    coordination_error: Array
    n_frames: int

    @property
    def width(self) -> float:
        """Width of a bin, Å."""
        return float(self.r[1] - self.r[0])

    def peak(self) -> dict[str, float]:
        """Position and height of the first peak with jackknife errors over the blocks."""
        position, height = first_peak(self.r, self.g)
        m = len(self.blocks)
        total = self.blocks.sum(axis=0)
        near, _ = rough_peak(self.r, self.g)
        left = np.array([first_peak(self.r, (total - b) / (m - 1), near=near) for b in self.blocks])
        spread = np.sqrt((m - 1) / m * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
        return {
            "position": position,
            "position_error": float(spread[0]),
            "height": height,
            "height_error": float(spread[1]),
        }

    def first_minimum(self) -> float | None:
        """Radius of the first minimum behind the first peak, Å; None when there is none."""
        position, height = rough_peak(self.r, self.g)
        size = max(1, round(0.3 / self.width))
        smooth = np.convolve(self.g, np.ones(size) / size, mode="same")
        inside = (self.r > position) & (self.r < min(1.9 * position, self.r[-1] - 0.3))
        if inside.sum() < 3:
            return None
        k = int(np.flatnonzero(inside)[np.argmin(smooth[inside])])
        if k + 1 >= np.flatnonzero(inside)[-1] or smooth[k] > 0.98 * height:
            return None
        return float(self.r[k])

    def neighbours(self, radius: float) -> dict[str, float]:
        """Coordination number within ``radius`` Å, and its error."""
        edges = self.r + 0.5 * self.width
        return {
            "radius": radius,
            "number": float(np.interp(radius, edges, self.coordination)),
            "error": float(np.interp(radius, edges, self.coordination_error)),
        }


def compare_rdf(cg: PairRDF, reference: PairRDF) -> dict[str, Any]:
    """RDF error and first-peak differences of one pair of bead types.

    ``rdf_error`` is the integral of |g_CG - g_AA| over that of g_AA up to the last bin.  Its
    error comes from drawing the blocks of both runs again with replacement (200 times);
    ``rdf_error_noise`` is what two runs of the same system with these block errors would
    give on average (half-normal mean, sqrt(2/pi) sigma a bin).

    Raises:
        DataError: the bins differ.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    draws = [
        rdf_error(
            cg.blocks[rng.integers(len(cg.blocks), size=len(cg.blocks))].mean(axis=0),
            reference.blocks[rng.integers(len(reference.blocks), size=len(reference.blocks))].mean(
                axis=0
            ),
        )
        for _ in range(BOOTSTRAPS)
    ]
    sigma = np.sqrt(cg.error**2 + reference.error**2)
    a, b = cg.peak(), reference.peak()
    relative = (a["height"] - b["height"]) / b["height"]
    return {
        "rdf_error": rdf_error(cg.g, reference.g),
        "rdf_error_error": float(np.std(draws)),
        "rdf_error_noise": float(math.sqrt(2.0 / math.pi) * sigma.sum() / reference.g.sum()),
        "first_peak_height_rel_error": relative,
        "first_peak_height_rel_error_error": (1.0 + relative)
        * math.hypot(a["height_error"] / a["height"], b["height_error"] / b["height"]),
        "first_peak_shift_A": a["position"] - b["position"],
        "first_peak_shift_error_A": math.hypot(a["position_error"], b["position_error"]),
    }


def halves_error(rdf: PairRDF) -> float:
    """RDF error of the second half (or replicas) against the first."""
    return rdf_error(rdf.halves[1], rdf.halves[0])
