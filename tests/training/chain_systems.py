# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains A-B-A-A made by LAMMPS's own bonded styles, for the tests of bonded MS-CG terms."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgpot.formats.lammps.bonded_sections import sections_of
from cgpot.formats.lammps.cg_data import write_data
from cgpot.md.engine import find_lammps
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.training.linear.bonded_terms import BondedTerms, bonded_terms
from cgpot.training.settings.model_settings import MSCGConfig

PATTERN = "ABAA"
KT = 0.02585
BOND = {"A-A": (1.0, 3.2), "A-B": (1.5, 3.0)}  # K eV/Å^2, r0 Å: K (r - r0)^2
ANGLE = {"A-A-B": (0.12, 105.0), "A-B-A": (0.15, 120.0)}  # K eV/rad^2, degrees
DIHEDRAL = ((0.03, 1, 60.0), (0.02, 3, 0.0))  # K (1 + cos(n phi - d)), eV and degrees
PAIR = (0.01, 4.0, 9.0)
STYLES = "pair_style lj/smooth/linear 9.0\npair_coeff * * 0.01 4.0\n"
STYLES += "bond_style harmonic\nangle_style harmonic\ndihedral_style fourier\n"
STYLES += "".join(f"bond_coeff {n} {k} {r}\n" for n, (k, r) in enumerate(BOND.values(), 1))
STYLES += "".join(f"angle_coeff {n} {k} {a}\n" for n, (k, a) in enumerate(ANGLE.values(), 1))
STYLES += "dihedral_coeff 1 2 " + " ".join(f"{k} {n} {d}" for k, n, d in DIHEDRAL) + "\n"
SECTIONS = {"bonds": {"between": "chain", "spacing": 0.1}, "angles": {}, "dihedrals": {}}


def chains(n: int = 27, seed: int = 1) -> CGFrame:
    """n chains on a lattice, in all directions, some of them across the boundary."""
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    lattice = 9.0 * np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)
    positions = []
    for corner in lattice.reshape(-1, 3):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        zigzag = np.array([[0, 0, 0], [2.6, 1.5, 0], [5.1, -0.1, 0], [6.2, 1.0, 2.7]])
        positions.append(corner + (zigzag + rng.normal(scale=0.05, size=(4, 3))) @ axes)
    topology = Topology(
        ("A", "B"),
        (40.0, 60.0),
        np.array([("A", "B").index(b) for b in PATTERN] * n),
        np.repeat(np.arange(n), 4),
    )
    cell = 9.0 * side * np.diag([1.0, 1.03, 0.98])
    return CGFrame(topology, np.concatenate(positions), cell)


def model(**changes: object) -> MSCGConfig:
    """A model with all bonded terms along the chains."""
    return MSCGConfig(**{"cutoff": 9.0, "spacing": 0.25, **SECTIONS, **changes})


def terms(frame: CGFrame, config: MSCGConfig | None = None) -> BondedTerms:
    """The bonded terms of the model."""
    return bonded_terms(config or model(), [frame], KT)


def data_file(path: Path, frame: CGFrame, bonded: BondedTerms, velocities=None) -> Path:
    """A data file with the sections of the terms."""
    found = sections_of(bonded.deployed(), frame.topology, "model.cgpot.json", "start")
    return write_data(path, frame, velocities, found)


def run_lammps(folder: Path, text: str) -> str:
    """Run a script; returns what it printed."""
    (folder / "in.test").write_text(text)
    program = find_lammps()
    done = subprocess.run(
        [*program.command, "-in", "in.test", "-log", "none"],
        cwd=folder,
        env=dict(program.environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def sample(folder: Path, n_frames: int, every: int = 100, n: int = 27) -> list[CGFrame]:
    """Frames with forces from dynamics of the chains in LAMMPS's own styles at 300 K."""
    start = chains(n)
    data_file(folder / "chains.data", start, terms(start))
    run_lammps(
        folder,
        "units metal\natom_style molecular\nspecial_bonds lj/coul 0.0 0.0 0.0\n"
        f"read_data chains.data\n{STYLES}minimize 1e-4 1e-4 200 2000\nreset_timestep 0\n"
        "velocity all create 300 7\nfix 1 all nvt temp 300 300 0.2\n"
        f"timestep 0.01\nrun 1000\ndump d all custom {every} chains.dump id x y z fx fy fz\n"
        "dump_modify d sort id format float %.12g\n"
        f"run {every * (n_frames - 1)}\n",
    )
    rows = [line.split() for line in (folder / "chains.dump").read_text().splitlines()]
    size = start.topology.n_sites
    block = size + 9
    frames = []
    for k in range(len(rows) // block):
        values = np.array(rows[k * block + 9 : (k + 1) * block], dtype=float)
        frames.append(
            replace(start, positions=values[:, 1:4], forces=values[:, 4:], source_frame=k)
        )
    return frames
