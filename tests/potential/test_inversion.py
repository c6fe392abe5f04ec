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
