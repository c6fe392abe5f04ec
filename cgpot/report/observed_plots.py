# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the figures of observables in the page's style."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.analysis.observables.plot import AA as ATOMISTIC
from cgpot.analysis.observables.plot import NPT, NVE, NVT, Curve, Plot
from cgpot.report.numbers import plus_minus
from cgpot.report.svg import AA, CG, CG2, MUTED, WIDTH, Figure, drawing, to_svg

STYLES: dict[str | None, dict[str, Any]] = {
    ATOMISTIC: {"color": AA, "lw": 3.2, "alpha": 0.75},
    NVT: {"color": CG, "lw": 1.5},
    NPT: {"color": CG2, "lw": 1.5, "ls": "--"},
    NVE: {"color": MUTED, "lw": 1.5, "ls": ":"},
    None: {"color": MUTED, "lw": 0.8, "ls": ":"},
}


def draw(plot: Plot) -> Figure:
    """The figure of a plot."""
    with drawing() as plt:
        if plot.difference:
            figure, (axes, low) = plt.subplots(
                2,
                1,
                figsize=(WIDTH, 4.6),
                sharex=True,
                height_ratios=(2.4, 1),
                layout="constrained",
            )
            _difference(low, plot)
        else:
            figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
            low = axes
        if plot.level is not None:
            axes.axhline(plot.level, color=MUTED, lw=0.7)
        for curve in plot.curves:
            _line(axes, curve, plot)
        axes.set_ylabel(plot.y_label)
        low.set_xlabel(plot.x_label)
        if plot.logarithmic:
            _plain_logarithms(axes)
        elif not plot.marks:
            axes.set_ylim(bottom=0)
        if plot.x_range is not None:
            low.set_xlim(*plot.x_range)
        if plot.x_ticks is not None and plot.x_range is not None:
            first, last = plot.x_range
            low.set_xticks(np.arange(first, last + 1e-9, plot.x_ticks))
        axes.legend(
            loc="upper right" if plot.difference else "best",
            title=plot.legend or None,
            title_fontsize=9.5,
        )
        svg = to_svg(figure, plot.key, plot.alt)
    return Figure(key=plot.key, title=plot.title, alt=plot.alt, caption=plot.caption, svg=svg)


def _line(axes: Any, curve: Curve, plot: Plot) -> None:
    style = STYLES[curve.role]
    name = curve.name or None
    if name and curve.value is not None:
        name += f": {plus_minus(curve.value, curve.error)}"
    if curve.low is not None and curve.high is not None:
        if plot.marks:
            half = 0.5 * (np.asarray(curve.high) - np.asarray(curve.low))
            axes.errorbar(
                curve.x, curve.y, half, color=style["color"], fmt="o", ms=5, capsize=3, label=name
            )
            return
        axes.fill_between(curve.x, curve.low, curve.high, color=style["color"], alpha=0.28, lw=0)
    axes.plot(curve.x, curve.y, label=name, **style)


def _difference(axes: Any, plot: Plot) -> None:
    """Curves less the first one, and its band."""
    first, *others = plot.curves
    y = np.asarray(first.y)
    if first.low is not None and first.high is not None:
        low, high = np.asarray(first.low) - y, np.asarray(first.high) - y
        axes.fill_between(first.x, low, high, color=AA, alpha=0.28, lw=0)
    axes.axhline(0.0, color=MUTED, lw=0.7)
    for curve in others:
        axes.plot(curve.x, np.asarray(curve.y) - y, **{**STYLES[curve.role], "lw": 1.3})
    axes.set_ylabel("CG − atomistic")


def _plain_logarithms(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
