# SPDX-License-Identifier: GPL-2.0-or-later
"""Observables that are histograms by label: their records, overlaps, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.block_sums import BlockSums, Distribution, distribution
from cgpot.analysis.observables.labelled import LabelledDistributions
from cgpot.analysis.observables.observable import Record, System
from cgpot.analysis.observables.plot import AA, Curve, Plot, Quantity, Shown
from cgpot.core.errors import DataError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Histogram(LabelledDistributions):
    """Distributions by label; a subclass sets ``labels`` and ``edges`` and calls `record`.

    All labels have as many bins of equal width.

    Attributes:
        x_key: name of the bins' centres in the record, with the unit, as ``r_A``.
        p_key: name of the density.
        unit: unit of the quantity for readers.
        axis: label of the horizontal axis.
        what: the quantity in words, for titles.
        caption: how to read the figure.
        periodic: whether the quantity has no mean (a dihedral).
        largest: end of the horizontal axis of figures.
    """

    x_key: ClassVar[str] = "r_A"
    p_key: ClassVar[str] = "p_per_A"
    unit: ClassVar[str] = "Å"
    axis: ClassVar[str] = "r / Å"
    what: ClassVar[str] = ""
    caption: ClassVar[str] = ""
    periodic: ClassVar[bool] = False
    largest: ClassVar[float] = float("inf")

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.labels: list[str] = []
        self.edges: list[Array] = []
        self._sums = BlockSums()
        self._n_frames = 0

    def record(self, values: Array, kind: IntArray, replica: int) -> None:
        """Count the values of a frame; those beyond the last bin are counted in it.

        Args:
            values: (n,).
            kind: (n,) label of each.
            replica: of the frame.
        """
        first = np.array([e[0] for e in self.edges])
        last = np.array([e[-1] for e in self.edges])
        bins = len(self.edges[0]) - 1
        scale = bins / (last - first)
        k = np.clip(np.floor((values - first[kind]) * scale[kind]).astype(np.int64), 0, bins - 1)
        n = len(self.labels)
        counts = np.bincount(k + bins * kind, minlength=bins * n).reshape(n, bins)
        powers = [np.bincount(kind, weights=values**m, minlength=n) for m in (1, 2)]
        self._sums.add(np.column_stack([counts, *powers]), replica)
        self._n_frames += 1

    def result(self) -> Record | None:
        """By label: centres, density, error, mean and deviation with errors, overlap of halves.

        Labels without a count, or with counts in one block only, are left out.
        """
        self.found = {}
        if not self.labels or not self._n_frames:
            return None
        blocks, halves = self._sums.blocks(), self._sums.halves()
        for k, label in enumerate(self.labels):
            try:
                self.found[label] = distribution(blocks[:, k], halves[:, k], self.edges[k])
            except DataError:
                continue
        return {label: self._record(found) for label, found in self.found.items()}

    def _record(self, found: Distribution) -> Record:
        record = {
            self.x_key: found.x.tolist(),
            self.p_key: found.p.tolist(),
            "error": found.error.tolist(),
            "halves_overlap": found.halves_overlap,
            "n_frames": self._n_frames,
        }
        if not self.periodic:
            (mean, mean_error), (width, width_error) = found.moments()
            record |= {"mean": mean, "mean_error": mean_error}
            record |= {"deviation": width, "deviation_error": width_error}
        return record

    @classmethod
    def headline(cls, comparison: Record) -> dict[str, float]:
        """The worst overlap."""
        if not cls.headlines or not comparison:
            return {}
        worst = min(comparison.values(), key=lambda item: float(item["overlap"]))
        return dict(zip(cls.headlines, (worst["overlap"], worst["overlap_error"]), strict=True))

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """Mean and deviation; the overlap of the halves stands beside that of the runs."""
        rows = []
        for label, item in record.items():
            if "mean" in item:
                rows += [
                    Quantity(f"{label}, mean", item["mean"], item["mean_error"], cls.unit),
                    Quantity(
                        f"{label}, width", item["deviation"], item["deviation_error"], cls.unit
                    ),
                ]
            text = f"{label}, overlap of the two halves"
            rows.append(Quantity(text, item["halves_overlap"]))
        return rows

    @classmethod
    def plot(cls, label: str, shown: Sequence[Shown]) -> Plot:
        """The distribution of one label."""
        curves, texts = [], []
        filled = np.zeros(0)
        for system in shown:
            own = system.record[label]
            p, error = np.array(own[cls.p_key]), np.array(own["error"])
            band = (p - 2 * error, p + 2 * error) if system.role == AA else (None, None)
            curves.append(Curve(system.role, system.name, own[cls.x_key], p, *band))
            x = np.array(own[cls.x_key])
            filled = np.concatenate([filled, x[p > 1e-3 * p.max()]])
            if label in system.comparison:
                overlap = system.comparison[label]["overlap"]
                texts.append(f"; overlap of the CG {system.role.upper()} run {overlap:.3f}")
        margin = 0.1 * max(float(np.ptp(filled)), 1e-3)
        alt = f"Line chart of the distribution of the {cls.what} {label}" + "".join(texts)
        return Plot(
            key=f"{cls.name.replace('_', '-')}-{label}",
            title=f"{cls.what[0].upper()}{cls.what[1:]}, {label}",
            alt=alt + ".",
            caption=cls.caption,
            x_label=cls.axis,
            y_label=f"probability density / {cls.p_key.removeprefix('p_per_').replace('A', 'Å')}⁻¹",
            curves=curves,
            x_range=(-180.0, 180.0)
            if cls.periodic
            else (max(0.0, float(filled.min()) - margin), min(cls.largest, filled.max() + margin)),
            x_ticks=60.0 if cls.periodic else None,
        )

    @classmethod
    def curves(cls, record: Record) -> dict[str, Sequence[float]]:
        """Bins, and density and error of every label; labels with bins of their own have them."""
        columns: dict[str, Sequence[float]] = {}
        for label, item in record.items():
            if columns.setdefault(cls.x_key, item[cls.x_key]) != item[cls.x_key]:
                columns[f"{label}:{cls.x_key}"] = item[cls.x_key]
            columns[f"{label}:p"] = item[cls.p_key]
            columns[f"{label}:error"] = item["error"]
        return columns
