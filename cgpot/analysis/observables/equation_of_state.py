# SPDX-License-Identifier: GPL-2.0-or-later
"""Slope of the pressure with the density, dP/dρ, and the compressibility 1/(ρ dP/dρ).

In one system at constant pressure: regression of the pressure of the frames on their density.
In the isothermal-isobaric ensemble cov(P, V) = -k_B T exactly, and then this compressibility is
that of the volume's fluctuation: the ratio of the two sides is a test of the run.  Over several
systems at constant volume: a weighted straight line through their mean pressures
(`slope_over_systems`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import AA, NVT, Curve, Plot, Quantity
from cgpot.core.errors import DataError
from cgpot.core.statistics import MIN_SAMPLES
from cgpot.core.units import EV_PER_A3_IN_BAR, KB

Array = NDArray[np.float64]
BLOCKS = 10
DISTINCT = 2e-3
"""Relative difference from which on densities count as different."""
PER_BAR_IN_PER_GPA = 1e4
SIGMAS, TOLERANCE = 3.0, 0.1
"""Deviation of cov(P, V) from -k_B T that is noted: standard errors, and relative."""


class EquationOfState(Observable):
    """dP/dρ of one system at constant pressure."""

    name = "equation_of_state"
    title = "Equation of state"
    part = "state"

    def result(self) -> Record | None:
        """`slope_of_frames` of an NPT system whose frames have pressures, else None."""
        series = self.system.series
        if self.system.ensemble != "npt" or "pressure_bar" not in series.columns:
            return None
        density, pressure = series.used("density_kg_m3"), series.used("pressure_bar")
        volume = series.used("volume_A3")
        try:
            found = slope_of_frames(density, pressure)
            ratio, error = covariance_ratio(volume, pressure, self.system.temperature)
        except DataError as err:
            self.system.notes.append(f"no slope of the pressure with the density: {err}")
            return None
        if abs(ratio - 1.0) > max(SIGMAS * error, TOLERANCE):
            self.system.notes.append(
                f"cov(P, V) is {ratio:.2f} ± {error:.2f} times -k_B T; expected 1: its ensemble "
                "is not the isothermal-isobaric one, or it is too short for dP/dρ and "
                "compressibility"
            )
        return {**found, "covariance_ratio": ratio, "covariance_ratio_error": error}

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """Slope and compressibility."""
        kappa = record["compressibility"]
        return [
            Quantity("dP/dρ", record["slope"], record["slope_error"], "bar m³/kg"),
            Quantity("Compressibility (dP/dρ)", kappa["value"], kappa["error"], "1/GPa"),
        ]


def slope_of_frames(density: Sequence[Array], pressure: Sequence[Array]) -> Record:
    """Regression of pressures on densities, with a jackknife error over ten blocks of frames.

    Args:
        density: per replica (n,), kg/m^3.
        pressure: per replica (n,), bar.

    Returns:
        slope and slope_error (bar m^3/kg), density (mean), compressibility (value, error,
        1/GPa; None for a slope that is not positive), n.

    Raises:
        DataError: fewer than 16 frames, or a constant density.
    """

    def slope(x: Array, y: Array) -> float:
        x = x - x.mean()
        return float(x @ (y - y.mean()) / (x @ x))

    found = _record(*_jackknife(slope, density, pressure), float(np.concatenate(density).mean()))
    n = sum(len(d) for d in density)
    return {**found, "n": n, "method": "regression of pressure on density over the frames"}


def covariance_ratio(
    volume: Sequence[Array], pressure: Sequence[Array], temperature: float
) -> tuple[float, float]:
    """cov(P, V) over -k_B T, and its jackknife error; 1 in the isothermal-isobaric ensemble.

    Args:
        volume: per replica (n,), Å^3.
        pressure: per replica (n,), bar.
        temperature: K.

    Raises:
        DataError: as `slope_of_frames`.
    """
    unit = -KB * temperature * EV_PER_A3_IN_BAR

    def ratio(x: Array, y: Array) -> float:
        return float((x - x.mean()) @ (y - y.mean()) / len(x)) / unit

    return _jackknife(ratio, volume, pressure)


def _jackknife(
    what: Callable[[Array, Array], float], first: Sequence[Array], second: Sequence[Array]
) -> tuple[float, float]:
    """A function of two series and its error, leaving out each of ten blocks once."""
    n = sum(len(x) for x in first)
    if n < 2 * MIN_SAMPLES:
        raise DataError(f"expected at least {2 * MIN_SAMPLES} frames, found {n}")
    every = np.concatenate(first)
    if np.ptp(every) < 1e-9 * every.mean():
        raise DataError("the volume is constant; expected a run at constant pressure")
    blocks = []
    for x, y in zip(first, second, strict=True):
        pieces = min(len(x), max(2, round(BLOCKS * len(x) / n)))
        blocks += list(zip(np.array_split(x, pieces), np.array_split(y, pieces), strict=True))

    def over(parts: Sequence[tuple[Array, Array]]) -> float:
        return what(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))

    m = len(blocks)
    left = np.array([over([b for j, b in enumerate(blocks) if j != i]) for i in range(m)])
    error = math.sqrt((m - 1) / m * float(((left - left.mean()) ** 2).sum()))
    return over(blocks), error


def slope_over_systems(points: Sequence[tuple[float, float, float]]) -> Record | None:
    """A straight line through mean pressures at several densities.

    The points are weighted with their errors; where they scatter more about the line than these
    say, the error of the slope grows with the scatter.

    Args:
        points: density (kg/m^3), pressure and its standard error (bar) of each system.

    Returns:
        As `slope_of_frames`, with the points; None for fewer than two different densities.

    Raises:
        DataError: a pressure without an error.
    """
    rho, p, sigma = np.array(points, dtype=np.float64).reshape(-1, 3).T
    if len(rho) < 2 or np.ptp(rho) < DISTINCT * rho.mean():
        return None
    if not (sigma > 0).all():
        raise DataError("a mean pressure has no error; expected one of each system")
    weight = sigma**-2.0
    centre = float(weight @ rho / weight.sum())
    x = rho - centre
    norm = float(weight @ x**2)
    slope = float(weight @ (x * p)) / norm
    error = norm**-0.5
    level = float(weight @ p / weight.sum())
    freedom = len(rho) - 2
    scatter = None
    if freedom > 0:
        scatter = float(weight @ (p - level - slope * x) ** 2) / freedom
        error *= math.sqrt(max(scatter, 1.0))
    return {
        **_record(slope, error, centre),
        "n": len(rho),
        "chi_squared": scatter,
        "points": [
            {"density": a, "pressure": b, "error": c} for a, b, c in zip(rho, p, sigma, strict=True)
        ],
        "method": "straight line through the mean pressures of systems at constant volume",
    }


def _record(slope: float, error: float, density: float) -> dict[str, Any]:
    kappa: dict[str, Any] = {"value": None, "error": None, "unit": "1/GPa"}
    if slope > 0:
        value = PER_BAR_IN_PER_GPA / (density * slope)
        kappa |= {"value": value, "error": value * error / slope}
    return {
        "slope": slope,
        "slope_error": error,
        "unit": "bar m3/kg",
        "density": density,
        "compressibility": kappa,
    }


def plot_over_systems(found: dict[str, Any]) -> Plot | None:
    """Pressure against density of reference and runs at constant volume; None without a line.

    Args:
        found: ``reference`` and ``runs`` of `slope_over_systems`; either may be None.
    """
    curves, texts = [], []
    for key, role, name in (("reference", AA, "atomistic"), ("runs", NVT, "CG, NVT")):
        record = found.get(key)
        if not record:
            continue
        rho, p, error = (
            np.array([point[k] for point in record["points"]])
            for k in ("density", "pressure", "error")
        )
        curves.append(
            Curve(role, name, rho, p, p - error, p + error, record["slope"], record["slope_error"])
        )
        level = float(np.average(p, weights=error**-2.0))
        ends = np.array([rho.min(), rho.max()])
        line = level + record["slope"] * (ends - record["density"])
        curves.append(Curve(role, "", ends, line))
        texts.append(f"{name} {record['slope']:.3g} ± {record['slope_error']:.1g} bar m³/kg")
    if not curves:
        return None
    return Plot(
        key="equation-of-state",
        title="Equation of state",
        alt="Mean pressures at several densities with straight lines; dP/dρ: "
        + "; ".join(texts)
        + ".",
        caption="Each point is a run at constant volume; bars are standard errors. A right "
        "pressure at one density is not enough: with a wrong slope the fluid has a wrong "
        "compressibility, and leaves the atomistic one away from that density.",
        x_label="density / kg/m³",
        y_label="pressure / bar",
        curves=curves,
        marks=True,
        legend="dP/dρ / bar m³/kg",
    )
