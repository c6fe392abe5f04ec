# SPDX-License-Identifier: GPL-2.0-or-later
"""Least squares over a stream of frames through the normal equations.

Force matching with a linear potential (Noid et al., J. Chem. Phys. 128, 244115 (2008)) with
virial rows (pressure matching: Das & Andersen, J. Chem. Phys. 132, 164106 (2010)) and, where
frames have them, energy rows.  Memory is that of the basis, not of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.training.linear.basis import Basis, Joint, Mask, Rows

Array = NDArray[np.float64]
Weight = float | Literal["auto"]
UPPER = np.triu_indices(3)


@dataclass
class Sums:
    """Normal equations of some frames.  Virials enter as W/V, energies per site.

    Attributes:
        size: number of coefficients.
        frames: number of frames; weight: sum of their weights.
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
    trace_label: float = 0.0
    energy_label: float = 0.0
    energy_square: float = 0.0
    force_square: float = 0.0
    force_rows: float = 0.0
    frames: int = 0
    weight: float = 0.0
    virial_weight: float = 0.0
    energy_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("force", "virial", "energy"):
            setattr(self, f"{name}_matrix", np.zeros((self.size, self.size)))
            setattr(self, f"{name}_vector", np.zeros(self.size))
        self.trace_row = np.zeros(self.size)
        self.energy_row = np.zeros(self.size)
        self.stress_sum = np.zeros(6)
        self.stress_square = np.zeros(6)

    def add(self, other: Sums) -> None:
        """Add another block."""
        for name, value in vars(other).items():
            if name != "size":
                setattr(self, name, getattr(self, name) + value)

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


@dataclass(frozen=True)
class Options:
    """How the equations are solved.

    Attributes:
        virial_weight: weight of a squared error of W/V (eV^2/Å^6) relative to one of a force
            (eV^2/Å^2); auto: ratio of the variances of the labels.
        energy_weight: the same for the energy per site (eV^2); a constant per site is free.
        match_mean_virial: impose the mean trace of W/V as an exact constraint.
        smooth: strength of the roughness penalty, relative to the mean diagonal of the force
            equations of the part.
        ridge: strength of the penalty on the coefficients themselves, relative likewise.
    """

    virial_weight: Weight = 0.0
    energy_weight: Weight = 0.0
    match_mean_virial: bool = False
    smooth: float = 0.0
    ridge: float = 0.0


@dataclass(frozen=True)
class Penalties:
    """What is known before the data (`cgpot.training.linear.basis.Basis`).

    Attributes:
        free: (size,) coefficients that are fitted.
        roughness: (size, size), unit strength.
        anchors: absolute further equations, matrix and vector.
        parts: columns that share one scale of the penalties.
        names: of the coefficients, for messages.
    """

    free: Mask
    roughness: Array
    anchors: tuple[Array, Array]
    parts: Sequence[slice]
    names: Sequence[str]

    @classmethod
    def of(cls, basis: Basis) -> Penalties:
        """Penalties of a basis that has seen all frames; the parts of a `Joint` scale alone."""
        parts = list(basis.columns.values()) if isinstance(basis, Joint) else [slice(None)]
        return cls(basis.free(), basis.roughness(), basis.anchors(), parts, basis.names)


