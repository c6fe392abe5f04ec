# SPDX-License-Identifier: GPL-2.0-or-later
"""Time series: means with errors over replicas, volume fluctuation, energy drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.statistics import MIN_SAMPLES, Estimate, estimate
from cgpot.core.units import EV_PER_A3_IN_BAR, KB

Array = NDArray[np.float64]
PLOT_POINTS = 150
JACKKNIFE_BLOCKS = 10


@dataclass
class Series:
    """Time series of one system, by the names of the columns of thermo.csv.

    Attributes:
        time: per replica (n,), ps.
        columns: name -> per replica (n,).
        whole: all samples are used (data sets); else equilibration is detected (runs).
        transient: samples at the start of a run that are left out of all columns.
        file: of the run, for messages.
    """

    time: list[Array] = field(default_factory=list)
    columns: dict[str, list[Array]] = field(default_factory=dict)
    whole: bool = True
    transient: int = 0
    file: Path | None = None

    def mean(self, column: str) -> dict[str, Any]:
        """Mean of a column, as `mean_of_replicas`; of a run also ``start_ps``.

        Of a run it is the mean behind the transient, or behind the column's own equilibration
        where there is none.  At most the first half is dropped: a later start leaves too little
        to tell slow fluctuation from drift, and its error would be too small.

        Raises:
            DataError: fewer than 8 samples, or NaN.
        """
        parts = self.columns[column]
        if self.whole:
            return mean_of_replicas(parts, detect=False)
        values, skip, half = parts[0], self.transient, len(parts[0]) // 2
        try:
            found = mean_of_replicas([values[skip:]], detect=skip == 0)
            if found["start"][0] > half:
                skip = half
                found = mean_of_replicas([values[skip:]], detect=False)
        except DataError as err:
            raise DataError(err.message, file=self.file, key=column) from err
        found["start"] = [found["start"][0] + skip]
        time = self.time[0]
        return {**found, "start_ps": float(time[found["start"][0]] - time[0])}

    def used(self, column: str) -> list[Array]:
        """Samples behind the transient, per replica."""
        return [part[self.transient :] for part in self.columns[column]]

    def note_equilibration(
        self, record: dict[str, Any], column: str, what: str, unit: str
    ) -> list[str]:
        """Remarks where the start of a data set looks different from the rest.

        Args:
            record: of `mean`; gets ``start_detected``.
            column: its column.
            what: its name.
            unit: its unit.
        """
        detected = mean_of_replicas(self.columns[column], detect=True)
        record["start_detected"] = detected["start"]
        if abs(detected["mean"] - record["mean"]) <= 3.0 * max(detected["error"], 1e-12):
            return []
        return [
            f"the {what} over all frames, {record['mean']:.1f}, differs from "
            f"{detected['mean']:.1f} ± {detected['error']:.1f} {unit} after the detected "
            f"equilibration ({sum(detected['start'])} frames): the data set may hold "
            "unequilibrated frames"
        ]


def mean_of_replicas(parts: Sequence[Array], *, detect: bool) -> dict[str, Any]:
    """Mean and standard error of one quantity over independent series.

    Each series gets its own equilibration and statistical inefficiency
    (`cgpot.core.statistics.estimate`); the means are combined by their numbers of samples.
    With two replicas or more the scatter between them enters, so that the error is never
    smaller than what the replicas show.

    Args:
        parts: series of samples, each (n_k,).
        detect: drop what `estimate` takes for equilibration; otherwise use all samples.

    Returns:
        mean, error, std, n, start (per replica), inefficiency (largest), replicas (means),
        halves (means of the two halves).

    Raises:
        DataError: fewer than 8 samples in a series, or NaN.
    """
    estimates: list[Estimate] = [estimate(part, equilibrated=not detect) for part in parts]
    weights = np.array([e.n for e in estimates], dtype=np.float64)
    weights /= weights.sum()
    means = np.array([e.mean for e in estimates])
    mean = float(weights @ means)
    error = math.sqrt(float(np.sum((weights * np.array([e.error for e in estimates])) ** 2)))
    if len(parts) > 1:
        scatter = math.sqrt(float(np.sum(weights**2 * (means - mean) ** 2)))
        error = max(error, scatter * math.sqrt(len(parts) / (len(parts) - 1)))
    used = [part[e.start :] for part, e in zip(parts, estimates, strict=True)]
    first, second = halves(used)
    everything = np.concatenate(used)
    return {
        "mean": mean,
        "error": error,
        "std": float(everything.std(ddof=1)),
        "n": len(everything),
        "start": [e.start for e in estimates],
        "inefficiency": max(e.inefficiency for e in estimates),
        "replicas": means.tolist(),
        "halves": [float(np.mean(first)), float(np.mean(second))],
    }


def transient_end(series: Array) -> int:
    """Samples at the start that are far off the rest; 0 when there is no such transient.

    `detect_equilibration` keeps a short, steep transient when what follows it fluctuates
    slowly (the transient makes the series look less correlated).  Here the cut that minimises
    the marginal standard error (MSER-5: White, Simulation 69, 323 (1997); first half only) is
    taken, but only if a block before it lies more than 4 standard deviations off.

    Args:
        series: samples, (n,).
    """
    batch = 5
    n = len(series) // batch
    if n < MIN_SAMPLES:
        return 0
    means = series[: n * batch].reshape(n, batch).mean(axis=1)
    left = n - np.arange(n)
    tail = np.cumsum(means[::-1])[::-1] / left
    squares = np.cumsum(means[::-1] ** 2)[::-1] / left
    score = np.maximum(squares - tail**2, 0.0) / left
    cut = int(np.argmin(score[: n // 2]))
    rest = means[cut:]
    if cut == 0 or np.abs(means[:cut] - rest.mean()).max() <= 4.0 * rest.std():
        return 0
    return cut * batch


def halves(parts: Sequence[Array]) -> tuple[Array, Array]:
    """The samples in two halves: by replica when there are several, else by time."""
    if len(parts) > 1:
        cut = (len(parts) + 1) // 2
        return np.concatenate(list(parts[:cut])), np.concatenate(list(parts[cut:]))
    middle = len(parts[0]) // 2
    return parts[0][:middle], parts[0][middle:]


def plot_series(time: Array, values: Array, points: int = PLOT_POINTS) -> dict[str, list[float]]:
    """A series shortened to block means for a figure (the last, short block is kept)."""
    size = max(1, math.ceil(len(values) / points))
    starts = np.arange(0, len(values), size)
    counts = np.diff(np.append(starts, len(values)))
    return {
        "time_ps": (np.add.reduceat(time, starts) / counts).tolist(),
        "value": (np.add.reduceat(values, starts) / counts).tolist(),
    }


def compressibility(parts: Sequence[Array], temperature: float) -> dict[str, Any]:
    """Isothermal compressibility from volume fluctuation, kappa_T = var(V) / (k_B T <V>).

    Allen & Tildesley, Computer Simulation of Liquids, 2nd ed., eq. 2.89.  The error is a
    delete-one-block jackknife over 10 blocks; the variance is corrected for the correlation
    of the samples (factor 1 / (1 - g/n)).

    Args:
        parts: volumes of NPT replicas, Å^3.
        temperature: K.

    Returns:
        value and error in 1/GPa, n and the largest statistical inefficiency.

    Raises:
        DataError: too few samples, NaN, or a constant volume.
    """
    for part in parts:
        if len(part) < 2 * MIN_SAMPLES:
            raise DataError(
                f"expected at least {2 * MIN_SAMPLES} volumes for a compressibility, "
                f"found {len(part)}"
            )
        if np.ptp(part) < 1e-9 * np.mean(part):
            raise DataError("the volume is constant; a compressibility needs an NPT run")
    estimates = [estimate(part) for part in parts]
    used = [part[e.start :] for part, e in zip(parts, estimates, strict=True)]
    everything = np.concatenate(used)
    correction = 1.0 - sum(e.inefficiency for e in estimates) / len(everything)
    blocks = [
        block
        for part in used
        for block in np.array_split(part, max(2, round(JACKKNIFE_BLOCKS / len(used))))
    ]

    def kappa(volumes: Array) -> float:
        per_ev = volumes.var() / (KB * temperature * volumes.mean()) / max(correction, 0.1)
        return float(per_ev) / EV_PER_A3_IN_BAR * 1e4

    left_out = np.array(
        [
            kappa(np.concatenate([b for j, b in enumerate(blocks) if j != i]))
            for i in range(len(blocks))
        ]
    )
    m = len(blocks)
    error = math.sqrt((m - 1) / m * float(((left_out - left_out.mean()) ** 2).sum()))
    return {
        "value": kappa(everything),
        "error": error,
        "unit": "1/GPa",
        "n": len(everything),
        "inefficiency": max(e.inefficiency for e in estimates),
    }


def energy_drift(time: Array, total: Array, kinetic: Array, n_sites: int) -> dict[str, float]:
    """Drift of the total energy of an NVE run by a straight line.

    Args:
        time: (n,) ps.
        total: (n,) total energy, eV.
        kinetic: (n,) kinetic energy, eV.
        n_sites: number of beads.

    Returns:
        drift and error in eV per bead and ps, relative drift (per kinetic energy and ps),
        and the rms deviation from the line, eV per bead.

    Raises:
        DataError: fewer than 8 samples.
    """
    if len(time) < MIN_SAMPLES:
        raise DataError(f"expected at least {MIN_SAMPLES} samples for a drift, found {len(time)}")
    t = time - time.mean()
    slope = float(t @ total / (t @ t))
    residual = total - total.mean() - slope * t
    error = math.sqrt(float(residual @ residual) / max(len(t) - 2, 1) / float(t @ t))
    mean_kinetic = float(kinetic.mean())
    return {
        "ev_per_bead_ps": slope / n_sites,
        "error_ev_per_bead_ps": error / n_sites,
        "relative_per_ps": slope / mean_kinetic if mean_kinetic > 0 else 0.0,
        "rms_ev_per_bead": float(np.sqrt(np.mean(residual**2))) / n_sites,
    }
