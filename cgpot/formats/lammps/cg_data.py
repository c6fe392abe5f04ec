# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS data files of CG systems, through pymatgen.io.lammps.

Their atom style is molecular, or full where a bead type has a charge.

Where pymatgen falls short:

- it neither reads nor writes the names of types: neither the comments behind ``Masses``
  nor the section ``Atom Type Labels``, which LAMMPS itself carries through restart files
  and ``write_data``.  Here the names are put into both, and read from either;
- it takes types written as labels (``write_data`` of a labelled system) as plain text;
- it returns coordinates as they stand, with the image flags beside them and with the
  origin of the box where the file has it.  Here sites are wrapped and the origin is zero;
- its errors are those of pandas and name no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import require_file, write_text
from cgpot.formats.lammps.bonded_sections import BondedSections
from cgpot.formats.lammps.data import read_type_names
from cgpot.molecules.frame import Array, CGFrame, Topology
from cgpot.molecules.paths import BondPaths
from cgpot.molecules.whole import flags_along_bonds, wrap

DECIMALS = 10
CHARGE_DECIMALS = 8
_STYLE = re.compile(r"^Atoms\s*#\s*(\w+)", re.MULTILINE)


def style_of(topology: Topology) -> str:
    """LAMMPS's atom style: ``full`` where a bead type has a charge, else ``molecular``."""
    return "full" if any(topology.type_charges) else "molecular"


def lammps_cell(cell: Array) -> tuple[Array, Array]:
    """The cell in LAMMPS's orientation (a along x, b in the xy plane), and the rotation.

    Returns:
        The lower triangular cell (3, 3), and R (3, 3) with ``new = old @ R`` for row vectors.

    Raises:
        DataError: a left-handed or flat cell.
    """
    if not np.linalg.det(cell) > 1e-6:
        raise DataError(
            f"the cell {np.round(cell, 4).tolist()} is flat or left-handed; "
            "LAMMPS needs three right-handed box vectors"
        )
    upper = np.triu(cell, 1)
    if np.all(upper == 0.0) and np.all(np.diag(cell) > 0.0):
        return cell.copy(), np.eye(3)
    q, r = np.linalg.qr(cell.T)
    signs = np.sign(np.diag(r))
    return (r * signs[:, None]).T, q * signs


def write_data(
    path: str | Path,
    frame: CGFrame,
    velocities: NDArray[np.float64] | None = None,
    bonded: BondedSections | None = None,
) -> Path:
    """Write a CG frame as a LAMMPS data file (units metal, atom style of `style_of`).

    Args:
        path: the file to write.
        frame: sites, wrapped here; a general triclinic cell is rotated into LAMMPS's
            orientation, and the velocities with it.
        velocities: (n_sites, 3), Å/ps.
        bonded: bonds, angles and dihedrals; the image flags then make molecules whole.

    Raises:
        DataError: NaN, a left-handed cell, velocities of another shape, or a molecule that is
            bonded to its own image.
    """
    import pandas as pd
    from pymatgen.io.lammps.data import LammpsBox, LammpsData

    frame.check_finite()
    topology = frame.topology
    cell, rotation = lammps_cell(np.asarray(frame.cell, dtype=np.float64))
    positions = wrap(frame.positions @ rotation, cell)
    bounds = [[0.0, float(cell[i, i])] for i in range(3)]
    tilt = [float(cell[1, 0]), float(cell[2, 0]), float(cell[2, 1])]
    ids = np.arange(1, topology.n_sites + 1)
    style = style_of(topology)
    atoms = pd.DataFrame(
        {
            "molecule-ID": topology.molecules + 1,
            "type": topology.types + 1,
            **({"q": topology.charges} if style == "full" else {}),
            "x": positions[:, 0],
            "y": positions[:, 1],
            "z": positions[:, 2],
        },
        index=ids,
    )
    sections = None
    if bonded is not None:
        atoms[["nx", "ny", "nz"]] = flags_along_bonds(positions, cell, bonded.edges)
        sections = {
            word.capitalize(): pd.DataFrame(
                table + 1,
                columns=["type", *(f"atom{k}" for k in range(1, table.shape[1]))],
                index=np.arange(1, len(table) + 1),
            )
            for word, table in bonded.terms.items()
            if len(table)
        }
    moving = None
    if velocities is not None:
        if velocities.shape != (topology.n_sites, 3):
            raise DataError(
                f"velocities have shape {velocities.shape}; expected {(topology.n_sites, 3)}"
            )
        moving = pd.DataFrame(velocities @ rotation, columns=["vx", "vy", "vz"], index=ids)
    types = range(1, len(topology.type_names) + 1)
    system = LammpsData(
        box=LammpsBox(bounds, tilt if any(tilt) else None),
        masses=pd.DataFrame({"mass": topology.type_masses}, index=types),
        atoms=atoms,
        velocities=moving,
        topology=sections,
        atom_style=style,
    )
    text = system.get_str(distance=DECIMALS, velocity=DECIMALS, charge=CHARGE_DECIMALS)
    return write_text(path, _with_names(text, topology, {} if bonded is None else bonded.types))


