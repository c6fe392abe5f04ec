# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of LAMMPS text dumps (``dump custom``): snapshots in the units of the file.

MDAnalysis's dump reader converts neither forces nor units, undoes image flags for orthogonal
boxes only and takes a truncated last frame for the end; hence this one.  What atomistic
trajectories and CG runs need beyond is in `atomistic_dump` and `cg_dump`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import open_text

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class DumpHead:
    """What stands before the atoms of a snapshot.

    Attributes:
        index: snapshot in the file, zero-based.
        step: time step.
        time: in units of the style, or None where the dump has none (``dump_modify time yes``).
        units: the unit style, or None where neither this snapshot nor one before it has it
            (``dump_modify units yes``).
        n_atoms: number of atoms.
        cell: (3, 3) rows, lower triangular, in units of the style.
        origin: (3,) lower corner of the box.
        names: columns of the atoms.
    """

    index: int
    step: int
    time: float | None
    units: str | None
    n_atoms: int
    cell: Array
    origin: Array
    names: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, in the order of the atom ids.

    Attributes:
        head: what stands before the atoms.
        columns: name -> (n_atoms,) values, in units of the style.
    """

    head: DumpHead
    columns: dict[str, Array]

    def integers(self, name: str) -> IntArray:
        """(n_atoms,) a column of integers."""
        return self.columns[name].astype(np.int64)

    def vectors(self, *names: str) -> Array | None:
        """(n_atoms, len(names)) columns side by side, or None where one is missing."""
        if not all(name in self.columns for name in names):
            return None
        return np.stack([self.columns[name] for name in names], axis=1)


class _Truncated(Exception):
    """The file ends within a snapshot."""


def dump_units(path: str | Path) -> str | None:
    """The unit style that the head of a dump holds (``dump_modify units yes``), or None.

    Raises:
        InputError: not a text file.
    """
    with open_text(path) as stream:
        try:
            lines = [line.strip() for line in itertools.islice(stream, 12)]
        except (OSError, EOFError, UnicodeDecodeError) as err:
            raise InputError(f"not a text dump: {err}", file=path, frame=0) from err
    if "ITEM: UNITS" in lines[:-1]:
        return lines[lines.index("ITEM: UNITS") + 1]
    return None


def snapshots(
    path: Path,
    choose: Callable[[DumpHead], Sequence[str]],
    *,
    truncated: bool = False,
) -> Iterator[Snapshot]:
    """Snapshots of a dump, one at a time; .gz and .xz are read too.

    Args:
        path: the dump.
        choose: names the columns to read, ``id`` among them; a `ValueError` of it says what is
            wrong with a head.
        truncated: take a file that ends within a snapshot (a killed run) up to the last whole
            one instead of refusing it.

    Raises:
        InputError: a damaged or truncated snapshot; its index is named.
    """
    units: str | None = None
    with open_text(path) as stream:
        for index in itertools.count():
            try:
                head = _head(stream, index, units)
                if head is None:
                    return
                units = head.units
                found = Snapshot(head, _columns(stream, head, choose(head)))
            except (_Truncated, EOFError) as err:
                if truncated:
                    return
                raise InputError(
                    f"truncated trajectory: {str(err) or 'the file ends inside this frame'}",
                    file=path,
                    frame=index,
                ) from err
            except (ValueError, OSError) as err:
                raise InputError(f"damaged frame: {err}", file=path, frame=index) from err
            yield found


def _line(stream: IO[str]) -> str:
    line = stream.readline()
    if not line.endswith("\n"):
        raise _Truncated
    return line


def _head(stream: IO[str], index: int, units: str | None) -> DumpHead | None:
    """The next head, or None at the end of the file."""
    step = n = time = box = None
    while True:
        line = stream.readline()
        if not line and step is None and time is None:
            return None
        title = line.strip()
        if not title and line:
            continue
        if not line.endswith("\n"):
            raise _Truncated
        if title == "ITEM: UNITS":
            units = _line(stream).strip()
        elif title == "ITEM: TIME":
            time = float(_line(stream))
        elif title == "ITEM: TIMESTEP":
            step = int(_line(stream))
        elif title == "ITEM: NUMBER OF ATOMS":
            n = int(_line(stream))
        elif title.startswith("ITEM: BOX BOUNDS"):
            box = _box(title, [_line(stream).split() for _ in range(3)])
        elif title.startswith("ITEM: ATOMS"):
            break
        else:
            raise ValueError(f"expected an 'ITEM:' line, found {title[:40]!r}")
    if step is None or n is None or box is None:
        raise ValueError("no TIMESTEP, NUMBER OF ATOMS or BOX BOUNDS before 'ITEM: ATOMS'")
    return DumpHead(index, step, time, units, n, *box, tuple(title.split()[2:]))


def _box(title: str, rows: list[list[str]]) -> tuple[Array, Array]:
    """The cell and its lower corner; the bounds of a tilted box are those of its hull."""
    if "abc origin" in title:
        raise ValueError(
            "general triclinic box; expected an orthogonal or restricted triclinic one "
            "(dump_modify triclinic/general no)"
        )
    width = 3 if "xy xz yz" in title else 2
    if any(len(row) != width for row in rows):
        raise ValueError(f"box bounds {rows}; expected an orthogonal or restricted triclinic box")
    values = np.asarray(rows, dtype=np.float64)
    xy, xz, yz = values[:, 2] if width == 3 else (0.0, 0.0, 0.0)
    low = values[:, 0] - (min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0)
    high = values[:, 1] - (max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0)
    lx, ly, lz = high - low
    return np.asarray([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]), low


def _columns(stream: IO[str], head: DumpHead, wanted: Sequence[str]) -> dict[str, Array]:
    """The wanted columns in the order of the atom ids."""
    n = head.n_atoms
    lines = list(itertools.islice(stream, n))
    if len(lines) < n or (lines and not lines[-1].endswith("\n")):
        raise _Truncated(f"{len(lines)} of {n} atoms in this frame")
    if not n:
        return {name: np.zeros(0) for name in wanted}
    try:
        # numpy's parser takes half the time of splitting the lines here.
        table = np.loadtxt(
            lines,
            usecols=[head.names.index(name) for name in wanted],
            unpack=True,
            ndmin=2,
            comments=None,
        )
    except (ValueError, IndexError) as err:
        raise ValueError(f"atom lines: {err}") from err
    if table.shape != (len(wanted), n):
        raise ValueError(f"atom lines: {table.shape[1]} rows for {n} atoms")
    order = np.argsort(table[list(wanted).index("id")], kind="stable")
    return dict(zip(wanted, table[:, order], strict=True))
