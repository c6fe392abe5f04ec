# SPDX-License-Identifier: GPL-2.0-or-later
"""What the CG fluid shall reproduce: g(r) and pressure of mapped atomistic frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from cgpot.molecules.pair_counts import ROUNDING, PairCounter
from cgpot.molecules.rdf import half_box
from cgpot.molecules.single_sites import require_single_sites
from cgpot.refine.counts_basis import Grid

Array = NDArray[np.float64]
BINS = 300
BLOCKS = 10
KEEP = 60
DENSITY_TOLERANCE = 0.02


@dataclass
class Target:
    """The reference at the density of the CG runs.

    Attributes:
        topology: the sites.
        grid: bins of g(r).
        g: (pairs, fine bins), every frame normalised with its own volume.
        blocks: (n_blocks, pairs, fine bins) means of contiguous blocks.
        n_pairs: (pairs,) pairs of sites.
        density: mean density of the frames, kg/m^3.
        volume: Å^3 at which the CG fluid is simulated.
        pressure: bar, and its standard error; None when it is ignored.
        first: first frame.
        frames: at most 2 * `KEEP` evenly spread frames.
        n_frames: number of frames.
    """

    topology: Topology
    grid: Grid
    g: Array
    blocks: Array
    n_pairs: Array
    density: float
    volume: float
    pressure: tuple[float, float] | None
    first: CGFrame
    n_frames: int
    frames: list[CGFrame] = field(default_factory=list, repr=False)

    @property
    def counts(self) -> Array:
        """Mean pair counts (pairs, fine bins) in the volume of the CG fluid."""
        return self.g * self.ideal

    @property
    def ideal(self) -> Array:
        """Counts of g(r) = 1 in the volume of the CG fluid, (pairs, fine bins)."""
        return np.asarray(self.n_pairs[:, None] * self.grid.shells / self.volume)

    @property
    def coarse(self) -> Array:
        """g(r) (pairs, bins)."""
        return self.grid.coarse(self.g)

    @property
    def error(self) -> Array:
        """Standard error of `coarse`."""
        blocks = self.grid.coarse(self.blocks)
        return np.asarray(blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks)))


def read_target(
    paths: Sequence[str | Path],
    *,
    temperature: float,
    pressure: str | float,
    density: float | None,
    cutoff: float,
    quiet: bool = False,
) -> Target:
    """Read the reference once.

    Args:
        paths: data sets of `cgpot map`; several are replicas.
        temperature: K.
        pressure: ``match``, ``ignore`` or bar.
        density: kg/m^3 of the CG runs; None takes the reference's mean.
        cutoff: range of the pair potential, Å.

    Raises:
        DataError: too few frames, no virial where the pressure is to be matched, or a box too
            small for the cutoff.
        InputError: a density too far from that of the reference, or molecules of several sites.
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
    counts: list[list[NDArray[np.uint32]]] = [[] for _ in paths]
    volumes: list[list[float]] = [[] for _ in paths]
    pressures: list[list[float]] = [[] for _ in paths]
    densities: list[float] = []
    kept: list[CGFrame] = []
    first: CGFrame | None = None
    counter: PairCounter | None = None
    total = sum(s.n_frames for s in scans)
    stride = max(1, total // KEEP)
    with progress("reference", total, quiet=quiet) as advance:
        for number, (replica, frame) in enumerate(replica_frames(paths)):
            if first is None or counter is None:
                first = frame
                require_single_sites(frame.topology, "cgpot refine", file=paths[replica])
                counter = grid.counter(frame.topology)
            if pressure == "match":
                if frame.virial is None:
                    raise DataError(
                        "no virial, so the reference has no pressure to match; map it with an "
                        "energy file, or set pressure to 'ignore' or to a number (bar)",
                        file=paths[replica],
                        frame=len(volumes[replica]),
                    )
                pressures[replica].append(label_pressure(frame, temperature))
            counts[replica].append(counter.count(frame))
            volumes[replica].append(frame.volume)
            densities.append(frame.density)
            if number % stride == 0:
                kept.append(frame)
            advance(1)
    if first is None or counter is None or total < 2 * MIN_SAMPLES:
        raise DataError(f"{total} frames; expected at least {2 * MIN_SAMPLES}", file=paths[0])
    mean_density = float(np.mean(densities))
    wanted = mean_density if density is None else density
    if abs(wanted / mean_density - 1.0) > DENSITY_TOLERANCE:
        raise InputError(
            f"density_kg_m3 is {wanted:g}, the reference has {mean_density:.1f} kg/m³: too far "
            f"for g(r) and pressure to be compared; expected within {DENSITY_TOLERANCE:.0%}",
            file=paths[0],
            key="density_kg_m3",
        )
    n_pairs = counter.between
    norm = n_pairs[:, None] * grid.shells
    sums = np.zeros_like(norm)
    blocks: list[Array] = []
    for c, v in zip(counts, volumes, strict=True):
        g = np.stack(c) * np.array(v)[:, None, None] / np.where(norm > 0, norm, 1.0)
        sums += g.sum(axis=0)
        pieces = min(len(g), max(2, round(BLOCKS * len(g) / total)))
        blocks += [part.mean(axis=0) for part in np.array_split(g, pieces)]
    return Target(
        topology=first.topology,
        grid=grid,
        g=sums / total,
        blocks=np.stack(blocks),
        n_pairs=n_pairs,
        density=mean_density,
        volume=first.volume * first.density / wanted,
        pressure=_pressure(pressures) if pressure == "match" else _given(pressure),
        first=first,
        frames=kept,
        n_frames=total,
    )


def _given(pressure: str | float) -> tuple[float, float] | None:
    return None if isinstance(pressure, str) else (float(pressure), 0.0)


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
