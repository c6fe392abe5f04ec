# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations in a LAMMPS of this process, and decks run on several MPI ranks."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
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


THERMO = "pe press pxx pyy pzz pxy pxz pyz"


def write_data(path: Path, configuration: Configuration, *, extra: float = 0.0) -> None:
    """A LAMMPS data file; `extra` Å of empty space above the beads."""
    (a, _, _), (xy, b, _), (xz, yz, c) = configuration.cell
    inverse = np.linalg.inv(configuration.cell)
    wrapped = ((configuration.positions @ inverse) % 1.0) @ configuration.cell
    lines = ["test", "", f"{len(wrapped)} atoms", "2 atom types", ""]
    lines += [f"0 {a} xlo xhi", f"0 {b} ylo yhi", f"0 {c + extra} zlo zhi"]
    if np.any([xy, xz, yz]):
        lines.append(f"{xy} {xz} {yz} xy xz yz")
    lines += ["", "Masses", "", *(f"{k + 1} {m}" for k, m in enumerate(MASSES)), "", "Atoms", ""]
    for i, t, x in zip(configuration.ids, configuration.types, wrapped, strict=True):
        lines.append(f"{i} {t + 1} {x[0]!r} {x[1]!r} {x[2]!r}".replace("np.float64", ""))
    path.write_text("\n".join(lines).replace("(", "").replace(")", "") + "\n")


@dataclass
class Result:
    """Forces, energies and virials of the atoms by id, the last thermo line, the log."""

    atoms: np.ndarray
    thermo: np.ndarray
    log: str


@dataclass
class Runner:
    """Runs a deck in folders below one."""

    folder: Path
    plugin: Path
    count: int = 0

    def text(self, ranks: int, deck: str) -> tuple[int, str, Path]:
        from cgpot.core.native import lammps_environment, lammps_program
        from cgpot.plugin.plugin_build import find_tool

        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        (folder / "in.deck").write_text(deck)
        mpiexec = find_tool("mpiexec")
        assert mpiexec is not None
        done = subprocess.run(
            [mpiexec, "-n", str(ranks), str(lammps_program()), "-in", "in.deck", "-nocite"],
            cwd=folder,
            env={**lammps_environment(str(self.plugin.parent)), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr, folder

    def __call__(self, ranks: int, deck: str) -> Result:
        status, output, folder = self.text(ranks, deck)
        assert status == 0, output
        lines = output.splitlines()
        heads = [k for k, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"]]
        rows = []
        for line in lines[heads[-1] + 1 :]:
            if line.startswith("Loop"):
                break
            if not line.startswith("WARNING"):
                rows.append(line)
        return Result(
            np.loadtxt(folder / "atoms.dump", skiprows=9),
            np.array(rows[-1].split(), float)[1:],
            output,
        )


def deck(
    data: Path,
    model: Path,
    *,
    ghosts: str = "auto",
    boundary: str = "p p p",
    before: str = "",
    style: str | None = None,
    body: str = "run 0",
) -> str:
    """A deck that ends with a dump of forces, per-atom energies and virials."""
    styles = style or f"pair_style cgpot ghosts {ghosts}\npair_coeff * * {model} AAA BBB"
    return f"""
units metal
atom_style atomic
boundary {boundary}
newton on
atom_modify map yes
{before}
read_data {data}
{styles}
neighbor 1.0 bin
compute w all stress/atom NULL virial
compute e all pe/atom
thermo_style custom step {THERMO}
thermo_modify format float %.15g
{body}
run 0
write_dump all custom atoms.dump id fx fy fz c_e c_w[*] modify sort id format float %.15g
"""


def same(found: Result, expected: Result, relative: float) -> None:
    for a, b in ((found.thermo, expected.thermo), (found.atoms, expected.atoms)):
        scale = np.abs(b).max(axis=0) if b.ndim == 2 else np.maximum(np.abs(b), np.abs(b[1]))
        assert np.all(np.abs(a - b) <= relative * np.maximum(scale, 1e-12)), (a - b) / scale
