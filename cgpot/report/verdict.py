# SPDX-License-Identifier: GPL-2.0-or-later
"""The headline table: every bar, both values, their difference, and whether it is met."""

from __future__ import annotations

from typing import Any

from cgpot.analysis.observables.registry import OBSERVABLES
from cgpot.report.gather import Gathered
from cgpot.report.limits import Limits
from cgpot.report.numbers import MISSING, dig, number, plus_minus, real, scientific, signed
from cgpot.report.row import (
    INFO,
    MET,
    MISSED,
    UNKNOWN,
    Row,
    combined,
    limit_text,
    notes_of,
    percent,
    spread_of,
    status_of,
)


def runs_of(analysis: dict[str, Any], ensemble: str) -> list[dict[str, Any]]:
    """Runs of one ensemble, in the order in which they were given."""
    return [run for run in analysis.get("runs", []) if run.get("ensemble") == ensemble]


def verdict(data: Gathered, limits: Limits) -> list[Row]:
    """Rows of the table, the most important first; a missing part is 'not measured'."""
    analysis = data.analysis
    nvt = next(iter(runs_of(analysis, "nvt")), None)
    npt = next(iter(runs_of(analysis, "npt")), None)
    structure = nvt or npt
    labels = list(dig(analysis, "reference", "rdf") or {})
    rows = []
    for label in labels:
        rows += _structure_rows(analysis, structure, label, limits, several=len(labels) > 1)
    rows += _overlap_rows(analysis, structure, limits)
    rows += [
        _pressure_row(analysis, nvt, limits),
        _density_row(analysis, npt, limits),
        _force_row(data, limits),
        _stability_row(nvt, limits),
    ]
    drift = _drift_row(analysis, limits)
    if drift is not None:
        rows.append(drift)
    return rows


def _structure_rows(
    analysis: dict[str, Any],
    run: dict[str, Any] | None,
    label: str,
    limits: Limits,
    *,
    several: bool,
) -> list[Row]:
    suffix = f" {label}" if several else ""
    key = f"_{label}" if several else ""
    reference = dig(analysis, "reference", "rdf", label) or {}
    found = dig(run, "comparison", "rdf", label) or {}
    error, spread = real(found.get("rdf_error")), real(found.get("rdf_error_error"))
    halves = real(reference.get("halves_error"))
    noise = real(found.get("rdf_error_noise"))
    note = notes_of(error, spread, limits.rdf_error, halves, limits.reference_share)
    if error is not None and noise is not None:
        note = f"by chance alone: about {noise:.4f}" + (f"; {note}" if note else "")
    rows = [
        Row(
            key=f"rdf_error{key}",
            label=f"RDF error Δg{suffix}",
            cg=error,
            cg_error=spread,
            difference=error,
            difference_error=spread,
            limit=limits.rdf_error,
            halves=halves,
            status=status_of(error, limits.rdf_error),
            texts={
                "aa": "0 by definition",
                "cg": plus_minus(error, spread, fallback_digits=4),
                "difference": number(error, 4),
                "limit": limit_text(limits.rdf_error, "≤ {:g}"),
                "halves": number(halves, 4),
            },
            note=note,
        )
    ]
    aa, cg = reference.get("peak") or {}, dig(run, "rdf", label, "peak") or {}
    relative = real(found.get("first_peak_height_rel_error"))
    spread = real(found.get("first_peak_height_rel_error_error"))
    heights = [real(h) for h in reference.get("halves_peak_height") or []]
    own = None
    if len(heights) == 2 and heights[0] and heights[1]:
        own = abs(heights[1] / heights[0] - 1.0)
    limit = limits.first_peak_height_rel_error
    rows.append(
        Row(
            key=f"first_peak_height{key}",
            label=f"First peak of g(r), height{suffix}",
            aa=real(aa.get("height")),
            aa_error=real(aa.get("height_error")),
            cg=real(cg.get("height")),
            cg_error=real(cg.get("height_error")),
            difference=relative,
            difference_error=spread,
            limit=limit,
            halves=own,
            status=status_of(relative, limit),
            texts={
                "aa": plus_minus(aa.get("height"), aa.get("height_error"), fallback_digits=3),
                "cg": plus_minus(cg.get("height"), cg.get("height_error"), fallback_digits=3),
                "difference": percent(relative),
                "limit": limit_text(None if limit is None else 100 * limit, "within {:g} %"),
                "halves": MISSING if own is None else f"{100 * own:.1f} %",
            },
            note=notes_of(relative, spread, limit, own, limits.reference_share),
        )
    )
    return rows


