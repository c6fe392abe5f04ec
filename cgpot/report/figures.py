# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of structure, pressure and density."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.report.gather import Gathered
from cgpot.report.limits import Limits
from cgpot.report.numbers import dig, number, plus_minus, real
from cgpot.report.svg import AA, CG, CG2, LIMIT, MUTED, WIDTH, Figure, drawing, to_svg
from cgpot.report.verdict import runs_of


def structure_figures(data: Gathered) -> list[Figure]:
    """g(r) of every pair with the difference, and the angles in the first shell."""
    figures = []
    for label in dig(data.analysis, "reference", "rdf") or {}:
        figures.append(_rdf(data.analysis, label))
    for name in dig(data.analysis, "reference", "angles") or {}:
        figures.append(_angles(data.analysis, name))
    return figures


def _compared_runs(analysis: dict[str, Any], label: str) -> list[tuple[dict[str, Any], str, str]]:
    """At most one NVT and one NPT run that have this g(r), with colour and dash."""
    found = []
    for ensemble, colour, dash in (("nvt", CG, "-"), ("npt", CG2, "--")):
        for run in runs_of(analysis, ensemble):
            if dig(run, "rdf", label):
                found.append((run, colour, dash))
                break
    return found


def _rdf(analysis: dict[str, Any], label: str) -> Figure:
    reference = analysis["reference"]["rdf"][label]
    r, g = np.array(reference["r_A"]), np.array(reference["g"])
    error, halves = np.array(reference["error"]), np.array(reference["halves"])
    runs = _compared_runs(analysis, label)
    key = f"rdf-{label}"
    with drawing() as plt:
        figure, (top, low) = plt.subplots(
            2, 1, figsize=(WIDTH, 4.6), sharex=True, height_ratios=(2.4, 1), layout="constrained"
        )
        low_band = np.minimum(halves.min(axis=0), g - 2 * error)
        high_band = np.maximum(halves.max(axis=0), g + 2 * error)
        top.fill_between(r, low_band, high_band, color=AA, alpha=0.28, lw=0)
        top.plot(r, g, color=AA, lw=3.2, alpha=0.75, label="atomistic, mapped")
        top.axhline(1.0, color=MUTED, lw=0.7)
        low.fill_between(r, low_band - g, high_band - g, color=AA, alpha=0.28, lw=0)
        low.axhline(0.0, color=MUTED, lw=0.7)
        for run, colour, dash in runs:
            other = np.array(run["rdf"][label]["g"])
            name = f"CG, {run['ensemble'].upper()}"
            top.plot(r, other, color=colour, ls=dash, lw=1.5, label=name)
            low.plot(r, other - g, color=colour, ls=dash, lw=1.3)
        top.set_ylabel("g(r)")
        top.set_ylim(bottom=0)
        top.legend(loc="upper right")
        low.set_ylabel("CG − atomistic")
        low.set_xlabel("distance r / Å")
        low.set_xlim(max(0.0, float(r[np.argmax(g > 0)]) - 1.0), float(r[-1]))
        alt = _rdf_alt(reference, runs, label)
        svg = to_svg(figure, key, alt)
    return Figure(
        key=key,
        title=f"Radial distribution function, {label}",
        alt=alt,
        caption="How likely a neighbour is at distance r, compared with a structureless fluid "
        "(1). The grey band is the uncertainty of the atomistic reference: two standard errors, "
        "or its two halves where they lie further apart. Below, the difference: a line inside "
        "the band cannot be told from the reference.",
        svg=svg,
    )


def _rdf_alt(
    reference: dict[str, Any], runs: list[tuple[dict[str, Any], str, str]], label: str
) -> str:
    peak = reference["peak"]
    text = (
        f"Line chart of g(r) for {label}. The atomistic first peak is {peak['height']:.2f} at "
        f"{peak['position']:.2f} Å"
    )
    for run, _, _ in runs:
        p = run["rdf"][label]["peak"]
        delta = dig(run, "comparison", label, "rdf_error")
        text += (
            f"; that of the CG {run['ensemble'].upper()} run is {p['height']:.2f} at "
            f"{p['position']:.2f} Å, RDF error {number(delta, 3)}"
        )
    return text + "."


