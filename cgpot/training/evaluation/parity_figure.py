# SPDX-License-Identifier: GPL-2.0-or-later
"""Parity pictures: labels against predictions, and what the mean of the labels says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.files import atomic_path

Array = NDArray[np.float64]
MODEL, MEAN, INK = "#1f5fa8", "#c8500a", "#222222"
MIN_COUNT = 30


def binned_mean(x: Array, y: Array, bins: int = 21) -> tuple[Array, Array, Array]:
    """Mean of y and its standard error in bins of x between the 0.1 % quantiles.

    Returns:
        Centres (means of x), means and errors of the bins with at least 30 points.
    """
    low, high = np.quantile(x, [0.001, 0.999])
    if not high > low:
        return np.array([x.mean()]), np.array([y.mean()]), np.array([0.0])
    edges = np.linspace(low, high, bins + 1)
    index = np.digitize(x, edges) - 1
    rows = [(x[index == k], y[index == k]) for k in range(bins)]
    rows = [row for row in rows if len(row[0]) >= MIN_COUNT]
    centre = np.array([a.mean() for a, _ in rows])
    mean = np.array([b.mean() for _, b in rows])
    error = np.array([b.std(ddof=1) / np.sqrt(len(b)) for _, b in rows])
    return centre, mean, error


def draw_parity(path: str | Path, parity: dict[str, Array], record: dict[str, Any]) -> None:
    """Write parity.png: forces as a density with the mean label, pressures frame by frame.

    Labels are noisy, so they stand on the vertical axis: for a model that is right on average
    the mean label at a given prediction lies on the diagonal, however wide the cloud.

    Args:
        path: picture to write.
        parity: arrays of parity.npz.
        record: content of evaluation.json.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with_pressure = "pressure_label_bar" in parity
    figure = Figure(figsize=(9.6 if with_pressure else 5.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if with_pressure else 1, squeeze=False)[0]
    _forces(axes[0], parity, record)
    if with_pressure:
        _pressures(axes[1], parity, record)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        figure.savefig(stream, format="png", dpi=150)


def _forces(axes: Any, parity: dict[str, Array], record: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    x = np.asarray(parity["force_model"], dtype=np.float64).ravel()
    y = np.asarray(parity["force_label"], dtype=np.float64).ravel()
    wide = max(float(np.quantile(np.abs(x), 0.9995)), 1e-12)
    tall = max(float(np.quantile(np.abs(y), 0.998)), 1e-12)
    colours = LinearSegmentedColormap.from_list("density", ["#e8f0fa", MODEL, "#0a2342"])
    shown = axes.hexbin(
        x,
        y,
        gridsize=(44, 30),
        extent=(-wide, wide, -tall, tall),
        mincnt=1,
        bins="log",
        cmap=colours,
        linewidths=0,
        rasterized=True,
    )
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=30)
    bar.set_label("components in a cell", color=INK)
    bar.outline.set_visible(False)
    end = min(wide, tall)
    axes.plot([-end, end], [-end, end], color=INK, lw=1.2, ls="--", label="label = prediction")
    centre, mean, error = binned_mean(x, y)
    axes.errorbar(
        centre, mean, 2.0 * error, color=MEAN, lw=1.6, marker="o", ms=3.5, label="mean label (2σ)"
    )
    axes.set_xlim(-wide, wide)
    axes.set_ylim(-tall, tall)
    axes.set_xlabel("model: force component / eV/Å")
    axes.set_ylabel("label / eV/Å")
    axes.legend(loc="upper left", frameon=False, fontsize=8.5)
    axes.set_title(
        f"forces: rmse {record['force_rmse']:.4f} of {record['force_label_rms']:.4f} eV/Å rms, "
        f"r = {_word(record['force_correlation'])}, slope {_word(record['force_slope'])}",
        fontsize=9.5,
        loc="left",
    )


def _pressures(axes: Any, parity: dict[str, Array], record: dict[str, Any]) -> None:
    x = np.asarray(parity["pressure_model_bar"], dtype=np.float64).ravel()
    y = np.asarray(parity["pressure_label_bar"], dtype=np.float64).ravel()
    low = float(min(x.min(), y.min()))
    high = float(max(x.max(), y.max()))
    margin = 0.04 * max(high - low, 1.0)
    ends = [low - margin, high + margin]
    size = max(8.0, min(26.0, 4000.0 / len(x)))
    axes.scatter(x, y, s=size, color=MODEL, alpha=0.45, linewidths=0, label="frames")
    axes.plot(ends, ends, color=INK, lw=1.2, ls="--", label="label = prediction")
    axes.plot(x.mean(), y.mean(), marker="D", ms=8, ls="", mfc=MEAN, mec="white", label="mean")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("model: configurational pressure / bar")
    axes.set_ylabel("label / bar")
    axes.legend(loc="upper left", frameon=False, fontsize=8.5)
    residual = record["pressure_residual_bar"]
    words = f"{residual['mean']:+.1f} ± {residual['error']:.1f} bar" if residual else "-"
    axes.set_title(f"pressure: mean residual {words}", fontsize=9.5, loc="left")


def _word(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
