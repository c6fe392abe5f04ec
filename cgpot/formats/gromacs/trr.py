# SPDX-License-Identifier: GPL-2.0-or-later
"""Trajectories (.trr) with positions and forces."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.units import KJ_MOL, NM
from cgpot.formats.atomistic import AtomFrame

TRR_MAGIC = 1993
FORCE_UNIT = KJ_MOL / NM


@dataclass(frozen=True)
class TrrHeader:
    """What the header of one .trr frame says.

    Attributes:
        offset, size: bytes of the frame in the file.
        n_atoms, step, time: as named; time in ps.
        real: bytes of a number, 4 or 8.
        box_at, positions_at, velocities_at, forces_at: bytes from the start of the frame, or
            None where absent.
    """

    offset: int
    size: int
    n_atoms: int
    step: int
    time: float
    real: int
    box_at: int | None
    positions_at: int | None
    velocities_at: int | None
    forces_at: int | None

    @property
    def complete(self) -> bool:
        """Whether the frame holds box, positions and forces."""
        return None not in (self.box_at, self.positions_at, self.forces_at)


def scan_trr(path: str | Path) -> list[TrrHeader]:
    """Headers of all frames, from header to header without reading the data.

    Raises:
        InputError: not a .trr, or truncated (the frame is named).
    """
    p = require_file(path, "trajectory")
    total = p.stat().st_size
    headers: list[TrrHeader] = []
    with open(p, "rb") as stream:
        offset = 0
        while offset < total:
            index = len(headers)
            stream.seek(offset)
            header = _parse_header(stream.read(128), offset, p, index)
            if header is None:
                raise InputError(
                    f"truncated trajectory: the file ends inside the header of this frame "
                    f"(byte {total})",
                    file=p,
                    frame=index,
                )
            if offset + header.size > total:
                raise InputError(
                    f"truncated trajectory: the frame needs {header.size} bytes, the file has "
                    f"{total - offset} left",
                    file=p,
                    frame=index,
                )
            headers.append(header)
            offset += header.size
    return headers


def _parse_header(block: bytes, offset: int, path: Path, index: int) -> TrrHeader | None:
    """The header at the start of ``block``; None when the block is too short for one.

    XDR: magic number, version string, ten sizes in bytes (input record, energies, box, virial,
    pressure, topology, symbols, positions, velocities, forces), atoms, step, energy count,
    time, lambda; then the data in the order of the sizes.
    """
    if len(block) < 4:
        return None
    if struct.unpack(">i", block[:4])[0] != TRR_MAGIC:
        raise InputError("not a .trr frame (wrong magic number)", file=path, frame=index)
    if len(block) < 12:
        return None
    at = 12 + (struct.unpack(">i", block[8:12])[0] + 3) // 4 * 4
    if len(block) < at + 52:
        return None
    *sizes, n_atoms, step, _ = struct.unpack(">13i", block[at : at + 52])
    real = 4
    if n_atoms > 0 and max(sizes[7:]):
        real = max(sizes[7:]) // (3 * n_atoms)
    elif sizes[2]:
        real = sizes[2] // 9
    if real not in (4, 8) or min(sizes) < 0:
        raise InputError("damaged header of a .trr frame", file=path, frame=index)
    at += 52
    if len(block) < at + 2 * real:
        return None
    time = struct.unpack(">d" if real == 8 else ">f", block[at : at + real])[0]
    at += 2 * real
    starts = [at + sum(sizes[:i]) if sizes[i] else None for i in range(10)]
    return TrrHeader(
        offset=offset,
        size=at + sum(sizes),
        n_atoms=n_atoms,
        step=step,
        time=float(time),
        real=real,
        box_at=starts[2],
        positions_at=starts[7],
        velocities_at=starts[8],
        forces_at=starts[9],
    )


class TrrTrajectory:
    """A .trr with positions and forces, read frame by frame.

    The numbers lie in the file as big-endian blocks whose places the headers give, and are
    taken from there.  MDAnalysis reads .trr as well (the tests compare), but takes a file that
    ends inside a header for one that ends, leaves an index file beside the trajectory, and
    decodes number by number: ten times slower, half of the mapping's time.

    Args:
        path: the trajectory.
        n_atoms: atoms of the topology.
        skip_incomplete: leave out frames without positions or forces instead of refusing.

    Raises:
        InputError: truncated, another number of atoms, or frames without forces.
    """

    def __init__(self, path: str | Path, n_atoms: int, *, skip_incomplete: bool = False) -> None:
        self.path = Path(path)
        headers = scan_trr(self.path)
        if not headers:
            raise InputError("the trajectory holds no frame", file=self.path)
        for index, header in enumerate(headers):
            if header.n_atoms != n_atoms:
                raise InputError(
                    f"{header.n_atoms} atoms, but the topology has {n_atoms}; expected files of "
                    "one system",
                    file=self.path,
                    frame=index,
                )
        incomplete = [i for i, h in enumerate(headers) if not h.complete]
        if incomplete and (not skip_incomplete or len(incomplete) == len(headers)):
            first = incomplete[0]
            what = "positions" if headers[first].positions_at is None else "forces"
            raise InputError(
                f"no {what} in this frame ({len(incomplete)} of {len(headers)} frames lack "
                "positions or forces); set nstxout and nstfout to the same interval, make the "
                "forces with 'gmx mdrun -rerun', or pass --skip-incomplete",
                file=self.path,
                frame=first,
            )
        self.headers = headers
        self.skipped = len(incomplete)

    def __len__(self) -> int:
        return len(self.headers) - self.skipped

    def __iter__(self) -> Iterator[AtomFrame]:
        with open(self.path, "rb") as stream:
            for index, header in enumerate(self.headers):
                if header.box_at is None or header.positions_at is None or header.forces_at is None:
                    continue
                stream.seek(header.offset)
                block = stream.read(header.size)
                if len(block) != header.size:
                    raise InputError(
                        "truncated trajectory: the file became shorter", file=self.path, frame=index
                    )
                kind = np.dtype(f">f{header.real}")
                n = 3 * header.n_atoms
                yield AtomFrame(
                    index=index,
                    step=header.step,
                    time=header.time,
                    positions=_numbers(block, kind, n, header.positions_at, NM),
                    forces=_numbers(block, kind, n, header.forces_at, FORCE_UNIT),
                    cell=_numbers(block, kind, 9, header.box_at, NM),
                    velocities=None
                    if header.velocities_at is None
                    else _numbers(block, kind, n, header.velocities_at, NM),
                )


def _numbers(
    block: bytes, kind: np.dtype[Any], count: int, at: int, unit: float
) -> NDArray[np.float64]:
    """Vectors (count / 3, 3) from a frame's bytes, converted."""
    values = np.frombuffer(block, dtype=kind, count=count, offset=at).astype(np.float64)
    values *= unit
    return values.reshape(-1, 3)
