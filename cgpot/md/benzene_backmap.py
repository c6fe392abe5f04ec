# SPDX-License-Identifier: GPL-2.0-or-later
"""From sites back to atoms: rigid molecules at the sites of a CG frame.

A one-site frame fixes the centres of the molecules and nothing else: orientations are drawn at
random and then improved, molecule by molecule, so that no two molecules lie in each other.  What
follows (minimisation, equilibration with the centres held) is the work of the atomistic engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.md.aa_benzene import BenzeneBox, molecule, random_rotation
from cgpot.molecules.frame import Array, CGFrame

SWEEPS = 4
TRIALS = 24
CONTACT = 2.5
"""Å: atoms of two molecules repel as (CONTACT / r)^12 while orientations are chosen."""


def _neighbours(centres: Array, edges: Array, reach: float) -> list[NDArray[np.int64]]:
    delta = centres[:, None, :] - centres[None, :, :]
    delta -= np.round(delta / edges) * edges
    near = np.einsum("ijk,ijk->ij", delta, delta) < reach**2
    np.fill_diagonal(near, False)
    return [np.flatnonzero(row) for row in near]


def place(
    centres: Array, edges: Array, template: Array, seed: int = 1, sweeps: int = SWEEPS
) -> Array:
    """Rigid molecules at the centres, in orientations that keep them apart.

    Args:
        centres: (n, 3) Å, centres of mass.
        edges: (3,) Å, of the periodic orthogonal box.
        template: (atoms, 3) Å, one molecule with its centre of mass at the origin.
        seed: of the orientations.
        sweeps: times that every molecule may choose the best of `TRIALS` new orientations.

    Returns:
        Positions (n, atoms, 3), Å, unwrapped around their centres.
    """
    rng = np.random.default_rng(seed)
    n = len(centres)
    turned = np.stack([template @ random_rotation(rng).T for _ in range(n)])
    radius = float(np.linalg.norm(template, axis=1).max())
    neighbours = _neighbours(centres, edges, 2.0 * radius + CONTACT)
    for _ in range(sweeps):
        for i in range(n):
            others = neighbours[i]
            if not len(others):
                continue
            offset = centres[others] - centres[i]
            offset -= np.round(offset / edges) * edges
            around = (turned[others] + offset[:, None, :]).reshape(-1, 3)
            trials = [turned[i], *(template @ random_rotation(rng).T for _ in range(TRIALS))]
            delta = np.stack(trials)[:, :, None, :] - around[None, None, :, :]
            square = np.maximum(np.einsum("tabk,tabk->tab", delta, delta), 1e-6)
            energy = ((CONTACT**2 / square) ** 6).sum(axis=(1, 2))
            turned[i] = trials[int(np.argmin(energy))]
    placed: Array = centres[:, None, :] + turned
    return placed


def benzene_box(frame: CGFrame, seed: int = 1) -> BenzeneBox:
    """Atomistic benzene at the sites of a one-site frame.

    Raises:
        InputError: several sites a molecule, sites that are not benzene, or a tilted box.
    """
    topology = frame.topology
    if len(np.unique(topology.molecules)) != topology.n_sites:
        raise InputError(
            f"{topology.n_sites} sites in {len(np.unique(topology.molecules))} molecules; benzene "
            "is built at one site a molecule",
            frame=frame.source_frame,
        )
    masses = sorted({round(float(mass), 1) for mass in topology.masses})
    if masses != [78.1]:
        raise InputError(
            f"sites with masses {masses} amu; benzene has 78.114 amu (other molecules: give their "
            "atomistic structure and the mapping file, --structure and --mapping)",
            frame=frame.source_frame,
        )
    edges = np.diag(frame.cell).copy()
    if np.abs(frame.cell - np.diag(edges)).max() > 1e-9:
        raise InputError(
            f"the cell {np.round(frame.cell, 4).tolist()} is tilted; expected an orthogonal box",
            frame=frame.source_frame,
        )
    return BenzeneBox(place(frame.positions, edges, molecule(), seed), edges)
