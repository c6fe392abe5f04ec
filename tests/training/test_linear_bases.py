# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the linear bases against finite differences, and the equations they enter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from linear_systems import check_derivatives, shaken

from cgpot.core.errors import ConfigError, DataError
from cgpot.molecules.frame import Topology
from cgpot.molecules.pairs import half_list
from cgpot.potential.basis import Joint, Rows
from cgpot.potential.bonds import BondBasis, bond_list
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.threebody import ThreeBodySW
from cgpot.training.linear.equations import NormalEquations, jackknife_error
from cgpot.training.linear.solver import Options, Penalties, constrained_solve

KT = 0.0258


@pytest.mark.parametrize("types", [1, 2])
def test_pair_rows(types):
    check_derivatives(PairBasis(("A", "B")[:types], 6.0, 0.5, 300.0), shaken(1, types))


@pytest.mark.parametrize("types", [1, 2])
def test_three_body_rows(types):
    check_derivatives(ThreeBodySW(("A", "B")[:types], 6.0, 1.3, 6), shaken(2, types))


def test_bond_rows():
    frame = shaken(3, 2, molecule=2)
    check_derivatives(BondBasis(frame.topology, None, (1.0, 2.2), 0.1, KT), frame)


def test_three_body_energy_is_the_plain_sum():
    frame = shaken(4)
    basis = ThreeBodySW(("A",), 5.0, 1.2, 5)
    c = np.random.default_rng(0).normal(size=basis.size)
    delta = frame.positions[None] - frame.positions[:, None]
    length = np.diagonal(frame.cell)
    delta -= np.round(delta / length) * length
    r = np.linalg.norm(delta, axis=-1)
    total = 0.0
    for i in range(64):
        near = [j for j in range(64) if j != i and r[i, j] < 5.0]
        for n, j in enumerate(near):
            for k in near[n + 1 :]:
                cosine = delta[i, j] @ delta[i, k] / r[i, j] / r[i, k]
                f = basis.function(c, 0, np.array([np.arccos(cosine)]))[0][0]
                total += f * np.exp(1.2 / (r[i, j] - 5.0) + 1.2 / (r[i, k] - 5.0))
    assert basis.rows(frame, energy=True).energy @ c == pytest.approx(total, rel=1e-10)


def test_angle_spline_is_flat_at_both_ends():
    basis = ThreeBodySW(("A",), 5.0, 1.2, 5)
    c = np.random.default_rng(0).normal(size=basis.size)
    theta = np.array([0.0, 1.0, np.pi])
    _, slope = basis.function(c, 0, theta)
    assert slope[[0, 2]] == pytest.approx([0.0, 0.0], abs=1e-12)
    up, down = (basis.function(c, 0, theta + h)[0][1] for h in (1e-6, -1e-6))
    assert slope[1] == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 2.0])
@pytest.mark.parametrize("cutoff", [5.0, 9.0])
def test_half_list_counts_each_pair_once(tilt, cutoff):
    frame = shaken(5)
    cell = frame.cell.copy()
    cell[1, 0] = tilt
    frame = replace(frame, cell=cell)
    pairs = half_list(frame, cutoff)
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    images = frame.positions[None] + (shifts @ cell)[:, None]
    r = np.linalg.norm(images[:, None] - frame.positions[None, :, None], axis=-1)
    expected = np.sort(r[(r < cutoff) & (r > 0)])[::2]
    np.testing.assert_allclose(np.sort(pairs.distance), expected, rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(pairs.vector, axis=1), pairs.distance)


def test_two_sites_at_one_place():
    frame = shaken(6)
    frame.positions[3] = frame.positions[7]
    with pytest.raises(DataError, match="sites 3 and 7 are at the same place"):
        half_list(replace(frame, source_frame=2), 5.0)


def random_rows(rng, truth, n=20, noise=0.0):
    forces = rng.normal(size=(3 * n, len(truth)))
    half = rng.normal(size=(3, 3, len(truth)))
    energy = rng.normal(size=len(truth))
    rows = Rows(forces, half + half.transpose(1, 0, 2), energy)
    label = (forces @ truth + noise * rng.normal(size=3 * n)).reshape(-1, 3)
    return rows, label


def plain(size):
    nothing = np.zeros((size, size)), np.zeros(size)
    names = [f"c{k}" for k in range(size)]
    return Penalties(
        np.ones(size, dtype=bool), np.zeros((size, size)), nothing, [slice(None)], names
    )


def test_weights_and_energies_are_those_of_one_least_squares_problem():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=5)
    equations = NormalEquations(5)
    design, target = [], []
    for number in range(6):
        rows, forces = random_rows(rng, truth, noise=0.5)
        virial = rows.virial @ truth + 0.3 * np.eye(3)
        energy = float(rows.energy @ truth) + 7.0 + 0.1 * rng.normal()
        weight = 1.0 + number
        equations.add(
            rows, forces, volume=2.0, virial=virial, energy=energy, weight=weight, block=number % 3
        )
        root = np.sqrt(weight)
        upper = np.triu_indices(3)
        extra = np.zeros((len(rows.forces) + 6, 1))
        design += [
            root * np.hstack([np.vstack([rows.forces, 3.0 * rows.virial[upper] / 2.0]), extra]),
            root * 2.0 * np.append(rows.energy / 20, 1.0)[None],
        ]
        target += [
            root * np.concatenate([forces.ravel(), 3.0 * virial[upper] / 2.0]),
            root * 2.0 * np.array([energy / 20]),
        ]
    expected, *_ = np.linalg.lstsq(np.vstack(design), np.concatenate(target), rcond=None)
    options = Options(virial_weight=9.0, energy_weight=4.0)
    np.testing.assert_allclose(equations.solve(plain(5), options), expected[:5], rtol=1e-9)


