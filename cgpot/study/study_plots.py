# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures of a study: Pareto front, pressure and force errors against structure, learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgpot.core.files import atomic_path
from cgpot.study.marks import COLOURS, having, label_points, log_limits, scatter, style
from cgpot.study.point_rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRESSURE_LINEAR = 100.0


@dataclass(frozen=True)
class StudyPlot:
    """A picture.

    Attributes:
        key: stem of its file.
        title: heading.
        caption: what is to be seen.
        path: the PNG file.
    """

    key: str
    title: str
    caption: str
    path: Path


def draw_all(rows: Sequence[Row], folder: Path, noise: float | None = None) -> list[StudyPlot]:
    """Draw what the rows allow; pictures of an earlier call that they no longer allow go.

    Args:
        rows: of `cgpot.study.point_rows.collect`.
        folder: for the PNG files.
        noise: Δg between two halves of the atomistic reference.
    """
    wanted: list[tuple[str, str, str, Callable[[Any], bool]]] = [
        (
            "pareto",
            "Structure against speed",
            "RDF error Δg against the speed of NVT dynamics on one thread. Colour: family of "
            "models; marker: labels of the loss; bars: one standard error. The line joins the "
            "points that no other beats in both.",
            lambda axes: _pareto(axes, rows, noise),
        ),
        (
            "pressure",
            "Pressure against structure",
            "Pressure of the CG fluid minus the atomistic one, at the atomistic density, against "
            "the RDF error. Linear within ±100 bar (shaded), logarithmic beyond.",
            lambda axes: _pressure(axes, rows),
        ),
        (
            "forces",
            "Force error against structure",
            "RMSE of held-out forces, most of which is the noise of single frames, against the "
            "RDF error of the fluid that the model makes.",
            lambda axes: _forces(axes, rows, noise),
        ),
        (
            "learning",
            "Learning curve",
            "RDF error (left) and RMSE of held-out forces (right) against the number of training "
            "frames. Crosses on the upper edge: the dynamics failed.",
            lambda axes: _learning(axes, rows),
        ),
    ]
    plots = []
    for key, title, caption, draw in wanted:
        path = folder / f"{key}.png"
        if _save(path, draw, wide=key == "learning"):
            plots.append(StudyPlot(key, title, caption, path))
        else:
            path.unlink(missing_ok=True)
    return plots


def _save(path: Path, draw: Callable[[Any], bool], *, wide: bool) -> bool:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0 if wide else 8.2, 4.4 if wide else 5.6), dpi=130)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, 2) if wide else figure.subplots()
    if not draw(axes):
        return False
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return True


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats (larger x, smaller y), by falling x."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], points[i][1]))
    best, front = math.inf, []
    for index in order:
        if points[index][1] < best:
            best = points[index][1]
            front.append(index)
    return front


def _pareto(axes: Axes, rows: Sequence[Row], noise: float | None) -> bool:
    rows = [
        row
        for row in having(rows, "rdf_error", "ns_per_day")
        if row["rdf_error"] > 0 and row["ns_per_day"] > 0
    ]
    if not rows:
        return False
    values = [(float(row["ns_per_day"]), float(row["rdf_error"])) for row in rows]
    style(axes, "speed, ns/day (NVT, one thread)", "RDF error Δg")
    log_limits(axes, values, x=True, y=True)
    front = pareto_front(values)
    corner_x: list[float] = []
    corner_y: list[float] = []
    for number, index in enumerate(front):
        if number:
            corner_x.append(values[index][0])
            corner_y.append(corner_y[-1])
        corner_x.append(values[index][0])
        corner_y.append(values[index][1])
    axes.plot(corner_x, corner_y, color="#8a5a9e", lw=1.4, ls="--", zorder=2)
    _noise(axes, noise, vertical=False)
    scatter(axes, rows, values, [None] * len(rows), [row["rdf_error_error"] for row in rows])
    label_points(axes, rows, values)
    return True


def _noise(axes: Axes, noise: float | None, *, vertical: bool) -> None:
    if noise is None:
        return
    low, high = axes.get_xlim() if vertical else axes.get_ylim()
    if not low <= noise <= high:
        return
    (axes.axvline if vertical else axes.axhline)(noise, color="#6b7280", lw=1.0, ls=":")
    axes.annotate(
        "two halves of the reference",
        (noise, 0.02) if vertical else (0.01, noise),
        xycoords=axes.get_xaxis_transform() if vertical else axes.get_yaxis_transform(),
        xytext=(3, 3),
        textcoords="offset points",
        rotation=90 if vertical else 0,
        fontsize=7.6,
        color="#6b7280",
    )


