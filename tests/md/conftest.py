# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import lammps_support as support

from cgpot.formats.lammps.cg_data import write_data


@pytest.fixture
def lj_file(tmp_path: Path) -> Path:
    path = tmp_path / "lj.lmp"
    path.write_text(support.LJ)
    return path


@pytest.fixture
def lj_data(tmp_path: Path) -> Path:
    """125 Lennard-Jones beads at 720 kg/m^3."""
    return write_data(tmp_path / "start.data", support.lattice(5, 5.65))
