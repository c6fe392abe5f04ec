# SPDX-License-Identifier: GPL-2.0-or-later
"""Triplets of sites: two neighbours of one centre, and their bead types."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def triplets(centre: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of entries with the same centre, each once.

    Args:
        centre: centres of a full neighbour list, ascending, (edges,).

    Returns:
        First and second entry of each pair, indices into the list.
    """
    end = np.cumsum(np.bincount(centre, minlength=1))[centre]
    # entry e is the first of as many pairs as entries with the same centre follow it
    follow = end - np.arange(len(centre)) - 1
    first = np.repeat(np.arange(len(centre)), follow)
    start = np.cumsum(follow) - follow
    second = first + 1 + np.arange(len(first)) - start[first]
    return first, second


def triplet_types(n_types: int) -> tuple[list[tuple[int, int, int]], IntArray]:
    """Kinds of triplets: a centre type and an unordered pair of neighbour types.

    Returns:
        The kinds (centre, neighbour, neighbour), and their numbers, (n_types,) * 3.
    """
    kinds = [
        (centre, a, b)
        for centre in range(n_types)
        for a, b in combinations_with_replacement(range(n_types), 2)
    ]
    number = np.zeros((n_types, n_types, n_types), dtype=np.int64)
    for row, (centre, a, b) in enumerate(kinds):
        number[centre, a, b] = number[centre, b, a] = row
    return kinds, number
