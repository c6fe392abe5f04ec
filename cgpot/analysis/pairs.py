# SPDX-License-Identifier: GPL-2.0-or-later
"""Site-site g(r), coordination numbers and the first peak, for every pair of bead types.

Pairs of sites of one molecule are left out.  Every frame is normalised with its own
density and the exact number of pairs, so that an ideal gas gives 1 for any number of sites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.rdf import first_peak, freud_box, half_box, rough_peak

Array = NDArray[np.float64]
Index = NDArray[np.int64]
BLOCKS = 10
_ALL_PAIRS_UP_TO = 1500


@lru_cache(maxsize=2)
def _triangle(n: int) -> tuple[Index, Index]:
    i, j = np.triu_indices(n, 1)
    return i.astype(np.int64), j.astype(np.int64)


def pair_distances(frame: CGFrame, r_max: float) -> tuple[Index, Index, Array]:
    """Every pair once: sites i < j and their minimum-image distance below ``r_max``, Å.

    Small orthorhombic boxes by all pairs in numpy; others by freud's neighbour list.

    Raises:
        DataError: r_max exceeds half the box, or the cell is not lower triangular.
    """
    limit = half_box(frame.cell)
    if r_max > limit * (1 + 1e-9):
        raise DataError(
            f"r_max {r_max:.3f} Å exceeds half the box, {limit:.3f} Å", frame=frame.source_frame
        )
    diagonal = np.diag(frame.cell)
    n = frame.topology.n_sites
    if n <= _ALL_PAIRS_UP_TO and np.allclose(frame.cell, np.diag(diagonal), atol=1e-9):
        i, j = _triangle(n)
        squared = np.zeros(len(i))
        for k in range(3):
            x = frame.positions[:, k] / diagonal[k]
            d = x[i] - x[j]
            d -= np.rint(d)
            d *= diagonal[k]
            d *= d
            squared += d
        near = squared < r_max * r_max
        return i[near], j[near], np.sqrt(squared[near])
    import freud

    box = freud_box(frame.cell)
    points = box.wrap(frame.positions)
    query = freud.locality.AABBQuery(box, points).query(
        points, {"r_max": r_max * (1 - 1e-7), "exclude_ii": True}
    )
    neighbours = query.toNeighborList()
    i = np.asarray(neighbours.query_point_indices, dtype=np.int64)
    j = np.asarray(neighbours.point_indices, dtype=np.int64)
    once = i < j
    return i[once], j[once], np.asarray(neighbours.distances, dtype=np.float64)[once]


def pair_labels(topology: Topology) -> list[str]:
    """Names ``A-B`` of the pairs of bead types, in the order of the rows of g(r)."""
    names = topology.type_names
    return [f"{a}-{b}" for k, a in enumerate(names) for b in names[k:]]


@dataclass(frozen=True)
class PairRDF:
    """g(r) of one pair of bead types.

    Attributes:
        r: (bins,) bin centres, Å.
        g: (bins,) mean.
        error: (bins,) standard error from contiguous blocks.
        blocks: (n_blocks, bins) means of the blocks.
        halves: (2, bins) means of two halves (replicas when there are several).
        coordination: (bins,) neighbours of the second type within the bin's outer edge.
        coordination_error: (bins,) its standard error.
        n_frames: frames behind it.
    """

    r: Array
    g: Array
    error: Array
    blocks: Array
    halves: Array
    coordination: Array
    coordination_error: Array
    n_frames: int

    @property
    def width(self) -> float:
        """Width of a bin, Å."""
        return float(self.r[1] - self.r[0])

    def peak(self) -> dict[str, float]:
        """Position and height of the first peak with jackknife errors over the blocks."""
        position, height = first_peak(self.r, self.g)
        m = len(self.blocks)
        total = self.blocks.sum(axis=0)
        near, _ = rough_peak(self.r, self.g)
        left = np.array([first_peak(self.r, (total - b) / (m - 1), near=near) for b in self.blocks])
        spread = np.sqrt((m - 1) / m * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
        return {
            "position": position,
            "position_error": float(spread[0]),
            "height": height,
            "height_error": float(spread[1]),
        }

    def first_minimum(self) -> float | None:
        """Radius of the first minimum behind the first peak, Å; None when there is none."""
        position, height = rough_peak(self.r, self.g)
        size = max(1, round(0.3 / self.width))
        smooth = np.convolve(self.g, np.ones(size) / size, mode="same")
        inside = (self.r > position) & (self.r < min(1.9 * position, self.r[-1] - 0.3))
        if inside.sum() < 3:
            return None
        k = int(np.flatnonzero(inside)[np.argmin(smooth[inside])])
        if k + 1 >= np.flatnonzero(inside)[-1] or smooth[k] > 0.98 * height:
            return None
        return float(self.r[k])

    def neighbours(self, radius: float) -> dict[str, float]:
        """Coordination number within ``radius`` Å, and its error."""
        edges = self.r + 0.5 * self.width
        return {
            "radius": radius,
            "number": float(np.interp(radius, edges, self.coordination)),
            "error": float(np.interp(radius, edges, self.coordination_error)),
        }


@dataclass
class PairCollector:
    """Collect pair distances frame by frame (counts only: memory of 4 bytes a bin and frame).

    Args:
        topology: the sites.
        r_max: upper end, Å; must stay below half the box in every frame.
        bins: number of bins.
    """

    topology: Topology
    r_max: float
    bins: int
    _counts: list[list[NDArray[np.uint32]]] = field(default_factory=list)
    _volumes: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n_types = len(self.topology.type_names)
        self._row = np.zeros((n_types, n_types), dtype=np.int64)
        rows = [(a, b) for a in range(n_types) for b in range(a, n_types)]
        for k, (a, b) in enumerate(rows):
            self._row[a, b] = self._row[b, a] = k
        self._types = rows
        of_type = np.bincount(self.topology.types, minlength=n_types).astype(np.float64)
        self._of_type = of_type
        _, molecule = np.unique(self.topology.molecules, return_inverse=True)
        table = np.zeros((int(molecule.max()) + 1, n_types))
        np.add.at(table, (molecule, self.topology.types), 1.0)
        intra = table.T @ table
        self._single = bool(n_types == 1 and (table == 1.0).all())
        self._pairs = np.array(
            [(of_type[a] * of_type[b] - intra[a, b]) / (2.0 if a == b else 1.0) for a, b in rows]
        )

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Add a frame of a replica (replicas come in order).

        Raises:
            DataError: r_max exceeds half the box.
        """
        while len(self._counts) <= replica:
            self._counts.append([])
            self._volumes.append([])
        i, j, d = pair_distances(frame, self.r_max)
        k = np.minimum((d * (self.bins / self.r_max)).astype(np.int64), self.bins - 1)
        if not self._single:
            molecules, types = self.topology.molecules, self.topology.types
            other = molecules[i] != molecules[j]
            i, j, k = i[other], j[other], k[other]
            k = k + self.bins * self._row[types[i], types[j]]
        size = self.bins * len(self._types)
        counts = np.bincount(k, minlength=size).astype(np.uint32)
        self._counts[replica].append(counts.reshape(len(self._types), self.bins))
        self._volumes[replica].append(frame.volume)

    def result(self) -> dict[str, PairRDF]:
        """g(r) of every pair of bead types that has pairs.

        Raises:
            DataError: fewer than two frames.
        """
        parts = [part for part in self._counts if part]
        volumes = [np.array(v) for v in self._volumes if v]
        n = sum(len(part) for part in parts)
        if n < 2:
            raise DataError(f"expected at least 2 frames for g(r), found {n}")
        edges = np.linspace(0.0, self.r_max, self.bins + 1)
        shells = 4.0 / 3.0 * math.pi * np.diff(edges**3)
        results: dict[str, PairRDF] = {}
        for row, label in enumerate(pair_labels(self.topology)):
            if self._pairs[row] <= 0:
                continue
            counts = [np.stack([c[row] for c in part]).astype(np.float64) for part in parts]
            norm = self._pairs[row] * shells
            g = [c * v[:, None] / norm for c, v in zip(counts, volumes, strict=True)]
            a, b = self._types[row]
            per_site = 2.0 / self._of_type[a] if a == b else 1.0 / self._of_type[a]
            around = [np.cumsum(c, axis=1) * per_site for c in counts]
            blocks = _blocks(g, n)
            neighbours = _blocks(around, n)
            results[label] = PairRDF(
                r=0.5 * (edges[1:] + edges[:-1]),
                g=np.concatenate(g).mean(axis=0),
                error=blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks)),
                blocks=blocks,
                halves=_halves(g),
                coordination=np.concatenate(around).mean(axis=0),
                coordination_error=neighbours.std(axis=0, ddof=1) / math.sqrt(len(neighbours)),
                n_frames=n,
            )
        return results


def _blocks(parts: list[Array], n: int) -> Array:
    """Means of about ten contiguous blocks; no block spans two replicas."""
    blocks = []
    for part in parts:
        wanted = max(1 if len(parts) > 1 else 2, round(BLOCKS * len(part) / n))
        blocks += [x.mean(axis=0) for x in np.array_split(part, min(wanted, len(part)))]
    return np.stack(blocks)


def _halves(parts: list[Array]) -> Array:
    if len(parts) > 1:
        cut = (len(parts) + 1) // 2
        pieces = [np.concatenate(parts[:cut]), np.concatenate(parts[cut:])]
    else:
        middle = len(parts[0]) // 2
        pieces = [parts[0][:middle], parts[0][middle:]]
    return np.stack([piece.mean(axis=0) for piece in pieces])
