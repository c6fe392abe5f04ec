# SPDX-License-Identifier: GPL-2.0-or-later
"""Which reader a file wants, by its suffix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.formats import gromacs, lammps
from cgpot.formats.atomistic import AtomTopology, ThermoSeries
from cgpot.mapping.pipeline import Trajectory

GROMACS_TOPOLOGIES = (".tpr", ".gro")
GROMACS_TRAJECTORIES = (".trr",)
DATA_SUFFIXES = (".data", ".lmp", ".lammps")
DUMP_SUFFIXES = (".dump", ".lammpstrj", ".lammpsdump")


@dataclass(frozen=True)
class AtomSystem:
    """Topology, trajectory and thermodynamic series of one run."""

    topology: AtomTopology
    trajectory: Trajectory
    thermo: ThermoSeries | None


def _engine(path: Path, gromacs_suffixes: tuple[str, ...], lammps_suffixes: tuple[str, ...]) -> str:
    suffix = path.suffix if path.suffix not in (".gz", ".xz") else Path(path.stem).suffix
    if suffix in gromacs_suffixes:
        return "GROMACS"
    if suffix in lammps_suffixes or path.name.startswith(("data.", "dump.")):
        return "LAMMPS"
    raise InputError(
        f"unknown format {suffix!r}; expected {', '.join(gromacs_suffixes)} (GROMACS) or "
        f"{', '.join(lammps_suffixes)} (LAMMPS)",
        file=path,
    )


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
        topology: .tpr, .gro (GROMACS) or .data (LAMMPS).
        trajectory: .trr or .dump/.lammpstrj (.gz, .xz).
        energy: .edr, or a LAMMPS log or yaml.
        units: LAMMPS unit style.
        timestep: LAMMPS time step, ps.
        skip_incomplete: leave out frames without forces.
        forces_only: no virial is wanted.

    Raises:
        InputError: see the readers; files of two engines; a missing or superfluous energy file.
        UnitError: LAMMPS files whose units nobody states.
    """
    if energy is None and not forces_only:
        raise InputError(
            "no --energy file given; the virial labels need one (pass --forces-only to map "
            "without)",
            file=trajectory,
        )
    if energy is not None and forces_only:
        raise InputError("--forces-only and --energy exclude each other", file=energy)
    top, traj = Path(topology), Path(trajectory)
    engine = _engine(top, GROMACS_TOPOLOGIES, DATA_SUFFIXES)
    other = _engine(traj, GROMACS_TRAJECTORIES, DUMP_SUFFIXES)
    if engine != other:
        raise InputError(
            f"a {other} trajectory with the {engine} topology {top.name}; expected files of one "
            "run",
            file=traj,
        )
    if engine == "GROMACS":
        if units is not None or timestep is not None:
            raise InputError("--units and --timestep are for LAMMPS files", file=traj)
        atoms = gromacs.read_topology(top)
        frames = gromacs.TrrTrajectory(traj, atoms.n_atoms, skip_incomplete=skip_incomplete)
        return AtomSystem(atoms, frames, None if energy is None else gromacs.read_edr(energy))
    atoms = lammps.read_data(top)
    require_file(traj, "trajectory")
    found: dict[Path, str | None] = {traj: lammps.dump_units(traj)}
    if energy is not None:
        found[Path(energy)] = lammps.parse_thermo(energy)[2]
    style = lammps.resolve_units(units, found)
    thermo = None if energy is None else lammps.read_thermo(energy, style)
    times: dict[int, float] = {}
    if thermo is not None and thermo.time is not None:
        times = dict(zip(thermo.keys.astype(int).tolist(), thermo.time.tolist(), strict=True))
    dump = lammps.LammpsDump(traj, atoms.n_atoms, units=style, timestep=timestep, times=times)
    return AtomSystem(atoms, dump, thermo)
