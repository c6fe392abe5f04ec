# SPDX-License-Identifier: GPL-2.0-or-later
"""One fluid has one Δg: analysis and refinement count the same pairs, also of dimers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cgpot.analysis.analyze import AnalysisInput, analyze
from cgpot.core.errors import DataError
from cgpot.core.files import write_json, write_text
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import wrap
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.frame_counts import FrameTally, Grid
from cgpot.refine.judge import judge
from cgpot.refine.refine_settings import ToleranceConfig
from cgpot.refine.refine_target import read_target
from cgpot.refine.reweighting import Samples, weighted_averages

TEMPERATURE = 300.0
SIDE = 31.0
BINS, R_MAX = 300, 15.0
DIMER = Species("DIM", ("A", "B"), ((0, 1),))


def dimers(n_frames: int, seed: int, bond: float) -> list[CGFrame]:
    """Dimers at random places, which keep 2.5 Å away from one another, through the walls."""
    rng = np.random.default_rng(seed)
    n = 60
    topology = Topology(
        ("A", "B"),
        (30.0, 40.0),
        np.tile([0, 1], n),
        np.repeat(np.arange(n), 2),
        species=(DIMER,),
        molecule_species=np.zeros(n, dtype=np.int64),
    )
    cell = np.eye(3) * SIDE
    frames = []
    for k in range(n_frames):
        placed = np.zeros((0, 3))
        while len(placed) < 2 * n:
            first = rng.random(3) * SIDE
            step = rng.normal(size=3)
            both = np.stack([first, first + bond * step / np.linalg.norm(step)])
            d = placed[:, None] - both[None]
            d -= SIDE * np.rint(d / SIDE)
            if len(placed) == 0 or np.linalg.norm(d, axis=2).min() > 2.5:
                placed = np.concatenate([placed, both])
        frames.append(
            CGFrame(topology, wrap(placed, cell), cell, virial=np.eye(3) * 0.01, time=float(k))
        )
    return frames


def write_run(folder: Path, frames: list[CGFrame]) -> Path:
    folder.mkdir()
    head = "time_ps,temperature_K,pressure_bar,pe_eV,ke_eV,etotal_eV,volume_A3,density_kg_m3"
    lines = [
        f"{f.time},300,{0.1 * (k % 2)},0,1,1,{f.volume},{f.density}" for k, f in enumerate(frames)
    ]
    write_text(folder / "thermo.csv", "\n".join([head, *lines]) + "\n")
    write_json(folder / "md.json", {"ensemble": "nvt", "n_sites": 120, "ns": 0.02})
    write_frames(folder / "traj.extxyz", frames)
    return folder


def test_one_delta_g_for_dimers(tmp_path: Path) -> None:
    write_frames(tmp_path / "aa.extxyz", dimers(20, 1, 2.8))
    run = write_run(tmp_path / "nvt", dimers(20, 2, 3.4))
    analysis = analyze(
        AnalysisInput([tmp_path / "aa.extxyz"], [run], TEMPERATURE), tmp_path / "out", quiet=True
    )
    assert analysis["settings"]["r_max_A"] == R_MAX
    by_analysis = analysis["runs"][0]["comparison"]["rdf"]

    target = read_target(
        [tmp_path / "aa.extxyz"],
        temperature=TEMPERATURE,
        pressure="ignore",
        density=None,
        cutoff=8.0,
        quiet=True,
    )
    grid = target.grid
    assert (grid.r_max, grid.bins) == (R_MAX, BINS)
    start = analysis["runs"][0]["equilibration_ps"]
    kept = [f for f in read_frames(run / "traj.extxyz") if f.time is not None and f.time >= start]
    basis = CountsBasis(3, 8.0, 16, grid)
    sampled = Samples(target.tally.counts(kept), np.zeros(len(kept)), np.zeros(basis.size))
    averages = weighted_averages(
        [sampled], np.zeros(basis.size), basis, temperature=TEMPERATURE, volume=target.volume
    )
    by_refinement = judge(averages, target, ToleranceConfig())["pairs"]

    assert list(by_refinement) == list(by_analysis) == ["A-A", "A-B", "B-B"]
    for label, found in by_refinement.items():
        assert found["rdf_error"] == pytest.approx(by_analysis[label]["rdf_error"], rel=1e-9)
        own = analysis["runs"][0]["rdf"][label]["peak"]
        assert found["first_peak"] == pytest.approx(own["height"], rel=1e-6)
    # The bond of 2.8 Å would be a peak of A-B far above 1; between molecules there is none.
    g = np.array(analysis["reference"]["rdf"]["A-B"]["g"])
    r = np.array(analysis["reference"]["rdf"]["A-B"]["r_A"])
    bond = 60 / (4 * np.pi * 2.8**2 * 0.05) * SIDE**3 / 60**2  # of g(r) with bonded pairs
    assert bond > 60
    assert g[np.abs(r - 2.8) < 0.1].max() < 5
    within = analysis["reference"]["rdf_within"]["A-B"]
    assert within["mean"] == pytest.approx(2.8, abs=1e-4)  # four digits in the file


def test_no_frames_to_count() -> None:
    with pytest.raises(DataError, match="no frames to count pairs in"):
        FrameTally(dimers(1, 1, 2.8)[0].topology, Grid(R_MAX, BINS)).counts([])
