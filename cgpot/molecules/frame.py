# SPDX-License-Identifier: GPL-2.0-or-later
"""Coarse-grained frames: what the mapping makes and everything later reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import density_kg_m3, ideal_pressure_bar, pressure_bar
from cgpot.molecules.topology import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass
class CGFrame:
    """One coarse-grained frame (units: `cgpot.molecules.fields`).

    Attributes:
        topology: the sites.
        positions: (n, 3) Å.
        cell: (3, 3) Å, box vectors as rows.
        forces: (n, 3) eV/Å, or None.
        virial: (3, 3) eV, W = sum r (x) f of the coarse variables, or None.
        time: ps.
        source_frame: index in the atomistic trajectory.
        pbc: periodic directions.
        energy: potential energy, eV, or None (mapped frames have none).
        temperature: of the run, K, or None.
        state: name of the run's state point (temperature and density), or None.
        weight: statistical weight; of a mean-force label the number of independent samples.
    """

    topology: Topology
    positions: Array
    cell: Array
    forces: Array | None = None
    virial: Array | None = None
    time: float | None = None
    source_frame: int | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)
    energy: float | None = None
    temperature: float | None = None
    state: str | None = None
    weight: float = 1.0

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def density(self) -> float:
        """Mass density, kg/m^3."""
        return float(density_kg_m3(float(self.topology.masses.sum()), self.volume))

    @property
    def stress(self) -> Array:
        """Stress sigma = -W/V, (3, 3), eV/Å^3.

        Raises:
            DataError: the frame has no virial.
        """
        if self.virial is None:
            raise DataError("the frame has no virial, hence no stress", frame=self.source_frame)
        return -self.virial / self.volume

    def pressure(self, temperature: float) -> float:
        """Pressure (n k_B T + tr W / 3) / V in bar, the sites counted as free particles.

        Raises:
            DataError: the frame has no virial.
        """
        if self.virial is None:
            raise DataError("the frame has no virial, hence no pressure", frame=self.source_frame)
        kinetic = ideal_pressure_bar(self.topology.n_sites, temperature, self.volume)
        return float(kinetic + pressure_bar(np.trace(self.virial), self.volume))

    def check_finite(self, file: str | Path | None = None, frame: int | None = None) -> None:
        """Refuse NaN and infinity.

        Args:
            file: the file that the frame comes from.
            frame: its index in that file (default: `source_frame`).

        Raises:
            DataError: names the field and the frame.
        """
        fields: Sequence[tuple[str, Array | None]] = (
            ("positions", self.positions),
            ("cell", self.cell),
            ("forces", self.forces),
            ("virial", self.virial),
            ("energy", None if self.energy is None else np.asarray(self.energy)),
        )
        for name, value in fields:
            if value is not None and not np.isfinite(value).all():
                raise DataError(
                    f"{name} hold NaN or infinity; expected finite numbers",
                    file=file,
                    frame=self.source_frame if frame is None else frame,
                )


def state_name(temperature: float | None, density: float) -> str:
    """Name of a state point: temperature in K and density in kg/m^3, rounded, ``300K-868``."""
    return f"{density:.0f}" if temperature is None else f"{temperature:.0f}K-{density:.0f}"
