# SPDX-License-Identifier: GPL-2.0-or-later
"""Mass density: of the frames of a data set, or of the thermo output of a run."""

from __future__ import annotations

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import Quantity

COLUMN = "density_kg_m3"
UNIT = "kg/m3"


class Density(Observable):
    """Mean density."""

    name = "density"
    title = "Density"
    part = "state"

    def result(self) -> Record:
        """Mean with error and halves (`Series.mean`), kg/m^3."""
        series = self.system.series
        found = {**series.mean(COLUMN), "unit": UNIT}
        if series.whole and self.system.ensemble == "npt":
            self.system.notes += series.note_equilibration(found, COLUMN, "density", UNIT)
        return found

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """The mean."""
        return [Quantity("Density", record["mean"], record["error"], "kg/m³")]
