# SPDX-License-Identifier: GPL-2.0-or-later
"""Pressure and its tensor.

Of a data set: P = (N k_B T + W) / V with the virial W of each frame and the sites counted as
free particles.  Of a run: see `cgpot.analysis.cg_run.RunFolder.pressure` for the mean; the tensor
is the engine's, its diagonal with the k_B T / V of the three degrees of freedom that the engine
does not count.
"""

from __future__ import annotations

import math

from cgpot.analysis.observables.observable import Observable, Record
from cgpot.analysis.observables.plot import Quantity

COLUMN = "pressure_bar"
UNIT = "bar"
COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
SIGMAS = 3.0


class Pressure(Observable):
    """Mean pressure, and mean of each component of its tensor."""

    name = "pressure"
    title = "Pressure"
    part = "state"

    def result(self) -> Record | None:
        """Mean with error and halves, bar; ``tensor`` by component; None without virials.

        ``anisotropy`` is the largest of |P_aa - P| and |P_ab| in its own standard errors: a
        liquid at rest has no preferred direction.
        """
        series = self.system.series
        if COLUMN not in series.columns:
            return None
        found = {**series.mean(COLUMN), "unit": UNIT}
        if self.system.pressure_method:
            found["method"] = self.system.pressure_method
        if series.whole:
            self.system.notes += series.note_equilibration(found, COLUMN, "pressure", UNIT)
        found["tensor"] = self._tensor()
        return found

    def _tensor(self) -> Record | None:
        series = self.system.series
        names = {c: f"p{c}_bar" for c in COMPONENTS}
        if any(name not in series.columns for name in names.values()):
            return None
        means = {c: series.mean(name) for c, name in names.items()}
        tensor: Record = {
            c: {"mean": m["mean"], "error": m["error"], "unit": UNIT} for c, m in means.items()
        }
        trace = sum(tensor[c]["mean"] for c in COMPONENTS[:3]) / 3.0
        own = math.sqrt(sum(tensor[c]["error"] ** 2 for c in COMPONENTS[:3])) / 3.0
        deviations = []
        for c in COMPONENTS:
            away = tensor[c]["mean"] - (trace if c in COMPONENTS[:3] else 0.0)
            error = math.hypot(tensor[c]["error"], own if c in COMPONENTS[:3] else 0.0)
            deviations.append(abs(away) / error if error > 0 else 0.0)
        tensor["anisotropy"] = max(deviations)
        if tensor["anisotropy"] > 2 * SIGMAS:
            worst = COMPONENTS[deviations.index(max(deviations))]
            self.system.notes.append(
                f"the pressure is not the same in all directions: P_{worst} = "
                f"{tensor[worst]['mean']:.0f} ± {tensor[worst]['error']:.0f} bar beside a mean "
                f"of {trace:.0f} bar"
            )
        return tensor

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """The mean and the components."""
        rows = [Quantity("Pressure", record["mean"], record["error"], "bar")]
        for c in COMPONENTS if record["tensor"] else ():
            item = record["tensor"][c]
            rows.append(Quantity(f"P_{c}", item["mean"], item["error"], "bar"))
        return rows
