# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the runs: temperature, energy drift, speed."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.report.gather import Gathered
from cgpot.report.numbers import dig, plus_minus, real, scientific
from cgpot.report.svg import AA, CG, CG2, INK, MUTED, PAPER, WIDTH, Figure, drawing, to_svg
from cgpot.report.verdict import runs_of


def run_figures(data: Gathered) -> list[Figure]:
    """Temperature and energy of the runs."""
    figures = []
    runs = data.analysis.get("runs", [])
    if runs:
        figures.append(_temperature(runs, real(data.analysis.get("temperature_K"))))
    nve = next((r for r in runs_of(data.analysis, "nve") if dig(r, "energy_drift")), None)
    if nve is not None:
        figures.append(_drift(nve))
    return figures


def _temperature(runs: list[dict[str, Any]], target: float | None) -> Figure:
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
        texts = []
        for run, colour, dash in zip(runs, (CG, CG2, MUTED), ("-", "--", "-"), strict=False):
            series = run["series"]["temperature"]
            value = run["temperature"]
            shown = plus_minus(value["mean"], value["error"], "K")
            axes.plot(
                series["time_ps"],
                series["value"],
                color=colour,
                ls=dash,
                lw=1.1,
                label=f"{run['ensemble'].upper()}: {shown}",
            )
            texts.append(f"{run['ensemble'].upper()} {shown}")
        if target is not None:
            axes.axhline(target, color=INK, lw=1.0, ls=":")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.35 * (high - low))
        axes.set_xlabel("time / ps")
        axes.set_ylabel("temperature / K")
        axes.legend(loc="upper right", ncols=1)
        alt = "Temperature of the CG runs: " + "; ".join(texts) + "."
        svg = to_svg(figure, "temperature", alt)
    return Figure(
        key="temperature",
        title="Temperature",
        alt=alt,
        caption="Block means over the runs; dotted, the temperature that was asked for. A run that "
        "heats up against its thermostat points to forces that are not the gradient of an energy, "
        "or to a time step that is too long.",
        svg=svg,
    )


def _drift(run: dict[str, Any]) -> Figure:
    series, drift = run["series"]["total_energy"], run["energy_drift"]
    time, energy = np.array(series["time_ps"]), np.array(series["value"])
    n = run.get("n_sites") or 1
    shifted = 1000.0 * (energy - energy.mean()) / n
    slope = 1000.0 * drift["ev_per_bead_ps"]
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
        axes.plot(time, shifted, color=CG, lw=1.1)
        axes.plot(time, slope * (time - time.mean()), color=INK, lw=1.2, ls="--")
        axes.set_xlabel("time / ps")
        axes.set_ylabel("total energy / meV per bead")
        alt = (
            "Total energy of the NVE run about its mean; drift "
            f"{scientific(drift['relative_per_ps'])} of the kinetic energy per ps."
        )
        svg = to_svg(figure, "drift", alt)
    return Figure(
        key="drift",
        title="Energy conservation (NVE)",
        alt=alt,
        caption="Without a thermostat the total energy must stay. Dashed: straight line, "
        f"{scientific(drift['relative_per_ps'])} of the kinetic energy per ps "
        f"({scientific(drift['ev_per_bead_ps'])} ± "
        f"{scientific(drift['error_ev_per_bead_ps'], 0)} eV per bead "
        "and ps).",
        svg=svg,
    )


def speed_figure(data: Gathered) -> Figure | None:
    """Simulated time per day of wall time, CG beside atomistic."""
    bars: list[tuple[str, float, str]] = []
    aa = data.aa_speed or {}
    value = real(aa.get("ns_per_day"))
    if value:
        bars.append((f"atomistic, {aa.get('engine', 'engine')}", value, AA))
    for run in data.analysis.get("runs", []):
        value = real(run.get("ns_per_day"))
        if value and run["ensemble"] in ("nvt", "npt"):
            bars.append((f"CG, {run['ensemble'].upper()}", value, CG))
    if not bars:
        return None
    with drawing() as plt:
        figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.55 * len(bars)), layout="constrained")
        for y, (name, speed, colour) in enumerate(bars):
            axes.barh(y, speed, color=colour, height=0.72)
            inside = speed > 0.55 * max(b[1] for b in bars)
            axes.annotate(
                f"{name}: {speed:.3g}",
                (speed if not inside else 0, y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=PAPER if inside else INK,
            )
        axes.set_yticks([])
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel("simulated ns per day")
        alt = "Speed in ns per day: " + "; ".join(f"{n} {s:.3g}" for n, s, _ in bars) + "."
        svg = to_svg(figure, "speed", alt)
    return Figure(
        key="speed",
        title="Speed",
        alt=alt,
        caption=_speed_caption(data),
        svg=svg,
    )


def _speed_caption(data: Gathered) -> str:
    if not real((data.aa_speed or {}).get("ns_per_day")):
        return "The speed of the atomistic engine was not measured."
    return "Compare only for the same number of molecules and threads, see the table."
