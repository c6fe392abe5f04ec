# SPDX-License-Identifier: GPL-2.0-or-later
"""Text dumps with forces."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.core.units import lammps_factors
from cgpot.formats.atomistic import AtomFrame
from cgpot.formats.lammps.unit_styles import resolve_units

Array = NDArray[np.float64]


def dump_units(path: str | Path) -> str | None:
    """The unit style that the head of a dump holds (``dump_modify units yes``), or None."""
    with open_text(path) as stream:
        try:
            lines = [line.strip() for line in itertools.islice(stream, 12)]
        except (OSError, EOFError, UnicodeDecodeError) as err:
            raise InputError(f"not a text dump: {err}", file=path, frame=0) from err
    if "ITEM: UNITS" in lines[:-1]:
        return lines[lines.index("ITEM: UNITS") + 1]
    return None


class LammpsDump:
    """A text dump with forces, read frame by frame.

    MDAnalysis's dump reader converts neither forces nor units, undoes image flags for
    orthogonal boxes only and takes a truncated last frame for the end; hence this reader.
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
        index = 0
        with open_text(self.path) as stream:
            state: dict[str, Any] = {}
            while True:
                try:
                    frame = self._frame(stream, index, state)
                except (EOFError, OSError, UnicodeDecodeError) as err:
                    raise InputError(
                        f"truncated or damaged file: {err}", file=self.path, frame=index
                    ) from err
                if frame is None:
                    break
                yield frame
                index += 1
        if not index:
            raise InputError("the trajectory holds no frame", file=self.path)

    def _line(self, stream: IO[str], index: int) -> str:
        line = stream.readline()
        if not line.endswith("\n"):
            raise InputError(
                "truncated trajectory: the file ends inside this frame", file=self.path, frame=index
            )
        return line.strip()

    def _frame(self, stream: IO[str], index: int, state: dict[str, Any]) -> AtomFrame | None:
        step: int | None = None
        time: float | None = None
        n = -1
        geometry: tuple[Array, Array] | None = None
        while True:
            head = stream.readline()
            if not head:
                if step is not None:
                    raise InputError(
                        "truncated trajectory: the file ends inside this frame",
                        file=self.path,
                        frame=index,
                    )
                return None
            head = head.strip()
            if not head:
                continue
            try:
                if head == "ITEM: UNITS":
                    state["units"] = self._line(stream, index)
                elif head == "ITEM: TIME":
                    time = float(self._line(stream, index))
                elif head == "ITEM: TIMESTEP":
                    step = int(self._line(stream, index))
                elif head == "ITEM: NUMBER OF ATOMS":
                    n = int(self._line(stream, index))
                elif head.startswith("ITEM: BOX BOUNDS"):
                    geometry = self._box(head, [self._line(stream, index) for _ in range(3)], index)
                elif head.startswith("ITEM: ATOMS"):
                    break
                else:
                    raise InputError(
                        f"expected an 'ITEM:' line, found {head[:40]!r}",
                        file=self.path,
                        frame=index,
                    )
            except ValueError as err:
                raise InputError(f"{head!r}: {err}", file=self.path, frame=index) from err
        if step is None or geometry is None:
            raise InputError("no TIMESTEP or BOX BOUNDS", file=self.path, frame=index)
        if n != self.n_atoms:
            raise InputError(
                f"{n} atoms, but the topology has {self.n_atoms}; expected files of one system "
                "and a dump of all atoms",
                file=self.path,
                frame=index,
            )
        units = resolve_units(self.units, {self.path: state.get("units")})
        factors = lammps_factors(units)
        cell, origin = geometry
        table, columns = self._table(stream, head.split()[2:], n, index)
        positions, whole = self._positions(table, columns, cell, origin, index)
        forces = np.stack([table[columns[c]] for c in ("fx", "fy", "fz")], axis=1)
        velocities = None
        if all(c in columns for c in ("vx", "vy", "vz")):
            velocities = np.stack([table[columns[c]] for c in ("vx", "vy", "vz")], axis=1)
            velocities *= factors["length"] / factors["time"]
        if time is not None:
            time *= factors["time"]
        elif step in self.times:
            time = self.times[step]
        elif self.timestep is not None:
            time = step * self.timestep
        return AtomFrame(
            index=index,
            step=step,
            time=time,
            positions=positions * factors["length"],
            forces=forces * factors["force"],
            cell=cell * factors["length"],
            whole=whole,
            velocities=velocities,
        )

    def _box(self, head: str, lines: list[str], index: int) -> tuple[Array, Array]:
        """Cell (rows) and origin from the bounds (restricted triclinic boxes as well)."""
        if "abc origin" in head:
            raise InputError(
                "general triclinic box; expected an orthogonal or restricted triclinic one "
                "(dump_modify triclinic/general no)",
                file=self.path,
                frame=index,
            )
        values = np.asarray([[float(x) for x in line.split()] for line in lines])
        xy = xz = yz = 0.0
        if values.shape == (3, 3):
            xy, xz, yz = values[:, 2]
        elif values.shape != (3, 2):
            raise InputError(f"box bounds {lines}", file=self.path, frame=index)
        low = values[:, 0] - (min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0)
        high = values[:, 1] - (max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0)
        lx, ly, lz = high - low
        return np.asarray([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]), low

    def _table(
        self, stream: IO[str], names: list[str], n: int, index: int
    ) -> tuple[Array, dict[str, int]]:
        """Columns (n_columns, n_atoms) in the order of the atom ids, and where each is."""
        missing = [c for c in ("id", "fx", "fy", "fz") if c not in names]
        if missing:
            what = "forces" if missing != ["id"] else "atom ids"
            raise InputError(
                f"no {what}: columns {missing} are missing, found {names}; expected a dump with "
                "'id x y z ix iy iz fx fy fz'",
                file=self.path,
                frame=index,
            )
        wanted = [
            c
            for c in names
            if c in ("id", "fx", "fy", "fz", "ix", "iy", "iz") or re.fullmatch(r"[xyz](u|s|su)?", c)
        ]
        lines = list(itertools.islice(stream, n))
        if len(lines) < n or not lines[-1].endswith("\n"):
            raise InputError(
                f"truncated trajectory: {len(lines)} of {n} atoms in this frame",
                file=self.path,
                frame=index,
            )
        try:
            table = np.loadtxt(lines, usecols=[names.index(c) for c in wanted], unpack=True)
        except (ValueError, IndexError) as err:
            raise InputError(f"damaged atom line: {err}", file=self.path, frame=index) from err
        table = np.atleast_2d(table) if n > 1 else np.reshape(table, (len(wanted), 1))
        columns = {c: i for i, c in enumerate(wanted)}
        ids = table[columns["id"]].astype(np.int64)
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(ids[order], np.arange(1, n + 1)):
            raise InputError(
                f"atom ids are not 1 to {n}, each once; expected a dump of all atoms",
                file=self.path,
                frame=index,
            )
        return table[:, order], columns

    def _positions(
        self, table: Array, columns: dict[str, int], cell: Array, origin: Array, index: int
    ) -> tuple[Array, bool]:
        """Positions relative to the box's corner, and whether they are unwrapped."""

        def take(suffix: str) -> Array | None:
            wanted = [f"{a}{suffix}" for a in "xyz"]
            if not all(c in columns for c in wanted):
                return None
            return np.stack([table[columns[c]] for c in wanted], axis=1)

        images = None
        if all(c in columns for c in ("ix", "iy", "iz")):
            images = np.stack([table[columns[c]] for c in ("ix", "iy", "iz")], axis=1)
        if (unwrapped := take("u")) is not None:
            return unwrapped - origin, True
        if (plain := take("")) is not None:
            plain = plain - origin
            return (plain, False) if images is None else (plain + images @ cell, True)
        if (scaled := take("su")) is not None:
            return scaled @ cell, True
        if (scaled := take("s")) is not None:
            return (scaled @ cell, False) if images is None else ((scaled + images) @ cell, True)
        raise InputError(
            f"no coordinates among the columns {sorted(columns)}; expected x y z, xu yu zu or "
            "xs ys zs",
            file=self.path,
            frame=index,
        )
