# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs that a potential does not see, against shortest ways and images found by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cgpot.core.errors import ConfigError
from cgpot.molecules.exclusions import (
    SEEN_PAIRS,
    bonds_left_out,
    nearest_image,
    seen_mask,
)
from cgpot.molecules.topology import Topology

# a branched molecule, a ring of five, two rings that share a bond, a single site
BONDS = np.array(
    [
        *[(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)],
        *[(6, 7), (7, 8), (8, 9), (9, 10), (10, 6)],
        *[(11, 12), (12, 13), (13, 14), (14, 11), (13, 15), (15, 16), (16, 14)],
    ]
)
N_SITES = 18


def ways() -> np.ndarray:
    """Bonds of the shortest way between all sites (Floyd and Warshall)."""
    length = np.full((N_SITES, N_SITES), np.inf)
    length[np.arange(N_SITES), np.arange(N_SITES)] = 0
    for a, b in BONDS:
        length[a, b] = length[b, a] = 1
    for k in range(N_SITES):
        length = np.minimum(length, length[:, k, None] + length[None, k])
    return length


@pytest.mark.parametrize("pairs", SEEN_PAIRS)
def test_a_pair_is_left_out_in_its_nearest_image(pairs: str, rng: np.random.Generator) -> None:
    cell = np.array([[6.0, 0, 0], [1.5, 5.5, 0], [-1.0, 0.5, 7.0]])
    pbc = np.array([True, True, False])
    positions = rng.uniform(0, 1, (N_SITES, 3)) @ cell
    molecules = np.array([0] * 6 + [1] * 5 + [2] * 6 + [3])
    length = ways()
    rows, expected = [], []
    for i, j in itertools.product(range(N_SITES), repeat=2):
        images = list(itertools.product((-2, -1, 0, 1, 2), (-2, -1, 0, 1, 2), (0,)))
        vectors = positions[j] - positions[i] + np.array(images) @ cell
        fractions = np.abs(vectors @ np.linalg.inv(cell))[:, :2]
        for vector, fraction in zip(vectors, fractions, strict=True):
            if pairs == "intermolecular":
                hidden = bool(molecules[i] == molecules[j])
            else:
                hidden = i != j and length[i, j] <= SEEN_PAIRS.index(pairs)
            # the nearest image is the one whose fractions are smallest
            nearest = np.allclose(fraction, fractions.min(axis=0))
            rows.append((i, j, vector))
            expected.append(not (hidden and nearest))
    first, second = (np.array([row[k] for row in rows]) for k in (0, 1))
    vectors = np.array([row[2] for row in rows])
    # a site is no neighbour of itself, but of its images
    some = np.linalg.norm(vectors, axis=1) > 0
    topology = Topology.from_bonds(
        ("AAA",), (40.0,), np.zeros(N_SITES, dtype=np.int64), molecules, BONDS
    )
    found = seen_mask(pairs, topology.bond_distance_of(first, second), vectors, cell, pbc)
    assert found[some].tolist() == np.array(expected)[some].tolist()
    assert pairs == "all" or not found[some].all()


def test_both_images_at_half_the_cell_are_nearest() -> None:
    vectors = np.array([[4.0, 0, 0], [-4.0, 0, 0], [4.01, 0, 0], [0, 0, 9.0]])
    found = nearest_image(vectors, np.diag([8.0, 8.0, 8.0]), np.array([True, True, False]))
    assert found.tolist() == [True, True, False, True]


def test_unknown_words_are_refused() -> None:
    assert [bonds_left_out(word) for word in SEEN_PAIRS] == [0, 1, 2, 3, 0]
    with pytest.raises(ConfigError, match=r"expected one of all, not-1-2, .*, found 'not-1-5'"):
        bonds_left_out("not-1-5")
