# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of pressure and density in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.report.gather import Gathered
from cgpot.report.limits import Limits
from cgpot.report.numbers import dig, plus_minus, real
from cgpot.report.svg import AA, CG, LIMIT, MUTED, WIDTH, Figure, drawing, to_svg
from cgpot.report.verdict import runs_of


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
