# SPDX-License-Identifier: GPL-2.0-or-later
"""Small systems, classical potentials and runs of the real LAMMPS for the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import typer

from cgpot.cli import md as md_command
from cgpot.md.engine import find_lammps
from cgpot.molecules.frame import CGFrame, Topology

EPSILON, SIGMA, CUTOFF = 0.030, 5.0, 12.0
"""Lennard-Jones beads, eV and Å: a liquid like benzene's at 300 K (T* = 0.86)."""

LJ = f"""pair_style lj/cut {CUTOFF}
pair_coeff * * {EPSILON} {SIGMA}
"""
IDEAL = """pair_style zero 8.0
pair_coeff * *
"""
OVERLAP = """pair_style lj/cut 12.0
pair_coeff * * 0.030 9.0
"""


def lattice(
    n: int, spacing: float, names: tuple[str, ...] = ("BNZ",), seed: int = 3, jitter: float = 0.1
) -> CGFrame:
    """n^3 beads near a simple cubic lattice; types in turn, a molecule each."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = (grid + 0.5) * spacing + rng.normal(scale=jitter, size=(n**3, 3))
    topology = Topology(
        names,
        tuple(78.114 + 10.0 * i for i in range(len(names))),
        np.arange(n**3) % len(names),
        np.arange(n**3),
    )
    return CGFrame(topology, positions, np.eye(3) * n * spacing)


def lmp(arguments: list[str], folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run LAMMPS by hand in a folder."""
    program = find_lammps()
    done = subprocess.run(
        [*program.command, *arguments],
        cwd=folder,
        env=dict(program.environment),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if check and done.returncode != 0:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-1000:])
    return done


def script(folder: Path, text: str, name: str = "in.test") -> subprocess.CompletedProcess[str]:
    """Run a LAMMPS script in a folder."""
    (folder / name).write_text(text)
    return lmp(["-in", name, "-log", f"{name}.log"], folder)


def app() -> typer.Typer:
    """The command line with ``md`` alone."""
    application = typer.Typer(pretty_exceptions_enable=False)

    @application.callback()
    def root() -> None:
        pass

    md_command.register(application)
    return application


def pair_energy(frame: CGFrame) -> float:
    """Lennard-Jones energy, eV, by a plain double loop over sites and images."""
    reach = range(-2, 3)
    shifts = np.array([[i, j, k] for i in reach for j in reach for k in reach]) @ frame.cell
    total = 0.0
    for i in range(len(frame.positions)):
        vectors = frame.positions - frame.positions[i]
        distances = np.linalg.norm(vectors[:, None, :] + shifts[None, :, :], axis=2)
        near = distances[(distances > 1e-9) & (distances < CUTOFF)]
        ratio = (SIGMA / near) ** 6
        total += 0.5 * float(np.sum(4.0 * EPSILON * (ratio**2 - ratio)))
    return total
