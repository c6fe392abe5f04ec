# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS input for atomistic runs that stay at the sites of a CG frame, any molecules.

The user's data file gets the new coordinates and box and stays as it is otherwise; the user's
commands (units, styles, ``read_data ${data}``, coefficients) stand in a file that the deck
``aa_held`` includes.  The sites are held at their centres of mass, so the position weights of the
mapping must be the masses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import require_file, write_text
from cgpot.core.units import KCAL_MOL, lammps_factors
from cgpot.formats.lammps.data import atom_style, moved_data
from cgpot.md.deck import deck_path, fill_deck
from cgpot.select.backmap import Backmapped
from cgpot.select.conformations import Structure

DECK = "aa_held"
STIFFNESS = 64.0 * KCAL_MOL
"""eV/Å^2 per amu: 5000 kcal/mol/Å^2 on a benzene, a period of 38 fs for every site."""
BATH_PS = 0.2
SAMPLE_PS = 0.1


@dataclass(frozen=True)
class LammpsRun:
    """Settings of the atomistic runs.

    Attributes:
        data: the user's data file.
        force_field: file with the user's commands.
        length_ps, equilibrate_ps: ps.
        timestep_fs: fs.
        anneal: the equilibration begins at this many times the temperature.
    """

    data: Path
    force_field: Path
    length_ps: float = 20.0
    equilibrate_ps: float = 5.0
    timestep_fs: float = 1.0
    anneal: float = 2.0

    def check(self) -> None:
        """Refuse a data file or commands that the deck cannot use.

        Raises:
            InputError: no data file of a known atom style, or commands that read no ${data}.
            UnitError: units that are neither real nor metal.
        """
        atom_style(self.data)
        text = require_file(self.force_field, "LAMMPS commands").read_text(encoding="utf-8")
        if not re.search(r"^\s*read_data\s+\$\{data\}", text, re.MULTILINE):
            raise InputError(
                "no 'read_data ${data}'; expected units, styles, that line, and coefficients",
                file=self.force_field,
            )
        lammps_factors(self.units)

    @property
    def units(self) -> str:
        """Unit style that the commands set; LAMMPS's default without a line ``units``."""
        text = self.force_field.read_text(encoding="utf-8")
        found = re.findall(r"^\s*units\s+(\w+)", text, re.MULTILINE)
        return found[-1] if found else "lj"

    def steps(self, time_ps: float) -> int:
        """Steps of a time."""
        return round(time_ps * 1e3 / self.timestep_fs)


def site_text(structure: Structure) -> str:
    """File of an atomfile variable with the site of each atom, from 1.

    Raises:
        ConfigError: position weights that are not the masses.
    """
    masses = structure.topology.masses
    owner = np.zeros(structure.topology.n_atoms, np.int64)
    for group in structure.sites.groups:
        owner[group.atoms] = group.sites[:, None] + 1
        if masses is None:
            continue
        ratio = group.position_weights / masses[group.atoms]
        ratio /= ratio.max(axis=1, keepdims=True)
        if np.ptp(ratio, axis=1).max() > 1e-3:
            name = structure.sites.topology.names[int(group.sites[0])]
            raise ConfigError(
                "the position weights are not the masses of the data file; LAMMPS holds centres "
                "of mass (GROMACS holds any)",
                file=structure.path,
                key=f"site-types.{name}.x-weight",
            )
    rows = [f"{atom} {site}" for atom, site in enumerate(owner, 1)]
    return "\n".join([str(len(rows)), *rows]) + "\n"


def write_lammps(
    folder: str | Path,
    structure: Structure,
    placed: Backmapped,
    run: LammpsRun,
    temperature: float,
    seed: int,
) -> list[Path]:
    """Write the files of one frame: system.data, sites.txt, force_field.lmp, in.deck.

    Args:
        folder: for the files.
        structure: atoms of the system.
        placed: their positions.
        run: settings.
        temperature: K.
        seed: of velocities and bath.

    Raises:
        InputError, ConfigError: see `moved_data`, `site_text`.
    """
    where = Path(folder)
    factors = lammps_factors(run.units)
    time = 1.0 / factors["time"]
    text = fill_deck(
        deck_path(DECK),
        {
            "data": "system.data", "force_field": "force_field.lmp", "sites": "sites.txt",
            "n_sites": structure.sites.topology.n_sites, "temperature": temperature,
            "stiffness": STIFFNESS / factors["energy"], "timestep": run.timestep_fs * 1e-3 * time,
            "bath": BATH_PS * time, "equilibrate_steps": run.steps(run.equilibrate_ps),
            "steps": run.steps(run.length_ps), "sample_every": max(1, run.steps(SAMPLE_PS)),
            "seed": seed, "anneal": run.anneal,
        },
    )  # fmt: skip
    texts = {
        "system.data": moved_data(run.data, placed.positions, placed.cell),
        "sites.txt": site_text(structure),
        "force_field.lmp": run.force_field.read_text(encoding="utf-8"),
        "in.deck": text,
    }
    return [write_text(where / name, content) for name, content in texts.items()]
