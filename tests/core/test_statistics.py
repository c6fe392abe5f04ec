# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard errors of correlated series, against a process whose error is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from cgpot.core.errors import DataError
from cgpot.core.statistics import Estimate, block_mean, estimate


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """x_t = phi x_{t-1} + e_t with unit variance, started in equilibrium."""
    noise = rng.normal(size=n) * math.sqrt(1 - phi**2)
    noise[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], noise)


def ar1_error(n: int, phi: float) -> float:
    """Standard error of the mean of n samples (Priestley, Spectral Analysis, 5.3.2)."""
    lags = np.arange(1, n)
    return math.sqrt((1 + 2 * np.sum((1 - lags / n) * phi**lags)) / n)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_error_of_an_autoregressive_process(rng: np.random.Generator, phi: float) -> None:
    n = 4000
    found = [estimate(ar1(rng, n, phi), equilibrated=True) for _ in range(60)]
    # the mean of 60 estimates; each scatters by some 10 %, and the larger of two is taken
    assert np.mean([e.error for e in found]) == pytest.approx(ar1_error(n, phi), rel=0.12)
    assert np.mean([e.inefficiency for e in found]) == pytest.approx(
        (1 + phi) / (1 - phi), rel=0.15
    )
    # two standard errors cover the true mean (0) in 95 % of the cases: 60 +- 3 sigma
    covered = np.mean([abs(e.mean) < 2 * e.error for e in found])
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


def test_naive_error_would_be_wrong(rng: np.random.Generator) -> None:
    x = ar1(rng, 4000, 0.9)
    naive = x.std() / math.sqrt(len(x))
    assert estimate(x).error > 3 * naive


def test_equilibration_is_cut(rng: np.random.Generator) -> None:
    x = 5.0 + rng.normal(size=2000)
    x[:300] += np.linspace(40.0, 0.0, 300)
    found = estimate(x)
    assert 200 <= found.start <= 600
    assert found.n == 2000 - found.start
    assert abs(found.mean - 5.0) < 4 * found.error
    kept = estimate(x, equilibrated=True)
    assert kept.start == 0
    assert kept.mean == pytest.approx(x.mean())


def test_constant_series() -> None:
    assert estimate(np.full(20, 3.0)) == Estimate(3.0, 0.0, 0.0, 20, 0, 1.0, 20)


def test_constant_tail() -> None:
    found = estimate(np.r_[np.linspace(9, 1, 20), np.full(200, 1.0)])
    assert found.mean == pytest.approx(1.0, abs=0.2)


def test_plain_data() -> None:
    record = estimate(np.arange(20.0)).as_dict()
    assert set(record) == {"mean", "error", "std", "n", "start", "inefficiency", "blocks"}
    assert all(type(v) in (int, float) for v in record.values())


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (np.zeros(7), r"expected at least 8 samples, found \(7,\)"),
        (np.zeros((8, 2)), r"expected at least 8 samples, found \(8, 2\)"),
        (np.r_[np.zeros(8), np.nan], "the series holds NaN or infinity"),
        (np.r_[np.zeros(8), np.inf], "the series holds NaN or infinity"),
    ],
)
def test_wrong_series(series: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        estimate(series)


def test_block_mean(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(400, 3)) * [1.0, 2.0, 3.0]
    mean, error = block_mean(samples, 20)
    np.testing.assert_allclose(mean, samples.mean(axis=0))
    # 20 blocks: the error of the error is 1/sqrt(2*19), three of it
    np.testing.assert_allclose(error, np.array([1, 2, 3]) / 20.0, rtol=3 / math.sqrt(38))


@pytest.mark.parametrize(("n", "blocks"), [(10, 1), (3, 4)])
def test_too_few_blocks(n: int, blocks: int) -> None:
    with pytest.raises(DataError, match=f"at least 2 blocks .* found {n} samples"):
        block_mean(np.zeros(n), blocks)
