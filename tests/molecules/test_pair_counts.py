# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts of pair distances against all pairs in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from molecule_systems import CHAIN, LONG, STAR, WATER, mixture

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import PairCounter, pairs_between, pairs_within
from cgpot.molecules.whole import wrap

TILTED = np.array([[24.0, 0, 0], [6.0, 23.0, 0], [-5.0, 4.0, 25.0]])


def brute(frame: CGFrame, r_max: float, bins: int) -> np.ndarray:
    """Counts (rows, bins) of pairs of different molecules, over all 27 images of all pairs."""
    top = frame.topology
    n_types = len(top.type_names)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ frame.cell
    rows = [(a, b) for a in range(n_types) for b in range(a, n_types)]
    found = np.zeros((len(rows), bins), dtype=int)
    for i in range(top.n_sites):
        for j in range(i):
            if top.molecules[i] == top.molecules[j]:
                continue
            d = np.linalg.norm(frame.positions[j] - frame.positions[i] + shifts, axis=1)
            pair = tuple(sorted((int(top.types[i]), int(top.types[j]))))
            found[rows.index(pair)] += np.histogram(d, bins=bins, range=(0, r_max))[0]
    return found


@pytest.mark.parametrize("cell", [np.eye(3) * 24.0, TILTED], ids=["cube", "tilted"])
def test_counts_between_molecules(cell: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    top = mixture((CHAIN, STAR, WATER), each=4)
    frame = CGFrame(top, wrap(rng.normal(size=(top.n_sites, 3)) * 15, cell), cell)
    counter = PairCounter(top, 10.9, 40)
    assert np.array_equal(counter.count(frame), brute(frame, 10.9, 40))
    assert counter.labels == ["A-A", "A-B", "A-W", "B-B", "B-W", "W-W"]


def test_numbers_of_pairs() -> None:
    top = mixture((CHAIN, STAR, WATER), each=4)
    same = top.molecules[:, None] == top.molecules[None, :]
    upper = np.triu(np.ones_like(same), 1)
    low = np.minimum(top.types[:, None], top.types[None, :])
    high = np.maximum(top.types[:, None], top.types[None, :])
    rows = [(a, b) for a in range(3) for b in range(a, 3)]
    for found, kept in ((pairs_between(top), ~same), (pairs_within(top), same)):
        exact = [(upper & kept & (low == a) & (high == b)).sum() for a, b in rows]
        assert found.tolist() == exact


def test_distances_within_a_chain_longer_than_half_the_box() -> None:
    top = mixture((LONG,), each=1, seed=None)
    straight = np.arange(40.0)[:, None] * np.array([1.0, 0.3, 0.0])
    cell = np.eye(3) * 20.0
    distance, row = PairCounter(top, 9.9, 10).distances_within(straight)
    assert set(row.tolist()) == {0}
    exact = [np.hypot(1.0, 0.3) * (j - i) for i in range(40) for j in range(i + 1, 40)]
    assert np.allclose(np.sort(distance), np.sort(exact))
    # it is the only molecule: nothing lies between molecules, whatever the images
    assert (
        PairCounter(top, 9.9, 10).count(CGFrame(top, wrap(straight + 0.1, cell), cell)).sum() == 0
    )


def test_a_range_beyond_half_the_box() -> None:
    top = mixture((WATER,), each=5)
    frame = CGFrame(top, np.random.default_rng(0).random((5, 3)) * 20, np.eye(3) * 20.0)
    PairCounter(top, 10.0 * (1 + 1e-7), 10).count(frame)  # rounding of a box in a file
    frame.source_frame = 3
    with pytest.raises(DataError, match=r"frame 3: r_max 10.100 Å exceeds half the box, 10.000 Å"):
        PairCounter(top, 10.1, 10).count(frame)
