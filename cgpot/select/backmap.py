# SPDX-License-Identifier: GPL-2.0-or-later
"""From sites back to atoms, for molecules of any kind.

Every molecule takes a conformation of its kind (`cgpot.select.conformations`), laid on its
sites: with three or more sites that are not on a line by the rotation of least squares (Kabsch,
Acta Cryst. A 32, 922 (1976)), on a line with a random angle about it, with one site in a random
orientation.  What is left free, the orientation and the choice among conformations that fit,
is used to keep molecules out of each other.  Last, the atoms of every site are shifted together,
so that the atoms map to the sites exactly; the rms of the shifts says how well the conformations
fitted.  Bonds stretched by the shifts are mended by the minimisation that follows in the
atomistic engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.molecules.frame import Array, CGFrame
from cgpot.molecules.pairs import neighbour_images
from cgpot.select.conformations import MoleculeKind, Structure, tree, whole

IntArray = NDArray[np.int64]
SWEEPS = 4
TRIALS = 24
CONTACT = 2.5
"""Å: atoms of two molecules repel as (CONTACT / r)^12 while orientations are chosen."""
LINE = 0.1
"""Å: sites whose rms distance from a line is below this say nothing about the angle around it."""
FIT_MARGIN = 0.05
"""Å above the best misfit (rms) up to which a conformation fits as well."""


@dataclass(frozen=True)
class Backmapped:
    """Atoms at the sites of a CG frame.

    Attributes:
        positions: (n_atoms, 3) Å, in the order of the structure; molecules are whole.
        cell: (3, 3) Å of the frame.
        misfit: rms distance, Å, between the sites and those of the conformations laid on them.
        contact: smallest distance of two atoms of different molecules, Å; infinite without
            neighbours.
    """

    positions: Array
    cell: Array
    misfit: float
    contact: float


def random_rotation(rng: np.random.Generator) -> Array:
    """A uniformly distributed rotation matrix (3, 3) (Shoemake, Graphics Gems III, 124)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def kabsch(moving: Array, fixed: Array) -> Array:
    """Proper rotations that lay point sets on others by least squares, for row vectors.

    Args:
        moving: (..., m, 3), centred at the origin.
        fixed: (m, 3) or (..., m, 3), centred at the origin.

    Returns:
        R (..., 3, 3): ``moving @ R`` is closest to ``fixed``.
    """
    u, _, vt = np.linalg.svd(np.swapaxes(moving, -1, -2) @ fixed)
    turn = np.broadcast_to(np.eye(3), u.shape).copy()
    turn[..., 2, 2] = np.sign(np.linalg.det(u @ vt))
    result: Array = u @ turn @ vt
    return result


