# SPDX-License-Identifier: GPL-2.0-or-later
"""Radial distribution functions (through freud) and how two are compared.

freud stays beside `cgpot.molecules.pairs` for boxes of any shape: a frame of 500 beads to 15 Å
takes 8 ms in its single precision (one core); the half list with a histogram 7 ms in a rectangular
box, but 30 ms in others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.statistics import block_mean
from cgpot.molecules.frame import CGFrame

Array = NDArray[np.float64]
RDF_BLOCKS = 10


@dataclass(frozen=True)
class RDF:
    """g(r) of one pair of bead types.

    Attributes:
        r: (bins,) bin centres, Å.
        g: (bins,) mean over frames.
        error: (bins,) standard error from contiguous blocks.
        halves: (2, bins) means of the first and the second half.
        n_frames: frames behind it.
    """

    r: Array
    g: Array
    error: Array
    halves: Array
    n_frames: int

    @property
    def peak(self) -> tuple[float, float]:
        """Position (Å) and height of the first peak (`first_peak`)."""
        return first_peak(self.r, self.g)


def freud_box(cell: Array) -> Any:
    """The cell (rows) as a freud box; freud wants the upper triangular frame.

    Raises:
        DataError: the cell is not lower triangular (rows), so positions would need a rotation.
    """
    import freud

    if not np.allclose(cell[np.triu_indices(3, 1)], 0.0, atol=1e-6 * np.abs(cell).max()):
        raise DataError("expected a lower triangular cell (a along x, b in the xy plane)")
    return freud.box.Box.from_matrix(cell.T)


def half_box(cell: Array) -> float:
    """Half the smallest distance between opposite faces of the cell, Å."""
    inverse = np.linalg.inv(cell)
    return float(0.5 / np.linalg.norm(inverse, axis=0).max())


@dataclass
class RDFAccumulator:
    """Collect g(r) frame by frame; each frame is normalised with its own density.

    Args:
        r_max: upper end, Å; must stay below half the box in every frame.
        bins: number of bins.
    """

    r_max: float
    bins: int = 300
    _samples: list[Array] = field(default_factory=list)
    _engines: dict[bool, Any] = field(default_factory=dict, repr=False)

    def add(self, frame: CGFrame, select: tuple[int, int] | None = None) -> None:
        """Add a frame; ``select`` names a pair of bead types (default: all sites).

        Raises:
            DataError: r_max exceeds half the box.
        """
        import freud

        limit = half_box(frame.cell)
        if self.r_max > limit:
            raise DataError(
                f"r_max {self.r_max:.3f} Å exceeds half the box, {limit:.3f} Å",
                frame=frame.source_frame,
            )
        box = freud_box(frame.cell)
        points = box.wrap(frame.positions)
        same = select is None or select[0] == select[1]
        rdf = self._engines.get(same)
        if rdf is None:  # a new one per frame costs ten times the computation
            rdf = self._engines[same] = freud.density.RDF(
                bins=self.bins,
                r_max=self.r_max,
                normalization_mode="finite_size" if same else "exact",
            )
        if select is None or select[0] == select[1]:
            if select is not None:
                points = points[frame.topology.types == select[0]]
            rdf.compute(system=(box, points))
        else:
            rdf.compute(
                system=(box, points[frame.topology.types == select[0]]),
                query_points=points[frame.topology.types == select[1]],
            )
        self._samples.append(np.asarray(rdf.rdf, dtype=np.float64).copy())

    def add_counts(self, counts: NDArray[Any], possible: float, volume: float) -> None:
        """Add a frame whose pairs are counted already.

        Args:
            counts: (bins,) pairs in each bin, each once.
            possible: number of pairs of sites that there are at all distances.
            volume: of the cell, Å^3.
        """
        edges = np.linspace(0.0, self.r_max, self.bins + 1)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        self._samples.append(np.asarray(counts / shells * (volume / possible), dtype=np.float64))

    def result(self) -> RDF:
        """The mean g(r) with errors and halves.

        Raises:
            DataError: fewer than two frames.
        """
        n = len(self._samples)
        if n < 2:
            raise DataError(f"expected at least 2 frames for g(r), found {n}")
        edges = np.linspace(0.0, self.r_max, self.bins + 1)
        samples = np.stack(self._samples)
        mean, error = block_mean(samples, min(RDF_BLOCKS, n))
        return RDF(
            r=0.5 * (edges[1:] + edges[:-1]),
            g=mean,
            error=error,
            halves=np.stack([samples[: n // 2].mean(axis=0), samples[n // 2 :].mean(axis=0)]),
            n_frames=n,
        )


def rdf_error(g: Array, reference: Array) -> float:
    """Delta g = sum |g - g_ref| / sum g_ref on common bins (science: integral form).

    Raises:
        DataError: the shapes differ.
    """
    if g.shape != reference.shape:
        raise DataError(f"g(r) has {g.shape} bins, the reference {reference.shape}")
    return float(np.abs(g - reference).sum() / reference.sum())


def first_peak(
    r: Array, g: Array, width: float = 0.6, near: float | None = None
) -> tuple[float, float]:
    """Position and height of the first peak: a quartic through the bins within ``width`` Å.

    `rough_peak` finds the place; the quartic follows an unsymmetric peak over a range wide
    enough that the height does not hang on which bin is the highest.  ``near`` gives the place
    instead (for resampled g(r), so that all use the same bins).

    Raises:
        DataError: g(r) is zero everywhere.
    """
    position, height = rough_peak(r, g)
    centre = position if near is None else near
    inside = np.abs(r - centre) <= width
    if inside.sum() < 8:
        return position, height
    polynomial = np.polynomial.Polynomial.fit(r[inside], g[inside], 4)
    x = np.linspace(centre - 0.6 * width, centre + 0.6 * width, 1201)
    y = polynomial(x)
    k = int(np.argmax(y))
    if k in (0, len(x) - 1):
        return position, height
    return float(x[k]), float(y[k])


def rough_peak(r: Array, g: Array, width: float = 0.35) -> tuple[float, float]:
    """Position and height of the highest peak of g(r), where it has few bins or noisy ones.

    A parabola is fitted by least squares within ``width`` Å of the highest bin, so that the
    height is not the largest of many noisy bins.

    Raises:
        DataError: g(r) is zero everywhere.
    """
    if not np.any(g > 0):
        raise DataError("g(r) is zero everywhere")
    top = int(np.argmax(g))
    near = np.abs(r - r[top]) <= width
    if near.sum() < 4:
        return float(r[top]), float(g[top])
    c2, c1, c0 = np.polyfit(r[near] - r[top], g[near], 2)
    if c2 >= 0:
        return float(r[top]), float(g[top])
    shift = -c1 / (2 * c2)
    if abs(shift) > width:
        return float(r[top]), float(g[top])
    return float(r[top] + shift), float(c0 - c1**2 / (4 * c2))
