# SPDX-License-Identifier: GPL-2.0-or-later
"""What a linear model is made of: basis functions, and their rows on one frame.

A linear potential is ``U(R) = sum_k c_k B_k(R)``; its forces, virial and energy are linear in
the coefficients.  A `Basis` gives those rows; `Joint` sets several side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Labels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Design rows of one frame: row times coefficients is the quantity.

    Attributes:
        forces: (3 n, size); force on a component of a site, x y z fastest, eV/Å.
        virial: (3, 3, size), symmetric; W = sum r (x) f, eV.
        energy: (size,), eV; None unless asked for.
    """

    forces: Array
    virial: Array
    energy: Array | None = None


class Basis(Protocol):
    """Basis functions of one kind (pair splines, angles, ...).

    Attributes:
        size: number of coefficients.
        names: name of each coefficient, for messages and files.
    """

    @property
    def size(self) -> int:
        """Number of coefficients."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Name of each coefficient."""
        ...

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame; with ``energy`` also that of the energy.  Changes nothing."""
        ...

    def observe(self, frame: CGFrame) -> None:
        """Note what a frame samples, for `free` and `anchors`."""
        ...

    def free(self) -> Mask:
        """(size,) coefficients that are fitted; the others are zero."""
        ...

    def roughness(self) -> Array:
        """(size, size) penalty of unit strength, as squared second differences; c^T P c."""
        ...

    def anchors(self) -> tuple[Array, Array]:
        """Prior knowledge as further normal equations (size, size) and (size,), e.g. a wall.

        Called after all frames were observed.
        """
        ...


def no_anchors(size: int) -> tuple[Array, Array]:
    """Anchors of a basis that has none."""
    return np.zeros((size, size)), np.zeros(size)


def second_differences(width: int) -> Array:
    """(width, width) matrix P with c^T P c the sum of squared second differences of c."""
    second = np.diff(np.eye(width), 2, axis=0)
    return np.asarray(second.T @ second, dtype=np.float64)


class Joint:
    """Several bases as one: their coefficients stand one after the other.

    Args:
        parts: name -> basis, in order.
    """

    def __init__(self, parts: dict[str, Basis]) -> None:
        self.parts = dict(parts)
        start = 0
        self.columns: dict[str, slice] = {}
        for name, part in self.parts.items():
            self.columns[name] = slice(start, start + part.size)
            start += part.size
        self._size = start

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self._size

    @property
    def names(self) -> list[str]:
        """Name of each coefficient: the part's and the part's own name for it."""
        return [f"{name} {label}" for name, part in self.parts.items() for label in part.names]

    def split(self, coefficients: Array) -> dict[str, Array]:
        """Coefficients (..., size) by part."""
        return {name: coefficients[..., where] for name, where in self.columns.items()}

    def rows(self, frame: CGFrame, *, energy: bool = False) -> Rows:
        """Rows of one frame, all parts."""
        n = frame.topology.n_sites
        forces = np.empty((3 * n, self.size))
        virial = np.empty((3, 3, self.size))
        energies = np.zeros(self.size) if energy else None
        for name, part in self.parts.items():
            rows = part.rows(frame, energy=energy)
            forces[:, self.columns[name]] = rows.forces
            virial[:, :, self.columns[name]] = rows.virial
            if energies is not None and rows.energy is not None:
                energies[self.columns[name]] = rows.energy
        return Rows(forces, virial, energies)

    def observe(self, frame: CGFrame) -> None:
        """Show a frame to all parts."""
        for part in self.parts.values():
            part.observe(frame)

    def labels(self, coefficients: Array, frame: CGFrame) -> Labels:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV of coefficients (size,)."""
        rows = self.rows(frame, energy=True)
        assert rows.energy is not None
        forces = (rows.forces @ coefficients).reshape(-1, 3)
        return Labels(forces, rows.virial @ coefficients, float(rows.energy @ coefficients))

    def free(self) -> Mask:
        """(size,) coefficients that are fitted."""
        return np.concatenate([part.free() for part in self.parts.values()])

    def roughness(self) -> Array:
        """Block diagonal of the parts' penalties."""
        matrix = np.zeros((self.size, self.size))
        for where, part in self._items():
            matrix[where, where] = part.roughness()
        return matrix

    def anchors(self) -> tuple[Array, Array]:
        """Block diagonal of the parts' anchors."""
        matrix, vector = no_anchors(self.size)
        for where, part in self._items():
            matrix[where, where], vector[where] = part.anchors()
        return matrix, vector

    def _items(self) -> Iterator[tuple[slice, Basis]]:
        for name, part in self.parts.items():
            yield self.columns[name], part
