# SPDX-License-Identifier: GPL-2.0-or-later
"""Small systems with known answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology

HEADER = [
    "time_ps",
    "temperature_K",
    "pressure_bar",
    "pressure_virial_bar",
    "pe_eV",
    "ke_eV",
    "etotal_eV",
    "volume_A3",
    "density_kg_m3",
    "lx",
    "ly",
    "lz",
]


def topology(n: int, names: tuple[str, ...] = ("BNZ",), per_molecule: int = 1) -> Topology:
    return Topology(
        type_names=names,
        type_masses=tuple(78.114 for _ in names),
        types=np.arange(n, dtype=np.int64) % len(names),
        molecules=np.arange(n, dtype=np.int64) // per_molecule,
    )


def ideal_gas(
    n_frames: int,
    n: int = 100,
    length: float = 24.0,
    seed: int = 0,
    *,
    names: tuple[str, ...] = ("BNZ",),
    virial: bool = True,
    breathing: float = 0.0,
    cell: np.ndarray | None = None,
) -> list[CGFrame]:
    """Random points; with ``breathing`` the volume fluctuates by that relative deviation."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n_frames):
        box = np.eye(3) * length if cell is None else cell
        box = box * (1.0 + breathing * rng.normal()) ** (1 / 3)
        frames.append(
            CGFrame(
                topology=topology(n, names),
                positions=rng.random((n, 3)) @ box,
                cell=box,
                forces=rng.normal(size=(n, 3)) if virial else None,
                virial=np.diag(rng.normal(size=3)) if virial else None,
                time=float(k),
                source_frame=k,
            )
        )
    return frames


def write_run(
    folder: Path,
    frames: list[CGFrame],
    *,
    ensemble: str = "nvt",
    n_thermo: int = 200,
    seed: int = 3,
    md: dict[str, Any] | None = None,
    temperature: float = 300.0,
) -> Path:
    """A run folder as ``cgpot md`` leaves it, with white noise in thermo.csv."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    n = frames[0].topology.n_sites
    volume = frames[0].volume
    kinetic = 1.5 * 8.617333e-5 * temperature * n
    with open(folder / "thermo.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for k in range(n_thermo):
            v = volume * (1 + 0.01 * rng.normal()) if ensemble == "npt" else volume
            potential = -1.0 + 0.05 * rng.normal()
            writer.writerow(
                [
                    k * len(frames) / n_thermo,
                    temperature + 5 * rng.normal(),
                    40.0 * rng.normal(),
                    -300.0 + 40.0 * rng.normal(),
                    potential,
                    kinetic,
                    potential + kinetic,
                    v,
                    n * 78.114 / v * 1660.539,
                    *[v ** (1 / 3)] * 3,
                ]
            )
    write_frames(folder / "traj.extxyz", frames)
    settings = {"ensemble": ensemble, "temperature_K": temperature, "ns": 1.5, "n_sites": n}
    settings |= {"timestep_fs": 5.0, "ns_per_day": 50.0, "failures": []}
    (folder / "md.json").write_text(json.dumps(settings | (md or {})))
    return folder
