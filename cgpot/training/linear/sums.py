# SPDX-License-Identifier: GPL-2.0-or-later
"""Normal equations of some frames, summed, and the errors of coefficients on these frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR

Array = NDArray[np.float64]
LEAST_SPREAD = 1e-4
"""Relative standard deviation of the density over the frames below which it does not vary."""


@dataclass(frozen=True)
class PressureSlope:
    """Regression of the pressure on the mass density over the frames, in eV/Å^3 per kg/m^3.

    Attributes:
        row: (size,) slope of each basis function's virial pressure tr W/3V.
        label: that of the labels.
        number: slope of the number density of sites, Å^-3 per kg/m^3; times k_B T that of the
            kinetic pressure, which model and labels share.
        spread: standard deviation of the density, kg/m^3.
    """

    row: Array
    label: float
    number: float
    spread: float


@dataclass
class Sums:
    """Normal equations of some frames.  Virials enter as W/V, energies per site.

    Attributes:
        size: number of coefficients.
        frames: number of frames; weight: sum of their weights.
        density_weight: sum of the weights of frames with a virial and a density.
    """

    size: int
    force_matrix: Array = field(init=False)
    force_vector: Array = field(init=False)
    virial_matrix: Array = field(init=False)
    virial_vector: Array = field(init=False)
    trace_row: Array = field(init=False)
    energy_matrix: Array = field(init=False)
    energy_vector: Array = field(init=False)
    energy_row: Array = field(init=False)
    stress_sum: Array = field(init=False)
    stress_square: Array = field(init=False)
    density_row: Array = field(init=False)
    trace_label: float = 0.0
    energy_label: float = 0.0
    energy_square: float = 0.0
    force_square: float = 0.0
    force_rows: float = 0.0
    frames: int = 0
    weight: float = 0.0
    virial_weight: float = 0.0
    energy_weight: float = 0.0
    density_weight: float = 0.0
    density_sum: float = 0.0
    density_square: float = 0.0
    density_label: float = 0.0
    number_sum: float = 0.0
    density_number: float = 0.0

    def __post_init__(self) -> None:
        for name in ("force", "virial", "energy"):
            setattr(self, f"{name}_matrix", np.zeros((self.size, self.size)))
            setattr(self, f"{name}_vector", np.zeros(self.size))
        self.trace_row = np.zeros(self.size)
        self.energy_row = np.zeros(self.size)
        self.density_row = np.zeros(self.size)
        self.stress_sum = np.zeros(6)
        self.stress_square = np.zeros(6)

    def add(self, other: Sums) -> None:
        """Add another block."""
        for name, value in vars(other).items():
            if name != "size":
                setattr(self, name, getattr(self, name) + value)

    def part(self, columns: slice) -> Sums:
        """The equations of some of the coefficients, the others zero."""
        found = Sums(len(range(*columns.indices(self.size))))
        for name, value in vars(self).items():
            if name.endswith("_matrix"):
                value = value[columns, columns]
            elif name.endswith(("_vector", "_row")):
                value = value[columns]
            if name != "size":
                setattr(found, name, value)
        return found

    def centred_energy(self) -> tuple[Array, Array, float]:
        """Energy equations with a free constant per site eliminated: matrix, vector, square."""
        if self.energy_weight == 0:
            return self.energy_matrix, self.energy_vector, 0.0
        mean = self.energy_row / self.energy_weight
        label = self.energy_label / self.energy_weight
        return (
            self.energy_matrix - self.energy_weight * np.outer(mean, mean),
            self.energy_vector - self.energy_weight * label * mean,
            self.energy_square - self.energy_weight * label**2,
        )

    def pressure_slope(self) -> PressureSlope:
        """Regression of the virial pressure on the density: ``cov(P, rho) / var(rho)``.

        Raises:
            DataError: frames without a virial or density, or a density that does not vary.
        """
        weight = self.density_weight
        if not weight or abs(weight - self.virial_weight) > 1e-9 * weight:
            raise DataError(
                "the slope of the pressure with density needs the virial and the density of every "
                f"frame; {self.frames} frames are there, not all have both"
            )
        mean = self.density_sum / weight
        variance = self.density_square / weight - mean**2
        spread = math.sqrt(max(variance, 0.0))
        if not spread > LEAST_SPREAD * mean:
            raise DataError(
                f"the density of the frames does not vary ({mean:.2f} kg/m^3, standard deviation "
                f"{spread:.2g}), so they do not say how the pressure changes with it; expected "
                "frames of an NPT run or of several densities, or no match_slope"
            )
        return PressureSlope(
            (self.density_row - mean * self.trace_row) / (3.0 * weight * variance),
            (self.density_label - mean * self.trace_label) / (3.0 * weight * variance),
            (self.density_number - mean * self.number_sum) / (weight * variance),
            spread,
        )

    def force_variance(self) -> float:
        """Mean square of a force label, (eV/Å)^2."""
        return self.force_square / self.force_rows if self.force_rows else 0.0

    def stress_variance(self) -> float:
        """Variance of a component of W/V over the frames, mean of the six, (eV/Å^3)^2."""
        if self.virial_weight == 0:
            return 0.0
        mean = self.stress_sum / self.virial_weight
        return float(np.mean(self.stress_square / self.virial_weight - mean**2))

    def energy_variance(self) -> float:
        """Variance of the energy per site, eV^2."""
        return self.centred_energy()[2] / self.energy_weight if self.energy_weight else 0.0


def squared_error(sums: Sums, c: Array) -> float:
    """Sum of the squared force errors of coefficients (size,), (eV/Å)^2."""
    cross = float(c @ sums.force_vector)
    return sums.force_square - 2.0 * cross + float(c @ sums.force_matrix @ c)


def quality(sums: Sums, c: Array) -> dict[str, Any]:
    """Errors of coefficients on frames: eV/Å, eV/Å^3, bar and eV per site; None without labels."""
    result: dict[str, Any] = {"frames": sums.frames}
    rows = sums.force_rows
    result["force_rmse"] = math.sqrt(max(squared_error(sums, c), 0.0) / rows) if rows else None
    result["force_label_rms"] = math.sqrt(sums.force_square / rows) if rows else None
    result["mean_pressure_residual_bar"] = result["stress_rmse"] = None
    if sums.virial_weight:
        residual = (float(c @ sums.trace_row) - sums.trace_label) / sums.virial_weight
        result["mean_pressure_residual_bar"] = residual / 3.0 * EV_PER_A3_IN_BAR
        square = float(c @ sums.virial_matrix @ c) - 2.0 * float(c @ sums.virial_vector)
        square += float(sums.stress_square.sum())
        result["stress_rmse"] = math.sqrt(max(square, 0.0) / (6.0 * sums.virial_weight))
    result["energy_rmse_per_site"] = None
    if sums.energy_weight:
        matrix, vector, label = sums.centred_energy()
        square = float(c @ matrix @ c) - 2.0 * float(c @ vector) + label
        result["energy_rmse_per_site"] = math.sqrt(max(square, 0.0) / sums.energy_weight)
    return result
