# SPDX-License-Identifier: GPL-2.0-or-later
"""A local-density term as a linear basis: mean and slope of the pressure go there.

``U = sum_i F(rho_i)``, see `density_table`.  With the gradients of rho_i the force on
site a is ``-sum_i F'(rho_i) d rho_i / d r_a`` and the virial
``W = -sum_i F'(rho_i) sum_j m_j w'(r_ij) r_ij (x) r_ij / |r_ij|``: linear in the coefficients of F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.compositions import groups_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import Pairs, half_list
from cgpot.potential.basis import Mask, Rows, second_differences
from cgpot.potential.density_table import DensityTable, indicator, locate, natural, values

Array = NDArray[np.float64]
Exclude = Callable[[CGFrame, Pairs], Mask]

LEAST_SAMPLES = 100
"""Samples below which an interval of F is drawn to a straight line, with the weight of as many."""
SPAN_FRAMES = 200
"""Frames from which the range of the local density is taken; F is straight beyond."""
MARGIN = 0.05
"""Of the sampled range, left free at both ends between the outermost knots and the samples."""


@dataclass(frozen=True)
class Around:
    """Neighbours of each site, each pair in both directions.

    Attributes:
        centre: (edges,) site whose density it is.
        neighbour: (edges,) site that counts.
        vector: (edges, 3) from centre to neighbour, Å.
        slope: (edges,) derivative of the neighbour's share by the distance, 1/Å.
        unit: (edges, 3) direction of the vector.
        rho: (n,) local density of each site.
    """

    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    vector: Array
    unit: Array
    slope: Array
    rho: Array


def around(
    frame: CGFrame,
    cutoff: float,
    kind: str,
    weights: Sequence[float],
    exclude: Exclude | None = None,
) -> Around:
    """Local densities of a frame and what they follow from.

    Args:
        frame: the sites.
        cutoff: Å.
        kind: of the indicator (`cgpot.potential.density_table.INDICATORS`).
        weights: of a neighbour of each type.
        exclude: pairs of sites that do not count: frame and pairs -> mask.

    Raises:
        DataError: two sites at the same place.
    """
    pairs = half_list(frame, cutoff)
    if exclude is not None:
        pairs = pairs.select(~exclude(frame, pairs))
    share, slope = indicator(pairs.distance, cutoff, kind)
    unit = pairs.vector / pairs.distance[:, None]
    centre = np.concatenate([pairs.i, pairs.j])
    neighbour = np.concatenate([pairs.j, pairs.i])
    mass = np.asarray(weights, dtype=np.float64)[frame.topology.types[neighbour]]
    return Around(
        centre,
        neighbour,
        np.concatenate([pairs.vector, -pairs.vector]),
        np.concatenate([unit, -unit]),
        mass * np.concatenate([slope, slope]),
        np.bincount(centre, mass * np.concatenate([share, share]), frame.topology.n_sites).astype(
            np.float64
        ),
    )


def spread(frames: Sequence[CGFrame]) -> Sequence[CGFrame]:
    """Some of the frames of each composition, spread over all: enough for `sampled_spans`."""
    found: list[CGFrame] = []
    for mine in groups_of(frames).values():
        found += [frames[k] for k in mine[:: max(1, len(mine) // SPAN_FRAMES)]]
    return found


def sampled_spans(
    frames: Iterable[CGFrame],
    cutoff: float,
    kind: str,
    weights: Sequence[float],
    exclude: Exclude | None = None,
) -> Array:
    """First and last knot of F for each type, (types, 2): the sampled range and a margin.

    Arguments: see `around`.

    Raises:
        DataError: no frames, or a type whose local density does not vary.
    """
    low: Array | None = None
    names: tuple[str, ...] = ()
    for frame in frames:
        types, names = frame.topology.types, frame.topology.type_names
        rho = around(frame, cutoff, kind, weights, exclude).rho
        if low is None:
            low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
        np.minimum.at(low, types, rho)
        np.maximum.at(high, types, rho)
    if low is None:
        raise DataError("no frames to take the range of the local density from")
    for name, a, b in zip(names, low, high, strict=True):
        if not b > a:
            raise DataError(
                f"the local density of sites {name} within {cutoff} Å does not vary over the "
                "frames; expected a larger cutoff, or sites of this type"
            )
    margin = MARGIN * (high - low)
    return np.stack([low - margin, high + margin], axis=1)


class LocalDensityBasis:
    """Natural cubic splines F(rho) for each type of the central site, straight beyond the knots.

    A constant in F changes no force, and a linear part of F is a pair potential (twice the
    indicator): where pair splines reach as far, two coefficients in the middle are fixed at zero,
    which takes both out of F.

    Args:
        type_names: bead types.
        cutoff: Å, of the indicator.
        spans: (types, 2) first and last knot of each type (`sampled_spans`).
        intervals: between them, at least 4.
        exclude: pairs of sites that do not count: frame and pairs -> mask.
        kind: of the indicator (`cgpot.potential.density_table.INDICATORS`).
        weights: of a neighbour of each type; None: 1 (a number of neighbours).
        linear: F may hold a linear part, for want of pair splines that reach as far.

    Raises:
        DataError: fewer than 4 intervals, a cutoff that is not positive, or an empty span.
    """

    def __init__(
        self,
        type_names: tuple[str, ...],
        cutoff: float,
        spans: Array,
        intervals: int,
        *,
        exclude: Exclude | None = None,
        kind: str = "smooth",
        weights: Sequence[float] | None = None,
        linear: bool = False,
    ) -> None:
        spans = np.asarray(spans, dtype=np.float64)
        if not (cutoff > 0 and intervals >= 4):
            raise DataError(
                f"expected a positive cutoff and at least 4 intervals of the local density, found "
                f"{cutoff} Å and {intervals}"
            )
        if spans.shape != (len(type_names), 2) or not np.all(spans[:, 0] < spans[:, 1]):
            raise DataError(
                f"expected a range of local densities for each of {list(type_names)}, found "
                f"{spans.tolist()}"
            )
        self.type_names = type_names
        self.cutoff = cutoff
        self.kind = kind
        self.spans = spans
        self.intervals = intervals
        self.width = intervals + 1
        self._natural = natural(intervals)
        self.weights = tuple(1.0 for _ in type_names) if weights is None else tuple(weights)
        self.steps = (spans[:, 1] - spans[:, 0]) / intervals
        self.linear = linear
        self._exclude = exclude
        self._counts = np.zeros((len(type_names), intervals))
        self._square = np.zeros(len(type_names))

    @classmethod
    def of(
        cls, table: DensityTable, exclude: Exclude | None = None, *, linear: bool = False
    ) -> LocalDensityBasis:
        """The basis of a table."""
        return cls(
            table.type_names,
            table.cutoff,
            table.spans,
            table.intervals,
            exclude=exclude,
            kind=table.indicator,
            weights=table.weights,
            linear=linear,
        )

    def table(self, coefficients: Array, info: dict[str, Any]) -> DensityTable:
        """The functions of coefficients (size,)."""
        c = np.reshape(coefficients, (len(self.type_names), self.width)) @ self._natural.T
        return DensityTable(
            self.type_names, self.cutoff, self.kind, self.weights, self.spans, c, info
        )

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.type_names) * self.width

    @property
    def names(self) -> list[str]:
        """Type and place of each coefficient."""
        return [
            f"{name} rho={low + k * step:.4g}"
            for name, low, step in zip(self.type_names, self.spans[:, 0], self.steps, strict=True)
            for k in range(self.width)
        ]

    def around(self, frame: CGFrame) -> Around:
        """Local densities of a frame (`around`)."""
        return around(frame, self.cutoff, self.kind, self.weights, self._exclude)

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame; with ``energy`` also that of the energy."""
        full = self.spline_rows(frame)
        kinds = len(self.type_names)

        def reduced(row: Array) -> Array:
            split = row.reshape(*row.shape[:-1], kinds, self.intervals + 3)
            return (split @ self._natural).reshape(*row.shape[:-1], self.size)

        assert full.energy is not None
        return Rows(
            reduced(full.forces), reduced(full.virial), reduced(full.energy) if energy else None
        )

    def spline_rows(self, frame: CGFrame) -> Rows:
        """Rows of one frame for all B-splines, (types, intervals + 3) of them, as in a table."""
        from scipy.sparse import csr_matrix

        wide = self.intervals + 3
        size = len(self.type_names) * wide
        near = self.around(frame)
        types, n = frame.topology.types, frame.topology.n_sites
        step = self.steps[types]
        first, t, beyond = locate(near.rho, self.spans[types, 0], step, self.intervals)
        value, slope = values(t, beyond)
        column = (types * wide + first)[None, :] + np.arange(4)[:, None]
        site = np.tile(np.arange(n), 4)
        embedded = csr_matrix(((slope / step).ravel(), (site, column.ravel())), shape=(n, size))
        forces = np.empty((n, 3, size))
        virial = np.empty((3, 3, size))
        for a in range(3):
            along = near.slope * near.unit[:, a]
            own = np.bincount(near.centre, along, n)
            # (a, i): derivative of rho_i by the place of site a
            gradient = csr_matrix(
                (
                    np.concatenate([along, -own]),
                    (
                        np.concatenate([near.neighbour, np.arange(n)]),
                        np.concatenate([near.centre, np.arange(n)]),
                    ),
                ),
                shape=(n, n),
            )
            forces[:, a] = -(gradient @ embedded).toarray()
            for b in range(a, 3):
                moment = np.bincount(near.centre, along * near.vector[:, b], n)
                virial[a, b] = virial[b, a] = -(embedded.T @ moment)
        row = np.bincount(column.ravel(), value.ravel(), minlength=size)
        return Rows(forces.reshape(3 * n, size), virial, row.astype(np.float64))

    def observe(self, frame: CGFrame) -> None:
        """Note which densities a frame samples, and their gradients."""
        near = self.around(frame)
        types, n = frame.topology.types, frame.topology.n_sites
        first, _, _ = locate(near.rho, self.spans[types, 0], self.steps[types], self.intervals)
        np.add.at(self._counts, (types, first), 1.0)
        square = np.bincount(near.centre, near.slope**2, n)
        for a in range(3):
            square += np.bincount(near.centre, near.slope * near.unit[:, a], n) ** 2
        np.add.at(self._square, types, square)

    def free(self) -> Mask:
        """All but those in the middle that take a constant, and a linear part, out of F."""
        free = np.ones((len(self.type_names), self.width), dtype=bool)
        middle = self.intervals // 2
        free[:, middle : middle + (1 if self.linear else 2)] = False
        return free.ravel()

    def roughness(self) -> Array:
        """Second differences of the coefficients of each type."""
        return np.asarray(np.kron(np.eye(len(self.type_names)), second_differences(self.width)))

    def anchors(self) -> tuple[Array, Array]:
        """A straight F where few samples lie: neither noise nor a far knot bends it."""
        matrix = np.zeros((self.size, self.size))
        second = np.diff(self._natural, 2, axis=0)
        for kind, step in enumerate(self.steps):
            few = np.flatnonzero(self._counts[kind] < LEAST_SAMPLES)
            bends = second[np.unique(np.concatenate([few, few + 1]))] / step
            weight = LEAST_SAMPLES * self._square[kind] / max(self._counts[kind].sum(), 1.0)
            part = slice(kind * self.width, (kind + 1) * self.width)
            matrix[part, part] = weight * bends.T @ bends
        return matrix, np.zeros(self.size)
