# SPDX-License-Identifier: GPL-2.0-or-later
"""Small potentials of every linear kind with known coefficients, and frames for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.angles import AngleBasis
from cgpot.potential.base import Base
from cgpot.potential.bonds import BondBasis
from cgpot.potential.density_table import DensityTable
from cgpot.potential.dihedrals import DihedralBasis
from cgpot.potential.local_density import LocalDensityBasis
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.potential import Potential
from cgpot.potential.splines import PairTable
from cgpot.potential.threebody import ThreeBodySW
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.linear.mscg import MSCGPotential

NAMES, MASSES = ("A", "B"), (40.0, 60.0)
R_MAX, SPACING = 7.0, 0.5
KT = 0.02585


def chains(seed: int = 1) -> CGFrame:
    """27 chains A-B-A-A on a lattice, all bonds known, some across the boundary."""
    rng = np.random.default_rng(seed)
    positions = []
    for corner in np.ndindex(3, 3, 3):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        zigzag = np.array([[0, 0, 0], [2.6, 1.5, 0], [5.1, -0.1, 0], [6.2, 1.0, 2.7]])
        positions.append(9.0 * np.array(corner) + zigzag @ axes + rng.normal(scale=0.05, size=3))
    n = 27
    first = 4 * np.arange(n)[:, None]
    bonds = np.concatenate([np.hstack([first + k, first + k + 1]) for k in range(3)])
    types = np.array([0, 1, 0, 0] * n)
    topology = Topology.from_bonds(NAMES, MASSES, types, np.repeat(np.arange(n), 4), bonds)
    return CGFrame(topology, np.concatenate(positions), 27.0 * np.diag([1.0, 1.03, 0.98]))


def pair_table(seed: int = 2) -> PairTable:
    rng = np.random.default_rng(seed)
    intervals = round(R_MAX / SPACING)
    c = 0.02 * rng.normal(size=(3, intervals + 3)) + 0.3 * np.exp(-0.5 * np.arange(intervals + 3))
    c[:, -3:] = 0.0
    return PairTable(NAMES, R_MAX, c, {})


def density(kind: str = "lammps") -> tuple[LocalDensityBasis, np.ndarray]:
    """Basis and coefficients of a local-density part."""
    spans = np.array([[2.0, 14.0], [2.0, 14.0]])
    basis = LocalDensityBasis(NAMES, 6.5, spans, 6, kind=kind)
    return basis, 0.05 * np.random.default_rng(3).normal(size=basis.size)


def density_table(kind: str = "lammps") -> DensityTable:
    basis, c = density(kind)
    return basis.table(c, {})


def mscg(
    excluded: tuple[int, ...] = (), *, three: bool = False, local: bool = False
) -> MSCGPotential:
    """Pairs, bonds, angles and dihedrals of the chains; three bodies and local density if asked."""
    topology = chains().topology
    bonds = BondBasis(topology, None, (1.5, 4.5), 0.3, KT, bonds=topology.bonds)
    angles = AngleBasis(topology, topology.angles, 20.0, KT)
    dihedrals = DihedralBasis(topology, topology.dihedrals, 30.0, KT)
    bonds.springs = [(1.0 + k, 3.0) for k in range(bonds.n_kinds)]
    angles.wells = [(0.1 + k, -0.5) for k in range(angles.n_kinds)]
    nothing = np.zeros(0)
    bare = MSCGPotential(
        topology,
        PairBasis(NAMES, R_MAX, SPACING, 1.0),
        bonds,
        ThreeBodySW(NAMES, 5.0, 1.2, 5) if three else None,
        nothing,
        nothing,
        {},
        angles,
        dihedrals,
        excluded,
        density()[0] if local else None,
    )
    exclusions = bare.bonded.exclusions()
    bare = replace(bare, pair=PairBasis(NAMES, R_MAX, SPACING, 1.0, exclude=exclusions))
    rng = np.random.default_rng(5)
    parts = {name: 0.1 * rng.normal(size=part.size) for name, part in bare.joint.parts.items()}
    parts["pair"] = pair_table().coefficients.ravel()
    if local:
        parts["density"] = density()[1]
    c = np.concatenate([parts[name] for name in bare.joint.parts])
    return replace(bare, coefficients=c, samples=np.zeros((0, len(c))))


def uf3(*, overlay: bool = False, triplets: bool = True) -> UF3Potential:
    grid = ThreeBodyGrid(2.0, 5.0, 4)
    c = 0.05 * np.random.default_rng(6).normal(size=ThreeBody(NAMES, grid).size)
    if not triplets:
        return UF3Potential(pair_table(), None, np.zeros(0), {}, overlay)
    return UF3Potential(pair_table(), grid, c, {}, overlay)


KINDS: dict[str, Callable[[], Potential]] = {
    "pair": lambda: Base(pair_table()),
    "pairs not-1-3": lambda: Base(pair_table(), density_table("smooth"), "not-1-3"),
    "local density": lambda: Base(pair_table(), density_table()),
    "mscg": lambda: mscg((1, 2, 3)),
    "three bodies": lambda: mscg(three=True, local=True),
    "bonded part": lambda: BondedPart(mscg()),
    "uf3": uf3,
}
