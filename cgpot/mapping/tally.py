# SPDX-License-Identifier: GPL-2.0-or-later
"""What the frames of a mapping run give beside the data set: its table and its checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.units import EV_PER_A3_IN_BAR, KB
from cgpot.formats.atomistic import AtomFrame, AtomTopology, ThermoSeries
from cgpot.mapping.check import PressureCheck, compare_pressures, likely_reason
from cgpot.mapping.kernel import internal_dof, site_temperature
from cgpot.mapping.sites import SiteMap
from cgpot.molecules.frame import CGFrame


@dataclass
class Tally:
    """Numbers of the frames, collected one frame at a time.

    Attributes:
        sites: the mapping.
        topology: atoms.
        thermo: virial and pressure, or None.
        temperature: K, or None without a virial.
        file: trajectory, for messages.
        table: rows of the table beside the data set.
        motion: temperatures of the sites' motion, K, where the frames have velocities.
    """

    sites: SiteMap
    topology: AtomTopology
    thermo: ThermoSeries | None
    temperature: float | None
    file: Path
    table: list[tuple[Any, ...]] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)
    _label: list[float] = field(default_factory=list)
    _engine: list[float] = field(default_factory=list)
    _internal: list[float] = field(default_factory=list)
    _last_time: float | None = None

    def add(self, frame: CGFrame, row: int, atoms: AtomFrame) -> None:
        """Take a mapped frame, its row in the thermodynamic series, and its atoms.

        Raises:
            InputError: the frame's time does not follow that of the frame before.
        """
        last, self._last_time = self._last_time, frame.time
        if last is not None and frame.time is not None and frame.time <= last:
            raise InputError(
                f"time {frame.time:g} ps does not follow {last:g} ps; expected one run "
                "without repeated frames",
                file=self.file,
                frame=frame.source_frame,
            )
        if self.topology.masses is not None:
            moving = site_temperature(atoms, self.sites, self.topology.masses)
            if moving is not None:
                self.motion.append(moving)
        ours: float | str = ""
        theirs: float | str = ""
        kelvin: float | str = ""
        if self.thermo is not None and self.temperature is not None:
            ours = frame.pressure(self.temperature)
            self._label.append(ours)
            self._internal.append(
                internal_dof(self.sites) / 3 * KB * self.temperature / frame.volume
            )
            if self.thermo.pressure is not None:
                theirs = float(self.thermo.pressure[row])
                self._engine.append(theirs)
            if self.thermo.temperature is not None:
                kelvin = float(self.thermo.temperature[row])
        self.table.append((frame.source_frame, frame.time, kelvin, frame.volume, theirs, ours))

    def pressures(self) -> PressureCheck:
        """The pressure of the labels against that of the engine."""
        return compare_pressures(
            np.asarray(self._label) if self._label else None,
            np.asarray(self._engine) if self._engine else None,
        )

    def reason(self, check: PressureCheck, form: str) -> str:
        """The likely reason of a mismatch; ``form`` is that of the virial."""
        kinetic = float(np.mean(self._internal)) * EV_PER_A3_IN_BAR
        difference = 0.0 if check.difference is None else check.difference.mean
        number = self.sites.n_constraints
        constrained = None if number is None else number > 0
        if self.topology.forces_hold_constraints:
            constrained = False
        return likely_reason(difference, kinetic, constrained, form == "exact")
