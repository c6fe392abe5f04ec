# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole molecules: random walks are wrapped and must come back bond by bond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from molecule_systems import CHAIN, EVERY, LONG, RING, WATER, mixture

from cgpot.core.errors import DataError
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import (
    flags_along_bonds,
    image_flags,
    image_shift,
    minimum_image,
    molecule_centres,
    reduce_in_place,
    whole_positions,
    wrap,
)

CELLS = {
    "cube": np.eye(3) * 12.0,
    "brick": np.diag([10.0, 14.0, 11.0]),
    "tilted": np.array([[12.0, 0.0, 0.0], [5.9, 12.0, 0.0], [-5.9, 5.5, 12.0]]),
    "rotated": np.array([[9.0, 6.0, -2.0], [-4.0, 11.0, 3.0], [2.0, -3.0, 12.0]]),
}
CELL = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def walk(topology: Topology, rng: np.random.Generator) -> np.ndarray:
    """Whole molecules: each site a step of 1.5 to 2.5 Å from the one it is bonded to."""
    positions = np.zeros((topology.n_sites, 3))
    steps = rng.normal(size=positions.shape)
    steps *= rng.uniform(1.5, 2.5, (len(steps), 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    for sites in topology.members:
        positions[sites[0]] = rng.uniform(-20, 20, 3)
    for kind, sites in zip(topology.species, topology.species_sites, strict=True):
        done = {0}
        while len(done) < kind.n_sites:
            for a, b in kind.bonds or ():
                for x, y in ((a, b), (b, a)):
                    if x in done and y not in done:
                        positions[sites[:, y]] = positions[sites[:, x]] + steps[sites[:, y]]
                        done.add(y)
    return positions


@CELL
def test_minimum_image_is_the_shortest_of_many(cell: np.ndarray, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(300, 3)) * 15
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = np.linalg.norm(vectors[:, None] + (grid @ cell)[None], axis=2).min(axis=1)
    before = vectors.copy()
    found = minimum_image(vectors, cell)
    np.testing.assert_array_equal(vectors, before)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, atol=1e-9)
    shift = (found - vectors) @ np.linalg.inv(cell)
    np.testing.assert_allclose(shift, image_shift(vectors, cell), atol=1e-9)
    stacked = minimum_image(vectors.reshape(10, 30, 3), cell)
    np.testing.assert_array_equal(stacked.reshape(-1, 3), found)
    if not np.triu(cell, 1).any():
        short = (
            np.linalg.norm(found, axis=1) < 0.5 / np.linalg.norm(np.linalg.inv(cell), axis=0).max()
        )
        assert short.sum() > 20
        np.testing.assert_allclose(reduce_in_place(before, cell)[short], found[short], atol=1e-9)


@CELL
def test_wrapped_positions_lie_in_the_cell(cell: np.ndarray, rng: np.random.Generator) -> None:
    positions = rng.normal(size=(200, 3)) * 40
    wrapped = wrap(positions, cell)
    fractional = wrapped @ np.linalg.inv(cell)
    assert fractional.min() > -1e-12
    assert fractional.max() < 1.0
    moved = (wrapped - positions) @ np.linalg.inv(cell)
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)
    assert wrap(np.array([[-1e-17, 0.0, 0.0]]), np.eye(3)).tolist() == [[0.0, 0.0, 0.0]]


@CELL
@pytest.mark.parametrize("kinds", [EVERY[:-1], (CHAIN, WATER), (LONG,)])
def test_wrapped_molecules_come_back(
    cell: np.ndarray, kinds: tuple[Species, ...], rng: np.random.Generator
) -> None:
    """Chains of 40 sites reach over several boxes of 12 Å."""
    kinds = tuple(k for k in kinds if k.name not in ("RING", "TRI", "FUSED"))
    topology = mixture(kinds)
    truth = walk(topology, rng)
    wrapped = wrap(truth, cell)
    whole = whole_positions(topology, wrapped, cell)
    for sites in topology.members:
        offset = truth[sites[0]] - whole[sites[0]]
        np.testing.assert_allclose(whole[sites] + offset, truth[sites], atol=1e-9)
    if LONG in kinds:
        assert (
            max(np.ptp(truth[s] @ np.linalg.inv(cell), axis=0).max() for s in topology.members) > 1
        )
    flags = image_flags(topology, wrapped, cell)
    assert flags.any()
    assert not flags[[sites[0] for sites in topology.members]].any()
    np.testing.assert_array_equal(flags, flags_along_bonds(wrapped, cell, topology.bonds))


