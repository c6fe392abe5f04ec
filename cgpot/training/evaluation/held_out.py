# SPDX-License-Identifier: GPL-2.0-or-later
"""A potential on held-out frames, beside the pair fit that is its yardstick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.progress import progress
from cgpot.molecules.compositions import groups_of
from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Potential
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.pressure_density import pressure_slope
from cgpot.training.network.metrics import mean_with_error

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
            None without stress labels, where the density does not vary, or of several
            compositions (`compositions` has it for each).
        compositions: figures of each composition; empty for a single one.
    """

    labels: dict[str, Array]
    arrays: dict[str, Array]
    errors: dict[str, Any]
    pair_arrays: dict[str, Array] | None
    pair_errors: dict[str, Any]
    slope: dict[str, Any] | None = None
    compositions: dict[str, dict[str, Any]] = field(default_factory=dict)

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
        pressures: dict[str, Array] = {}
        if "pressure_bar" in known:
            pressures = {"labels": known["pressure_bar"], "model": arrays["pressure_bar"]}
            if pair_arrays is not None:
                pressures["pair_fit"] = pair_arrays["pressure_bar"]
        groups = groups_of(frames)
        if len(groups) == 1 and pressures:
            slope = pressure_slope(frames, pressures, temperature)
        found = cls(known, arrays, errors, pair_arrays, pair_errors, slope)
        if len(groups) > 1:
            square = np.split(
                (arrays["force"] - known["force"]) ** 2,
                np.cumsum([frame.topology.n_sites for frame in frames])[:-1],
            )
            for name, mine in groups.items():
                found.compositions[name] = _figures(
                    [frames[k] for k in mine],
                    np.concatenate([square[k] for k in mine]),
                    {key: value[mine] for key, value in pressures.items()},
                    temperature,
                )
        return found

    @property
    def by_composition(self) -> dict[str, Any]:
        """Key ``compositions`` of the records; nothing for a single one."""
        return {"compositions": self.compositions} if self.compositions else {}

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
        return {**found, **self.by_composition}

    @property
    def parity(self) -> dict[str, Array]:
        """The arrays of parity.npz."""
        return ev.parity_arrays(self.labels, self.arrays, self.pair_arrays)

    def save(self, path: Path) -> None:
        """Write parity.npz."""
        ev.save_parity(path, self.parity)


def _figures(
    frames: list[CGFrame],
    square: Array,
    pressures: dict[str, Array],
    temperature: float | None,
) -> dict[str, Any]:
    """Figures of the frames of one composition: squared force errors (n, 3), pressures in bar."""
    residual = None
    if pressures:
        mean, error = mean_with_error(pressures["model"] - pressures["labels"])
        residual = {"mean": mean, "error": error}
    return {
        "n_frames": len(frames),
        "force_rmse": float(np.sqrt(square.mean())),
        "pressure_residual_bar": residual,
        "pressure_slope": pressure_slope(frames, pressures, temperature) if pressures else None,
    }
