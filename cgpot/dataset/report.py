# SPDX-License-Identifier: GPL-2.0-or-later
"""The report on a data set: what its labels say, beside what the engine said.

Keys and units (``report.json``): ``force_rms`` eV/Å per component, ``stress_std`` eV/Å^3 per
component (fluctuation about the mean), pressures in bar, ``density_kg_m3``, distances in Å.

The labels of single frames are noisy; what a network can learn is their mean over frames.
``force_autocorrelation`` (at 1, 2, ... frames) tells whether successive frames are independent
samples of that noise: near zero, every frame counts; near one, they repeat each other.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import thermo_path
from cgpot.core.statistics import MIN_SAMPLES, Estimate, estimate
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.dataset.labels import LabelStatistics, combined
from cgpot.molecules.compositions import composition_of
from cgpot.molecules.frame import Topology
from cgpot.molecules.rdf import RDF, rdf_error

FORMAT = "cgpot-dataset-report-1"


def read_engine_pressure(data_set: str | Path) -> dict[int, float]:
    """Engine pressures (bar) by source frame, from the table beside a data set; empty without.

    Raises:
        InputError: a table that is not one.
    """
    path = thermo_path(data_set)
    if not path.is_file():
        return {}
    result: dict[int, float] = {}
    with open(path, encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            try:
                if row["pressure_engine_bar"]:
                    result[int(row["frame"])] = float(row["pressure_engine_bar"])
            except (KeyError, ValueError, TypeError) as err:
                raise InputError(f"row {number + 1}: {err!r}", file=path) from err
    return result


def _estimate(values: Sequence[float]) -> Estimate | None:
    return estimate(values) if len(values) >= MIN_SAMPLES else None


def _rdf(rdfs: list[RDF]) -> dict[str, Any]:
    """g(r) of several runs on the same bins, weighted by frames."""
    weights = np.asarray([r.n_frames for r in rdfs], dtype=np.float64)
    weights /= weights.sum()
    g = sum(w * r.g for w, r in zip(weights, rdfs, strict=True))
    error = np.sqrt(sum((w * r.error) ** 2 for w, r in zip(weights, rdfs, strict=True)))
    halves = sum(w * r.halves for w, r in zip(weights, rdfs, strict=True))
    merged = RDF(rdfs[0].r, g, error, halves, sum(r.n_frames for r in rdfs))
    peak_r, peak_height = merged.peak
    return {
        "r": _rounded(merged.r, 6),
        "g": _rounded(merged.g, 6),
        "error": _rounded(merged.error, 6),
        "first_peak_r": peak_r,
        "first_peak_height": peak_height,
        "halves_delta": rdf_error(merged.halves[0], merged.halves[1]),
    }


def _rounded(values: NDArray[np.float64], decimals: int) -> list[float]:
    return [float(x) for x in np.round(values, decimals)]


def build_report(
    runs: Sequence[LabelStatistics],
    topologies: Sequence[Topology],
    *,
    engine: Sequence[Sequence[float]],
    temperature: float | None,
    sources: Sequence[Mapping[str, Any]] = (),
    subsets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as plain data.

    Of several compositions what belongs to one (numbers of sites, density, g(r), pressure) stands
    in ``compositions``; the figures of the forces are over all frames.

    Args:
        runs: statistics of each mapped run.
        topologies: the sites of each run, with the same bead types.
        engine: engine pressures of each run's frames, bar (empty: unknown).
        temperature: K, or None.
        sources: what the mapping said of each run (files, notes, pressure check).
        subsets: what was written where.
    """
    n_frames = sum(r.n_frames for r in runs)
    names = [composition_of(topology) for topology in topologies]
    parts = []
    for name in dict.fromkeys(names):
        mine = [k for k, other in enumerate(names) if other == name]
        parts.append(
            {
                "composition": name,
                "n_runs": len(mine),
                "n_frames": sum(runs[k].n_frames for k in mine),
                **_one_composition(
                    [runs[k] for k in mine],
                    [topologies[k] for k in mine],
                    [engine[k] for k in mine],
                ),
            }
        )
    topology = topologies[0]
    weights = np.asarray([r.n_frames for r in runs], dtype=np.float64) / n_frames
    force_rms = float(np.sqrt(weights @ np.asarray([r.force_rms**2 for r in runs])))
    report: dict[str, Any] = {
        "format": FORMAT,
        "n_frames": n_frames,
        "n_runs": len(runs),
        "bead_type_names": list(topology.type_names),
        "bead_type_masses": list(topology.type_masses),
        "temperature": temperature,
        "frame_spacing_ps": [r.spacing() for r in runs],
        "force_rms": force_rms,
        "force_autocorrelation": _mean_lags(runs),
        "net_force": _net_force(runs, [t.n_sites for t in topologies], force_rms),
        "shortest_distance": min(r.shortest for r in runs)
        if np.isfinite(min(r.shortest for r in runs))
        else None,
    }
    own = ("composition", "n_runs", "n_frames")
    report |= {
        key: value if len(parts) == 1 else None for key, value in parts[0].items() if key not in own
    }
    if len(parts) > 1:
        report["compositions"] = parts
    stress = [s for r in runs for s in r.stress]
    if len(stress) > 1:
        sites = float(np.average([t.n_sites for t in topologies], weights=weights))
        report.update(_stress(runs, n_frames, sites, force_rms))
    else:
        report["stress_std"] = None
    report["sources"] = [dict(s) for s in sources]
    if subsets is not None:
        report["subsets"] = dict(subsets)
    return report


