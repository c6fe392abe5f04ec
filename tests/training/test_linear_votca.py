# SPDX-License-Identifier: GPL-2.0-or-later
"""The pair force of an MS-CG fit against VOTCA's csg_fmatch on the same frames."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from cgpot.molecules.extxyz import read_frames

ROOT = Path(__file__).parents[2]
REFERENCE = Path(__file__).with_name("data") / "votca_benzene.txt"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location(
        "mscg_benchmark", ROOT / "workflows" / "benchmarks" / "mscg.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(bench, potential, path, bound):
    """Within VOTCA's error: rms of the difference over the error below 1, nowhere above 4; eV/Å."""
    r, force, error = bench.read_votca(path)
    seen = (r > 3.7) & (r < 11.95)
    pull = (potential.table().force(r) - force)[seen] / error[seen]
    assert np.sqrt(np.mean(pull**2)) < 1.0
    assert np.abs(pull).max() < 4.0
    well = (r > 4.5) & (r < 11.95)
    difference = (potential.table().force(r) - force)[well]
    assert np.sqrt(np.mean(difference**2)) < bound


def test_pair_force_is_that_of_votca(bench):
    check(bench, bench.ours(bench.DATA), REFERENCE, 6e-4)


@pytest.mark.votca
@pytest.mark.skipif(shutil.which("csg_fmatch") is None, reason="csg_fmatch is not on the PATH")
def test_votca_on_the_same_frames(bench, tmp_path):
    frames = list(islice(read_frames(bench.DATA), 60))
    command = bench.write_votca(tmp_path, frames)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    check(bench, bench.ours(bench.DATA, 60), tmp_path / "B-B.force", 2e-3)
