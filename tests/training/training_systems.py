# SPDX-License-Identifier: GPL-2.0-or-later
"""A small fluid whose forces and virial are known exactly: u(r) = K (1 - r/RC)^3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology

K, RC = 4.0, 4.8
CELLS, SPACING = 4, 3.0
N = CELLS**3
NAME = "BEA"


def pair_forces(positions: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Forces, virial and energy by the minimum image, no neighbour list."""
    delta = positions[None, :, :] - positions[:, None, :]
    delta -= np.round(delta @ np.linalg.inv(cell)) @ cell
    r = np.linalg.norm(delta, axis=-1)
    np.fill_diagonal(r, np.inf)
    x = np.clip(1.0 - r / RC, 0.0, None)
    slope = -3.0 * K / RC * x**2
    pull = (slope / r)[:, :, None] * delta
    forces = pull.sum(axis=1)
    virial = -0.5 * np.einsum("ija,ijb->ab", delta, pull)
    return forces, virial, float(0.5 * K * (x**3).sum())


def fluid(count: int, seed: int, noise: float = 0.0) -> list[CGFrame]:
    """Frames of a jittered lattice; ``noise`` (eV/Å) is added to the force labels."""
    rng = np.random.default_rng(seed)
    topology = Topology((NAME,), (40.0,), np.zeros(N, np.int64), np.arange(N))
    grid = np.stack(np.meshgrid(*[np.arange(CELLS)] * 3, indexing="ij"), -1).reshape(-1, 3)
    frames = []
    for index in range(count):
        length = CELLS * SPACING * (1.0 + 0.02 * rng.standard_normal())
        cell = np.diag([length] * 3)
        positions = grid * (length / CELLS) + rng.normal(0.0, 0.4, (N, 3))
        positions = np.round(positions % length, 4)  # as written to extxyz
        forces, virial, _ = pair_forces(positions, cell)
        forces = forces + noise * rng.standard_normal(forces.shape)
        frames.append(
            CGFrame(
                topology, positions, cell, forces, virial, time=float(index), source_frame=index
            )
        )
    return frames


def settings(**changes: Any) -> dict[str, Any]:
    """A small configuration; ``changes`` replace or extend sections."""
    record: dict[str, Any] = {
        "data": {"train": "train.extxyz", "val": "val.extxyz", "test": "test.extxyz"},
        "system": {"temperature": 5.0},
        "model": {"cutoff": 5.0, "features": 4, "radial_width": 8, "readout_start": 1.0},
        "prior": {"type": "wall"},
        "optimiser": {"learning_rate": 0.05, "batch_size": 2, "epochs": 4, "ema_decay": 0.8},
        "seed": 3,
    }
    for section, value in changes.items():
        if isinstance(value, dict):
            record[section] = {**record.get(section, {}), **value}
        else:
            record[section] = value
    return record


def write_case(folder: Path, **changes: Any) -> Path:
    """Write data and train.yaml into a folder; returns the path of train.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "train.extxyz", fluid(10, 1))
    write_frames(folder / "val.extxyz", fluid(4, 2))
    write_frames(folder / "test.extxyz", fluid(4, 3))
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(settings(**changes)), encoding="utf-8")
    return path