class NormalEquations:
    """Sums of blocks of frames.

    Args:
        size: number of coefficients.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: list[Sums] = []

    def add(
        self,
        rows: Rows,
        forces: Array | None,
        *,
        volume: float,
        virial: Array | None = None,
        energy: float | None = None,
        weight: float = 1.0,
        block: int = 0,
    ) -> None:
        """Add one frame.

        Args:
            rows: of the basis on the frame.
            forces: label (n, 3), eV/Å; None leaves the force rows out.
            volume: of the cell, Å^3.
            virial: label (3, 3), eV (its symmetric part counts); None leaves its rows out.
            energy: label, eV; needs the energy row.
            weight: of this frame.
            block: frames of one block stay together in error bars.

        Raises:
            DataError: an energy label without an energy row, or rows of another size.
        """
        if rows.forces.shape[1] != self.size:
            raise DataError(f"expected rows of {self.size} columns, found {rows.forces.shape[1]}")
        while len(self.blocks) <= block:
            self.blocks.append(Sums(self.size))
        sums = self.blocks[block]
        sums.frames += 1
        sums.weight += weight
        if forces is not None:
            target = np.asarray(forces, dtype=np.float64).reshape(-1)
            matrix = rows.forces.T @ rows.forces
            sums.force_matrix += matrix if weight == 1.0 else weight * matrix
            sums.force_vector += weight * (rows.forces.T @ target)
            sums.force_square += weight * float(target @ target)
            sums.force_rows += weight * len(target)
        if virial is not None:
            label = (0.5 * (virial + virial.T))[UPPER] / volume
            v = rows.virial[UPPER] / volume
            sums.virial_matrix += weight * (v.T @ v)
            sums.virial_vector += weight * (v.T @ label)
            sums.stress_sum += weight * label
            sums.stress_square += weight * label**2
            sums.trace_row += weight * np.einsum("iik->k", rows.virial) / volume
            sums.trace_label += weight * float(np.trace(virial)) / volume
            sums.virial_weight += weight
        if energy is not None:
            if rows.energy is None:
                raise DataError("an energy label needs the energy row of the basis")
            n = rows.forces.shape[0] // 3
            row = rows.energy / n
            sums.energy_matrix += weight * np.outer(row, row)
            sums.energy_vector += weight * energy / n * row
            sums.energy_row += weight * row
            sums.energy_label += weight * energy / n
            sums.energy_square += weight * (energy / n) ** 2
            sums.energy_weight += weight

    def total(self, leave_out: int | None = None) -> Sums:
        """Sum over all blocks, or all but one.

        Raises:
            DataError: no frames were added.
        """
        total = Sums(self.size)
        for number, block in enumerate(self.blocks):
            if number != leave_out:
                total.add(block)
        if total.frames == 0:
            raise DataError("no frames to fit")
        return total

    def solve(
        self, penalties: Penalties, options: Options, *, leave_out: int | None = None
    ) -> Array:
        """Coefficients (size,).

        Raises:
            DataError: no frames, labels missing that the options ask for, or a singular system
                (the coefficient that the data leave open most is named).
        """
        return solve(self.total(leave_out), penalties, options)

    def quality(self, coefficients: Array, total: Sums | None = None) -> dict[str, Any]:
        """Errors on the fitted frames (`quality`)."""
        return quality(self.total() if total is None else total, coefficients)

    def filled(self) -> list[int]:
        """Blocks that hold frames."""
        return [number for number, block in enumerate(self.blocks) if block.frames]

    def jackknife(self, solver: Callable[[int], Array]) -> Array:
        """Coefficients without one block each, (blocks, size); see `jackknife_error`.

        Args:
            solver: block to leave out -> coefficients.

        Raises:
            DataError: fewer than two blocks.
        """
        filled = self.filled()
        if len(filled) < 2:
            raise DataError(f"expected at least 2 blocks for error bars, found {len(filled)}")
        return np.stack([solver(number) for number in filled])

    def cross_validation(self, solver: Callable[[int], Array]) -> float:
        """Force RMSE (eV/Å) of each block under the fit to the others, over all blocks.

        Raises:
            DataError: fewer than two blocks.
        """
        samples = self.jackknife(solver)
        square = sum(
            _force_square(self.blocks[number], sample)
            for number, sample in zip(self.filled(), samples, strict=True)
        )
        return math.sqrt(max(square, 0.0) / self.total().force_rows)


def jackknife_error(samples: Array) -> Array:
    """Standard error of a quantity from its values without one block each, over axis 0."""
    n = len(samples)
    spread = ((samples - samples.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((n - 1) / n * spread))


def _force_square(sums: Sums, c: Array) -> float:
    cross = float(c @ sums.force_vector)
    return sums.force_square - 2.0 * cross + float(c @ sums.force_matrix @ c)


def quality(sums: Sums, c: Array) -> dict[str, Any]:
    """Errors of coefficients on frames: eV/Å, eV/Å^3, bar and eV per site; None without labels."""
    result: dict[str, Any] = {"frames": sums.frames}
    rows = sums.force_rows
    result["force_rmse"] = math.sqrt(max(_force_square(sums, c), 0.0) / rows) if rows else None
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


def _weight(value: Weight, variance: float, sums: Sums, what: str) -> float:
    if value == "auto":
        if not variance > 0:
            raise DataError(
                f"the weight of the {what} rows is 'auto', but the {what} labels are missing or "
                "do not vary over the frames"
            )
        return sums.force_variance() / variance
    if value and not variance > 0 and not getattr(sums, f"{what}_weight"):
        raise DataError(f"{what} rows were asked for, but no frame has a {what}")
    return float(value)


def solve(sums: Sums, penalties: Penalties, options: Options) -> Array:
    """Coefficients (size,) of summed equations; see `NormalEquations.solve`."""
    virial = _weight(options.virial_weight, sums.stress_variance(), sums, "virial")
    energy = _weight(options.energy_weight, sums.energy_variance(), sums, "energy")
    matrix = sums.force_matrix + virial * sums.virial_matrix
    vector = sums.force_vector + virial * sums.virial_vector
    if energy:
        energy_matrix, energy_vector, _ = sums.centred_energy()
        matrix = matrix + energy * energy_matrix
        vector = vector + energy * energy_vector
    scale = np.zeros(sums.size)
    for part in penalties.parts:
        scale[part] = np.diagonal(matrix if not sums.force_rows else sums.force_matrix)[part].mean()
    root = np.sqrt(scale)
    matrix = matrix + options.smooth * root[:, None] * penalties.roughness * root[None, :]
    matrix[np.diag_indices(sums.size)] += options.ridge * scale
    matrix = matrix + penalties.anchors[0]
    vector = vector + penalties.anchors[1]
    rows = values = None
    if options.match_mean_virial:
        if not sums.virial_weight:
            raise DataError("the mean virial is to be matched, but no frame has a virial")
        rows = sums.trace_row[None, :] / sums.virial_weight
        values = np.array([sums.trace_label / sums.virial_weight])
    free = np.flatnonzero(penalties.free)
    solved = constrained_solve(
        matrix[np.ix_(free, free)],
        vector[free],
        None if rows is None else rows[:, free],
        values,
        [penalties.names[k] for k in free.tolist()],
    )
    coefficients = np.zeros(sums.size)
    coefficients[free] = solved
    return coefficients


def constrained_solve(
    matrix: Array,
    vector: Array,
    rows: Array | None = None,
    values: Array | None = None,
    names: Sequence[str] | None = None,
) -> Array:
    """Minimise x^T A x / 2 - b^T x under the constraints C x = d.

    Args:
        matrix: A, symmetric positive definite.
        vector: b.
        rows: C, (constraints, size).
        values: d.
        names: of the unknowns, for messages.

    Raises:
        DataError: A is singular.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    diagonal = np.sqrt(np.maximum(np.diagonal(matrix), 0.0))
    if not np.all(diagonal > 0):
        _singular(np.where(diagonal > 0, 0.0, 1.0), names)
    scaled = matrix / diagonal[:, None] / diagonal[None, :]
    b = vector / diagonal
    try:
        factor = cho_factor(scaled)
    except LinAlgError:
        _singular(np.abs(np.linalg.eigh(scaled)[1][:, 0]), names)
    x = cho_solve(factor, b)
    if rows is not None and values is not None:
        c = rows / diagonal
        y = cho_solve(factor, c.T)
        x = x - y @ np.linalg.solve(c @ y, c @ x - values)
    return np.asarray(x / diagonal)


def _singular(involved: Array, names: Sequence[str] | None) -> NoReturn:
    worst = int(np.argmax(involved))
    name = names[worst] if names is not None else f"number {worst}"
    raise DataError(
        f"the normal equations are singular: the frames do not determine coefficient '{name}'; "
        "give more frames, wider knots, or a smooth or ridge penalty"
    )
