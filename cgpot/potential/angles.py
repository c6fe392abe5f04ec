# SPDX-License-Identifier: GPL-2.0-or-later
"""Angle splines u(theta) between sites i-j-k along the bonds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.splines import locate
from cgpot.potential.term_basis import Array, IntArray, Measured, TermBasis, minimum_image

LEAST_SINE = 1e-6
LEAST_VARIANCE = 1e-6


class AngleBasis(TermBasis):
    """Cubic B-splines u(theta) from 0 to pi, one for each kind A-B-C.

    The splines are even about both ends: u' is zero in straight and folded angles, where the
    gradient of theta diverges, so that forces are finite and continuous there.  Where no angle was
    seen u follows ``K (cos theta - c0)^2 / 2``, with K = k_B T / Var(cos theta) and c0 the
    mean cosine of the data: the Boltzmann inversion of a Gaussian in cos theta, whose volume
    element is flat.

    Args:
        topology: the sites.
        sites: (angles, 3), the centre in the middle.
        spacing: wanted knot spacing, degrees.
        kt: k_B T, eV.

    Raises:
        DataError: a spacing that leaves fewer than 4 intervals.
    """

    def __init__(self, topology: Topology, sites: IntArray, spacing: float, kt: float) -> None:
        intervals = round(180.0 / spacing)
        if intervals < 4:
            raise DataError(f"expected at least 4 intervals from 0 to 180°, found {intervals}")
        super().__init__(topology, sites, intervals, intervals + 1, kt)
        self._moments = np.zeros((self.n_kinds, 3))
        self.wells: list[tuple[float, float]] | None = None

    def label(self, k: int) -> str:
        """Angle of a coefficient, degrees."""
        return f"angle={k * 180.0 / self.intervals:.1f}"

    def measure(self, frame: CGFrame) -> Measured:
        """Angles, radians."""
        sites, kind = self.terms_on(frame)
        i, j, k = sites.T
        u = minimum_image(frame, frame.positions[i] - frame.positions[j])
        v = minimum_image(frame, frame.positions[k] - frame.positions[j])
        ru, rv = np.linalg.norm(u, axis=1)[:, None], np.linalg.norm(v, axis=1)[:, None]
        cosine = np.clip(np.sum(u / ru * v / rv, axis=1), -1.0, 1.0)[:, None]
        sine = np.maximum(np.sqrt(1.0 - cosine**2), LEAST_SINE)
        on_i = -(v / rv - cosine * u / ru) / (sine * ru)
        on_k = -(u / ru - cosine * v / rv) / (sine * rv)
        return Measured(
            np.arccos(cosine[:, 0]),
            np.stack([on_i, -on_i - on_k, on_k], axis=1),
            np.stack([u, np.zeros_like(u), v], axis=1),
            sites,
            kind,
        )

    def seen(self, measured: Measured) -> None:
        """Moments of the cosine."""
        cosine = np.cos(measured.value)
        for power in range(3):
            np.add.at(self._moments[:, power], measured.kind, cosine**power)

    def locate(self, q: Array) -> tuple[IntArray, Array, float]:
        """Interval, place in it, and intervals a radian."""
        return *locate(q, np.pi, self.intervals), self.intervals / np.pi

    def columns(self, first: IntArray) -> NDArray[np.int64]:
        """Coefficients of the four splines, mirrored at both ends."""
        k = np.abs(first[None, :] + np.arange(-1, 3)[:, None])
        return np.asarray(np.where(k > self.intervals, 2 * self.intervals - k, k))

    def well(self, kind: int) -> tuple[float, float]:
        """K (eV) and c0 of the well in the cosine, from the sampled angles."""
        if self.wells is not None:
            return self.wells[kind]
        count, total, square = self._moments[kind]
        mean = float(total / count)
        return self.kt / max(float(square / count) - mean**2, LEAST_VARIANCE), mean

    def freeze(self) -> None:
        """Keep the wells."""
        self.wells = [self.well(kind) for kind in range(self.n_kinds)]

    def target(self, kind: int, q: Array) -> Array:
        """Slope of the well in the cosine."""
        stiffness, mean = self.well(kind)
        return np.asarray(-stiffness * (np.cos(q) - mean) * np.sin(q))

    def jacobian(self, q: Array) -> Array:
        """Length of a circle of latitude."""
        return np.asarray(np.sin(q))

    def centres(self, intervals: IntArray) -> Array:
        """Middle of intervals, radians."""
        return np.asarray((intervals + 0.5) * np.pi / self.intervals)
