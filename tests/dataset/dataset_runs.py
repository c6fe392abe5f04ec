# SPDX-License-Identifier: GPL-2.0-or-later
"""Invented mapped runs with known statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgpot.core.files import thermo_path
from cgpot.core.manifest import write_manifest
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.mapping.thermo import THERMO_COLUMNS
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology

SIDE = 24.0
N = 60
FORCE = 0.2
STRESS = 2.0e-4


def frames(
    count: int,
    *,
    seed: int = 0,
    n: int = N,
    name: str = "BNZ",
    stress: bool = True,
    start: float = 0.0,
    sites_per_molecule: int = 1,
) -> list[CGFrame]:
    """Uniform random sites, Gaussian forces and stresses."""
    rng = np.random.default_rng(seed)
    names = tuple(f"{name}{k}" if k else name for k in range(sites_per_molecule))
    topology = Topology(
        names,
        tuple(78.0 + k for k in range(sites_per_molecule)),
        np.arange(n, dtype=np.int64) % sites_per_molecule,
        np.arange(n, dtype=np.int64) // sites_per_molecule,
    )
    result = []
    for i in range(count):
        noise = rng.normal(scale=STRESS, size=(3, 3))
        result.append(
            CGFrame(
                topology=topology,
                positions=rng.uniform(0, SIDE, (n, 3)),
                cell=np.diag([SIDE] * 3),
                forces=rng.normal(scale=FORCE, size=(n, 3)),
                virial=-(noise + noise.T) / np.sqrt(2) * SIDE**3 if stress else None,
                time=start + 0.5 * i,
                source_frame=i,
            )
        )
    return result


def write_run(
    path: Path,
    *,
    frames: int = 80,
    temperature: float | None = 300.0,
    engine: float | None = 40.0,
    stage: str = "mapping",
    **options: object,
) -> Path:
    """A file as ``cgpot map`` writes it, with table and manifest."""
    import dataset_runs

    made = dataset_runs.frames(frames, **options)  # type: ignore[arg-type]
    write_frames(path, made)
    rows = [",".join(THERMO_COLUMNS)]
    for f in made:
        pressure = "" if engine is None else f"{engine + 10 * (-1) ** (f.source_frame or 0)}"
        rows.append(f"{f.source_frame},{f.time},300.0,{f.volume},{pressure},0.0")
    thermo_path(path).write_text("\n".join(rows) + "\n")
    write_manifest(
        path,
        stage=stage,
        inputs={},
        outputs=[thermo_path(path)],
        extra={"temperature": temperature, "virial": "exact", "n_frames": frames, "options": {}},
    )
    return path


STRESS_BAR = STRESS * EV_PER_A3_IN_BAR
