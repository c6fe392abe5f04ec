# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of sites against all images written out, with bonds and the pairs a potential sees."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from cgpot.core.errors import ConfigError, DataError
from cgpot.molecules.exclusions import SEEN_PAIRS
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pairs import half_list, neighbour_images, shortest_between_molecules

CELLS = {
    "cubic": np.eye(3) * 14.0,
    "tilted": np.array([[14.0, 0, 0], [4.0, 13.0, 0], [-3.0, 2.0, 15.0]]),
}


def chains(cell: np.ndarray, seed: int = 1) -> CGFrame:
    """Chains of six, three and one sites, at random places of the cell."""
    rng = np.random.default_rng(seed)
    sizes = [6, 6, 3, 3, 3, 1, 1]
    molecules = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    bonds = np.array(
        [(s + k, s + k + 1) for s, n in zip(starts, sizes, strict=True) for k in range(n - 1)]
    )
    types = np.zeros(len(molecules), dtype=np.int64)
    topology = Topology.from_bonds(("AAA",), (40.0,), types, molecules, bonds)
    return CGFrame(topology, rng.uniform(0, 1, (len(molecules), 3)) @ cell, cell)


def brute(frame: CGFrame, cutoff: float) -> list[tuple[int, int, np.ndarray]]:
    """Every pair of a site and an image of another within the cutoff, in both directions."""
    found = []
    for shift in itertools.product((-2, -1, 0, 1, 2), repeat=3):
        delta = frame.positions[None] + np.array(shift) @ frame.cell - frame.positions[:, None]
        near = np.linalg.norm(delta, axis=-1) < cutoff
        for i, j in np.argwhere(near):
            if i != j or any(shift):
                found.append((int(i), int(j), delta[i, j]))
    return found


def table(i: np.ndarray, j: np.ndarray, vector: np.ndarray) -> np.ndarray:
    rows = np.column_stack([i, j, np.round(vector, 8) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cutoff", [5.0, 16.0])
def test_both_lists_hold_every_image(cell: str, cutoff: float) -> None:
    frame = chains(CELLS[cell])
    want = brute(frame, cutoff)
    expected = table(*(np.array([row[k] for row in want]) for k in range(3)))
    full = neighbour_images(frame.positions, frame.cell, cutoff, frame.pbc)
    np.testing.assert_allclose(table(full.i, full.j, full.vector), expected, atol=1e-7)
    moved = frame.positions[full.j] + full.shift @ frame.cell - frame.positions[full.i]
    np.testing.assert_allclose(moved, full.vector, atol=1e-10)
    assert np.all(np.diff(full.i) >= 0)
    half = half_list(frame, cutoff)
    assert 2 * len(half.i) == len(want)
    both = table(
        np.concatenate([half.i, half.j]),
        np.concatenate([half.j, half.i]),
        np.concatenate([half.vector, -half.vector]),
    )
    np.testing.assert_allclose(both, expected, atol=1e-7)


@pytest.mark.parametrize("cell", CELLS)
def test_bonds_between_the_sites_of_a_pair(cell: str) -> None:
    frame = chains(CELLS[cell])
    pairs = half_list(frame, 6.0)
    molecules = frame.topology.molecules
    # along a chain numbered in order the bonds between two sites are the difference of numbers
    expected = np.where(
        molecules[pairs.i] == molecules[pairs.j], np.minimum(np.abs(pairs.i - pairs.j), 4), 0
    )
    expected[pairs.i == pairs.j] = 4
    assert pairs.bond_distance.tolist() == expected.tolist()
    assert {0, 1, 2} <= set(expected.tolist())
    some = pairs.select(pairs.distance < 4.0)
    assert some.bond_distance.tolist() == expected[pairs.distance < 4.0].tolist()
    fresh = half_list(frame, 6.0).select(pairs.distance < 4.0)
    assert fresh.bond_distance.tolist() == some.bond_distance.tolist()


@pytest.mark.parametrize("word", SEEN_PAIRS)
def test_pairs_that_a_potential_sees(word: str) -> None:
    """In a cell wider than twice the cutoff every pair is in its nearest image."""
    frame = chains(CELLS["cubic"])
    pairs = half_list(frame, 6.0)
    seen = pairs.seen(word)
    hidden = {"all": (), "not-1-2": (1,), "not-1-3": (1, 2), "not-1-4": (1, 2, 3),
              "intermolecular": (1, 2, 3, 4)}[word]  # fmt: skip
    keep = ~np.isin(pairs.bond_distance, hidden)
    np.testing.assert_array_equal(seen.vector, pairs.vector[keep])
    assert len(seen.i) < len(pairs.i) or word == "all"
    with pytest.raises(ConfigError, match=r"key 'pairs': expected one of all, .*found 'bonded'"):
        pairs.seen("bonded")


@pytest.mark.parametrize("cell", CELLS)
def test_shortest_distance_between_molecules(cell: str) -> None:
    frame = chains(CELLS[cell])
    molecules = frame.topology.molecules
    want = min(
        float(np.linalg.norm(v)) for i, j, v in brute(frame, 20.0) if molecules[i] != molecules[j]
    )
    assert shortest_between_molecules(frame) == pytest.approx(want, rel=1e-12)
    assert shortest_between_molecules(frame, want * 1.01) == pytest.approx(want, rel=1e-12)
    assert shortest_between_molecules(frame, want * 0.99) == np.inf
    # far apart in a wide box: the search goes on until it finds them
    none = np.zeros((0, 2), dtype=np.int64)
    two = Topology.from_bonds(("AAA",), (40.0,), np.zeros(2, int), np.arange(2), none)
    wide = CGFrame(two, np.array([[1.0, 1.0, 1.0], [91.0, 1.0, 1.0]]), np.eye(3) * 200.0)
    assert shortest_between_molecules(wide) == pytest.approx(90.0)
    one = Topology(("AAA",), (40.0,), np.zeros(1, int), np.zeros(1, int))
    assert shortest_between_molecules(CGFrame(one, np.zeros((1, 3)), np.eye(3) * 9.0)) == np.inf


def test_two_sites_at_one_place() -> None:
    frame = chains(CELLS["cubic"])
    frame.positions[3] = frame.positions[7]
    with pytest.raises(DataError, match=r"frame 4: sites 3 and 7 are at the same place"):
        shortest_between_molecules(replace(frame, source_frame=4))
