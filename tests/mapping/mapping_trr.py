# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic .trr files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_trr(
    path: Path, frames: int, *, atoms: int = 24, forces: bool = True, nan: int | None = None
) -> None:
    """A synthetic .trr of molecules of twelve atoms through MDAnalysis's writer."""
    import MDAnalysis

    rng = np.random.default_rng(1)
    universe = MDAnalysis.Universe.empty(atoms, trajectory=True, forces=forces)
    universe.dimensions = [30.0, 30.0, 30.0, 90.0, 90.0, 90.0]
    with MDAnalysis.Writer(str(path), atoms) as writer:
        for i in range(frames):
            centres = np.repeat(rng.uniform(0, 30, (atoms // 12, 3)), 12, axis=0)
            universe.atoms.positions = (centres + rng.normal(size=(atoms, 3))) % 30
            if forces:
                values = rng.normal(size=(atoms, 3))
                if i == nan:
                    values[5] = np.nan
                universe.atoms.forces = values
            universe.trajectory.ts.time = 0.5 * i
            universe.trajectory.ts.data["step"] = i
            writer.write(universe.atoms)
