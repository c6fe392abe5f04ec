# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of CG runs: snapshots with molecules and types, whole or cut off, and CG frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgpot.core.files import require_file
from cgpot.core.units import lammps_factors
from cgpot.formats.lammps.dump import DumpHead, snapshots
from cgpot.molecules.frame import Array, CGFrame, IntArray, Topology
from cgpot.molecules.species import Species
from cgpot.molecules.whole import wrap

REQUIRED = ("id", "mol", "type", "x", "y", "z")
OPTIONAL = ("ix", "iy", "iz", "fx", "fy", "fz")


@dataclass
class DumpFrame:
    """One snapshot of a dump, sorted by atom id.

    Attributes:
        step: time step.
        time: ps, or None when the dump does not write it.
        cell: (3, 3) Å, box vectors as rows.
        molecules: (n,) molecule ids as LAMMPS counts them (from 1).
        types: (n,) types as LAMMPS counts them (from 1).
        positions: (n, 3) Å, relative to the lower corner of the box, not wrapped.
        images: (n, 3) image flags, or None.
        forces: (n, 3) eV/Å, or None.
    """

    step: int
    time: float | None
    cell: Array
    molecules: IntArray
    types: IntArray
    positions: Array
    images: IntArray | None
    forces: Array | None


def _choose(head: DumpHead) -> list[str]:
    """The columns to read, of a head that is right."""
    missing = [name for name in REQUIRED if name not in head.names]
    if missing:
        raise ValueError(f"the columns {missing} are missing (found {list(head.names)})")
    if head.units is None:
        raise ValueError("no 'ITEM: UNITS'; expected a dump written with dump_modify units yes")
    lammps_factors(head.units)
    return [name for name in head.names if name in REQUIRED + OPTIONAL]


def read_dump(path: str | Path, *, truncated: bool = False) -> Iterator[DumpFrame]:
    """Snapshots of a dump, one at a time; .gz and .xz are read too.

    Args:
        path: dump written with ``dump custom ... id mol type x y z [ix iy iz] [fx fy fz]`` and
            ``dump_modify units yes``.
        truncated: take a file that ends within a snapshot (a killed run) up to the last
            whole one instead of refusing it.

    Raises:
        InputError: missing file, damaged or truncated frame (its index is named).
        UnitError: unknown units.
    """
    for snapshot in snapshots(require_file(path, "LAMMPS dump"), _choose, truncated=truncated):
        head = snapshot.head
        factors = lammps_factors(str(head.units))
        positions = snapshot.vectors("x", "y", "z")
        assert positions is not None  # chosen above
        forces = snapshot.vectors("fx", "fy", "fz")
        images = snapshot.vectors("ix", "iy", "iz")
        yield DumpFrame(
            step=head.step,
            time=None if head.time is None else head.time * factors["time"],
            cell=head.cell * factors["length"],
            molecules=snapshot.integers("mol"),
            types=snapshot.integers("type"),
            positions=(positions - head.origin) * factors["length"],
            images=None if images is None else images.astype(np.int64),
            forces=None if forces is None else forces * factors["force"],
        )


def to_frame(
    snapshot: DumpFrame,
    type_names: Sequence[str],
    type_masses: Sequence[float],
    topology: Topology | None = None,
) -> CGFrame:
    """A snapshot as a CG frame, wrapped.

    Args:
        snapshot: from `read_dump`.
        type_names: name of each bead type.
        type_masses: mass of each bead type, amu.
        topology: topology of the start or of an earlier snapshot, taken over, with its species,
            if it fits or is that of one copy of a replicated box; its charges in any case.
    """
    types = snapshot.types - 1
    _, molecules = np.unique(snapshot.molecules, return_inverse=True)
    if (
        topology is None
        or not np.array_equal(topology.types, types)
        or not np.array_equal(topology.molecule_index, molecules)
    ):
        species = () if topology is None else _copied(topology, types, molecules)
        topology = Topology(
            tuple(type_names),
            tuple(type_masses),
            types,
            molecules.astype(np.int64),
            () if topology is None else topology.type_charges,
            *species,
        )
    return CGFrame(
        topology=topology,
        positions=wrap(snapshot.positions, snapshot.cell),
        cell=snapshot.cell,
        forces=snapshot.forces,
        time=snapshot.time,
    )


def _copied(
    one: Topology, types: IntArray, molecules: IntArray
) -> tuple[()] | tuple[tuple[Species, ...], IntArray]:
    """Species, and the species of each molecule, of copies of a box; empty where it is no such."""
    copies, rest = divmod(len(types), max(one.n_sites, 1))
    if one.is_plain or rest or not copies:
        return ()
    shift = np.repeat(np.arange(copies), one.n_sites) * one.n_molecules
    wanted = np.tile(one.molecule_index, copies) + shift
    if not (
        np.array_equal(types, np.tile(one.types, copies)) and np.array_equal(molecules, wanted)
    ):
        return ()
    return one.species, np.tile(one.molecule_species, copies)


def merged_dumps(paths: Sequence[str | Path]) -> Iterator[DumpFrame]:
    """Snapshots of the dumps of restarted segments, in order, without the overlaps.

    Snapshots at or after the first step of a later segment are left to that segment.  All
    but the last segment may be cut off.
    """
    starts: list[int | None] = []
    for path in paths:
        first = None
        if Path(path).is_file() and Path(path).stat().st_size:
            first = next((s.step for s in read_dump(path, truncated=True)), None)
        starts.append(first)
    for index, (path, start) in enumerate(zip(paths, starts, strict=True)):
        if start is None:
            continue
        later = [s for s in starts[index + 1 :] if s is not None]
        stop = min(later) if later else None
        for snapshot in read_dump(path, truncated=True):
            if stop is not None and snapshot.step >= stop:
                break
            yield snapshot
