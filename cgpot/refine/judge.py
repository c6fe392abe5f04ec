# SPDX-License-Identifier: GPL-2.0-or-later
"""How far an iteration is from the reference, and whether that is near enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.block_sums import overlap, overlap_noise
from cgpot.molecules.rdf import first_peak, rdf_error
from cgpot.refine.frame_counts import FrameTally, term_rows
from cgpot.refine.refine_settings import ToleranceConfig
from cgpot.refine.refine_target import Target, pair_rows
from cgpot.refine.reweighting import WeightedAverages

Array = NDArray[np.float64]
HALF_NORMAL = math.sqrt(2.0 / math.pi)


def judge(cg: WeightedAverages, target: Target, tolerance: ToleranceConfig) -> dict[str, Any]:
    """Δg, first peak, overlaps and pressure of averages against the reference, plain data.

    ``rdf_error`` is that of the worst refined pair of bead types, ``rdf_error_noise`` what two
    runs of one system with these errors would give on average; the same of ``bonded_overlap``.
    ``merit`` is below 1 where all that is refined is within its limits.
    """
    pairs = _pairs(cg, target, tolerance)
    refined = cg.basis.refined
    chosen = {label: p for label, p in pairs.items() if p.pop("refined")} or pairs
    first = max(chosen.values(), key=lambda p: p["rdf_error"] / p["rdf_error_limit"])
    worst = first["rdf_error"] / first["rdf_error_limit"] if any(refined[: cg.basis.pairs]) else 0.0
    record: dict[str, Any] = {
        **first,
        "bonded_overlap": None,
        "pressure_bar": cg.pressure,
        "pressure_error_bar": cg.pressure_error,
        "pressure_reference_bar": None,
        "pressure_limit_bar": None,
        "effective_frames": cg.effective,
        "pairs": pairs,
    }
    if terms := _terms(cg, target, tolerance):
        low = max(terms.values(), key=_short)
        record |= {f"bonded_{key}": value for key, value in low.items()}
        record["terms"] = terms
        worst = max(worst, _short(low))
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


def _pairs(
    cg: WeightedAverages, target: Target, tolerance: ToleranceConfig
) -> dict[str, dict[str, Any]]:
    """Δg and first peak of each pair of bead types."""
    grid, tally = target.grid, target.tally
    norm = grid.shells.reshape(grid.bins, -1).sum(axis=1)
    n_pairs = tally.counter.between
    ideal = n_pairs[:, None] * norm / target.volume
    fine = pair_rows(tally, cg.counts).reshape(tally.pairs, grid.bins, -1)
    error = pair_rows(tally, cg.count_error).reshape(fine.shape)
    error = np.sqrt((error**2).sum(axis=-1))
    pairs = {}
    for row, label in enumerate(tally.counter.labels):
        if n_pairs[row] <= 0:
            continue
        g = fine[row].sum(axis=-1) / ideal[row]
        reference = target.coarse[row]
        sigma = np.sqrt((error[row] / ideal[row]) ** 2 + target.error[row] ** 2)
        noise = float(HALF_NORMAL * sigma.sum() / reference.sum())
        position, height = first_peak(grid.r, g)
        _, expected = first_peak(grid.r, reference)
        pairs[label] = {
            "rdf_error": rdf_error(g, reference),
            "rdf_error_noise": noise,
            "rdf_error_limit": tolerance.rdf_error or tolerance.noise * noise,
            "first_peak": height,
            "first_peak_reference": expected,
            "first_peak_position_A": position,
            "refined": cg.basis.refined[row],
        }
    return pairs


def _terms(
    cg: WeightedAverages, target: Target, tolerance: ToleranceConfig
) -> dict[str, dict[str, float]]:
    """Overlap of each refined bonded distribution, on the bins of the analysis."""
    found = {}
    reference_error = target.blocks.std(axis=0, ddof=1) / math.sqrt(len(target.blocks))
    for rows, row, label in term_rows(target.tally):
        if not cg.basis.refined[row - (target.tally.pairs if target.tally.within else 0)]:
            continue
        own, other = (rows.coarse(x[row, : rows.bins]) for x in (cg.counts, target.g))
        square = cg.count_error**2 + reference_error**2
        sigma = np.sqrt(rows.coarse(square[row, : rows.bins])) / other.sum()
        noise = overlap_noise(sigma)
        limit = 1.0 - tolerance.noise * (1.0 - noise)
        found[label] = {
            "overlap": overlap(own, other),
            "overlap_noise": noise,
            "overlap_limit": tolerance.bonded_overlap or limit,
        }
    return found


def _short(term: dict[str, float]) -> float:
    """What an overlap lacks, over what it may lack."""
    return (1.0 - term["overlap"]) / max(1.0 - term["overlap_limit"], 1e-9)


def distributions(tally: FrameTally, counts: Array) -> dict[str, list[float]]:
    """Part of the terms of a kind in each bin of the analysis, by kind, plain data."""
    found = {}
    for rows, row, label in term_rows(tally):
        p = rows.coarse(counts[row, : rows.bins])
        found[label] = (p / p.sum()).round(7).tolist()
    return found


def coarse_g(cg: WeightedAverages, target: Target) -> np.ndarray:
    """g(r) (pairs, bins) of averages."""
    ideal = np.where(target.ideal > 0, target.ideal, 1.0)
    return target.grid.coarse(pair_rows(target.tally, cg.counts / ideal))
