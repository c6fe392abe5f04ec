# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways along bonds: angles, dihedrals, pairs by the number of bonds between them, trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FARTHEST = 3
"""Bonds between two sites up to which pairs are told apart (1-2, 1-3, 1-4)."""


class BondPaths:
    """Simple paths of a bond graph, by numpy joins.

    Args:
        n: number of sites.
        bonds: (m, 2) pairs of sites, each bond once.
    """

    def __init__(self, n: int, bonds: IntArray) -> None:
        self.n = n
        self.bonds = np.unique(np.sort(bonds.reshape(-1, 2), axis=1), axis=0)
        both = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        self._steps = both[np.lexsort((both[:, 1], both[:, 0]))]
        self._degree = np.bincount(self._steps[:, 0], minlength=n)
        self._start = np.concatenate([[0], np.cumsum(self._degree)])

    def _longer(self, paths: IntArray) -> IntArray:
        """All paths (k, w + 1) that go one bond on from paths (n, w), without turning back."""
        last = paths[:, -1]
        count = self._degree[last]
        row = np.repeat(np.arange(len(paths)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        onward = self._steps[self._start[last[row]] + within, 1]
        found = np.column_stack([paths[row], onward])
        return found[(found[:, :-1] != onward[:, None]).all(axis=1)]

    def angles(self) -> IntArray:
        """All i-j-k along bonds with i < k, (n, 3), ordered by j, i, k."""
        found = self._longer(self._steps)
        found = found[found[:, 0] < found[:, 2]]
        return found[np.lexsort((found[:, 2], found[:, 0], found[:, 1]))]

    def dihedrals(self) -> IntArray:
        """All i-j-k-l of four different sites along bonds with j < k, (n, 4), by j, k, i, l."""
        found = self._longer(self._longer(self._steps))
        found = found[found[:, 1] < found[:, 2]]
        return found[np.lexsort((found[:, 3], found[:, 0], found[:, 2], found[:, 1]))]

    def pairs(self) -> tuple[IntArray, IntArray]:
        """Pairs i < j (n, 2) one to three bonds apart, in order, and their distance (n,).

        The distance is that of the shortest way, so that rings are right.
        """
        ends = [self.bonds]
        paths = self._steps
        for _ in range(1, FARTHEST):
            paths = self._longer(paths)
            mine = paths[:, [0, -1]]
            ends.append(mine[mine[:, 0] < mine[:, 1]])
        every = np.concatenate(ends)
        distance = np.repeat(np.arange(1, FARTHEST + 1), [len(e) for e in ends])
        code = every[:, 0] * self.n + every[:, 1]
        # unique keeps the first of equal codes: the shortest
        _, first = np.unique(code, return_index=True)
        return every[first], distance[first]

    def roots(self) -> IntArray:
        """(n,) lowest site of the connected piece of each site."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components

        if self.n == 0:
            return np.zeros(0, dtype=np.int64)
        a, b = self.bonds.T
        graph = csr_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(self.n, self.n))
        _, piece = connected_components(graph, directed=False)
        _, first = np.unique(piece, return_index=True)
        return first[piece].astype(np.int64)

    def tree(self) -> IntArray:
        """Parent (n,) of each site in a breadth-first forest; roots, the lowest, are their own."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import breadth_first_order

        if self.n == 0:
            return np.zeros(0, dtype=np.int64)
        a, b = self.bonds.T
        roots = np.unique(self.roots())
        # one more node, bonded to every root, makes one tree of all
        rows = np.concatenate([a, np.full(len(roots), self.n)])
        columns = np.concatenate([b, roots])
        size = self.n + 1
        joined = csr_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), (size, size))
        _, parent = breadth_first_order(joined, self.n, directed=False)
        parent = parent[: self.n].astype(np.int64)
        parent[roots] = roots
        return parent


def along_tree(parent: IntArray, step: IntArray) -> IntArray:
    """Sum of ``step`` (n, ...) from the root of each site's tree to the site, by doubling.

    Args:
        parent: (n,) parent of each site; a root is its own.
        step: (n, ...) change from the parent to the site; that of roots is not used.
    """
    total = step.copy()
    own = np.arange(len(parent))
    total[parent == own] = 0
    ancestor = parent
    while True:
        further = ancestor[ancestor]
        total = total + total[ancestor]
        if np.array_equal(further, ancestor):
            return total
        ancestor = further
