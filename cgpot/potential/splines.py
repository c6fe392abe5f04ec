# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair potentials as uniform cubic B-splines, one per unordered pair of bead types."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_record, write_json

Array = NDArray[np.float64]
FORMAT = "cgpot-pair-1"
ZERO_AT_CUTOFF = 3
"""Trailing coefficients that are zero, so that u, u' and u'' vanish at the cutoff."""


def pair_count(n_types: int) -> int:
    """Number of unordered pairs of bead types."""
    return n_types * (n_types + 1) // 2


def pair_index(n_types: int) -> NDArray[np.int64]:
    """(n_types, n_types) row of the coefficient table for two types, symmetric."""
    table = np.zeros((n_types, n_types), dtype=np.int64)
    for row, (a, b) in enumerate(combinations_with_replacement(range(n_types), 2)):
        table[a, b] = table[b, a] = row
    return table


def basis(t: Array) -> Array:
    """Values of the four cubic B-splines that are nonzero at t in [0, 1], shape (4, ...)."""
    s = 1.0 - t
    return np.stack(
        [
            s**3 / 6.0,
            (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0,
            (3.0 * s**3 - 6.0 * s**2 + 4.0) / 6.0,
            t**3 / 6.0,
        ]
    )


def basis_derivative(t: Array) -> Array:
    """Derivatives of `basis` with respect to t, shape (4, ...)."""
    s = 1.0 - t
    return np.stack(
        [
            -(s**2) / 2.0,
            (3.0 * t**2 - 4.0 * t) / 2.0,
            -(3.0 * s**2 - 4.0 * s) / 2.0,
            t**2 / 2.0,
        ]
    )


@dataclass(frozen=True)
class PairTable:
    """Pair potentials u(r) as uniform cubic B-splines on [0, r_max].

    Attributes:
        type_names: bead types, in the order of ``atom_types``.
        r_max: Å; u, u' and u'' vanish there.
        coefficients: (pairs, n + 3) eV, ``n`` intervals of ``r_max / n``; the last three are 0.
        info: facts about the fit (plain data).
    """

    type_names: tuple[str, ...]
    r_max: float
    coefficients: Array
    info: dict[str, Any]

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return self.coefficients.shape[1] - 3

    @property
    def spacing(self) -> float:
        """Width of an interval, Å."""
        return self.r_max / self.intervals

    def locate(self, r: Array) -> tuple[NDArray[np.int64], Array]:
        """First coefficient's index and the position t in [0, 1] inside the interval."""
        return locate(np.asarray(r, dtype=np.float64), self.r_max, self.intervals)

    def energy(self, r: Array, a: int = 0, b: int = 0) -> Array:
        """u(r), eV, for bead types a and b; zero beyond r_max."""
        i, t = self.locate(r)
        c = self.coefficients[pair_index(len(self.type_names))[a, b]]
        u = sum(w * c[i + k] for k, w in enumerate(basis(t)))
        return np.where(np.asarray(r) < self.r_max, u, 0.0)

    def force(self, r: Array, a: int = 0, b: int = 0) -> Array:
        """-u'(r), eV/Å (positive: repulsive); zero beyond r_max."""
        i, t = self.locate(r)
        c = self.coefficients[pair_index(len(self.type_names))[a, b]]
        du = sum(w * c[i + k] for k, w in enumerate(basis_derivative(t))) / self.spacing
        return np.where(np.asarray(r) < self.r_max, -du, 0.0)

    def with_coefficients(self, coefficients: Array, info: dict[str, Any]) -> PairTable:
        """The same table with other coefficients and facts."""
        return PairTable(self.type_names, self.r_max, coefficients, info)

    def write(self, path: str | Path) -> Path:
        """Write as JSON, with a sampled copy (r, u, f) for plots."""
        pairs = {}
        names = self.type_names
        r = np.arange(0.05, self.r_max + 1e-9, 0.05)
        for row, (a, b) in enumerate(combinations_with_replacement(range(len(names)), 2)):
            pairs[f"{names[a]}-{names[b]}"] = {
                "coefficients_eV": self.coefficients[row].tolist(),
                "u_eV": self.energy(r, a, b).round(9).tolist(),
                "f_eV_per_A": self.force(r, a, b).round(9).tolist(),
            }
        record = {
            "format": FORMAT,
            "type_names": list(names),
            "r_max_A": self.r_max,
            "spacing_A": self.spacing,
            "info": self.info,
            "r_A": r.round(6).tolist(),
            "pairs": pairs,
        }
        return write_json(path, record)

    @classmethod
    def read(cls, path: str | Path) -> PairTable:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or coefficients of the wrong length.
        """
        record = read_record(path, FORMAT, "a pair table")
        for key in ("type_names", "r_max_A", "spacing_A", "pairs"):
            if key not in record:
                raise InputError("the key is missing", file=path, key=key)
        names = tuple(record["type_names"])
        n = round(record["r_max_A"] / record["spacing_A"])
        rows = []
        for a, b in combinations_with_replacement(names, 2):
            key = f"{a}-{b}"
            row = np.asarray(record["pairs"].get(key, {}).get("coefficients_eV", []))
            if row.shape != (n + 3,):
                raise InputError(
                    f"expected {n + 3} coefficients, found {row.size}", file=path, key=key
                )
            rows.append(row)
        return cls(names, float(record["r_max_A"]), np.stack(rows), dict(record.get("info", {})))


def locate(r: Array, r_max: float, intervals: int) -> tuple[NDArray[np.int64], Array]:
    """Interval of each distance and the position inside it, both clamped to the table."""
    x = r * (intervals / r_max)
    i = np.clip(np.floor(x).astype(np.int64), 0, intervals - 1)
    return i, np.clip(x - i, 0.0, 1.0)
