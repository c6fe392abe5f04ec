# SPDX-License-Identifier: GPL-2.0-or-later
"""Linear force matching of pair splines (MS-CG), with virial rows.

Least squares over a stream of frames through the normal equations (Noid et al., J. Chem.
Phys. 128, 244115 (2008)); the virial rows are the pressure matching of Das & Andersen,
J. Chem. Phys. 132, 164106 (2010), for a pair potential.  Memory is that of the basis, not
of the data.  Inside the shortest sampled distance, where force data say nothing, the fit
follows a repulsive power law fitted to the potential of mean force -k_B T ln g(r).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.frame import CGFrame
from cgpot.core.splines import (
    ZERO_AT_CUTOFF,
    PairTable,
    basis_derivative,
    locate,
    pair_count,
    pair_index,
)
from cgpot.core.units import KB, pressure_bar

Array = NDArray[np.float64]

HISTOGRAM_BIN = 0.05
MIN_PAIRS = 40
"""Pairs a histogram bin needs before its force data are trusted."""
WALL_PAIRS = 10
"""Weight of the wall inside the closest pair: as if that many pairs were seen in each bin."""
WALL_CAP_KT = 150.0
"""Height in k_B T at which the wall goes over into a constant force."""
N_BLOCKS = 10


@dataclass(frozen=True)
class Wall:
    """Repulsive power law u = epsilon (sigma / r)^n with epsilon = k_B T.

    Attributes:
        sigma: Å, distance at which the wall is k_B T high.
        exponent: n.
        kt: k_B T, eV.
        onset: Å; from here outwards pairs are frequent.
    """

    sigma: float
    exponent: float
    kt: float
    onset: float

    def slope(self, r: Array) -> Array:
        """u'(r), eV/Å, constant inside the capped core."""
        cap = self.sigma * WALL_CAP_KT ** (-1.0 / self.exponent)
        x = np.maximum(np.asarray(r, dtype=np.float64), cap)
        return -self.kt * self.exponent / x * (self.sigma / x) ** self.exponent

    def as_dict(self) -> dict[str, float]:
        """Plain data for JSON."""
        return {
            "sigma_A": self.sigma,
            "exponent": self.exponent,
            "kT_eV": self.kt,
            "onset_A": self.onset,
        }


@dataclass
class _Sums:
    """Normal equations of a block of frames."""

    size: int
    force_matrix: Array = field(init=False)
    force_vector: Array = field(init=False)
    virial_matrix: Array = field(init=False)
    virial_vector: Array = field(init=False)
    trace_mean: Array = field(init=False)
    trace_label: float = 0.0
    force_square: float = 0.0
    force_rows: int = 0
    frames: int = 0

    def __post_init__(self) -> None:
        self.force_matrix = np.zeros((self.size, self.size))
        self.force_vector = np.zeros(self.size)
        self.virial_matrix = np.zeros((self.size, self.size))
        self.virial_vector = np.zeros(self.size)
        self.trace_mean = np.zeros(self.size)

    def add(self, other: _Sums) -> None:
        """Add another block."""
        self.force_matrix += other.force_matrix
        self.force_vector += other.force_vector
        self.virial_matrix += other.virial_matrix
        self.virial_vector += other.virial_vector
        self.trace_mean += other.trace_mean
        self.trace_label += other.trace_label
        self.force_square += other.force_square
        self.force_rows += other.force_rows
        self.frames += other.frames


