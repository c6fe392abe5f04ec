# SPDX-License-Identifier: GPL-2.0-or-later
"""Coefficients of summed normal equations, with penalties and exact constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.potential.basis import Basis, Joint, Mask
from cgpot.training.linear.sums import Sums

Array = NDArray[np.float64]
Weight = float | Literal["auto"]


@dataclass(frozen=True)
class Options:
    """How the equations are solved.

    Attributes:
        virial_weight: weight of a squared error of W/V (eV^2/Å^6) relative to one of a force
            (eV^2/Å^2); auto: ratio of the variances of the labels.
        energy_weight: the same for the energy per site (eV^2); a constant per site is free.
        match_mean_virial: impose the mean trace of W/V as an exact constraint, of several
            compositions one for each.
        match_slope: impose the slope of the virial pressure with density over the frames
            (`cgpot.training.linear.sums.PressureSlope`) as a second exact constraint, likewise.
        smooth: strength of the roughness penalty, relative to the mean diagonal of the force
            equations of the part.
        ridge: strength of the penalty on the coefficients themselves, relative likewise.
    """

    virial_weight: Weight = 0.0
    energy_weight: Weight = 0.0
    match_mean_virial: bool = False
    match_slope: bool = False
    smooth: float = 0.0
    ridge: float = 0.0


@dataclass(frozen=True)
class Penalties:
    """What is known before the data (`cgpot.potential.basis.Basis`).

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
    """Coefficients (size,) of summed equations; as `NormalEquations.solve`."""
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
    rows: list[Array] = []
    values: list[float] = []
    for name, own in sums.systems.items():
        if options.match_mean_virial:
            if not own.virial_weight:
                raise DataError("the mean virial is to be matched, but no frame has a virial")
            rows.append(own.trace_row / own.virial_weight)
            values.append(own.trace_label / own.virial_weight)
        if options.match_slope:
            slope = own.slope(name)  # in the size of the other row: per standard deviation
            rows.append(3.0 * slope.spread * slope.row)
            values.append(3.0 * slope.spread * slope.label)
    free = np.flatnonzero(penalties.free)
    solved = constrained_solve(
        matrix[np.ix_(free, free)],
        vector[free],
        np.stack(rows)[:, free] if rows else None,
        np.array(values) if rows else None,
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
