# SPDX-License-Identifier: GPL-2.0-or-later
"""Which molecules are alike: species found from beads, bonds and names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.species import Species, beads_name, plain_species

IntArray = NDArray[np.int64]


def molecule_order(molecules: IntArray) -> tuple[IntArray, IntArray]:
    """Sites ordered by molecule, and where each molecule begins in that order.

    Args:
        molecules: (n_sites,) molecule of each site.

    Returns:
        (n_sites,) sites; (n_molecules + 1,) starts.  Molecules are in ascending order.
    """
    order = np.argsort(molecules, kind="stable")
    change = np.flatnonzero(np.diff(molecules[order])) + 1
    start = np.concatenate([[0], change, [len(molecules)]]) if len(molecules) else np.zeros(1)
    return order.astype(np.int64), start.astype(np.int64)


def alike(types: IntArray, order: IntArray, start: IntArray) -> tuple[IntArray, list[IntArray]]:
    """Group molecules by the types of their sites in order.

    Args:
        types: (n_sites,) type of each site.
        order: (n_sites,) sites by molecule.
        start: (n_molecules + 1,) starts in ``order``.

    Returns:
        (n_molecules,) group of each molecule, numbered by first appearance, and the types of
        each group's sites.
    """
    size = np.diff(start)
    group = np.full(len(size), -1, dtype=np.int64)
    first: list[int] = []
    for n in np.unique(size):
        mine = np.flatnonzero(size == n)
        rows = types[order[start[mine][:, None] + np.arange(n)]]
        if n == 1:
            _, place, label = np.unique(rows[:, 0], return_index=True, return_inverse=True)
        else:
            _, place, label = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        group[mine] = len(first) + label.reshape(-1)
        first += mine[place].tolist()
    rank = np.argsort(np.array(first, dtype=np.int64))
    renumber = np.empty(len(first), dtype=np.int64)
    renumber[rank] = np.arange(len(first))
    kinds = [types[order[start[first[k]] : start[first[k] + 1]]] for k in rank]
    return renumber[group], kinds


def species_from_beads(
    type_names: Sequence[str], types: IntArray, order: IntArray, start: IntArray
) -> tuple[tuple[Species, ...], IntArray]:
    """Species of molecules whose beads alone are known (bonds of several sites: None).

    Returns:
        Species by first appearance, and (n_molecules,) the species of each molecule.
    """
    group, kinds = alike(types, order, start)
    found: list[Species] = []
    used: set[str] = set()
    for kind in kinds:
        beads = tuple(type_names[t] for t in kind)
        name = _free(beads_name(beads), used)
        used.add(name)
        found.append(plain_species(beads, name))
    return tuple(found), group


def species_from_bonds(
    type_names: Sequence[str],
    types: IntArray,
    molecules: IntArray,
    bonds: IntArray,
    names: Sequence[str | None] | None = None,
    unknown: NDArray[np.bool_] | None = None,
) -> tuple[tuple[Species, ...], IntArray]:
    """Species of molecules whose bonds are known; isomers become species of their own.

    Args:
        type_names: bead types.
        types: (n_sites,) type of each site.
        molecules: (n_sites,) molecule of each site.
        bonds: (n_bonds, 2) pairs of sites.
        names: (n_molecules,) name of each molecule's species; None: its beads, of the second
            and later isomers followed by ``_2``, ...
        unknown: (n_molecules,) whether nobody tells the bonds of a molecule; None: of none.

    Returns:
        Species by first appearance, and (n_molecules,) the species of each molecule.

    Raises:
        DataError: a bond between molecules, molecules in several pieces, or two species of one
            name.
    """
    order, start = molecule_order(molecules)
    n_molecules = len(start) - 1
    place = np.empty(len(types), dtype=np.int64)
    owner = np.empty(len(types), dtype=np.int64)
    owner[order] = np.repeat(np.arange(n_molecules), np.diff(start))
    place[order] = np.arange(len(types)) - np.repeat(start[:-1], np.diff(start))
    bonds = np.unique(np.sort(bonds.reshape(-1, 2), axis=1), axis=0)
    across = np.flatnonzero(owner[bonds[:, 0]] != owner[bonds[:, 1]])
    if len(across):
        a, b = bonds[across[0]]
        raise DataError(
            f"sites {a} and {b} are bonded, but belong to molecules {molecules[a]} and "
            f"{molecules[b]} ({len(across)} such bonds); expected bonds within molecules"
        )
    terms = place[bonds]
    rank = np.lexsort((terms[:, 1], terms[:, 0], owner[bonds[:, 0]]))
    terms = terms[rank]
    ends = np.searchsorted(owner[bonds[:, 0]][rank], np.arange(n_molecules + 1))
    group, kinds = alike(types, order, start)
    label = np.empty(n_molecules, dtype=np.int64)
    known: dict[tuple[int, bytes | None, str | None], int] = {}
    found: list[Species] = []
    used: dict[str, tuple[Species, int]] = {}
    for m in range(n_molecules):
        mine = terms[ends[m] : ends[m + 1]]
        stated = None if names is None else names[m]
        told = unknown is None or not unknown[m]
        key = (int(group[m]), mine.tobytes() if told else None, stated)
        number = known.get(key)
        if number is None:
            beads = tuple(type_names[t] for t in kinds[group[m]])
            name = _free(beads_name(beads), used) if stated is None else stated
            try:
                terms_of = tuple(map(tuple, mine.tolist())) if told else None
                species = Species(name, beads, terms_of)
            except DataError as err:
                sites = order[start[m] : start[m + 1]]
                raise DataError(
                    f"molecule {molecules[sites[0]]} (sites {sites[0]} to {sites[-1]}): "
                    f"{err.message}"
                ) from err
            if name in used:
                other, earlier = used[name]
                raise DataError(two_of_one_name(other, species, earlier, m))
            used[name] = (species, m)
            number = known[key] = len(found)
            found.append(species)
        label[m] = number
    return tuple(found), label


def two_of_one_name(first: Species, second: Species, a: int, b: int) -> str:
    """What differs between two species of one name, of molecules ``a`` and ``b``."""
    what = "beads" if first.beads != second.beads else "bonds"
    return (
        f"two species of one name, {first.name!r}: molecule {a} has the {what} "
        f"{_short(getattr(first, what))}, molecule {b} {_short(getattr(second, what))}; expected "
        "one composition for a name"
    )


def _short(values: Sequence[object] | None) -> str:
    if values is None:
        return "(not known)"
    words = [x if isinstance(x, str) else "-".join(map(str, x)) for x in values[:8]]  # type: ignore[call-overload]
    return f"[{', '.join(words)}{', ...' if len(values) > 8 else ''}]"


def _free(name: str, used: dict[str, tuple[Species, int]] | set[str]) -> str:
    """The name, or the first of ``name_2``, ``name_3``, ... that is not used."""
    if name not in used:
        return name
    number = 2
    while f"{name}_{number}" in used:
        number += 1
    return f"{name}_{number}"