def _pressure(axes: Axes, rows: Sequence[Row]) -> bool:
    rows = [
        r for r in having(rows, "rdf_error", "pressure_bar", "pressure_aa_bar") if r["rdf_error"]
    ]
    if not rows:
        return False
    values = [
        (float(row["rdf_error"]), float(row["pressure_bar"]) - float(row["pressure_aa_bar"]))
        for row in rows
    ]
    errors = [
        math.hypot(row["pressure_error_bar"] or 0.0, row["pressure_aa_error_bar"] or 0.0)
        for row in rows
    ]
    style(axes, "RDF error Δg", "pressure error, bar")
    log_limits(axes, values, x=True, y=False)
    largest = max(abs(value[1]) for value in values)
    if largest > 3 * PRESSURE_LINEAR:
        axes.set_yscale("symlog", linthresh=PRESSURE_LINEAR, linscale=1.0)
        low, high = (min(v[1] for v in values), max(v[1] for v in values))
        axes.set_ylim(
            min(-1.5 * PRESSURE_LINEAR, 2.0 * low), max(1.5 * PRESSURE_LINEAR, 2.0 * high)
        )
        from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

        axes.yaxis.set_major_locator(
            SymmetricalLogLocator(base=10, linthresh=PRESSURE_LINEAR, subs=[1.0, 3.0])
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.margins(y=0.15)
    axes.axhspan(-PRESSURE_LINEAR, PRESSURE_LINEAR, color="#009E73", alpha=0.08, zorder=0)
    axes.axhline(0.0, color="#6b7280", lw=1.0, zorder=1)
    spread = [row["rdf_error_error"] for row in rows]
    scatter(axes, rows, values, spread, errors)
    label_points(axes, rows, values, spread)
    return True


def _forces(axes: Axes, rows: Sequence[Row], noise: float | None) -> bool:
    rows = [row for row in having(rows, "rdf_error", "force_rmse_eV_A") if row["rdf_error"] > 0]
    if not rows:
        return False
    values = [(float(row["force_rmse_eV_A"]), float(row["rdf_error"])) for row in rows]
    style(axes, "RMSE of held-out forces, eV/Å", "RDF error Δg")
    log_limits(axes, values, x=False, y=True)
    low, high = (min(v[0] for v in values), max(v[0] for v in values))
    room = max(0.15 * (high - low), 2e-4 * high)
    axes.set_xlim(low - room, high + room)
    pair = [row["force_rmse_pair_fit_eV_A"] for row in having(rows, "force_rmse_pair_fit_eV_A")]
    if pair and low - room < min(pair) < high + room:
        axes.axvline(min(pair), color="#6b7280", lw=1.0, ls=":")
        axes.annotate(
            "best pair fit",
            (min(pair), 0.02),
            xycoords=axes.get_xaxis_transform(),
            xytext=(3, 3),
            textcoords="offset points",
            rotation=90,
            fontsize=7.6,
            color="#6b7280",
        )
    _noise(axes, noise, vertical=False)
    scatter(axes, rows, values, [None] * len(rows), [row["rdf_error_error"] for row in rows])
    label_points(axes, rows, values)
    return True


def _learning(axes: Sequence[Axes], rows: Sequence[Row]) -> bool:
    """Drawn where points differ in frames and in nothing else."""
    rows = [row for row in having(rows, "frames", "force_rmse_eV_A") if row["frames"] > 0]
    series: dict[tuple[str, str, Any], list[Row]] = {}
    for row in rows:
        series.setdefault((str(row["family"]), str(row["loss"]), row["parameters"]), []).append(row)
    series = {
        key: sorted(group, key=lambda row: row["frames"])
        for key, group in series.items()
        if len({row["frames"] for row in group}) > 1
    }
    if not series:
        return False
    left, right = axes
    colours = {key: COLOURS[i % len(COLOURS)] for i, key in enumerate(series)}
    for key, group in series.items():
        family, loss, _ = key
        line: dict[str, Any] = {"color": colours[key], "marker": "o", "ms": 6, "lw": 1.5}
        good = having(group, "rdf_error")
        if good:
            left.errorbar(
                [row["frames"] for row in good],
                [row["rdf_error"] for row in good],
                yerr=[row["rdf_error_error"] or 0.0 for row in good],
                capsize=2.5,
                elinewidth=1.1,
                label=f"{family}, {loss}",
                **line,
            )
        for row in group:
            if row not in good:
                left.plot(
                    row["frames"],
                    0.97,
                    marker="x",
                    color=colours[key],
                    transform=left.get_xaxis_transform(),
                    clip_on=False,
                )
        right.plot(
            [row["frames"] for row in group],
            [row["force_rmse_eV_A"] for row in group],
            label=f"{family}, {loss}",
            **line,
        )
    frames = sorted({int(row["frames"]) for group in series.values() for row in group})
    pair = [
        (row["frames"], row["force_rmse_pair_fit_eV_A"])
        for row in max(series.values(), key=len)
        if isinstance(row["force_rmse_pair_fit_eV_A"], float)
    ]
    if pair:
        right.plot(*zip(*pair, strict=True), color="#6b7280", ls=":", lw=1.3, label="pair fit")
    for axis, y_label in ((left, "RDF error Δg"), (right, "RMSE of held-out forces, eV/Å")):
        style(axis, "training frames", y_label)
        axis.set_xscale("log")
        axis.set_xlim(frames[0] / 1.4, frames[-1] * 1.4)
        axis.set_xticks(frames, [str(n) for n in frames])
        axis.set_xticks([], minor=True)
    left.set_ylim(bottom=0.0)
    right.legend(frameon=False, fontsize=9)
    return True