@CELL
def test_rings_across_the_boundary(cell: np.ndarray, rng: np.random.Generator) -> None:
    topology = mixture((RING,), each=30)
    angle = np.arange(6) * np.pi / 3
    ring = 1.8 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    truth = np.zeros((topology.n_sites, 3))
    for sites in topology.members:
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        truth[sites] = ring @ q + rng.uniform(-20, 20, 3)
    whole = whole_positions(topology, wrap(truth, cell), cell)
    for sites in topology.members:
        np.testing.assert_allclose(
            whole[sites] - whole[sites[0]], truth[sites] - truth[sites[0]], atol=1e-9
        )


@CELL
def test_centres_of_mass(cell: np.ndarray, rng: np.random.Generator) -> None:
    topology = mixture((CHAIN, WATER, LONG))
    truth = walk(topology, rng)
    gaps = replace(topology, molecules=topology.molecules * 2 + 5)
    centres, whole = molecule_centres(gaps, wrap(truth, cell), cell)
    assert centres.shape == (9, 3)
    for number, sites in enumerate(topology.members):
        expected = np.average(truth[sites], axis=0, weights=topology.masses[sites])
        expected += whole[sites[0]] - truth[sites[0]]
        np.testing.assert_allclose(centres[number], expected, atol=1e-9)


def around(n: int, box: float, closed: bool) -> tuple[Topology, np.ndarray]:
    """A straight chain through the whole box, and whether its ends are bonded."""
    bonds = [(k, k + 1) for k in range(n - 1)] + ([(0, n - 1)] if closed else [])
    kind = Species("POLY", ("A",) * n, tuple(bonds))
    topology = Topology(("A",), (1.0,), np.zeros(n, int), np.zeros(n, int), species=(kind,))
    positions = np.zeros((n, 3))
    positions[:, 0] = np.arange(n) * box / n
    return topology, positions


def test_a_molecule_bonded_to_its_own_image_is_refused() -> None:
    cell = np.diag([20.0, 30.0, 30.0])
    topology, positions = around(10, 20.0, closed=False)
    assert whole_positions(topology, positions, cell)[-1, 0] == pytest.approx(18.0)
    topology, positions = around(10, 20.0, closed=True)
    with pytest.raises(DataError, match=r"the molecule of sites \d+ and \d+ is bonded to its own"):
        image_flags(topology, positions, cell)
    # a ring of the same bonds that closes is none
    angle = 2 * np.pi * np.arange(10) / 10
    positions = np.stack([3.2 * np.cos(angle), 3.2 * np.sin(angle), 0 * angle], axis=1)
    found = whole_positions(topology, wrap(positions, cell), cell)
    np.testing.assert_allclose(found - found[0], positions - positions[0], atol=1e-9)


def test_unknown_bonds_are_taken_where_there_is_no_doubt() -> None:
    cell = np.eye(3) * 10.0
    topology = Topology(("A",), (1.0,), np.zeros(5, int), np.array([0, 0, 1, 1, 2]))
    positions = np.array([[9.5, 0, 0], [0.5, 0, 0], [5.0, 9.0, 0], [5.0, 1.0, 0], [1.0, 1, 1]])
    whole = whole_positions(topology, positions, cell)
    np.testing.assert_allclose(whole[1] - whole[0], [1.0, 0, 0])
    np.testing.assert_allclose(whole[3] - whole[2], [0, 2.0, 0])
    positions[3, 1] = 9.0 - 4.7
    with pytest.raises(DataError, match=r"site 3 lies about half the box .* bonds of species A-A"):
        image_flags(topology, positions, cell)
