# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair splines as a linear basis, with a repulsive wall where no pair was ever seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import KB
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import Pairs, half_list
from cgpot.potential.basis import Mask, Rows, second_differences
from cgpot.potential.splines import (
    ZERO_AT_CUTOFF,
    basis,
    basis_derivative,
    locate,
    pair_count,
    pair_index,
)

Array = NDArray[np.float64]

HISTOGRAM_BIN = 0.05
MIN_PAIRS = 40
"""Pairs a histogram bin needs before its force data are trusted."""
WALL_PAIRS = 10
"""Weight of the wall inside the closest pair: as if that many pairs were seen in each bin."""
WALL_CAP_KT = 150.0
"""Height in k_B T at which the wall goes over into a constant force."""


@dataclass(frozen=True)
class Wall:
    """Repulsive power law u = epsilon (sigma / r)^n with epsilon = k_B T.

    Attributes:
        sigma: Å, distance at which the wall is k_B T high.
        exponent: n.
        kt: k_B T, eV.
        onset: Å; from here outwards pairs are frequent.
    """

    sigma: float
    exponent: float
    kt: float
    onset: float

    def slope(self, r: Array) -> Array:
        """u'(r), eV/Å, constant inside the capped core."""
        cap = self.sigma * WALL_CAP_KT ** (-1.0 / self.exponent)
        x = np.maximum(np.asarray(r, dtype=np.float64), cap)
        return -self.kt * self.exponent / x * (self.sigma / x) ** self.exponent

    def as_dict(self) -> dict[str, float]:
        """Plain data for JSON."""
        return {
            "sigma_A": self.sigma,
            "exponent": self.exponent,
            "kT_eV": self.kt,
            "onset_A": self.onset,
        }


