# SPDX-License-Identifier: GPL-2.0-or-later
"""The guard that refuses molecules of several sites by name."""

from __future__ import annotations

import numpy as np
import pytest

from cgpot.core.errors import InputError
from cgpot.molecules.frame import Topology
from cgpot.molecules.single_sites import require_single_sites


def test_single_sites_pass() -> None:
    topology = Topology(("A",), (10.0,), np.zeros(4, dtype=np.int64), np.array([3, 1, 2, 0]))
    require_single_sites(topology, "network training")


def test_the_molecule_is_named() -> None:
    topology = Topology(("A", "B"), (10.0, 20.0), np.array([0, 0, 1, 0]), np.array([0, 1, 1, 1]))
    with pytest.raises(
        InputError,
        match=r"data.extxyz: network training takes molecules of one site only, but molecule 1 "
        r"has 3 \(A-B-A\)",
    ):
        require_single_sites(topology, "network training", file="data.extxyz")


def test_a_long_molecule_is_cut() -> None:
    topology = Topology(("A",), (10.0,), np.zeros(12, dtype=np.int64), np.zeros(12, dtype=np.int64))
    with pytest.raises(InputError, match=r"has 12 \(A-A-A-A-A-A-A-A\.\.\.\)"):
        require_single_sites(topology, "cgpot refine")
