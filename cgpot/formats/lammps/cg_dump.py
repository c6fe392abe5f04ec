# SPDX-License-Identifier: GPL-2.0-or-later
"""Streaming reader of LAMMPS text dumps of CG systems (``dump custom``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.core.units import lammps_factors
from cgpot.molecules.frame import Array, CGFrame, IntArray, Topology
from cgpot.molecules.whole import wrap

REQUIRED = ("id", "mol", "type", "x", "y", "z")


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


class _Truncated(Exception):
    """The file ends within a frame."""


def _line(stream: IO[str]) -> str:
    line = stream.readline()
    if not line.endswith("\n"):
        raise _Truncated
    return line


def _box(stream: IO[str], title: str) -> tuple[Array, Array]:
    """The cell and its lower corner; the bounds of a tilted box are those of its hull."""
    rows = [[float(x) for x in _line(stream).split()] for _ in range(3)]
    tilted = "xy xz yz" in title
    if any(len(row) != (3 if tilted else 2) for row in rows):
        raise ValueError(f"box bounds {rows}; expected an orthogonal or restricted triclinic box")
    low = np.array([row[0] for row in rows])
    high = np.array([row[1] for row in rows])
    cell = np.zeros((3, 3))
    if tilted:
        xy, xz, yz = (row[2] for row in rows)
        low[0] -= min(0.0, xy, xz, xy + xz)
        high[0] -= max(0.0, xy, xz, xy + xz)
        low[1] -= min(0.0, yz)
        high[1] -= max(0.0, yz)
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    cell[np.diag_indices(3)] = high - low
    return cell, low


def _frame(stream: IO[str], units: str | None) -> tuple[DumpFrame, str] | None:
    """The next snapshot and the unit style, or None at the end of the file."""
    time = None
    step = n = None
    cell, low = np.zeros((3, 3)), np.zeros(3)
    while True:
        line = stream.readline()
        if not line and step is None and time is None:
            return None
        if not line.endswith("\n"):
            raise _Truncated
        title = line.strip()
        if title == "ITEM: UNITS":
            units = _line(stream).strip()
        elif title == "ITEM: TIME":
            time = float(_line(stream))
        elif title == "ITEM: TIMESTEP":
            step = int(_line(stream))
        elif title == "ITEM: NUMBER OF ATOMS":
            n = int(_line(stream))
        elif title.startswith("ITEM: BOX BOUNDS"):
            cell, low = _box(stream, title)
        elif title.startswith("ITEM: ATOMS"):
            names = title.split()[2:]
            break
        elif title:
            raise ValueError(f"found {title[:40]!r}; expected a line 'ITEM: ...'")
    if step is None or n is None:
        raise ValueError("no time step or number of atoms before 'ITEM: ATOMS'")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ValueError(f"the columns {missing} are missing (found {names})")
    if units is None:
        raise ValueError("no 'ITEM: UNITS'; expected a dump written with dump_modify units yes")
    factors = lammps_factors(units)
    rows = [_line(stream) for _ in range(n)]
    values = np.array(" ".join(rows).split(), dtype=np.float64)
    if values.size != n * len(names):
        raise ValueError(f"{values.size} numbers for {n} atoms with {len(names)} columns")
    table = values.reshape(n, len(names))
    table = table[np.argsort(table[:, names.index("id")], kind="stable")]

    def columns(wanted: Sequence[str]) -> Array | None:
        if not all(name in names for name in wanted):
            return None
        return table[:, [names.index(name) for name in wanted]]

    forces = columns(("fx", "fy", "fz"))
    images = columns(("ix", "iy", "iz"))
    return (
        DumpFrame(
            step=step,
            time=None if time is None else time * factors["time"],
            cell=cell * factors["length"],
            molecules=table[:, names.index("mol")].astype(np.int64),
            types=table[:, names.index("type")].astype(np.int64),
            positions=(table[:, [names.index(c) for c in "xyz"]] - low) * factors["length"],
            images=None if images is None else images.astype(np.int64),
            forces=None if forces is None else forces * factors["force"],
        ),
        units,
    )


def read_dump(path: str | Path, *, truncated: bool = False) -> Iterator[DumpFrame]:
    """Snapshots of a dump, one at a time; .gz and .xz are read too.

    Args:
        path: dump written with ``dump custom ... id mol type x y z [ix iy iz] [fx fy fz]`` and
            ``dump_modify units yes``.
        truncated: take a file that ends within a snapshot (a killed run) up to the last
            whole one instead of refusing it.

    Raises:
        InputError: missing file, damaged or truncated frame (its index is named), unknown units.
    """
    p = require_file(path, "LAMMPS dump")
    units: str | None = None
    index = 0
    with open_text(p) as stream:
        while True:
            try:
                found = _frame(stream, units)
            except (_Truncated, EOFError) as err:
                if truncated:
                    return
                raise InputError(
                    "truncated: the file ends within this frame", file=p, frame=index
                ) from err
            except ValueError as err:
                raise InputError(f"damaged frame: {err}", file=p, frame=index) from err
            if found is None:
                return
            snapshot, units = found
            yield snapshot
            index += 1


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
            if it fits.
    """
    types = snapshot.types - 1
    _, molecules = np.unique(snapshot.molecules, return_inverse=True)
    if (
        topology is None
        or not np.array_equal(topology.types, types)
        or not np.array_equal(topology.molecule_index, molecules)
    ):
        topology = Topology(
            tuple(type_names), tuple(type_masses), types, molecules.astype(np.int64)
        )
    return CGFrame(
        topology=topology,
        positions=wrap(snapshot.positions, snapshot.cell),
        cell=snapshot.cell,
        forces=snapshot.forces,
        time=snapshot.time,
    )


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
