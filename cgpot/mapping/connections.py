# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds between sites and species of their molecules, from the bonds of the atoms.

Two sites are bonded where any bond or constraint joins an atom of one to an atom of the other.
Molecules are those of the atomistic topology: its molecule numbers, or, where bonds join
different numbers or one number stands for everything, what its bonds hold together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.spec import MappingSpec
from cgpot.molecules.paths import BondPaths
from cgpot.molecules.species import Species, beads_name
from cgpot.molecules.topology import Topology

IntArray = NDArray[np.int64]
Assigned = tuple[str, IntArray, int]
"""A site: its type, its atoms, its molecule."""


def atom_bonds(topology: AtomTopology) -> IntArray | None:
    """Bonds and constraints (n, 2) of the atoms, or None where the topology holds neither."""
    parts = [
        part for part in (topology.bonds, topology.constraints) if part is not None and len(part)
    ]
    if not parts:
        return None if topology.bonds is None else topology.bonds
    if len(parts) == 1:
        return parts[0]
    return np.unique(np.sort(np.concatenate(parts), axis=1), axis=0)


def atom_molecules(topology: AtomTopology) -> IntArray | None:
    """(n_atoms,) molecule of each atom, numbered from 0, or None where nobody tells."""
    bonds = atom_bonds(topology)
    numbers = topology.molecules
    if bonds is None or not len(bonds):
        return numbers
    if (
        numbers is not None
        and len(np.unique(numbers)) > 1
        and np.all(numbers[bonds[:, 0]] == numbers[bonds[:, 1]])
    ):
        return numbers
    pieces = BondPaths(topology.n_atoms, bonds).roots()
    return np.unique(pieces, return_inverse=True)[1].astype(np.int64)


def check_molecules(sites: Sequence[Assigned], topology: AtomTopology, file: Path) -> None:
    """Refuse a mapping whose sites or molecules are not within molecules of the topology.

    Args:
        sites: all sites.
        topology: the atoms.
        file: mapping file, for messages.

    Raises:
        ConfigError: a site across two molecules, a molecule of the mapping across two, or one
            that leaves out a part of a molecule; site, atoms and molecules are named.
    """
    known = atom_molecules(topology)
    if known is None:
        return
    own: dict[int, tuple[int, int]] = {}
    parts: dict[int, int] = {}
    for s, (name, atoms, molecule) in enumerate(sites):
        found = known[atoms]
        if (found != found[0]).any():
            other = int(np.argmax(found != found[0]))
            raise ConfigError(
                f"site {s} ({name}, molecule {molecule}) holds atoms {atoms[0]} and "
                f"{atoms[other]}, which belong to molecules {found[0]} and {found[other]} of "
                f"{topology.path.name}; expected a site within one molecule (are the atoms of a "
                "molecule next to each other in the file?)",
                file=file,
            )
        first, where = own.setdefault(molecule, (s, int(found[0])))
        if where != found[0]:
            raise ConfigError(
                f"sites {first} ({sites[first][0]}) and {s} ({name}) are of one molecule, "
                f"{molecule}, in the mapping, but of molecules {where} and {found[0]} in "
                f"{topology.path.name}; expected one molecule for each repeat",
                file=file,
            )
        before = parts.setdefault(int(found[0]), molecule)
        if before != molecule:
            raise ConfigError(
                f"site {s} ({name}) is of molecule {molecule} in the mapping, but "
                f"{topology.path.name} has it in one molecule, {found[0]}, with those of molecule "
                f"{before}; expected whole molecules, so that no bond leaves them (see 'offset')",
                file=file,
            )


