# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that belong to several rows: exponents, gains, drifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KB_EV = 8.617333262e-5


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
