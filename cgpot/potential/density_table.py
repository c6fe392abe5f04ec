# SPDX-License-Identifier: GPL-2.0-or-later
"""Local-density potentials: an energy of each site that depends on how crowded it is.

``U = sum_i F(rho_i)`` with ``rho_i = sum_j m_j w(r_ij)`` over the neighbours of i, one embedding
function F for each type of the central site (Sanyal & Shell, J. Chem. Phys. 145, 034109 (2016);
DeLyser & Noid, J. Chem. Phys. 147, 134111 (2017)).  Unlike a term in the volume (Das & Andersen,
J. Chem. Phys. 132, 164106 (2010); Dunn & Noid, J. Chem. Phys. 143, 243148 (2015)) it also acts in
films, drops and gas.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_record, write_json
from cgpot.potential.splines import basis, basis_derivative

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
FORMAT = "cgpot-density-1"

INDICATORS: dict[str, tuple[float, float, float, float]] = {
    "smooth": (1.0, -3.0, 3.0, -1.0),
    "lammps": (1.0, 0.0, -3.0, 2.0),
}
"""Coefficients of 1, y, y^2, y^3 with y = (r / cutoff)^2; w(0) = 1, zero beyond the cutoff.

smooth: (1 - y)^3, whose value and two derivatives vanish at the cutoff.  lammps: 1 - 3 y^2 + 2 y^3,
that of Sanyal & Shell and of ``pair_style local/density``, whose second derivative does not.
"""


def indicator(r: Array, cutoff: float, kind: str) -> tuple[Array, Array]:
    """w(r) and w'(r) (1/Å) of a distance (Å)."""
    a, b, c, d = INDICATORS[kind]
    y = np.minimum(np.square(np.asarray(r, dtype=np.float64) / cutoff), 1.0)
    value = a + y * (b + y * (c + y * d))
    slope = (b + y * (2.0 * c + y * 3.0 * d)) * 2.0 * np.asarray(r) / cutoff**2
    inside = np.asarray(r) < cutoff
    return np.where(inside, value, 0.0), np.where(inside, slope, 0.0)


def locate(rho: Array, low: Array, step: Array, intervals: int) -> tuple[IntArray, Array, Array]:
    """Interval of each density, the place in it from 0 to 1, and how many intervals beyond.

    Args:
        rho: densities.
        low: of the first knot, of each density.
        step: width of an interval, of each density.
        intervals: their number.
    """
    x = (rho - low) / step
    first = np.clip(np.floor(x).astype(np.int64), 0, intervals - 1)
    t = np.clip(x - first, 0.0, 1.0)
    return first, t, x - first - t


def values(t: Array, beyond: Array) -> tuple[Array, Array]:
    """Values and derivatives (by t) of the four splines, (4, n) each, linear beyond the knots."""
    slope = basis_derivative(t)
    return basis(t) + beyond * slope, slope


def natural(intervals: int) -> Array:
    """(intervals + 3, intervals + 1): all coefficients from those at the knots.

    The second derivative vanishes at the first and last knot, so that the straight lines beyond
    go on with two continuous derivatives.
    """
    matrix = np.zeros((intervals + 3, intervals + 1))
    matrix[1:-1] = np.eye(intervals + 1)
    matrix[0, :2] = matrix[-1, -2:][::-1] = 2.0, -1.0
    return matrix


@dataclass(frozen=True)
class DensityTable:
    """Embedding functions F(rho) as uniform cubic B-splines, linear beyond their knots.

    Attributes:
        type_names: bead types, in the order of ``atom_types``.
        cutoff: Å, of the indicator function.
        indicator: a name in `INDICATORS`.
        weights: (types,) m of a neighbour of each type.
        spans: (types, 2) first and last knot of each type's F.
        coefficients: (types, intervals + 3), eV.
        info: facts about the fit (plain data).
    """

    type_names: tuple[str, ...]
    cutoff: float
    indicator: str
    weights: tuple[float, ...]
    spans: Array
    coefficients: Array
    info: dict[str, Any]

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return self.coefficients.shape[1] - 3

    @property
    def steps(self) -> Array:
        """(types,) widths of an interval."""
        return np.asarray((self.spans[:, 1] - self.spans[:, 0]) / self.intervals)

    def embedding(self, rho: Array, kind: int = 0) -> tuple[Array, Array]:
        """F(rho) and F'(rho), eV, of a central site of one type."""
        step = self.steps[kind]
        first, t, beyond = locate(
            np.asarray(rho, dtype=np.float64), self.spans[kind, 0], step, self.intervals
        )
        c = self.coefficients[kind][first + np.arange(4).reshape(4, *[1] * np.ndim(rho))]
        value, slope = values(t, beyond)
        return np.asarray((value * c).sum(axis=0)), np.asarray((slope * c).sum(axis=0) / step)

    def with_coefficients(self, coefficients: Array, info: dict[str, Any]) -> DensityTable:
        """The same functions with other coefficients and facts."""
        return DensityTable(
            self.type_names,
            self.cutoff,
            self.indicator,
            self.weights,
            self.spans,
            np.reshape(coefficients, self.coefficients.shape),
            info,
        )

    def record(self) -> dict[str, Any]:
        """Plain data for JSON, without ``info``."""
        return {
            "type_names": list(self.type_names),
            "cutoff_A": self.cutoff,
            "indicator": self.indicator,
            "weights": list(self.weights),
            "embedding": {
                name: {"span": span.tolist(), "coefficients_eV": row.tolist()}
                for name, span, row in zip(
                    self.type_names, self.spans, self.coefficients, strict=True
                )
            },
        }

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        return write_json(path, {"format": FORMAT, **self.record(), "info": self.info})

    @classmethod
    def read(cls, path: str | Path) -> DensityTable:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or what `from_record` refuses.
        """
        record = read_record(path, FORMAT, "a local-density table")
        return cls.from_record(record, path)

    @classmethod
    def from_record(cls, record: dict[str, Any], path: str | Path) -> DensityTable:
        """Inverse of `record`.

        Raises:
            InputError: a missing key, an unknown indicator, an empty span, or functions of
                different length.
        """
        try:
            names = tuple(record["type_names"])
            parts = [record["embedding"][name] for name in names]
            kind = record["indicator"]
            weights = tuple(float(w) for w in record["weights"])
            spans = np.array([part["span"] for part in parts], dtype=np.float64)
            rows = [np.asarray(part["coefficients_eV"], dtype=np.float64) for part in parts]
            cutoff = float(record["cutoff_A"])
        except KeyError as err:
            raise InputError("the key is missing", file=path, key=str(err.args[0])) from err
        if kind not in INDICATORS:
            raise InputError(
                f"expected one of {list(INDICATORS)}, found {kind!r}", file=path, key="indicator"
            )
        if len({len(row) for row in rows}) != 1 or len(rows[0]) < 4 or len(weights) != len(names):
            raise InputError(
                "expected a weight and at least 4 coefficients for each bead type, as many for all",
                file=path,
                key="embedding",
            )
        if not (spans.shape == (len(names), 2) and np.all(spans[:, 0] < spans[:, 1])):
            raise InputError(
                f"expected a first and a last knot for each bead type, found {spans.tolist()}",
                file=path,
                key="embedding",
            )
        info = dict(record.get("info", {}))
        return cls(names, cutoff, kind, weights, spans, np.stack(rows), info)
