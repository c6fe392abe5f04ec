# SPDX-License-Identifier: GPL-2.0-or-later
"""Time of backmapping a frame of 500 benzenes, and how far its map lies from the frame.

python workflows/benchmarks/backmap.py [--frames N]
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np

from cgpot.formats.atomistic import AtomFrame
from cgpot.mapping.kernel import map_frame, minimum_image
from cgpot.molecules.extxyz import read_frames
from cgpot.select.backmap import backmap
from cgpot.select.conformations import read_structure

SYSTEM = Path(__file__).parents[1] / "systems" / "benzene"


def main() -> None:
    """Print seconds a frame, the closest contact and the largest deviation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3)
    options = parser.parse_args()
    raw = SYSTEM / "data" / "raw"
    start = time.perf_counter()
    structure = read_structure(
        raw / "flexible.tpr", SYSTEM / "mapping.yaml", [raw / "flexible.trr"]
    )
    print(f"structure and conformations: {time.perf_counter() - start:.2f} s")
    frames = read_frames(SYSTEM / "data" / "benzene_300K_a.extxyz.xz")
    for number, frame in enumerate(islice(frames, options.frames)):
        start, cpu = time.perf_counter(), time.process_time()
        placed = backmap(structure, frame, seed=number + 1)
        seconds, busy = time.perf_counter() - start, time.process_time() - cpu
        # as GROMACS and LAMMPS would have them: wrapped atoms
        inside = placed.positions @ np.linalg.inv(frame.cell)
        atoms = (inside - np.floor(inside)) @ frame.cell
        mapped = map_frame(
            AtomFrame(0, 0, None, atoms, np.zeros_like(atoms), frame.cell), structure.sites
        )
        off = minimum_image(mapped.positions - frame.positions, frame.cell)
        print(
            f"{frame.topology.n_sites} molecules: {seconds:.2f} s ({busy:.2f} s of CPU), atoms of "
            f"other molecules at least {placed.contact:.2f} Å apart, sites off by at most "
            f"{np.abs(off).max():.1e} Å"
        )


if __name__ == "__main__":
    main()