def _with_names(text: str, topology: Topology, bonded: Mapping[str, Sequence[str]]) -> str:
    """Add the names of the types, which pymatgen leaves out, and the numbers of bonded types."""
    head, rest = text.split("Masses\n\n", 1)
    masses, tail = rest.split("\n\n", 1)
    named = [
        f"{line.rstrip()} # {name}"
        for line, name in zip(masses.splitlines(), topology.type_names, strict=True)
    ]
    labels = ""
    # LAMMPS refuses labels that begin with a digit.
    if not any(name[0].isdigit() for name in topology.type_names):
        labels = _labels("Atom", topology.type_names)
        labels += "".join(_labels(word[:-1].capitalize(), bonded[word]) for word in bonded)
    counts = "".join(f"{len(names)}  {word[:-1]} types\n" for word, names in bonded.items())
    head = re.sub(r"(?m)^( *\d+  atom types\n)", lambda found: found[1] + counts, head, count=1)
    title, body = head.split("\n", 1)
    title = "CG system written by cgpot through pymatgen.io.lammps; units metal"
    tail = tail.replace("Atoms\n", f"Atoms # {style_of(topology)}\n", 1)
    return f"{title}\n{body}{labels}Masses\n\n" + "\n".join(named) + f"\n\n{tail}"


def _labels(kind: str, names: Sequence[str]) -> str:
    rows = "\n".join(f"{i} {name}" for i, name in enumerate(names, start=1))
    return f"{kind} Type Labels\n\n{rows}\n\n"


def read_data(path: str | Path) -> CGFrame:
    """Read a LAMMPS data file as a CG frame, wrapped, origin at zero.

    The atom style is molecular, or full where ``Atoms # full`` says so.
    Bonds of the file that join the sites of every molecule become those of its species.

    Raises:
        InputError: missing, not a data file, truncated, of another atom style, without names, or
            sites of one type with different charges.
        DataError: NaN or a mass that is not positive.
    """
    from pymatgen.io.lammps.data import LammpsData

    p = require_file(path, "LAMMPS data file")
    names = read_type_names(p)
    stated = _STYLE.search(p.read_text(encoding="utf-8", errors="replace"))
    style = "full" if stated is not None and stated[1] == "full" else "molecular"
    try:
        system = LammpsData.from_file(str(p), atom_style=style)
        atoms = system.atoms.sort_index()
        masses = _masses(system.masses, names)
        types = _types(atoms["type"], names)
        charges = (
            _charges(atoms["q"].to_numpy(dtype=np.float64), types, names, p)
            if style == "full"
            else ()
        )
        raw = atoms[["x", "y", "z"]].to_numpy(dtype=np.float64)
        molecules = atoms["molecule-ID"].to_numpy(dtype=np.int64)
        lower = np.asarray(system.box.bounds, dtype=np.float64)[:, 0]
        cell = np.asarray(system.box.to_lattice().matrix, dtype=np.float64)
    except (KeyError, ValueError, IndexError, TypeError, RuntimeError, NotImplementedError) as err:
        raise InputError(f"not a LAMMPS data file of atom_style {style}: {err}", file=p) from err
    if not np.isfinite(raw).all():
        raise DataError("positions hold NaN or infinity; expected finite numbers", file=p)
    _, numbered = np.unique(molecules, return_inverse=True)
    try:
        topology = Topology(
            type_names=names,
            type_masses=masses,
            types=types,
            molecules=numbered.astype(np.int64),
            type_charges=charges,
        )
        topology = _with_bonds(topology, system, atoms.index.to_numpy(dtype=np.int64))
    except DataError as err:
        raise DataError(err.message, file=p) from err
    return CGFrame(topology=topology, positions=wrap(raw - lower, cell), cell=cell)


def _with_bonds(topology: Topology, system: Any, ids: NDArray[np.int64]) -> Topology:
    """The topology with the bonds of the file, where they hold all molecules together."""
    table = (system.topology or {}).get("Bonds")
    if table is None:
        return topology
    bonds = np.searchsorted(ids, table[["atom1", "atom2"]].to_numpy(dtype=np.int64))
    n = topology.n_sites
    if len(np.unique(BondPaths(n, bonds).roots())) != topology.n_molecules:
        return topology
    return Topology.from_bonds(
        topology.type_names,
        topology.type_masses,
        topology.types,
        topology.molecules,
        bonds,
        type_charges=topology.type_charges,
    )


def _masses(table: Any, names: tuple[str, ...]) -> tuple[float, ...]:
    values = {str(key): float(mass) for key, mass in zip(table.index, table["mass"], strict=True)}
    result = []
    for number, name in enumerate(names, start=1):
        value = values.get(str(number), values.get(name))
        if value is None:
            raise KeyError(f"no mass of type {number} ({name})")
        result.append(value)
    return tuple(result)


def _charges(
    values: NDArray[np.float64], types: NDArray[np.int64], names: tuple[str, ...], file: Path
) -> tuple[float, ...]:
    """Charge of each type, e; sites of a type must agree."""
    found = []
    for number, name in enumerate(names):
        own = values[types == number]
        if len(own) and np.ptp(own) > 1e-6:
            raise InputError(
                f"sites of type {name!r} have charges of {own.min():g} to {own.max():g} e; "
                "expected one charge for a bead type",
                file=file,
            )
        found.append(float(own[0]) if len(own) else 0.0)
    return tuple(found)


def _types(column: Any, names: tuple[str, ...]) -> NDArray[np.int64]:
    numbers = {name: i for i, name in enumerate(names)}
    values = [int(value) - 1 if str(value).isdigit() else numbers[str(value)] for value in column]
    return np.asarray(values, dtype=np.int64)
