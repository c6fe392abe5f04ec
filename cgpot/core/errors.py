# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that a user can act on: each names the file and the key or frame."""

from __future__ import annotations

from pathlib import Path


class CgpotError(Exception):
    """Something in the input is wrong; the message says where and what was expected.

    Args:
        message: what was found and what was expected.
        file: the file at fault.
        key: the key in that file.
        frame: the frame (zero-based index in the file).
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        key: str | None = None,
        frame: int | None = None,
    ) -> None:
        self.message = message
        self.file = None if file is None else Path(file)
        self.key = key
        self.frame = frame
        where = []
        if file is not None:
            where.append(str(file))
        if key is not None:
            where.append(f"key '{key}'")
        if frame is not None:
            where.append(f"frame {frame}")
        super().__init__(f"{', '.join(where)}: {message}" if where else message)


class UnitError(CgpotError):
    """A unit is missing or unknown."""


class ConfigError(CgpotError):
    """A configuration file has a wrong key or value."""


class InputError(CgpotError):
    """An input file is missing, damaged or does not fit the others."""


class ManifestError(CgpotError):
    """A file is not the one its manifest describes."""


class DataError(CgpotError):
    """The data contradict themselves or physics (NaN, zero mass, wrong pressure)."""


class ToolError(CgpotError):
    """An external program (nequip, LAMMPS, a compiler) failed."""
