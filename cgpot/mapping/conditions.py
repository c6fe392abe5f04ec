# SPDX-License-Identifier: GPL-2.0-or-later
"""The conditions of a mapping: what is left out, shared and constrained, and the force weights.

``sum_i b_Ii c_Ji = delta_IJ`` with position weights c and force weights b (Noid et al., J. Chem.
Phys. 128, 244114 (2008)).  Sites that share atoms have it where each has atoms of its own with
position weight, and forces are taken from these alone.  Atoms joined by a rigid constraint must
have equal force weights in every site (Krämer et al., J. Phys. Chem. Lett. 14, 3970 (2023)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.connections import Assigned, atom_molecules
from cgpot.mapping.membership import Membership
from cgpot.mapping.spec import MappingSpec

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
WEIGHT_TOLERANCE = 1e-8
EQUAL = 1e-9
"""Force weights of constrained atoms that count as equal."""


def check_left_out(
    spec: MappingSpec, members: Membership, topology: AtomTopology, file: Path
) -> dict[str, Any] | None:
    """Refuse atoms of no site, unless they are whole molecules that the mapping leaves out.

    Returns:
        Number of atoms and molecules, mass (amu; None: not known) and molecule types of what is
        left out; None where there is nothing.

    Raises:
        ConfigError: atoms that the mapping does not allow, or a part of a molecule.
        InputError: the topology does not tell molecules or their types.
    """
    free = members.left_out
    if not len(free):
        if spec.unmapped is not None:
            raise ConfigError(
                f"{spec.unmapped!r} is given, but every atom of {topology.path.name} is in a site",
                file=file,
                key="unmapped",
            )
        return None
    if spec.unmapped is None:
        raise ConfigError(
            f"atom {free[0]} belongs to no site ({len(free)} of {topology.n_atoms} atoms); the "
            "mapping must cover whole molecules (use an x-weight of 0 for atoms that only carry "
            "force, and check 'repeat' and 'offset'; whole molecules can be left out with "
            "'unmapped')",
            file=file,
        )
    molecules = atom_molecules(topology)
    if molecules is None:
        raise InputError(
            "the topology does not tell molecules, so that it cannot be seen whether those left "
            "out ('unmapped') are whole; expected a .tpr or a data file with molecule numbers",
            file=topology.path,
        )
    cut = np.isin(molecules, molecules[free]) & (members.count > 0)
    if cut.any():
        atom = int(np.flatnonzero(cut)[0])
        other = free[int(np.argmax(molecules[free] == molecules[atom]))]
        raise ConfigError(
            f"atom {other} belongs to no site, but atom {atom} of the same molecule "
            f"({molecules[atom]}) does; expected whole molecules in what is left out",
            file=file,
            key="unmapped",
        )
    types = topology.molecule_types
    if spec.unmapped != "allow":
        if types is None:
            raise InputError(
                "the topology names no molecule types; expected 'unmapped: allow'",
                file=topology.path,
            )
        wrong = free[~np.isin(types[free].astype(str), list(spec.unmapped))]
        if len(wrong):
            raise ConfigError(
                f"atom {wrong[0]} of molecule type {types[wrong[0]]!s} belongs to no site; only "
                f"{', '.join(spec.unmapped)} may be left out",
                file=file,
                key="unmapped",
            )
        idle = sorted(set(spec.unmapped) - set(types[free].astype(str)))
        if idle:
            raise ConfigError(
                f"no molecule of type {idle[0]} is left out; the topology has "
                f"{sorted(set(types.astype(str)))}",
                file=file,
                key="unmapped",
            )
    return {
        "atoms": len(free),
        "molecules": len(np.unique(molecules[free])),
        "mass_amu": None if topology.masses is None else float(topology.masses[free].sum()),
        "types": None if types is None else sorted(set(types[free].astype(str))),
    }


def check_own_atoms(sites: Sequence[Assigned], members: Membership, file: Path) -> None:
    """Refuse sites all of whose atoms are in other sites too.

    Raises:
        ConfigError: names the site and its atoms.
    """
    for s, (name, atoms, molecule) in enumerate(sites):
        if (members.count[atoms] > 1).all():
            others = np.setdiff1d(members.sites_of(int(atoms[0])), [s])
            raise ConfigError(
                f"overlapping sites: site {s} ({name}, molecule {molecule}) shares all of its "
                f"atoms {atoms.tolist()[:8]} with others (atom {atoms[0]} with site {others[0]}, "
                f"{sites[others[0]][0]}); expected an atom of its own in each site",
                file=file,
            )


def force_weights(c: Array, own: NDArray[np.bool_]) -> Array:
    """Force weights of a site whose forces come from its own atoms, in equal parts.

    ``b = 1 / C`` on the own atoms, with C the sum of their position weights, 0 on shared ones: the
    choice ``d_Ii = c_Ii / C`` of Noid et al.; 1 on all atoms where none is shared.
    """
    if own.all():
        return np.ones(len(c))
    total = float(c[own].sum())
    return np.where(own, 1.0 / total, 0.0) if total > 0.0 else np.zeros(len(c))


def matrix(
    sites: Sequence[Assigned], weights: Sequence[Array], n_atoms: int
) -> csr_array[Any, tuple[int, int]]:
    """Weights as a sparse matrix (n_sites, n_atoms)."""
    from scipy.sparse import csr_array

    row = np.repeat(np.arange(len(sites)), [len(atoms) for _, atoms, _ in sites])
    column = np.concatenate([atoms for _, atoms, _ in sites])
    return csr_array((np.concatenate(weights), (row, column)), shape=(len(sites), n_atoms))


def check_weights(
    sites: Sequence[Assigned], c: Sequence[Array], b: Sequence[Array], n_atoms: int, file: Path
) -> None:
    """Refuse weights that break ``sum_i b_Ii c_Ji = delta_IJ``.

    Raises:
        ConfigError: names the two sites and the sum.
    """
    product = (matrix(sites, b, n_atoms) @ matrix(sites, c, n_atoms).T).tocoo()
    wanted = (product.row == product.col).astype(float)
    wrong = np.flatnonzero(np.abs(product.data - wanted) > WEIGHT_TOLERANCE)
    empty = np.flatnonzero(
        np.bincount(product.row[product.row == product.col], minlength=len(sites)) == 0
    )
    if len(empty):
        i = j = int(empty[0])
        value = 0.0
    elif len(wrong):
        k = int(wrong[0])
        i, j, value = int(product.row[k]), int(product.col[k]), float(product.data[k])
    else:
        return
    name = sites[i][0]
    key = f"site-types.{name}.f-weight"
    if i == j:
        raise ConfigError(
            f"sum of b c is {value:.8g}; expected 1 (force weights of 1 for a whole group)",
            file=file,
            key=key,
        )
    raise ConfigError(
        f"sites {i} ({name}) and {j} ({sites[j][0]}) share atoms, and the force weights of the "
        f"first times the position weights of the second sum to {value:.8g}; expected 0 (force "
        "weights of 0 on shared atoms)",
        file=file,
        key=key,
    )


def count_constraints(
    spec: MappingSpec,
    topology: AtomTopology,
    sites: Sequence[Assigned],
    b: Sequence[Array],
    file: Path,
) -> int | None:
    """Number of constraints within the sites; refuses those that join different force weights.

    Raises:
        ConfigError: see above, or a number that is not that of the topology.
    """
    n_molecules = len({molecule for _, _, molecule in sites})
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
        if spec.constraints and len(sites) > n_molecules:
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
    if not len(pairs):
        return 0
    weights = matrix(sites, b, topology.n_atoms).tocsc()
    difference = abs(weights[:, pairs[:, 0]] - weights[:, pairs[:, 1]]).max(axis=0)
    broken = np.flatnonzero(np.asarray(difference.todense()).ravel() > EQUAL)
    if len(broken):
        i, j = pairs[broken[0]]
        raise ConfigError(
            f"atoms {i} and {j} are joined by a rigid constraint but have different force "
            f"weights in a site ({len(broken)} such pairs); keep constrained atoms in "
            "one site with equal f-weights, or run without constraints",
            file=file,
        )
    inside = np.zeros(topology.n_atoms, dtype=bool)
    for _, atoms, _ in sites:
        inside[atoms] = True
    return int(inside[pairs[:, 0]].sum())
