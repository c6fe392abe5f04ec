# SPDX-License-Identifier: GPL-2.0-or-later
"""A study from end to end with the real stages: a network on a small fluid."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology

K, RC, CELLS, SPACING = 4.0, 4.8, 4, 3.0
N = CELLS**3


def fluid(count: int, seed: int) -> list[CGFrame]:
    """Frames of a jittered lattice with u(r) = K (1 - r/RC)^3, by the minimum image."""
    rng = np.random.default_rng(seed)
    topology = Topology(("BEA",), (40.0,), np.zeros(N, np.int64), np.arange(N))
    grid = np.stack(np.meshgrid(*[np.arange(CELLS)] * 3, indexing="ij"), -1).reshape(-1, 3)
    frames = []
    for index in range(count):
        length = CELLS * SPACING * (1.0 + 0.02 * rng.standard_normal())
        positions = (grid * (length / CELLS) + rng.normal(0.0, 0.4, (N, 3))) % length
        delta = positions[None, :, :] - positions[:, None, :]
        delta -= np.round(delta / length) * length
        r = np.linalg.norm(delta, axis=-1)
        np.fill_diagonal(r, np.inf)
        pull = (-3.0 * K / RC * np.clip(1.0 - r / RC, 0.0, None) ** 2 / r)[:, :, None] * delta
        virial = -0.5 * np.einsum("ija,ijb->ab", delta, pull)
        frames.append(
            CGFrame(
                topology,
                positions,
                np.diag([length] * 3),
                pull.sum(axis=1),
                virial,
                time=float(index),
                source_frame=index,
            )
        )
    return frames


@pytest.mark.slow
def test_a_whole_study(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, count, seed in (("train", 10, 1), ("val", 4, 2), ("test", 4, 3)):
        write_frames(data / f"{name}.extxyz", fluid(count, seed))
    (data / "report.json").write_text("{}")
    write_frames(tmp_path / "reference.extxyz", fluid(20, 4))
    md = {"length_ps": 0.5, "timestep_fs": 2.0, "thermo_ps": 0.01, "dump_ps": 0.02, "skin": 0.5}
    study: dict[str, Any] = {
        "title": "A small fluid",
        "dataset": {"folder": "data"},
        "reference": ["reference.extxyz"],
        "train": {
            "data": {name: f"{name}.extxyz" for name in ("train", "val", "test")},
            "system": {"temperature": 300.0},
            "model": {"cutoff": 5.0, "features": 4, "radial_width": 8},
            "prior": {"type": "wall"},
            "optimiser": {"learning_rate": 0.05, "batch_size": 2, "epochs": 1, "ema_decay": 0.8},
        },
        "md": {"nvt": md, "npt": md},
        "points": [
            {"name": "good"},
            # far too long a step: the dynamics blows up, and the study goes on
            {"name": "bad", "md": {"nvt": {"timestep_fs": 2000.0, "length_ps": 2000.0}}},
        ],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "cgpot", "study", str(path), "--folder", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "out" / "results.csv", newline="") as stream:
        good, bad = csv.DictReader(stream)
    assert (good["state"], good["failure"]) == ("done", "")
    for column in ("force_rmse_eV_A", "rdf_error", "pressure_bar", "density_kg_m3", "ns_per_day"):
        assert good[column], column
    assert float(good["stable_ns"]) == pytest.approx(0.0005)
    assert bad["state"] == "failed"
    assert bad["failure"].startswith("nvt: ")
    assert "blew up" in bad["failure"]
    assert float(bad["stable_ns"]) < 2.0
    assert bad["rdf_error"] == ""
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "good: done already" in again.stdout
    assert "bad: failed already" in again.stdout
