# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS files for atoms at the sites of a CG frame: .gro, .ndx, settings, masses of a .top."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import require_file, write_text
from cgpot.core.units import NM
from cgpot.molecules.frame import Array
from cgpot.select.backmap import Backmapped
from cgpot.select.conformations import Structure


def read_mdp(path: str | Path) -> dict[str, str]:
    """Settings of a .mdp by key (lower case, '-' for '_').

    Raises:
        InputError: missing, or a line that is no setting.
    """
    p = require_file(path, "GROMACS settings")
    found = {}
    for number, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split(";")[0].strip()
        if not text:
            continue
        key, equal, value = text.partition("=")
        if not equal:
            raise InputError(f"line {number} is {text[:40]!r}; expected 'key = value'", file=p)
        found[key.strip().lower().replace("_", "-")] = value.strip()
    return found


def write_gro(path: str | Path, structure: Structure, placed: Backmapped, title: str) -> Path:
    """Coordinates as a .gro with six decimals (nm): libraries write three, 0.005 Å off."""
    x = placed.positions / NM
    rows = [
        f"{residue % 100000:5d}{name[:5]:<5}{atom[:5]:>5}{(k + 1) % 100000:5d}"
        f"{x[k, 0]:11.6f}{x[k, 1]:11.6f}{x[k, 2]:11.6f}"
        for k, (residue, name, atom) in enumerate(
            zip(structure.residues, structure.residue_names, structure.names, strict=True)
        )
    ]
    cell = placed.cell / NM
    box = [cell[0, 0], cell[1, 1], cell[2, 2]]
    if np.abs(cell - np.diag(box)).max() > 1e-9:
        box += [0.0, 0.0, cell[1, 0], 0.0, cell[2, 0], cell[2, 1]]
    last = " ".join(f"{value:.6f}" for value in box)
    return write_text(path, "\n".join([title, str(len(x)), *rows, last]) + "\n")


def _sites(structure: Structure) -> list[tuple[Array, Array]]:
    """Atoms and position weights of each site, in order."""
    found: list[tuple[Array, Array]] = [(np.zeros(0), np.zeros(0))] * (
        structure.sites.topology.n_sites
    )
    for group in structure.sites.groups:
        for row, site in enumerate(group.sites):
            found[int(site)] = (group.atoms[row], group.position_weights)
    return found


def index_text(structure: Structure) -> str:
    """Index groups: all atoms, and one for each site."""
    lines = ["[ System ]"]
    atoms = [str(k + 1) for k in range(structure.topology.n_atoms)]
    lines += [" ".join(atoms[k : k + 15]) for k in range(0, len(atoms), 15)]
    for number, (members, _) in enumerate(_sites(structure), 1):
        lines += [f"[ site_{number} ]", " ".join(str(int(k) + 1) for k in members)]
    return "\n".join(lines) + "\n"


def top_masses(path: str | Path, n_atoms: int) -> Array | None:
    """Masses (n_atoms,) of a topol.top, amu; None where an included file cannot be found.

    Raises:
        InputError: another number of atoms.
    """
    import MDAnalysis

    program = shutil.which(os.environ.get("GMX", "gmx"))
    share = Path(program or "/usr/bin/gmx").resolve().parents[1] / "share" / "gromacs" / "top"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(
                str(path),
                topology_format="ITP",
                include_dir=os.environ.get("GMXLIB", str(share)),
                infer_system=True,
                to_guess=(),
            )
        masses = np.asarray(universe.atoms.masses, dtype=np.float64)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if not len(masses) or not (masses > 0.0).all():
        return None
    if len(masses) != n_atoms:
        raise InputError(
            f"{len(masses)} atoms, the structure has {n_atoms}; expected the topology of the "
            "same system",
            file=path,
        )
    return masses


def pull_text(structure: Structure, positions: Array, masses: Array | None) -> str:
    """Settings that hold every site at its position (n, 3), Å.

    GROMACS takes centres of mass, with the masses (n_atoms,) of the run; the weights of a site
    whose position weights are not its masses are divided by them.
    """
    sites = _sites(structure)
    lines = ["pull = yes", "pull-nstxout = 0", "pull-nstfout = 0"]
    lines += [f"pull-ngroups = {len(sites)}", f"pull-ncoords = {3 * len(sites)}"]
    for number, (atoms, weights) in enumerate(sites, 1):
        lines.append(f"pull-group{number}-name = site_{number}")
        if masses is not None and len(atoms) > 1:
            ratio = weights / masses[atoms]
            if np.ptp(ratio) > 1e-4 * ratio.max():
                words = " ".join(f"{value:.7g}" for value in ratio / ratio.max())
                lines.append(f"pull-group{number}-weights = {words}")
    for number, origin in enumerate(positions / NM, 1):
        where = " ".join(f"{value:.7f}" for value in origin)
        for axis, vector in enumerate(("1 0 0", "0 1 0", "0 0 1"), 1):
            head = f"pull-coord{3 * (number - 1) + axis}"
            lines += [
                f"{head}-type = constraint",
                f"{head}-geometry = direction",
                f"{head}-groups = 0 {number}",
                f"{head}-origin = {where}",
                f"{head}-vec = {vector}",
            ]
    return "\n".join(lines) + "\n"
