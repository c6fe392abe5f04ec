# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share: one thread each, no display, no colours, fixed seeds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

# before numpy, torch or matplotlib are imported anywhere
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["NO_COLOR"] = "1"
os.environ["TERM"] = "dumb"
os.environ["COLUMNS"] = "120"
os.environ.pop("FORCE_COLOR", None)
os.environ.pop("GITHUB_ACTIONS", None)  # typer and rich colour their output there
# commands of the environment that runs the tests (lmp, cgpot, cmake), also when not activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
BENZENE = ROOT / "workflows" / "systems" / "benzene" / "lammps"
sys.path.insert(0, str(BENZENE))  # benzene_box.py: atoms for tests of atomistic runs


PROGRAMS = {"gromacs": "gmx", "votca": "csg_map"}
"""Marker -> the program that a test with it calls."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what compares with a program that is not there."""
    for item in items:
        for marker, program in PROGRAMS.items():
            if item.get_closest_marker(marker) and shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"no {program} on the PATH"))


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers with a fixed seed."""
    return np.random.default_rng(20240917)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Keep torch to one thread where a test module imported it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
