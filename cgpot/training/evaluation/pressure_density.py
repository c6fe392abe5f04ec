# SPDX-License-Identifier: GPL-2.0-or-later
"""P(rho) of labels and model side by side, and the slope of the pressure with density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.units import ideal_pressure_bar
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import free_particles
from cgpot.training.linear.equations import jackknife_error
from cgpot.training.linear.sums import LEAST_SPREAD
from cgpot.training.network.metrics import mean_with_error

Array = NDArray[np.float64]
BLOCKS = 10
"""Contiguous blocks of frames behind the errors of a slope."""
POINTS = 5
"""Groups of frames of similar density in the table of P(rho)."""


def kinetic_pressures(frames: Sequence[CGFrame], temperature: float | None) -> Array | None:
    """n k_B T / V of each frame's molecules, bar; None where a temperature is not known.

    Args:
        frames: their own temperatures are taken.
        temperature: K, of frames that carry none.
    """
    found = []
    for frame in frames:
        kelvin = temperature if frame.temperature is None else frame.temperature
        if kelvin is None:
            return None
        found.append(
            float(ideal_pressure_bar(free_particles(frame.topology), kelvin, frame.volume))
        )
    return np.asarray(found)


def slope_with_error(density: Array, pressure: Array) -> tuple[float, float | None]:
    """Slope of the regression of pressure on density, and its error by a jackknife over blocks.

    Args:
        density: (frames,) in the order of time.
        pressure: (frames,).

    Returns:
        The slope in units of pressure a unit of density, and its standard error (None for fewer
        than 4 frames).
    """
    value = float(np.polyfit(density, pressure, 1)[0])
    if len(density) < 4:
        return value, None
    blocks = np.array_split(np.arange(len(density)), min(BLOCKS, len(density) // 2))
    samples = [
        np.polyfit(np.delete(density, block), np.delete(pressure, block), 1)[0] for block in blocks
    ]
    return value, float(jackknife_error(np.asarray(samples)))


def pressure_slope(
    frames: Sequence[CGFrame],
    pressures: Mapping[str, Array],
    temperature: float | None = None,
) -> dict[str, Any] | None:
    """What frames say of dP/drho, for labels and model.

    Args:
        frames: in the order of time.
        pressures: virial pressures of each frame (frames,) in bar, by name (labels, model, ...).
        temperature: K, for the kinetic part of frames that carry none.

    Returns:
        For each name ``value`` and ``error`` in bar/(kg/m^3); ``kinetic``, whether n k_B T / V is
        in them; ``density_kg_m3`` with ``mean`` and ``std``; ``points``: groups of frames of
        similar density, with mean density and mean and error of each pressure (bar).  None
        where the density does not vary, or there are fewer than 3 frames.
    """
    density = np.array([frame.density for frame in frames])
    if len(frames) < 3 or not np.std(density) > LEAST_SPREAD * np.mean(density):
        return None
    kinetic = kinetic_pressures(frames, temperature)
    total = {
        name: np.asarray(values) + (0.0 if kinetic is None else kinetic)
        for name, values in pressures.items()
    }
    record: dict[str, Any] = {}
    for name, values in total.items():
        value, error = slope_with_error(density, values)
        record[name] = {"value": value, "error": error}
    groups = np.array_split(np.argsort(density, kind="stable"), min(POINTS, len(frames) // 3))
    points = []
    for group in groups:
        inside = np.sort(group)  # in the order of time again
        point: dict[str, Any] = {
            "density_kg_m3": float(density[inside].mean()),
            "n_frames": len(inside),
        }
        for name, values in total.items():
            mean, error = mean_with_error(values[inside])
            point[name] = {"mean": mean, "error": error}
        points.append(point)
    return {
        **record,
        "kinetic": kinetic is not None,
        "density_kg_m3": {"mean": float(density.mean()), "std": float(density.std())},
        "points": points,
    }
