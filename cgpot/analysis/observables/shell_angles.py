# SPDX-License-Identifier: GPL-2.0-or-later
"""Angles in the first shell, neighbour - centre - neighbour, by triplet of bead types.

Neighbours are sites of other molecules than the centre's, nearer than the first minimum of the
reference's g(r) for their pair of types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.block_sums import Distribution, distribution
from cgpot.analysis.observables.labelled import LabelledDistributions
from cgpot.analysis.observables.observable import Record, System
from cgpot.analysis.observables.plot import AA, Curve, Plot, Shown
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import half_list
from cgpot.molecules.topology import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
ANGLE_BINS = 45
FRAMES = 200


@dataclass
class Thinned:
    """Keep at most ``2 * limit`` evenly spread frames of a stream of unknown length."""

    limit: int
    items: list[CGFrame] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, item: CGFrame) -> None:
        """Take the next frame."""
        if self.seen % self.stride == 0:
            self.items.append(item)
            if len(self.items) > 2 * self.limit:
                self.items = self.items[::2]
                self.stride *= 2
        self.seen += 1


class ShellAngles(LabelledDistributions):
    """Angular distributions in the first shell, from at most 400 frames."""

    name = "angles"
    title = "Angles in the first shell"

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._kept = Thinned(FRAMES)

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Keep the frame, or not."""
        self._kept.add(frame)

    def result(self) -> Record:
        """By triplet ``A-B-C`` (centre B): the two radii, theta_deg, p_per_deg, its error, frames.

        Triplets whose radii are not known, or that no frame has, are left out.
        """
        topology = self.system.sites()
        radii = _radii(topology, self.system.radii)
        if np.isnan(radii).all():
            return {}
        try:
            self.found = angle_distributions(self._kept.items, radii)
        except DataError:
            self.found = {}
        record = {}
        for label, found in self.found.items():
            a, b, c = (topology.type_names.index(name) for name in label.split("-"))
            record[label] = {
                "radius_A": float(radii[a, b]),
                "second_radius_A": float(radii[b, c]),
                "theta_deg": found.x.tolist(),
                "p_per_deg": found.p.tolist(),
                "error_per_deg": found.error.tolist(),
                "n_frames": len(self._kept.items),
            }
        return record

    @classmethod
    def plot(cls, label: str, shown: Sequence[Shown]) -> Plot:
        """The distribution of one triplet."""
        reference = shown[0].record[label]
        theta, p = np.array(reference["theta_deg"]), np.array(reference["p_per_deg"])
        error = np.array(reference["error_per_deg"])
        curves = [
            Curve(AA, shown[0].name, theta, 100 * p, 100 * (p - 2 * error), 100 * (p + 2 * error))
        ]
        largest = 0.0
        for system in shown[1:]:
            own = np.array(system.record[label]["p_per_deg"])
            largest = max(largest, float(np.abs(own - p).max() / p.max()))
            curves.append(Curve(system.role, system.name, theta, 100 * own))
        sine = np.sin(np.radians(theta))
        curves.append(Curve(None, "", theta, 100 * sine / sine.sum() / (theta[1] - theta[0])))
        radius, second = reference["radius_A"], reference["second_radius_A"]
        within = f"{radius:.2f} Å" if radius == second else f"{radius:.2f} and {second:.2f} Å"
        names = label.split("-")
        title = names[1] if len(set(names)) == 1 else label
        minimum = "minimum" if radius == second else "minima"
        return Plot(
            key=f"angles-{title}",
            title=f"Angles in the first shell, {title}",
            alt=f"Line chart of the angles between two neighbours of a {names[1]} bead within "
            f"{within}; the CG curve differs from the atomistic one by at most "
            f"{100 * largest:.0f} % of the largest value.",
            caption=f"Angles between pairs of neighbours closer than {within}, the first {minimum} "
            "of the atomistic g(r). Three-body structure that g(r) does not show. Dotted: "
            "neighbours placed at random.",
            x_label="angle neighbour – centre – neighbour / °",
            y_label="probability / % per °",
            curves=curves,
            x_range=(0.0, 180.0),
            x_ticks=30.0,
        )

    @classmethod
    def curves(cls, record: Record) -> dict[str, Sequence[float]]:
        """Angle, and density and error of every triplet."""
        columns: dict[str, Sequence[float]] = {}
        for label, item in record.items():
            columns.setdefault("theta_deg", item["theta_deg"])
            columns[f"{label}:p"] = item["p_per_deg"]
            columns[f"{label}:error"] = item["error_per_deg"]
        return columns


