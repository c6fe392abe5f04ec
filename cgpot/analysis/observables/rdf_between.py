# SPDX-License-Identifier: GPL-2.0-or-later
"""Site-site g(r) between molecules, coordination numbers and the first peak, by pair of types.

Pairs of sites of one molecule are left out (`rdf_within` has them).  Every frame is normalised
with its own density and the exact number of pairs, so that an ideal gas gives 1 for any number
of sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.block_sums import cut_blocks, cut_halves, means
from cgpot.analysis.observables.labelled import Labelled
from cgpot.analysis.observables.observable import Record, System
from cgpot.analysis.observables.plot import AA, Curve, Plot, Quantity, Shown
from cgpot.analysis.pair_rdf import PairRDF, compare_rdf, halves_error
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import Counts, PairCounter
from cgpot.molecules.rdf import first_peak

Array = NDArray[np.float64]


class RadialDistribution(Labelled):
    """g(r) between molecules (counts only: memory of 4 bytes a bin, pair of types and frame)."""

    name = "rdf"
    title = "First shell"
    headlines: ClassVar[dict[str, str]] = {
        "rdf_error": "Δg: integral of |g_CG - g_AA| over that of g_AA, of the worst pair of types",
        "rdf_error_error": "its standard error",
        "first_peak_rel_error": "height of the first peak of that g(r), relative error",
        "first_peak_rel_error_error": "its standard error",
    }

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.counter = PairCounter(system.sites(), system.r_max, system.bins)
        self._counts: list[list[Counts]] = []
        self._volumes: list[list[float]] = []

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Count the pairs of a frame.

        Raises:
            DataError: r_max exceeds half the box.
        """
        while len(self._counts) <= replica:
            self._counts.append([])
            self._volumes.append([])
        self._counts[replica].append(self.counter.count(frame))
        self._volumes[replica].append(frame.volume)

    def measure(self) -> dict[str, PairRDF]:
        """g(r) of every pair of bead types that has pairs.

        Raises:
            DataError: fewer than two frames.
        """
        parts = [part for part in self._counts if part]
        volumes = [np.array(v) for v in self._volumes if v]
        n = sum(len(part) for part in parts)
        if n < 2:
            raise DataError(f"expected at least 2 frames for g(r), found {n}")
        counter = self.counter
        edges, shells = counter.edges, counter.shells
        topology = counter.topology
        of_type = np.bincount(topology.types, minlength=len(topology.type_names))
        results: dict[str, PairRDF] = {}
        for row, label in enumerate(counter.labels):
            if counter.between[row] <= 0:
                continue
            counts = [np.stack([c[row] for c in part]).astype(np.float64) for part in parts]
            norm = counter.between[row] * shells
            g = [c * v[:, None] / norm for c, v in zip(counts, volumes, strict=True)]
            a, b = counter.rows[row]
            per_site = 2.0 / of_type[a] if a == b else 1.0 / of_type[a]
            around = [np.cumsum(c, axis=1) * per_site for c in counts]
            blocks = means(cut_blocks(g))
            neighbours = means(cut_blocks(around))
            results[label] = PairRDF(
                r=0.5 * (edges[1:] + edges[:-1]),
                g=np.concatenate(g).mean(axis=0),
                error=blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks)),
                blocks=blocks,
                halves=means(cut_halves(g)),
                coordination=np.concatenate(around).mean(axis=0),
                coordination_error=neighbours.std(axis=0, ddof=1) / math.sqrt(len(neighbours)),
                n_frames=n,
            )
        return results

    def result(self) -> Record:
        """By pair: r_A, g, error, halves, halves_error, peak, halves_peak_height, coordination,
        n_frames.  The first minima of the reference become the shell radii of all systems.

        Raises:
            DataError: fewer than two frames.
        """
        self.found = self.measure()
        radii = self.system.radii
        if self.system.is_reference:
            for label, rdf in self.found.items():
                radius = rdf.first_minimum()
                if radius is not None:
                    radii[label] = radius
        return {
            label: {
                "r_A": rdf.r.tolist(),
                "g": rdf.g.tolist(),
                "error": rdf.error.tolist(),
                "halves": rdf.halves.tolist(),
                "halves_error": halves_error(rdf),
                "peak": rdf.peak(),
                "halves_peak_height": [first_peak(rdf.r, half)[1] for half in rdf.halves],
                "coordination": rdf.neighbours(radii[label]) if label in radii else None,
                "n_frames": rdf.n_frames,
            }
            for label, rdf in self.found.items()
        }

    @staticmethod
    def compare_one(own: PairRDF, reference: PairRDF) -> Record:
        """Difference of g(r) and of its first peak (`compare_rdf`)."""
        return compare_rdf(own, reference)

    @classmethod
    def headline(cls, comparison: Record) -> dict[str, float]:
        """Δg and first peak of the pair whose g(r) is farthest off."""
        if not comparison:
            return {}
        worst = max(comparison.values(), key=lambda item: float(item["rdf_error"]))
        return {
            "rdf_error": worst["rdf_error"],
            "rdf_error_error": worst["rdf_error_error"],
            "first_peak_rel_error": worst["first_peak_height_rel_error"],
            "first_peak_rel_error_error": worst["first_peak_height_rel_error_error"],
        }

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """First peak and coordination number of every pair."""
        rows = []
        for label, rdf in record.items():
            peak, count = rdf["peak"], rdf["coordination"]
            rows += [
                Quantity(f"{label}, first peak at", peak["position"], peak["position_error"], "Å"),
                Quantity(f"{label}, its height", peak["height"], peak["height_error"]),
            ]
            if count:
                text = f"{label}, neighbours within {count['radius']:.2f} Å"
                rows.append(Quantity(text, count["number"], count["error"]))
        return rows

    @classmethod
    def compared_rows(cls, comparison: Record) -> list[Quantity]:
        """Δg of every pair."""
        return [
            Quantity(f"{label}, Δg", item["rdf_error"], item["rdf_error_error"])
            for label, item in comparison.items()
        ]

    @classmethod
    def plot(cls, label: str, shown: Sequence[Shown]) -> Plot:
        """g(r) of one pair, with the difference."""
        reference = shown[0].record[label]
        r, g = np.array(reference["r_A"]), np.array(reference["g"])
        error, halves = np.array(reference["error"]), np.array(reference["halves"])
        low = np.minimum(halves.min(axis=0), g - 2 * error)
        high = np.maximum(halves.max(axis=0), g + 2 * error)
        peak = reference["peak"]
        alt = (
            f"Line chart of g(r) for {label}. The atomistic first peak is {peak['height']:.2f} at "
            f"{peak['position']:.2f} Å"
        )
        curves = [Curve(AA, shown[0].name, r, g, low, high)]
        for system in shown[1:]:
            own = system.record[label]
            curves.append(Curve(system.role, system.name, own["r_A"], own["g"]))
            alt += (
                f"; that of the CG {system.role.upper()} run is {own['peak']['height']:.2f} at "
                f"{own['peak']['position']:.2f} Å"
            )
            if label in system.comparison:
                alt += f", RDF error {system.comparison[label]['rdf_error']:.3f}"
        return Plot(
            key=f"rdf-{label}",
            title=f"Radial distribution function, {label}",
            alt=alt + ".",
            caption="How likely a neighbour of another molecule is at distance r, compared with a "
            "structureless fluid (1). The grey band is the uncertainty of the atomistic reference: "
            "two standard errors, or its two halves where they lie further apart. Below, the "
            "difference: a line inside the band cannot be told from the reference.",
            x_label="distance r / Å",
            y_label="g(r)",
            curves=curves,
            x_range=(max(0.0, float(r[np.argmax(g > 0)]) - 1.0), float(r[-1])),
            level=1.0,
            difference=True,
        )

    @classmethod
    def curves(cls, record: Record) -> dict[str, Sequence[float]]:
        """r, and for every pair g(r), its error and both halves."""
        columns: dict[str, Sequence[float]] = {}
        for label, rdf in record.items():
            columns.setdefault("r_A", rdf["r_A"])
            columns[f"{label}:g"] = rdf["g"]
            columns[f"{label}:error"] = rdf["error"]
            columns[f"{label}:first_half"] = rdf["halves"][0]
            columns[f"{label}:second_half"] = rdf["halves"][1]
        return columns
