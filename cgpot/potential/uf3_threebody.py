# SPDX-License-Identifier: GPL-2.0-or-later
"""Three-body terms of UF3: tensor products of cubic B-splines in three distances.

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023):
``V_3(r_ij, r_ik, r_jk) = sum_lmn c_lmn B_l(r_ij) B_m(r_ik) B_n(r_jk)``, summed over every centre
i and every pair of its neighbours j < k, as LAMMPS's ``pair_style uf3`` counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import neighbour_images
from cgpot.potential.basis import Mask, Rows, no_anchors
from cgpot.potential.splines import basis, basis_derivative
from cgpot.potential.triplets import triplet_types, triplets

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
ORDER = 3
"""Degree of the splines; also the number of clamped functions at each end that are left out."""


@dataclass(frozen=True)
class ThreeBodyGrid:
    """Knots of the three-body splines, uniform in all distances.

    The functions of r_ij and r_ik vanish with two derivatives at both ends, those of r_jk at
    ``inner``; r_jk reaches twice the cutoff, where the other two have gone to zero.

    Attributes:
        inner: Å; nothing acts where a distance is shorter.
        cutoff: Å; largest r_ij and r_ik.
        intervals: between ``inner`` and ``cutoff``.
    """

    inner: float
    cutoff: float
    intervals: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.inner < self.cutoff:
            raise ConfigError(
                f"the three-body terms need 0 <= inner < cutoff, found inner {self.inner} Å and "
                f"cutoff {self.cutoff} Å",
                key="model",
            )
        if self.intervals < ORDER + 1:
            raise ConfigError(
                f"the three-body terms need at least {ORDER + 1} intervals, found {self.intervals}",
                key="model",
            )

    @property
    def spacing(self) -> float:
        """Width of an interval, Å."""
        return (self.cutoff - self.inner) / self.intervals

    @property
    def long_intervals(self) -> int:
        """Intervals of the axis r_jk: to twice the cutoff, and three more.

        The last three functions of a clamped knot vector are not uniform; with three more
        intervals they lie where no r_jk reaches.
        """
        return math.ceil((2.0 * self.cutoff - self.inner) / self.spacing - 1e-9) + ORDER

    def knots(self, intervals: int) -> Array:
        """Clamped knot vector (intervals + 7,) that begins at ``inner``, Å."""
        inside = self.inner + self.spacing * np.arange(intervals + 1)
        return np.concatenate([[inside[0]] * ORDER, inside, [inside[-1]] * ORDER])

    @property
    def short(self) -> int:
        """Number of functions of r_ij and of r_ik that are fitted."""
        return self.intervals - ORDER

    @property
    def long(self) -> int:
        """Number of functions of r_jk that are fitted."""
        return self.long_intervals - ORDER

    def locate(self, r: Array) -> tuple[IntArray, Array]:
        """Interval of each distance and the position in it, [0, 1)."""
        x = (r - self.inner) / self.spacing
        i = np.floor(x).astype(np.int64)
        return i, x - i


@dataclass(frozen=True)
class _Triples:
    """Triples of a frame: centre i and two neighbours j, k.

    Attributes:
        sites: i, j and k, (triples,) each.
        distances: r_ij, r_ik and r_jk, (triples,) each, Å.
        vectors: the same as vectors, (triples, 3) each, Å.
    """

    sites: tuple[IntArray, IntArray, IntArray]
    distances: tuple[Array, Array, Array]
    vectors: tuple[Array, Array, Array]


def _product(x: Array, y: Array, z: Array) -> Array:
    """(4, 4, 4, triples) products of three functions (4, triples)."""
    return np.asarray(x[:, None, None] * y[None, :, None] * z[None, None, :])


class ThreeBody:
    """Rows of the three-body splines; see `cgpot.potential.basis.Basis`.

    One block of coefficients for each centre type and unordered pair of neighbour types, in the
    order of `blocks`.  Where the two neighbours are of one type, c_lmn = c_mln is built in.

    Args:
        type_names: bead types.
        grid: the knots.
    """

    def __init__(self, type_names: tuple[str, ...], grid: ThreeBodyGrid) -> None:
        self.type_names = type_names
        self.grid = grid
        self.blocks, self._block = triplet_types(len(type_names))
        short, long = grid.short, grid.long
        upper = np.triu_indices(short)
        symmetric = np.zeros((short, short), dtype=np.int64)
        symmetric[upper] = np.arange(len(upper[0]))
        symmetric = np.maximum(symmetric, symmetric.T)
        full = np.arange(short * short).reshape(short, short)
        self._index: list[IntArray] = []
        start = 0
        for _, a, b in self.blocks:
            plane = symmetric if a == b else full
            self._index.append(start + plane[:, :, None] * long + np.arange(long))
            start += (int(plane.max()) + 1) * long
        self._size = start
        self._seen = np.zeros(start)
        # (blocks, short + 6, short + 6, long + 6): functions that are left out point at `size`
        self._padded = np.stack(
            [np.pad(t, ORDER, constant_values=start) for t in self._index], axis=0
        )

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self._size

    @property
    def names(self) -> list[str]:
        """Bead types and numbers of the three functions of each coefficient."""
        labels = [""] * self.size
        for (centre, a, b), index in zip(self.blocks, self._index, strict=True):
            beads = "-".join(self.type_names[t] for t in (centre, a, b))
            for (p, q, s), where in np.ndenumerate(index):
                if not labels[where]:
                    labels[where] = f"{beads} {p},{q},{s}"
        return labels

    def tensors(self, coefficients: Array) -> list[Array]:
        """Coefficients as tensors with LAMMPS's functions, one a block, zeros included.

        Args:
            coefficients: (size,), eV.

        Returns:
            Arrays (intervals + 3, intervals + 3, long_intervals + 3), r_ij, r_ik, r_jk.
        """
        extended = np.append(coefficients, 0.0)
        return [np.asarray(extended[index]) for index in self._padded]

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame; with ``energy`` also that of the energy."""
        grid = self.grid
        n, size = frame.topology.n_sites, self.size
        width = size + 1
        found = self._triples(frame)
        centre, left, right = found.sites
        located = [grid.locate(r) for r in found.distances]
        values = [basis(t) for _, t in located]
        slopes = [basis_derivative(t) / grid.spacing for _, t in located]
        column = self._columns(frame, found, [start for start, _ in located])
        along = found.vectors
        unit = [v / r[:, None] for v, r in zip(along, found.distances, strict=True)]
        slope = [
            _product(slopes[0], values[1], values[2]),
            _product(values[0], slopes[1], values[2]),
            _product(values[0], values[1], slopes[2]),
        ]
        forces = np.zeros((n, 3, width))
        virial = np.zeros((3, 3, width))
        flat = column.ravel()
        at = {
            name: (column + width * site).ravel()
            for name, site in (("i", centre), ("j", left), ("k", right))
        }

        def gather(index: IntArray, weights: Array, length: int) -> Array:
            sums = np.bincount(index, weights=weights.ravel(), minlength=length)
            return np.asarray(sums, dtype=np.float64)

        for x in range(3):
            on_j = slope[2] * unit[2][:, x] - slope[0] * unit[0][:, x]
            on_k = -slope[2] * unit[2][:, x] - slope[1] * unit[1][:, x]
            total = gather(at["j"], on_j, n * width)
            total += gather(at["k"], on_k, n * width)
            total -= gather(at["i"], on_j + on_k, n * width)
            forces[:, x] = total.reshape(n, width)
            for y in range(x + 1):
                tensor = sum(
                    -s * u[:, x] * d[:, y] for s, u, d in zip(slope, unit, along, strict=True)
                )
                virial[x, y] = virial[y, x] = gather(flat, np.asarray(tensor), width)
        return Rows(
            forces.reshape(3 * n, width)[:, :size],
            virial[:, :, :size],
            gather(flat, _product(*values), width)[:size] if energy else None,
        )

    def observe(self, frame: CGFrame) -> None:
        """Note which functions a frame meets."""
        found = self._triples(frame)
        located = [self.grid.locate(r) for r in found.distances]
        column = self._columns(frame, found, [start for start, _ in located])
        value = _product(*(basis(t) for _, t in located))
        width = self.size + 1
        self._seen += np.bincount(column.ravel(), value.ravel(), minlength=width)[: self.size]

    def _columns(self, frame: CGFrame, found: _Triples, starts: list[IntArray]) -> IntArray:
        """(4, 4, 4, triples) coefficients; the one after the last is that of no function."""
        types = frame.topology.types
        centre, left, right = found.sites
        a, b, c = (np.arange(4)[:, None] + start for start in starts)
        block = self._block[types[centre], types[left], types[right]]
        column = self._padded[block, a[:, None, None], b[None, :, None], c[None, None, :]]
        return np.asarray(column)

    def _triples(self, frame: CGFrame) -> _Triples:
        """Centres with two neighbours each; of those the one of the lower type first."""
        grid = self.grid
        found = neighbour_images(frame.positions, frame.cell, grid.cutoff, frame.pbc)
        keep = np.flatnonzero(found.distance > grid.inner)
        order = keep[np.argsort(found.i[keep], kind="stable")]
        i, j = found.i[order], found.j[order]
        vector, distance = found.vector[order], found.distance[order]
        first, second = triplets(i)
        types = frame.topology.types
        swap = types[j[first]] > types[j[second]]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        across = vector[second] - vector[first]
        r_jk = np.linalg.norm(across, axis=1)
        near = r_jk > grid.inner
        first, second, across, r_jk = first[near], second[near], across[near], r_jk[near]
        centre, left, right = i[first], j[first], j[second]
        return _Triples(
            (centre, left, right),
            (distance[first], distance[second], r_jk),
            (vector[first], vector[second], across),
        )

    def free(self) -> Mask:
        """(size,) coefficients whose functions were met in the frames; the others are zero."""
        return np.asarray(self._seen > 0.0)

    def roughness(self) -> Array:
        """(size, size): squared second differences along the three distances.

        The functions that are left out count as zeros at both ends of r_ij and r_ik, so that
        terms which the data hardly see go to zero there.
        """
        from scipy import sparse

        total = sparse.csr_matrix((self.size, self.size))
        for index in self._padded:
            shape = index.shape
            inside = index.ravel() < self.size
            expand = sparse.csr_matrix(
                (np.ones(inside.sum()), (np.flatnonzero(inside), index.ravel()[inside])),
                shape=(index.size, self.size),
            )
            eyes = [sparse.identity(m, format="csr") for m in shape]
            for axis in range(3):
                factors = list(eyes)
                factors[axis] = sparse.csr_matrix(np.diff(np.eye(shape[axis]), 2, axis=0))
                operator = sparse.kron(sparse.kron(factors[0], factors[1]), factors[2])
                rows = operator.tocsr() @ expand
                total = total + rows.T @ rows
        return np.asarray(total.todense())

    def anchors(self) -> tuple[Array, Array]:
        """No anchors: where there are no data, nothing acts."""
        return no_anchors(self.size)
