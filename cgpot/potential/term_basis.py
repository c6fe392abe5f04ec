# SPDX-License-Identifier: GPL-2.0-or-later
"""Splines of an internal coordinate: what bonds, angles and dihedrals have in common.

A term is a few sites of one molecule and a coordinate q of theirs (length, angle, dihedral).
``U = sum_terms u_kind(q)`` with one cubic B-spline u for each kind, the list of the sites' types
read from either end.  With the gradients ``g_a = dq/dr_a`` the force on site a is ``-u'(q) g_a``
and the virial ``W = sum_a x_a (x) f_a``, x_a the places of the sites of a term made whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.basis import Mask, Rows, second_differences
from cgpot.potential.species_terms import SpeciesTerms
from cgpot.potential.splines import basis, basis_derivative

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Types = tuple[int, ...]

WALL_WEIGHT = 20.0
"""Weight of the anchor where no term was sampled, as terms seen in each interval."""


def minimum_image(frame: CGFrame, delta: Array) -> Array:
    """Vectors (..., 3) brought to the image nearest to zero, Å."""
    inverse = np.linalg.inv(frame.cell)
    return np.asarray(delta - np.rint(delta @ inverse) * np.asarray(frame.pbc) @ frame.cell)


def kinds_of(topology: Topology, sites: IntArray) -> tuple[list[Types], IntArray]:
    """Kinds of terms (types of the sites, from the end that sorts first), and that of each."""
    types = topology.types[sites]
    found = [min(tuple(row), tuple(row[::-1])) for row in types.tolist()]
    kinds = sorted(set(found))
    place = {kind: number for number, kind in enumerate(kinds)}
    return kinds, np.array([place[kind] for kind in found], dtype=np.int64)


@dataclass(frozen=True)
class Measured:
    """The coordinates of all terms on a frame.

    Attributes:
        value: (terms,) Å or radians.
        gradient: (terms, sites, 3) derivative of the value by the places of the sites.
        place: (terms, sites, 3) sites of each term made whole, from any origin, Å.
        sites: (terms, sites) which they are.
        kind: (terms,) spline of each.
    """

    value: Array
    gradient: Array
    place: Array
    sites: IntArray
    kind: IntArray


class TermBasis(ABC):
    """Rows of the splines of one coordinate; see `cgpot.potential.basis.Basis`.

    The terms are those of species: a frame of other molecules has them too, where its species are
    among those of ``topology``.

    Args:
        topology: the sites; at least one molecule of each species.
        sites: (terms, 2 to 4) sites of each term, in order along the bonds.
        intervals: of each spline.
        width: coefficients of each spline.
        kt: k_B T, eV.
    """

    def __init__(
        self, topology: Topology, sites: IntArray, intervals: int, width: int, kt: float
    ) -> None:
        self.topology = topology
        self.sites = np.asarray(sites, dtype=np.int64)
        self.types, self.kind = kinds_of(topology, self.sites)
        self._terms = SpeciesTerms(topology, self.sites)
        self.intervals = intervals
        self.width = width
        self.kt = kt
        self._counts = np.zeros((len(self.types), intervals))
        self._square = np.zeros(len(self.types))

    def terms_on(self, frame: CGFrame) -> tuple[IntArray, IntArray]:
        """Sites (terms, sites) of a frame's terms, and the spline (terms,) of each.

        Raises:
            DataError: a molecule of a species that the basis does not know.
        """
        return self.terms_of(frame.topology)

    def terms_of(self, topology: Topology) -> tuple[IntArray, IntArray]:
        """The same of the molecules of a topology."""
        sites, rows = self._terms.on(topology)
        return sites, self.kind[rows]

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.types) * self.width

    @property
    def n_kinds(self) -> int:
        """Number of splines."""
        return len(self.types)

    def kind_name(self, kind: int) -> str:
        """Names of the bead types, ``A-B-C``."""
        return "-".join(self.topology.type_names[t] for t in self.types[kind])

    @property
    def names(self) -> list[str]:
        """Kind and place of each coefficient."""
        return [
            f"{self.kind_name(kind)} {self.label(k)}"
            for kind in range(self.n_kinds)
            for k in range(self.width)
        ]

    @abstractmethod
    def label(self, k: int) -> str:
        """Place of a coefficient, for messages."""

    @abstractmethod
    def measure(self, frame: CGFrame) -> Measured:
        """The coordinates on a frame.

        Raises:
            DataError: a coordinate that the splines do not cover.
        """

    @abstractmethod
    def locate(self, q: Array) -> tuple[IntArray, Array, float]:
        """Interval (n,) of each coordinate, place in it (n,) from 0 to 1, and intervals a unit."""

    @abstractmethod
    def columns(self, first: IntArray) -> IntArray:
        """(4, n) coefficients of the four splines of each interval."""

    @abstractmethod
    def target(self, kind: int, q: Array) -> Array:
        """u'(q) of the anchor where nothing was sampled, eV/Å or eV/radian."""

    def jacobian(self, q: Array) -> Array:
        """Volume element of the coordinate, up to a constant."""
        return np.ones_like(q)

    @abstractmethod
    def centres(self, intervals: IntArray) -> Array:
        """Coordinate in the middle of intervals."""

    def seen(self, measured: Measured) -> None:  # noqa: B027
        """Part of `observe`: note the coordinates of a frame, beyond the histogram."""

    def freeze(self) -> None:  # noqa: B027
        """Keep what the anchors know of the frames of the fit, whatever is seen later."""

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame.

        Raises:
            DataError: see `measure` and `terms_on`.
        """
        measured = self.measure(frame)
        n, size = frame.topology.n_sites, self.size
        first, t, scale = self.locate(measured.value)
        column = measured.kind * self.width + self.columns(first)
        slopes = basis_derivative(t) * scale
        flat = column.ravel()
        where = np.concatenate([(site * size + column).ravel() for site in measured.sites.T])
        forces = np.empty((n, 3, size))
        virial = np.empty((3, 3, size))
        for a in range(3):
            on = [-(slopes * gradient[:, a]).ravel() for gradient in _by_site(measured.gradient)]
            forces[:, a] = np.bincount(where, np.concatenate(on), minlength=n * size).reshape(
                n, size
            )
            for b in range(a, 3):
                moment = sum(
                    np.tile(place[:, b], 4) * force
                    for place, force in zip(_by_site(measured.place), on, strict=True)
                )
                virial[a, b] = virial[b, a] = np.bincount(flat, moment, minlength=size)
        row = None
        if energy:
            row = np.bincount(flat, basis(t).ravel(), minlength=size).astype(np.float64)
        return Rows(forces.reshape(3 * n, size), virial, row)

    def observe(self, frame: CGFrame) -> None:
        """Add the coordinates of a frame to the histogram behind the anchors.

        Raises:
            DataError: see `measure` and `terms_on`.
        """
        self.note(self.measure(frame))

    def note(self, measured: Measured) -> None:
        """`observe` of a frame that is measured already."""
        np.add.at(self._counts, (measured.kind, self.locate(measured.value)[0]), 1.0)
        self._square += np.bincount(
            measured.kind,
            np.einsum("tsa,tsa->t", measured.gradient, measured.gradient),
            self.n_kinds,
        )
        self.seen(measured)

    def evaluate(self, coefficients: Array, kind: int, q: Array) -> tuple[Array, Array]:
        """u(q) in eV and u'(q) in eV/Å or eV/radian of one kind."""
        c = np.reshape(coefficients, (-1, self.width))[kind]
        first, t, scale = self.locate(np.asarray(q, dtype=np.float64))
        place = self.columns(first)
        value = (basis(t) * c[place]).sum(axis=0)
        return np.asarray(value), np.asarray((basis_derivative(t) * c[place]).sum(axis=0) * scale)

    def splines(self, q: Array) -> tuple[Array, Array]:
        """Value and slope of each of a kind's splines at coordinates (n,), (n, width) both."""
        first, t, scale = self.locate(q)
        values, slopes = np.zeros((2, len(q), self.width))
        at = np.arange(len(q))
        for place, value, slope in zip(
            self.columns(first), basis(t), basis_derivative(t) * scale, strict=True
        ):
            np.add.at(values, (at, place), value)
            np.add.at(slopes, (at, place), slope)
        return values, slopes

    def values(self, frame: CGFrame) -> Array:
        """The coordinates (terms,) on a frame, Å or radians; also such as `measure` refuses."""
        return self.measure(frame).value

    def free(self) -> Mask:
        """All but the last of each kind, which fixes the energy's zero."""
        free = np.ones((self.n_kinds, self.width), dtype=bool)
        free[:, -1] = False
        return free.ravel()

    def roughness(self) -> Array:
        """Second differences of the coefficients of each kind."""
        return np.asarray(np.kron(np.eye(self.n_kinds), second_differences(self.width)))

    def wall_weight(self, kind: int) -> float:
        """Weight of an anchored interval: that of `WALL_WEIGHT` terms seen in it."""
        return WALL_WEIGHT * 0.5 * float(self._square[kind] / max(self._counts[kind].sum(), 1.0))

    def anchors(self) -> tuple[Array, Array]:
        """The target slope in intervals where no term was seen."""
        matrix, vector = np.zeros((self.size, self.size)), np.zeros(self.size)
        for kind in range(self.n_kinds):
            q = self.centres(np.flatnonzero(self._counts[kind] == 0))
            first, t, scale = self.locate(q)
            rows = np.zeros((len(q), self.width))
            for place, w in zip(self.columns(first), basis_derivative(t) * scale, strict=True):
                np.add.at(rows, (np.arange(len(q)), place), w)
            part = slice(kind * self.width, (kind + 1) * self.width)
            weight = self.wall_weight(kind)
            matrix[part, part] += weight * rows.T @ rows
            vector[part] += weight * rows.T @ self.target(kind, q)
        return matrix, vector


def _by_site(values: Array) -> Sequence[Array]:
    """(terms, sites, 3) as a list over the sites."""
    return [values[:, k] for k in range(values.shape[1])]