class PairBasis:
    """Uniform cubic B-splines u(r) for every pair of bead types (`cgpot.potential.splines`).

    Args:
        type_names: bead types.
        r_max: cutoff, Å.
        spacing: wanted knot spacing, Å (rounded so that it divides r_max).
        temperature: K, for the wall.
        exclude: pairs of sites that do not interact: frame and pairs -> mask.
        correction: the fit corrects an existing potential: zero, not the wall, inside the
            closest pair.

    Raises:
        DataError: fewer than 4 intervals.
    """

    def __init__(
        self,
        type_names: tuple[str, ...],
        r_max: float,
        spacing: float,
        temperature: float,
        *,
        exclude: Callable[[CGFrame, Pairs], Mask] | None = None,
        correction: bool = False,
    ) -> None:
        if not (r_max > 0 and 0 < spacing < r_max / 4):
            raise DataError(
                f"expected 0 < 4 spacing < r_max, found spacing {spacing} and r_max {r_max} Å"
            )
        self.type_names = type_names
        self.r_max = r_max
        self.intervals = max(4, round(r_max / spacing))
        self.temperature = temperature
        self.correction = correction
        self.pairs = pair_count(len(type_names))
        self.width = self.intervals + 3
        self._exclude = exclude
        self._index = pair_index(len(type_names))
        bins = math.ceil(r_max / HISTOGRAM_BIN)
        self._edges = np.linspace(0.0, r_max, bins + 1)
        self._shells = 4.0 / 3.0 * np.pi * np.diff(self._edges**3)
        self._counts = np.zeros((self.pairs, bins))
        self._ideal = np.zeros((self.pairs, bins))

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.pairs * self.width

    @property
    def names(self) -> list[str]:
        """Pair of types and place of each coefficient."""
        spacing = self.r_max / self.intervals
        return [
            f"{self.pair_name(row)} r={(k - 1) * spacing:.3f}"
            for row in range(self.pairs)
            for k in range(self.width)
        ]

    def pair_name(self, row: int) -> str:
        """Names of the two bead types of a row, ``A-B``."""
        a, b = np.argwhere(np.triu(self._index == row))[0]
        return f"{self.type_names[a]}-{self.type_names[b]}"

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame."""
        pairs, pair = self._list(frame)
        n, size = frame.topology.n_sites, self.size
        first, t = locate(pairs.distance, self.r_max, self.intervals)
        slopes = (basis_derivative(t) * (self.intervals / self.r_max)).ravel()
        column = (pair * self.width + first)[None, :] + np.arange(4)[:, None]
        at_i = (pairs.i * size + column).ravel()
        at_j = (pairs.j * size + column).ravel()
        both = np.concatenate([at_i, at_j])
        flat = column.ravel()
        unit = pairs.vector / pairs.distance[:, None]
        forces = np.empty((n, 3, size))
        virial = np.empty((3, 3, size))
        for a in range(3):
            along = slopes * np.tile(unit[:, a], 4)
            forces[:, a] = np.bincount(
                both, np.concatenate([along, -along]), minlength=n * size
            ).reshape(n, size)
            for b in range(a, 3):
                virial[a, b] = virial[b, a] = -np.bincount(
                    flat, along * np.tile(pairs.vector[:, b], 4), minlength=size
                )
        row = None
        if energy:
            row = np.bincount(flat, basis(t).ravel(), minlength=size).astype(np.float64)
        return Rows(forces.reshape(3 * n, size), virial, row)

    def _list(self, frame: CGFrame) -> tuple[Pairs, NDArray[np.int64]]:
        """Pairs that interact, and the row of each."""
        pairs = half_list(frame, self.r_max)
        if self._exclude is not None:
            pairs = pairs.select(~self._exclude(frame, pairs))
        types = frame.topology.types
        return pairs, self._index[types[pairs.i], types[pairs.j]]

    def observe(self, frame: CGFrame) -> None:
        """Add the distances of a frame to the histograms behind the wall."""
        pairs, pair = self._list(frame)
        bins = len(self._shells)
        place = np.minimum((pairs.distance * (bins / self.r_max)).astype(np.int64), bins - 1)
        counted = np.bincount(pair * bins + place, minlength=self.pairs * bins)
        self._counts += 2.0 * counted.reshape(self.pairs, bins)
        numbers = np.bincount(frame.topology.types, minlength=len(self.type_names)).astype(float)
        for a in range(len(numbers)):
            for b in range(a, len(numbers)):
                both = numbers[a] * (numbers[a] - 1) if a == b else 2 * numbers[a] * numbers[b]
                self._ideal[self._index[a, b]] += both * self._shells / frame.volume

    def closest(self, row: int) -> float:
        """Distance (Å, a lower bin edge) of the closest pair seen.

        Raises:
            DataError: no pair of these types was seen.
        """
        seen = np.flatnonzero(self._counts[row])
        if len(seen) == 0:
            raise DataError(f"no pair {self.pair_name(row)} within {self.r_max} Å was seen")
        return float(self._edges[seen[0]])

    def wall(self, row: int = 0) -> Wall:
        """The repulsive wall of one pair of types, from the flank of g(r).

        Raises:
            DataError: too few pairs at short distance to see the flank.
        """
        g = np.divide(
            self._counts[row],
            self._ideal[row],
            out=np.zeros_like(self._counts[row]),
            where=self._ideal[row] > 0,
        )
        r = 0.5 * (self._edges[1:] + self._edges[:-1])
        seen = np.flatnonzero(self._counts[row] >= MIN_PAIRS)
        if len(seen) == 0:
            raise DataError(
                f"no distance bin below {self.r_max} Å holds {MIN_PAIRS} pairs "
                f"{self.pair_name(row)}; more frames are needed for the repulsive wall"
            )
        onset = float(self._edges[seen[0]])
        kt = KB * self.temperature
        peak = seen[int(np.argmax(g[seen]))]
        flank = np.array([k for k in seen if k < peak and g[k] < 0.3])
        sigma, exponent = onset, 12.0
        if len(flank) >= 3:
            log_pmf = np.log(-np.log(g[flank]))
            slope, _ = np.polyfit(np.log(r[flank]), log_pmf, 1)
            exponent = float(np.clip(-slope, 8.0, 24.0))
            sigma = float(np.exp(np.mean(np.log(r[flank]) + log_pmf / exponent)))
        return Wall(sigma=sigma, exponent=exponent, kt=kt, onset=onset)

    def free(self) -> Mask:
        """All but the coefficients that make u, u' and u'' vanish at the cutoff."""
        free = np.ones((self.pairs, self.width), dtype=bool)
        free[:, self.width - ZERO_AT_CUTOFF :] = False
        return free.ravel()

    def roughness(self) -> Array:
        """Second differences of the coefficients of each pair of types."""
        return np.asarray(np.kron(np.eye(self.pairs), second_differences(self.width)))

    def anchors(self) -> tuple[Array, Array]:
        """The wall inside the closest pair seen.

        Raises:
            DataError: too few pairs (`wall`).
        """
        matrix, vector = np.zeros((self.size, self.size)), np.zeros(self.size)
        spacing = self.r_max / self.intervals
        for row in range(self.pairs):
            wall = self.wall(row)
            r = np.arange(spacing / 4, self.closest(row) - spacing, HISTOGRAM_BIN)
            first, t = locate(r, self.r_max, self.intervals)
            w = basis_derivative(t) * (self.intervals / self.r_max)
            rows = np.zeros((len(r), self.width))
            for k in range(4):
                rows[np.arange(len(r)), first + k] += w[k]
            target = np.zeros(len(r)) if self.correction else wall.slope(r)
            weight = 2.0 * WALL_PAIRS  # each pair of sites gives two rows of unit vectors
            part = slice(row * self.width, (row + 1) * self.width)
            matrix[part, part] += weight * rows.T @ rows
            vector[part] += weight * rows.T @ target
        return matrix, vector
