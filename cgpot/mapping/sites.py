# SPDX-License-Identifier: GPL-2.0-or-later
"""Sites: a mapping file resolved on the atoms of one system, and its conditions.

Positions ``R_I = sum_i c_Ii r_i`` with ``sum_i c_Ii = 1``; forces ``F_I = sum_i b_Ii f_i``
with ``sum_i b_Ii c_Ji = delta_IJ`` (Noid et al., J. Chem. Phys. 128, 244114 (2008)).
Constrained atoms must have equal force weights in every site (Krämer et al., J. Phys. Chem.
Lett. 14, 3970 (2023)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.assignment import assign
from cgpot.mapping.connections import atom_bonds, check_molecules, site_topology
from cgpot.mapping.spec import MappingSpec, SiteType
from cgpot.molecules.frame import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
WEIGHT_TOLERANCE = 1e-8


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
    """

    topology: Topology
    groups: tuple[SiteGroup, ...]
    bonds: tuple[IntArray, ...] | None
    n_atoms: int
    n_constraints: int | None
    notes: tuple[str, ...]


def _weights(
    name: str, kind: SiteType, atoms: IntArray, topology: AtomTopology, file: Path
) -> tuple[Array, Array]:
    """Normalised position weights and force weights of one site."""
    k = len(atoms)
    key = f"site-types.{name}"
    for label, given in (("x-weight", kind.x_weight), ("f-weight", kind.f_weight)):
        if given is not None and len(given) != k:
            raise ConfigError(
                f"{len(given)} values for a site of {k} atoms", file=file, key=f"{key}.{label}"
            )
    if kind.x_weight is not None:
        c = np.asarray(kind.x_weight, dtype=np.float64)
    else:
        if topology.masses is None:
            raise InputError(
                f"the topology holds no masses; give 'x-weight' and 'mass' for site type "
                f"{name!r}, or a topology with masses (.tpr, LAMMPS data)",
                file=topology.path,
            )
        c = topology.masses[atoms]
    c = c / c.sum()
    b = np.ones(k) if kind.f_weight is None else np.asarray(kind.f_weight, dtype=np.float64)
    product = float(b @ c)
    if abs(product - 1.0) > WEIGHT_TOLERANCE:
        raise ConfigError(
            f"sum of b c is {product:.8g}; expected 1 (force weights of 1 for a whole group)",
            file=file,
            key=f"{key}.f-weight",
        )
    return c, b


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
        ConfigError: wrong counts, empty selection, overlapping sites, uncovered atoms, weights
            that break ``sum b c = 1``, a constraint that crosses force weights, molecules or
            bonds that contradict the topology (`cgpot.mapping.connections`).
        InputError: the topology lacks masses or molecules that the mapping needs.
        DataError: zero or negative masses.
    """
    path = Path(file)
    n = topology.n_atoms
    if topology.masses is not None and not (topology.masses > 0.0).all():
        atom = int(np.flatnonzero(~(topology.masses > 0.0))[0])
        raise DataError(
            f"atom {atom} has mass {topology.masses[atom]:g}; expected a positive mass "
            "(virtual sites and shells are not supported)",
            file=topology.path,
        )
    sites, blocks = assign(spec, topology, path)
    check_molecules(sites, topology, path)

    names = tuple(spec.site_types)
    notes: list[str] = []
    column = np.zeros(n, dtype=np.int64)
    owner = np.zeros(n, dtype=np.int64)
    for s, (_, atoms, _) in enumerate(sites):
        column[atoms] = np.arange(len(atoms))
        owner[atoms] = s
    inner: IntArray | None = None
    if (bonds := atom_bonds(topology)) is not None:
        inner = bonds[owner[bonds[:, 0]] == owner[bonds[:, 1]]]

    groups: list[SiteGroup] = []
    group_bonds: list[IntArray] = []
    masses: list[float] = []
    force_weight = np.zeros(n)
    for name in names:
        kind = spec.site_types[name]
        members = [s for s, item in enumerate(sites) if item[0] == name]
        parts: dict[tuple[int, bytes], list[int]] = {}
        weights: dict[tuple[int, bytes], tuple[Array, Array]] = {}
        for s in members:
            c, b = _weights(name, kind, sites[s][1], topology, path)
            key = (len(c), np.round(c, 7).tobytes())
            parts.setdefault(key, []).append(s)
            weights.setdefault(key, (c, b))
            force_weight[sites[s][1]] = b
        masses.append(_bead_mass(name, kind, [sites[s][1] for s in members], topology, notes))
        for key, part in parts.items():
            atoms = np.stack([sites[s][1] for s in part])
            flat = atoms.ravel()
            contiguous = np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat)))
            rows = np.zeros((0, 3), dtype=np.int64)
            reference = 0
            if inner is not None and len(inner):
                position = np.full(len(sites), -1, dtype=np.int64)
                position[part] = np.arange(len(part))
                mine = inner[position[owner[inner[:, 0]]] >= 0]
                rows = np.stack(
                    [position[owner[mine[:, 0]]], column[mine[:, 0]], column[mine[:, 1]]], axis=1
                )
                reference = _bond_centre(key[0], rows[rows[:, 0] == 0, 1:])
            groups.append(
                SiteGroup(
                    sites=np.asarray(part, dtype=np.int64),
                    atoms=atoms,
                    position_weights=weights[key][0],
                    force_weights=weights[key][1],
                    reference=reference,
                    block=(int(flat[0]), int(flat[0]) + len(flat)) if contiguous else None,
                )
            )
            group_bonds.append(rows)

    n_constraints = _constraints(spec, topology, owner, force_weight, len(sites), path)
    return SiteMap(
        topology=site_topology(spec, sites, blocks, topology, owner, tuple(masses), path),
        groups=tuple(groups),
        bonds=tuple(group_bonds) if inner is not None else None,
        n_atoms=n,
        n_constraints=n_constraints,
        notes=tuple(notes),
    )


def _bead_mass(
    name: str,
    kind: SiteType,
    members: list[IntArray],
    topology: AtomTopology,
    notes: list[str],
) -> float:
    """The mass of a bead type; a stated mass wins and a difference is noted."""
    total: float | None = None
    if topology.masses is not None:
        sums = np.asarray([topology.masses[atoms].sum() for atoms in members])
        if np.ptp(sums) > 1e-3 * sums.max():
            raise DataError(
                f"site type {name!r} has sites of {sums.min():.3f} to {sums.max():.3f} amu; "
                "expected equal masses (give them different names)",
                file=topology.path,
            )
        total = float(sums[0])
    if kind.mass is not None:
        if total is not None and abs(total - kind.mass) > 1e-3 * kind.mass:
            notes.append(
                f"bead {name}: mass {kind.mass:g} amu from the mapping, {total:.4f} amu in "
                f"{topology.path.name}"
            )
        return kind.mass
    if total is None:
        raise InputError(
            f"the topology holds no masses; give 'mass' for site type {name!r}",
            file=topology.path,
        )
    return total


def _constraints(
    spec: MappingSpec,
    topology: AtomTopology,
    owner: IntArray,
    force_weight: Array,
    n_sites: int,
    file: Path,
) -> int | None:
    """Number of constraints; refuses those that join different force weights."""
    if spec.constraints == "none":
        if topology.constraints is not None and len(topology.constraints):
            raise ConfigError(
                f"'none', but {topology.path.name} holds {len(topology.constraints)} constraints",
                file=file,
                key="constraints",
            )
        return 0
    if topology.constraints is None:
        if spec.constraints == "auto":
            return None
        if spec.constraints and len(np.unique(owner)) > 1 and n_sites > _molecules(topology, owner):
            raise ConfigError(
                "a number of constraints cannot be checked against several sites per molecule; "
                "give a .tpr",
                file=file,
                key="constraints",
            )
        return spec.constraints
    pairs = topology.constraints
    if isinstance(spec.constraints, int) and spec.constraints != len(pairs):
        raise ConfigError(
            f"{spec.constraints} constraints, but {topology.path.name} holds {len(pairs)}",
            file=file,
            key="constraints",
        )
    if len(pairs):
        i, j = pairs[:, 0], pairs[:, 1]
        broken = (owner[i] != owner[j]) | (np.abs(force_weight[i] - force_weight[j]) > 1e-9)
        if broken.any():
            a, b = pairs[int(np.flatnonzero(broken)[0])]
            raise ConfigError(
                f"atoms {a} and {b} are joined by a rigid constraint but have different force "
                f"weights in a site ({int(broken.sum())} such pairs); keep constrained atoms in "
                "one site with equal f-weights, or run without constraints",
                file=file,
            )
    return len(pairs)


def _molecules(topology: AtomTopology, owner: IntArray) -> int:
    if topology.molecules is None:
        return len(np.unique(owner))
    return len(np.unique(topology.molecules))
