# SPDX-License-Identifier: GPL-2.0-or-later
"""A fitted linear potential, whatever its terms, and its errors on held-out frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation.held_out import HeldOut

Array = NDArray[np.float64]


class LinearPotential(Protocol):
    """A potential that labels frames with forces, virials and energies."""

    @property
    def info(self) -> dict[str, Any]:
        """Facts about the fit (plain data); ``fitted`` is the number of free coefficients."""
        ...

    def labels(self, frame: CGFrame) -> tuple[Array, Array, float]:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV."""
        ...


def evaluate_potential(
    potential: LinearPotential,
    yardstick: PairTable,
    test: list[CGFrame],
    parity: Path,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Errors of a linear potential and of the pair fit, as they stand in result.json.

    Args:
        potential: the fitted one.
        yardstick: pair fit of the same training frames, by the forces alone.
        test: frames with force labels.
        parity: file to write with the arrays (parity.npz).
        quiet: no progress bar.

    Raises:
        DataError: a frame without forces.
    """
    energies: list[float] = []

    def labels(frame: CGFrame) -> tuple[Array, Array]:
        forces, virial, energy = potential.labels(frame)
        energies.append(energy / frame.topology.n_sites)
        return forces, virial

    held_out = HeldOut.of(test, labels, yardstick, quiet=quiet)
    held_out.save(parity)
    energy_rmse = None
    if all(frame.energy is not None for frame in test):
        difference = np.array(energies) - [
            float(frame.energy or 0.0) / frame.topology.n_sites for frame in test
        ]
        energy_rmse = float(np.std(difference))
    return {**held_out.figures, "energy_rmse_per_site": energy_rmse}
