# SPDX-License-Identifier: GPL-2.0-or-later
"""Topology from a LAMMPS data file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.formats.atomistic import AtomTopology


def read_data(path: str | Path) -> AtomTopology:
    """Topology from a LAMMPS data file, through MDAnalysis.

    Raises:
        InputError: missing or not readable (an unknown atom style needs 'Atoms # style').
    """
    import MDAnalysis

    p = require_file(path, "topology")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(str(p), topology_format="DATA", format="DATA")
    except (ValueError, OSError, KeyError, IndexError, StopIteration) as err:
        raise InputError(f"not a readable LAMMPS data file: {err}", file=p) from err
    atoms = universe.atoms
    ids = np.asarray(atoms.ids, dtype=np.int64)
    if not np.array_equal(ids, np.arange(1, len(ids) + 1)):
        raise InputError(
            f"atom ids run from {ids.min()} to {ids.max()} for {len(ids)} atoms; expected 1 to "
            f"{len(ids)} (reset_atoms id)",
            file=p,
        )
    bonds: NDArray[np.int64] | None = None
    if hasattr(atoms, "bonds") and len(universe.bonds):
        bonds = np.asarray(universe.bonds.indices, dtype=np.int64).reshape(-1, 2)
    resids = np.asarray(atoms.resids, dtype=np.int64)
    _, molecules = np.unique(resids, return_inverse=True)
    return AtomTopology(
        path=p,
        n_atoms=len(atoms),
        masses=np.asarray(atoms.masses, dtype=np.float64) if hasattr(atoms, "masses") else None,
        bonds=bonds,
        molecules=np.asarray(molecules, dtype=np.int64),
        constraints=None,
        universe=universe,
        forces_hold_constraints=True,
        charges=np.asarray(atoms.charges, dtype=np.float64) if hasattr(atoms, "charges") else None,
    )
