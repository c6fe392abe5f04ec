# SPDX-License-Identifier: GPL-2.0-or-later
"""An MS-CG potential as LAMMPS's own tables: pair, bond, and three-body in the angle.

The commands name their files in ``${pair_folder}``.  The parameter file of
``pair_style sw/angle/table`` holds the path of its table, so the commands print that file into
the folder where LAMMPS runs.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from cgpot.core.files import write_text
from cgpot.core.lammps_table import POINTS, pair_keys, write_lammps_table
from cgpot.training.linear.mscg import MSCGPotential

PAIR, BOND, ANGLE = "model.table", "model.bond", "model.angle"
PARAMETERS = "model.sw"
ANGLES = 1801
BOND_POINTS = 4000
BOND_EXTENSION = 2.0
"""Å of the parabolas at both ends of a bond table."""


def write_tables(folder: Path, potential: MSCGPotential) -> tuple[list[Path], list[str]]:
    """Write the tables; returns them and the LAMMPS commands that use them."""
    table = potential.table()
    files = [write_lammps_table(folder / PAIR, table)]
    style = f"table spline {2 * POINTS}"
    three = potential.three is not None
    commands = [f"pair_style {'hybrid/overlay ' if three else ''}{style}"]
    if three:
        commands[0] += " sw/angle/table"
    word = "table " if three else ""
    for a, b, key in pair_keys(table):
        commands.append(f"pair_coeff {a} {b} {word}${{pair_folder}}/{PAIR} {key}")
    if three:
        files.append(_angles(folder / ANGLE, potential))
        names = " ".join(table.type_names)
        commands += _parameters(potential)
        commands.append(f"pair_coeff * * sw/angle/table {PARAMETERS} {names}")
    if potential.bonds is not None:
        files.append(_bonds(folder / BOND, potential))
        inner = "0.0" if potential.info["bonds_excluded"] else "1.0"
        commands += [
            f"special_bonds lj/coul {inner} 1.0 1.0",
            f"bond_style table spline {BOND_POINTS}",
        ]
        commands += [
            f"bond_coeff {kind + 1} ${{pair_folder}}/{BOND} {potential.bonds.kind_name(kind)}"
            for kind in range(len(potential.bonds.kinds))
        ]
    return files, commands


def _rows(x: np.ndarray, u: np.ndarray, f: np.ndarray) -> str:
    lines = (
        f"{n} {a:.12g} {b:.12e} {c:.12e}"
        for n, (a, b, c) in enumerate(zip(x, u, f, strict=True), 1)
    )
    return "\n".join(lines)


def _angles(path: Path, potential: MSCGPotential) -> Path:
    """f(theta) in eV and -df/dtheta in eV/degree, 0 to 180 degrees."""
    three = potential.three
    assert three is not None
    degrees = np.linspace(0.0, 180.0, ANGLES)
    parts = ["# UNITS: metal\n"]
    for row in range(len(three.blocks)):
        u, slope = three.function(potential.part("three"), row, np.radians(degrees))
        rows = _rows(degrees, u, -slope * np.pi / 180.0)
        parts.append(f"\n{three.block_name(row)}\nN {ANGLES}\n\n{rows}\n")
    return write_text(path, "".join(parts))


def _parameters(potential: MSCGPotential) -> list[str]:
    """Commands that print the parameter file, one line for each triplet of types.

    epsilon = sigma = 1, a = cutoff, gamma as fitted; A = 0 leaves the two-body part out.
    """
    three = potential.three
    assert three is not None
    names = three.type_names
    commands = []
    for number, (i, j, k) in enumerate(product(range(len(names)), repeat=3)):
        row = three.blocks.index((i, min(j, k), max(j, k)))
        words = [names[i], names[j], names[k], "1.0", "1.0", repr(three.cutoff), "1.0"]
        words += [repr(three.gamma), "0.0", "0.0", "0.0", "0.0", "0.0", "0.0"]
        words += [f"${{pair_folder}}/{ANGLE}", three.block_name(row), "spline", str(ANGLES)]
        verb = "append" if number else "file"
        commands.append(f'print "{" ".join(words)}" {verb} {PARAMETERS} screen no')
    return commands


def _bonds(path: Path, potential: MSCGPotential) -> Path:
    """u in eV and -u' in eV/Å over the sampled lengths and the parabolas beyond."""
    bonds = potential.bonds
    assert bonds is not None
    r = np.linspace(max(bonds.low - BOND_EXTENSION, 0.0), bonds.high + BOND_EXTENSION, BOND_POINTS)
    parts = ["# UNITS: metal\n"]
    for kind in range(len(bonds.kinds)):
        u, slope = bonds.evaluate(potential.part("bond"), kind, r)
        rows = _rows(r, u - u.min(), -slope)
        parts.append(f"\n{bonds.kind_name(kind)}\nN {BOND_POINTS}\n\n{rows}\n")
    return write_text(path, "".join(parts))
