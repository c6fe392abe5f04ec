# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds, angles and dihedrals of a CG data file, as the sidecar of deployed tables names them.

The sidecar says for each species, by name, beads and bonds, which sites each term joins and its
type (older ones by the beads alone); the same record numbered the tables, so that data file and
tables cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.formats.lammps.data import read_sections
from cgpot.molecules.frame import Topology
from cgpot.molecules.matching import matched
from cgpot.molecules.species import Species

IntArray = NDArray[np.int64]
WIDTHS = {"bonds": 2, "angles": 3, "dihedrals": 4}
"""Sites of a term, in the order of LAMMPS's sections."""


@dataclass(frozen=True)
class BondedSections:
    """What the sections Bonds, Angles and Dihedrals of a data file hold.

    Attributes:
        types: word (``bonds``, ...) -> names of the types, in the order of their numbers.
        terms: word -> (n, 1 + width): type (from 0), then sites (from 0).
    """

    types: dict[str, tuple[str, ...]]
    terms: dict[str, IntArray]

    @property
    def edges(self) -> IntArray:
        """(n, 2) sites that follow each other in a term."""
        pairs = [
            table[:, k : k + 2]
            for table in self.terms.values()
            for k in range(1, table.shape[1] - 1)
        ]
        return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def molecule_sites(topology: Topology) -> Iterator[tuple[str, IntArray]]:
    """Beads in order (``A-B-A``) and sites of each molecule."""
    order = np.argsort(topology.molecules, kind="stable")
    ends = np.flatnonzero(np.diff(topology.molecules[order])) + 1
    for sites in np.split(order, ends):
        yield "-".join(topology.type_names[t] for t in topology.types[sites]), sites


def _sites_by_name(
    record: Mapping[str, Any], topology: Topology, sidecar: Path
) -> Iterator[tuple[str, IntArray]]:
    """Key among the molecules of the record, and sites, of each molecule of several sites.

    Raises:
        InputError: isomers, but a record that tells molecules by their beads alone.
        DataError: a molecule that no species of the record is (`matched`).
    """
    if "species" not in record:
        beads = [kind.beads for kind in topology.species]
        for kind in topology.species:
            if beads.count(kind.beads) > 1:
                raise InputError(
                    f"the system has several species of the beads {'-'.join(kind.beads)}, which "
                    f"{sidecar.name} does not tell apart; expected a model that was deployed with "
                    "its species",
                    file=sidecar,
                    key="bonded",
                )
        yield from molecule_sites(topology)
        return
    known = [
        Species(
            name,
            tuple(item["beads"]),
            None if item["bonds"] is None else tuple(map(tuple, item["bonds"])),
        )
        for name, item in record["species"].items()
    ]
    numbers = matched(topology, known, f"the model ({sidecar.name})")
    for molecule, sites in enumerate(topology.members):
        number = numbers[topology.molecule_species[molecule]]
        if number is not None:
            yield known[number].name, sites


def sections_of(
    record: Mapping[str, Any], topology: Topology, sidecar: str | Path, start: str | Path
) -> BondedSections:
    """The terms of a system.

    Args:
        record: key ``bonded`` of the sidecar.
        topology: the system's sites.
        sidecar: path of the sidecar, for messages.
        start: file that the system comes from, for messages.

    Raises:
        InputError: a damaged record, or a molecule that it does not hold (its number, its first
            site and what was expected are named).
    """
    try:
        types = {word: tuple(map(str, record["types"][word])) for word in WIDTHS
                 if word in record["types"]}  # fmt: skip
        molecules = record["molecules"]
        found: dict[str, list[IntArray]] = {word: [] for word in types}
        for name, sites in _sites_by_name(record, topology, Path(sidecar)):
            if name not in molecules:
                if len(sites) == 1:
                    continue
                raise InputError(
                    f"the molecule {name} (sites {sites.tolist()}) is not among those of "
                    f"{Path(sidecar).name}: {', '.join(molecules)}",
                    file=start,
                )
            for word, rows in molecules[name].items():
                table = np.asarray(rows, dtype=np.int64).reshape(-1, 1 + WIDTHS[word])
                if not (
                    np.all((table[:, 0] >= 1) & (table[:, 0] <= len(types[word])))
                    and np.all((table[:, 1:] >= 0) & (table[:, 1:] < len(sites)))
                ):
                    raise ValueError(f"a type or site of {name} is out of range")
                found[word].append(np.column_stack([table[:, 0] - 1, sites[table[:, 1:]]]))
    except DataError as err:
        raise InputError(err.message, file=start) from err
    except (KeyError, ValueError, TypeError, AttributeError) as err:
        raise InputError(f"damaged: {err}", file=sidecar, key="bonded") from err
    terms = {
        word: np.concatenate([np.zeros((0, 1 + WIDTHS[word]), dtype=np.int64), *tables])
        for word, tables in found.items()
    }
    return BondedSections(types, terms)


def check_own_terms(path: str | Path, terms: BondedSections) -> None:
    """Compare the sections Bonds, Angles and Dihedrals of a data file, if any, with the terms.

    Raises:
        InputError: a term that one has and the other has not; the first is named.
    """
    p = Path(path)
    kinds = {word: word[:-1].capitalize() for word in WIDTHS}
    titles = [word.capitalize() for word in WIDTHS]
    own = read_sections(p, [*titles, *(f"{kind} Type Labels" for kind in kinds.values())])
    if not any(title in own.sections for title in titles):
        return
    for word in WIDTHS:
        names = terms.types.get(word, ())
        labels = {str(number): name for number, name in own.labels(kinds[word]).items()}
        mine = {
            _canonical(names[row[0]], row[1:])
            for row in terms.terms.get(word, np.zeros((0, 3), dtype=np.int64)).tolist()
        }
        found = set()
        for row in own.sections.get(word.capitalize(), []):
            text = labels.get(row.words[1], row.words[1])
            if text.isdigit():
                number = int(text)
                text = names[number - 1] if 1 <= number <= len(names) else f"type {number}"
            found.add(_canonical(text, [int(site) - 1 for site in row.words[2:]]))
        for have, lack, what in (
            (found - mine, "the model has not", "the data file has"),
            (mine - found, "the data file has not", "the model has"),
        ):
            if have:
                name, sites = min(have)
                raise InputError(
                    f"{what} a {word[:-1]} of type {name} between the sites "
                    f"{[site + 1 for site in sites]}, which {lack}; remove the sections of "
                    "bonded terms from the data file, or deploy a model of these bonds",
                    file=p,
                )


def _canonical(name: str, sites: list[int]) -> tuple[str, tuple[int, ...]]:
    return name, min(tuple(sites), tuple(sites[::-1]))