class PairFit:
    """Least-squares fit of pair splines to forces and virials of a stream of frames.

    Args:
        type_names: bead types.
        r_max: cutoff, Å.
        spacing: wanted knot spacing, Å (rounded so that it divides r_max).
        temperature: K, for the wall.
    """

    def __init__(
        self, type_names: tuple[str, ...], r_max: float, spacing: float, temperature: float
    ) -> None:
        if not (r_max > 0 and 0 < spacing < r_max / 4):
            raise DataError(
                f"expected 0 < 4 spacing < r_max, found spacing {spacing} and r_max {r_max} Å"
            )
        self.type_names = type_names
        self.r_max = r_max
        self.intervals = max(4, round(r_max / spacing))
        self.temperature = temperature
        self.pairs = pair_count(len(type_names))
        self.width = self.intervals + 3
        self.size = self.pairs * self.width
        self._index = pair_index(len(type_names))
        self._blocks: list[_Sums] = []
        bins = math.ceil(r_max / HISTOGRAM_BIN)
        self._edges = np.linspace(0.0, r_max, bins + 1)
        self._counts = np.zeros((self.pairs, bins))
        self._ideal = np.zeros((self.pairs, bins))

    def design(self, frame: CGFrame) -> tuple[Array, Array]:
        """Force rows (3 n, size) and virial rows (3, 3, size) of one frame.

        Row times coefficients is the pair force on a site (eV/Å) and the virial W (eV).
        """
        from matscipy.neighbours import neighbour_list

        i, j, distance, vector = neighbour_list(
            "ijdD",
            positions=frame.positions,
            cell=frame.cell,
            pbc=np.asarray(frame.pbc),
            cutoff=self.r_max,
        )
        types = frame.topology.types
        pair = self._index[types[i], types[j]]
        self._count(frame, pair, distance)
        n = frame.topology.n_sites
        first, t = locate(distance, self.r_max, self.intervals)
        weights = basis_derivative(t) * (self.intervals / self.r_max)
        unit = vector / distance[:, None]
        column = pair * self.width + first
        rows = np.zeros((n, 3, self.size))
        virial = np.zeros((3, 3, self.size))
        for k in range(4):
            flat = i.astype(np.int64) * self.size + column + k
            for a in range(3):
                rows[:, a] += np.bincount(
                    flat, weights[k] * unit[:, a], minlength=n * self.size
                ).reshape(n, self.size)
                for b in range(a, 3):
                    virial[a, b] -= 0.5 * np.bincount(
                        column + k, weights[k] * unit[:, a] * vector[:, b], minlength=self.size
                    )
        for a in range(3):
            for b in range(a):
                virial[a, b] = virial[b, a]
        return rows.reshape(3 * n, self.size), virial

    def _count(self, frame: CGFrame, pair: NDArray[np.int64], distance: Array) -> None:
        types = frame.topology.types
        numbers = np.bincount(types, minlength=len(self.type_names)).astype(np.float64)
        shells = 4.0 / 3.0 * np.pi * np.diff(self._edges**3)
        for a in range(len(numbers)):
            for b in range(a, len(numbers)):
                row = self._index[a, b]
                counted, _ = np.histogram(distance[pair == row], self._edges)
                self._counts[row] += counted
                both = numbers[a] * (numbers[a] - 1) if a == b else 2 * numbers[a] * numbers[b]
                self._ideal[row] += both * shells / frame.volume

    def add(
        self,
        frames: Iterable[tuple[CGFrame, Array, Array | None]],
        block: int,
    ) -> None:
        """Add frames with force labels (n, 3) and virial labels (3, 3) or None to a block.

        Labels are given beside the frame, so that residuals of a model can be fitted too.
        """
        while len(self._blocks) <= block:
            self._blocks.append(_Sums(self.size))
        sums = self._blocks[block]
        for frame, forces, virial in frames:
            rows, virial_rows = self.design(frame)
            target = np.asarray(forces, dtype=np.float64).reshape(-1)
            sums.force_matrix += rows.T @ rows
            sums.force_vector += rows.T @ target
            sums.force_square += float(target @ target)
            sums.force_rows += len(target)
            sums.frames += 1
            if virial is not None:
                symmetric = 0.5 * (virial + virial.T)
                upper = np.triu_indices(3)
                v = virial_rows[upper] / frame.volume
                w = symmetric[upper] / frame.volume
                sums.virial_matrix += v.T @ v
                sums.virial_vector += v.T @ w
                trace = np.einsum("iik->k", virial_rows)
                sums.trace_mean += trace / frame.volume
                sums.trace_label += float(np.trace(symmetric)) / frame.volume

    def total(self, leave_out: int | None = None) -> _Sums:
        """Sum over all blocks, or all but one.

        Raises:
            DataError: no frames were added.
        """
        total = _Sums(self.size)
        for number, block in enumerate(self._blocks):
            if number != leave_out:
                total.add(block)
        if total.frames == 0:
            raise DataError("no frames to fit")
        return total

    def wall(self, row: int = 0) -> Wall:
        """The repulsive wall of one pair of types, from the flank of g(r).

        Raises:
            DataError: too few pairs at short distance to see the flank.
        """
        g = np.divide(
            self._counts[row],
            self._ideal[row],
            out=np.zeros_like(self._counts[row]),
            where=self._ideal[row] > 0,
        )
        r = 0.5 * (self._edges[1:] + self._edges[:-1])
        seen = np.flatnonzero(self._counts[row] >= MIN_PAIRS)
        if len(seen) == 0:
            raise DataError(
                f"no distance bin below {self.r_max} Å holds {MIN_PAIRS} pairs; "
                "more frames are needed for the repulsive wall"
            )
        onset = float(self._edges[seen[0]])
        kt = KB * self.temperature
        peak = seen[int(np.argmax(g[seen]))]
        flank = np.array([k for k in seen if k < peak and g[k] < 0.3])
        sigma, exponent = onset, 12.0
        if len(flank) >= 3:
            log_pmf = np.log(-np.log(g[flank]))
            slope, _ = np.polyfit(np.log(r[flank]), log_pmf, 1)
            exponent = float(np.clip(-slope, 8.0, 24.0))
            sigma = float(np.exp(np.mean(np.log(r[flank]) + log_pmf / exponent)))
        return Wall(sigma=sigma, exponent=exponent, kt=kt, onset=onset)

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
            DataError: no frames, or a singular system.
        """
        total = self.total(leave_out)
        matrix = total.force_matrix + virial_weight * total.virial_matrix
        vector = total.force_vector + virial_weight * total.virial_vector
        scale = float(np.trace(total.force_matrix)) / self.size
        second = np.diff(np.eye(self.width), 2, axis=0)
        walls: dict[str, Any] = {}
        for row in range(self.pairs):
            part = slice(row * self.width, (row + 1) * self.width)
            wall = self.wall(row)
            walls[self.pair_name(row)] = wall.as_dict()
            matrix[part, part] += smooth * scale * second.T @ second
            spacing = self.r_max / self.intervals
            closest = float(self._edges[np.flatnonzero(self._counts[row])[0]])
            r = np.arange(spacing / 4, closest - spacing, HISTOGRAM_BIN)
            first, t = locate(r, self.r_max, self.intervals)
            w = basis_derivative(t) * (self.intervals / self.r_max)
            rows = np.zeros((len(r), self.width))
            for k in range(4):
                rows[np.arange(len(r)), first + k] += w[k]
            target = np.zeros(len(r)) if correction else wall.slope(r)
            weight = 2.0 * WALL_PAIRS  # each pair of sites gives two rows of unit vectors
            matrix[part, part] += weight * rows.T @ rows
            vector[part] += weight * rows.T @ target
        free = np.concatenate(
            [
                np.arange(row * self.width, (row + 1) * self.width - ZERO_AT_CUTOFF)
                for row in range(self.pairs)
            ]
        )
        a = matrix[np.ix_(free, free)]
        b = vector[free]
        try:
            if match_mean_virial:
                constraint = total.trace_mean[free] / total.frames
                scale_c = np.sqrt(np.abs(a).max()) / np.abs(constraint).max()
                system = np.block(
                    [
                        [a, (scale_c * constraint)[:, None]],
                        [(scale_c * constraint)[None, :], np.zeros((1, 1))],
                    ]
                )
                right = np.append(b, scale_c * total.trace_label / total.frames)
                solved = np.linalg.solve(system, right)[:-1]
            else:
                solved = np.linalg.solve(a, b)
        except np.linalg.LinAlgError as err:
            raise DataError(f"the normal equations are singular: {err}") from err
        coefficients = np.zeros(self.size)
        coefficients[free] = solved
        return PairTable(
            self.type_names,
            self.r_max,
            coefficients.reshape(self.pairs, self.width),
            {"wall": walls, **self.quality(coefficients, total)},
        )

    def pair_name(self, row: int) -> str:
        """Names of the two bead types of a row, ``A-B``."""
        a, b = np.argwhere(np.triu(self._index == row))[0]
        return f"{self.type_names[a]}-{self.type_names[b]}"

    def quality(self, coefficients: Array, total: _Sums | None = None) -> dict[str, Any]:
        """Force RMSE, label rms (eV/Å) and mean pressure residual (bar) on the fitted frames."""
        sums = self.total() if total is None else total
        c = coefficients.reshape(-1)
        cross = float(np.dot(c, sums.force_vector))
        square = sums.force_square - 2 * cross + float(c @ sums.force_matrix @ c)
        residual = (float(np.dot(c, sums.trace_mean)) - sums.trace_label) / sums.frames
        return {
            "frames": sums.frames,
            "force_rmse": math.sqrt(max(square, 0.0) / sums.force_rows),
            "force_label_rms": math.sqrt(sums.force_square / sums.force_rows),
            "mean_pressure_residual_bar": float(pressure_bar(residual, 1.0)),
        }

    def errors(self, **options: Any) -> Array:
        """Jackknife standard error of each coefficient over the blocks, (pairs, width).

        Raises:
            DataError: fewer than two blocks.
        """
        filled = [k for k, block in enumerate(self._blocks) if block.frames]
        if len(filled) < 2:
            raise DataError(f"expected at least 2 blocks for error bars, found {len(filled)}")
        samples = np.stack([self.solve(leave_out=k, **options).coefficients for k in filled])
        n = len(filled)
        return np.sqrt((n - 1) / n * ((samples - samples.mean(axis=0)) ** 2).sum(axis=0))


def labelled(frames: Iterable[CGFrame]) -> Iterable[tuple[CGFrame, Array, Array | None]]:
    """Frames with their own labels, for `PairFit.add`.

    Raises:
        DataError: a frame without forces.
    """
    for frame in frames:
        if frame.forces is None:
            raise DataError("the frame has no forces to match", frame=frame.source_frame)
        yield frame, frame.forces, frame.virial
