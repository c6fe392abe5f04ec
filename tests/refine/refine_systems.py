# SPDX-License-Identifier: GPL-2.0-or-later
"""A fluid of 64 beads with a known pair potential, sampled by LAMMPS as a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgpot.core.units import KB
from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.base import Base
from cgpot.potential.splines import PairTable
from cgpot.refine.potential_files import write_potential

NAME = "BEA"
MASS = 78.0
TEMPERATURE = 300.0
KT = KB * TEMPERATURE
R_MAX, INTERVALS = 8.0, 16
SIDE, SPACING = 4, 5.2


def truth(depth: float = 0.8, height: float = 30.0) -> PairTable:
    """A soft core (``height`` k_B T) and a well (``depth`` k_B T), exactly a spline."""
    h = R_MAX / INTERVALS
    r = (np.arange(INTERVALS + 3) - 1) * h
    u = height * np.exp(-((r / 2.6) ** 2)) - depth * np.exp(-(((r - 5.5) / 1.0) ** 2))
    u[-3:] = 0.0
    return PairTable((NAME,), R_MAX, (KT * u)[None, :], {})


def lattice(seed: int = 5) -> CGFrame:
    """64 beads near a simple cubic lattice."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    n = SIDE**3
    topology = Topology((NAME,), (MASS,), np.zeros(n, np.int64), np.arange(n))
    positions = (grid + 0.5) * SPACING + rng.normal(scale=0.2, size=(n, 3))
    return CGFrame(topology, positions, np.eye(3) * SIDE * SPACING)


def simulate(
    folder: Path,
    table: PairTable,
    length_ps: float,
    seed: int = 11,
    every_ps: float = 0.25,
    pair_file: Path | None = None,
) -> dict[str, Any]:
    """Run the pair table in LAMMPS; the run folder is ``folder / md``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "start.extxyz", [lattice()])
    settings = MdConfig(
        start=folder / "start.extxyz",
        pair_file=pair_file or write_potential(folder, table, None),
        temperature=TEMPERATURE,
        length_ps=length_ps,
        timestep_fs=10.0,
        tdamp_ps=0.5,
        thermo_ps=every_ps,
        dump_ps=every_ps,
        seed=seed,
    )
    return run_md("nvt", settings, folder / "md", quiet=True)


def write_reference(folder: Path, length_ps: float = 400.0) -> Path:
    """A data set of the true fluid with exact forces and virials."""
    table = truth()
    simulate(folder, table, length_ps, every_ps=0.5)
    frames = []
    for k, frame in enumerate(read_frames(folder / "md" / "traj.extxyz.xz")):
        if k < 10:
            continue
        frame.forces, frame.virial, _ = Base(table).labels(frame)
        frames.append(frame)
    write_frames(folder / "reference.extxyz", frames)
    return folder / "reference.extxyz"


def settings(reference: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a short refinement from zero; ``changes`` replace or extend sections."""
    record: dict[str, Any] = {
        "start": "zero",
        "reference": [str(reference)],
        "temperature": TEMPERATURE,
        "iterations": 6,
        "step": {"max_kT": 1.5},
        "tolerance": {"noise": 1.0},
        "zero": {"cutoff": R_MAX, "spacing": R_MAX / INTERVALS},
        "md": {
            "length_ps": 60.0,
            "equilibration_ps": 2.0,
            "timestep_fs": 10.0,
            "sample_ps": 0.25,
            "tdamp_ps": 0.5,
        },
    }
    for section, value in changes.items():
        if isinstance(value, dict):
            record[section] = {**record.get(section, {}), **value}
        else:
            record[section] = value
    return record


def write_config(path: Path, reference: Path, **changes: Any) -> Path:
    """Write refine.yaml; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings(reference, **changes)), encoding="utf-8")
    return path
