# SPDX-License-Identifier: GPL-2.0-or-later
"""An MS-CG potential as LAMMPS's own tables: pair, bond, angle, dihedral, three-body, density.

The commands name their files in ``${pair_folder}``.  The parameter file of
``pair_style sw/angle/table`` holds the path of its table, so the commands print that file into
the folder where LAMMPS runs.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.files import write_text
from cgpot.potential.lammps_density import write_density
from cgpot.potential.pair_tables import POINTS, pair_keys, write_lammps_table
from cgpot.training.linear.mscg import MSCGPotential

PAIR, BOND, ANGLE = "model.table", "model.bond", "model.angle"
BEND, TORSION = "model.bend", "model.torsion"
"""Angles and dihedrals along bonds; `ANGLE` is the three-body part."""
PARAMETERS = "model.sw"
DENSITY = "model.density"
ANGLES = 1801
BOND_POINTS = 4000
DIHEDRALS = 1440
BOND_EXTENSION = 2.0
"""Å of the parabolas at both ends of a bond table."""


def write_tables(folder: Path, potential: MSCGPotential) -> tuple[list[Path], list[str]]:
    """Write the tables; returns them and the LAMMPS commands that use them."""
    table = potential.table()
    files = [write_lammps_table(folder / PAIR, table)]
    style = f"table spline {2 * POINTS}"
    three = potential.three is not None
    density = potential.density_table()
    several = three or density is not None
    commands = [f"pair_style {'hybrid/overlay ' if several else ''}{style}"]
    if three:
        commands[0] += " sw/angle/table"
    if density is not None:
        commands[0] += " local/density"
    word = "table " if several else ""
    for a, b, key in pair_keys(table):
        commands.append(f"pair_coeff {a} {b} {word}${{pair_folder}}/{PAIR} {key}")
    if three:
        files.append(_angles(folder / ANGLE, potential))
        names = " ".join(table.type_names)
        commands += _parameters(potential)
        commands.append(f"pair_coeff * * sw/angle/table {PARAMETERS} {names}")
    if density is not None:
        files.append(write_density(folder / DENSITY, density))
        commands.append(f"pair_coeff * * local/density ${{pair_folder}}/{DENSITY}")
    if potential.bonded.parts:
        commands.append(f"special_bonds lj/coul {potential.bonded.special()}")
    more, lines = write_bonded(folder, potential)
    return files + more, commands + lines


def write_bonded(folder: Path, potential: MSCGPotential) -> tuple[list[Path], list[str]]:
    """Write the tables of bonds, angles and dihedrals; returns them and their LAMMPS commands."""
    files: list[Path] = []
    commands: list[str] = []
    for word, name, points, file, write in (
        ("bond", "bond", BOND_POINTS, BOND, _bonds),
        ("angle", "angle", ANGLES, BEND, _bends),
        ("dihedral", "dihedral", DIHEDRALS, TORSION, _torsions),
    ):
        part = potential.bonded.parts.get(name)
        if part is None:
            continue
        files.append(write(folder / file, potential))
        commands.append(f"{word}_style table spline {points}")
        commands += [
            f"{word}_coeff {kind + 1} ${{pair_folder}}/{file} {part.kind_name(kind)}"
            for kind in range(part.n_kinds)
        ]
    return files, commands


def lammps_record(files: list[Path], commands: list[str], potential: MSCGPotential) -> Any:
    """Key ``lammps`` of result.json: files, commands, and the bonded terms of a data file."""
    record = {"files": [path.name for path in files], "commands": commands}
    bonded = potential.bonded.deployed()
    return record if bonded is None else {**record, "bonded": bonded}


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


def _bends(path: Path, potential: MSCGPotential) -> Path:
    """u in eV and -u' in eV/degree, 0 to 180 degrees; u' is zero at both ends."""
    angles = potential.angles
    assert angles is not None
    degrees = np.linspace(0.0, 180.0, ANGLES)
    parts = ["# UNITS: metal\n"]
    for kind in range(angles.n_kinds):
        u, slope = angles.evaluate(potential.part("angle"), kind, np.radians(degrees))
        rows = _rows(degrees, u - u.min(), -slope * np.pi / 180.0)
        parts.append(f"\n{angles.kind_name(kind)}\nN {ANGLES}\n\n{rows}\n")
    return write_text(path, "".join(parts))


def _torsions(path: Path, potential: MSCGPotential) -> Path:
    """u in eV and -u' in eV/degree, once around from -180 degrees."""
    dihedrals = potential.dihedrals
    assert dihedrals is not None
    degrees = np.linspace(-180.0, 180.0, DIHEDRALS, endpoint=False)
    parts = ["# UNITS: metal\n"]
    for kind in range(dihedrals.n_kinds):
        u, slope = dihedrals.evaluate(potential.part("dihedral"), kind, np.radians(degrees))
        rows = _rows(degrees, u - u.min(), -slope * np.pi / 180.0)
        parts.append(f"\n{dihedrals.kind_name(kind)}\nN {DIHEDRALS} DEGREES\n\n{rows}\n")
    return write_text(path, "".join(parts))
