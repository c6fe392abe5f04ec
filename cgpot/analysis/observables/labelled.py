# SPDX-License-Identifier: GPL-2.0-or-later
"""Observables that have a curve for each label: pairs, kinds of terms, triplets of types."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from cgpot.analysis.observables.block_sums import Distribution, compare_distributions
from cgpot.analysis.observables.observable import Observable, Record, System
from cgpot.analysis.observables.plot import AA, Plot, Quantity, Shown, compared


class Labelled(Observable):
    """One curve for each label, compared and drawn label by label.

    Attributes:
        found: what was measured, by label; `result` fills it.
    """

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.found: dict[str, Any] = {}

    @staticmethod
    @abstractmethod
    def compare_one(own: Any, reference: Any) -> Record:
        """How one curve differs from that of the reference."""

    def compare(self, reference: Self) -> Record:
        """`compare_one` by label."""
        return {
            label: self.compare_one(own, reference.found[label])
            for label, own in self.found.items()
            if label in reference.found
        }

    @classmethod
    @abstractmethod
    def plot(cls, label: str, shown: Sequence[Shown]) -> Plot:
        """The figure of one label, the reference first."""

    @classmethod
    def plots(cls, shown: Sequence[Shown]) -> list[Plot]:
        """The figure of every label of the reference."""
        labels = shown[0].record if shown and shown[0].role == AA else {}
        return [cls.plot(label, compared(shown, label)) for label in labels]


class LabelledDistributions(Labelled):
    """Distributions by label, compared by their overlap."""

    @staticmethod
    def compare_one(own: Distribution, reference: Distribution) -> Record:
        """Overlap with the reference, with error and noise."""
        return compare_distributions(own, reference)

    @classmethod
    def compared_rows(cls, comparison: Record) -> list[Quantity]:
        """The overlaps."""
        return [
            Quantity(
                f"{label}, overlap with the atomistic one",
                item["overlap"],
                item["overlap_error"],
                note=f"by chance alone {item['overlap_noise']:.3f}",
            )
            for label, item in comparison.items()
        ]
