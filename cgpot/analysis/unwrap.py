# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of sites from wrapped frames, and the mean square displacement of paths.

Positions are unwrapped by minimum-image increments from frame to frame, which is right only
while no site moves near half a box between two frames; otherwise it is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.rdf import half_box
from cgpot.molecules.whole import minimum_image

Array = NDArray[np.float64]
STEP_LIMIT = 0.6
"""Largest step between frames, in units of half the box, that counts as unambiguous."""

KEPT = 1600
SEGMENTS = 5
MIN_FRAMES = 40
A2_PS_IN_M2_S = 1e-8


@dataclass
class Unwrapper:
    """Unwrap one replica frame by frame; memory stays bounded by keeping every 2^k-th frame."""

    file: str = ""
    _last: Array | None = None
    _path: Array | None = None
    _time: list[float] = field(default_factory=list)
    _kept: list[NDArray[np.float32]] = field(default_factory=list)
    _stride: int = 1
    _seen: int = 0
    _problem: str = ""
    _previous: float | None = None
    _interval: float | None = None

    def add(self, frame: CGFrame) -> None:
        """Follow the sites into the next frame; a problem is kept for `result`."""
        if self._problem:
            return
        if frame.time is None:
            self._problem = f"frame {self._seen} has no time"
            return
        if self._previous is not None:
            step = frame.time - self._previous
            if self._interval is None:
                self._interval = step
            if step <= 0 or abs(step - self._interval) > 0.01 * self._interval:
                self._problem = (
                    f"frames are not equally spaced in time: {step:g} ps before frame "
                    f"{self._seen}, {self._interval:g} ps at the start"
                )
                return
        self._previous = frame.time
        if self._last is None or self._path is None:
            self._path = np.zeros_like(frame.positions)
        else:
            increments = minimum_image(frame.positions - self._last, frame.cell)
            increments -= increments.mean(axis=0)
            largest = float(np.abs(increments).max())
            if largest > STEP_LIMIT * half_box(frame.cell):
                self._problem = (
                    f"a site moves {largest:.2f} Å between frames {self._seen - 1} and "
                    f"{self._seen}, more than {STEP_LIMIT:g} of half the box "
                    f"({half_box(frame.cell):.2f} Å): the frames are too far apart to unwrap"
                )
                return
            self._path = self._path + increments
        self._last = frame.positions
        if self._seen % self._stride == 0:
            self._kept.append(self._path.astype(np.float32))
            self._time.append(frame.time)
            if len(self._kept) > KEPT:
                self._kept = self._kept[::2]
                self._time = self._time[::2]
                self._stride *= 2
        self._seen += 1

    def paths(self) -> tuple[Array, NDArray[np.float32]]:
        """Times (n,), ps, and displacements (n, n_sites, 3), Å, of the frames that were kept.

        The mean displacement of all sites is taken off.

        Raises:
            DataError: too few frames, times missing or unequal, or frames too far apart.
        """
        if self._problem:
            raise DataError(self._problem, file=self.file or None)
        if len(self._kept) < MIN_FRAMES:
            raise DataError(
                f"expected at least {MIN_FRAMES} frames for a diffusion coefficient, "
                f"found {len(self._kept)}",
                file=self.file or None,
            )
        return np.array(self._time), np.stack(self._kept)

    def result(self) -> dict[str, Any]:
        """`displacement` of the sites.

        Raises:
            DataError: see `paths`.
        """
        return displacement(*self.paths())


def displacement(times: Array, path: NDArray[np.float32]) -> dict[str, Any]:
    """Mean square displacement and diffusion coefficient of paths.

    The MSD of five contiguous segments is averaged over all time origins; D is the slope of a
    straight line between 30 % and 100 % of the longest lag (a third of a segment), divided by
    six, and its error that of the segments' mean.  No finite-size correction (Yeh & Hummer,
    J. Phys. Chem. B 108, 15873 (2004)) is made.

    Args:
        times: (n,) ps, equally spaced.
        path: (n, points, 3) Å.

    Returns:
        lag_ps, msd_A2, error_A2, diffusion_m2_s, diffusion_error_m2_s, exponent (slope of log
        MSD against log lag over the fitted range; 1 when diffusive).
    """
    dt = float(times[1] - times[0])
    segments = np.array_split(path, SEGMENTS)
    longest = max(3, min(len(s) for s in segments) // 3)
    lags = np.unique(np.linspace(1, longest, min(longest, 40)).round().astype(int))
    msd = np.stack([[_msd(s, lag) for lag in lags] for s in segments])
    time = lags * dt
    fit = time >= 0.3 * time[-1]
    slopes = np.array([np.polyfit(time[fit], m[fit], 1)[0] for m in msd]) / 6.0
    mean = msd.mean(axis=0)
    exponent = float(np.polyfit(np.log(time[fit]), np.log(mean[fit]), 1)[0])
    return {
        "lag_ps": time.tolist(),
        "msd_A2": mean.tolist(),
        "error_A2": (msd.std(axis=0, ddof=1) / math.sqrt(SEGMENTS)).tolist(),
        "diffusion_m2_s": float(slopes.mean()) * A2_PS_IN_M2_S,
        "diffusion_error_m2_s": float(slopes.std(ddof=1)) / math.sqrt(SEGMENTS) * A2_PS_IN_M2_S,
        "exponent": exponent,
    }


def _msd(path: NDArray[np.float32], lag: int) -> float:
    steps = path[lag:] - path[:-lag]
    return float(np.einsum("tij,tij->", steps, steps, dtype=np.float64)) / (
        steps.shape[0] * steps.shape[1]
    )