def _one_composition(
    runs: Sequence[LabelStatistics],
    topologies: Sequence[Topology],
    engine: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """What belongs to the frames of one composition."""
    topology = topologies[0]
    names = topology.type_names
    same = all(t.n_sites == topology.n_sites for t in topologies)
    counts = np.bincount(topology.types, minlength=len(names)).tolist()
    found: dict[str, Any] = {
        "n_sites": topology.n_sites if same else None,
        "bead_type_counts": counts if same else None,
        "density_kg_m3": combined([_estimate(r.density) for r in runs])
        or {"mean": float(np.mean([d for r in runs for d in r.density]))},
        "volume_A3": {"mean": float(np.mean([v for r in runs for v in r.volume]))},
        "pressure_label_bar": combined([_estimate(r.pressure) for r in runs]),
        "pressure_engine_bar": combined([_estimate(list(e)) for e in engine]),
        "rdf": _rdf([r.rdf.result() for r in runs]) if min(r.n_frames for r in runs) > 1 else None,
    }
    if len(names) > 1 and found["rdf"] is not None:
        found["rdf_pairs"] = {
            f"{names[a]}-{names[b]}": _rdf([r.pairs[a, b].result() for r in runs])
            for a, b in sorted(runs[0].pairs)
        }
    return found


def state_report(
    states: Sequence[str], temperatures: Sequence[float | None], runs: Sequence[LabelStatistics]
) -> list[dict[str, Any]]:
    """What the data hold at each state point, in order of first appearance.

    Args:
        states: name of the state point of each run.
        temperatures: K, of each run.
        runs: statistics of each run.
    """
    result = []
    for name in dict.fromkeys(states):
        mine = [k for k, state in enumerate(states) if state == name]
        density = [d for k in mine for d in runs[k].density]
        result.append(
            {
                "state": name,
                "n_runs": len(mine),
                "n_frames": sum(runs[k].n_frames for k in mine),
                "temperature": temperatures[mine[0]],
                "density_kg_m3": {"mean": float(np.mean(density))},
                "pressure_label_bar": combined([_estimate(runs[k].pressure) for k in mine]),
                "force_rms": float(
                    np.sqrt(
                        np.average(
                            [runs[k].force_rms ** 2 for k in mine],
                            weights=[runs[k].n_frames for k in mine],
                        )
                    )
                ),
            }
        )
    return result


def _mean_lags(runs: Sequence[LabelStatistics]) -> list[float]:
    lags = [r.autocorrelation() for r in runs]
    depth = min(len(x) for x in lags)
    return [float(np.mean([x[i] for x in lags])) for i in range(depth)]


def _net_force(
    runs: Sequence[LabelStatistics], n_sites: Sequence[int], rms: float
) -> dict[str, float]:
    """Total force per frame, and its ratio to what independent forces would sum to."""
    values = np.asarray([v for r in runs for v in r.net_force])
    frames = [r.n_frames for r in runs]
    random_walk = rms * float(np.average(np.sqrt(3 * np.asarray(n_sites)), weights=frames))
    return {
        "mean": float(values.mean()),
        "max": float(values.max()),
        "relative_to_random": float(values.mean() / random_walk) if random_walk > 0 else 0.0,
    }


def _stress(
    runs: Sequence[LabelStatistics],
    n_frames: int,
    n_sites: float,
    force_rms: float,
) -> dict[str, Any]:
    """Spread of the stress labels and the loss weights that it suggests.

    Inverse variances per component are the statistical optimum.  For a loss of means over
    components (as in nequip) the ratio is that of the numbers of components as well:
    ``(6 / 3 n_sites) force_rms^2 / stress_std^2``.
    """
    deviations = np.concatenate([np.stack(r.stress) - np.mean(r.stress, axis=0) for r in runs])
    per_component = deviations.std(axis=0, ddof=len(runs))
    std = float(np.sqrt(np.mean(per_component**2)))
    mean = np.mean(np.concatenate([np.stack(r.stress) for r in runs]), axis=0)
    result: dict[str, Any] = {
        "stress_mean_voigt": [float(x) for x in mean],
        "stress_std_voigt": [float(x) for x in per_component],
        "stress_std": std,
        "stress_std_bar": std * EV_PER_A3_IN_BAR,
    }
    if std > 0 and force_rms > 0:
        result["suggested_loss_weights"] = {
            "inverse_variance_force": 1.0 / force_rms**2,
            "inverse_variance_stress": 1.0 / std**2,
            "stress_to_force_ratio_of_means": 2.0 * force_rms**2 / (n_sites * std**2),
        }
    return result
