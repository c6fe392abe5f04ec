# SPDX-License-Identifier: GPL-2.0-or-later
"""One pass over frames: everything that is collected from them, for data sets and runs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.angles import angle_distribution
from cgpot.analysis.diffusion import Unwrapper
from cgpot.analysis.pairs import PairCollector, PairRDF
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology

Array = NDArray[np.float64]
ANGLE_FRAMES = 200


@dataclass
class Collected:
    """What one pass over the frames of one system left.

    Attributes:
        topology: the sites.
        rdf: g(r) by pair of bead types.
        volume: per replica (n,), Å^3.
        density: per replica (n,), kg/m^3.
        pressure: per replica (n,), bar; None where frames carry no virial.
        time: per replica (n,), ps (frame numbers when frames carry no time).
        kept: at most 400 frames, evenly spread, for what is dear to compute.
        diffusion: MSD results by replica, or why there is none.
    """

    topology: Topology
    rdf: dict[str, PairRDF]
    volume: list[Array]
    density: list[Array]
    pressure: list[Array] | None
    time: list[Array]
    kept: list[CGFrame]
    diffusion: list[dict[str, Any]]
    diffusion_problem: str | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return sum(len(v) for v in self.volume)

    @property
    def constant_volume(self) -> bool:
        """Whether the volume is the same in all frames of all replicas."""
        everything = np.concatenate(self.volume)
        return bool(np.ptp(everything) < 1e-6 * everything.mean())


@dataclass
class _Thinned:
    """Keep at most ``2 * limit`` evenly spread items of a stream of unknown length."""

    limit: int
    items: list[CGFrame] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, item: CGFrame) -> None:
        if self.seen % self.stride == 0:
            self.items.append(item)
            if len(self.items) > 2 * self.limit:
                self.items = self.items[::2]
                self.stride *= 2
        self.seen += 1


def collect(
    frames: Iterable[tuple[int, CGFrame]],
    *,
    temperature: float,
    r_max: float,
    bins: int,
    files: Sequence[str | Path] = (),
    advance: Callable[[int], None] = lambda n: None,
) -> Collected:
    """Read frames once.

    Args:
        frames: pairs (replica, frame), replicas in order.
        temperature: K, for the kinetic part of the pressure.
        r_max: upper end of g(r), Å.
        bins: number of bins.
        files: names of the replicas for messages.
        advance: progress.

    Raises:
        DataError: no frames, r_max beyond half the box, NaN, or labels in some frames only.
    """
    collector: PairCollector | None = None
    topology: Topology | None = None
    volume: list[list[float]] = []
    density: list[list[float]] = []
    pressure: list[list[float]] = []
    time: list[list[float]] = []
    unwrappers: list[Unwrapper] = []
    kept = _Thinned(ANGLE_FRAMES)
    labelled = 0
    total = 0
    for replica, frame in frames:
        name = str(files[replica]) if replica < len(files) else ""
        if collector is None:
            topology = frame.topology
            collector = PairCollector(topology, r_max, bins)
        while len(volume) <= replica:
            for series in (volume, density, pressure, time):
                series.append([])
            unwrappers.append(Unwrapper(file=name))
        try:
            collector.add(frame, replica)
        except DataError as err:
            raise DataError(err.message, file=name or None, frame=len(volume[replica])) from err
        volume[replica].append(frame.volume)
        density[replica].append(frame.density)
        index = len(time[replica])
        time[replica].append(float(index if frame.time is None else frame.time))
        if frame.virial is not None:
            pressure[replica].append(frame.pressure(temperature))
            labelled += 1
        unwrappers[replica].add(frame)
        kept.add(frame)
        total += 1
        advance(1)
    if collector is None or topology is None:
        raise DataError("no frames to analyse")
    if labelled not in (0, total):
        raise DataError(
            f"{labelled} of {total} frames carry a virial; expected all or none",
            file=str(files[0]) if files else None,
        )
    diffusion: list[dict[str, Any]] = []
    problem: str | None = None
    for unwrapper in unwrappers:
        try:
            diffusion.append(unwrapper.result())
        except DataError as err:
            problem = str(err)
    return Collected(
        topology=topology,
        rdf=collector.result(),
        volume=[np.array(x) for x in volume],
        density=[np.array(x) for x in density],
        pressure=[np.array(x) for x in pressure] if labelled else None,
        time=[np.array(x) for x in time],
        kept=kept.items,
        diffusion=diffusion,
        diffusion_problem=problem,
    )


def diffusion_summary(data: Collected) -> dict[str, Any] | None:
    """D over the replicas, with the MSD of the first one; None when it was refused."""
    if not data.diffusion:
        return None
    values = np.array([d["diffusion_m2_s"] for d in data.diffusion])
    errors = np.array([d["diffusion_error_m2_s"] for d in data.diffusion])
    error = float(np.sqrt((errors**2).sum())) / len(values)
    if len(values) > 1:
        error = max(error, float(values.std(ddof=1)) / float(np.sqrt(len(values))))
    first = data.diffusion[0]
    return {
        "value": float(values.mean()),
        "error": error,
        "unit": "m2/s",
        "exponent": first["exponent"],
        "lag_ps": first["lag_ps"],
        "msd_A2": first["msd_A2"],
        "msd_error_A2": first["error_A2"],
    }


def angles_summary(data: Collected, radii: dict[str, float]) -> dict[str, Any]:
    """First-shell angular distributions by bead type, for the types whose radius is known."""
    result: dict[str, Any] = {}
    for index, name in enumerate(data.topology.type_names):
        radius = radii.get(f"{name}-{name}")
        if radius is None:
            continue
        try:
            found = angle_distribution(data.kept, index, radius)
        except DataError:
            continue
        result[name] = {
            "radius_A": radius,
            "theta_deg": found.theta.tolist(),
            "p_per_deg": found.p.tolist(),
            "error_per_deg": found.error.tolist(),
            "n_frames": found.n_frames,
        }
    return result
