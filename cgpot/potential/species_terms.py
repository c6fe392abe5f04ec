# SPDX-License-Identifier: GPL-2.0-or-later
"""Terms of molecules by species: what joins which places, found again in any frame."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.matching import matched
from cgpot.molecules.topology import Topology

IntArray = NDArray[np.int64]


class SpeciesTerms:
    """Terms that all molecules of a species have alike.

    Args:
        topology: holds at least one molecule of each species.
        sites: (n, width) the terms of all its molecules.
        what: their name in messages.

    Raises:
        DataError: molecules of one species whose terms differ, or a term across molecules.
    """

    def __init__(self, topology: Topology, sites: IntArray, what: str = "the bonded terms") -> None:
        self.topology = topology
        self.sites = np.asarray(sites, dtype=np.int64)
        self.what = what
        self._rows: list[IntArray] = []
        """For each species, the rows of ``sites`` of its first molecule."""
        self._places: list[IntArray] = []
        self._split()
        self._known: weakref.WeakKeyDictionary[Topology, tuple[IntArray, IntArray]] = (
            weakref.WeakKeyDictionary()
        )

    def _split(self) -> None:
        topology, sites = self.topology, self.sites
        owner = topology.molecule_index[sites]
        if (owner != owner[:, :1]).any():
            row = sites[int(np.argmax((owner != owner[:, :1]).any(axis=1)))]
            raise DataError(
                f"the sites {row.tolist()} of a term are of different molecules; expected terms "
                "within molecules"
            )
        places = topology.places[sites]
        width = sites.shape[1]
        keys = [places[:, k] for k in reversed(range(width))]
        order = np.lexsort([*keys, owner[:, 0]]) if len(sites) else np.zeros(0, dtype=np.int64)
        ends = np.searchsorted(owner[order, 0], np.arange(topology.n_molecules + 1))
        for k, kind in enumerate(topology.species):
            molecules = np.flatnonzero(topology.molecule_species == k)
            rows = np.zeros(0, dtype=np.int64)
            if len(molecules):
                rows = order[ends[molecules[0]] : ends[molecules[0] + 1]]
                size = ends[molecules + 1] - ends[molecules]
                same = size == len(rows)
                if same.all():
                    every = order[ends[molecules][:, None] + np.arange(len(rows))]
                    same = (places[every] == places[rows]).all(axis=(1, 2))
                if not same.all():
                    odd = molecules[int(np.argmin(same))]
                    raise DataError(
                        f"molecules {molecules[0]} and {odd} are both of species "
                        f"{kind.describe()}, but {self.what} join different places in them; "
                        "expected the same in all molecules of a species"
                    )
            self._rows.append(rows)
            self._places.append(places[rows])

    def on(self, topology: Topology) -> tuple[IntArray, IntArray]:
        """The terms of a frame's molecules.

        Returns:
            Sites (n, width), and (n,) the row of ``self.sites`` that each repeats.

        Raises:
            DataError: other bead types, or a molecule of a species that there is not
                (`cgpot.molecules.matching.matched`).
        """
        if topology is self.topology:
            return self.sites, np.arange(len(self.sites))
        found = self._known.get(topology)
        if found is None:
            found = self._known[topology] = self._found(topology)
        return found

    def _found(self, topology: Topology) -> tuple[IntArray, IntArray]:
        mine = self.topology
        if topology.type_names != mine.type_names:
            raise DataError(
                f"bead types {list(topology.type_names)}; {self.what} expected "
                f"{list(mine.type_names)}, in this order"
            )
        width = self.sites.shape[1]
        sites = [np.zeros((0, width), dtype=np.int64)]
        rows = [np.zeros(0, dtype=np.int64)]
        numbers = matched(topology, mine.species, self.what)
        for number, members in zip(numbers, topology.species_sites, strict=True):
            if number is None or not len(members):
                continue
            places = self._places[number]
            sites.append(members[:, places].reshape(-1, width))
            rows.append(np.tile(self._rows[number], len(members)))
        return np.concatenate(sites), np.concatenate(rows)
