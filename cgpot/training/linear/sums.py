# SPDX-License-Identifier: GPL-2.0-or-later
"""Normal equations of some frames, summed, and the errors of coefficients on these frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR

Array = NDArray[np.float64]
Pressures = TypeVar("Pressures", bound="PressureSums")
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
class PressureSums:
    """Sums of traces of W/V, and of their products with the density, over some frames.

    Attributes:
        size: number of coefficients.
        virial_weight: sum of the weights of frames with a virial.
        density_weight: of those with a virial and a density.
    """

    size: int
    trace_row: Array = field(init=False)
    density_row: Array = field(init=False)
    trace_label: float = 0.0
    virial_weight: float = 0.0
    density_weight: float = 0.0
    density_sum: float = 0.0
    density_square: float = 0.0
    density_label: float = 0.0
    number_sum: float = 0.0
    density_number: float = 0.0

    def __post_init__(self) -> None:
        self.trace_row = np.zeros(self.size)
        self.density_row = np.zeros(self.size)

    def add_pressure(
        self,
        trace: Array,
        label: float,
        *,
        weight: float,
        density: float | None = None,
        number: float = 0.0,
    ) -> None:
        """Add a frame: trace of W/V of the basis (size,) and of the label, eV/Å^3.

        ``density`` is the mass density (kg/m^3), ``number`` that of the sites (Å^-3).
        """
        self.trace_row += weight * trace
        self.trace_label += weight * label
        self.virial_weight += weight
        if density is not None:
            self.density_weight += weight
            self.density_sum += weight * density
            self.density_square += weight * density**2
            self.density_row += weight * density * trace
            self.density_label += weight * density * label
            self.number_sum += weight * number
            self.density_number += weight * density * number

    def slope(self, of: str = "the frames") -> PressureSlope:
        """Regression of the virial pressure on the density: ``cov(P, rho) / var(rho)``.

        Args:
            of: which frames these are, for messages.

        Raises:
            DataError: frames without a virial or density, or a density that does not vary.
        """
        weight = self.density_weight
        if not weight or abs(weight - self.virial_weight) > 1e-9 * weight:
            raise DataError(
                "the slope of the pressure with density needs the virial and the density of every "
                f"frame; of {of}, not all have both"
            )
        mean = self.density_sum / weight
        variance = self.density_square / weight - mean**2
        spread = math.sqrt(max(variance, 0.0))
        if not spread > LEAST_SPREAD * mean:
            raise DataError(
                f"the density of {of} does not vary ({mean:.2f} kg/m^3, standard deviation "
                f"{spread:.2g}), so they do not say how the pressure changes with it; expected "
                "frames of an NPT run or of several densities, or no match_slope"
            )
        return PressureSlope(
            (self.density_row - mean * self.trace_row) / (3.0 * weight * variance),
            (self.density_label - mean * self.trace_label) / (3.0 * weight * variance),
            (self.density_number - mean * self.number_sum) / (weight * variance),
            spread,
        )


@dataclass
class Sums(PressureSums):
    """Normal equations of some frames.  Virials enter as W/V, energies per site.

    Attributes:
        frames: number of frames; weight: sum of their weights.
        compositions: the pressures of each composition alone; mean and slope are imposed on each.
    """

    force_matrix: Array = field(init=False)
    force_vector: Array = field(init=False)
    virial_matrix: Array = field(init=False)
    virial_vector: Array = field(init=False)
    energy_matrix: Array = field(init=False)
    energy_vector: Array = field(init=False)
    energy_row: Array = field(init=False)
    stress_sum: Array = field(init=False)
    stress_square: Array = field(init=False)
    energy_label: float = 0.0
    energy_square: float = 0.0
    force_square: float = 0.0
    force_rows: float = 0.0
    frames: int = 0
    weight: float = 0.0
    energy_weight: float = 0.0
    compositions: dict[str, PressureSums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("force", "virial", "energy"):
            setattr(self, f"{name}_matrix", np.zeros((self.size, self.size)))
            setattr(self, f"{name}_vector", np.zeros(self.size))
        self.energy_row = np.zeros(self.size)
        self.stress_sum = np.zeros(6)
        self.stress_square = np.zeros(6)

    def add(self, other: Sums) -> None:
        """Add another block."""
        for name, own in other.compositions.items():
            _add(self.compositions.setdefault(name, PressureSums(self.size)), own)
        _add(self, other)

    def part(self, columns: slice) -> Sums:
        """The equations of some of the coefficients, the others zero."""
        size = len(range(*columns.indices(self.size)))
        found = _part(self, Sums(size), columns)
        found.compositions = {
            name: _part(own, PressureSums(size), columns) for name, own in self.compositions.items()
        }
        return found

    @property
    def systems(self) -> dict[str, PressureSums]:
        """The pressures of each composition; of a single one all."""
        if len(self.compositions) < 2:
            return {"the frames": self}
        return {f"the frames of {name}": own for name, own in self.compositions.items()}

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
        """The regression of `PressureSums.slope`, of several compositions within each.

        A mixture is denser or less dense than its liquids whatever the pressure: only deviations
        from a composition's own means say how the pressure changes with density.  Slopes of
        several compositions are averaged with their ``var(rho)``.

        Raises:
            DataError: see `PressureSums.slope`.
        """
        found = [(own, own.slope(name)) for name, own in self.systems.items()]
        weights = np.array([own.density_weight * slope.spread**2 for own, slope in found])
        share = weights / weights.sum()
        if len(found) == 1:
            return found[0][1]
        total = sum(own.density_weight for own, _ in found)
        return PressureSlope(
            sum(w * slope.row for w, (_, slope) in zip(share, found, strict=True)),
            float(sum(w * slope.label for w, (_, slope) in zip(share, found, strict=True))),
            float(sum(w * slope.number for w, (_, slope) in zip(share, found, strict=True))),
            math.sqrt(float(weights.sum()) / total),
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


def _add(into: PressureSums, other: PressureSums) -> None:
    for name, value in vars(other).items():
        if name not in ("size", "compositions"):
            setattr(into, name, getattr(into, name) + value)


def _part(of: Pressures, into: Pressures, columns: slice) -> Pressures:
    for name, value in vars(of).items():
        if name.endswith("_matrix"):
            value = value[columns, columns]
        elif name.endswith(("_vector", "_row")):
            value = value[columns]
        if name not in ("size", "compositions"):
            setattr(into, name, value)
    return into


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