def axial_rotation(axis: Array, angle: float) -> Array:
    """Rotation by an angle (radians) about an axis, for row vectors (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return (np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)).T


def _axis(points: Array) -> tuple[Array, bool]:
    """Main axis of centred points, and whether they lie on it."""
    _, width, vt = np.linalg.svd(points, full_matrices=False)
    return vt[0], bool(len(width) < 2 or width[1] / np.sqrt(len(points)) < LINE)


class _Molecule:
    """One molecule: its sites in the frame, and the ways to place it."""

    def __init__(self, kind: MoleculeKind, row: int, sites: Array) -> None:
        self.kind = kind
        self.atoms = kind.atoms[row]
        self.centre = sites.mean(axis=0)
        self.sites = sites
        self.target = sites - self.centre
        self.line = False
        self.axis = np.array([0.0, 0.0, 1.0])
        c = len(kind.conformations)
        self.pool: IntArray = np.arange(c)
        self.rotations: Array | None = None
        if len(sites) > 1:
            shapes = np.einsum("mk,ckx->cmx", kind.weights, kind.conformations)
            self.rotations = kabsch(shapes, self.target)
            misfit = np.sqrt(((shapes @ self.rotations - self.target) ** 2).sum(-1).mean(-1))
            self.pool = np.flatnonzero(misfit <= misfit.min() + FIT_MARGIN)
            self.pool = self.pool[np.argsort(misfit[self.pool], kind="stable")][:TRIALS]
            self.axis, self.line = _axis(self.target)

    @property
    def free(self) -> bool:
        """Whether there is more than one way to place it."""
        return self.rotations is None or self.line or len(self.pool) > 1

    def draw(self, rng: np.random.Generator, best: bool = False) -> tuple[Array, float]:
        """Atoms (k, 3) in Å, mapped onto the sites exactly, and the sum of squared shifts."""
        number = int(self.pool[0] if best else rng.choice(self.pool))
        shape = self.kind.conformations[number]
        turn = random_rotation(rng).T if self.rotations is None else self.rotations[number]
        if self.line:
            turn = turn @ axial_rotation(self.axis, rng.uniform(0.0, 2.0 * np.pi))
        placed = shape @ turn
        shift = self.target - self.kind.weights @ placed
        return placed + shift[self.kind.owner] + self.centre, float((shift**2).sum())


def backmap(
    structure: Structure,
    frame: CGFrame,
    seed: int = 1,
    *,
    sweeps: int = SWEEPS,
    file: str | Path | None = None,
) -> Backmapped:
    """Atoms at the sites of a frame.

    Args:
        structure: of the same system; gives atoms, order and conformations.
        frame: sites, wrapped or not.
        seed: of orientations and conformations.
        sweeps: times that every molecule may choose the best of new placements.
        file: named in errors.

    Raises:
        InputError: a frame of another system, or a cell that is not lower triangular.
    """
    where = frame.source_frame
    structure.check(frame.topology, file, where)
    cell = np.asarray(frame.cell, dtype=np.float64)
    if np.abs(np.triu(cell, 1)).max() > 1e-6 or not (np.diag(cell) > 0.0).all():
        raise InputError(
            f"the cell {np.round(cell, 4).tolist()} is not lower triangular; expected a along x "
            "and b in the xy plane, as LAMMPS and GROMACS have it",
            file=file,
            frame=where,
        )
    rng = np.random.default_rng(seed)
    molecules = []
    for kind in structure.kinds:
        steps = tree(kind.weights @ kind.conformations[0], None)
        for row, members in enumerate(kind.sites):
            sites = whole(frame.positions[members], cell, steps)
            molecules.append(_Molecule(kind, row, sites))
    drawn = [molecule.draw(rng, best=True) for molecule in molecules]
    placed, shifts = [d[0] for d in drawn], [d[1] for d in drawn]
    around = _neighbours(molecules, cell)
    for _ in range(sweeps):
        for i, molecule in enumerate(molecules):
            others = around[i].atoms(placed) if molecule.free else np.zeros((0, 3))
            if not len(others):
                continue
            trials = [(placed[i], shifts[i]), *(molecule.draw(rng) for _ in range(TRIALS))]
            energy = [_overlap(atoms, others) for atoms, _ in trials]
            placed[i], shifts[i] = trials[int(np.argmin(energy))]
    positions = np.empty((structure.topology.n_atoms, 3))
    contact = np.inf
    for i, molecule in enumerate(molecules):
        positions[molecule.atoms] = placed[i]
        others = around[i].atoms(placed)
        if len(others):
            contact = min(contact, float(_distances(placed[i], others).min()))
    misfit = float(np.sqrt(sum(shifts) / frame.topology.n_sites))
    return Backmapped(positions, cell, misfit, contact)


@dataclass(frozen=True)
class _Around:
    """Molecules (and their images) near one, and the sphere in which their atoms matter."""

    others: IntArray
    shifts: Array
    centre: Array
    reach: float

    def atoms(self, placed: list[Array]) -> Array:
        """Atoms (n, 3) within reach, Å."""
        if not len(self.others):
            return np.zeros((0, 3))
        found = np.concatenate(
            [placed[j] + shift for j, shift in zip(self.others, self.shifts, strict=True)]
        )
        near = ((found - self.centre) ** 2).sum(axis=1) < self.reach**2
        kept: Array = found[near]
        return kept


def _neighbours(molecules: list[_Molecule], cell: Array) -> list[_Around]:
    radius = np.array([m.kind.radius for m in molecules]) + 0.5
    centres = np.stack([m.centre for m in molecules])
    cutoff = 2.0 * float(radius.max()) + CONTACT
    found = neighbour_images(centres, cell, cutoff)
    # its own images turn with a molecule: they cannot be kept away by turning it
    keep = found.i != found.j
    i, j, shift = found.i[keep], found.j[keep], found.shift[keep] @ cell
    order = np.argsort(i, kind="stable")
    bounds = np.searchsorted(i[order], np.arange(len(molecules) + 1))
    result = []
    for k in range(len(molecules)):
        rows = order[bounds[k] : bounds[k + 1]]
        reach = float(radius[k]) + 2.0 * CONTACT
        result.append(_Around(j[rows].astype(np.int64), shift[rows], centres[k], reach))
    return result


def _distances(a: Array, b: Array) -> Array:
    from scipy.spatial.distance import cdist

    distances: Array = cdist(a, b)
    return distances


def _overlap(atoms: Array, others: Array) -> float:
    """Sum of (CONTACT / r)^12 over pairs of atoms."""
    return float(((CONTACT / np.maximum(_distances(atoms, others), 1e-3)) ** 12).sum())
