# SPDX-License-Identifier: GPL-2.0-or-later
"""Which reader a file wants, by its suffix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.mapping import gromacs
from cgpot.mapping.atoms import AtomTopology, ThermoSeries
from cgpot.mapping.pipeline import Trajectory


@dataclass(frozen=True)
class AtomSystem:
    """Topology, trajectory and thermodynamic series of one run."""

    topology: AtomTopology
    trajectory: Trajectory
    thermo: ThermoSeries | None


def open_system(
    topology: str | Path,
    trajectory: str | Path,
    energy: str | Path | None,
    *,
    units: str | None = None,
    timestep: float | None = None,
    skip_incomplete: bool = False,
    forces_only: bool = False,
) -> AtomSystem:
    """Open the files of a run.

    Args:
        topology: .tpr, .gro or LAMMPS data.
        trajectory: .trr or LAMMPS dump.
        energy: .edr, LAMMPS log or thermo yaml.
        units: LAMMPS unit style.
        timestep: LAMMPS time step, ps.
        skip_incomplete: leave out frames without forces.
        forces_only: no virial is wanted.

    Raises:
        InputError: see the readers; a missing or superfluous energy file.
    """
    if energy is None and not forces_only:
        raise InputError(
            "no --energy file given; the virial labels need one (pass --forces-only to map "
            "without)",
            file=trajectory,
        )
    if energy is not None and forces_only:
        raise InputError("--forces-only and --energy exclude each other", file=energy)
    atoms = gromacs.read_topology(topology)
    frames = gromacs.TrrTrajectory(trajectory, atoms.n_atoms, skip_incomplete=skip_incomplete)
    thermo = None if energy is None else gromacs.read_edr(energy)
    return AtomSystem(atoms, frames, thermo)
