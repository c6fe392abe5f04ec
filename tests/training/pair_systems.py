# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of a simple fluid, sampled at 300 K, with exact pair forces and virials."""

import numpy as np

from cgpot.core.units import KB
from cgpot.molecules.frame import CGFrame, Topology

R_MAX = 6.0
EPSILON = 0.03  # eV
TEMPERATURE = 300.0


def u(r):
    """A power-law core and a Gaussian well, ending smoothly at R_MAX; r below 1 Å counts as 1."""
    r = np.maximum(r, 1.0)
    switch = (1.0 - np.clip(r / R_MAX, 0.0, 1.0) ** 2) ** 4
    return EPSILON * ((3.2 / r) ** 12 - np.exp(-((r - 4.0) ** 2))) * switch


def slope(r):
    """du/dr by a central difference of the formula (error of order 1e-9)."""
    h = 1e-5
    return (u(r + h) - u(r - h)) / (2 * h)


def pair_sums(positions, cell):
    """Energy, forces and virial W = sum r (x) f by a plain loop over minimum images."""
    n = len(positions)
    delta = positions[:, None] - positions[None]
    delta -= np.round(delta @ np.linalg.inv(cell)) @ cell
    r = np.linalg.norm(delta, axis=-1)
    i, j = np.nonzero(np.triu((r < R_MAX) & ~np.eye(n, dtype=bool)))
    d, length = delta[i, j], r[i, j]
    f = -(slope(length) / length)[:, None] * d
    forces = np.zeros((n, 3))
    np.add.at(forces, i, f)
    np.add.at(forces, j, -f)
    return u(length).sum(), forces, np.einsum("ea,eb->ab", d, f)


def fluid(n_frames, n_sites=64, seed=0, noise=0.0, length=14.5):
    """Frames at equilibrium by Metropolis Monte Carlo; labels are exact up to ``noise``."""
    rng = np.random.default_rng(seed)
    topology = Topology(("A",), (50.0,), np.zeros(n_sites, int), np.arange(n_sites))
    side = int(np.ceil(n_sites ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n_sites]
    fractions = (grid + 0.5) / side
    frames = []
    for index in range(n_frames):
        edges = length * (1.0 + 0.01 * rng.normal()) * np.array([1.0, 1.05, 0.97])
        cell = np.diag(edges)
        positions = fractions * edges
        for _ in range(25 if index else 80):
            _sweep(rng, positions, edges)
        positions %= edges
        fractions = positions / edges
        _, forces, virial = pair_sums(positions, cell)
        forces = forces + noise * rng.normal(size=forces.shape)
        frames.append(
            CGFrame(topology, positions.copy(), cell, forces, virial, float(index), index)
        )
    return frames


def _sweep(rng, positions, edges):
    for k in range(len(positions)):
        trial = positions[k] + 0.5 * rng.normal(size=3)
        delta = positions - np.stack([positions[k], trial])[:, None]
        delta -= np.round(delta / edges) * edges
        r = np.linalg.norm(delta, axis=-1)
        r[:, k] = R_MAX
        change = np.diff(u(r).sum(axis=1))[0]
        if change <= 0 or rng.random() < np.exp(-change / (KB * TEMPERATURE)):
            positions[k] = trial
