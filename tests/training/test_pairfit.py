# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest
from pair_systems import R_MAX, TEMPERATURE, fluid, pair_sums, slope, u

from cgpot.core.errors import DataError
from cgpot.core.units import KB
from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.training.linear.pair_fit import PairFit, Wall, labelled
from cgpot.training.network.refit import refit_pair


def fitted(frames, blocks=4, spacing=0.2):
    fit = PairFit(("A",), R_MAX, spacing, TEMPERATURE)
    for number, part in enumerate(np.array_split(np.arange(len(frames)), blocks)):
        fit.add(labelled([frames[k] for k in part]), number)
    return fit


@pytest.fixture(scope="module")
def frames():
    return fluid(40)


@pytest.fixture(scope="module")
def fit(frames):
    return fitted(frames)


def test_pair_sums_are_derivatives_of_the_energy():
    # The reference itself: forces and virial against finite differences of its energy.
    frame = fluid(1)[0]
    h = 1e-5
    moved = frame.positions.copy()
    moved[3, 1] += h
    up = pair_sums(moved, frame.cell)[0]
    moved[3, 1] -= 2 * h
    down = pair_sums(moved, frame.cell)[0]
    assert frame.forces[3, 1] == pytest.approx(-(up - down) / (2 * h), rel=1e-6, abs=1e-8)
    for a in range(3):
        strain = np.eye(3)
        energies = []
        for sign in (1, -1):
            strain[a, a] = 1 + sign * h
            energies.append(pair_sums(frame.positions @ strain, frame.cell @ strain)[0])
        derivative = (energies[0] - energies[1]) / (2 * h)
        assert frame.virial[a, a] == pytest.approx(-derivative, rel=1e-6, abs=1e-7)


def test_recovers_the_potential_from_exact_forces(fit):
    table = fit.solve(smooth=1e-10)
    onset = table.info["wall"]["A-A"]["onset_A"]
    r = np.arange(onset + 0.3, R_MAX, 0.05)
    # 0.2 Å knots under a r^-12 core, exact labels: 3 % of the largest slope, 5 % in u
    assert np.abs(table.force(r) + slope(r)).max() < 0.03 * np.abs(slope(r)).max()
    assert np.abs(table.energy(r) - u(r)).max() < 0.05 * np.abs(u(r)).max()


def test_virial_rows_give_the_virial_of_the_fit(fit, frames):
    table = fit.solve(smooth=1e-10)
    frame = fluid(1, seed=9)[0]
    rows, virial = PairFit(("A",), R_MAX, 0.2, TEMPERATURE).design(frame)
    flat = table.coefficients.reshape(-1)
    scale = np.abs(frame.forces).max()
    np.testing.assert_allclose(rows @ flat, frame.forces.reshape(-1), atol=0.1 * scale)
    np.testing.assert_allclose(virial @ flat, frame.virial, atol=0.03 * np.abs(frame.virial).max())


def test_virial_rows_are_the_strain_derivative_of_the_splines():
    frame = fluid(1, seed=4)[0]
    fit = PairFit(("A",), R_MAX, 0.5, TEMPERATURE)
    _, virial = fit.design(frame)
    coefficients = np.random.default_rng(0).normal(size=(1, fit.width))
    coefficients[:, -3:] = 0.0
    table = PairTable(("A",), R_MAX, coefficients, {})

    def energy(strain):
        cell = frame.cell @ strain
        delta = frame.positions[:, None] @ strain - frame.positions[None] @ strain
        delta -= np.round(delta @ np.linalg.inv(cell)) @ cell
        r = np.linalg.norm(delta, axis=-1)[np.triu_indices(len(delta), 1)]
        return table.energy(r).sum()

    h = 1e-5
    for a, b in ((0, 0), (1, 1), (0, 2)):
        plus, minus = np.eye(3), np.eye(3)
        plus[a, b] += h
        minus[a, b] -= h
        derivative = (energy(plus) - energy(minus)) / (2 * h)
        assert virial[a, b] @ coefficients[0] == pytest.approx(-derivative, rel=1e-5)


def test_mean_virial_constraint_is_exact():
    frames = fluid(30, noise=0.3)
    for frame in frames:
        frame.virial = frame.virial + 0.5 * np.eye(3)  # what pair forces alone cannot give
    fit = fitted(frames)
    free = fit.solve()
    matched = fit.solve(match_mean_virial=True)
    assert abs(free.info["mean_pressure_residual_bar"]) > 30.0
    assert abs(matched.info["mean_pressure_residual_bar"]) < 1e-6
    assert matched.info["force_rmse"] >= free.info["force_rmse"]


