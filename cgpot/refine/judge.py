# SPDX-License-Identifier: GPL-2.0-or-later
"""How far an iteration is from the reference, and whether that is near enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgpot.molecules.pair_counts import pair_labels
from cgpot.molecules.rdf import first_peak, rdf_error
from cgpot.refine.refine_settings import ToleranceConfig
from cgpot.refine.refine_target import Target
from cgpot.refine.reweighting import WeightedAverages

HALF_NORMAL = math.sqrt(2.0 / math.pi)


def judge(cg: WeightedAverages, target: Target, tolerance: ToleranceConfig) -> dict[str, Any]:
    """Δg, first peak and pressure of averages against the reference, plain data.

    ``rdf_error`` is the largest over the pairs of bead types, ``rdf_error_noise`` what two
    runs of one system with these errors would give on average; ``merit`` is below 1 where
    both are within their limits.
    """
    grid = target.grid
    norm = grid.shells.reshape(grid.bins, -1).sum(axis=1)
    ideal = target.n_pairs[:, None] * norm / target.volume
    fine = cg.counts.reshape(len(cg.counts), grid.bins, -1)
    error = np.sqrt((cg.count_error.reshape(fine.shape) ** 2).sum(axis=-1))
    pairs = {}
    worst = 0.0
    for row, label in enumerate(pair_labels(target.topology)):
        if target.n_pairs[row] <= 0:
            continue
        g = fine[row].sum(axis=-1) / ideal[row]
        reference = target.coarse[row]
        sigma = np.sqrt((error[row] / ideal[row]) ** 2 + target.error[row] ** 2)
        noise = float(HALF_NORMAL * sigma.sum() / reference.sum())
        delta = rdf_error(g, reference)
        limit = tolerance.rdf_error or tolerance.noise * noise
        worst = max(worst, delta / limit)
        position, height = first_peak(grid.r, g)
        _, expected = first_peak(grid.r, reference)
        pairs[label] = {
            "rdf_error": delta,
            "rdf_error_noise": noise,
            "rdf_error_limit": limit,
            "first_peak": height,
            "first_peak_reference": expected,
            "first_peak_position_A": position,
        }
    first = max(pairs.values(), key=lambda p: p["rdf_error"] / p["rdf_error_limit"])
    record: dict[str, Any] = {
        **first,
        "pressure_bar": cg.pressure,
        "pressure_error_bar": cg.pressure_error,
        "pressure_reference_bar": None,
        "pressure_limit_bar": None,
        "effective_frames": cg.effective,
        "pairs": pairs,
    }
    if target.pressure is not None:
        wanted, reference_error = target.pressure
        combined = math.hypot(cg.pressure_error, reference_error)
        limit = tolerance.pressure_bar or tolerance.sigmas * combined
        record["pressure_reference_bar"] = wanted
        record["pressure_reference_error_bar"] = reference_error
        record["pressure_limit_bar"] = limit
        worst = max(worst, abs(cg.pressure - wanted) / max(limit, 1e-9))
    record["merit"] = worst
    record["within"] = worst <= 1.0
    return record


def coarse_g(cg: WeightedAverages, target: Target) -> np.ndarray:
    """g(r) (pairs, bins) of averages."""
    ideal = np.where(target.ideal > 0, target.ideal, 1.0)
    return target.grid.coarse(cg.counts / ideal)
