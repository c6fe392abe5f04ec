# SPDX-License-Identifier: GPL-2.0-or-later
"""Least squares over a stream of frames through the normal equations.

Force matching with a linear potential (Noid et al., J. Chem. Phys. 128, 244115 (2008)) with
virial rows (pressure matching: Das & Andersen, J. Chem. Phys. 132, 164106 (2010)) and, where
frames have them, energy rows.  Memory is that of the basis, not of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.progress import progress
from cgpot.core.units import EV_PER_A3_IN_BAR, KB
from cgpot.molecules.compositions import (
    blocks_of,
    composition_of,
    require_one_composition,
    topologies_of,
)
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, free_particles, internal_virial
from cgpot.potential.basis import Basis, Rows
from cgpot.training.linear.solver import Options, Penalties, solve
from cgpot.training.linear.sums import PressureSums, Sums, quality, squared_error

Array = NDArray[np.float64]
UPPER = np.triu_indices(3)


class NormalEquations:
    """Sums of blocks of frames.

    Args:
        size: number of coefficients.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: list[Sums] = []

    def add(
        self,
        rows: Rows,
        forces: Array | None,
        *,
        volume: float,
        virial: Array | None = None,
        energy: float | None = None,
        density: float | None = None,
        composition: str = "",
        weight: float = 1.0,
        block: int = 0,
        offsets: Array | None = None,
        molecules: int | None = None,
    ) -> None:
        """Add one frame.

        Args:
            rows: of the basis on the frame.
            forces: label (n, 3), eV/Å; None leaves the force rows out.
            volume: of the cell, Å^3.
            virial: label (3, 3), eV (its symmetric part counts); None leaves its rows out.
            energy: label, eV; needs the energy row.
            density: mass density, kg/m^3, for the slope of the pressure.
            composition: of the frame (`cgpot.molecules.compositions.composition_of`); mean
                pressure and slope are matched for each.
            weight: of this frame.
            block: frames of one block stay together in error bars.
            offsets: (n, 3), Å, of the sites from the mass centres of their molecules: virials of
                labels and rows are made molecular (`cgpot.molecules.molecular_virial`).
            molecules: their number; None: that of the sites.

        Raises:
            DataError: an energy label without an energy row, or rows of another size.
        """
        if rows.forces.shape[1] != self.size:
            raise DataError(f"expected rows of {self.size} columns, found {rows.forces.shape[1]}")
        while len(self.blocks) <= block:
            self.blocks.append(Sums(self.size))
        sums = self.blocks[block]
        sums.frames += 1
        sums.weight += weight
        if forces is not None:
            target = np.asarray(forces, dtype=np.float64).reshape(-1)
            matrix = rows.forces.T @ rows.forces
            sums.force_matrix += matrix if weight == 1.0 else weight * matrix
            sums.force_vector += weight * (rows.forces.T @ target)
            sums.force_square += weight * float(target @ target)
            sums.force_rows += weight * len(target)
        if virial is not None:
            spanned = rows.virial
            if offsets is not None:
                each = rows.forces.reshape(-1, 3, self.size)
                inner = np.tensordot(offsets, each, axes=(0, 0))
                spanned = spanned - 0.5 * (inner + inner.transpose(1, 0, 2))
                if forces is not None:
                    virial = virial - internal_virial(offsets, np.reshape(forces, (-1, 3)))
            label = (0.5 * (virial + virial.T))[UPPER] / volume
            v = spanned[UPPER] / volume
            sums.virial_matrix += weight * (v.T @ v)
            sums.virial_vector += weight * (v.T @ label)
            sums.stress_sum += weight * label
            sums.stress_square += weight * label**2
            trace = np.einsum("iik->k", spanned) / volume
            own = sums.compositions.setdefault(composition, PressureSums(self.size))
            for part in (sums, own):
                part.add_pressure(
                    trace,
                    float(np.trace(virial)) / volume,
                    weight=weight,
                    density=density,
                    number=(molecules or rows.forces.shape[0] // 3) / volume,
                )
        if energy is not None:
            if rows.energy is None:
                raise DataError("an energy label needs the energy row of the basis")
            n = rows.forces.shape[0] // 3
            row = rows.energy / n
            sums.energy_matrix += weight * np.outer(row, row)
            sums.energy_vector += weight * energy / n * row
            sums.energy_row += weight * row
            sums.energy_label += weight * energy / n
            sums.energy_square += weight * (energy / n) ** 2
            sums.energy_weight += weight

    def add_frames(
        self,
        basis: Basis,
        frames: Sequence[CGFrame],
        weights: Sequence[float] | Array,
        *,
        virials: bool,
        energies: bool,
        blocks: int,
        title: str,
        quiet: bool = False,
    ) -> None:
        """Show frames to the basis, and add them in contiguous blocks.

        Args:
            basis: gives the rows.
            frames: with forces.
            weights: of the frames.
            virials: use the virials of the frames that have one.
            energies: use the energies, which all frames have.
            blocks: number of blocks; each holds all compositions.
            title: of the progress bar.
            quiet: no progress bar.

        Raises:
            InputError: energies of several compositions, whose zeros differ.
        """
        if energies:
            require_one_composition(frames, "a fit to energies (model.energy)")
        block = blocks_of(frames, blocks)
        words = {id(t): composition_of(t) for t in topologies_of(frames)}
        with progress(title, len(frames), quiet=quiet) as advance:
            for number, frame in enumerate(frames):
                basis.observe(frame)
                self.add(
                    basis.rows(frame, energy=energies),
                    frame.forces,
                    volume=frame.volume,
                    virial=frame.virial if virials else None,
                    energy=frame.energy if energies else None,
                    density=frame.density,
                    composition=words[id(frame.topology)],
                    weight=float(weights[number]),
                    block=int(block[number]),
                    offsets=centre_offsets(frame) if virials else None,
                    molecules=free_particles(frame.topology),
                )
                advance(1)

    def total(self, leave_out: int | None = None) -> Sums:
        """Sum over all blocks, or all but one.

        Raises:
            DataError: no frames were added.
        """
        total = Sums(self.size)
        for number, block in enumerate(self.blocks):
            if number != leave_out:
                total.add(block)
        if total.frames == 0:
            raise DataError("no frames to fit")
        return total

    def part(self, columns: slice) -> NormalEquations:
        """The equations of some of the coefficients, the others zero."""
        blocks = [block.part(columns) for block in self.blocks]
        found = NormalEquations(len(range(*columns.indices(self.size))))
        found.blocks = blocks
        return found

    def solve(
        self, penalties: Penalties, options: Options, *, leave_out: int | None = None
    ) -> Array:
        """Coefficients (size,).

        Raises:
            DataError: no frames, labels missing that the options ask for, or a singular system
                (the coefficient that the data leave open most is named).
        """
        return solve(self.total(leave_out), penalties, options)

    def quality(self, coefficients: Array, total: Sums | None = None) -> dict[str, Any]:
        """Errors on the fitted frames (`quality`)."""
        return quality(self.total() if total is None else total, coefficients)

    def pressure_slope(self, coefficients: Array, temperature: float) -> dict[str, Any]:
        """Slope of the pressure with density over the frames, bar/(kg/m^3).

        Args:
            coefficients: (size,).
            temperature: K, for the kinetic part.

        Returns:
            ``labels`` and ``model``, each with ``value`` and ``error`` (jackknife over the blocks;
            None for a single one), and ``uncertain``: whether the error of the labels' slope is
            larger than half of its value.

        Raises:
            DataError: see `Sums.pressure_slope`.
        """

        def of(sums: Sums) -> Array:
            slope = sums.pressure_slope()
            kinetic = KB * temperature * slope.number
            both = np.array([slope.label, float(slope.row @ coefficients)])
            return np.asarray((both + kinetic) * EV_PER_A3_IN_BAR)

        value = of(self.total())
        error: list[float | None] = [None, None]
        if len(self.filled()) > 1:
            samples = self.jackknife(lambda block: of(self.total(block)))
            error = [float(e) for e in jackknife_error(samples)]
        return {
            "labels": {"value": float(value[0]), "error": error[0]},
            "model": {"value": float(value[1]), "error": error[1]},
            "uncertain": error[0] is None or error[0] > 0.5 * abs(float(value[0])),
        }

    def filled(self) -> list[int]:
        """Blocks that hold frames."""
        return [number for number, block in enumerate(self.blocks) if block.frames]

    def jackknife(self, solver: Callable[[int], Array]) -> Array:
        """Coefficients without one block each, (blocks, size); see `jackknife_error`.

        Args:
            solver: block to leave out -> coefficients.

        Raises:
            DataError: fewer than two blocks.
        """
        filled = self.filled()
        if len(filled) < 2:
            raise DataError(f"expected at least 2 blocks for error bars, found {len(filled)}")
        return np.stack([solver(number) for number in filled])

    def cross_validation(self, solver: Callable[[int], Array]) -> float:
        """Force RMSE (eV/Å) of each block under the fit to the others, over all blocks.

        Raises:
            DataError: fewer than two blocks.
        """
        samples = self.jackknife(solver)
        square = sum(
            squared_error(self.blocks[number], sample)
            for number, sample in zip(self.filled(), samples, strict=True)
        )
        return math.sqrt(max(square, 0.0) / self.total().force_rows)


def jackknife_error(samples: Array) -> Array:
    """Standard error of a quantity from its values without one block each, over axis 0."""
    n = len(samples)
    spread = ((samples - samples.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((n - 1) / n * spread))
