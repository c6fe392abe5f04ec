# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the model: held-out forces, training, pair potential."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.core.units import KB
from cgpot.report.gather import Gathered
from cgpot.report.numbers import dig, plus_minus, real
from cgpot.report.svg import AA, CG, CG2, INK, MUTED, WIDTH, Figure, drawing, to_svg

HEXAGONS = 34


def force_figures(data: Gathered) -> list[Figure]:
    """Parity of held-out forces, and their errors beside the noise."""
    figures = []
    if data.forces is not None:
        figures.append(_parity(*data.forces))
    force = dig(data.analysis, "parity", "force")
    if force:
        figures.append(_errors(force))
    return figures


def _parity(label: Any, model: Any) -> Figure:
    x, y = label.reshape(-1), model.reshape(-1)
    limit = float(np.quantile(np.abs(x), 0.999))
    with drawing() as plt:
        from matplotlib.colors import to_rgb

        figure, axes = plt.subplots(figsize=(WIDTH, 4.1), layout="constrained")
        hexagons = axes.hexbin(
            x, y, gridsize=HEXAGONS, extent=(-limit, limit, -limit, limit), mincnt=1, linewidths=0
        )
        counts = np.asarray(hexagons.get_array(), dtype=np.float64)
        strength = np.log1p(counts) / np.log1p(counts.max())
        hexagons.set_array(None)
        hexagons.set_facecolor([(*to_rgb(CG), round(0.08 + 0.92 * s, 2)) for s in strength])
        hexagons.set_edgecolor("none")
        axes.plot([-limit, limit], [-limit, limit], color=INK, lw=1.0, ls="--")
        top = max(float(np.quantile(np.abs(y), 0.9995)) * 1.25, 0.2 * limit)
        axes.text(
            0.02, 0.97, "dashed: prediction = label", transform=axes.transAxes, va="top", size=9
        )
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-min(top, limit), min(top, limit))
        axes.set_xlabel("label: force of one atomistic frame / eV/Å")
        axes.set_ylabel("model / eV/Å")
        correlation = float(np.corrcoef(x, y)[0, 1])
        alt = (
            f"Density plot of predicted against labelled forces on held-out frames; "
            f"correlation {correlation:.2f}. The cloud is much flatter than the diagonal."
        )
        svg = to_svg(figure, "parity", alt)
    return Figure(
        key="parity",
        title="Held-out forces",
        alt=alt,
        caption="Each label is the force of one atomistic frame: the mean force, which a CG model "
        "can know, plus thermal noise of the lost atoms, which it cannot. So the cloud lies "
        "flatter than the diagonal even for a perfect model; darker means more samples "
        f"(logarithmic). Correlation {correlation:.2f}.",
        svg=svg,
    )


def _errors(force: dict[str, Any]) -> Figure:
    rows: list[tuple[str, float, float | None, str, str]] = []
    for key, name, colour, marker in (
        ("label_rms", "labels (rms)", AA, "s"),
        ("rmse_pair", "pair fit", CG2, "D"),
        ("rmse_model", "this model", CG, "o"),
    ):
        value = real(force.get(key))
        if value is not None:
            rows.append((name, value, real(force.get(f"{key}_error")), colour, marker))
    floor, upper = real(force.get("noise_floor")), real(force.get("noise_floor_upper"))
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 2.5), layout="constrained")
        for y, (_, value, error, colour, marker) in enumerate(rows):
            axes.errorbar(
                value, y, xerr=2 * (error or 0.0), color=colour, marker=marker, ms=7, capsize=3
            )
            axes.annotate(
                f"{value:.4f}", (value, y), xytext=(0, 8), textcoords="offset points", ha="center"
            )
        bound = floor if floor is not None else upper
        values = [row[1] for row in rows] + ([bound] if bound is not None else [])
        span = max(max(values) - min(values), 1e-3)
        left = min(values) - 0.25 * span
        if bound is not None:
            axes.axvspan(left, bound, color=MUTED, alpha=0.15, lw=0)
            axes.axvline(bound, color=MUTED, lw=1.0, ls=":")
        axes.set_xlim(left, max(values) + 0.2 * span)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.25)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel("force error (RMSE per component) / eV/Å")
        alt = "Force errors: " + ", ".join(f"{name} {value:.4f}" for name, value, *_ in rows)
        alt += " eV/Å"
        if bound is not None:
            what = "noise floor" if floor is not None else "upper bound of the noise floor"
            alt += f"; {what} {bound:.4f} eV/Å"
        svg = to_svg(figure, "force-errors", alt + ".")
    shaded = (
        f"Shaded: below the noise floor, {floor:.4f} eV/Å, nothing can get. "
        if floor is not None
        else f"Shaded: the noise floor lies somewhere below {upper:.4f} eV/Å, the best held-out "
        "error seen (after rescaling); nothing can get below the floor itself, which was not "
        "measured. "
        if upper is not None
        else ""
    )
    return Figure(
        key="force-errors",
        title="Force error and noise",
        alt=alt + ".",
        caption=f"{shaded}Bars show two standard errors of each value; the difference between "
        "model and pair fit is sharper, because both are measured on the same frames: "
        + _gain(force),
        svg=svg,
    )


def _gain(force: dict[str, Any]) -> str:
    gain = real(force.get("gain_over_pair"))
    if gain is None:
        return "the pair fit was not measured."
    error = real(force.get("gain_over_pair_error")) or 0.0
    word = "below" if gain > 0 else "above"
    return (
        f"the model is {plus_minus(1000 * abs(gain), 1000 * error, 'meV/Å')} {word} the pair fit."
    )


