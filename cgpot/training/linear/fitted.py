# SPDX-License-Identifier: GPL-2.0-or-later
"""A fitted linear potential, whatever its terms, and its errors on held-out frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import Potential
from cgpot.training.evaluation.held_out import HeldOut


class FittedPotential(Potential, Protocol):
    """A potential that knows about its fit."""

    @property
    def info(self) -> dict[str, Any]:
        """Facts about the fit (plain data); ``fitted`` is the number of free coefficients."""
        ...


def evaluate_potential(
    potential: Potential,
    yardstick: Potential,
    test: list[CGFrame],
    parity: Path,
    *,
    temperature: float | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Errors of a linear potential and of the pair fit, as they stand in result.json.

    Args:
        potential: the fitted one.
        yardstick: pair fit of the same training frames, by the forces alone.
        test: frames with force labels.
        parity: file to write with the arrays (parity.npz).
        temperature: K, of frames that carry none.
        quiet: no progress bar.

    Raises:
        DataError: a frame without forces.
    """
    held_out = HeldOut.of(test, potential, yardstick, temperature=temperature, quiet=quiet)
    held_out.save(parity)
    energy_rmse = None
    if all(frame.energy is not None for frame in test):
        difference = held_out.arrays["energy_per_site"] - [
            float(frame.energy or 0.0) / frame.topology.n_sites for frame in test
        ]
        energy_rmse = float(np.std(difference))
    return {**held_out.figures, "energy_rmse_per_site": energy_rmse}