def test_weight_of_the_virial_moves_towards_it():
    frames = fluid(30, noise=0.3)
    for frame in frames:
        frame.virial = frame.virial + 0.5 * np.eye(3)
    fit = fitted(frames)
    residuals = [
        abs(fit.solve(virial_weight=w).info["mean_pressure_residual_bar"]) for w in (0.0, 1e5, 1e8)
    ]
    assert residuals[0] > residuals[1] > residuals[2]


def test_jackknife_errors_cover_the_scatter_of_repeated_fits():
    r = np.arange(3.6, 5.5, 0.1)
    forces, errors = [], []
    for seed in range(6):
        fit = fitted(fluid(24, noise=0.2, seed=100 * seed), blocks=8, spacing=0.4)
        table = fit.solve()
        forces.append(table.force(r))
        sigma = fit.errors()
        # Propagate to u(r) roughly: the largest coefficient error in range bounds it.
        errors.append(sigma[0, 9:14].mean())
    scatter = np.std(forces, axis=0, ddof=1).mean()
    expected = np.mean(errors) / 0.4
    assert 0.2 < scatter / expected < 5.0


def test_wall_is_a_power_law_and_capped():
    wall = Wall(sigma=4.0, exponent=12.0, kt=KB * 300.0, onset=3.5)
    r = np.array([3.5, 4.0, 4.5])
    h = 1e-6
    up, down = (wall.kt * (4.0 / (r + step)) ** 12 for step in (h, -h))
    np.testing.assert_allclose(wall.slope(r), (up - down) / (2 * h), rtol=1e-6)
    core = wall.slope(np.array([0.1, 1.0]))
    assert core[0] == core[1] < wall.slope(np.array([3.0]))[0]


def test_fit_is_repulsive_where_there_are_no_data(fit):
    table = fit.solve()
    onset = table.info["wall"]["A-A"]["onset_A"]
    r = np.arange(0.2, onset, 0.05)
    assert (table.force(r) > 0).all()


def test_refit_finds_what_a_model_leaves(frames, fit):
    base = fit.solve()
    wrong = base.with_coefficients(0.7 * base.coefficients, base.info)
    flat = wrong.coefficients.reshape(-1)
    design = PairFit(("A",), R_MAX, base.spacing, TEMPERATURE)

    def labels():
        for frame in frames:
            rows, virial = design.design(frame)
            yield frame, Labels((rows @ flat).reshape(-1, 3), virial @ flat, 0.0)

    table = refit_pair(
        labels(),
        len(frames),
        wrong,
        temperature=TEMPERATURE,
        smooth=1e-10,
        match_mean_virial=True,
    )
    facts = table.info["refit"]
    assert facts["force_rmse_after"] < 0.1 * facts["force_rmse_before"]
    assert abs(facts["mean_pressure_residual_bar_after"]) < 1e-6
    assert abs(facts["mean_pressure_residual_bar_before"]) > 100.0
    r = np.arange(base.info["wall"]["A-A"]["onset_A"] + 0.3, R_MAX, 0.1)
    np.testing.assert_allclose(table.force(r), -slope(r), atol=0.03 * np.abs(slope(r)).max())


def test_refit_needs_forces_and_virials(frames, fit):
    base = fit.solve()
    frame = frames[0]
    options = {"temperature": TEMPERATURE, "smooth": 1e-6, "match_mean_virial": True}
    zero = Labels(np.zeros_like(frame.positions), np.zeros((3, 3)), 0.0)
    bare = CGFrame(frame.topology, frame.positions, frame.cell, source_frame=7)
    with pytest.raises(DataError, match="frame 7: the frame has no forces to match"):
        refit_pair([(bare, zero)], 1, base, **options)
    bare.forces = frame.forces
    with pytest.raises(DataError, match="frame 7: the frame has no virial to match"):
        refit_pair([(bare, zero)], 1, base, **options)


def test_errors_of_the_fit(frames):
    with pytest.raises(DataError, match=r"expected 0 < 4 spacing < r_max, found spacing 2\.0"):
        PairFit(("A",), 6.0, 2.0, 300.0)
    empty = PairFit(("A",), 6.0, 0.2, 300.0)
    with pytest.raises(DataError, match="no frames to fit"):
        empty.solve()
    empty.add(labelled(frames[:8]), 0)
    with pytest.raises(DataError, match="at least 2 blocks for error bars, found 1"):
        empty.errors()
    few = PairFit(("A",), 2.5, 0.2, 300.0)
    few.add(labelled(frames[:1]), 0)
    with pytest.raises(DataError, match="holds 40 pairs"):
        few.solve()
    bare = CGFrame(frames[0].topology, frames[0].positions, frames[0].cell, source_frame=2)
    with pytest.raises(DataError, match="frame 2: the frame has no forces"):
        empty.add(labelled([bare]), 0)
