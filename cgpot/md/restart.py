# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS restart files: which one is whole, and at which step it was written."""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC = b"LammpS RestartT\0"
_TEXT_FLAGS = (0, 4)  # version, unit style: length, then characters
_INT_FLAGS = (1, 2, 3, 48)  # sizes of the integer types
_STEP_FLAG = 5
_HEAD = len(MAGIC) + 8  # magic string, byte order, format revision


def restart_step(path: str | Path) -> int | None:
    """Step at which a restart file was written; None if the file is missing or not whole.

    LAMMPS ends the file with the same magic string with which it begins, so that a file cut
    off by a kill shows.
    """
    p = Path(path)
    if not p.is_file():
        return None
    with open(p, "rb") as stream:
        head = stream.read(4096)
        stream.seek(0, 2)
        if not head.startswith(MAGIC) or stream.tell() < 2 * len(MAGIC):
            return None
        stream.seek(-len(MAGIC), 2)
        if stream.read() != MAGIC:
            return None
    position = _HEAD
    try:
        while True:
            (flag,) = struct.unpack_from("=i", head, position)
            position += 4
            if flag in _TEXT_FLAGS:
                (length,) = struct.unpack_from("=i", head, position)
                position += 4 + length
            elif flag in _INT_FLAGS:
                position += 4
            elif flag == _STEP_FLAG:
                return int(struct.unpack_from("=q", head, position)[0])
            else:
                return None
    except struct.error:
        return None


def newest_restart(folder: str | Path, prefix: str = "run") -> tuple[Path, int] | None:
    """The whole restart file of a run folder with the highest step, and that step."""
    found: list[tuple[int, Path]] = []
    for path in Path(folder).glob(f"{prefix}.restart.*"):
        step = restart_step(path)
        if step is not None:
            found.append((step, path))
    if not found:
        return None
    step, path = max(found)
    return path, step
