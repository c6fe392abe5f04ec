# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of labels, collected frame by frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import label_virial, pressure_of
from cgpot.molecules.pairs import half_list, shortest_between_molecules
from cgpot.molecules.rdf import RDFAccumulator, half_box

Array = NDArray[np.float64]
MAX_LAG = 5
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass
class LabelStatistics:
    """Force, stress, structure and density of one run.

    Args:
        r_max: upper end of g(r), Å.
        bins: bins of g(r).
        temperature: K, for the pressure; None where there is no virial.
    """

    r_max: float
    bins: int = 300
    temperature: float | None = None
    n_frames: int = 0
    shortest: float = np.inf
    shortest_frame: int = 0
    force_squares: float = 0.0
    net_force: list[float] = field(default_factory=list)
    pressure: list[float] = field(default_factory=list)
    density: list[float] = field(default_factory=list)
    volume: list[float] = field(default_factory=list)
    stress: list[Array] = field(default_factory=list)
    lag_products: Array = field(default_factory=lambda: np.zeros((MAX_LAG, 3)))
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rdf = RDFAccumulator(self.r_max, self.bins)
        self.pairs: dict[tuple[int, int], RDFAccumulator] = {}
        self._recent: deque[Array] = deque(maxlen=MAX_LAG)

    def add(self, frame: CGFrame) -> None:
        """Add the next frame of the run.

        Raises:
            DataError: NaN, no forces, or the box too small for g(r).
        """
        frame.check_finite()
        if frame.forces is None:
            raise DataError("the frame has no forces", frame=frame.source_frame)
        f = frame.forces
        squares = float(np.sum(f * f))
        self.force_squares += squares / f.size
        self.net_force.append(float(np.linalg.norm(f.sum(axis=0))))
        for lag, old in enumerate(reversed(self._recent)):
            self.lag_products[lag] += (
                float(np.sum(f * old)),
                float(np.sqrt(squares * np.sum(old * old))),
                1.0,
            )
        self._recent.append(f)
        self.volume.append(frame.volume)
        self.density.append(frame.density)
        if frame.time is not None:
            self.times.append(frame.time)
        if frame.virial is not None:
            virial, particles = label_virial(frame)
            stress = -0.5 * (virial + virial.T) / frame.volume
            self.stress.append(np.asarray([stress[a, b] for a, b in VOIGT]))
            if self.temperature is not None:
                self.pressure.append(pressure_of(virial, particles, self.temperature, frame.volume))
        self._pairs(frame)
        self.n_frames += 1

    def _pairs(self, frame: CGFrame) -> None:
        """All g(r) and the shortest distance between molecules from one search for pairs."""
        limit = half_box(frame.cell)
        if self.r_max > limit:
            raise DataError(
                f"r_max {self.r_max:.3f} Å exceeds half the box, {limit:.3f} Å",
                frame=frame.source_frame,
            )
        topology, bins = frame.topology, self.bins
        found = half_list(frame, self.r_max)
        place = np.minimum((found.distance * (bins / self.r_max)).astype(np.int64), bins - 1)
        number = np.bincount(topology.types, minlength=len(topology.type_names))
        n = topology.n_sites
        if n > 1:
            every = np.bincount(place, minlength=bins)
            self.rdf.add_counts(every, 0.5 * n * (n - 1), frame.volume)
        if len(number) > 1:
            size = len(number)
            row = topology.types[found.i] * size + topology.types[found.j]
            counts = np.bincount(row * bins + place, minlength=size * size * bins)
            counts = counts.reshape(size, size, bins)
            for a in range(size):
                for b in range(a, size):
                    possible = number[a] * (number[a] - 1) / 2 if a == b else number[a] * number[b]
                    if possible:  # else a type of another composition of the set
                        accumulator = self.pairs.setdefault(
                            (a, b), RDFAccumulator(self.r_max, bins)
                        )
                        mine = counts[a, b] if a == b else counts[a, b] + counts[b, a]
                        accumulator.add_counts(mine, float(possible), frame.volume)
        other = topology.molecules[found.i] != topology.molecules[found.j]
        if other.any():
            shortest = float(found.distance[other].min())
        else:
            shortest = shortest_between_molecules(frame, self.shortest)
        if shortest < self.shortest:
            self.shortest = shortest
            self.shortest_frame = frame.source_frame or 0

    @property
    def force_rms(self) -> float:
        """Root mean square force component, eV/Å."""
        return float(np.sqrt(self.force_squares / max(self.n_frames, 1)))

    def autocorrelation(self) -> list[float]:
        """Force autocorrelation at 1 ... `MAX_LAG` frames, as far as the run reaches."""
        return [float(a / b) for a, b, n in self.lag_products if n >= 1 and b > 0]

    def spacing(self) -> float | None:
        """Median time between frames, ps."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else None


def combined(values: list[Any]) -> dict[str, float] | None:
    """One mean with error from `Estimate`s of independent runs, weighted by samples."""
    estimates = [v for v in values if v is not None]
    if not estimates:
        return None
    n = np.asarray([e.n for e in estimates], dtype=np.float64)
    mean = np.asarray([e.mean for e in estimates])
    error = np.asarray([e.error for e in estimates])
    std = np.asarray([e.std for e in estimates])
    weight = n / n.sum()
    total = float(weight @ mean)
    return {
        "mean": total,
        "error": float(np.sqrt(np.sum((weight * error) ** 2))),
        "std": float(np.sqrt(weight @ (std**2 + (mean - total) ** 2))),
        "n": int(n.sum()),
    }
