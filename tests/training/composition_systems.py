# SPDX-License-Identifier: GPL-2.0-or-later
"""Pure dimers A-C, pure B and their mixture under one known potential, as mapped runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgpot.core.files import thermo_path
from cgpot.core.manifest import write_manifest
from cgpot.mapping.thermo import THERMO_COLUMNS
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

REACH = 6.0
STRENGTH = {"AA": 0.3, "AC": 0.2, "CC": 0.4, "AB": 0.25, "BC": 0.15, "BB": 0.35}  # eV
BOND = (1.5, 1.4)  # K eV/Å^2, r0 Å: K (r - r0)^2
MASSES = {"A": 15.0, "C": 14.0, "B": 18.0}
DIMER = Species("DIM", ("A", "C"), ((0, 1),))
ATOM = Species("B", ("B",))


def topology(dimers: int, atoms: int) -> Topology:
    """Dimers, then single sites; with the bead types that there are."""
    names = (("A", "C") if dimers else ()) + (("B",) if atoms else ())
    place = {name: k for k, name in enumerate(names)}
    beads = [*("A", "C") * dimers, *"B" * atoms]
    kinds = ((DIMER,) if dimers else ()) + ((ATOM,) if atoms else ())
    label = [0] * dimers + [len(kinds) - 1] * atoms
    return Topology(
        names,
        tuple(MASSES[name] for name in names),
        np.array([place[b] for b in beads]),
        np.array([*np.repeat(np.arange(dimers), 2), *(dimers + np.arange(atoms))]),
        species=kinds,
        molecule_species=np.array(label),
    )


def known_labels(frame: CGFrame) -> tuple[np.ndarray, np.ndarray]:
    """Forces and virial of the potential by brute force over all pairs."""
    names, side = frame.topology.names, np.diag(frame.cell)
    n = len(names)
    bonded = {tuple(bond) for bond in frame.topology.bonds.tolist()}
    forces, virial = np.zeros((n, 3)), np.zeros((3, 3))
    for i in range(n):
        for j in range(i + 1, n):
            d = frame.positions[j] - frame.positions[i]
            d -= side * np.rint(d / side)
            r = float(np.linalg.norm(d))
            if (i, j) in bonded:
                slope = 2.0 * BOND[0] * (r - BOND[1])
            elif r < REACH:
                e = STRENGTH["".join(sorted(names[i] + names[j]))]
                slope = -6.0 * e * r / REACH**2 * (1.0 - (r / REACH) ** 2) ** 2
            else:
                continue
            f = -slope * d / r
            forces[j] += f
            forces[i] -= f
            virial += np.outer(d, f)
    return forces, virial


def make(dimers: int, atoms: int, count: int, seed: int, spread: float = 0.03) -> list[CGFrame]:
    """Random molecules in boxes of varying size with the labels of the potential."""
    rng = np.random.default_rng(seed)
    own = topology(dimers, atoms)
    frames = []
    for k in range(count):
        side = 13.0 * (1.0 + spread * rng.uniform(-1, 1, 3))
        x = rng.uniform(0, side, (own.n_sites, 3))
        for first in range(0, 2 * dimers, 2):
            u = rng.normal(size=3)
            x[first + 1] = x[first] + u / np.linalg.norm(u) * rng.uniform(1.1, 1.8)
        frame = CGFrame(own, x % side, np.diag(side), time=float(k), source_frame=k)
        frame.forces, frame.virial = known_labels(frame)
        frames.append(frame)
    return frames


def write_run(path: Path, frames: list[CGFrame]) -> Path:
    """A file as ``cgpot map`` writes it, with table and manifest."""
    write_frames(path, frames)
    thermo_path(path).write_text(",".join(THERMO_COLUMNS) + "\n")
    write_manifest(
        path,
        stage="mapping",
        inputs={},
        outputs=[thermo_path(path)],
        extra={
            "temperature": 300.0,
            "virial": "exact",
            "n_frames": len(frames),
            "options": {},
        },
    )
    return path


def write_runs(folder: Path, count: int = 60) -> list[Path]:
    """Runs of the pure liquids and of the mixture."""
    return [
        write_run(folder / "dimers.extxyz", make(16, 0, count, 1)),
        write_run(folder / "atoms.extxyz", make(0, 30, count, 2)),
        write_run(folder / "mixture.extxyz", make(10, 14, count, 3)),
    ]
