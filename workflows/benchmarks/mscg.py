# SPDX-License-Identifier: GPL-2.0-or-later
"""Time of an MS-CG pair fit, beside VOTCA's csg_fmatch where that is on the PATH.

    python workflows/benchmarks/mscg.py [--data FILE] [--frames N] [--out FOLDER]

Both read the same mapped frames (541 of 500 sites by default) from disk and fit a pair spline to
12 Å with a step of 0.2 Å to the forces, on one core: ours from the compressed data set, VOTCA
from a .trr file written from it before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.units import KJ_MOL, NM
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame
from cgpot.training.linear.mscg import MSCGPotential, fit_mscg
from cgpot.training.settings.model_settings import MSCGConfig

Array = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "systems" / "benzene" / "data" / "benzene_flexible.extxyz.xz"
CUTOFF, STEP, SHORTEST = 12.0, 0.2, 3.6

TOPOLOGY = """<topology base="sites.gro">
  <molecules><clear/><define name="MOL" first="1" nbeads="1" nmols="{n}"/></molecules>
</topology>
"""
MAPPING = """<cg_molecule>
  <name>MOL</name><ident>MOL</ident>
  <topology><cg_beads><cg_bead>
    <name>B</name><type>B</type><mapping>M</mapping><beads>1:MOL:B</beads>
  </cg_bead></cg_beads></topology>
  <maps><map><name>M</name><weights>1</weights></map></maps>
</cg_molecule>
"""
SETTINGS = """<cg>
  <non-bonded>
    <name>B-B</name><type1>B</type1><type2>B</type2>
    <fmatch><min>{low}</min><max>{high}</max><step>{step}</step><out_step>{out}</out_step></fmatch>
  </non-bonded>
  <fmatch><frames_per_block>{block}</frames_per_block><constrainedLS>false</constrainedLS></fmatch>
</cg>
"""


def write_votca(folder: Path, frames: Sequence[CGFrame]) -> list[str]:
    """Write one-site frames for csg_fmatch; returns its command line, to be run in ``folder``."""
    import MDAnalysis as mda

    n = frames[0].topology.n_sites
    universe = mda.Universe.empty(
        n, n_residues=n, atom_resindex=np.arange(n), trajectory=True, forces=True
    )
    universe.add_TopologyAttr("names", ["B"] * n)
    universe.add_TopologyAttr("resnames", ["MOL"] * n)
    universe.add_TopologyAttr("masses", [frames[0].topology.type_masses[0]] * n)
    with warnings.catch_warnings(), mda.Writer(str(folder / "sites.trr"), n_atoms=n) as writer:
        warnings.simplefilter("ignore")
        for number, frame in enumerate(frames):
            universe.dimensions = [*np.diagonal(frame.cell), 90.0, 90.0, 90.0]
            universe.atoms.positions = frame.positions
            universe.atoms.forces = np.asarray(frame.forces) / KJ_MOL
            universe.trajectory.ts.time = float(number)
            writer.write(universe.atoms)
            if number == 0:
                universe.atoms.write(str(folder / "sites.gro"))
    (folder / "topology.xml").write_text(TOPOLOGY.format(n=n))
    (folder / "map.xml").write_text(MAPPING)
    (folder / "fmatch.xml").write_text(
        SETTINGS.format(
            low=SHORTEST / NM,
            high=CUTOFF / NM,
            step=STEP / NM,
            out=0.5 * STEP / NM,
            block=len(frames) // 10,
        )
    )
    return [
        "csg_fmatch",
        *("--top", "topology.xml", "--trj", "sites.trr"),
        *("--cg", "map.xml", "--options", "fmatch.xml"),
    ]


def read_votca(path: Path) -> tuple[Array, Array, Array]:
    """Distance (Å), force and its error (eV/Å) from a .force file of csg_fmatch."""
    table = np.genfromtxt(path, usecols=(0, 1, 2))
    return table[:, 0] * NM, table[:, 1] * KJ_MOL / NM, table[:, 2] * KJ_MOL / NM


def ours(data: Path, count: int | None = None) -> MSCGPotential:
    """The same fit here."""
    frames = list(islice(read_frames(data), count))
    model = MSCGConfig(cutoff=CUTOFF, spacing=STEP)
    return fit_mscg(model, frames, 300.0, quiet=True)[0]


def main() -> None:
    """Time both and print them side by side, with the difference of the forces."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=DATA, help="data set of one-site molecules")
    parser.add_argument("--frames", type=int, help="use the first N frames")
    parser.add_argument("--out", type=Path, help="keep VOTCA's files here")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, children too
    ours(options.data, 20)  # imports
    start, cpu = time.perf_counter(), time.process_time()
    potential = ours(options.data, options.frames)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    frames = potential.info["frames"]
    print(f"{'program':<18} {'frames':>6} {'seconds':>8} {'CPU s':>7}   (one core, with reading)")
    print(f"{'cgpot mscg':<18} {frames:6d} {seconds:8.2f} {cpu:7.2f}")
    if shutil.which("csg_fmatch") is None:
        print("csg_fmatch is not on the PATH")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        command = write_votca(folder, list(islice(read_frames(options.data), options.frames)))
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        print(f"{'VOTCA csg_fmatch':<18} {frames:6d} {seconds:8.2f} {cpu:7.2f}")
        r, force, error = read_votca(folder / "B-B.force")
    seen = (r > SHORTEST + 0.1) & (r < CUTOFF - 0.05)
    difference = (potential.table().force(r) - force)[seen]
    print(
        f"difference of the pair forces, {r[seen][0]:.1f} to {r[seen][-1]:.1f} Å: rms "
        f"{np.sqrt(np.mean(difference**2)):.5f} eV/Å, "
        f"{np.sqrt(np.mean((difference / error[seen]) ** 2)):.2f} of VOTCA's standard errors"
    )


if __name__ == "__main__":
    main()