def site_topology(
    spec: MappingSpec,
    sites: Sequence[Assigned],
    blocks: Sequence[int],
    atoms: AtomTopology,
    ends: IntArray | None,
    masses: tuple[float, ...],
    charges: tuple[float, ...],
    file: Path,
) -> Topology:
    """The sites with their species.

    Args:
        spec: the mapping.
        sites: all sites.
        blocks: block of ``system`` of each molecule; empty for selections.
        atoms: the atoms.
        ends: (n, 2) sites that bonds of atoms (or a shared atom) join; None: not known.
        masses, charges: of the bead types, amu and e.
        file: mapping file, for messages.

    Raises:
        ConfigError: stated bonds that contradict those of the atoms, molecules of one block or
            species that differ, or sites of a molecule that no bond joins.
    """
    names = tuple(spec.site_types)
    type_of = {name: k for k, name in enumerate(names)}
    types = np.asarray([type_of[name] for name, _, _ in sites], dtype=np.int64)
    molecules = np.asarray([molecule for _, _, molecule in sites], dtype=np.int64)
    plain = Topology(names, masses, types, molecules, charges)
    if all(kind.n_sites == 1 for kind in plain.species) and not any(
        block.species for block in spec.system or ()
    ):
        return plain
    bonds = np.zeros((0, 2), dtype=np.int64)
    bonded = np.zeros(plain.n_molecules, dtype=bool)
    if ends is not None and len(ends):
        bonded[molecules[ends[:, 0]]] = True
        bonds = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
    bonds, told = _with_stated(spec, plain, blocks, bonds, bonded, atoms, file)
    several = np.array([kind.n_sites > 1 for kind in plain.species])[plain.molecule_species]
    labels = _labels(spec, plain, blocks, several, sites, atoms)
    try:
        topology = Topology.from_bonds(
            names,
            masses,
            types,
            molecules,
            bonds,
            species_names=labels,
            unknown=several & ~told,
            type_charges=charges,
        )
    except DataError as err:
        raise ConfigError(
            f"{err.message} (sites are bonded where their atoms are, in {atoms.path.name})",
            file=file,
        ) from err
    for number in range(len(spec.system or ())):
        mine = np.flatnonzero(np.asarray(blocks) == number)
        other = mine[topology.molecule_species[mine] != topology.molecule_species[mine[0]]]
        if len(other):
            first, second = (
                topology.species[topology.molecule_species[m]] for m in (mine[0], other[0])
            )
            raise ConfigError(
                f"molecule {other[0]} of this block is {second.describe()} with the bonds "
                f"{_text(second.bonds)}, molecule {mine[0]} is {first.describe()} with the bonds "
                f"{_text(first.bonds)}; expected all equal",
                file=file,
                key=f"system.{number}",
            )
    return topology


def _with_stated(
    spec: MappingSpec,
    plain: Topology,
    blocks: Sequence[int],
    bonds: IntArray,
    bonded: NDArray[np.bool_],
    atoms: AtomTopology,
    file: Path,
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Site bonds with those that blocks state, and (n_molecules,) whether they are known."""
    told = bonded.copy()
    found = [bonds]
    index = plain.molecule_index
    bonds = bonds[np.argsort(index[bonds[:, 0]], kind="stable")]
    ends = np.searchsorted(index[bonds[:, 0]], np.arange(plain.n_molecules + 1))
    for number, block in enumerate(spec.system or ()):
        if block.bonds is None:
            continue
        key = f"system.{number}.bonds"
        beads = tuple(name for name, _ in block.places())
        try:
            stated = Species(block.species or beads_name(beads), beads, block.bonds).bonds
        except DataError as err:
            raise ConfigError(err.message, file=file, key=key) from err
        for molecule in np.flatnonzero(np.asarray(blocks) == number):
            sites = plain.members[molecule]
            mine = np.searchsorted(sites, bonds[ends[molecule] : ends[molecule + 1]])
            own = tuple(sorted(map(tuple, mine.tolist())))
            if bonded[molecule] and own != stated:
                odd = sorted(set(own) ^ set(stated or ()))[0]
                a, b = (f"{place} ({beads[place]})" for place in odd)
                has, lacks = (
                    (atoms.path.name, "the mapping")
                    if odd in own
                    else ("the mapping", atoms.path.name)
                )
                raise ConfigError(
                    f"{has} bonds sites {a} and {b} of molecule {molecule}, {lacks} does not: "
                    f"stated are {_text(stated)}, between the atoms there are {_text(own)}; "
                    "expected the same",
                    file=file,
                    key=key,
                )
            if not bonded[molecule]:
                places = np.array(stated, dtype=np.int64).reshape(-1, 2)
                found.append(sites[places])
                told[molecule] = True
    return np.concatenate(found), told


def _labels(
    spec: MappingSpec,
    plain: Topology,
    blocks: Sequence[int],
    several: NDArray[np.bool_],
    sites: Sequence[Assigned],
    atoms: AtomTopology,
) -> list[str | None]:
    """Name of each molecule's species: the block's, of several sites the topology's, or None."""
    labels: list[str | None] = [None] * plain.n_molecules
    for molecule, members in enumerate(plain.members):
        stated = spec.system[blocks[molecule]].species if spec.system else None
        if stated is not None:
            labels[molecule] = stated
        elif several[molecule] and atoms.molecule_types is not None:
            found = str(atoms.molecule_types[sites[members[0]][1][0]])
            labels[molecule] = re.sub(r"[^A-Za-z0-9+_-]", "_", found) or None
    return labels


def _text(bonds: Sequence[Sequence[int]] | None) -> str:
    if bonds is None:
        return "(not known)"
    return f"[{', '.join('-'.join(map(str, bond)) for bond in bonds[:12])}]"
