# SPDX-License-Identifier: GPL-2.0-or-later
r"""Starting configurations of atomistic benzene for the deck ``aa_benzene``.

    python workflows/systems/benzene/lammps/benzene_box.py --molecules 500 --density 850 \
        -o benzene.data

Molecules stand on a cubic lattice in random orientations; the deck minimises them first.
The data file is written with pymatgen.io.lammps; force-field coefficients stand in the deck.
pymatgen writes neither names of types nor a title, so they are added here.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgpot.core.errors import ConfigError
from cgpot.core.files import write_text
from cgpot.core.units import density_kg_m3
from cgpot.molecules.frame import Array
from cgpot.select.backmap import random_rotation

MASS_C, MASS_H = 12.011, 1.008
CHARGE = 0.115
BOND_CC, BOND_CH = 1.40, 1.08
MOLECULE_MASS = 6 * (MASS_C + MASS_H)
ATOMS = 12

# Zero-based within a molecule: 0-5 carbon, 6-11 the hydrogen of each.
_NEXT = [(i + 1) % 6 for i in range(6)]
_BEFORE = [(i - 1) % 6 for i in range(6)]
BONDS = [(1, i, _NEXT[i]) for i in range(6)] + [(2, i, i + 6) for i in range(6)]
ANGLES = [
    row
    for i in range(6)
    for row in ((1, _BEFORE[i], i, _NEXT[i]), (2, _BEFORE[i], i, i + 6), (2, _NEXT[i], i, i + 6))
]
DIHEDRALS = [
    (1, first, i, _NEXT[i], last)
    for i in range(6)
    for first in (_BEFORE[i], i + 6)
    for last in (_NEXT[_NEXT[i]], _NEXT[i] + 6)
]
IMPROPERS = [(1, _BEFORE[i], _NEXT[i], i, i + 6) for i in range(6)]


@dataclass(frozen=True)
class BenzeneBox:
    """Atomistic benzene in an orthogonal box.

    Attributes:
        positions: (n_molecules, 12, 3) Å, six carbons, then the hydrogen of each.
        box: edge of a cubic box, or the three edges (3,), Å.
    """

    positions: Array
    box: float | Array

    @property
    def edges(self) -> Array:
        """The three edges (3,), Å."""
        return np.broadcast_to(np.asarray(self.box, dtype=np.float64), (3,))


def molecule() -> Array:
    """Planar benzene with its centre at the origin, (12, 3) Å."""
    angle = np.arange(6) * math.pi / 3.0
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(6)], axis=1)
    return np.concatenate([ring * BOND_CC, ring * (BOND_CC + BOND_CH)])


def build(n_molecules: int, density: float, seed: int = 1, box: float | None = None) -> BenzeneBox:
    """Molecules on a cubic lattice, randomly oriented.

    Args:
        n_molecules: number of molecules.
        density: kg/m^3, of the lattice.
        seed: orientations and, where the lattice has more places, which are taken.
        box: edge of the box, Å, if larger than the lattice (a droplet).

    Raises:
        ConfigError: no molecules, a density that is not positive or so high that rings would
            overlap, or a box smaller than the lattice.
    """
    if n_molecules < 1:
        raise ConfigError(f"{n_molecules} molecules; expected at least 1")
    if not 0.0 < density < 1500.0:
        raise ConfigError(f"density {density:g} kg/m^3; expected more than 0 and less than 1500")
    edge = float(density_kg_m3(n_molecules * MOLECULE_MASS, 1.0) / density) ** (1.0 / 3.0)
    if box is not None and box < edge:
        raise ConfigError(f"box {box:g} Å; expected at least {edge:.4g} Å at {density:g} kg/m^3")
    places = math.ceil(n_molecules ** (1.0 / 3.0) - 1e-9)
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(places)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = np.sort(rng.choice(len(grid), n_molecules, replace=False))
    centres = (grid[chosen] + 0.5) * edge / places
    shape = molecule()
    turned = np.stack([shape @ random_rotation(rng).T for _ in range(n_molecules)])
    return BenzeneBox(centres[:, None, :] + turned, edge if box is None else box)


def write_aa_data(path: str | Path, system: BenzeneBox) -> Path:
    """Write the data file of the deck ``aa_benzene`` (units real, atom_style full)."""
    import pandas as pd
    from pymatgen.io.lammps.data import LammpsBox, LammpsData

    n = len(system.positions)
    positions = system.positions.reshape(-1, 3)
    images = np.floor(positions / system.edges).astype(np.int64)
    wrapped = positions - images * system.edges
    types = np.tile(np.repeat([1, 2], 6), n)
    ids = np.arange(1, n * ATOMS + 1)
    atoms = pd.DataFrame(
        {
            "molecule-ID": np.repeat(np.arange(1, n + 1), ATOMS),
            "type": types,
            "q": np.where(types == 1, -CHARGE, CHARGE),
            **{axis: wrapped[:, i] for i, axis in enumerate("xyz")},
            **{f"n{axis}": images[:, i] for i, axis in enumerate("xyz")},
        },
        index=ids,
    )
    topology = {}
    for name, rows in (
        ("Bonds", BONDS),
        ("Angles", ANGLES),
        ("Dihedrals", DIHEDRALS),
        ("Impropers", IMPROPERS),
    ):
        one = np.asarray(rows)
        table = np.tile(one, (n, 1))
        table[:, 1:] += 1 + np.repeat(np.arange(n) * ATOMS, len(rows))[:, None]
        columns = ["type", *[f"atom{i}" for i in range(1, one.shape[1])]]
        topology[name] = pd.DataFrame(table, columns=columns, index=np.arange(1, len(table) + 1))
    system_data = LammpsData(
        box=LammpsBox([[0.0, float(edge)] for edge in system.edges]),
        masses=pd.DataFrame({"mass": [MASS_C, MASS_H]}, index=[1, 2]),
        atoms=atoms,
        topology=topology,
        atom_style="full",
    )
    return write_text(path, _completed(system_data.get_str(distance=8)))


def _completed(text: str) -> str:
    """Add what pymatgen leaves out: title, names of types, numbers of bonded types.

    It counts bonded types from sections of coefficients, which stand in the deck here.
    """
    head, rest = text.split("Masses\n\n", 1)
    masses, tail = rest.split("\n\n", 1)
    rows = [
        f"{line.rstrip()} # {name}"
        for line, name in zip(masses.splitlines(), ("CA", "HA"), strict=True)
    ]
    body = head.split("\n", 1)[1].replace(
        "atom types", "atom types\n2 bond types\n2 angle types\n1 dihedral types\n1 improper types"
    )
    title = "OPLS-AA benzene written by cgpot through pymatgen.io.lammps; units real"
    named = "\n".join(rows)
    return f"{title}\n{body}Masses\n\n{named}\n\n{tail.replace('Atoms', 'Atoms # full', 1)}"


def main(arguments: list[str] | None = None) -> None:
    """Build a data file from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", type=int, default=500)
    parser.add_argument("--density", type=float, default=850.0, help="kg/m^3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="LAMMPS data file")
    options = parser.parse_args(arguments)
    system = build(options.molecules, options.density, options.seed)
    write_aa_data(options.output, system)
    print(f"{options.output}: {options.molecules} molecules, box {system.edges[0]:.4f} Å")


if __name__ == "__main__":
    main()
