# SPDX-License-Identifier: GPL-2.0-or-later
"""The slope of the pressure with density: regression, exact constraint, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_systems import R_MAX, TEMPERATURE, fluid

from cgpot.core.errors import DataError
from cgpot.core.units import AMU_PER_A3_IN_KG_M3, EV_PER_A3_IN_BAR, KB
from cgpot.potential.local_density import LocalDensityBasis, sampled_spans
from cgpot.potential.pair_basis import PairBasis
from cgpot.training.linear.equations import NormalEquations
from cgpot.training.linear.pair_fit import PairFit, labelled


@pytest.fixture(scope="module")
def frames():
    """Labels that no pair potential gives: a virial that depends on the volume alone."""
    found = []
    for frame in fluid(40, noise=0.1):
        extra = 0.4 - 250.0 * (64 / frame.volume - 64 / 14.5**3)
        found.append(replace(frame, virial=frame.virial + extra * np.eye(3)))
    return found


def fitted(frames, density=True, blocks=5):
    term = None
    if density:
        spans = sampled_spans(frames, R_MAX, "smooth", [1.0])
        term = LocalDensityBasis(("A",), R_MAX, spans, 6)
    fit = PairFit(("A",), R_MAX, 0.3, TEMPERATURE, density=term)
    for number, part in enumerate(np.array_split(np.arange(len(frames)), blocks)):
        fit.add(labelled([frames[k] for k in part]), number)
    return fit


def regression(frames, labels):
    """Mean pressure (bar) and its slope (bar/(kg/m^3)), by numpy's polynomial fit."""
    pressures = []
    for frame in frames:
        pressures.append(replace(frame, virial=labels(frame)).pressure(TEMPERATURE))
    density = [frame.density for frame in frames]
    return np.mean(pressures), np.polyfit(density, pressures, 1)[0]


def base_virial(base):
    def virial(frame):
        return base.labels(frame).virial

    return virial


@pytest.mark.parametrize("density", [False, True])
def test_mean_and_slope_are_met_exactly(frames, density):
    fit = fitted(frames, density)
    mean, slope = regression(frames, lambda frame: frame.virial)
    free = fit.solve_base()
    assert (free.density is not None) == density
    found_mean, found_slope = regression(frames, base_virial(free))
    assert abs(found_mean - mean) > 30.0
    assert abs(found_slope - slope) > 0.1 * abs(slope)
    only_mean = fit.solve_base(match_mean_virial=True)
    found_mean, found_slope = regression(frames, base_virial(only_mean))
    assert found_mean == pytest.approx(mean, abs=1e-6)
    assert abs(found_slope - slope) > 0.01 * abs(slope)
    both = fit.solve_base(match_mean_virial=True, match_slope=True)
    found_mean, found_slope = regression(frames, base_virial(both))
    assert found_mean == pytest.approx(mean, abs=1e-6)
    assert found_slope == pytest.approx(slope, abs=1e-7 * abs(slope))
    record = both.pair.info["pressure_slope"]
    assert record["labels"]["value"] == pytest.approx(slope, rel=1e-9)
    assert record["model"]["value"] == pytest.approx(slope, rel=1e-7)
    assert not record["uncertain"]
    assert both.pair.info["force_rmse"] >= only_mean.pair.info["force_rmse"]


def test_the_term_costs_fewer_forces_than_the_pairs_alone(frames):
    pair = fitted(frames, False)
    both = fitted(frames)
    options = {"match_mean_virial": True, "match_slope": True}
    rmse = [fit.solve_base(**options).pair.info["force_rmse"] for fit in (pair, both)]
    assert rmse[1] < rmse[0]
    # and the pair part of the joint equations alone is that of a fit without the term
    np.testing.assert_allclose(
        both.solve(**options).coefficients, pair.solve(**options).coefficients, rtol=1e-9
    )
    assert pair.solve_base(**options).density is None


def test_error_of_the_slope_is_that_of_independent_blocks():
    """Known noise on the virials: the jackknife error against the formula of least squares."""
    rng = np.random.default_rng(3)
    sample = fluid(1)[0]
    basis = PairBasis(("A",), R_MAX, 0.5, TEMPERATURE)
    equations = NormalEquations(basis.size)
    densities, noise = [], 0.3
    for block in range(400):
        frame = replace(sample, cell=sample.cell * (1.0 + 0.01 * rng.normal()))
        densities.append(frame.density)
        rows = basis.rows(frame)
        # tr W / 3V with noise of the given size: W = V s, s = noise * number
        virial = frame.volume * noise * rng.normal() * np.eye(3)
        equations.add(
            rows, None, volume=frame.volume, virial=virial, density=frame.density, block=block
        )
    record = equations.pressure_slope(np.zeros(basis.size), TEMPERATURE)
    expected = noise / np.sqrt(np.sum((np.array(densities) - np.mean(densities)) ** 2))
    assert record["labels"]["error"] == pytest.approx(expected * EV_PER_A3_IN_BAR, rel=0.15)
    assert record["uncertain"]
    # the kinetic part alone: n k_B T / V, whose slope with the density is k_B T / mass
    kinetic = KB * TEMPERATURE / 50.0 / AMU_PER_A3_IN_KG_M3 * EV_PER_A3_IN_BAR
    assert record["model"]["value"] == pytest.approx(kinetic, rel=1e-9)


def test_weights_of_frames_count(frames):
    basis = PairBasis(("A",), R_MAX, 0.5, TEMPERATURE)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(frames))
    equations = NormalEquations(basis.size)
    equations.add_frames(
        basis, frames, weights, virials=True, energies=False, blocks=4, title="", quiet=True
    )
    pressures = [frame.pressure(TEMPERATURE) for frame in frames]
    slope = np.polyfit([f.density for f in frames], pressures, 1, w=np.sqrt(weights))[0]
    record = equations.pressure_slope(np.zeros(basis.size), TEMPERATURE)
    assert record["labels"]["value"] == pytest.approx(slope, rel=1e-9)


def test_one_density_and_missing_virials_are_refused(frames):
    cell = frames[0].cell
    same = [
        replace(f, cell=cell, positions=f.positions @ np.linalg.inv(f.cell) @ cell) for f in frames
    ]
    fit = fitted(same, density=False)
    fit.solve(match_mean_virial=True)
    with pytest.raises(DataError, match=r"density of the frames does not vary \(.* kg/m\^3"):
        fit.solve(match_slope=True)
    without = NormalEquations(fit.size)
    first = frames[0]
    without.add(fit.basis.rows(first), None, volume=first.volume, virial=first.virial)
    with pytest.raises(DataError, match="not all have both"):
        without.total().pressure_slope()
    with pytest.raises(DataError, match="needs the virial and the density of every frame"):
        fitted([replace(f, virial=None) for f in frames], density=False).solve(match_slope=True)
