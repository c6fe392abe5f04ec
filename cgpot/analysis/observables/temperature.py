# SPDX-License-Identifier: GPL-2.0-or-later
"""Temperature of a run."""

from __future__ import annotations

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import Quantity

COLUMN = "temperature_K"


class Temperature(Observable):
    """Mean temperature; a data set has none of its own."""

    name = "temperature"
    title = "Temperature"
    part = "state"

    def result(self) -> Record | None:
        """Mean with error and halves, K."""
        if COLUMN not in self.system.series.columns:
            return None
        return {**self.system.series.mean(COLUMN), "unit": "K"}

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """The mean."""
        return [Quantity("Temperature", record["mean"], record["error"], "K")]
