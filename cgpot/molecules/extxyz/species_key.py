# SPDX-License-Identifier: GPL-2.0-or-later
"""Species and their molecules as one value of the comment line, and topologies of a file.

The value of ``species_bonds`` names each species with its beads and bonds, then the molecules of
the frame in order::

    BNZ:BNZ: HEX:CT,CM*4,CT:0..5 RING:A*4:0..3,0-3 | BNZ*150 HEX*80 RING*2

Beads are run lengths.  Bonds are pairs of places ``0-3`` and chains ``0..5`` (each place with
the next), nothing for a single site, ``?`` where they are not known.  Angles and dihedrals that
a species gives follow behind further colons (``0-1-2``; ``-`` for none at all).  Frames whose
species say no more than their beads have no such key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

IntArray = NDArray[np.int64]
SPECIES_KEY = "species_bonds"
CHARGES_KEY = "bead_type_charges"
REMEMBERED = 64
"""Compositions of one file whose topologies are kept."""


def _bonds_text(bonds: Sequence[Sequence[int]] | None) -> str:
    if bonds is None:
        return "?"
    steps = sorted(a for a, b in bonds if b == a + 1)
    words: list[str] = []
    for _, run in groupby(enumerate(steps), key=lambda item: item[1] - item[0]):
        places = [place for _, place in run]
        last = places[-1] + 1
        words.append(f"{places[0]}-{last}" if len(places) == 1 else f"{places[0]}..{last}")
    words += [f"{a}-{b}" for a, b in bonds if b != a + 1]
    return ",".join(words)


def _terms_text(terms: Sequence[Sequence[int]] | None) -> str:
    if terms is None:
        return ""
    return ",".join("-".join(map(str, term)) for term in terms) or "-"


def _runs(words: Sequence[str]) -> list[str]:
    counted = [(word, len(list(same))) for word, same in groupby(words)]
    return [word if n == 1 else f"{word}*{n}" for word, n in counted]


@lru_cache(maxsize=8)
def species_text(topology: Topology) -> str:
    """The value of ``species_bonds`` of a topology."""
    kinds = []
    for kind in topology.species:
        parts = [kind.name, ",".join(_runs(kind.beads)), _bonds_text(kind.bonds)]
        parts += [_terms_text(kind.angles), _terms_text(kind.dihedrals)]
        text = ":".join(parts)
        kinds.append(text.removesuffix("::"))
    molecules = _runs([topology.species[k].name for k in topology.molecule_species])
    return f"{' '.join(kinds)} | {' '.join(molecules)}"


def _unrolled(words: Sequence[str]) -> list[tuple[str, int]]:
    found = []
    for word in words:
        name, star, count = word.partition("*")
        if not name or (star and not (count.isdigit() and int(count) > 0)):
            raise ValueError(f"expected a name or NAME*COUNT, found {word!r}")
        found.append((name, int(count) if star else 1))
    return found


def _places(text: str, width: int) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    for word in filter(None, text.split(",")):
        if width == 2 and (chain := re.fullmatch(r"(\d+)\.\.(\d+)", word)):
            found += [(k, k + 1) for k in range(int(chain[1]), int(chain[2]))]
        elif re.fullmatch(r"\d+(-\d+)*", word):
            found.append(tuple(map(int, word.split("-"))))
        else:
            raise ValueError(f"expected places such as 0-1, found {word!r}")
    return tuple(found)


def _one_species(text: str) -> Species:
    name, *parts = text.split(":")
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"expected NAME:BEADS:BONDS, found {text[:60]!r}")
    beads = [bead for bead, n in _unrolled(parts[0].split(",")) for _ in range(n)]
    bonds = None if parts[1] == "?" else _places(parts[1], 2)
    given: list[tuple[tuple[int, ...], ...] | None] = [None, None]
    for k, part in enumerate(parts[2:]):
        given[k] = None if part == "" else () if part == "-" else _places(part, 3 + k)
    return Species(name, tuple(beads), bonds, *given)


@lru_cache(maxsize=REMEMBERED)
def parse_species(text: str) -> tuple[tuple[Species, ...], IntArray]:
    """Species, and (n_molecules,) the species of each molecule, of a value of ``species_bonds``.

    Raises:
        ValueError: not such a value.
        DataError: a species that contradicts itself.
    """
    kinds, bar, molecules = text.partition("|")
    if not bar:
        raise ValueError("expected species, '|' and the molecules of the frame")
    species = tuple(_one_species(word) for word in kinds.split())
    number = {kind.name: k for k, kind in enumerate(species)}
    runs = _unrolled(molecules.split())
    unknown = [name for name, _ in runs if name not in number]
    if unknown:
        raise ValueError(f"molecules of {unknown[0]!r}, which is none of {list(number)}")
    label = np.repeat(
        np.array([number[name] for name, _ in runs], dtype=np.int64), [n for _, n in runs]
    )
    label.flags.writeable = False
    return species, label


class KnownTopologies:
    """Topologies of one file: frames of the same sites share one object.

    All have the same bead types, and species of one name are the same.

    Args:
        several: take frames of several compositions; else all must have the same sites.
    """

    def __init__(self, several: bool = True) -> None:
        self.several = several
        self._known: list[tuple[tuple[object, ...], Topology]] = []
        self._first: Topology | None = None
        self._species: dict[str, tuple[Species, int | None]] = {}

    def get(
        self,
        names: tuple[str, ...],
        masses: tuple[float, ...],
        charges: tuple[float, ...],
        text: str | None,
        types: IntArray,
        molecules: IntArray,
        *,
        file: str | Path | None,
        frame: int | None,
    ) -> Topology:
        """The topology of a frame.

        Args:
            names, masses, charges: of the bead types.
            text: value of ``species_bonds``, or None.
            types, molecules: (n_sites,) of the sites.
            file, frame: for messages.

        Raises:
            InputError: a damaged value, other bead types or other species of a name than in the
                frames before, or another composition where one is expected.
            DataError: bead types, species and sites that contradict each other.
        """
        head = (names, masses, charges, text)
        for k, (own, topology) in enumerate(self._known):
            if (
                own == head
                and np.array_equal(topology.types, types)
                and np.array_equal(topology.molecules, molecules)
            ):
                if k:
                    self._known.insert(0, self._known.pop(k))
                return topology
        try:
            stated = () if text is None else parse_species(text)
            topology = Topology(names, masses, types, molecules, charges, *stated)
        except ValueError as err:
            raise InputError(str(err), file=file, key=SPECIES_KEY, frame=frame) from err
        except DataError as err:
            key = None if text is None else SPECIES_KEY
            raise DataError(err.message, file=file, key=key, frame=frame) from err
        self._check(topology, file, frame)
        self._known.insert(0, (head, topology))
        del self._known[REMEMBERED:]
        return topology

    def _check(self, topology: Topology, file: str | Path | None, frame: int | None) -> None:
        first = self._first
        if first is None:
            self._first = first = topology
        differs = (
            first.type_names != topology.type_names
            or not np.allclose(first.type_masses, topology.type_masses, rtol=1e-3)
            or not np.allclose(first.type_charges, topology.type_charges, atol=1e-6)
        )
        if differs:
            raise InputError(
                f"{_types(topology)} differ from {_types(first)} of frame 0; one data set holds "
                "one system",
                file=file,
                frame=frame,
            )
        for kind in topology.species:
            known, where = self._species.setdefault(kind.name, (kind, frame))
            if known != kind:
                raise InputError(
                    f"species {kind.describe()} has the bonds {_bonds_text(kind.bonds)}, but "
                    f"{known.describe()} of frame {where} has {_bonds_text(known.bonds)}; "
                    "expected one composition for a name",
                    file=file,
                    key=SPECIES_KEY,
                    frame=frame,
                )
        if not self.several and not first.same_as(topology):
            raise InputError(
                f"{composition(topology)} differ from {composition(first)} of frame 0; this step "
                "takes frames of one composition, in which the sites are always in the same order",
                file=file,
                frame=frame,
            )


def composition(topology: Topology) -> str:
    """Number of molecules of each species, as ``150 BNZ, 80 HEX``."""
    counts = np.bincount(topology.molecule_species, minlength=len(topology.species))
    return ", ".join(
        f"{n} {kind.name}" for kind, n in zip(topology.species, counts, strict=True) if n
    )


def _types(topology: Topology) -> str:
    masses = ", ".join(f"{m:g}" for m in topology.type_masses)
    charged = any(topology.type_charges)
    charges = f", charges {', '.join(f'{q:g}' for q in topology.type_charges)}" if charged else ""
    return f"bead types {list(topology.type_names)} (masses {masses}{charges})"
