# SPDX-License-Identifier: GPL-2.0-or-later
"""Filling a LAMMPS with a configuration, and reading per-atom values back in its order."""

from __future__ import annotations

from typing import Any

import numpy as np
from plugin_models import MASSES, Configuration


def fill(lmp: Any, configuration: Configuration) -> None:
    """Make the box and the beads of a configuration; two atom types with their masses."""
    (a, _, _), (xy, b, _), (xz, yz, c) = configuration.cell
    if np.any([xy, xz, yz]):
        lmp.command("box tilt large")
        lmp.command(f"region box prism 0 {a} 0 {b} 0 {c} {xy} {xz} {yz}")
    else:
        lmp.command(f"region box block 0 {a} 0 {b} 0 {c}")
    lmp.command("create_box 2 box")
    # LAMMPS keeps an atom only if it is inside the box
    inverse = np.linalg.inv(configuration.cell)
    wrapped = ((configuration.positions @ inverse) % 1.0) @ configuration.cell
    n = len(wrapped)
    assert lmp.create_atoms(n, configuration.ids, configuration.types + 1, wrapped.ravel()) == n
    for k, mass in enumerate(MASSES):
        lmp.command(f"mass {k + 1} {mass}")


def per_atom(lmp: Any, configuration: Configuration, name: str, columns: int) -> np.ndarray:
    """A per-atom quantity in the order of the configuration: "f", or the id of a compute."""
    n = len(configuration.positions)
    if name == "f":
        values = np.array(lmp.numpy.extract_atom("f")[:n])
    else:
        values = np.array(lmp.numpy.extract_compute(name, 1, 2 if columns > 1 else 1)[:n])
    ids = np.array(lmp.numpy.extract_atom("id")[:n])
    rows = np.empty((n, *values.shape[1:]))
    rows[ids - 1] = values
    return rows[configuration.ids - 1]
