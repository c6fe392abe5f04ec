# SPDX-License-Identifier: GPL-2.0-or-later
"""Drift of the total energy of an NVE run."""

from __future__ import annotations

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import Quantity
from cgpot.analysis.series import energy_drift


class EnergyDrift(Observable):
    """Drift by `cgpot.analysis.series.energy_drift`."""

    name = "energy_drift"
    title = "Energy drift"
    part = "state"

    def result(self) -> Record | None:
        """Drift with error per bead and ps, and relative to the kinetic energy; None if not NVE."""
        series, n_sites = self.system.series, self.system.n_sites
        if self.system.ensemble != "nve" or not n_sites or "etotal_eV" not in series.columns:
            return None
        total, kinetic = series.columns["etotal_eV"][0], series.columns["ke_eV"][0]
        return energy_drift(series.time[0], total, kinetic, n_sites)

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """The drift of the total energy."""
        return [
            Quantity(
                "Energy drift",
                1e6 * record["ev_per_bead_ps"],
                1e6 * record["error_ev_per_bead_ps"],
                "µeV/ps per bead",
            )
        ]