def _overlap_rows(
    analysis: dict[str, Any], run: dict[str, Any] | None, limits: Limits
) -> list[Row]:
    """One row for each distribution whose overlap is held against a limit."""
    rows = []
    for kind in OBSERVABLES:
        if not kind.limit:
            continue
        limit = getattr(limits, kind.limit)
        missing = None if limit is None else 1.0 - limit
        for label, reference in (dig(analysis, "reference", kind.name) or {}).items():
            found = dig(run, "comparison", kind.name, label) or {}
            value, error = real(found.get("overlap")), real(found.get("overlap_error"))
            difference = None if value is None else 1.0 - value
            halves = 1.0 - reference["halves_overlap"]
            note = notes_of(difference, error, missing, halves, limits.reference_share)
            noise = real(found.get("overlap_noise"))
            if noise is not None:
                note = f"by chance alone: about {noise:.3f}" + (f"; {note}" if note else "")
            rows.append(
                Row(
                    key=f"{kind.name}_overlap_{label}",
                    label=f"Overlap of the {kind.title.lower()}, {label}",
                    aa=1.0,
                    cg=value,
                    cg_error=error,
                    difference=difference,
                    difference_error=error,
                    limit=missing,
                    halves=halves,
                    status=status_of(difference, missing),
                    texts={
                        "aa": "1 by definition",
                        "cg": plus_minus(value, error, fallback_digits=4),
                        "difference": number(difference, 4),
                        "limit": limit_text(limit, "≥ {:g}"),
                        "halves": number(halves, 4),
                    },
                    note=note,
                )
            )
    return rows


def _pressure_row(analysis: dict[str, Any], run: dict[str, Any] | None, limits: Limits) -> Row:
    aa = dig(analysis, "reference", "pressure") or {}
    cg = dig(run, "pressure") or {}
    a, b = real(aa.get("mean")), real(cg.get("mean"))
    difference = None if a is None or b is None else b - a
    error = combined(aa.get("error"), cg.get("error"))
    halves = spread_of(aa.get("halves"))
    note = notes_of(difference, error, limits.pressure_bar, halves, limits.reference_share)
    density_a = real(dig(analysis, "reference", "density", "mean"))
    density_b = real(dig(run, "density", "mean"))
    if density_a and density_b and abs(density_b / density_a - 1.0) > 2e-3:
        note = "; ".join(
            [*filter(None, [note]), f"at {density_b:.1f} instead of {density_a:.1f} kg/m³"]
        )
    return Row(
        key="pressure",
        label="Pressure at the atomistic density (NVT)",
        unit="bar",
        aa=a,
        aa_error=real(aa.get("error")),
        cg=b,
        cg_error=real(cg.get("error")),
        difference=difference,
        difference_error=error,
        limit=limits.pressure_bar,
        halves=halves,
        status=status_of(difference, limits.pressure_bar),
        texts={
            "aa": plus_minus(a, aa.get("error"), "bar"),
            "cg": plus_minus(b, cg.get("error"), "bar"),
            "difference": signed(difference, 0, "bar"),
            "limit": limit_text(limits.pressure_bar, "within {:g} bar"),
            "halves": number(halves, 0, "bar"),
        },
        note=note,
    )


