# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains, rings and stars at random places, wrapped into small boxes, for the observables."""

from __future__ import annotations

import numpy as np

from cgpot.analysis.observables.observable import Observable, System
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import wrap

NAMES, MASSES = ("A", "B"), (30.0, 20.0)
CHAIN = Species("CHN", ("A", "B", "B", "A", "B"), ((0, 1), (1, 2), (2, 3), (3, 4)))
STAR = Species("STR", ("B", "A", "A", "A"), ((0, 1), (0, 2), (0, 3)))
RING = Species("RNG", ("A", "A", "A"), ((0, 1), (1, 2), (0, 2)))
TILTED = np.array([[24.0, 0, 0], [6.0, 23.0, 0], [-5.0, 4.0, 25.0]])


def topology(kinds: tuple[Species, ...], each: int) -> Topology:
    """``each`` molecules of every species, one species after the other."""
    label = np.repeat(np.arange(len(kinds)), each)
    molecules = np.repeat(np.arange(len(label)), [kinds[k].n_sites for k in label])
    types = np.array([NAMES.index(b) for k in label for b in kinds[k].beads])
    return Topology(NAMES, MASSES, types, molecules, species=kinds, molecule_species=label)


def grown(
    top: Topology,
    cell: np.ndarray,
    rng: np.random.Generator,
    length: float = 2.5,
    spread: float = 0.1,
) -> tuple[CGFrame, np.ndarray]:
    """A frame, and the same sites before they were wrapped, (n, 3).

    Each site but the first stands at a random direction from the one that it is bonded to.
    """
    whole = np.zeros((top.n_sites, 3))
    for kind, sites in zip(top.species, top.species_sites, strict=True):
        for own in sites:
            whole[own[0]] = rng.random(3) @ cell
            for k in range(1, kind.n_sites):
                before = next(a for a, b in kind.bonds or () if b == k)
                step = rng.normal(size=3)
                step *= (length + spread * rng.normal()) / np.linalg.norm(step)
                whole[own[k]] = whole[own[before]] + step
    return CGFrame(top, wrap(whole, cell), cell), whole


def measure(kind: type[Observable], frames: list[CGFrame], **more: object) -> Observable:
    """An observable that has seen the frames, with its result taken."""
    system = System(300.0, 11.0, 110, frames[0].topology, **more)  # type: ignore[arg-type]
    observable = kind(system)
    for frame in frames:
        observable.add(frame)
    observable.result()
    return observable