def _radii(topology: Topology, known: dict[str, float]) -> Array:
    """Shell radii (n_types, n_types), Å; NaN where there is none."""
    names = topology.type_names
    radii = np.full((len(names), len(names)), np.nan)
    for a, first in enumerate(names):
        for b in range(a, len(names)):
            radii[a, b] = radii[b, a] = known.get(f"{first}-{names[b]}", np.nan)
    return radii


def triplet_labels(topology: Topology) -> list[str]:
    """``A-B-C`` with the centre B in the middle and A before C; by B, A, C."""
    n = len(topology.type_names)
    triplets = [(a, b, c) for b in range(n) for a in range(n) for c in range(a, n)]
    return ["-".join(topology.type_names[t] for t in triplet) for triplet in triplets]


def angle_distributions(
    frames: Sequence[CGFrame], radii: Array, bins: int = ANGLE_BINS
) -> dict[str, Distribution]:
    """Distributions (degrees) of the angles between two neighbours of a site, by triplet.

    Args:
        frames: of one topology.
        radii: (n_types, n_types) how far neighbours are, Å; NaN: this pair does not count.
        bins: from 0 to 180 degrees.

    Raises:
        DataError: fewer than two frames, or no angle at all.
    """
    if len(frames) < 2:
        raise DataError(f"expected at least 2 frames for an angular distribution: {len(frames)}")
    edges = np.linspace(0.0, 180.0, bins + 1)
    cos_edges = np.cos(np.radians(edges))[::-1]
    samples = np.stack([_frame_counts(f, radii, cos_edges)[:, ::-1] for f in frames])
    if samples.sum() == 0:
        raise DataError(f"no site has two neighbours within {np.nanmax(radii):.2f} Å")
    blocks = np.stack([b.sum(axis=0) for b in np.array_split(samples, min(10, len(samples)))])
    blocks, samples = (np.pad(x, ((0, 0), (0, 0), (0, 2))) for x in (blocks, samples))
    middle = len(samples) // 2
    halves = np.stack([samples[:middle].sum(axis=0), samples[middle:].sum(axis=0)])
    found = {}
    for k, label in enumerate(triplet_labels(frames[0].topology)):
        if np.count_nonzero(blocks[:, k].sum(axis=1)) > 1:
            found[label] = distribution(blocks[:, k], halves[:, k], edges)
    return found


def _frame_counts(frame: CGFrame, radii: Array, cos_edges: Array) -> Array:
    """Counts (triplets, bins) of the cosines in one frame."""
    topology = frame.topology
    types, n_types = topology.types, len(topology.type_names)
    bins = len(cos_edges) - 1
    per_centre = n_types * (n_types + 1) // 2
    empty = np.zeros((n_types * per_centre, bins))
    if np.isnan(radii).all():
        return empty
    pairs = half_list(frame, float(np.nanmax(radii)))
    molecule = topology.molecule_index
    near = molecule[pairs.i] != molecule[pairs.j]
    near &= pairs.distance < np.nan_to_num(radii)[types[pairs.i], types[pairs.j]]
    pairs = pairs.select(near)
    i = np.concatenate([pairs.i, pairs.j])
    j = np.concatenate([pairs.j, pairs.i])
    if len(i) == 0:
        return empty
    order = np.argsort(i, kind="stable")
    vectors = np.concatenate([pairs.vector, -pairs.vector])[order]
    i, j = i[order], j[order]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = np.bincount(i, minlength=topology.n_sites)
    slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = int(counts.max())
    padded = np.zeros((topology.n_sites, most, 3))
    padded[i, slot] = vectors
    of_type = np.zeros((topology.n_sites, most), dtype=np.int64)
    of_type[i, slot] = types[j]
    cosines = padded @ padded.transpose(0, 2, 1)
    valid = np.arange(most)[None, :] < counts[:, None]
    upper = np.triu(np.ones((most, most), dtype=bool), 1)
    centre, first, second = np.nonzero(valid[:, :, None] & valid[:, None, :] & upper)
    values = np.clip(cosines[centre, first, second], -1.0, 1.0)
    a, c = of_type[centre, first], of_type[centre, second]
    a, c = np.minimum(a, c), np.maximum(a, c)
    row = types[centre] * per_centre + a * n_types - a * (a - 1) // 2 + (c - a)
    k = np.clip(np.searchsorted(cos_edges, values, side="right") - 1, 0, bins - 1)
    found = np.bincount(k + bins * row, minlength=empty.size)
    return found.reshape(empty.shape).astype(np.float64)
