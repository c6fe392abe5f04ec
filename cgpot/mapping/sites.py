# SPDX-License-Identifier: GPL-2.0-or-later
"""Sites: a mapping file resolved on the atoms of one system, and its conditions.

Positions ``R_I = sum_i c_Ii r_i`` with ``sum_i c_Ii = 1``; forces ``F_I = sum_i b_Ii f_i``
(`cgpot.mapping.conditions`).

Virtual sites (massless atoms, as M of TIP4P) have position weight 0 and stand in their site with
its force weight.  GROMACS spreads their forces over the atoms that they are made from before it
writes a .trr, which then holds zero for them (seen with 2022.5 and TIP4P); forces of a trajectory
that did not are refused where the sum over a site would miss them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.assignment import assign
from cgpot.mapping.beads import bead_charge, bead_mass, check_masses, position_weights
from cgpot.mapping.conditions import (
    EQUAL,
    check_left_out,
    check_own_atoms,
    check_weights,
    count_constraints,
    force_weights,
)
from cgpot.mapping.connections import Assigned, atom_bonds, check_molecules, site_topology
from cgpot.mapping.membership import Links, Membership
from cgpot.mapping.spec import MappingSpec
from cgpot.molecules.frame import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SiteGroup:
    """Sites of one type with equal numbers of atoms and equal weights.

    Attributes:
        sites: (n,) indices of the sites.
        atoms: (n, k) atom indices.
        position_weights: (k,) c, summing to 1.
        force_weights: (k,) b.
        reference: column of ``atoms`` to which the others are taken as minimum images.
        block: (start, stop) when the atoms are contiguous in order, else None.
    """

    sites: IntArray
    atoms: IntArray
    position_weights: Array
    force_weights: Array
    reference: int
    block: tuple[int, int] | None

    def take(self, values: Array) -> Array:
        """Values (n_atoms, 3) of the group's atoms, (n, k, 3); a view where it can be."""
        if self.block is not None:
            return values[self.block[0] : self.block[1]].reshape(*self.atoms.shape, 3)
        return values[self.atoms]


@dataclass(frozen=True)
class SiteMap:
    """All sites of a system.

    Attributes:
        topology: the coarse-grained sites.
        groups: sites by type.
        bonds: bonds within sites as rows (group, site, column, column), or None: unknown.
        n_atoms: atoms of the atomistic system.
        n_constraints: constrained atom pairs, or None: unknown.
        notes: what a user should know about the mapping.
        n_moving: mapped atoms with a mass.
        left_out: what the mapping leaves out (`cgpot.mapping.conditions.check_left_out`).
        shared: atoms of several sites.
        virtual: massless atoms whose forces must have been spread over others.
    """

    topology: Topology
    groups: tuple[SiteGroup, ...]
    bonds: tuple[IntArray, ...] | None
    n_atoms: int
    n_constraints: int | None
    notes: tuple[str, ...]
    n_moving: int = 0
    left_out: dict[str, Any] | None = None
    shared: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    virtual: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def _bond_centre(k: int, bonds: IntArray) -> int:
    """The atom of a site from which the farthest atom is fewest bonds away."""
    if not len(bonds):
        return 0
    distance = np.full((k, k), k, dtype=np.int64)
    np.fill_diagonal(distance, 0)
    distance[bonds[:, 0], bonds[:, 1]] = distance[bonds[:, 1], bonds[:, 0]] = 1
    for middle in range(k):
        np.minimum(distance, distance[:, [middle]] + distance[[middle]], out=distance)
    return int(np.argmin(distance.max(axis=1)))


