# SPDX-License-Identifier: GPL-2.0-or-later
"""Means of time series with standard errors.

Equilibration detection and statistical inefficiency after Chodera, J. Chem. Theory Comput.
12, 1799 (2016), through `pymbar.timeseries`; the error is that of block averages whose
blocks are at least as long as the statistical inefficiency (Flyvbjerg & Petersen, J. Chem.
Phys. 91, 461 (1989)).
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgpot.core.errors import DataError

MIN_SAMPLES = 8


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known about it.

    Attributes:
        mean: mean after equilibration.
        error: its standard error.
        std: standard deviation of single samples.
        n: samples used.
        start: samples dropped as equilibration.
        inefficiency: statistical inefficiency g (samples per independent sample).
        blocks: number of blocks behind the error.
    """

    mean: float
    error: float
    std: float
    n: int
    start: int
    inefficiency: float
    blocks: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def _timeseries() -> Any:
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymbar import timeseries
    return timeseries


def estimate(series: ArrayLike, *, equilibrated: bool = False) -> Estimate:
    """Mean and standard error of a correlated series, shape (n,).

    Args:
        series: samples at equal intervals.
        equilibrated: take all samples instead of detecting where equilibrium starts.

    Raises:
        DataError: fewer than 8 samples, or NaN.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 1 or len(x) < MIN_SAMPLES:
        raise DataError(f"expected at least {MIN_SAMPLES} samples, found {x.shape}")
    if not np.isfinite(x).all():
        raise DataError("the series holds NaN or infinity")
    if np.ptp(x) == 0.0:
        return Estimate(float(x[0]), 0.0, 0.0, len(x), 0, 1.0, len(x))
    ts = _timeseries()
    start = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not equilibrated:
            start = int(ts.detect_equilibration(x, nskip=max(1, len(x) // 40))[0])
            start = min(start, len(x) - MIN_SAMPLES)
        x = x[start:]
        g = float(ts.statistical_inefficiency(x)) if np.ptp(x) > 0 else 1.0
    length = min(math.ceil(g), len(x) // 4)
    n_blocks = len(x) // max(length, 1)
    blocks = x[len(x) - n_blocks * length :].reshape(n_blocks, length).mean(axis=1)
    by_blocks = float(blocks.std(ddof=1) / math.sqrt(n_blocks))
    by_inefficiency = float(x.std(ddof=1) * math.sqrt(g / len(x)))
    return Estimate(
        mean=float(x.mean()),
        error=max(by_blocks, by_inefficiency),
        std=float(x.std(ddof=1)),
        n=len(x),
        start=start,
        inefficiency=g,
        blocks=n_blocks,
    )


def block_mean(samples: ArrayLike, n_blocks: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard error over contiguous blocks of vector samples, shape (n, ...).

    Raises:
        DataError: fewer samples than blocks, or fewer than two blocks.
    """
    x = np.asarray(samples, dtype=np.float64)
    if n_blocks < 2 or len(x) < n_blocks:
        raise DataError(f"expected at least 2 blocks and as many samples, found {len(x)} samples")
    means = np.stack([part.mean(axis=0) for part in np.array_split(x, n_blocks)])
    return x.mean(axis=0), means.std(axis=0, ddof=1) / math.sqrt(n_blocks)
