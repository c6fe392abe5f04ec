# SPDX-License-Identifier: GPL-2.0-or-later
"""Small molecules with a smooth pair potential: energy, forces and virial in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.formats.atomistic import AtomFrame, AtomTopology

Array = NDArray[np.float64]
CUTOFF = 7.0
STRENGTH = 0.4
BOND_K = 5.0
BOND_R = 1.3
BOXES = {
    "orthorhombic": np.diag([21.0, 18.0, 24.0]),
    "triclinic": np.array([[21.0, 0.0, 0.0], [6.0, 19.0, 0.0], [-5.0, 4.0, 22.0]]),
}


def shortest(d: Array, cell: Array) -> Array:
    """Minimum images by brute force over 27 neighbours of the rounded vector."""
    base = d - np.rint(d @ np.linalg.inv(cell)) @ cell
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    candidates = base[..., None, :] + shifts @ cell
    best = np.argmin(np.sum(candidates**2, axis=-1), axis=-1)
    return np.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]


@dataclass
class Chains:
    """Chains of ``size`` atoms with bonds along the chain.

    Between molecules every pair of atoms has u = A (1 - r/r_c)^3 below r_c; along the chain
    u = k/2 (r - r_0)^2.  Positions are whole molecules, not wrapped.
    """

    positions: Array
    cell: Array
    size: int
    masses: Array

    @property
    def n(self) -> int:
        return len(self.positions)

    @property
    def bonds(self) -> NDArray[np.int64]:
        first = np.arange(self.n).reshape(-1, self.size)[:, :-1].ravel()
        return np.stack([first, first + 1], axis=1)

    @property
    def molecules(self) -> NDArray[np.int64]:
        return np.arange(self.n) // self.size

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        i, j = np.triu_indices(self.n, 1)
        other = self.molecules[i] != self.molecules[j]
        i, j = i[other], j[other]
        d = shortest(self.positions[i] - self.positions[j], self.cell)
        near = np.linalg.norm(d, axis=1) < CUTOFF
        return i[near], j[near], d[near]

    def energy(self) -> float:
        _, _, d = self.pairs()
        r = np.linalg.norm(d, axis=1)
        b = self.positions[self.bonds[:, 0]] - self.positions[self.bonds[:, 1]]
        stretch = np.linalg.norm(b, axis=1) - BOND_R
        return float(np.sum(STRENGTH * (1 - r / CUTOFF) ** 3) + 0.5 * BOND_K * np.sum(stretch**2))

    def pair_forces(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
        """Pairs i, j, vectors r_i - r_j, and the forces on i."""
        i, j, d = self.pairs()
        r = np.linalg.norm(d, axis=1, keepdims=True)
        return i, j, d, 3 * STRENGTH / CUTOFF * (1 - r / CUTOFF) ** 2 * d / r

    def forces_and_virial(self) -> tuple[Array, Array]:
        """All forces and the full atomic virial sum of r (x) f."""
        i, j, d, f = self.pair_forces()
        forces = np.zeros((self.n, 3))
        np.add.at(forces, i, f)
        np.add.at(forces, j, -f)
        virial = d.T @ f
        a, b = self.bonds.T
        s = self.positions[a] - self.positions[b]
        r = np.linalg.norm(s, axis=1, keepdims=True)
        g = -BOND_K * (r - BOND_R) * s / r
        np.add.at(forces, a, g)
        np.add.at(forces, b, -g)
        return forces, virial + s.T @ g

    def topology(self, constraints: NDArray[np.int64] | None = None) -> AtomTopology:
        return AtomTopology(
            path=Path("chains.tpr"),
            n_atoms=self.n,
            masses=self.masses,
            bonds=self.bonds,
            molecules=self.molecules,
            constraints=np.zeros((0, 2), dtype=np.int64) if constraints is None else constraints,
        )

    def frame(self, positions: Array | None = None, *, whole: bool = False) -> AtomFrame:
        forces, _ = self.forces_and_virial()
        return AtomFrame(
            index=0,
            step=0,
            time=0.0,
            positions=self.positions.copy() if positions is None else positions,
            forces=forces,
            cell=self.cell,
            whole=whole,
        )


def make_chains(rng: np.random.Generator, box: str, molecules: int = 12, size: int = 3) -> Chains:
    cell = BOXES[box]
    start = rng.uniform(0, 1, (molecules, 3)) @ cell
    steps = rng.normal(size=(molecules, size - 1, 3))
    steps *= (
        BOND_R
        * rng.uniform(0.9, 1.1, (molecules, size - 1, 1))
        / np.linalg.norm(steps, axis=2, keepdims=True)
    )
    tail = start[:, None] + np.cumsum(steps, axis=1)
    positions = np.concatenate([start[:, None], tail], axis=1).reshape(-1, 3)
    masses = np.tile(np.array([12.0, 1.0, 16.0, 14.0])[:size], molecules)
    return Chains(positions, cell, size, masses)
