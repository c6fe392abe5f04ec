# SPDX-License-Identifier: GPL-2.0-or-later
"""A binary Lennard-Jones mixture of 128 beads, sampled by LAMMPS's own ``pair_style lj/cut``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.splines import pair_index

NAMES, MASSES = ("A", "B"), (40.0, 60.0)
PAIRS = ((0, 0), (0, 1), (1, 1))
EPSILON = (0.008, 0.014, 0.006)
"""eV, of AA, AB and BB: unlike beads attract each other most."""
SIGMA = (3.4, 3.1, 3.0)
CUTOFF = 8.0
TEMPERATURE = 150.0
SIDE = 20.2
BEADS = 128


def lennard_jones(r: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """u(r) and -u'(r) of a pair of types, cut (not shifted) as LAMMPS does."""
    s = (SIGMA[row] / r) ** 6
    inside = r < CUTOFF
    u = 4.0 * EPSILON[row] * (s * s - s)
    f = 24.0 * EPSILON[row] * (2.0 * s * s - s) / r
    return u * inside, f * inside


def lattice() -> CGFrame:
    """128 beads on a face-centred lattice, types alternating."""
    rng = np.random.default_rng(3)
    base = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    chosen = (grid + base).reshape(-1, 3) / 4.0
    chosen = chosen[rng.permutation(len(chosen))[:BEADS]]
    types = np.arange(BEADS) % 2
    topology = Topology(NAMES, MASSES, types, np.arange(BEADS))
    return CGFrame(topology, chosen * SIDE, np.eye(3) * SIDE)


def labelled(frame: CGFrame) -> CGFrame:
    """The frame with forces and virial of the Lennard-Jones mixture, all pairs at once."""
    delta = frame.positions[None, :, :] - frame.positions[:, None, :]
    cell = np.diag(frame.cell)
    delta -= np.round(delta / cell) * cell
    r = np.linalg.norm(delta, axis=-1)
    np.fill_diagonal(r, np.inf)
    rows = pair_index(2)[frame.topology.types[:, None], frame.topology.types[None, :]]
    along = np.zeros_like(r)
    for row in range(3):
        mask = rows == row
        along[mask] = lennard_jones(r[mask], row)[1] / r[mask]
    frame.forces = -(along[:, :, None] * delta).sum(axis=1)
    frame.virial = 0.5 * np.einsum("ij,ija,ijb->ab", along, delta, delta)
    return frame


def write_reference(folder: Path, length_ps: float = 300.0) -> Path:
    """A data set of the mixture; LAMMPS runs ``lj/cut`` itself."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"pair_style lj/cut {CUTOFF}"]
    lines += [
        f"pair_coeff {a + 1} {b + 1} {EPSILON[row]} {SIGMA[row]}"
        for row, (a, b) in enumerate(PAIRS)
    ]
    (folder / "lj.lmp").write_text("\n".join(lines) + "\n")
    write_frames(folder / "start.extxyz", [lattice()])
    run = MdConfig(
        start=folder / "start.extxyz",
        pair_file=folder / "lj.lmp",
        temperature=TEMPERATURE,
        length_ps=length_ps,
        timestep_fs=8.0,
        tdamp_ps=0.5,
        thermo_ps=0.48,
        dump_ps=0.48,
        minimize=True,
        temperature_max=1e5,
    )
    run_md("nvt", run, folder / "md", quiet=True)
    frames = list(read_frames(folder / "md" / "traj.extxyz.xz"))[40:]
    write_frames(folder / "reference.extxyz", [labelled(frame) for frame in frames])
    return folder / "reference.extxyz"


def write_settings(path: Path, reference: Path, **changes: Any) -> Path:
    """refine.yaml of a short refinement from zero."""
    record: dict[str, Any] = {
        "start": "zero",
        "reference": [str(reference)],
        "temperature": TEMPERATURE,
        "iterations": 4,
        "zero": {"cutoff": CUTOFF, "spacing": 0.4, "begin": "wall"},
        "md": {
            "length_ps": 40.0,
            "equilibration_ps": 2.0,
            "timestep_fs": 8.0,
            "sample_ps": 0.24,
            "tdamp_ps": 0.5,
        },
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    return path
