# SPDX-License-Identifier: GPL-2.0-or-later
"""What the CG fluid shall reproduce: g(r), bonded distributions, pressure of mapped frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.sources import R_MAX, common_range, replica_frames, scan
from cgpot.core.errors import DataError, InputError
from cgpot.core.progress import progress
from cgpot.core.statistics import MIN_SAMPLES, estimate
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.molecular_virial import label_pressure
from cgpot.molecules.pair_counts import ROUNDING
from cgpot.molecules.rdf import half_box
from cgpot.refine.frame_counts import FINE, FrameTally, Grid

Array = NDArray[np.float64]
BINS = 300
BLOCKS = 10
KEEP = 60
DENSITY_TOLERANCE = 0.02


@dataclass
class Target:
    """The reference at the density of the CG runs.

    Attributes:
        tally: what is counted on a frame.
        g: (rows, bins); of pairs of different molecules g(r), every frame normalised with its own
            volume, of pairs of one molecule and of bonded terms the mean count.
        blocks: (n_blocks, rows, bins) means of contiguous blocks.
        density: mean density of the frames, kg/m^3.
        volume: Å^3 at which the CG fluid is simulated.
        pressure: bar, and its standard error; None when it is ignored.
        first: first frame.
        frames: at most 2 * `KEEP` evenly spread frames.
        n_frames: number of frames.
    """

    tally: FrameTally
    g: Array
    blocks: Array
    density: float
    volume: float
    pressure: tuple[float, float] | None
    first: CGFrame
    n_frames: int
    frames: list[CGFrame] = field(default_factory=list, repr=False)

    @property
    def topology(self) -> Topology:
        """The sites."""
        return self.tally.topology

    @property
    def grid(self) -> Grid:
        """Bins of g(r)."""
        return self.tally.grid

    @property
    def counts(self) -> Array:
        """Mean counts (rows, bins) in the volume of the CG fluid."""
        return self.g * self.ideal

    @property
    def ideal(self) -> Array:
        """Counts of g = 1 in the volume of the CG fluid, (rows, bins)."""
        return ideal_counts(self.tally, np.array([self.volume]))[0]

    @property
    def height(self) -> Array:
        """What g is measured by, (rows, 1): 1 of g(r), the largest of a bonded distribution."""
        top = self.g.max(axis=1, keepdims=True)
        top[: self.tally.pairs] = 1.0
        return top

    @property
    def matched(self) -> NDArray[np.bool_]:
        """(rows, 1) rows that are compared: not those of pairs of one molecule."""
        n = self.tally.pairs
        row = np.arange(self.tally.rows)[:, None]
        return np.asarray((row < n) | (row >= (2 * n if self.tally.within else n)))

    @property
    def coarse(self) -> Array:
        """g(r) (pairs, bins) between molecules."""
        return self.grid.coarse(pair_rows(self.tally, self.g))

    @property
    def error(self) -> Array:
        """Standard error of `coarse`."""
        blocks = self.grid.coarse(pair_rows(self.tally, self.blocks))
        return np.asarray(blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks)))


def pair_rows(tally: FrameTally, counts: Array) -> Array:
    """Rows of pairs of different molecules of counts (..., rows, bins), on their fine bins."""
    return counts[..., : tally.pairs, : tally.grid.bins * FINE]


def ideal_counts(tally: FrameTally, volumes: Array) -> Array:
    """What counts are divided by in frames of these volumes (n,), Å^3: (n, rows, bins).

    Of pairs of different molecules the counts of an ideal gas; 1 of all else.
    """
    ideal = np.ones((len(volumes), tally.rows, tally.bins))
    ideal[:, : tally.pairs] = 0.0
    norm = tally.counter.between[:, None] * tally.grid.shells
    pair_rows(tally, ideal)[...] = norm / volumes[:, None, None]
    return ideal


def normalised(tally: FrameTally, counts: NDArray[np.uint32], volumes: Array) -> Array:
    """Counts (n, rows, bins) over those of `ideal_counts`; 0 where these are 0."""
    ideal = ideal_counts(tally, volumes)
    return np.asarray(counts / np.where(ideal > 0, ideal, 1.0) * (ideal > 0))


def read_target(
    paths: Sequence[str | Path],
    *,
    temperature: float,
    pressure: str | float,
    density: float | None,
    cutoff: float,
    tally_of: Callable[[Topology, Grid], FrameTally] = FrameTally,
    quiet: bool = False,
) -> Target:
    """Read the reference once.

    Args:
        paths: data sets of `cgpot map`; several are replicas.
        temperature: K.
        pressure: ``match``, ``ignore`` or bar.
        density: kg/m^3 of the CG runs; None takes the reference's mean.
        cutoff: range of the pair potential, Å.
        tally_of: what is counted, by sites and bins of g(r).

    Raises:
        DataError: too few frames, no virial where the pressure is to be matched, or a box too
            small for the cutoff.
        InputError: a density too far from that of the reference; see also ``tally_of``.
    """
    scans = [scan(path) for path in paths]
    r_max = common_range(scans)
    if cutoff > r_max + 1e-9:
        raise DataError(
            f"the pair potential reaches {cutoff} Å, g(r) {r_max} Å (half the smallest box, or "
            f"{R_MAX} Å); expected a shorter cutoff or a larger box",
            file=paths[0],
        )
    grid = Grid(r_max, BINS)
    total = sum(s.n_frames for s in scans)
    with progress("reference", total, quiet=quiet) as advance:

        def frames() -> Iterator[tuple[int, CGFrame]]:
            for number, (replica, frame) in enumerate(replica_frames(paths)):
                if pressure == "match" and frame.virial is None:
                    raise DataError(
                        "no virial, so the reference has no pressure to match; map it with an "
                        "energy file, or set pressure to 'ignore' or to a number (bar)",
                        file=paths[replica],
                        frame=number,
                    )
                yield replica, frame
                advance(1)

        target = collect(
            frames(),
            total,
            lambda topology: tally_of(topology, grid),
            pressure_of=(lambda frame: label_pressure(frame, temperature))
            if pressure == "match"
            else None,
            file=paths[0],
        )
    wanted = target.density if density is None else density
    if abs(wanted / target.density - 1.0) > DENSITY_TOLERANCE:
        raise InputError(
            f"density_kg_m3 is {wanted:g}, the reference has {target.density:.1f} kg/m³: too far "
            f"for g(r) and pressure to be compared; expected within {DENSITY_TOLERANCE:.0%}",
            file=paths[0],
            key="density_kg_m3",
        )
    target.volume = target.first.volume * target.first.density / wanted
    if not isinstance(pressure, str):
        target.pressure = (float(pressure), 0.0)
    return target


def collect(
    frames: Iterable[tuple[int, CGFrame]],
    total: int,
    tally_of: Callable[[Topology], FrameTally],
    *,
    pressure_of: Callable[[CGFrame], float] | None = None,
    file: str | Path | None = None,
) -> Target:
    """What frames have, at their mean density.

    Args:
        frames: number of the replica and frame, replica after replica.
        total: number of frames.
        tally_of: what is counted.
        pressure_of: pressure of a frame, bar; None leaves it out.
        file: where they come from, for messages.

    Raises:
        DataError: too few frames.
    """
    counts: dict[int, list[NDArray[np.uint32]]] = {}
    volumes: dict[int, list[float]] = {}
    pressures: dict[int, list[float]] = {}
    densities: list[float] = []
    kept: list[CGFrame] = []
    tally: FrameTally | None = None
    stride = max(1, total // KEEP)
    for number, (replica, frame) in enumerate(frames):
        tally = tally or tally_of(frame.topology)
        counts.setdefault(replica, []).append(tally.count(frame))
        volumes.setdefault(replica, []).append(frame.volume)
        densities.append(frame.density)
        if pressure_of is not None:
            pressures.setdefault(replica, []).append(pressure_of(frame))
        if number % stride == 0:
            kept.append(frame)
    if tally is None or total < 2 * MIN_SAMPLES:
        raise DataError(f"{total} frames; expected at least {2 * MIN_SAMPLES}", file=file)
    sums = np.zeros((tally.rows, tally.bins))
    blocks: list[Array] = []
    for replica, c in counts.items():
        v = np.array(volumes[replica])
        pieces = min(len(c), max(2, round(BLOCKS * len(c) / total)))
        for part in np.array_split(np.arange(len(c)), pieces):
            g = normalised(tally, np.stack([c[k] for k in part]), v[part])
            sums += g.sum(axis=0)
            blocks.append(g.mean(axis=0))
    density = float(np.mean(densities))
    return Target(
        tally=tally,
        g=sums / total,
        blocks=np.stack(blocks),
        density=density,
        volume=kept[0].volume * kept[0].density / density,
        pressure=None if pressure_of is None else _pressure(list(pressures.values())),
        first=kept[0],
        frames=kept,
        n_frames=total,
    )


def _pressure(replicas: list[list[float]]) -> tuple[float, float]:
    """Mean over replicas weighted by frames, and its standard error."""
    found = [estimate(x, equilibrated=True) for x in replicas if len(x) >= MIN_SAMPLES]
    if not found:
        everything = np.concatenate([np.array(x) for x in replicas])
        return float(everything.mean()), float(everything.std(ddof=1) / len(everything) ** 0.5)
    n = np.array([e.n for e in found], dtype=np.float64)
    w = n / n.sum()
    mean = float(w @ [e.mean for e in found])
    return mean, float(math.sqrt(w**2 @ np.array([e.error**2 for e in found])))


def check_configuration(frame: CGFrame, target: Target, file: str | Path) -> None:
    """Refuse a starting configuration of other sites than the reference's.

    Raises:
        InputError: other beads or numbers; or a box too small for the grid.
    """
    if not target.topology.same_as(frame.topology):
        raise InputError(
            f"{frame.topology.n_sites} sites of {list(frame.topology.type_names)}, the reference "
            f"has {target.topology.n_sites} of {list(target.topology.type_names)}; expected the "
            "same system",
            file=file,
        )
    limit = half_box(frame.cell) * (target.volume / frame.volume) ** (1.0 / 3.0)
    if limit * (1.0 + ROUNDING) < target.grid.r_max:
        raise InputError(
            f"half its box at the density of the run is {limit:.2f} Å, below the range of "
            f"g(r), {target.grid.r_max} Å",
            file=file,
        )
