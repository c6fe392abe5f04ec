# SPDX-License-Identifier: GPL-2.0-or-later
"""Isothermal compressibility of a system at constant pressure, from its volume fluctuation."""

from __future__ import annotations

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import Quantity
from cgpot.analysis.series import compressibility
from cgpot.core.errors import DataError


class Compressibility(Observable):
    """kappa_T by `cgpot.analysis.series.compressibility`."""

    name = "compressibility"
    title = "Compressibility"
    part = "state"

    def result(self) -> Record | None:
        """Value and error, 1/GPa; None at constant volume, or of a run that is too short."""
        if self.system.ensemble != "npt":
            return None
        series = self.system.series
        try:
            return compressibility(series.used("volume_A3"), self.system.temperature)
        except DataError as err:
            if series.whole:
                raise
            self.system.notes.append(f"no compressibility: {err}")
            return None

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """The value."""
        return [
            Quantity("Compressibility (fluctuations)", record["value"], record["error"], "1/GPa")
        ]
