# SPDX-License-Identifier: GPL-2.0-or-later
"""A frame as counts: pairs of sites by distance, bonded terms by length or angle.

A potential that is linear in its coefficients needs no more of a frame than these histograms,
fine against the knots of its splines.  The rows are, each over the same number of bins:

- pairs of different molecules, by pair of bead types (g(r), as the analysis counts it);
- pairs of one molecule on which the pair potential acts, likewise, where there are any (a chain
  longer than what is left out): relative entropy asks for the mean over all pairs on which the
  potential acts;
- bonds, angles and dihedrals by kind, on the bins of the analysis, each cut in `TERM_FINE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables import bond_angles, bond_lengths, dihedral_angles
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import Hidden, PairCounter
from cgpot.molecules.topology import Topology
from cgpot.potential.term_basis import TermBasis

Array = NDArray[np.float64]
Counts = NDArray[np.uint32]
FINE = 4
"""Fine bins in a bin of g(r)."""
TERM_FINE = 4
"""Fine bins in a bin of the analysis of a bonded term."""
BEYOND = 1.0
"""Å beyond the span of a bond's splines that are counted apart; longer ones: in the last bin."""


@dataclass(frozen=True)
class Grid:
    """Histogram of pair distances: ``bins`` bins of g(r) up to ``r_max``, each cut in `FINE`.

    Attributes:
        r_max: Å.
        bins: number of (coarse) bins.
    """

    r_max: float
    bins: int

    @property
    def edges(self) -> Array:
        """Edges of the fine bins, Å."""
        return np.linspace(0.0, self.r_max, self.bins * FINE + 1)

    @property
    def r(self) -> Array:
        """Centres of the coarse bins, Å: those of the analysis to the last digit."""
        edges = np.linspace(0.0, self.r_max, self.bins + 1)
        return np.asarray(0.5 * (edges[1:] + edges[:-1]))

    @property
    def shells(self) -> Array:
        """Volumes of the fine shells, Å^3."""
        return np.asarray(4.0 / 3.0 * np.pi * np.diff(self.edges**3))

    def coarse(self, g: Array) -> Array:
        """g(r) on fine bins (..., bins * FINE) averaged over the shells of each coarse bin."""
        shells = self.shells.reshape(self.bins, FINE)
        parts = g.reshape(*g.shape[:-1], self.bins, FINE)
        return np.asarray((parts * shells).sum(axis=-1) / shells.sum(axis=-1))


@dataclass(frozen=True)
class TermRows:
    """Histograms of the bonds, angles or dihedrals of a system, a row for each kind.

    Attributes:
        name: ``bond``, ``angle`` or ``dihedral``.
        term: their splines.
        edges: of the fine bins, Å or radians.
    """

    name: str
    term: TermBasis
    edges: Array = field(repr=False)

    @classmethod
    def of(cls, name: str, term: TermBasis) -> TermRows:
        """Rows on the bins of the analysis."""
        if name == "bond":
            low, high = float(getattr(term, "low", 0.0)), float(getattr(term, "high", 0.0))
            width = bond_lengths.WIDTH
            first = max(0, int(np.floor((low - BEYOND) / width)))
            last = int(np.ceil((high + BEYOND) / width))
            edges = width * np.linspace(first, last, TERM_FINE * (last - first) + 1)
        elif name == "angle":
            edges = np.linspace(0.0, np.pi, TERM_FINE * bond_angles.BINS + 1)
        else:
            edges = np.linspace(-np.pi, np.pi, TERM_FINE * dihedral_angles.BINS + 1)
        return cls(name, term, edges)

    @property
    def bins(self) -> int:
        """Number of fine bins."""
        return len(self.edges) - 1

    @property
    def labels(self) -> list[str]:
        """Kinds, as the analysis names them."""
        return [self.term.kind_name(k) for k in range(self.term.n_kinds)]

    def count(self, frame: CGFrame) -> Counts:
        """Terms (kinds, bins) of a frame; those beyond the bins are counted in the last one."""
        values, (_, kind) = self.term.values(frame), self.term.terms_on(frame)
        first, width = self.edges[0], self.edges[1] - self.edges[0]
        k = np.clip(np.floor((values - first) / width).astype(np.int64), 0, self.bins - 1)
        n = self.term.n_kinds
        counts = np.bincount(k + self.bins * kind, minlength=self.bins * n)
        return counts.reshape(n, self.bins).astype(np.uint32)

    def coarse(self, counts: Array) -> Array:
        """Counts (..., bins) summed over the bins of the analysis, (..., coarse bins)."""
        return np.asarray(counts.reshape(*counts.shape[:-1], -1, TERM_FINE).sum(axis=-1))


@dataclass(frozen=True)
class FrameTally:
    """What is counted on every frame of a system.

    Attributes:
        topology: the sites.
        grid: of the pair distances.
        hidden: pairs on which the pair potential does not act; None: it acts on all.
        within: whether it acts on pairs of one molecule.
        terms: bonded terms, in the order of the coefficients.
    """

    topology: Topology
    grid: Grid
    hidden: Hidden | None = None
    within: bool = False
    terms: tuple[TermRows, ...] = ()

    @cached_property
    def counter(self) -> PairCounter:
        """Of the pairs; ``between`` is the number of pairs of different molecules."""
        return PairCounter(self.topology, self.grid.r_max, self.grid.bins * FINE)

    @property
    def pairs(self) -> int:
        """Pairs of bead types: the first rows."""
        return len(self.counter.rows)

    @property
    def rows(self) -> int:
        """Number of rows."""
        kinds = sum(rows.term.n_kinds for rows in self.terms)
        return self.pairs * (2 if self.within else 1) + kinds

    @property
    def bins(self) -> int:
        """Number of bins of every row; those that a row does not need stay empty."""
        return max(self.grid.bins * FINE, *(rows.bins for rows in self.terms), 0)

    def count(self, frame: CGFrame) -> Counts:
        """Counts (rows, bins) of a frame.

        Raises:
            DataError: a frame of other sites, or the grid exceeds half the box.
        """
        mine, found = self.topology, frame.topology
        if mine is not found:
            if not np.array_equal(mine.types, found.types):
                raise DataError(
                    f"the frame's {found.n_sites} sites are not those of the reference "
                    f"({mine.n_sites} sites)",
                    frame=frame.source_frame,
                )
            frame = replace(frame, topology=mine)  # engines number molecules in their own way
        between, within = self.counter.count_acting(frame, self.hidden)
        found_rows = [between, *([within] if self.within else [])]
        found_rows += [rows.count(frame) for rows in self.terms]
        counts = np.zeros((self.rows, self.bins), dtype=np.uint32)
        start = 0
        for part in found_rows:
            counts[start : start + len(part), : part.shape[1]] = part
            start += len(part)
        return counts

    def counts(self, frames: Iterable[CGFrame]) -> Counts:
        """Counts (frames, rows, bins).

        Raises:
            DataError: no frames, or see `count`.
        """
        found = [self.count(frame) for frame in frames]
        if not found:
            raise DataError("no frames to count pairs in; expected at least one")
        return np.stack(found)


def term_rows(tally: FrameTally) -> Iterator[tuple[TermRows, int, str]]:
    """Each kind of bonded terms of a tally: its histograms, its row and its name."""
    row = tally.pairs * (2 if tally.within else 1)
    for rows in tally.terms:
        for label in rows.labels:
            yield rows, row, label
            row += 1
