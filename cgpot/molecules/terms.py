# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds, angles, dihedrals and near pairs of all molecules, found once for each species."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.paths import BondPaths
from cgpot.molecules.species import Species

IntArray = NDArray[np.int64]
_ATTRIBUTE = {2: "bonds", 3: "angles", 4: "dihedrals"}
_ENDS = {2: (0, 1), 3: (0, 2), 4: (1, 2)}
"""The two sites whose order says from which end a term is read: the first is the lower."""
_ORDER = {2: (1, 0), 3: (2, 0, 1), 4: (3, 0, 2, 1)}
"""Keys of `numpy.lexsort`, the last the first to count."""

Groups = Iterable[tuple[Species, IntArray]]
"""Species with the sites (n_molecules, n_sites) of its molecules."""


def paths(kind: Species) -> BondPaths:
    """Ways along the bonds of one molecule."""
    return BondPaths(kind.n_sites, np.array(kind.bonds or (), dtype=np.int64).reshape(-1, 2))


def all_terms(groups: Groups, width: int) -> IntArray:
    """Terms (n, width) of all molecules: those that the species gives, else along its bonds.

    Bonds (width 2) have the lower site first, angles (3) the lower end, dihedrals (4) the lower
    of the inner sites; they are ordered by these, from the middle outwards.
    """
    found = [np.zeros((0, width), dtype=np.int64)]
    for kind, sites in groups:
        given = getattr(kind, _ATTRIBUTE[width])
        if given is not None:
            places = np.array(given, dtype=np.int64).reshape(-1, width)
        else:
            places = paths(kind).angles() if width == 3 else paths(kind).dihedrals()
        found.append(sites[:, places].reshape(-1, width))
    terms = np.concatenate(found)
    a, b = _ENDS[width]
    backward = terms[:, a] > terms[:, b]
    terms[backward] = terms[backward, ::-1]
    return terms[np.lexsort([terms[:, k] for k in _ORDER[width]])]


def near_pairs(groups: Groups, n_sites: int) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of sites one to three bonds apart.

    Returns:
        Sites i < j (n, 2), distances (n,), and ascending codes ``i * n_sites + j`` (n,).
    """
    pairs, distances = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for kind, sites in groups:
        places, distance = paths(kind).pairs()
        pairs.append(np.sort(sites[:, places].reshape(-1, 2), axis=1))
        distances.append(np.tile(distance, len(sites)))
    every, far = np.concatenate(pairs), np.concatenate(distances)
    code = every[:, 0] * n_sites + every[:, 1]
    rank = np.argsort(code)
    return every[rank], far[rank], code[rank]


def trees(groups: Groups, n_sites: int) -> IntArray:
    """Parent (n_sites,) of each site along bonds; the first site of a molecule is its own."""
    parent = np.arange(n_sites)
    for kind, sites in groups:
        if kind.n_sites > 1:
            parent[sites] = sites[:, paths(kind).tree()]
    return parent