def resolve(spec: MappingSpec, topology: AtomTopology, file: str | Path) -> SiteMap:
    """Resolve a mapping on a topology and check its conditions.

    Raises:
        ConfigError: wrong counts, empty selection, sites without atoms of their own, uncovered
            atoms, weights that break ``sum b c = delta``, a constraint that crosses force weights,
            molecules or bonds that contradict the topology (`cgpot.mapping.connections`).
        InputError: the topology lacks masses, charges or molecules that the mapping needs.
        DataError: negative masses.
    """
    path = Path(file)
    n = topology.n_atoms
    massless = check_masses(topology)
    sites, blocks = assign(spec, topology, path)
    members = Membership(sites, n)
    check_own_atoms(sites, members, path)
    left_out = check_left_out(spec, members, topology, path)
    check_molecules(sites, topology, path)

    names = tuple(spec.site_types)
    notes: list[str] = []
    bonds = atom_bonds(topology)
    inner = None if bonds is None else members.links(bonds).within
    groups: list[SiteGroup] = []
    group_bonds: list[IntArray] = []
    masses: list[float] = []
    charges: list[float] = []
    c_of: list[Array] = [np.zeros(0)] * len(sites)
    b_of: list[Array] = [np.zeros(0)] * len(sites)
    for name in names:
        kind = spec.site_types[name]
        mine = [s for s, item in enumerate(sites) if item[0] == name]
        parts: dict[tuple[int, bytes], list[int]] = {}
        for s in mine:
            atoms = sites[s][1]
            c = position_weights(name, kind, atoms, topology, path)
            b = force_weights(c, members.count[atoms] == 1)
            if kind.f_weight is not None:
                b = np.asarray(kind.f_weight, dtype=np.float64)
            c_of[s], b_of[s] = c, b
            words = np.round(np.concatenate([c, b]), 7).tobytes()
            parts.setdefault((len(c), words), []).append(s)
        own = [sites[s][1] for s in mine]
        shared = any((members.count[atoms] > 1).any() for atoms in own)
        masses.append(bead_mass(name, kind, own, shared, topology, notes, path))
        charges.append(bead_charge(name, kind, own, shared, topology, path))
        for part in parts.values():
            group, rows = _group(part, sites, c_of[part[0]], b_of[part[0]], inner)
            groups.append(group)
            group_bonds.append(rows)
    check_weights(sites, c_of, b_of, n, path)
    n_constraints = count_constraints(spec, topology, sites, b_of, path)
    _note_shared(sites, members, masses, names, topology, notes)
    if left_out is not None:
        mass = left_out["mass_amu"]
        notes.append(
            f"left out: {left_out['molecules']} molecules ({left_out['atoms']} atoms"
            + ("" if mass is None else f", {mass:.1f} amu")
            + ("" if left_out["types"] is None else f": {', '.join(left_out['types'])}")
            + "); their forces on the sites are in the labels, densities are those of the sites"
        )
    if len(massless):
        notes.append(
            f"{len(massless)} massless atoms (virtual sites) have no position weight unless the "
            "mapping gives one, and no degrees of freedom"
        )
    ends = None if bonds is None else members.site_bonds(bonds)
    made = site_topology(spec, sites, blocks, topology, ends, tuple(masses), tuple(charges), path)
    inside = np.flatnonzero(members.count)
    return SiteMap(
        topology=made,
        groups=tuple(groups),
        bonds=tuple(group_bonds) if inner is not None else None,
        n_atoms=n,
        n_constraints=n_constraints,
        notes=tuple(notes),
        n_moving=len(np.setdiff1d(inside, massless)),
        left_out=left_out,
        shared=members.shared,
        virtual=_spread(massless, sites, b_of, members),
    )


def _group(
    part: list[int], sites: Sequence[Assigned], c: Array, b: Array, inner: Links | None
) -> tuple[SiteGroup, IntArray]:
    """Sites of equal weights, and the bonds within them (site of the group, column, column)."""
    atoms = np.stack([sites[s][1] for s in part])
    flat = atoms.ravel()
    contiguous = np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat)))
    rows = np.zeros((0, 3), dtype=np.int64)
    reference = 0
    if inner is not None and len(inner.first):
        position = np.full(len(sites), -1, dtype=np.int64)
        position[part] = np.arange(len(part))
        mine = position[inner.first] >= 0
        rows = np.column_stack([position[inner.first[mine]], inner.columns[mine]])
        reference = _bond_centre(len(c), rows[rows[:, 0] == 0, 1:])
    group = SiteGroup(
        sites=np.asarray(part, dtype=np.int64),
        atoms=atoms,
        position_weights=c,
        force_weights=b,
        reference=reference,
        block=(int(flat[0]), int(flat[0]) + len(flat)) if contiguous else None,
    )
    return group, rows


def _spread(
    massless: IntArray, sites: Sequence[Assigned], b: Sequence[Array], members: Membership
) -> IntArray:
    """Massless atoms whose force must have been spread over the atoms that they are made from.

    Where a molecule is one site with equal force weights the sum is the same either way.
    """
    if not len(massless):
        return massless
    several = {m for m, k in Counter(molecule for _, _, molecule in sites).items() if k > 1}
    plain = [
        s
        for s, (_, _, molecule) in enumerate(sites)
        if molecule not in several and np.ptp(b[s]) < EQUAL
    ]
    whole = np.zeros(len(members.count), dtype=bool)
    for s in plain:
        whole[sites[s][1]] = True
    return massless[(members.count[massless] > 0) & ~whole[massless]]


def _note_shared(
    sites: Sequence[Assigned],
    members: Membership,
    masses: Sequence[float],
    names: Sequence[str],
    topology: AtomTopology,
    notes: list[str],
) -> None:
    if not len(members.shared):
        return
    notes.append(
        f"{len(members.shared)} atoms are shared by sites; forces are taken from each site's own "
        "atoms, unless the mapping gives force weights"
    )
    if topology.masses is None:
        return
    beads = sum(masses[names.index(name)] for name, _, _ in sites)
    atoms = float(topology.masses[members.count > 0].sum())
    if abs(beads - atoms) > 1e-3 * atoms:
        notes.append(
            f"the beads weigh {beads:.3f} amu, their atoms {atoms:.3f} amu: densities are those "
            "of the beads"
        )
