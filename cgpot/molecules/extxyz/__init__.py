# SPDX-License-Identifier: GPL-2.0-or-later
"""Data sets as extended XYZ, through ase; a name ending in .xz or .gz is compressed.

Every frame carries its bead names and masses, so that a file explains itself and files of
two systems cannot be mixed unnoticed; species with known bonds stand under ``species_bonds``
(`cgpot.molecules.extxyz.species_key`).  Frames may be of several compositions.  nequip reads the
same files with ``include_keys: [atom_types]``.
"""

from cgpot.molecules.extxyz.atoms import FORCE_DECIMALS, POSITION_DECIMALS, from_atoms, to_atoms
from cgpot.molecules.extxyz.reader import read_frames
from cgpot.molecules.extxyz.species_key import composition
from cgpot.molecules.extxyz.writer import (
    ExtxyzWriter,
    format_frame,
    write_frames,
)

__all__ = [
    "FORCE_DECIMALS",
    "POSITION_DECIMALS",
    "ExtxyzWriter",
    "composition",
    "format_frame",
    "from_atoms",
    "read_frames",
    "to_atoms",
    "write_frames",
]