def test_constraint_and_quality():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=4)
    equations = NormalEquations(4)
    for number in range(8):
        rows, forces = random_rows(rng, truth, noise=1.0)
        equations.add(
            rows, forces, volume=1.0, virial=rows.virial @ truth + np.eye(3), block=number
        )
    free = equations.solve(plain(4), Options())
    tied = equations.solve(plain(4), Options(match_mean_virial=True))
    assert abs(equations.quality(tied)["mean_pressure_residual_bar"]) < 1e-4
    assert equations.quality(tied)["force_rmse"] > equations.quality(free)["force_rmse"]
    samples = equations.jackknife(lambda k: equations.solve(plain(4), Options(), leave_out=k))
    assert samples.shape == (8, 4)
    assert (np.abs(free - truth) < 5 * jackknife_error(samples)).all()
    score = equations.cross_validation(lambda k: samples[k])
    assert score > equations.quality(free)["force_rmse"]


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(3).normal(size=12)
    without = np.array([np.delete(values, k).mean() for k in range(12)])
    assert jackknife_error(without) == pytest.approx(values.std(ddof=1) / np.sqrt(12))


def test_errors_of_the_equations():
    rng = np.random.default_rng(4)
    rows, forces = random_rows(rng, np.ones(3))
    equations = NormalEquations(3)
    with pytest.raises(DataError, match="no frames to fit"):
        equations.solve(plain(3), Options())
    with pytest.raises(DataError, match="expected rows of 3 columns, found 2"):
        equations.add(Rows(rows.forces[:, :2], rows.virial[..., :2]), forces, volume=1.0)
    with pytest.raises(DataError, match="needs the energy row"):
        equations.add(Rows(rows.forces, rows.virial), forces, volume=1.0, energy=1.0)
    equations = NormalEquations(3)
    equations.add(rows, forces, volume=1.0)
    with pytest.raises(DataError, match="the mean virial is to be matched, but no frame has"):
        equations.solve(plain(3), Options(match_mean_virial=True))
    with pytest.raises(DataError, match="weight of the virial rows is 'auto', but"):
        equations.solve(plain(3), Options(virial_weight="auto"))
    with pytest.raises(DataError, match="energy rows were asked for, but no frame"):
        equations.solve(plain(3), Options(energy_weight=1.0))
    with pytest.raises(DataError, match="at least 2 blocks for error bars, found 1"):
        equations.jackknife(lambda k: np.zeros(3))
    matrix = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(DataError, match=r"singular: .*coefficient 'a'"):
        constrained_solve(matrix, np.ones(2), names=["a", "b"])
    with pytest.raises(DataError, match="coefficient 'b'; give more frames"):
        constrained_solve(np.diag([1.0, 0.0]), np.ones(2), names=["a", "b"])


def test_joint_sets_parts_side_by_side():
    frame = shaken(7)
    joint = Joint(
        {"pair": PairBasis(("A",), 6.0, 0.5, 300.0), "three": ThreeBodySW(("A",), 5.0, 1.0, 4)}
    )
    assert joint.names[0] == "pair A-A r=-0.500"
    assert joint.names[-1] == "three A-A-A angle=180.0"
    check_derivatives(joint, frame)
    parts = joint.split(np.arange(joint.size))
    assert [len(parts[name]) for name in ("pair", "three")] == [15, 5]


def test_bond_lists():
    frame = shaken(8, 2, molecule=4)
    bonds, _ = bond_list(frame.topology, None)
    assert len(bonds) == 16 * 6
    bonds, _ = bond_list(frame.topology, [("B", "A")])
    assert len(bonds) == 16 * 4
    with pytest.raises(ConfigError, match="unknown bead type 'C'"):
        bond_list(frame.topology, [("A", "C")])
    with pytest.raises(ConfigError, match="no molecule holds both 'A' and 'A'"):
        bond_list(shaken(8, 2, molecule=2).topology, [("A", "A")])
    single = Topology(("A",), (1.0,), np.zeros(3, int), np.arange(3))
    with pytest.raises(ConfigError, match="every molecule is a single site"):
        bond_list(single, None)


def test_sizes_that_make_no_spline():
    with pytest.raises(DataError, match="expected a positive cutoff and gamma"):
        ThreeBodySW(("A",), 5.0, 0.0, 4)
    frame = shaken(9, molecule=2)
    with pytest.raises(DataError, match="expected bond lengths 0 <= low < high"):
        BondBasis(frame.topology, None, (2.0, 1.0), 0.1, KT)
    with pytest.raises(DataError, match=r"bond of sites \[.*\] is 1\.\d+ Å long, outside"):
        BondBasis(frame.topology, None, (0.5, 1.0), 0.1, KT).rows(frame)
