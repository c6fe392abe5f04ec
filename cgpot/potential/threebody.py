# SPDX-License-Identifier: GPL-2.0-or-later
"""Three-body terms of Stillinger-Weber form, linear in a spline of the angle.

``U_3 = sum_i sum_{j<k} f(theta_jik) h(r_ij) h(r_ik)`` with
``h(r) = exp(gamma / (r - r_c))`` for r < r_c, zero beyond: the radial form of Stillinger & Weber,
Phys. Rev. B 31, 5262 (1985), as used for coarse-graining by Larini, Lu & Voth, J. Chem. Phys.
132, 164107 (2010) and tabulated in theta by LAMMPS's ``pair_style sw/angle/table``.  f is a
cubic B-spline on [0, pi], even about both ends, so that forces stay finite and continuous in
straight and folded triplets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import half_list
from cgpot.potential.basis import Mask, Rows, no_anchors, second_differences
from cgpot.potential.splines import basis, basis_derivative, locate
from cgpot.potential.triplets import triplet_types, triplets

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
LEAST_SINE = 1e-6


def radial(r: Array, cutoff: float, gamma: float) -> tuple[Array, Array]:
    """h(r) and h'(r) for distances below the cutoff; both lengths in Å."""
    gap = np.minimum(r - cutoff, -1e-9)
    value = np.exp(gamma / gap)
    return value, -gamma / gap**2 * value


class ThreeBodySW:
    """Rows of the angle splines; see `cgpot.potential.basis.Basis`.

    One spline for each centre type and unordered pair of neighbour types (`blocks`).

    Args:
        type_names: bead types.
        cutoff: r_c, Å.
        gamma: decay length of h, Å.
        intervals: of the spline between 0 and pi.

    Raises:
        DataError: sizes that make no spline.
    """

    def __init__(
        self, type_names: tuple[str, ...], cutoff: float, gamma: float, intervals: int
    ) -> None:
        if not (cutoff > 0 and gamma > 0 and intervals >= 2):
            raise DataError(
                "expected a positive cutoff and gamma and at least 2 intervals, found "
                f"{cutoff} Å, {gamma} Å and {intervals}"
            )
        self.type_names = type_names
        self.cutoff = cutoff
        self.gamma = gamma
        self.intervals = intervals
        self.width = intervals + 1
        self.blocks, self._index = triplet_types(len(type_names))

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.blocks) * self.width

    @property
    def names(self) -> list[str]:
        """Block and angle (degrees) of each coefficient."""
        step = 180.0 / self.intervals
        return [
            f"{self.block_name(row)} angle={k * step:.1f}"
            for row in range(len(self.blocks))
            for k in range(self.width)
        ]

    def block_name(self, row: int) -> str:
        """Names of neighbour, centre and neighbour, ``A-B-C``."""
        centre, a, b = self.blocks[row]
        return "-".join(self.type_names[t] for t in (a, centre, b))

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame."""
        n, size, types = frame.topology.n_sites, self.size, frame.topology.types
        pairs = half_list(frame, self.cutoff)
        centre = np.concatenate([pairs.i, pairs.j])
        other = np.concatenate([pairs.j, pairs.i])
        vector = np.concatenate([pairs.vector, -pairs.vector])
        distance = np.concatenate([pairs.distance, pairs.distance])
        order = np.argsort(centre, kind="stable")
        centre, other, vector, distance = (x[order] for x in (centre, other, vector, distance))
        e, f = triplets(centre)
        unit = vector / distance[:, None]
        h, slope = radial(distance, self.cutoff, self.gamma)
        u, v = unit[e], unit[f]
        cosine = np.clip(np.einsum("ta,ta->t", u, v), -1.0, 1.0)
        sine = np.maximum(np.sqrt(1.0 - cosine**2), LEAST_SINE)
        block = self._index[types[centre[e]], types[other[e]], types[other[f]]]
        first, t = locate(np.arccos(cosine), np.pi, self.intervals)
        column = block * self.width + self._fold(first)
        value = basis(t)
        derivative = basis_derivative(t) * (self.intervals / np.pi)
        # dU/dr_ij = B h' h u_ij + B' h h dtheta/dr_ij, theta = arccos(u . v)
        turn_e = -(v - cosine[:, None] * u) / (sine * distance[e])[:, None]
        turn_f = -(u - cosine[:, None] * v) / (sine * distance[f])[:, None]
        both = h[e] * h[f]
        along_e, along_f = (slope[e] * h[f])[:, None] * u, (h[e] * slope[f])[:, None] * v
        forces = np.empty((n, 3, size))
        virial = np.zeros((3, 3, size))
        flat = column.ravel()
        places = [(site[None, :] * size + column).ravel() for site in (other[e], other[f])]
        places.append((centre[e][None, :] * size + column).ravel())
        where = np.concatenate(places)
        for a in range(3):
            on_e = (-value * along_e[:, a] - derivative * both * turn_e[:, a]).ravel()
            on_f = (-value * along_f[:, a] - derivative * both * turn_f[:, a]).ravel()
            forces[:, a] = np.bincount(
                where, np.concatenate([on_e, on_f, -on_e - on_f]), minlength=n * size
            ).reshape(n, size)
            for b in range(a, 3):
                moment = np.tile(vector[e, b], 4) * on_e + np.tile(vector[f, b], 4) * on_f
                virial[a, b] = virial[b, a] = np.bincount(flat, moment, minlength=size)
        row = None
        if energy:
            row = np.bincount(flat, (value * both).ravel(), minlength=size).astype(np.float64)
        return Rows(forces.reshape(3 * n, size), virial, row)

    def function(self, coefficients: Array, row: int, theta: Array) -> tuple[Array, Array]:
        """f(theta) and df/dtheta (per radian) of one block, eV; theta in radians."""
        c = np.reshape(coefficients, (-1, self.width))[row]
        first, t = locate(np.asarray(theta, dtype=np.float64), np.pi, self.intervals)
        value = np.zeros_like(t)
        slope = np.zeros_like(t)
        for place, w, d in zip(self._fold(first), basis(t), basis_derivative(t), strict=True):
            value += w * c[place]
            slope += d * c[place] * (self.intervals / np.pi)
        return value, slope

    def _fold(self, first: IntArray) -> IntArray:
        """Coefficients of the four splines at each place, (4, n); mirrored at both ends."""
        k = np.abs(first[None, :] + np.arange(-1, 3)[:, None])
        return np.asarray(np.where(k > self.intervals, 2 * self.intervals - k, k))

    def free(self) -> Mask:
        """All coefficients."""
        return np.ones(self.size, dtype=bool)

    def roughness(self) -> Array:
        """Second differences along the angle, in each block."""
        return np.asarray(np.kron(np.eye(len(self.blocks)), second_differences(self.width)))

    def anchors(self) -> tuple[Array, Array]:
        """None."""
        return no_anchors(self.size)
