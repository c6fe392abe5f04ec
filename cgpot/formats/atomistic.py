# SPDX-License-Identifier: GPL-2.0-or-later
"""What the readers hand over: atomistic topology, frames and thermodynamic series.

Units are the project's (eV, Å, amu, K, bar, ps); the readers convert at the door.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class AtomTopology:
    """An atomistic system.

    Attributes:
        path: file it comes from.
        n_atoms: number of atoms.
        masses: (n_atoms,) amu, 0 of virtual sites, or None where the file holds none.
        bonds: (n_bonds, 2) atom indices, or None where the file holds none.
        molecules: (n_atoms,) molecule of each atom, zero-based, or None.
        constraints: (n, 2) constrained pairs, or None where the file cannot tell.
        universe: MDAnalysis universe for selections, or None.
        molecule_types: (n_atoms,) name of each atom's molecule type, or None where the file
            names none.
        forces_hold_constraints: whether trajectories of this engine hold constraint forces.
        charges: (n_atoms,) e, or None where the file holds none.
    """

    path: Path
    n_atoms: int
    masses: Array | None
    bonds: IntArray | None
    molecules: IntArray | None
    constraints: IntArray | None
    universe: Any = None
    molecule_types: NDArray[Any] | None = None
    forces_hold_constraints: bool = False
    charges: Array | None = None


@dataclass
class AtomFrame:
    """One atomistic frame.

    Attributes:
        index: frame in the trajectory, zero-based.
        step: step of the engine.
        time: ps, or None where neither file nor user gives it.
        positions: (n_atoms, 3) Å.
        forces: (n_atoms, 3) eV/Å.
        cell: (3, 3) Å, rows, lower triangular.
        whole: positions are unwrapped, so that molecules are whole as they stand.
        velocities: (n_atoms, 3) Å/ps, or None where the frame holds none.
    """

    index: int
    step: int
    time: float | None
    positions: Array
    forces: Array
    cell: Array
    whole: bool = False
    velocities: Array | None = None


@dataclass(frozen=True)
class ThermoSeries:
    """Per-frame quantities that the engine wrote beside the trajectory.

    Attributes:
        path: file they come from.
        key: ``time`` (ps) or ``step``: what frames are matched by.
        keys: (n,) ascending times or steps.
        virial: (n, 3, 3) full configurational virial W of the atomistic engine, eV; for
            engines that give a pressure, ``None`` and `virial_pressure` instead.
        virial_pressure: (n, 3, 3) configurational pressure W/V, bar, or None.
        pressure: (n,) pressure of the engine, bar, or None.
        temperature: (n,) K, or None.
        volume: (n,) Å^3, or None.
        time: (n,) ps, or None.
        notes: how the virial was obtained.
    """

    path: Path
    key: str
    keys: Array
    virial: Array | None
    virial_pressure: Array | None = None
    pressure: Array | None = None
    temperature: Array | None = None
    volume: Array | None = None
    time: Array | None = None
    notes: tuple[str, ...] = field(default=())
