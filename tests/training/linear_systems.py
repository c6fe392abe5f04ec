# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames and single points in LAMMPS for the tests of linear models."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.formats.lammps.bonded_sections import sections_of
from cgpot.formats.lammps.cg_data import write_data
from cgpot.md.engine import find_lammps
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.training.linear.bonded_terms import BondedTerms


def shaken(seed: int, types: int = 1, n: int = 64, molecule: int = 1) -> CGFrame:
    """A shaken lattice, in which no two beads collide; ``molecule`` sites in a row are bonded."""
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = 4.0 * lattice + rng.uniform(-0.8, 0.8, size=(n, 3))
    if molecule > 1:
        anchor = np.repeat(positions[::molecule], molecule, axis=0)
        step = rng.normal(size=(n // molecule, 3))
        step *= (rng.uniform(1.4, 1.8, n // molecule) / np.linalg.norm(step, axis=1))[:, None]
        positions = anchor + np.repeat(step, molecule, axis=0) * (np.arange(n) % molecule)[:, None]
    names = ("A", "B")[:types]
    topology = Topology(names, (78.0, 40.0)[:types], np.arange(n) % types, np.arange(n) // molecule)
    return CGFrame(topology, positions, 4.0 * side * np.diag([1.0, 1.02, 0.97]))


def energy_of(basis, c, frame: CGFrame) -> float:
    """Energy of coefficients, eV."""
    return float(basis.rows(frame, energy=True).energy @ c)


def check_derivatives(basis, frame: CGFrame, seed: int = 0) -> None:
    """Force and virial rows against finite differences of the energy row."""
    c = np.random.default_rng(seed).normal(size=basis.size) * basis.free()
    rows = basis.rows(frame, energy=True)
    forces = (rows.forces @ c).reshape(-1, 3)
    virial = rows.virial @ c
    h = 1e-5
    for site, a in ((0, 0), (5, 1), (20, 2)):
        values = []
        for sign in (1, -1):
            positions = frame.positions.copy()
            positions[site, a] += sign * h
            values.append(energy_of(basis, c, replace(frame, positions=positions)))
        slope = (values[0] - values[1]) / (2 * h)
        np.testing.assert_allclose(forces[site, a], -slope, rtol=1e-6, atol=1e-7)
    for a, b in ((0, 0), (1, 1), (0, 2)):
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * h
            moved = replace(frame, positions=frame.positions @ strain, cell=frame.cell @ strain)
            values.append(energy_of(basis, c, moved))
        slope = (values[0] - values[1]) / (2 * h)
        np.testing.assert_allclose(virial[a, b], -slope, rtol=1e-6, atol=1e-6)
    assert np.abs(forces.sum(axis=0)).max() < 1e-10 * np.abs(forces).max() * len(forces)


def write_case(folder: Path, frames: list[CGFrame], model: str, extra: str = "") -> Path:
    """A data set and a train.yaml with the given section ``model`` (flow style).

    The frames of evaluation are among those of the fit: whether the fit holds where no pair
    was seen is not the question here.
    """
    write_frames(folder / "train.extxyz", frames)
    write_frames(folder / "val.extxyz", frames[:2])
    path = folder / "train.yaml"
    path.write_text(
        "data: {train: train.extxyz, val: val.extxyz}\nsystem: {temperature: 300}\n"
        f"model: {{type: mscg, {model}}}\n{extra}"
    )
    return path


def lammps_point(
    folder: Path, frame: CGFrame, include: Path, bonded: BondedTerms | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (n, 3) and virial (3, 3) in eV of an include file, run in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    terms = None
    if bonded is not None:
        terms = sections_of(bonded.deployed(), frame.topology, "model.cgpot.json", "start")
    write_data(folder / "system.data", frame, bonded=terms)
    (folder / "in.point").write_text(
        "units metal\natom_style molecular\nspecial_bonds lj/coul 1.0 1.0 1.0\n"
        f"read_data system.data\ninclude {include}\n"
        "compute none all pressure NULL virial\n"
        "thermo_style custom pe c_none[1] c_none[2] c_none[3] c_none[4] c_none[5] c_none[6]\n"
        "thermo_modify norm no format float %.12g\n"
        "dump d all custom 1 forces.dump id fx fy fz\n"
        "dump_modify d sort id format float %.12g\nrun 0\n"
    )
    program = find_lammps()
    done = subprocess.run(
        [*program.command, "-in", "in.point", "-log", "none"],
        cwd=folder,
        env=dict(program.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    at = next(k for k, line in enumerate(lines) if line.split()[:1] == ["PotEng"])
    values = np.array(lines[at + 1].split(), dtype=float)
    forces = np.loadtxt(folder / "forces.dump", skiprows=9)[:, 1:]
    xx, yy, zz, xy, xz, yz = values[1:]
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return float(values[0]), forces, pressure * frame.volume / EV_PER_A3_IN_BAR