def training_figures(data: Gathered) -> list[Figure]:
    """Training curves and the pair part of the model."""
    figures = []
    if data.metrics is not None and "epoch" in data.metrics:
        figure = _curves(data.metrics, data.result)
        if figure is not None:
            figures.append(figure)
    if data.pair is not None:
        figure = _pair(data.pair, real(data.analysis.get("temperature_K")))
        if figure is not None:
            figures.append(figure)
    return figures


def _curves(metrics: dict[str, Any], result: dict[str, Any] | None) -> Figure | None:
    epoch = metrics["epoch"]

    def has(name: str) -> bool:
        return name in metrics and bool(np.isfinite(metrics[name]).any())

    panels = []
    if has("train_loss") or has("val_loss"):
        panels.append("loss")
    if has("val_force_rmse"):
        panels.append("force")
    if has("val_pressure_residual_bar"):
        panels.append("pressure")
    if not panels:
        return None
    best = real(dig(result, "best_epoch"))
    with drawing() as plt:
        figure, grid = plt.subplots(
            len(panels),
            1,
            figsize=(WIDTH, 0.7 + 1.5 * len(panels)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        style = {"marker": "o" if len(epoch) <= 40 else "", "ms": 3, "lw": 1.5}
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            if best is not None:
                axes.axvline(best, color=MUTED, lw=1.0, ls=":")
            if panel == "loss":
                for name, colour, dash in (("train", CG2, "--"), ("val", CG, "-")):
                    if has(f"{name}_loss"):
                        text = "training" if name == "train" else "validation"
                        axes.plot(
                            epoch,
                            metrics[f"{name}_loss"],
                            color=colour,
                            ls=dash,
                            label=text,
                            **style,
                        )
                axes.set_ylabel("loss")
                axes.legend(loc="upper center", ncols=2)
            elif panel == "force":
                axes.plot(epoch, metrics["val_force_rmse"], color=CG, **style)
                axes.set_ylabel("force RMSE\neV/Å")
            else:
                values = metrics["val_pressure_residual_bar"]
                error = metrics.get("val_pressure_residual_error_bar", np.zeros_like(values))
                axes.axhline(0.0, color=MUTED, lw=0.8)
                axes.errorbar(
                    epoch, values, yerr=np.nan_to_num(error), color=CG, capsize=2, **style
                )
                axes.set_ylabel("mean pressure\nresidual / bar")
        figure.align_ylabels()
        grid[-1, 0].set_xlabel("epoch")
        alt = f"Training curves over {len(epoch)} epochs"
        if has("val_force_rmse"):
            last = metrics["val_force_rmse"][np.isfinite(metrics["val_force_rmse"])]
            alt += f"; validation force error from {last[0]:.4f} to {last[-1]:.4f} eV/Å"
        if has("val_pressure_residual_bar"):
            values = metrics["val_pressure_residual_bar"]
            alt += f"; mean pressure residual at the end {values[np.isfinite(values)][-1]:.0f} bar"
        svg = to_svg(figure, "training", alt + ".")
    dotted = f" Dotted: the epoch that was kept ({best:.0f})." if best is not None else ""
    return Figure(
        key="training",
        title="Training",
        alt=alt + ".",
        caption="Errors on frames that the training did not see. The pressure residual is the mean "
        "over these frames of predicted minus labelled pressure: it must reach zero for the "
        f"pressure and the density to come out right.{dotted}",
        svg=svg,
    )


def _pair(pair: dict[str, Any], temperature: float | None) -> Figure | None:
    r = pair.get("r_A")
    pairs = pair.get("pairs")
    if not isinstance(r, list) or not isinstance(pairs, dict):
        return None
    curves = [
        (label, np.array(item["u_eV"]))
        for label, item in pairs.items()
        if isinstance(item, dict) and len(item.get("u_eV") or []) == len(r)
    ]
    if not curves:
        return None
    x = np.array(r)
    lowest = min(float(u.min()) for _, u in curves)
    thermal = KB * temperature if temperature else 0.0259
    top = max(3.0 * thermal, 1.5 * abs(lowest))
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
        axes.axhline(0.0, color=MUTED, lw=0.8)
        axes.axhline(thermal, color=AA, lw=1.0, ls=":")
        axes.annotate(
            "k T", (x[-1], thermal), xytext=(0, 3), textcoords="offset points", ha="right", size=9
        )
        for (label, u), colour, dash in zip(
            curves, (CG, CG2, AA, INK, MUTED), ("-", "--", "-.", ":", "-"), strict=False
        ):
            axes.plot(x, u, color=colour, ls=dash, label=label)
        axes.set_ylim(min(1.25 * lowest, -0.3 * thermal), top)
        visible = x[np.any([u < top for _, u in curves], axis=0)]
        axes.set_xlim(max(0.0, float(visible[0]) - 0.5), float(x[-1]))
        axes.set_xlabel("distance r / Å")
        axes.set_ylabel("pair energy / eV")
        axes.legend(loc="upper right")
        alt = (
            f"Pair potential; the lowest value is {lowest:.4f} eV at "
            f"{x[int(np.argmin(curves[0][1]))]:.2f} Å."
        )
        svg = to_svg(figure, "pair", alt)
    return Figure(
        key="pair",
        title="Pair part of the model",
        alt=alt,
        caption="The fixed pair potential inside the model; the network adds what depends on three "
        "and more beads. Dotted: the thermal energy at the temperature of the data.",
        svg=svg,
    )
