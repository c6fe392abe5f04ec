# SPDX-License-Identifier: GPL-2.0-or-later
"""Bond splines u(r) between sites of one molecule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError
from cgpot.core.frame import BeadTopology, CGFrame
from cgpot.core.splines import basis, basis_derivative, pair_index
from cgpot.training.linear.basis import Mask, Rows, second_differences
from cgpot.training.linear.neighbours import Pairs

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
WALL_WEIGHT = 20.0
"""Weight of the harmonic anchor outside the sampled lengths, as pairs seen in each interval."""


def bond_list(
    topology: BeadTopology, types: Sequence[tuple[str, str]] | None
) -> tuple[IntArray, IntArray]:
    """Pairs of sites of one molecule: all of them, or those of the given pairs of types.

    Returns:
        Sites (bonds, 2) with the first index the smaller, and their row in the table of
        unordered pairs of types.

    Raises:
        ConfigError: an unknown type, or a pair of types that is in no molecule.
    """
    rows = pair_index(len(topology.type_names))
    order = np.argsort(topology.molecules, kind="stable")
    found: list[tuple[int, int]] = []
    for members in np.split(order, np.flatnonzero(np.diff(topology.molecules[order])) + 1):
        found += [(int(a), int(b)) for k, a in enumerate(members) for b in members[k + 1 :]]
    bonds = np.sort(np.array(found, dtype=np.int64).reshape(-1, 2), axis=1)
    row = rows[topology.types[bonds[:, 0]], topology.types[bonds[:, 1]]]
    if types is not None:
        wanted = []
        for a, b in types:
            for name in (a, b):
                if name not in topology.type_names:
                    raise ConfigError(
                        f"unknown bead type {name!r}; the data have {list(topology.type_names)}",
                        key="model.bonds",
                    )
            number = rows[topology.type_names.index(a), topology.type_names.index(b)]
            if number not in row:
                raise ConfigError(
                    f"no molecule holds both {a!r} and {b!r} as different sites",
                    key="model.bonds",
                )
            wanted.append(int(number))
        keep = np.isin(row, wanted)
        bonds, row = bonds[keep], row[keep]
    if len(bonds) == 0:
        raise ConfigError(
            "bonds were asked for, but every molecule is a single site", key="model.bonds"
        )
    return bonds, row


class BondBasis:
    """Cubic B-splines u(r) over the sampled bond lengths (`cgpot.training.linear.basis.Basis`).

    Outside the sampled lengths the force follows a harmonic spring fitted to the distribution
    (Boltzmann inversion of its variance), so that no bond escapes.

    Args:
        topology: the sites.
        types: pairs of bead types that are bonded; None: all sites of a molecule.
        span: shortest and longest length, Å; every bond of the data must lie inside.
        spacing: wanted knot spacing, Å.
        kt: k_B T, eV.

    Raises:
        ConfigError: bonds that the topology does not have (`bond_list`).
        DataError: an empty span.
    """

    def __init__(
        self,
        topology: BeadTopology,
        types: Sequence[tuple[str, str]] | None,
        span: tuple[float, float],
        spacing: float,
        kt: float,
    ) -> None:
        if not (0.0 <= span[0] < span[1] and spacing > 0):
            raise DataError(f"expected bond lengths 0 <= low < high, found {span}")
        self.topology = topology
        self.bonds, row = bond_list(topology, types)
        self.kinds = [int(k) for k in np.unique(row)]
        self.kind = np.searchsorted(self.kinds, row)
        self.low, self.high = span
        self.intervals = max(4, round((span[1] - span[0]) / spacing))
        self.step = (span[1] - span[0]) / self.intervals
        self.width = self.intervals + 3
        self.kt = kt
        self._counts = np.zeros((len(self.kinds), self.intervals))
        self._moments = np.zeros((len(self.kinds), 3))
        self.springs: list[tuple[float, float]] | None = None
        self._codes = np.sort(self.bonds[:, 0] * topology.n_sites + self.bonds[:, 1])

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.kinds) * self.width

    def kind_name(self, kind: int) -> str:
        """Names of the two bead types, ``A-B``."""
        table = pair_index(len(self.topology.type_names))
        a, b = np.argwhere(np.triu(table == self.kinds[kind]))[0]
        return f"{self.topology.type_names[a]}-{self.topology.type_names[b]}"

    @property
    def names(self) -> list[str]:
        """Pair of types and place of each coefficient."""
        return [
            f"{self.kind_name(kind)} r={self.low + (k - 1) * self.step:.3f}"
            for kind in range(len(self.kinds))
            for k in range(self.width)
        ]

    def is_bonded(self, frame: CGFrame, pairs: Pairs) -> Mask:
        """Which pairs of a neighbour list are bonds."""
        code = np.minimum(pairs.i, pairs.j) * self.topology.n_sites + np.maximum(pairs.i, pairs.j)
        place = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        return np.asarray(self._codes[place] == code)

    def lengths(self, frame: CGFrame) -> tuple[Array, Array]:
        """Minimum-image vectors (bonds, 3) and lengths of the bonds, Å."""
        return bond_vectors(frame, self.bonds)

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame; its bond lengths enter the histogram behind the anchors.

        Raises:
            DataError: a bond outside the span.
        """
        vector, r = self.lengths(frame)
        outside = (r < self.low) | (r > self.high)
        if outside.any():
            k = int(np.flatnonzero(outside)[0])
            raise DataError(
                f"the bond of sites {self.bonds[k].tolist()} is {r[k]:.3f} Å long, outside "
                f"{self.low:.3f} to {self.high:.3f} Å",
                frame=frame.source_frame,
            )
        n, size = frame.topology.n_sites, self.size
        first, t = self._locate(r)
        np.add.at(self._counts, (self.kind, first), 1.0)
        for power in range(3):
            np.add.at(self._moments[:, power], self.kind, r**power)
        column = (self.kind * self.width + first)[None, :] + np.arange(4)[:, None]
        slopes = basis_derivative(t) / self.step
        unit = vector / r[:, None]
        where = np.concatenate(
            [(self.bonds[:, side][None, :] * size + column).ravel() for side in (0, 1)]
        )
        forces = np.empty((n, 3, size))
        virial = np.empty((3, 3, size))
        for a in range(3):
            along = (slopes * unit[:, a]).ravel()
            forces[:, a] = np.bincount(
                where, np.concatenate([along, -along]), minlength=n * size
            ).reshape(n, size)
            for b in range(a, 3):
                virial[a, b] = virial[b, a] = -np.bincount(
                    column.ravel(), along * np.tile(vector[:, b], 4), minlength=size
                )
        row = None
        if energy:
            row = np.bincount(column.ravel(), basis(t).ravel(), minlength=size).astype(np.float64)
        return Rows(forces.reshape(3 * n, size), virial, row)

    def _locate(self, r: Array) -> tuple[IntArray, Array]:
        x = (r - self.low) / self.step
        first = np.clip(np.floor(x).astype(np.int64), 0, self.intervals - 1)
        return first, np.clip(x - first, 0.0, 1.0)

    def evaluate(self, coefficients: Array, kind: int, r: Array) -> tuple[Array, Array]:
        """u(r) in eV, zero at its minimum on the grid of knots, and u'(r) in eV/Å.

        Beyond the span u goes on as the parabola that meets the spline's end.
        """
        c = np.reshape(coefficients, (-1, self.width))[kind]
        inside = np.clip(r, self.low, self.high)
        first, t = self._locate(inside)
        u = sum(w * c[first + k] for k, w in enumerate(basis(t)))
        slope = sum(w * c[first + k] for k, w in enumerate(basis_derivative(t))) / self.step
        stiffness, _ = self.spring(kind)
        beyond = np.asarray(r) - inside
        value = np.asarray(u + slope * beyond + 0.5 * stiffness * beyond**2)
        return value, np.asarray(slope + stiffness * beyond)

    def spring(self, kind: int) -> tuple[float, float]:
        """Stiffness k_B T / Var(r) (eV/Å^2) and mean length (Å) of the sampled bonds."""
        if self.springs is not None:
            return self.springs[kind]
        count, total, square = self._moments[kind]
        mean = total / count
        variance = max(float(square / count - mean**2), 1e-6)
        return self.kt / variance, float(mean)

    def free(self) -> Mask:
        """All but the last of each kind, which fixes the energy's zero."""
        free = np.ones((len(self.kinds), self.width), dtype=bool)
        free[:, -1] = False
        return free.ravel()

    def roughness(self) -> Array:
        """Second differences of the coefficients of each kind."""
        return np.asarray(np.kron(np.eye(len(self.kinds)), second_differences(self.width)))

    def anchors(self) -> tuple[Array, Array]:
        """The spring in intervals where no bond was seen."""
        matrix, vector = np.zeros((self.size, self.size)), np.zeros(self.size)
        for kind in range(len(self.kinds)):
            stiffness, mean = self.spring(kind)
            empty = np.flatnonzero(self._counts[kind] == 0)
            r = np.asarray(self.low + (empty + 0.5) * self.step, dtype=np.float64)
            first, t = self._locate(r)
            rows = np.zeros((len(r), self.width))
            for k, w in enumerate(basis_derivative(t) / self.step):
                rows[np.arange(len(r)), first + k] += w
            part = slice(kind * self.width, (kind + 1) * self.width)
            matrix[part, part] += WALL_WEIGHT * rows.T @ rows
            vector[part] += WALL_WEIGHT * rows.T @ (stiffness * (r - mean))
        return matrix, vector


def bond_vectors(frame: CGFrame, bonds: IntArray) -> tuple[Array, Array]:
    """Minimum-image vectors (bonds, 3) from first to second site, and lengths, Å."""
    delta = frame.positions[bonds[:, 1]] - frame.positions[bonds[:, 0]]
    inverse = np.linalg.inv(frame.cell)
    delta = delta - np.rint(delta @ inverse) * np.asarray(frame.pbc) @ frame.cell
    return delta, np.linalg.norm(delta, axis=1)
