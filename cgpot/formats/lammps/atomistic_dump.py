# SPDX-License-Identifier: GPL-2.0-or-later
"""Atomistic dumps with forces, for the mapping: all atoms, in the project's units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.units import lammps_factors
from cgpot.formats.atomistic import AtomFrame
from cgpot.formats.lammps.dump import DumpHead, Snapshot, snapshots
from cgpot.formats.lammps.unit_styles import resolve_units

Array = NDArray[np.float64]


class LammpsDump:
    """A text dump with forces, read frame by frame.

    Coordinates are taken, in this order, from ``xu yu zu``, ``x y z`` with ``ix iy iz``,
    ``xsu ysu zsu``, ``xs ys zs`` with ``ix iy iz`` (all unwrapped), ``x y z``, ``xs ys zs``.

    Args:
        path: the dump (.gz and .xz too).
        n_atoms: atoms of the topology.
        units: unit style stated by the user, or None (the file's).
        timestep: ps per step for files without times, or None.
        times: step -> ps, from the thermo output.
    """

    def __init__(
        self,
        path: str | Path,
        n_atoms: int,
        *,
        units: str | None,
        timestep: float | None = None,
        times: dict[int, float] | None = None,
    ) -> None:
        self.path = require_file(path, "trajectory")
        self.n_atoms = n_atoms
        self.units = units
        self.timestep = timestep
        self.times = times or {}
        self._estimate = self._count()

    def _count(self) -> int:
        """Number of frames from the size of the first; 0 when it cannot be told."""
        if self.path.suffix in (".gz", ".xz"):
            return 0
        with open(self.path, encoding="utf-8", errors="replace") as stream:
            size = 0
            for number, line in enumerate(stream):
                if number and line.startswith("ITEM: TIMESTEP"):
                    return max(1, round(self.path.stat().st_size / size))
                size += len(line)
        return 1

    def __len__(self) -> int:
        return self._estimate

    def __iter__(self) -> Iterator[AtomFrame]:
        empty = True
        for snapshot in snapshots(self.path, self._choose):
            empty = False
            yield self._frame(snapshot)
        if empty:
            raise InputError("the trajectory holds no frame", file=self.path)

    def _choose(self, head: DumpHead) -> list[str]:
        """The columns to read, of a head that is right."""
        if head.n_atoms != self.n_atoms:
            raise InputError(
                f"{head.n_atoms} atoms, but the topology has {self.n_atoms}; expected files of "
                "one system and a dump of all atoms",
                file=self.path,
                frame=head.index,
            )
        missing = [c for c in ("id", "fx", "fy", "fz") if c not in head.names]
        if missing:
            what = "forces" if missing != ["id"] else "atom ids"
            raise InputError(
                f"no {what}: columns {missing} are missing, found {list(head.names)}; expected a "
                "dump with 'id x y z ix iy iz fx fy fz'",
                file=self.path,
                frame=head.index,
            )
        return [c for c in head.names if c == "id" or re.fullmatch(r"[ifv][xyz]|[xyz](u|s|su)?", c)]

    def _frame(self, snapshot: Snapshot) -> AtomFrame:
        head = snapshot.head
        if not np.array_equal(snapshot.columns["id"], np.arange(1, self.n_atoms + 1)):
            raise InputError(
                f"atom ids are not 1 to {self.n_atoms}, each once; expected a dump of all atoms",
                file=self.path,
                frame=head.index,
            )
        factors = lammps_factors(resolve_units(self.units, {self.path: head.units}))
        positions, whole = self._positions(snapshot)
        forces = snapshot.vectors("fx", "fy", "fz")
        assert forces is not None  # chosen above
        velocities = snapshot.vectors("vx", "vy", "vz")
        if velocities is not None:
            velocities *= factors["length"] / factors["time"]
        time = None if head.time is None else head.time * factors["time"]
        if time is None and head.step in self.times:
            time = self.times[head.step]
        elif time is None and self.timestep is not None:
            time = head.step * self.timestep
        return AtomFrame(
            index=head.index,
            step=head.step,
            time=time,
            positions=positions * factors["length"],
            forces=forces * factors["force"],
            cell=head.cell * factors["length"],
            whole=whole,
            velocities=velocities,
        )

    def _positions(self, snapshot: Snapshot) -> tuple[Array, bool]:
        """Positions relative to the box's corner, and whether they are unwrapped."""
        cell, origin = snapshot.head.cell, snapshot.head.origin
        images = snapshot.vectors("ix", "iy", "iz")
        if (unwrapped := snapshot.vectors("xu", "yu", "zu")) is not None:
            return unwrapped - origin, True
        if (plain := snapshot.vectors("x", "y", "z")) is not None:
            plain = plain - origin
            return (plain, False) if images is None else (plain + images @ cell, True)
        if (scaled := snapshot.vectors("xsu", "ysu", "zsu")) is not None:
            return scaled @ cell, True
        if (scaled := snapshot.vectors("xs", "ys", "zs")) is not None:
            return (scaled @ cell, False) if images is None else ((scaled + images) @ cell, True)
        raise InputError(
            f"no coordinates among the columns {sorted(snapshot.columns)}; expected x y z, "
            "xu yu zu or xs ys zs",
            file=self.path,
            frame=snapshot.head.index,
        )