def _angles(analysis: dict[str, Any], name: str) -> Figure:
    reference = analysis["reference"]["angles"][name]
    theta, p = np.array(reference["theta_deg"]), np.array(reference["p_per_deg"])
    error = np.array(reference["error_per_deg"])
    key = f"angles-{name}"
    largest = 0.0
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
        axes.fill_between(
            theta, 100 * (p - 2 * error), 100 * (p + 2 * error), color=AA, alpha=0.28, lw=0
        )
        axes.plot(theta, 100 * p, color=AA, lw=3.2, alpha=0.75, label="atomistic, mapped")
        for ensemble, colour, dash in (("nvt", CG, "-"), ("npt", CG2, "--")):
            for run in runs_of(analysis, ensemble)[:1]:
                found = dig(run, "angles", name)
                if found is None:
                    continue
                other = np.array(found["p_per_deg"])
                largest = max(largest, float(np.abs(other - p).max() / p.max()))
                axes.plot(
                    theta,
                    100 * other,
                    color=colour,
                    ls=dash,
                    lw=1.5,
                    label=f"CG, {ensemble.upper()}",
                )
        sine = np.sin(np.radians(theta))
        axes.plot(
            theta, 100 * sine / sine.sum() / (theta[1] - theta[0]), color=MUTED, lw=0.8, ls=":"
        )
        axes.set_xlim(0, 180)
        axes.set_xticks(range(0, 181, 30))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("angle neighbour – centre – neighbour / °")
        axes.set_ylabel("probability / % per °")
        axes.legend(loc="upper right")
        alt = (
            f"Line chart of the angles between two neighbours of a {name} bead within "
            f"{reference['radius_A']:.2f} Å; the CG curve differs from the atomistic one by at "
            f"most {100 * largest:.0f} % of the largest value."
        )
        svg = to_svg(figure, key, alt)
    return Figure(
        key=key,
        title=f"Angles in the first shell, {name}",
        alt=alt,
        caption=f"Angles between pairs of neighbours closer than {reference['radius_A']:.2f} Å, "
        "the first minimum of the atomistic g(r). Three-body structure that g(r) does not show. "
        "Dotted: neighbours placed at random.",
        svg=svg,
    )


def state_figures(data: Gathered, limits: Limits) -> list[Figure]:
    """Time series of pressure (NVT) and density (NPT) beside the atomistic means."""
    analysis = data.analysis
    figures = []
    nvt = next(iter(runs_of(analysis, "nvt")), None)
    if nvt is not None:
        aa = dig(analysis, "reference", "pressure") or {}
        figures.append(
            _series(
                nvt,
                "pressure",
                title="Pressure at the atomistic density",
                unit="bar",
                mean=real(aa.get("mean")),
                error=real(aa.get("error")),
                margin=limits.pressure_bar,
                caption="Block means over the NVT run; a single frame of a liquid scatters by "
                "hundreds of bar, only the mean counts.",
            )
        )
    npt = next(iter(runs_of(analysis, "npt")), None)
    if npt is not None:
        value = analysis.get("density_aa") or {}
        mean = real(value.get("value"))
        margin = None if mean is None or limits.density_rel is None else mean * limits.density_rel
        figures.append(
            _series(
                npt,
                "density",
                title="Density at constant pressure",
                unit="kg/m³",
                mean=mean,
                error=real(value.get("error")),
                margin=margin,
                caption="The box of the NPT run is free to find its own density; a model with a "
                "wrong virial shrinks or boils here. Atomistic value: "
                f"{value.get('method') or 'not measured'}.",
            )
        )
    return figures


def _series(
    run: dict[str, Any],
    quantity: str,
    *,
    title: str,
    unit: str,
    mean: float | None,
    error: float | None,
    margin: float | None,
    caption: str,
) -> Figure:
    series = run["series"][quantity]
    time, values = np.array(series["time_ps"]), np.array(series["value"])
    own = run[quantity]
    key = f"series-{quantity}"
    start = float(own.get("start_ps") or 0.0)
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
        if start > 0:
            axes.axvspan(
                time[0] - 0.5 * (time[1] - time[0]), time[0] + start, color=MUTED, alpha=0.12, lw=0
            )
            axes.text(
                time[0] + 0.5 * start,
                0.985,
                "equilibration" if start > 0.2 * time[-1] else "eq.",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                color=MUTED,
                size=9,
            )
        axes.plot(time, values, color=CG, lw=0.9, alpha=0.65)
        axes.axhline(
            own["mean"], color=CG, lw=2.2, label=f"CG {plus_minus(own['mean'], own['error'])}"
        )
        if mean is not None:
            shown = plus_minus(mean, error)
            axes.axhline(mean, color=AA, lw=2.2, ls=(0, (5, 2)), label=f"atomistic {shown}")
            if error:
                axes.axhspan(mean - 2 * error, mean + 2 * error, color=AA, alpha=0.28, lw=0)
            if margin is not None:
                for edge in (mean - margin, mean + margin):
                    axes.axhline(edge, color=LIMIT, lw=1.1, ls=":")
        axes.set_xlim(time[0] - 0.5 * (time[1] - time[0]), time[-1])
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.24 * (high - low))
        axes.set_xlabel("time / ps")
        axes.set_ylabel(f"{quantity} / {unit}")
        axes.legend(loc="upper right", ncols=1)
        alt = (
            f"Time series of the {quantity} of the CG {run['ensemble'].upper()} run. Mean "
            f"{plus_minus(own['mean'], own['error'], unit)}, atomistic "
            f"{plus_minus(mean, error, unit)}."
        )
        svg = to_svg(figure, key, alt)
    extra = " Grey band: two standard errors of the atomistic mean." if error else ""
    if mean is not None and margin is not None:
        extra += " Dotted: the limit."
    if start > 0:
        extra += f" The first {start:.0f} ps are taken for equilibration and left out."
    return Figure(key=key, title=title, alt=alt, caption=caption + extra, svg=svg)
