# SPDX-License-Identifier: GPL-2.0-or-later
"""A potential on held-out frames, beside the pair fit that is its yardstick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.progress import progress
from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Potential
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.pressure_density import pressure_slope

Array = NDArray[np.float64]
ERRORS = ("force_rmse", "stress_rmse", "pressure_residual_bar")


@dataclass(frozen=True)
class HeldOut:
    """Labels and predictions on held-out frames.

    Attributes:
        labels: of `cgpot.training.evaluation.predictions.label_arrays`.
        arrays: predictions of the potential (`cgpot.training.evaluation.predictions.evaluate`).
        errors: of the same.
        pair_arrays: predictions of the pair fit; None without one.
        pair_errors: its errors; empty without one.
        slope: of the pressure with density (`pressure_density.pressure_slope`);
            None without stress labels, or where the density does not vary.
    """

    labels: dict[str, Array]
    arrays: dict[str, Array]
    errors: dict[str, Any]
    pair_arrays: dict[str, Array] | None
    pair_errors: dict[str, Any]
    slope: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        frames: list[CGFrame],
        potential: Potential,
        yardstick: Potential | None,
        *,
        temperature: float | None = None,
        quiet: bool = False,
    ) -> HeldOut:
        """Evaluate a potential and the pair fit.

        Args:
            frames: with force labels.
            potential: labels them.
            yardstick: the pair fit, if there is one.
            temperature: K, of frames that carry none, for the kinetic part of pressures.
            quiet: no progress bar.

        Raises:
            DataError: a frame without forces.
        """
        with progress("evaluating", len(frames), quiet=quiet) as advance:
            errors, arrays = ev.evaluate(frames, potential, advance)
        pair_errors: dict[str, Any] = {}
        pair_arrays: dict[str, Array] | None = None
        if yardstick is not None:
            pair_errors, pair_arrays = ev.evaluate(frames, yardstick)
        known = ev.label_arrays(frames)
        slope = None
        if "pressure_bar" in known:
            pressures = {"labels": known["pressure_bar"], "model": arrays["pressure_bar"]}
            if pair_arrays is not None:
                pressures["pair_fit"] = pair_arrays["pressure_bar"]
            slope = pressure_slope(frames, pressures, temperature)
        return cls(known, arrays, errors, pair_arrays, pair_errors, slope)

    @property
    def figures(self) -> dict[str, Any]:
        """The errors as they stand in result.json."""
        found: dict[str, Any] = {}
        for key in ERRORS:
            found[key] = self.errors[key]
            if self.pair_errors:
                found[f"{key}_pair_fit"] = self.pair_errors[key]
            if key == "force_rmse":
                found["force_label_rms"] = float(np.sqrt(np.mean(self.labels["force"] ** 2)))
        found["pressure_slope"] = self.slope
        return found

    @property
    def parity(self) -> dict[str, Array]:
        """The arrays of parity.npz."""
        return ev.parity_arrays(self.labels, self.arrays, self.pair_arrays)

    def save(self, path: Path) -> None:
        """Write parity.npz."""
        ev.save_parity(path, self.parity)
