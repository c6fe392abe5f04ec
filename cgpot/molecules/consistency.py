# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parts of a topology must have in common; the first contradiction is named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.grouping import species_from_beads
from cgpot.molecules.species import Species

IntArray = NDArray[np.int64]


def check_types(
    names: Sequence[str],
    masses: Sequence[float],
    charges: Sequence[float],
    types: IntArray,
    molecules: IntArray,
) -> None:
    """Bead types against each other and against the sites.

    Raises:
        DataError: names not unique or not alphanumeric, masses not positive, charges not
            finite, types out of range, arrays of different shapes.
    """
    if len(set(names)) != len(names):
        raise DataError(f"bead type names are not unique: {list(names)}")
    for name in names:
        if not name.isalnum() or not name.isascii():
            raise DataError(f"bead type name {name!r}: expected letters and digits only")
    for word, values in (("masses", masses), ("charges", charges)):
        if len(values) != len(names):
            raise DataError(f"{len(names)} bead types but {len(values)} {word}")
    for name, mass, charge in zip(names, masses, charges, strict=True):
        if not np.isfinite(mass) or mass <= 0.0:
            raise DataError(f"bead type {name!r} has mass {mass}; expected a positive number")
        if not np.isfinite(charge):
            raise DataError(f"bead type {name!r} has charge {charge}; expected a finite number")
    if types.shape != molecules.shape or types.ndim != 1:
        raise DataError(f"types {types.shape} and molecules {molecules.shape} differ in shape")
    if len(types) and not 0 <= types.min() <= types.max() < len(names):
        raise DataError(f"bead types span {types.min()}..{types.max()}, but {len(names)} are named")


def check_names(species: Sequence[Species]) -> None:
    """One species for a name.

    Raises:
        DataError: two of one name.
    """
    every = [kind.name for kind in species]
    twice = [name for name in every if every.count(name) > 1]
    if twice:
        raise DataError(f"two species of one name, {twice[0]!r}; expected one of each name")


def match_species(
    species: Sequence[Species],
    names: Sequence[str],
    types: IntArray,
    order: IntArray,
    start: IntArray,
) -> IntArray:
    """(n_molecules,) species of each molecule by its beads alone.

    Raises:
        DataError: no species or several have the beads of a molecule.
    """
    plain, label = species_from_beads(names, types, order, start)
    number = np.empty(len(plain), dtype=np.int64)
    for k, kind in enumerate(plain):
        fits = [s for s, own in enumerate(species) if own.beads == kind.beads]
        if len(fits) != 1:
            molecule = int(np.flatnonzero(label == k)[0])
            what = "no species has" if not fits else f"{len(fits)} species have"
            raise DataError(
                f"molecule {molecule}: {what} its beads {'-'.join(kind.beads[:8])}; expected "
                f"one of {', '.join(s.describe() for s in species)}"
            )
        number[k] = fits[0]
    return number[label]


def check_species(
    species: Sequence[Species],
    label: IntArray,
    names: Sequence[str],
    types: IntArray,
    order: IntArray,
    start: IntArray,
) -> None:
    """The species of all molecules against their sites.

    Raises:
        DataError: a number of labels or a label out of range, beads that are no types, or a
            molecule that differs from its species (site and place are named).
    """
    if label.shape != (len(start) - 1,):
        raise DataError(
            f"{len(start) - 1} molecules, but {len(label)} are given a species; expected one for "
            "each"
        )
    if len(label) and not 0 <= label.min() <= label.max() < len(species):
        raise DataError(
            f"molecules are of species {label.min()}..{label.max()}, but {len(species)} are given"
        )
    size = np.diff(start)
    for k, kind in enumerate(species):
        for name in kind.beads:
            if name not in names:
                raise DataError(
                    f"species {kind.name!r} has beads {name!r}; the bead types are {list(names)}"
                )
        mine = np.flatnonzero(label == k)
        odd = mine[size[mine] != kind.n_sites]
        if len(odd):
            raise DataError(
                f"molecule {odd[0]} has {size[odd[0]]} sites; expected {kind.n_sites} of species "
                f"{kind.describe()}"
            )
        wanted = np.array([names.index(name) for name in kind.beads])
        sites = order[start[mine][:, None] + np.arange(kind.n_sites)]
        wrong = np.argwhere(types[sites] != wanted)
        if len(wrong):
            row, place = wrong[0]
            site = sites[row, place]
            raise DataError(
                f"site {site} (place {place} of molecule {mine[row]}) is "
                f"{names[types[site]]!r}; expected {kind.beads[place]!r} of species "
                f"{kind.describe()}"
            )
