# SPDX-License-Identifier: GPL-2.0-or-later
"""Dihedral splines u(phi) between sites i-j-k-l along the bonds.

The sign of phi is that of IUPAC (trans is 180 degrees, positive clockwise), as in LAMMPS's
``dihedral_style table``; gradients: Blondel & Karplus, J. Comput. Chem. 17, 1132 (1996).
"""

from __future__ import annotations

import numpy as np

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.term_basis import Array, IntArray, Measured, TermBasis, minimum_image

LEAST_SINE = 1e-4
"""Of the angles at the ends: nearer to a straight line gradients are cut, not infinite."""


class DihedralBasis(TermBasis):
    """Periodic cubic B-splines u(phi) from -pi to pi, one for each kind A-B-C-D.

    Where no dihedral was seen the slope is drawn to zero: u crosses a gap by the shortest way
    between its ends.

    Args:
        topology: the sites.
        sites: (dihedrals, 4), in order along the bonds.
        spacing: wanted knot spacing, degrees.
        kt: k_B T, eV.

    Raises:
        DataError: a spacing that leaves fewer than 4 intervals.
    """

    def __init__(self, topology: Topology, sites: IntArray, spacing: float, kt: float) -> None:
        intervals = round(360.0 / spacing)
        if intervals < 4:
            raise DataError(f"expected at least 4 intervals in 360°, found {intervals}")
        super().__init__(topology, sites, intervals, intervals, kt)

    def label(self, k: int) -> str:
        """Angle of a coefficient, degrees."""
        return f"dihedral={-180.0 + ((k - 1) % self.intervals) * 360.0 / self.intervals:.1f}"

    def measure(self, frame: CGFrame) -> Measured:
        """Dihedrals from -pi to pi, radians."""
        sites, kind = self.terms_on(frame)
        x = frame.positions[sites]
        f = minimum_image(frame, x[:, 0] - x[:, 1])
        g = minimum_image(frame, x[:, 1] - x[:, 2])
        h = minimum_image(frame, x[:, 3] - x[:, 2])
        a, b = np.cross(f, g), np.cross(h, g)
        length = np.linalg.norm(g, axis=1)
        sine = np.sum(np.cross(b, a) * g, axis=1) / length
        phi = np.arctan2(sine, np.sum(a * b, axis=1))
        least = LEAST_SINE * length[:, None]
        norm_f, norm_h = (np.linalg.norm(v, axis=1)[:, None] for v in (f, h))
        a_square = np.maximum(np.sum(a * a, axis=1)[:, None], (least * norm_f) ** 2)
        b_square = np.maximum(np.sum(b * b, axis=1)[:, None], (least * norm_h) ** 2)
        on_i = -length[:, None] * a / a_square
        on_l = length[:, None] * b / b_square
        fg = np.sum(f * g, axis=1)[:, None] / length[:, None] ** 2
        hg = np.sum(h * g, axis=1)[:, None] / length[:, None] ** 2
        on_j = -on_i - fg * on_i - hg * on_l
        on_k = -on_l + fg * on_i + hg * on_l
        zero = np.zeros_like(f)
        return Measured(
            phi,
            np.stack([on_i, on_j, on_k, on_l], axis=1),
            np.stack([f, zero, -g, h - g], axis=1),
            sites,
            kind,
        )

    def locate(self, q: Array) -> tuple[IntArray, Array, float]:
        """Interval, place in it, and intervals a radian; any q, taken modulo 2 pi."""
        x = np.mod((q + np.pi) * (self.intervals / (2.0 * np.pi)), self.intervals)
        first = np.clip(np.floor(x).astype(np.int64), 0, self.intervals - 1)
        return first, np.clip(x - first, 0.0, 1.0), self.intervals / (2.0 * np.pi)

    def columns(self, first: IntArray) -> IntArray:
        """Coefficients of the four splines, around the circle."""
        return np.asarray((first[None, :] + np.arange(4)[:, None]) % self.intervals)

    def target(self, kind: int, q: Array) -> Array:
        """Zero."""
        return np.zeros_like(q)

    def centres(self, intervals: IntArray) -> Array:
        """Middle of intervals, radians."""
        return np.asarray(-np.pi + (intervals + 0.5) * 2.0 * np.pi / self.intervals)

    def roughness(self) -> Array:
        """Second differences around the circle."""
        second = np.roll(np.eye(self.width), 1, 0) + np.roll(np.eye(self.width), -1, 0)
        second -= 2.0 * np.eye(self.width)
        return np.asarray(np.kron(np.eye(self.n_kinds), second.T @ second))
