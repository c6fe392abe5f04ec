# SPDX-License-Identifier: GPL-2.0-or-later
"""Loss curves of a training as a picture, drawn beside the run by the process that waits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.files import atomic_path
from cgpot.training.network.lightning_module import read_table

Array = NDArray[np.float64]
TRAIN, HELD_OUT, INK, MUTED = "#1f5fa8", "#c8500a", "#222222", "#777777"


def column(rows: list[dict[str, str]], name: str) -> Array:
    """A column of metrics.csv; NaN where it is empty or absent."""
    return np.array([float(row.get(name) or "nan") for row in rows])


def draw_curves(
    metrics: str | Path, picture: str | Path, *, pair_force_rmse: float | None = None
) -> bool:
    """Write loss.png: loss, force RMSE, mean pressure residual, learning rate by epoch.

    Args:
        metrics: metrics.csv.
        picture: file to write.
        pair_force_rmse: force RMSE of the pair fit on the same held-out frames, eV/Å, as a
            line to be below of.

    Returns:
        Whether there was an epoch to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_table(metrics)
    if not rows:
        return False
    epoch = column(rows, "epoch") + 1
    marker = "o" if len(rows) <= 40 else ""
    style: dict[str, Any] = {"marker": marker, "ms": 3, "lw": 1.4}
    figure = Figure(figsize=(9.6, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharex=True)

    loss = axes[0, 0]
    loss.plot(epoch, column(rows, "train_loss"), color=TRAIN, label="training", **style)
    held_out = column(rows, "val_loss")
    loss.plot(epoch, held_out, color=HELD_OUT, label="held out", **style)
    if np.isfinite(held_out).any():
        best = int(np.nanargmin(held_out))
        loss.plot(epoch[best], held_out[best], "o", ms=9, mfc="none", mec=INK, label="best")
    loss.set_title("loss / variance of the labels", fontsize=9.5, loc="left")

    force = axes[0, 1]
    force.plot(epoch, column(rows, "val_force_rmse"), color=HELD_OUT, label="held out", **style)
    if pair_force_rmse is not None:
        force.axhline(pair_force_rmse, color=INK, lw=1.2, ls="--", label="pair fit")
    force.set_title("force rmse / eV/Å", fontsize=9.5, loc="left")

    pressure = axes[1, 0]
    residual = column(rows, "val_pressure_residual_bar")
    error = column(rows, "val_pressure_residual_error_bar")
    pressure.axhline(0.0, color=INK, lw=1.2, ls="--")
    if np.isfinite(residual).any():
        pressure.plot(epoch, residual, color=HELD_OUT, label="held out", **style)
        band = (residual - error, residual + error)
        pressure.fill_between(epoch, *band, color=HELD_OUT, alpha=0.2, lw=0, label="± error")
    else:
        pressure.text(0.5, 0.5, "no stress in the loss", ha="center", transform=pressure.transAxes)
    pressure.set_title("mean pressure residual / bar", fontsize=9.5, loc="left")

    rate = axes[1, 1]
    rate.plot(epoch, column(rows, "learning_rate"), color=MUTED, **style)
    rate.set_yscale("log")
    rate.set_title("learning rate", fontsize=9.5, loc="left")
    for each in axes.ravel():
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25, lw=0.6)
        if each.get_legend_handles_labels()[0]:
            each.legend(frameon=False, fontsize=8.5)
    for each in axes[1]:
        each.set_xlabel("epoch")
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_path(picture) as temporary, open(temporary, "wb") as stream:
        figure.savefig(stream, format="png", dpi=130)
    return True


class LiveCurves:
    """Redraw loss.png while a training runs, when there is a new epoch, once a minute at most.

    Args:
        metrics: metrics.csv.
        picture: file to write.
        interval: seconds between drawings.
    """

    def __init__(self, metrics: Path, picture: Path, interval: float = 60.0) -> None:
        self.metrics = metrics
        self.picture = picture
        self.interval = interval
        self._last = time.monotonic()
        self._seen = 0.0

    def update(self) -> bool:
        """Draw if it is time; whether it was."""
        now = time.monotonic()
        if now - self._last < self.interval or not self.metrics.is_file():
            return False
        changed = self.metrics.stat().st_mtime
        if changed == self._seen:
            return False
        self._last, self._seen = now, changed
        return draw_curves(self.metrics, self.picture)
