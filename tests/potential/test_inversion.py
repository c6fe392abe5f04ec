# SPDX-License-Identifier: GPL-2.0-or-later
"""Boltzmann inversion against distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.angles import AngleBasis
from cgpot.potential.bonds import BondBasis
from cgpot.potential.inversion import invert
from cgpot.potential.surroundings import Bodies, ring_kinds

KT = 0.02585
STIFF, LENGTH = 1.2, 2.6  # eV/Å^2: K (r - r0)^2 / 2
BEND, ANGLE = 0.15, np.radians(110.0)


def sampled(rng: np.random.Generator, energy, low: float, high: float, n: int) -> np.ndarray:
    """Values with density exp(-energy / kT), by rejection."""
    x = rng.uniform(low, high, 60 * n)
    grid = energy(np.linspace(low, high, 2001))
    keep = rng.uniform(size=len(x)) < np.exp(-(energy(x) - grid.min()) / KT)
    assert keep.sum() >= n
    return x[keep][:n]


def trimers(rng: np.random.Generator, count: int, n: int) -> list[CGFrame]:
    """Ideal trimers: bonds and angles with the Jacobians of space, no other interaction."""
    topology = Topology.from_bonds(
        ("A", "B"),
        (1.0, 1.0),
        np.tile([0, 1, 0], n),
        np.repeat(np.arange(n), 3),
        np.concatenate([3 * np.arange(n)[:, None] + k for k in ([0, 1], [1, 2])]),
    )
    frames = []
    for _ in range(count):
        r = sampled(
            rng,
            lambda r: 0.5 * STIFF * (r - LENGTH) ** 2 - 2.0 * KT * np.log(r),
            1.5,
            4.0,
            2 * n,
        ).reshape(2, n)
        theta = sampled(
            rng,
            lambda t: 0.5 * BEND * (t - ANGLE) ** 2 - KT * np.log(np.sin(t)),
            0.05,
            np.pi - 0.05,
            n,
        )
        middle = 50.0 * rng.uniform(size=(n, 3))
        axes = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
        one, two = axes[:, 0], axes[:, 1]
        positions = np.empty((n, 3, 3))
        positions[:, 0] = middle + r[0][:, None] * one
        positions[:, 1] = middle
        turned = np.cos(theta)[:, None] * one + np.sin(theta)[:, None] * two
        positions[:, 2] = middle + r[1][:, None] * turned
        frames.append(CGFrame(topology, positions.reshape(-1, 3) % 50.0, 50.0 * np.eye(3)))
    return frames


def test_bonds_and_angles_of_ideal_trimers(rng: np.random.Generator) -> None:
    frames = trimers(rng, 20, 500)
    topology = frames[0].topology
    bonds = BondBasis(topology, None, (1.4, 4.1), 0.1, KT, bonds=topology.bonds)
    q = np.linspace(LENGTH - 0.3, LENGTH + 0.3, 13)
    u, _ = bonds.evaluate(invert(bonds, frames), 0, q)
    expected = 0.5 * STIFF * (q - LENGTH) ** 2
    np.testing.assert_allclose(u - u.mean(), expected - expected.mean(), atol=0.12 * KT)
    angles = AngleBasis(topology, topology.angles, 5.0, KT)
    q = np.linspace(ANGLE - 0.5, ANGLE + 0.5, 13)
    u, _ = angles.evaluate(invert(angles, frames), 0, q)
    expected = 0.5 * BEND * (q - ANGLE) ** 2
    np.testing.assert_allclose(u - u.mean(), expected - expected.mean(), atol=0.15 * KT)
    # beyond what was sampled the slope is that of the harmonic anchor: no bond escapes
    _, slope = bonds.evaluate(invert(bonds, frames), 0, np.array([1.42, 4.08]))
    assert slope[0] < -0.5
    assert slope[1] > 0.5


def test_too_few_samples(rng: np.random.Generator) -> None:
    frames = trimers(rng, 1, 2)
    topology = frames[0].topology
    bonds = BondBasis(topology, None, (1.4, 4.1), 0.1, KT, bonds=topology.bonds)
    with pytest.raises(DataError, match=r"distribution of A-B holds 5 samples of 4; give more"):
        invert(bonds, frames)


def dimers(rng: np.random.Generator, count: int, n: int, pull: float) -> list[CGFrame]:
    """Dimers whose bonds feel the spring and a pull that draws both ends apart."""
    topology = Topology.from_bonds(
        ("A", "B"),
        (1.0, 1.0),
        np.tile([0, 1], n),
        np.repeat(np.arange(n), 2),
        2 * np.arange(n)[:, None] + [[0, 1]],
    )
    frames = []
    for _ in range(count):
        r = sampled(
            rng,
            lambda r: 0.5 * STIFF * (r - LENGTH) ** 2 - pull * (r - LENGTH) - 2.0 * KT * np.log(r),
            1.2,
            4.2,
            n,
        )
        axis = rng.normal(size=(n, 3))
        axis /= np.linalg.norm(axis, axis=1)[:, None]
        positions = np.empty((n, 2, 3))
        positions[:, 0] = 50.0 * rng.uniform(size=(n, 3))
        positions[:, 1] = positions[:, 0] + r[:, None] * axis
        frames.append(CGFrame(topology, positions.reshape(-1, 3), np.diag([50.0] * 3)))
    return frames


def test_pull_of_the_surroundings_is_not_taken_for_the_bond() -> None:
    pull = 0.15  # eV/Å; moves the mean by 0.125 Å
    frames = dimers(np.random.default_rng(8), 60, 400, pull)

    def around(frame: CGFrame) -> np.ndarray:
        d = frame.positions[1::2] - frame.positions[::2]
        forces = np.empty_like(frame.positions)
        forces[1::2] = pull * d / np.linalg.norm(d, axis=1)[:, None]
        forces[::2] = -forces[1::2]
        return forces

    basis = BondBasis(
        frames[0].topology, None, (1.2, 4.2), 0.05, KT, bonds=frames[0].topology.bonds
    )
    q = np.linspace(2.5, 3.0, 11)
    with_pull = basis.evaluate(invert(basis, frames, around), 0, q)[0]
    without = basis.evaluate(invert(basis, frames), 0, q)[0]
    spring = 0.5 * STIFF * (q - LENGTH) ** 2
    assert with_pull - with_pull.mean() == pytest.approx(spring - spring.mean(), abs=0.1 * KT)
    drawn = spring - pull * (q - LENGTH)
    assert without - without.mean() == pytest.approx(drawn - drawn.mean(), abs=0.1 * KT)
    assert np.abs(with_pull - with_pull.mean() - without + without.mean()).max() > KT


def test_force_along_a_bond_moves_all_that_hangs_on_it() -> None:
    """Against the work that forces do when one side of a branched molecule is moved."""
    rng = np.random.default_rng(4)
    bonds = np.array([[0, 1], [1, 2], [2, 3], [2, 4]])
    topology = Topology.from_bonds(("A",), (1.0,), np.zeros(5, int), np.zeros(5, int), bonds)
    frame = CGFrame(topology, rng.uniform(0, 4, (5, 3)), np.diag([40.0] * 3))
    forces = rng.normal(size=(5, 3))
    basis = BondBasis(topology, None, (0.1, 8.0), 0.1, KT, bonds=topology.bonds)
    measured = basis.measure(frame)
    open_, found = Bodies(basis).forces(frame, measured, forces)
    assert open_.all()
    for (a, b), value in zip(measured.sites.tolist(), found, strict=True):
        along = frame.positions[b] - frame.positions[a]
        along /= np.linalg.norm(along)
        side = {(0, 1): [1, 2, 3, 4], (1, 2): [2, 3, 4], (2, 3): [3], (2, 4): [4]}[a, b]
        other = [s for s in range(5) if s not in side]
        work = 0.5 * (forces[side].sum(0) - forces[other].sum(0)) @ along
        assert value == pytest.approx(work, abs=1e-12)
    assert not ring_kinds(basis).any()


def test_terms_in_rings_keep_the_splines_of_the_fit() -> None:
    rng = np.random.default_rng(5)
    n = 40
    ring = np.array([[0, 1], [1, 2], [0, 2]])
    topology = Topology.from_bonds(
        ("A",),
        (1.0,),
        np.zeros(3 * n, int),
        np.repeat(np.arange(n), 3),
        np.concatenate([3 * k + ring for k in range(n)]),
    )
    corners = np.array([[0, 0, 0], [2.0, 0, 0], [1.0, 1.7, 0]])
    frames = [
        CGFrame(
            topology,
            (40 * rng.uniform(size=(n, 1, 3)) + corners + 0.1 * rng.normal(size=(n, 3, 3))).reshape(
                -1, 3
            ),
            np.diag([60.0] * 3),
        )
        for _ in range(5)
    ]
    basis = BondBasis(topology, None, (1.0, 3.2), 0.1, KT, bonds=topology.bonds)
    keep = rng.normal(size=basis.size)
    assert ring_kinds(basis).all()
    assert (invert(basis, frames, lambda frame: 0 * frame.positions, keep=keep) == keep).all()
    assert not (invert(basis, frames) == keep).any()
