# SPDX-License-Identifier: GPL-2.0-or-later
"""Linear force matching of pair splines (MS-CG), with virial rows.

The pair part of the linear machinery (`cgpot.training.linear`) by itself: the base below a
network, its refit, and the yardstick.  Inside the shortest sampled distance, where force data
say nothing, the fit follows a repulsive power law fitted to the potential of mean force
-k_B T ln g(r).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.pair_basis import PairBasis, Wall
from cgpot.potential.splines import PairTable
from cgpot.training.linear.equations import NormalEquations, jackknife_error
from cgpot.training.linear.solver import Options, Penalties
from cgpot.training.linear.sums import Sums, quality

__all__ = ["N_BLOCKS", "PairFit", "Wall", "labelled"]

Array = NDArray[np.float64]
N_BLOCKS = 10


class PairFit:
    """Least-squares fit of pair splines to forces and virials of a stream of frames.

    Args:
        type_names: bead types.
        r_max: cutoff, Å.
        spacing: wanted knot spacing, Å (rounded so that it divides r_max).
        temperature: K, for the wall.

    Raises:
        DataError: fewer than 4 intervals.
    """

    def __init__(
        self, type_names: tuple[str, ...], r_max: float, spacing: float, temperature: float
    ) -> None:
        self.basis = PairBasis(type_names, r_max, spacing, temperature)
        self.equations = NormalEquations(self.basis.size)
        self.type_names = type_names
        self.r_max = r_max
        self.intervals = self.basis.intervals
        self.pairs = self.basis.pairs
        self.width = self.basis.width
        self.size = self.basis.size

    def design(self, frame: CGFrame) -> tuple[Array, Array]:
        """Force rows (3 n, size) and virial rows (3, 3, size) of one frame.

        Row times coefficients is the pair force on a site (eV/Å) and the virial W (eV).
        """
        rows = self.basis.rows(frame)
        return rows.forces, rows.virial

    def add(
        self,
        frames: Iterable[tuple[CGFrame, Array, Array | None]],
        block: int,
    ) -> None:
        """Add frames with force labels (n, 3) and virial labels (3, 3) or None to a block.

        Labels are given beside the frame, so that residuals of a model can be fitted too.
        """
        for frame, forces, virial in frames:
            self.equations.add(
                self.basis.rows(frame), forces, volume=frame.volume, virial=virial, block=block
            )

    def total(self, leave_out: int | None = None) -> Sums:
        """Sum over all blocks, or all but one.

        Raises:
            DataError: no frames were added.
        """
        return self.equations.total(leave_out)

    def wall(self, row: int = 0) -> Wall:
        """The repulsive wall of one pair of types (`PairBasis.wall`).

        Raises:
            DataError: too few pairs at short distance to see the flank.
        """
        return self.basis.wall(row)

    def pair_name(self, row: int) -> str:
        """Names of the two bead types of a row, ``A-B``."""
        return self.basis.pair_name(row)

    def solve(
        self,
        *,
        virial_weight: float = 0.0,
        match_mean_virial: bool = False,
        smooth: float = 1e-6,
        correction: bool = False,
        leave_out: int | None = None,
    ) -> PairTable:
        """Solve for the coefficients.

        Args:
            virial_weight: weight of a squared error of W/V (eV^2/Å^6) relative to one of a force
                (eV^2/Å^2); 0 fits forces alone.
            match_mean_virial: impose the mean trace of W/V as an exact constraint.
            smooth: penalty on second differences of the coefficients, relative to the mean
                diagonal of the normal matrix.
            correction: fit a correction to an existing potential: zero, not the wall, inside the
                closest pair.
            leave_out: block to leave out (for error bars).

        Raises:
            DataError: no frames, no virial to match, or a singular system.
        """
        total = self.total(leave_out)
        self.basis.correction = correction
        penalties = Penalties.of(self.basis)
        options = Options(
            virial_weight=virial_weight, match_mean_virial=match_mean_virial, smooth=smooth
        )
        coefficients = self.equations.solve(penalties, options, leave_out=leave_out)
        walls = {self.pair_name(row): self.wall(row).as_dict() for row in range(self.pairs)}
        return PairTable(
            self.type_names,
            self.r_max,
            coefficients.reshape(self.pairs, self.width),
            {"wall": walls, **self.quality(coefficients, total)},
        )

    def quality(self, coefficients: Array, total: Sums | None = None) -> dict[str, Any]:
        """Force RMSE, label rms (eV/Å) and mean pressure residual (bar) on the fitted frames."""
        found = quality(self.total() if total is None else total, coefficients.reshape(-1))
        keys = ("frames", "force_rmse", "force_label_rms", "mean_pressure_residual_bar")
        return {key: found[key] for key in keys}

    def errors(self, **options: Any) -> Array:
        """Jackknife standard error of each coefficient over the blocks, (pairs, width).

        Raises:
            DataError: fewer than two blocks.
        """
        samples = self.equations.jackknife(
            lambda block: self.solve(leave_out=block, **options).coefficients
        )
        return jackknife_error(samples)


def labelled(frames: Iterable[CGFrame]) -> Iterable[tuple[CGFrame, Array, Array | None]]:
    """Frames with their own labels, for `PairFit.add`.

    Raises:
        DataError: a frame without forces.
    """
    for frame in frames:
        if frame.forces is None:
            raise DataError("the frame has no forces to match", frame=frame.source_frame)
        yield frame, frame.forces, frame.virial
