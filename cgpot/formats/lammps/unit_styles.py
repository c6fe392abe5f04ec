# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit style of LAMMPS files: stated by the user or held by the files, never guessed."""

from __future__ import annotations

from pathlib import Path

from cgpot.core.errors import UnitError
from cgpot.core.units import lammps_factors


def resolve_units(stated: str | None, found: dict[Path, str | None]) -> str:
    """The unit style of a run's files.

    Args:
        stated: by the user, or None.
        found: what each file says, or None where it is silent.

    Raises:
        UnitError: nobody says, or they contradict each other.
    """
    units = stated
    for path, value in found.items():
        if value is None:
            continue
        if units is not None and value != units:
            raise UnitError(f"units {value!r}, but {units!r} stated", file=path, key="units")
        units = value
    if units is None:
        raise UnitError(
            "the units are missing: neither the dump ('ITEM: UNITS', dump_modify units yes) nor "
            "the log ('units' command) holds them; pass --units metal or --units real",
            file=next(iter(found), None),
            key="units",
        )
    lammps_factors(units)
    return units
