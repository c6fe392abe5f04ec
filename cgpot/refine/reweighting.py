# SPDX-License-Identifier: GPL-2.0-or-later
"""Averages at one set of coefficients from the runs of several iterations.

The potentials of the iterations differ by pair splines alone, so that the energy of every
frame in every iteration's potential is known from its pair counts.  MBAR (Shirts & Chodera,
J. Chem. Phys. 129, 124105 (2008), through pymbar) then gives each frame its weight in the
current ensemble: earlier runs are not thrown away.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, require_file
from cgpot.core.units import KB
from cgpot.refine.counts_basis import CountsBasis

Array = NDArray[np.float64]
BLOCKS = 10
MIN_WEIGHT = 1e-3
"""Share of a run in the averages below which it is left out of the error bars."""


@dataclass(frozen=True)
class Samples:
    """Frames of one run.

    Attributes:
        counts: (frames, pairs, fine bins) pair counts.
        pressure: (frames,) bar, N kT/V + tr W/3V.
        coefficients: (size,) eV, those of the run.
    """

    counts: NDArray[np.uint32]
    pressure: Array
    coefficients: Array

    def write(self, path: str | Path) -> Path:
        """Write as .npz."""
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(
                stream,
                counts=self.counts,
                pressure=self.pressure,
                coefficients=self.coefficients,
            )
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> Samples:
        """Read what `write` wrote.

        Raises:
            InputError: missing or damaged.
        """
        import zipfile

        p = require_file(path, "samples")
        try:
            with np.load(p) as data:
                return cls(data["counts"], data["pressure"], data["coefficients"])
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as err:
            raise InputError(f"damaged samples: {err}; remove the file", file=p) from err


@dataclass(frozen=True)
class WeightedAverages:
    """Averages at some coefficients.

    Attributes:
        basis: the splines.
        temperature: K.
        volume: Å^3.
        sums: (size,) mean of S_k = Σ_pairs B_k.
        covariance: (size, size) of S_k.
        shrunk_covariance: the same for a step along all directions (`shrunk`).
        counts: (pairs, fine bins) mean counts.
        count_error: its standard error.
        count_variance: (pairs, fine bins) variance over frames.
        pressure: bar.
        pressure_error: its standard error.
        pressure_slope: (size,) dP/dc_k, bar/eV.
        effective: effective number of frames (1 / Σ w^2, correlation not counted).
        effective_own: the same for the last run alone.
    """

    basis: CountsBasis
    temperature: float
    volume: float
    sums: Array
    covariance: Array
    shrunk_covariance: Array
    counts: Array
    count_error: Array
    count_variance: Array
    pressure: float
    pressure_error: float
    pressure_slope: Array
    effective: float
    effective_own: float

    @property
    def beta(self) -> float:
        """1 / k_B T, 1/eV."""
        return 1.0 / (KB * self.temperature)

    @property
    def noise(self) -> float:
        """Squared error of a mean count over the variance of a single frame: 1 / n."""
        return relative_noise(self.count_error, self.count_variance)


def relative_noise(error: Array, variance: Array) -> float:
    """Squared errors over the variances of a single frame, both summed; 1 without variance."""
    total = float(variance.sum())
    return float((error**2).sum()) / total if total > 0 else 1.0


def weights(
    runs: Sequence[Samples], coefficients: Array, basis: CountsBasis, temperature: float
) -> list[Array]:
    """Weights of the frames of each run in the ensemble of the coefficients; they sum to 1."""
    beta = 1.0 / (KB * temperature)
    sums = [basis.sums(run.counts.astype(np.float64)) for run in runs]
    if len(runs) == 1:
        energy = beta * sums[0] @ (coefficients - runs[0].coefficients)
        w = np.exp(-(energy - energy.min()))
        return [w / w.sum()]
    everything = np.concatenate(sums)
    states = np.stack([*(run.coefficients for run in runs), coefficients])
    # Only differences between states matter: take the spread that all share out of it.
    reduced = beta * (states - states[-1]) @ (everything - everything.mean(axis=0)).T
    number = np.array([*(len(s) for s in sums), 0])
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymbar import MBAR

        solver = MBAR(reduced, number, solver_protocol="robust")
        w = np.asarray(solver.weights()[:, -1])
    if not np.isfinite(w).all() or w.sum() <= 0:
        w = np.concatenate([np.zeros(len(s)) for s in sums[:-1]] + [np.ones(len(sums[-1]))])
    w = w / w.sum()
    return list(np.split(w, np.cumsum([len(s) for s in sums])[:-1]))


def shrunk(centred: Array, w: Array, noise: float, target: Array) -> Array:
    """Covariance of the splines' sums, between that of the sample and that of independent pairs.

    With hardly more frames than coefficients (three pair functions of a mixture have three
    times as many) the sample's covariance is far too small in some directions, and a Newton step
    along them far too long.  The mixture (1 - λ) S + λ D has the least expected squared error
    for λ = Σ Var(s_ij) / Σ (s_ij - d_ij)^2 (Ledoit & Wolf, J. Multivar. Anal. 88, 365 (2004)),
    here with D of independent pairs, and in units of D's diagonal.  As D is near to S as a whole
    but not in the directions in which a liquid hardly fluctuates, λ is at most the number of
    coefficients over that of independent frames: the more of these, the nearer to S.

    Args:
        centred: (frames, size) sums of the splines less their mean.
        w: (frames,) weights, which sum to 1.
        noise: one over the number of independent frames.
        target: D, (size, size).
    """
    sample = (centred * w[:, None]).T @ centred
    scale = np.sqrt(np.diag(target))
    seen = scale > 1e-6 * scale.max() if scale.size else np.zeros(0, bool)
    if not seen.any():
        return sample
    unit = 1.0 / scale[seen]
    s = sample[np.ix_(seen, seen)] * np.outer(unit, unit)
    d = target[np.ix_(seen, seen)] * np.outer(unit, unit)
    power = float(w @ ((centred[:, seen] * unit) ** 2).sum(axis=1) ** 2)
    spread = noise * max(power - float((s**2).sum()), 0.0)
    distance = float(((s - d) ** 2).sum())
    part = min(1.0, spread / distance, len(s) * noise) if distance > 0 else 1.0
    return np.asarray((1.0 - part) * sample + part * target)


def weighted_averages(
    runs: Sequence[Samples],
    coefficients: Array,
    basis: CountsBasis,
    *,
    temperature: float,
    volume: float,
) -> WeightedAverages:
    """Averages of the runs' frames reweighted to the coefficients.

    Standard errors come from blocks of contiguous frames: Σ_B (W_B (x_B - x))^2 with W_B the
    weight of block B and x_B its weighted mean (the error of a ratio estimator).
    """
    parts = weights(runs, coefficients, basis, temperature)
    kept = [k for k, w in enumerate(parts) if w.sum() > MIN_WEIGHT]
    norm = sum(float(parts[k].sum()) for k in kept)
    beta = 1.0 / (KB * temperature)
    w = np.concatenate([parts[k] for k in kept]) / norm
    counts = np.concatenate([runs[k].counts for k in kept]).astype(np.float64)
    sums = basis.sums(counts)
    direct = basis.pressures(counts, volume)
    change = np.concatenate(
        [np.tile(coefficients - runs[k].coefficients, (len(runs[k].pressure), 1)) for k in kept]
    )
    pressure = np.concatenate([runs[k].pressure for k in kept])
    pressure = pressure + np.einsum("nk,nk->n", direct, change)
    mean_sums = w @ sums
    centred = sums - mean_sums
    mean_pressure = float(w @ pressure)
    mean_counts = np.einsum("n,npb->pb", w, counts)
    deviation = counts - mean_counts
    variance = np.einsum("n,npb->pb", w, deviation**2)
    error2 = np.zeros_like(mean_counts)
    pressure_error2 = 0.0
    offset = 0
    for k in kept:
        n = len(runs[k].pressure)
        for block in np.array_split(np.arange(offset, offset + n), min(BLOCKS, n)):
            error2 += np.einsum("n,npb->pb", w[block], deviation[block]) ** 2
            pressure_error2 += float(w[block] @ (pressure[block] - mean_pressure)) ** 2
        offset += n
    covariance = shrunk(
        centred, w, relative_noise(np.sqrt(error2), variance), basis.independent(mean_counts)
    )
    slope = w @ direct - beta * (w * (pressure - mean_pressure)) @ centred
    own = parts[-1] / max(float(parts[-1].sum()), 1e-300)
    return WeightedAverages(
        basis=basis,
        temperature=temperature,
        volume=volume,
        sums=mean_sums,
        covariance=(centred * w[:, None]).T @ centred,
        shrunk_covariance=covariance,
        counts=mean_counts,
        count_error=np.sqrt(error2),
        count_variance=variance,
        pressure=mean_pressure,
        pressure_error=math.sqrt(pressure_error2),
        pressure_slope=slope,
        effective=float(1.0 / (w**2).sum()),
        effective_own=float(1.0 / (own**2).sum()),
    )