def _density_row(analysis: dict[str, Any], run: dict[str, Any] | None, limits: Limits) -> Row:
    aa = analysis.get("density_aa") or {}
    cg = dig(run, "density") or {}
    a, b = real(aa.get("value")), real(cg.get("mean"))
    difference = None if a is None or b is None else b / a - 1.0
    error = None
    both = combined(aa.get("error"), cg.get("error"))
    if difference is not None and both is not None and a:
        error = both / a
    spread = spread_of(aa.get("halves"))
    halves = None if spread is None or not a else spread / a
    limit = limits.density_rel
    notes = [notes_of(difference, error, limit, halves, limits.reference_share)]
    method = str(aa.get("method") or "")
    if method.startswith("estimated") or a is None:
        notes.append(f"atomistic value {method}")
    return Row(
        key="density",
        label="Density at 1 atm (NPT)",
        unit="kg/m³",
        aa=a,
        aa_error=real(aa.get("error")),
        cg=b,
        cg_error=real(cg.get("error")),
        difference=difference,
        difference_error=error,
        limit=limit,
        halves=halves,
        status=status_of(difference, limit),
        texts={
            "aa": plus_minus(a, aa.get("error"), "kg/m³", fallback_digits=1),
            "cg": plus_minus(b, cg.get("error"), "kg/m³", fallback_digits=1),
            "difference": percent(difference),
            "limit": limit_text(None if limit is None else 100 * limit, "within {:g} %"),
            "halves": MISSING if halves is None else f"{100 * halves:.2f} %",
        },
        note="; ".join(filter(None, notes)),
    )


def _force_row(data: Gathered, limits: Limits) -> Row:
    force = dig(data.analysis, "parity", "force") or {}
    model = real(force.get("rmse_model"))
    pair = real(force.get("rmse_pair"))
    model_error, gain_error = real(force.get("rmse_model_error")), None
    if model is None:
        model, pair = (
            real(dig(data.result, "force_rmse")),
            real(dig(data.result, "force_rmse_pair_fit")),
        )
    else:
        gain_error = real(force.get("gain_over_pair_error"))
    difference = None if model is None or pair is None else model - pair
    status = UNKNOWN
    if difference is not None:
        status = (MET if difference < 0 else MISSED) if limits.force_rmse_below_pair_fit else INFO
    return Row(
        key="force_rmse",
        label="Force error on held-out frames (RMSE)",
        unit="eV/Å",
        aa=pair,
        aa_error=real(force.get("rmse_pair_error")),
        cg=model,
        cg_error=model_error,
        difference=difference,
        difference_error=gain_error,
        status=status,
        texts={
            "aa": MISSING if pair is None else f"pair fit: {number(pair, 4, 'eV/Å')}",
            "cg": number(model, 4, "eV/Å"),
            "difference": MISSING
            if difference is None
            else f"{plus_minus(1000 * difference, 1000 * (gain_error or 0))} meV/Å",
            "limit": "below the pair fit" if limits.force_rmse_below_pair_fit else "–",
            "halves": "–",
        },
        note="most of it is thermal noise of the labels, see Forces" if model is not None else "",
    )


def _stability_row(run: dict[str, Any] | None, limits: Limits) -> Row:
    ns = real(dig(run, "stable_ns"))
    limit = limits.stable_ns
    status = UNKNOWN if ns is None else INFO if limit is None else MET
    if ns is not None and limit is not None and ns < limit * (1 - 1e-9):
        status = MISSED
    failures = dig(run, "failures")
    note = ""
    if isinstance(failures, list) and failures:
        note = f"{len(failures)} failure(s): {dig(failures, 0, 'message') or 'see md.json'}"
    return Row(
        key="stable_ns",
        label="NVT time without a failure",
        unit="ns",
        cg=ns,
        difference=None if ns is None or limit is None else ns - limit,
        limit=limit,
        status=status,
        texts={
            "aa": "–",
            "cg": number(ns, 3, "ns"),
            "difference": "–",
            "limit": limit_text(limit, "≥ {:g} ns"),
            "halves": "–",
        },
        note=note,
    )


def _drift_row(analysis: dict[str, Any], limits: Limits) -> Row | None:
    run = next(iter(runs_of(analysis, "nve")), None)
    if run is None and limits.energy_drift_per_ps is None:
        return None
    drift = real(dig(run, "energy_drift", "relative_per_ps"))
    limit = limits.energy_drift_per_ps
    return Row(
        key="energy_drift",
        label="Energy drift (NVE), share of the kinetic energy per ps",
        unit="1/ps",
        cg=drift,
        difference=drift,
        limit=limit,
        status=status_of(drift, limit),
        texts={
            "aa": "–",
            "cg": MISSING if drift is None else f"{scientific(drift)} per ps",
            "difference": "–",
            "limit": "–" if limit is None else f"≤ {scientific(limit, 0)} per ps",
            "halves": "–",
        },
    )
