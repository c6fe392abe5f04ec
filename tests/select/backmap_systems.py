# SPDX-License-Identifier: GPL-2.0-or-later
"""Small atomistic systems with known sites, for the tests of backmapping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benzene_box import MASS_C, MASS_H, molecule
from scipy.spatial.transform import Rotation

from cgpot.formats.atomistic import AtomFrame
from cgpot.mapping.kernel import map_frame
from cgpot.molecules.frame import CGFrame, Topology

NAMES = ("C1", "C2", "C3", "C4", "C5", "C6", "H1", "H2", "H3", "H4", "H5", "H6")
BENZENE = f"""\
site-types:
  BNZ:
    index: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    x-weight: [{", ".join([str(MASS_C)] * 6 + [str(MASS_H)] * 6)}]
    mass: 78.114
system:
  - {{anchor: 0, repeat: all, offset: 12, sites: [[BNZ, 0]]}}
temperature: 300.0
"""
CHAIN = """\
site-types:
  E: {index: [0, 1, 2], x-weight: [12.0, 1.0, 1.0], mass: 14.0}
  M: {index: [0, 1, 2], x-weight: [12.0, 1.0, 1.0], mass: 14.0}
  W: {index: [0, 1, 2], x-weight: [16.0, 1.0, 1.0], mass: 18.0}
system:
  - {anchor: 0, repeat: 6, offset: 12, sites: [[E, 0], [M, 3], [M, 6], [E, 9]]}
  - {anchor: 72, repeat: 8, offset: 3, sites: [[W, 0]]}
  - {anchor: 96, repeat: 3, offset: 6, sites: [[E, 0], [M, 3]]}
"""
"""Chains of four sites, single sites, and pairs of sites, in one box."""


def write_gro(path: Path, positions: np.ndarray, cell: np.ndarray, sizes: list[int]) -> Path:
    """Atoms wrapped into the cell, five decimals; molecules of the given sizes."""
    wrapped = positions @ np.linalg.inv(cell)
    wrapped = (wrapped - np.floor(wrapped)) @ cell / 10.0
    rows, atom = [], 0
    for residue, size in enumerate(sizes, 1):
        for k in range(size):
            x = wrapped[atom]
            name = NAMES[k % 12]
            rows.append(
                f"{residue:5d}{'MOL':<5}{name:>5}{atom + 1:5d}{x[0]:10.5f}{x[1]:10.5f}{x[2]:10.5f}"
            )
            atom += 1
    c = cell / 10.0
    box = [c[0, 0], c[1, 1], c[2, 2], 0.0, 0.0, c[1, 0], 0.0, c[2, 0], c[2, 1]]
    path.write_text("\n".join(["test", str(atom), *rows, " ".join(f"{b:.5f}" for b in box)]) + "\n")
    return path


def chains(seed: int, tilted: bool = False) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Positions (114, 3), cell and molecule sizes of the system of CHAIN; molecules whole."""
    rng = np.random.default_rng(seed)
    cell = np.diag([17.0, 18.0, 19.0])
    if tilted:
        cell[1, 0], cell[2, 0], cell[2, 1] = 4.0, -3.0, 5.0
    sizes = [12] * 6 + [3] * 8 + [6] * 3
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    chosen = rng.permutation(27)[: len(sizes)]
    positions = []
    for size, place in zip(sizes, chosen, strict=True):
        step = np.array([[0.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.3, 0.9, 0.4]])
        here, parts = np.zeros(3), []
        direction = np.array([1.0, 0.0, 0.0])
        for _ in range(size // 3):
            parts.append(here + step @ Rotation.random(random_state=rng).as_matrix())
            direction = direction + 0.6 * rng.normal(size=3)
            direction /= np.linalg.norm(direction)
            here = here + 1.6 * direction
        shape = np.concatenate(parts)
        shape = shape - shape.mean(axis=0)
        shape = shape @ Rotation.random(random_state=rng).as_matrix()
        positions.append(shape + ((grid[place] + 0.5) / 3.0) @ cell)
    return np.concatenate(positions), cell, sizes


def mapped(structure, positions: np.ndarray, cell: np.ndarray) -> CGFrame:
    """Sites of atoms by the project's own mapping; the atoms are wrapped first."""
    wrapped = positions @ np.linalg.inv(cell)
    wrapped = (wrapped - np.floor(wrapped)) @ cell
    frame = AtomFrame(0, 0, None, wrapped, np.zeros_like(wrapped), cell)
    return map_frame(frame, structure.sites)


def apart(a: np.ndarray, b: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Distances (n,) of points by the nearest of 27 images."""
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    delta = a - b
    delta -= np.round(delta @ np.linalg.inv(cell)) @ cell
    return np.linalg.norm(delta[:, None, :] + shifts[None], axis=-1).min(axis=1)


def benzenes(seed: int = 5, n: int = 3, spacing: float = 5.4) -> tuple[CGFrame, np.ndarray]:
    """A shaken lattice of n³ sites, and benzenes (n³ * 12, 3) in random turns on another one."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    topology = Topology(("BNZ",), (78.114,), np.zeros(n**3, np.int64), np.arange(n**3))
    positions = (grid + 0.5) * spacing + rng.normal(0.0, 0.3, (n**3, 3))
    turns = Rotation.random(n**3, random_state=rng).as_matrix()
    atoms = ((grid + 0.4) * spacing)[:, None, :] + molecule() @ turns
    frame = CGFrame(topology, positions, np.eye(3) * n * spacing, time=0.7, source_frame=700)
    return frame, atoms.reshape(-1, 3)
