# SPDX-License-Identifier: GPL-2.0-or-later
"""Bond splines u(r) between sites of one molecule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pairs import Pairs
from cgpot.potential.basis import Mask
from cgpot.potential.connectivity import Exclusions, bond_sites
from cgpot.potential.splines import pair_index
from cgpot.potential.term_basis import (
    WALL_WEIGHT,
    Array,
    IntArray,
    Measured,
    TermBasis,
    Types,
    minimum_image,
)


def bond_list(
    topology: Topology, types: Sequence[tuple[str, str]] | None
) -> tuple[IntArray, IntArray]:
    """Pairs of sites of one molecule: all of them, or those of the given pairs of types.

    Returns:
        Sites (bonds, 2) with the first index the smaller, and their row in the table of
        unordered pairs of types.

    Raises:
        ConfigError: an unknown type, or a pair of types that is in no molecule.
    """
    bonds = bond_sites(topology, types)
    rows = pair_index(len(topology.type_names))
    return bonds, rows[topology.types[bonds[:, 0]], topology.types[bonds[:, 1]]]


class BondBasis(TermBasis):
    """Cubic B-splines u(r) over the sampled bond lengths (`cgpot.potential.basis.Basis`).

    Outside the sampled lengths the force follows a harmonic spring fitted to the distribution
    (Boltzmann inversion of its variance), so that no bond escapes.

    Args:
        topology: the sites.
        types: pairs of bead types that are bonded; None: all sites of a molecule.
        span: shortest and longest length, Å; every bond of the data must lie inside.
        spacing: wanted knot spacing, Å.
        kt: k_B T, eV.
        bonds: (n, 2) the bonds, instead of those that ``types`` name.

    Raises:
        ConfigError: bonds that the topology does not have (`bond_list`).
        DataError: an empty span.
    """

    def __init__(
        self,
        topology: Topology,
        types: Sequence[tuple[str, str]] | None,
        span: tuple[float, float],
        spacing: float,
        kt: float,
        *,
        bonds: IntArray | None = None,
    ) -> None:
        if not (0.0 <= span[0] < span[1] and spacing > 0):
            raise DataError(f"expected bond lengths 0 <= low < high, found {span}")
        if bonds is None:
            bonds = bond_sites(topology, types)
        intervals = max(4, round((span[1] - span[0]) / spacing))
        super().__init__(topology, bonds, intervals, intervals + 3, kt)
        self.low, self.high = span
        self.step = (span[1] - span[0]) / intervals
        self._moments = np.zeros((self.n_kinds, 3))
        self.springs: list[tuple[float, float]] | None = None
        self._exclusions = Exclusions(topology, self.sites)

    @property
    def bonds(self) -> IntArray:
        """(n, 2) sites."""
        return self.sites

    @property
    def kinds(self) -> list[Types]:
        """Pairs of types of the splines."""
        return self.types

    def label(self, k: int) -> str:
        """Length of a coefficient, Å."""
        return f"r={self.low + (k - 1) * self.step:.3f}"

    def is_bonded(self, frame: CGFrame, pairs: Pairs) -> Mask:
        """Which pairs of a neighbour list are bonds."""
        return self._exclusions(frame, pairs)

    def measure(self, frame: CGFrame) -> Measured:
        """Bond lengths, Å.

        Raises:
            DataError: a bond outside the span.
        """
        sites, kind = self.terms_on(frame)
        vector, r = bond_vectors(frame, sites)
        outside = (r < self.low) | (r > self.high)
        if outside.any():
            k = int(np.flatnonzero(outside)[0])
            raise DataError(
                f"the bond of sites {sites[k].tolist()} is {r[k]:.3f} Å long, outside "
                f"{self.low:.3f} to {self.high:.3f} Å",
                frame=frame.source_frame,
            )
        unit = vector / r[:, None]
        gradient = np.stack([-unit, unit], axis=1)
        place = np.stack([np.zeros_like(vector), vector], axis=1)
        return Measured(r, gradient, place, sites, kind)

    def values(self, frame: CGFrame) -> Array:
        """Bond lengths, Å, also beyond the span."""
        return bond_vectors(frame, self.terms_on(frame)[0])[1]

    def splines(self, q: Array) -> tuple[Array, Array]:
        """Beyond the span a spline goes on along its tangent, as in `evaluate`."""
        inside = np.clip(q, self.low, self.high)
        values, slopes = super().splines(inside)
        return values + slopes * (q - inside)[:, None], slopes

    def seen(self, measured: Measured) -> None:
        """Moments of the lengths."""
        for power in range(3):
            np.add.at(self._moments[:, power], measured.kind, measured.value**power)

    def locate(self, q: Array) -> tuple[IntArray, Array, float]:
        """Interval, place in it, and intervals an Å."""
        return *self._locate(q), 1.0 / self.step

    def _locate(self, r: Array) -> tuple[IntArray, Array]:
        x = (r - self.low) / self.step
        first = np.clip(np.floor(x).astype(np.int64), 0, self.intervals - 1)
        return first, np.clip(x - first, 0.0, 1.0)

    def columns(self, first: IntArray) -> IntArray:
        """Coefficients of the four splines."""
        return np.asarray(first[None, :] + np.arange(4)[:, None])

    def evaluate(self, coefficients: Array, kind: int, q: Array) -> tuple[Array, Array]:
        """u(r) in eV and u'(r) in eV/Å.

        Beyond the span u goes on as the parabola that meets the spline's end.
        """
        inside = np.clip(q, self.low, self.high)
        u, slope = super().evaluate(coefficients, kind, inside)
        stiffness, _ = self.spring(kind)
        beyond = np.asarray(q) - inside
        return u + slope * beyond + 0.5 * stiffness * beyond**2, slope + stiffness * beyond

    def spring(self, kind: int) -> tuple[float, float]:
        """Stiffness k_B T / Var(r) (eV/Å^2) and mean length (Å) of the sampled bonds."""
        if self.springs is not None:
            return self.springs[kind]
        count, total, square = self._moments[kind]
        mean = total / count
        variance = max(float(square / count - mean**2), 1e-6)
        return self.kt / variance, float(mean)

    def freeze(self) -> None:
        """Keep the springs."""
        self.springs = [self.spring(kind) for kind in range(self.n_kinds)]

    def wall_weight(self, kind: int) -> float:
        """Weight of an anchored interval."""
        return WALL_WEIGHT

    def target(self, kind: int, q: Array) -> Array:
        """Slope of the spring."""
        stiffness, mean = self.spring(kind)
        return np.asarray(stiffness * (q - mean))

    def jacobian(self, q: Array) -> Array:
        """Area of a sphere, Å^2."""
        return np.asarray(q**2)

    def centres(self, intervals: IntArray) -> Array:
        """Middle of intervals, Å."""
        return np.asarray(self.low + (intervals + 0.5) * self.step)


def bond_vectors(frame: CGFrame, bonds: IntArray) -> tuple[Array, Array]:
    """Minimum-image vectors (bonds, 3) from first to second site, and lengths, Å."""
    delta = minimum_image(frame, frame.positions[bonds[:, 1]] - frame.positions[bonds[:, 0]])
    return delta, np.linalg.norm(delta, axis=1)
