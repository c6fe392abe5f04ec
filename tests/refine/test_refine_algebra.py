# SPDX-License-Identifier: GPL-2.0-or-later
"""Pair sums, reweighting, gradients and steps against what is written another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refine_systems import KT, TEMPERATURE, lattice, truth
from scipy.special import logsumexp

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR, ideal_pressure_bar
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pair_counts import pairs_between
from cgpot.potential.base import Base
from cgpot.potential.splines import PairTable
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.frame_counts import FrameTally, Grid
from cgpot.refine.inverse_boltzmann import inversion_step, potential_of_mean_force
from cgpot.refine.judge import judge
from cgpot.refine.pressure_correction import linear_correction, predicted, ramps
from cgpot.refine.refine_settings import ToleranceConfig
from cgpot.refine.refine_target import Target
from cgpot.refine.relative_entropy import gradient, hessian, newton_step
from cgpot.refine.reweighting import Samples, WeightedAverages, weighted_averages, weights

BETA = 1.0 / KT
GRID = Grid(9.9, 198)
TALLY = FrameTally(lattice().topology, GRID)
BASIS = CountsBasis(1, truth().r_max, truth().intervals, GRID)
C0 = truth().coefficients.reshape(-1)


def metropolis(table: PairTable, sweeps: int, seed: int, every: int = 2) -> list[CGFrame]:
    """Frames of the fluid by Monte Carlo, independent of LAMMPS."""
    rng = np.random.default_rng(seed)
    frame = lattice()
    x, box = frame.positions.copy(), frame.cell[0, 0]
    frames = []

    def energy(k: int, position: np.ndarray) -> float:
        d = x - position
        d -= np.round(d / box) * box
        r = np.sqrt((d**2).sum(axis=1))
        r[k] = np.inf
        return float(table.energy(r[r < table.r_max]).sum())

    for sweep in range(sweeps):
        for k in range(len(x)):
            trial = (x[k] + rng.normal(scale=0.5, size=3)) % box
            if rng.random() < np.exp(min(0.0, (energy(k, x[k]) - energy(k, trial)) * BETA)):
                x[k] = trial
        if sweep >= 20 and sweep % every == 0:
            frames.append(replace(frame, positions=x.copy()))
    return frames


def samples_of(table: PairTable, frames: list[CGFrame]) -> Samples:
    pressure = []
    for frame in frames:
        virial = Base(table).labels(frame).virial
        pressure.append(replace(frame, virial=virial).pressure(TEMPERATURE))
    counts = TALLY.counts(frames)
    return Samples(counts, np.array(pressure), table.coefficients.reshape(-1))


@pytest.fixture(scope="module")
def fluid() -> Samples:
    return samples_of(truth(), metropolis(truth(), 220, 1))


@pytest.fixture(scope="module")
def other() -> Samples:
    table = truth(depth=0.5)
    return samples_of(table, metropolis(table, 220, 2))


@pytest.fixture(scope="module")
def target(fluid: Samples) -> Target:
    frame = lattice()
    n = pairs_between(frame.topology)
    ideal = n[:, None] * GRID.shells / frame.volume
    g = fluid.counts / ideal
    return Target(
        tally=TALLY,
        g=g.mean(axis=0),
        blocks=np.stack([part.mean(axis=0) for part in np.array_split(g, 10)]),
        density=frame.density,
        volume=frame.volume,
        pressure=(float(fluid.pressure.mean()), 10.0),
        first=frame,
        n_frames=len(g),
    )


def at(runs: list[Samples], coefficients: np.ndarray) -> WeightedAverages:
    return weighted_averages(
        runs, coefficients, BASIS, temperature=TEMPERATURE, volume=lattice().volume
    )


def test_pair_sums_are_energies_and_virials(fluid: Samples) -> None:
    frames = metropolis(truth(), 24, 5)
    for frame in frames:
        counts = TALLY.counts([frame])[0].astype(float)
        assert counts[0].sum() <= pairs_between(frame.topology)[0]
        d = frame.positions[:, None] - frame.positions[None]
        d -= np.round(d / frame.cell[0, 0]) * frame.cell[0, 0]
        r = np.linalg.norm(d, axis=-1)[np.triu_indices(len(d), 1)]
        assert float(BASIS.sums(counts) @ C0) == pytest.approx(
            float(truth().energy(r).sum()), abs=0.05 * KT
        )
        virial = Base(truth()).labels(frame).virial
        bar = np.trace(virial) / 3.0 / frame.volume * EV_PER_A3_IN_BAR
        assert float(BASIS.pressures(counts, frame.volume) @ C0) == pytest.approx(bar, abs=3.0)
    assert fluid.pressure.mean() > ideal_pressure_bar(64, TEMPERATURE, lattice().volume)


def test_gradient_and_hessian_by_finite_differences(fluid: Samples, target: Target) -> None:
    """S(c) = β <U_c>_AA + ln <exp(-β (U_c - U_0))>_0, written out on the samples."""
    sums = BASIS.sums(fluid.counts.astype(float))
    reference = BASIS.sums(target.counts)

    def entropy(c: np.ndarray) -> float:
        shift = logsumexp(-BETA * sums @ (c - C0)) - np.log(len(sums))
        return float(BETA * reference @ c + shift)

    rng = np.random.default_rng(3)
    c = C0 + np.where(np.isin(np.arange(BASIS.size), BASIS.free), 0.02 * KT, 0.0)
    now = at([fluid], c)
    for _ in range(4):
        direction = rng.normal(size=BASIS.size)
        h = 1e-3 * KT
        slope = (entropy(c + h * direction) - entropy(c - h * direction)) / (2 * h)
        assert float(gradient(now, target) @ direction) == pytest.approx(slope, rel=1e-3)
        h = 5e-3 * KT
        bend = entropy(c + h * direction) - 2 * entropy(c) + entropy(c - h * direction)
        assert float(direction @ hessian(now) @ direction) == pytest.approx(bend / h**2, rel=0.01)


def test_pressure_slope_by_finite_differences(fluid: Samples) -> None:
    """dP/dc of reweighted averages, the virial of the change included."""
    now = at([fluid], C0)
    rng = np.random.default_rng(4)
    for _ in range(4):
        direction = rng.normal(size=BASIS.size) * KT
        h = 1e-3
        up, down = at([fluid], C0 + h * direction), at([fluid], C0 - h * direction)
        slope = (up.pressure - down.pressure) / (2 * h)
        assert float(now.pressure_slope @ direction) == pytest.approx(slope, rel=2e-3)
        assert predicted(now, h * direction) == pytest.approx(up.pressure, abs=0.5)


def test_pressure_response_against_another_simulation(fluid: Samples, other: Samples) -> None:
    change = other.coefficients - C0
    now, then = at([fluid], C0), at([other], other.coefficients)
    error = np.hypot(now.pressure_error, then.pressure_error)
    reweighted = at([fluid], other.coefficients)
    assert abs(now.pressure - then.pressure) > 3.0 * error
    assert abs(predicted(now, change) - then.pressure) < 4.0 * error
    assert abs(reweighted.pressure - then.pressure) < 4.0 * error


def test_several_runs_together(fluid: Samples, other: Samples) -> None:
    """MBAR: nearer to the truth than one run, with weights that one run alone has as uniform."""
    alone = weights([fluid], C0, BASIS, TEMPERATURE)
    np.testing.assert_allclose(alone[0], 1.0 / len(fluid.pressure))
    both = weights([other, fluid], C0, BASIS, TEMPERATURE)
    assert sum(w.sum() for w in both) == pytest.approx(1.0)
    pooled = at([other, fluid], C0)
    single = at([fluid], C0)
    assert pooled.effective > 1.2 * single.effective
    assert abs(pooled.pressure - single.pressure) < 4.0 * single.pressure_error
    far = replace(other, coefficients=other.coefficients)
    strange = at([far, fluid], C0)
    assert np.isfinite(strange.counts).all()


@pytest.fixture(scope="module")
def moved(fluid: Samples, target: Target) -> Target:
    """A reference without noise of its own: the fluid reweighted to a deeper, wider well."""
    change = (truth(depth=0.9).coefficients - truth(depth=0.8).coefficients).reshape(-1)
    wanted = at([fluid], C0 + change)
    ideal = TALLY.counter.between[:, None] * GRID.shells / target.volume
    return replace(target, g=wanted.counts / ideal, pressure=(wanted.pressure, 10.0))


def test_newton_step(fluid: Samples, moved: Target) -> None:
    """One step takes the mean pair sums to those of the reference, and the pressure too."""
    now = at([fluid], C0)
    # the averages after the step are those of the same frames: their own covariance is exact
    now = replace(now, shrunk_covariance=now.covariance)
    options = {"value_kT": 2.0, "curvature_kT": 2.0}
    exact = newton_step([(now, moved)], match_pressure=True, **options)
    assert moved.pressure is not None
    assert predicted(now, exact) == pytest.approx(moved.pressure[0], abs=1e-6)
    wanted = BASIS.sums(moved.counts)
    before = np.abs(now.sums - wanted).max()
    after = at([fluid], C0 + exact)
    assert np.abs(after.sums - wanted).max() < 0.15 * before
    assert abs(after.pressure - moved.pressure[0]) < 0.2 * abs(now.pressure - moved.pressure[0])
    # a weak weight hardly touches the step without a pressure, a strong one imposes it
    free = newton_step([(now, moved)], **options)
    options["match_pressure"] = True
    weak = newton_step([(now, moved)], pressure_weight=1e-9, **options)
    strong = newton_step([(now, moved)], pressure_weight=1e9, **options)
    np.testing.assert_allclose(weak, free, atol=1e-6 * KT)
    np.testing.assert_allclose(strong, exact, atol=1e-3 * KT)
    assert not np.any(exact[-3:])


def test_steps_without_numbers(fluid: Samples, moved: Target) -> None:
    broken = replace(at([fluid], C0), sums=np.full(BASIS.size, np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        newton_step([(broken, moved)], value_kT=2.0, curvature_kT=2.0)


def test_inversion_step(fluid: Samples, target: Target) -> None:
    """A smooth factor on g(r) comes back as its logarithm."""
    fine = 0.5 * (GRID.edges[1:] + GRID.edges[:-1])
    bump = 0.3 * np.exp(-(((fine - 5.5) / 0.8) ** 2))
    now = replace(at([fluid], C0), counts=target.counts * np.exp(bump))
    step = inversion_step(now, target, value_kT=2.0, curvature_kT=2.0)
    found = BASIS.potential(step)[0] / KT
    near = GRID.coarse(target.g)[0] > 0.5
    inside = near & (GRID.r > 4.5) & (GRID.r < 7.5)
    np.testing.assert_allclose(GRID.coarse(found)[inside], GRID.coarse(bump)[inside], atol=0.02)
    assert not np.any(step[-3:])


def test_linear_pressure_correction(fluid: Samples) -> None:
    now = at([fluid], C0)
    shape = ramps(BASIS)[:, 0]
    r = GRID.r
    inside = (r > 1.0) & (r < 6.0)
    u = GRID.coarse(BASIS.potential(shape))[0]
    np.testing.assert_allclose(u[inside], 1.0 - r[inside] / BASIS.r_max, atol=0.02)
    zero = np.zeros(BASIS.size)
    wanted = now.pressure - 60.0
    change = linear_correction(now, zero, wanted, 1.0)
    assert predicted(now, change) == pytest.approx(wanted, abs=1e-6)
    assert BASIS.potential(change)[0, 40] < 0  # attraction lowers the pressure
    capped = linear_correction(now, zero, now.pressure - 1e6, 0.1)
    np.testing.assert_allclose(capped, -0.1 * KT * shape)


def test_potential_of_mean_force(target: Target) -> None:
    wall = np.full_like(target.g, -0.5)
    c = potential_of_mean_force(target, BASIS, TEMPERATURE, wall)
    g, r = target.coarse[0], GRID.r
    near = (g > 0.5) & (r < 6.5)
    u = GRID.coarse(BASIS.potential(c))[0] / KT
    shift = (u[near] + np.log(g[near])).mean()
    assert np.abs(u[near] + np.log(g[near]) - shift).max() < 0.25
    core = r < r[np.argmax(g > 0.05)] - 0.5
    assert np.all(np.diff(u[core]) < 0)


def test_judge(fluid: Samples, other: Samples, target: Target) -> None:
    same = judge(at([fluid], C0), target, ToleranceConfig())
    assert same["within"]
    assert same["rdf_error"] == pytest.approx(0.0, abs=1e-9)
    off = judge(at([other], other.coefficients), target, ToleranceConfig())
    assert off["merit"] > 1.0
    assert not off["within"]
    wide = ToleranceConfig(rdf_error=1.0, pressure_bar=1e5)
    assert judge(at([other], other.coefficients), target, wide)["within"]
