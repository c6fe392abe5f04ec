# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the three-body splines against finite differences and a plain triple loop."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import BSpline

from cgpot.core.errors import ConfigError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.triplets import triplets
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid


def fluid(types: int = 1, sites: int = 24, box: float = 14.0, seed: int = 3) -> CGFrame:
    rng = np.random.default_rng(seed)
    names = ("A", "B")[:types]
    topology = Topology(
        names, (78.0, 40.0)[:types], rng.integers(0, types, sites), np.arange(sites)
    )
    cell = np.array([[box, 0.0, 0.0], [1.5, box, 0.0], [0.5, -1.0, box]])
    return CGFrame(topology, rng.random((sites, 3)) @ cell, cell)


def energy(basis: ThreeBody, frame: CGFrame, coefficients: np.ndarray) -> float:
    rows = basis.rows(frame, energy=True)
    assert rows.energy is not None
    return float(rows.energy @ coefficients)


@pytest.mark.parametrize("types", [1, 2])
def test_forces_and_virial_are_derivatives_of_the_energy(types: int) -> None:
    frame = fluid(types)
    basis = ThreeBody(frame.topology.type_names, ThreeBodyGrid(1.5, 6.0, 7))
    c = np.random.default_rng(1).normal(size=basis.size)
    rows = basis.rows(frame)
    forces, virial = (rows.forces @ c).reshape(-1, 3), rows.virial @ c
    step = 1e-4
    for site, x in itertools.product((0, 5, 11), range(3)):
        moved = []
        for sign in (1, -1):
            positions = frame.positions.copy()
            positions[site, x] += sign * step
            moved.append(energy(basis, replace(frame, positions=positions), c))
        expected = -(moved[0] - moved[1]) / (2 * step)
        assert forces[site, x] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for x, y in itertools.product(range(3), range(3)):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[x, y] += sign * step / 2
            strain[y, x] += sign * step / 2
            strained.append(
                energy(
                    basis,
                    replace(frame, positions=frame.positions @ strain, cell=frame.cell @ strain),
                    c,
                )
            )
        # dU = -W : strain
        assert virial[x, y] == pytest.approx(
            -(strained[0] - strained[1]) / (2 * step), rel=1e-5, abs=1e-5
        )
    assert np.allclose(forces.sum(axis=0), 0.0, atol=1e-10)


def test_energy_is_the_sum_over_triplets_with_lammps_knots() -> None:
    """scipy's B-splines on the clamped knots that are written for LAMMPS, in a plain loop."""
    frame = fluid(2, sites=9, box=13.0)
    grid = ThreeBodyGrid(1.0, 6.0, 6)
    basis = ThreeBody(frame.topology.type_names, grid)
    c = np.random.default_rng(2).normal(size=basis.size)
    tensors = basis.tensors(c)
    short, long = grid.knots(grid.intervals), grid.knots(grid.long_intervals)

    def spline(knots: np.ndarray, coefficients: np.ndarray, r: float) -> np.ndarray:
        return BSpline(knots, coefficients, 3, extrapolate=False)(r)

    types = frame.topology.types
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ frame.cell
    total = 0.0
    for i in range(frame.topology.n_sites):
        around = []
        for j, shift in itertools.product(range(frame.topology.n_sites), shifts):
            vector = frame.positions[j] + shift - frame.positions[i]
            if grid.inner < np.linalg.norm(vector) < grid.cutoff:
                around.append((types[j], vector))
        for (ta, a), (tb, b) in itertools.combinations(around, 2):
            if ta > tb:
                (ta, a), (tb, b) = (tb, b), (ta, a)
            r_jk = float(np.linalg.norm(a - b))
            if r_jk < grid.inner:
                continue
            tensor = tensors[basis.blocks.index((types[i], ta, tb))]
            left = spline(short, tensor, float(np.linalg.norm(a)))
            right = spline(short, left, float(np.linalg.norm(b)))
            total += float(spline(long, right, r_jk))
    assert total != 0.0
    assert energy(basis, frame, c) == pytest.approx(total, rel=1e-10)


def test_the_terms_vanish_smoothly_at_both_ends() -> None:
    frame = fluid(1, sites=3)
    basis = ThreeBody(("A",), ThreeBodyGrid(2.0, 6.0, 6))
    c = np.random.default_rng(4).normal(size=basis.size)
    for r, scale in ((6.0, 1.0), (2.0, 1.0)):
        values = []
        for delta in (1e-2, 1e-3):
            inside = r - delta if r == 6.0 else r + delta
            positions = np.array([[0.0, 0.0, 0.0], [inside, 0.0, 0.0], [0.0, 4.0, 0.0]]) + 3.0
            moved = replace(frame, positions=positions, cell=40.0 * np.eye(3))
            values.append(np.abs(basis.rows(moved).forces @ c).max() * scale)
        assert values[1] < 0.02 * values[0] + 1e-12


def test_functions_that_no_frame_meets_are_not_fitted() -> None:
    frame = fluid(1, sites=3)
    basis = ThreeBody(("A",), ThreeBodyGrid(2.0, 6.0, 6))
    assert not basis.free().any()
    positions = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]) + 3.0
    basis.rows(replace(frame, positions=positions, cell=40.0 * np.eye(3)))
    assert 0 < basis.free().sum() < basis.size / 2


def test_neighbours_of_one_type_may_be_swapped() -> None:
    basis = ThreeBody(("A", "B"), ThreeBodyGrid(0.0, 5.0, 6))
    c = np.random.default_rng(5).normal(size=basis.size)
    for (_, a, b), tensor in zip(basis.blocks, basis.tensors(c), strict=True):
        assert np.array_equal(tensor, tensor.transpose(1, 0, 2)) == (a == b)
    assert len(basis.blocks) == 6
    assert len(set(basis.names)) == basis.size


def test_the_penalty_is_zero_for_zero_and_grows_with_roughness() -> None:
    basis = ThreeBody(("A",), ThreeBodyGrid(0.0, 5.0, 6))
    penalty = basis.roughness()
    assert np.allclose(penalty, penalty.T)
    assert np.linalg.eigvalsh(penalty).min() > -1e-10
    rough = np.random.default_rng(6).normal(size=basis.size)
    assert rough @ penalty @ rough > 0.0


def test_triplets_are_all_pairs_of_a_centre() -> None:
    centres = np.array([0, 0, 0, 2, 3, 3])
    first, second = triplets(centres)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 2),
        (4, 5),
    ]
    assert all(len(part) == 0 for part in triplets(np.zeros(0, dtype=np.int64)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((6.0, 5.0, 8), "inner < cutoff"), ((0.0, 5.0, 3), "at least 4 intervals")],
)
def test_impossible_grids(arguments: tuple[float, float, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ThreeBodyGrid(*arguments)
