# SPDX-License-Identifier: GPL-2.0-or-later
"""Topology: the sites of a coarse-grained system, their molecules, species and bonds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.consistency import check_names, check_species, check_types, match_species
from cgpot.molecules.grouping import molecule_order, species_from_beads, species_from_bonds
from cgpot.molecules.species import Species, plain_species
from cgpot.molecules.terms import Groups, all_terms, near_pairs, trees

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
OTHER_MOLECULE = 0
FARTHER = 4
"""Bond distance of sites of one molecule that are more than three bonds apart."""


def _none() -> IntArray:
    return np.zeros(0, dtype=np.int64)


class _Derived(tuple[Species, ...]):
    """Species found from the beads alone; a changed copy of the topology finds them anew."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Sites of a coarse-grained system.

    Frames that share a topology share the object, so that what is derived here is derived once.
    Two topologies are compared with `same_as` (``==`` asks for the same object).

    Attributes:
        type_names: name of each bead type (alphanumeric, unique); index = type.
        type_masses: mass of each bead type, amu, (n_types,).
        types: (n_sites,) bead type of each site, zero-based.
        molecules: (n_sites,) molecule of each site, zero-based.
        type_charges: charge of each bead type, e, (n_types,); not given: zero.
        species: kinds of molecules.  Not given: molecules of equal beads in equal order are a
            species, of one site named after its bead, of several without known bonds.
        molecule_species: (n_molecules,) species of each molecule in ascending order of
            ``molecules``.  Not given: the one with the molecule's beads.

    Raises:
        DataError: names, masses, types, charges or species that contradict each other.
    """

    type_names: tuple[str, ...]
    type_masses: tuple[float, ...]
    types: IntArray
    molecules: IntArray
    type_charges: tuple[float, ...] = ()
    species: tuple[Species, ...] = ()
    molecule_species: IntArray = field(default_factory=_none)

    def __post_init__(self) -> None:
        if not self.type_charges:
            object.__setattr__(self, "type_charges", (0.0,) * len(self.type_names))
        check_types(
            self.type_names, self.type_masses, self.type_charges, self.types, self.molecules
        )
        sites = (self.type_names, self.types, *self._by_molecule)
        if not self.species or isinstance(self.species, _Derived):
            found, label = species_from_beads(*sites)
            object.__setattr__(self, "species", _Derived(found))
            object.__setattr__(self, "molecule_species", label)
            return
        check_names(self.species)
        if len(self.molecule_species) == 0 and self.n_sites:
            object.__setattr__(self, "molecule_species", match_species(self.species, *sites))
        check_species(self.species, self.molecule_species, *sites)

    @classmethod
    def from_bonds(
        cls,
        type_names: tuple[str, ...],
        type_masses: tuple[float, ...],
        types: IntArray,
        molecules: IntArray,
        bonds: IntArray,
        *,
        species_names: Sequence[str | None] | None = None,
        unknown: NDArray[np.bool_] | None = None,
        type_charges: tuple[float, ...] = (),
    ) -> Topology:
        """A topology whose species follow from bonds between sites.

        Args:
            type_names, type_masses, types, molecules, type_charges: see the class.
            bonds: (n_bonds, 2) pairs of sites.
            species_names: (n_molecules,) name of each molecule's species; None: its beads,
                of further isomers with a number behind.
            unknown: (n_molecules,) molecules of several sites whose bonds nobody tells.

        Raises:
            DataError: bonds between molecules, a molecule in several pieces, or two species of
                one name.
        """
        bare = cls(type_names, type_masses, types, molecules, type_charges)
        species, label = species_from_bonds(
            type_names, types, molecules, bonds, species_names, unknown
        )
        return cls(type_names, type_masses, types, molecules, bare.type_charges, species, label)

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.types)

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return len(self._by_molecule[1]) - 1

    @property
    def masses(self) -> Array:
        """Mass of each site, amu, (n_sites,)."""
        return np.asarray(self.type_masses, dtype=np.float64)[self.types]

    @property
    def charges(self) -> Array:
        """Charge of each site, e, (n_sites,)."""
        return np.asarray(self.type_charges, dtype=np.float64)[self.types]

    @property
    def names(self) -> list[str]:
        """Bead name of each site."""
        return [self.type_names[t] for t in self.types]

    @cached_property
    def _by_molecule(self) -> tuple[IntArray, IntArray]:
        return molecule_order(self.molecules)

    @cached_property
    def members(self) -> list[IntArray]:
        """Sites of each molecule, in order; molecules in ascending order."""
        order, start = self._by_molecule
        return np.split(order, start[1:-1]) if self.n_sites else []

    @cached_property
    def molecule_index(self) -> IntArray:
        """(n_sites,) molecule of each site, numbered from 0 without gaps, in ascending order."""
        order, start = self._by_molecule
        index = np.empty(self.n_sites, dtype=np.int64)
        index[order] = np.repeat(np.arange(len(start) - 1), np.diff(start))
        return _frozen(index)

    @cached_property
    def places(self) -> IntArray:
        """(n_sites,) place of each site in its molecule, from 0."""
        order, start = self._by_molecule
        places = np.empty(self.n_sites, dtype=np.int64)
        places[order] = np.arange(self.n_sites) - np.repeat(start[:-1], np.diff(start))
        return _frozen(places)

    @cached_property
    def species_sites(self) -> list[IntArray]:
        """Sites of each species' molecules, (n_molecules of it, n_sites of it)."""
        order, start = self._by_molecule
        return [
            order[start[:-1][self.molecule_species == k][:, None] + np.arange(kind.n_sites)]
            for k, kind in enumerate(self.species)
        ]

    @cached_property
    def is_plain(self) -> bool:
        """Whether the species say no more than the beads do (see `plain_species`)."""
        return isinstance(self.species, _Derived) or all(
            kind == plain_species(kind.beads) for kind in self.species
        )

    @cached_property
    def has_bonds(self) -> bool:
        """Whether the bonds of every molecule are known (one site has none, and that is known)."""
        return all(kind.bonds is not None for kind in self.species)

    def require_bonds(self, what: str, *, file: str | Path | None = None) -> None:
        """Refuse species of several sites whose bonds are not known.

        Raises:
            InputError: names the species.
        """
        for kind in self.species:
            if kind.bonds is None:
                raise InputError(
                    f"{what} needs the bonds of species {kind.describe()}, which the data do not "
                    "state; map the trajectory again with a topology that holds bonds",
                    file=file,
                )

    def _groups(self, what: str) -> Groups:
        self.require_bonds(what)
        return zip(self.species, self.species_sites, strict=True)

    @cached_property
    def bonds(self) -> IntArray:
        """Bonds (n, 2), the lower site first, in order.

        Raises:
            InputError: the bonds of a species are not known; so for all that follows from them.
        """
        return _frozen(all_terms(self._groups("the list of bonds"), 2))

    @cached_property
    def angles(self) -> IntArray:
        """Angles i-j-k (n, 3) with i < k, by j, i, k: along the bonds or as the species gives."""
        return _frozen(all_terms(self._groups("the list of angles"), 3))

    @cached_property
    def dihedrals(self) -> IntArray:
        """Dihedrals i-j-k-l (n, 4) with j < k, by j, k, i, l: as for `angles`."""
        return _frozen(all_terms(self._groups("the list of dihedrals"), 4))

    @cached_property
    def _near(self) -> tuple[IntArray, IntArray, IntArray]:
        pairs, far, codes = near_pairs(self._groups("the distance along bonds"), self.n_sites)
        return _frozen(pairs), _frozen(far), _frozen(codes)

    def separated(self, distances: Sequence[int]) -> IntArray:
        """Pairs i < j (n, 2) whose shortest way along bonds is one of ``distances`` (1, 2, 3).

        Raises:
            InputError: the bonds of a species are not known.
            DataError: another distance.
        """
        wrong = [d for d in distances if d not in (1, 2, 3)]
        if wrong:
            raise DataError(f"bond distance {wrong[0]}; expected 1, 2 or 3")
        pairs, far, _ = self._near
        return pairs[np.isin(far, list(distances))]

    def bond_distance_of(self, i: ArrayLike, j: ArrayLike) -> IntArray:
        """Bonds between sites: 1, 2, 3; 4: more, of the same molecule; 0: of another molecule.

        A site and itself (its image) are of one molecule: 4.

        Args:
            i, j: sites, of any shape that numpy broadcasts.

        Raises:
            InputError: the bonds of a species are not known.
        """
        a, b = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
        index = self.molecule_index
        result = np.where(index[a] == index[b], FARTHER, OTHER_MOLECULE).astype(np.int64)
        _, far, codes = self._near
        if len(codes):
            code = np.minimum(a, b) * self.n_sites + np.maximum(a, b)
            place = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
            result = np.where(codes[place] == code, far[place], result)
        return result

    @cached_property
    def tree(self) -> IntArray:
        """Parent (n_sites,) of each site along bonds; the first site of a molecule is its own.

        The breadth-first tree is found once for each species.

        Raises:
            InputError: the bonds of a species are not known.
        """
        return _frozen(trees(self._groups("making molecules whole"), self.n_sites))

    def same_sites(self, other: Topology) -> bool:
        """Whether names, masses (to 1e-3), charges, types and molecules are the same."""
        return self is other or (
            self.type_names == other.type_names
            and np.allclose(self.type_masses, other.type_masses, rtol=1e-3)
            and np.allclose(self.type_charges, other.type_charges, atol=1e-6)
            and np.array_equal(self.types, other.types)
            and np.array_equal(self.molecules, other.molecules)
        )

    def same_as(self, other: Topology) -> bool:
        """Whether two topologies have the same sites (`same_sites`) and the same species.

        The order of the species does not count.
        """
        if self is other:
            return True
        if not self.same_sites(other):
            return False
        number = {kind: k for k, kind in enumerate(self.species)}
        theirs = np.array([number.get(kind, -1) for kind in other.species], dtype=np.int64)
        if self.n_sites == 0:
            return True
        return bool(np.array_equal(self.molecule_species, theirs[other.molecule_species]))


def _frozen(array: IntArray) -> IntArray:
    array.flags.writeable = False
    return array
