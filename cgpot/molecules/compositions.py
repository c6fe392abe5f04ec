# SPDX-License-Identifier: GPL-2.0-or-later
"""Several compositions in one set: pure liquids and their mixtures, with common bead types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

IntArray = NDArray[np.int64]
MASS_TOLERANCE = 1e-3
CHARGE_TOLERANCE = 1e-6


def topologies_of(frames: Iterable[CGFrame]) -> list[Topology]:
    """The topologies of frames, each object once, by first appearance."""
    return list({id(frame.topology): frame.topology for frame in frames}.values())


def composition_of(topology: Topology) -> str:
    """Molecules of each species in lowest terms, by name: ``2 BNZ, 1 HEX``; a pure one: ``BNZ``.

    Boxes of different size have one composition, so that pressures may be compared.
    """
    counts = np.bincount(topology.molecule_species, minlength=len(topology.species))
    found = {kind.name: int(n) for kind, n in zip(topology.species, counts, strict=True) if n}
    if len(found) == 1:
        return next(iter(found))
    common = gcd(*found.values()) if found else 1
    return ", ".join(f"{found[name] // common} {name}" for name in sorted(found))


def groups_of(frames: Sequence[CGFrame]) -> dict[str, list[int]]:
    """Numbers of the frames of each composition, by first appearance."""
    words = {id(t): composition_of(t) for t in topologies_of(frames)}
    found: dict[str, list[int]] = {}
    for number, frame in enumerate(frames):
        found.setdefault(words[id(frame.topology)], []).append(number)
    return found


def blocks_of(frames: Sequence[CGFrame], blocks: int) -> IntArray:
    """(frames,) contiguous block of each frame within its composition.

    Every block then holds every composition, so that no type is missing without it.
    """
    found = np.zeros(len(frames), dtype=np.int64)
    for mine in groups_of(frames).values():
        found[mine] = np.arange(len(mine)) * blocks // len(mine)
    return found


def require_one_composition(
    frames: Sequence[CGFrame], what: str, *, file: str | Path | None = None
) -> None:
    """Refuse frames of several compositions where their numbers cannot be compared.

    Raises:
        InputError: names the compositions.
    """
    found = list(groups_of(frames))
    if len(found) > 1:
        raise InputError(
            f"{what} compares frames of one composition, the frames are of {len(found)}: "
            f"{'; '.join(found)}",
            file=file,
        )


def catalogue(topologies: Iterable[Topology]) -> Topology:
    """One molecule of each species of all topologies, in the order of their names.

    What is defined by species (bonded terms, which pairs are seen) is defined on it.

    Raises:
        DataError: no topology, other bead types, or two species of one name.
    """
    every = list(topologies)
    if not every:
        raise DataError("no topologies; expected at least one")
    first = every[0]
    species: dict[str, Species] = {}
    for topology in every:
        if topology.type_names != first.type_names:
            raise DataError(
                f"bead types {list(topology.type_names)} differ from {list(first.type_names)}; "
                "expected the same in all frames"
            )
        for number in np.unique(topology.molecule_species):
            kind = topology.species[number]
            if species.setdefault(kind.name, kind) != kind:
                raise DataError(
                    f"two species of one name, {kind.name!r}: beads {list(kind.beads)} with bonds "
                    f"{kind.bonds}, and beads {list(species[kind.name].beads)} with bonds "
                    f"{species[kind.name].bonds}; expected one of each name"
                )
    place = {name: k for k, name in enumerate(first.type_names)}
    kinds = tuple(species[name] for name in sorted(species))
    return Topology(
        first.type_names,
        first.type_masses,
        np.array([place[bead] for kind in kinds for bead in kind.beads], dtype=np.int64),
        np.repeat(np.arange(len(kinds)), [kind.n_sites for kind in kinds]).astype(np.int64),
        first.type_charges,
        kinds,
        np.arange(len(kinds), dtype=np.int64),
    )


class CommonTypes:
    """The bead types of several systems as one list, by first appearance.

    Args:
        topologies: one of each system.
        files: where they come from, for messages.

    Attributes:
        names, masses, charges: of the bead types.

    Raises:
        InputError: a type of one name with another mass or charge, or another species of a name.
    """

    def __init__(self, topologies: Sequence[Topology], files: Sequence[str | Path]) -> None:
        found: dict[str, tuple[float, float, str | Path]] = {}
        species: dict[str, tuple[Species, str | Path]] = {}
        for topology, file in zip(topologies, files, strict=True):
            for name, mass, charge in zip(
                topology.type_names, topology.type_masses, topology.type_charges, strict=True
            ):
                m, q, where = found.setdefault(name, (mass, charge, file))
                if abs(m - mass) > MASS_TOLERANCE * m or abs(q - charge) > CHARGE_TOLERANCE:
                    raise InputError(
                        f"bead type {name!r} has {mass:g} amu and charge {charge:g}; in "
                        f"{Path(where).name} it has {m:g} amu and charge {q:g}; expected one kind "
                        "of bead for a name",
                        file=file,
                    )
            for kind in topology.species:
                known, where = species.setdefault(kind.name, (kind, file))
                if known != kind:
                    raise InputError(
                        f"species {kind.describe()} has the bonds {kind.bonds}; in "
                        f"{Path(where).name} {known.describe()} has {known.bonds}; expected one "
                        "kind of molecule for a name",
                        file=file,
                    )
        self.names = tuple(found)
        self.masses = tuple(mass for mass, _, _ in found.values())
        self.charges = tuple(charge for _, charge, _ in found.values())
        self._known: dict[int, tuple[Topology, Topology]] = {}

    def of(self, topology: Topology) -> Topology:
        """The topology with all of these types; its own object where they are its own."""
        if topology.type_names == self.names:
            return topology
        known = self._known.get(id(topology))
        if known is None:
            place = np.array([self.names.index(name) for name in topology.type_names])
            plain = topology.is_plain
            made = Topology(
                self.names,
                self.masses,
                place[topology.types].astype(np.int64),
                topology.molecules,
                self.charges,
                () if plain else topology.species,
                np.zeros(0, dtype=np.int64) if plain else topology.molecule_species,
            )
            known = self._known[id(topology)] = (topology, made)
        return known[1]
