# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bead type is given by its atoms: position weights, mass and charge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.spec import SiteType

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
CHARGE_DECIMALS = 5
"""Charges are single precision in a .tpr; what is left of a neutral group is no charge."""


def check_masses(topology: AtomTopology) -> IntArray:
    """The massless atoms (virtual sites); refuses negative masses.

    Raises:
        DataError: a mass below zero or NaN.
    """
    if topology.masses is None:
        return np.zeros(0, dtype=np.int64)
    wrong = np.flatnonzero(~(topology.masses >= 0.0))
    if len(wrong):
        raise DataError(
            f"atom {wrong[0]} has mass {topology.masses[wrong[0]]:g}; expected a positive mass, "
            "or 0 for a virtual site",
            file=topology.path,
        )
    return np.flatnonzero(topology.masses == 0.0)


def position_weights(
    name: str, kind: SiteType, atoms: IntArray, topology: AtomTopology, file: Path
) -> Array:
    """Normalised position weights of one site; massless atoms have none unless they are given.

    Raises:
        ConfigError: a wrong number of weights, or a site without mass.
        InputError: the topology holds no masses.
    """
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
        if not c.sum() > 0.0:
            raise ConfigError(
                f"the atoms {atoms.tolist()[:8]} of a site have no mass; expected a site of "
                "virtual sites alone to have none, or 'x-weight' and 'mass'",
                file=file,
                key=key,
            )
    return np.asarray(c / c.sum())


def bead_mass(
    name: str,
    kind: SiteType,
    members: list[IntArray],
    shared: bool,
    topology: AtomTopology,
    notes: list[str],
    file: Path,
) -> float:
    """The mass of a bead type; a stated mass wins and a difference is noted.

    Raises:
        ConfigError: no mass is stated for sites that share atoms.
        DataError: sites of unequal mass.
        InputError: a topology without masses.
    """
    if shared:
        if kind.mass is None:
            raise ConfigError(
                "overlapping sites: atoms that sites share would count in the mass of each; "
                "expected 'mass' for each such type if they are to share atoms",
                file=file,
                key=f"site-types.{name}.mass",
            )
        return kind.mass
    total: float | None = None
    if topology.masses is not None:
        sums = np.asarray([topology.masses[atoms].sum() for atoms in members])
        if np.ptp(sums) > 1e-3 * sums[0]:
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


def bead_charge(
    name: str,
    kind: SiteType,
    members: list[IntArray],
    shared: bool,
    topology: AtomTopology,
    file: Path,
) -> float:
    """The charge of a bead type, e: as stated, the sum of its atoms', or 0.

    Raises:
        ConfigError: the sum is asked for where sites share atoms.
        InputError: a topology without charges, or sites of unequal charge.
    """
    if kind.charge is None:
        return 0.0
    if kind.charge != "sum":
        return float(kind.charge)
    key = f"site-types.{name}.charge"
    if shared:
        raise ConfigError(
            "'sum' would count the charges of shared atoms in each site; expected a number",
            file=file,
            key=key,
        )
    if topology.charges is None:
        raise InputError(
            f"the topology holds no charges to sum for site type {name!r}; expected a .tpr or a "
            "LAMMPS data file with charges, or a number in the mapping",
            file=topology.path,
        )
    sums = np.asarray([topology.charges[atoms].sum() for atoms in members])
    if np.ptp(sums) > 2.0 * 10.0**-CHARGE_DECIMALS:
        raise InputError(
            f"site type {name!r} has sites of charge {sums.min():.4f} to {sums.max():.4f} e; "
            "expected equal charges (give them different names)",
            file=topology.path,
        )
    return round(float(sums[0]), CHARGE_DECIMALS) + 0.0
