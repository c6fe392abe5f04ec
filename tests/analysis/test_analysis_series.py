# SPDX-License-Identifier: GPL-2.0-or-later
"""Means, errors, compressibility, drift: synthetic series whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from cgpot.analysis.series import (
    compressibility,
    energy_drift,
    mean_of_replicas,
    plot_series,
    transient_end,
)
from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR, KB


def ar1(n, phi, seed, mean=0.0):
    """First-order autoregressive series with unit variance."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n) * np.sqrt(1 - phi**2)
    x = np.empty(n)
    x[0] = rng.normal()
    for k in range(1, n):
        x[k] = phi * x[k - 1] + noise[k]
    return x + mean


def test_error_of_an_ar1_series():
    # Var(mean) = (1 + phi)/(1 - phi)/n for an AR(1) series of unit variance.
    n, phi = 4000, 0.9
    exact = np.sqrt((1 + phi) / (1 - phi) / n)
    found = [mean_of_replicas([ar1(n, phi, seed)], detect=False) for seed in range(12)]
    errors = [f["error"] for f in found]
    assert np.mean(errors) == pytest.approx(exact, rel=0.2)
    pulls = np.array([f["mean"] / f["error"] for f in found])
    assert np.abs(pulls).max() < 3.5


def test_replicas_lower_the_error_and_their_scatter_raises_it():
    parts = [ar1(2000, 0.5, seed) for seed in range(24)]
    fours = [mean_of_replicas(parts[k : k + 4], detect=False)["error"] for k in range(0, 24, 4)]
    # The larger of two estimates is taken, so that the mean lies above the exact error.
    assert 0.95 < np.mean(fours) / np.sqrt(3 / 8000) < 1.5
    apart = mean_of_replicas([parts[0] - 1.0, parts[1] + 1.0], detect=False)
    assert apart["error"] == pytest.approx(1.0, rel=0.1)
    assert apart["halves"][1] - apart["halves"][0] == pytest.approx(2.0, abs=0.3)


def test_equilibration_is_found():
    x = ar1(1500, 0.3, 1)
    x[:300] += 20.0 * np.exp(-np.arange(300) / 60.0)
    found = mean_of_replicas([x], detect=True)
    assert 100 < found["start"][0] < 700
    assert abs(found["mean"]) < 4 * found["error"]
    assert mean_of_replicas([x], detect=False)["mean"] > 0.5


def test_a_short_steep_transient_before_slow_noise_is_cut():
    x = 13.0 * ar1(600, 0.97, 5) + 556.0
    x[:40] += 180.0 * np.exp(-np.arange(40) / 8.0)
    end = transient_end(x)
    assert 10 <= end <= 120
    assert abs(np.mean(x[end:]) - 556.0) < 4 * 13.0 * np.sqrt((1 + 0.97) / (1 - 0.97) / 600)


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_stationary_noise_has_no_transient(phi):
    assert sum(transient_end(ar1(1000, phi, seed)) > 0 for seed in range(20)) <= 1
    assert transient_end(np.ones(100)) == 0
    assert transient_end(np.arange(20.0)) == 0


def test_compressibility_of_gaussian_volumes():
    # kappa = var(V)/(k_B T V); 1 GPa^-1 is 1e-4 bar^-1.
    kappa, volume, temperature = 0.98, 92_000.0, 300.0
    sigma = np.sqrt(kappa * 1e-4 * EV_PER_A3_IN_BAR * KB * temperature * volume)
    parts = [volume + sigma * ar1(4000, 0.8, seed) for seed in (1, 2)]
    found = compressibility(parts, temperature)
    assert found["value"] == pytest.approx(kappa, abs=4 * found["error"])
    # Var(s^2)/s^4 = 2/n_eff, n_eff = n (1 - phi^2)/(1 + phi^2) for squares of an AR(1) series.
    exact = kappa * np.sqrt(2 / (8000 * (1 - 0.64) / (1 + 0.64)))
    assert found["error"] == pytest.approx(exact, rel=0.6)
    assert found["value"] == pytest.approx(kappa, rel=0.15)


def test_compressibility_needs_a_changing_volume():
    with pytest.raises(DataError, match="volume is constant; a compressibility needs an NPT run"):
        compressibility([np.full(100, 5.0)], 300.0)
    with pytest.raises(DataError, match="at least 16 volumes for a compressibility, found 10"):
        compressibility([np.arange(10.0)], 300.0)


def test_drift_of_a_line_with_noise():
    rng = np.random.default_rng(0)
    time = np.arange(0, 100, 0.1)
    total = -50.0 + 1e-4 * time + 1e-3 * rng.normal(size=len(time))
    found = energy_drift(time, total, np.full_like(time, 4.0), n_sites=10)
    error = found["error_ev_per_bead_ps"]
    assert found["ev_per_bead_ps"] == pytest.approx(1e-5, abs=4 * error)
    exact = 1e-3 / np.sqrt(np.sum((time - time.mean()) ** 2)) / 10
    assert error == pytest.approx(exact, rel=0.1)
    assert found["relative_per_ps"] == pytest.approx(1e-4 / 4, rel=0.02)
    with pytest.raises(DataError, match="at least 8 samples for a drift, found 3"):
        energy_drift(time[:3], total[:3], total[:3], 1)


def test_short_plot_series_keep_the_mean():
    time, values = np.arange(1001.0), np.random.default_rng(0).normal(size=1001)
    short = plot_series(time, values, points=100)
    assert len(short["value"]) == 91
    sizes = np.array([11.0] * 91)
    assert np.average(short["value"], weights=sizes) == pytest.approx(values.mean())


def test_too_few_samples_and_nan():
    with pytest.raises(DataError, match="at least 8 samples"):
        mean_of_replicas([np.arange(5.0)], detect=False)
    with pytest.raises(DataError, match="NaN or infinity"):
        mean_of_replicas([np.array([1.0] * 9 + [np.nan])], detect=False)
