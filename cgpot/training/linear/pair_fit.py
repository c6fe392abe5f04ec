# SPDX-License-Identifier: GPL-2.0-or-later
"""Linear force matching of pair splines (MS-CG), with virial rows.

The pair part of the linear machinery (`cgpot.training.linear`), with or without a local-density
term: the base below a network, its refit, and the yardstick.  Inside the shortest sampled
distance, where force data say nothing, the fit follows a repulsive power law fitted to the
potential of mean force -k_B T ln g(r).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.compositions import composition_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, free_particles
from cgpot.potential.base import Base
from cgpot.potential.basis import Basis, Joint
from cgpot.potential.local_density import Exclude, LocalDensityBasis
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
        density: a local-density term, fitted with the splines by `solve_base`.
        exclude: pairs of sites that do not interact: frame and pairs -> mask.

    Raises:
        DataError: fewer than 4 intervals.
    """

    def __init__(
        self,
        type_names: tuple[str, ...],
        r_max: float,
        spacing: float,
        temperature: float,
        *,
        density: LocalDensityBasis | None = None,
        exclude: Exclude | None = None,
    ) -> None:
        self.basis = PairBasis(type_names, r_max, spacing, temperature, exclude=exclude)
        self.density = density
        self.temperature = temperature
        parts: dict[str, Basis] = {"pair": self.basis}
        if density is not None:
            parts["density"] = density
        self.joint = Joint(parts)
        self.equations = NormalEquations(self.joint.size)
        self.type_names = type_names
        self.r_max = r_max
        self.intervals = self.basis.intervals
        self.pairs = self.basis.pairs
        self.width = self.basis.width
        self.size = self.basis.size

    def design(self, frame: CGFrame) -> tuple[Array, Array]:
        """Force rows (3 n, size) and virial rows (3, 3, size) of the pair part on one frame.

        Row times coefficients is the pair force on a site (eV/Å) and the virial W (eV).
        """
        rows = self.basis.rows(frame)
        return rows.forces, rows.virial

    def add(
        self,
        frames: Iterable[tuple[CGFrame, Array, Array | None]],
        block: int,
    ) -> None:
        """Observe frames; add them with force labels (n, 3) and virials (3, 3) or None to a block.

        Labels are given beside the frame, so that residuals of a model can be fitted too.
        """
        for frame, forces, virial in frames:
            self.joint.observe(frame)
            self.equations.add(
                self.joint.rows(frame),
                forces,
                volume=frame.volume,
                virial=virial,
                density=frame.density,
                composition=composition_of(frame.topology),
                block=block,
                offsets=None if virial is None else centre_offsets(frame),
                molecules=free_particles(frame.topology),
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
        match_slope: bool = False,
        smooth: float = 1e-6,
        correction: bool = False,
        leave_out: int | None = None,
    ) -> PairTable:
        """Solve for the coefficients of the pair part alone.

        Args:
            virial_weight: weight of a squared error of W/V (eV^2/Å^6) relative to one of a force
                (eV^2/Å^2); 0 fits forces alone.
            match_mean_virial: impose the mean trace of W/V as an exact constraint.
            match_slope: impose the slope of the virial pressure with density as well.
            smooth: penalty on second differences of the coefficients, relative to the mean
                diagonal of the normal matrix.
            correction: fit a correction to an existing potential: zero, not the wall, inside the
                closest pair.
            leave_out: block to leave out (for error bars).

        Raises:
            DataError: no frames, no virial to match, a density that does not vary where its slope
                is to be matched, or a singular system.
        """
        options = Options(
            virial_weight=virial_weight,
            match_mean_virial=match_mean_virial,
            match_slope=match_slope,
            smooth=smooth,
        )
        return self._solve(self._pair_joint(), options, correction, leave_out).pair

    def solve_base(
        self,
        *,
        virial_weight: float = 0.0,
        match_mean_virial: bool = False,
        match_slope: bool = False,
        smooth: float = 1e-6,
        correction: bool = False,
        leave_out: int | None = None,
    ) -> Base:
        """Solve for the pair part and, where there is one, the local-density term together.

        Arguments and errors: see `solve`.
        """
        options = Options(
            virial_weight=virial_weight,
            match_mean_virial=match_mean_virial,
            match_slope=match_slope,
            smooth=smooth,
        )
        return self._solve(self.joint, options, correction, leave_out)

    def _pair_joint(self) -> Joint:
        return self.joint if self.density is None else Joint({"pair": self.basis})

    def _solve(
        self, joint: Joint, options: Options, correction: bool, leave_out: int | None
    ) -> Base:
        equations = self.equations
        if joint.size != equations.size:
            equations = equations.part(slice(0, joint.size))
        total = equations.total(leave_out)
        self.basis.correction = correction
        c = equations.solve(Penalties.of(joint), options, leave_out=leave_out)
        walls = {self.pair_name(row): self.wall(row).as_dict() for row in range(self.pairs)}
        info: dict[str, Any] = {"wall": walls, **self.quality(c, total)}
        if options.match_slope and leave_out is None:
            info["pressure_slope"] = equations.pressure_slope(c, self.temperature)
        split = joint.split(c)
        table = PairTable(
            self.type_names, self.r_max, split["pair"].reshape(self.pairs, self.width), info
        )
        if "density" not in split or self.density is None:
            return Base(table)
        return Base(table, self.density.table(split["density"], {}))

    def quality(self, coefficients: Array, total: Sums | None = None) -> dict[str, Any]:
        """Force RMSE, label rms (eV/Å) and mean pressure residual (bar) on the fitted frames.

        Args:
            coefficients: of the pair part alone, or of all parts.
            total: sums of these coefficients; None: of all frames and parts.
        """
        if total is None:
            total = self.total().part(slice(0, coefficients.size))
        found = quality(total, coefficients.reshape(-1))
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
