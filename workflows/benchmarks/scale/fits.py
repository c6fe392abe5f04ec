# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that belong to several rows: exponents, gains, drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KB_EV = 8.617333262e-5
STABLE_DRIFT = 0.5
"""Largest drift of a stable run with twice its error added, kT per bead and ns."""
STABLE_TEMPERATURE = 0.02
"""Largest change of the mean temperature from that at the smallest step, relative."""


def exponent(beads: Sequence[float], steps_per_second: Sequence[float]) -> float:
    """Power of the number of beads with which the time of a step grows (least squares, log-log).

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(set(beads)) < 2:
        raise ValueError("the exponent needs at least two sizes")
    return float(np.polyfit(np.log(beads), -np.log(steps_per_second), 1)[0])


def drift(time_ps: Sequence[float], energy_ev: Sequence[float], beads: int) -> tuple[float, float]:
    """Drift of a total energy and its error, kT at 300 K per bead and ns.

    The slope is that of a straight line; the error that of four blocks' slopes.

    Raises:
        ValueError: fewer than eight samples.
    """
    time, energy = np.asarray(time_ps, float), np.asarray(energy_ev, float)
    if len(time) < 8:
        raise ValueError(f"the drift needs at least 8 samples, found {len(time)}")
    unit = 1e3 / (beads * KB_EV * 300.0)
    slope = np.polyfit(time, energy, 1)[0]
    residual = energy - np.polyval(np.polyfit(time, energy, 1), time)
    blocks = np.array_split(residual, 4)
    noise = float(np.std([block.mean() for block in blocks], ddof=1))
    error = noise * np.sqrt(12.0) / (time[-1] - time[0])
    return float(slope * unit), float(error * unit)


def stable_steps(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The time steps (fs) at which a model ran stably, and did at all smaller ones.

    Args:
        rows: of one model, with ``timestep_fs``, ``drift`` (None: failed), ``drift_error`` and
            ``temperature_K``.
    """
    good: list[float] = []
    ordered = sorted(rows, key=lambda row: row["timestep_fs"])
    for row in ordered:
        if row.get("drift") is None:
            break
        change = abs(row["temperature_K"] / ordered[0]["temperature_K"] - 1.0)
        if abs(row["drift"]) + 2.0 * row["drift_error"] > STABLE_DRIFT:
            break
        if change > STABLE_TEMPERATURE:
            break
        good.append(float(row["timestep_fs"]))
    return good
