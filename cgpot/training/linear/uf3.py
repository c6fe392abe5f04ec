# SPDX-License-Identifier: GPL-2.0-or-later
"""UF3: pair and three-body splines, fitted by linear least squares, run by LAMMPS itself.

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023).  A fast target for distillation: the
labels of a network hold no noise, and energies say how the configurations compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_record, write_json
from cgpot.molecules.frame import CGFrame
from cgpot.potential.basis import Basis, Joint
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_files import pair_block, short_pair, triplet_block, write_uf3
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid
from cgpot.training.folder.weights import frame_weights
from cgpot.training.linear.equations import NormalEquations
from cgpot.training.linear.solver import Options, Penalties
from cgpot.training.settings.model_settings import UF3Config

Array = NDArray[np.float64]
FORMAT = "cgpot-uf3-1"
BLOCKS = 8


@dataclass(frozen=True)
class UF3Potential:
    """A fitted UF3 potential.

    Attributes:
        pair: the two-body part.
        grid: knots of the three-body part; None without one.
        three: its coefficients, eV, as `ThreeBody` orders them.
        info: facts about the fit (plain data).
    """

    pair: PairTable
    grid: ThreeBodyGrid | None
    three: Array
    info: dict[str, Any]

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.pair.type_names

    @property
    def cutoff(self) -> float:
        """Largest distance at which two beads act on each other, Å."""
        return max(self.pair.r_max, self.grid.cutoff if self.grid is not None else 0.0)

    def basis(self) -> tuple[Joint, Array]:
        """The basis and the coefficients in its order."""
        parts: dict[str, Basis] = {
            "pair": PairBasis(self.type_names, self.pair.r_max, self.pair.spacing, temperature=1.0)
        }
        coefficients = [self.pair.coefficients.ravel()]
        if self.grid is not None:
            parts["three"] = ThreeBody(self.type_names, self.grid)
            coefficients.append(self.three)
        return Joint(parts), np.concatenate(coefficients)

    def labels(self, frame: CGFrame) -> Labels:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV on a frame."""
        joint, c = self.basis()
        return joint.labels(c, frame)

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        grid = self.grid
        record = {
            "format": FORMAT,
            "type_names": list(self.type_names),
            "pair": {
                "r_max_A": self.pair.r_max,
                "coefficients_eV": self.pair.coefficients.tolist(),
            },
            "three_body": None
            if grid is None
            else {
                "inner_A": grid.inner,
                "cutoff_A": grid.cutoff,
                "intervals": grid.intervals,
                "coefficients_eV": self.three.tolist(),
            },
            "info": self.info,
        }
        return write_json(path, record)

    @classmethod
    def read(cls, path: str | Path) -> UF3Potential:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or coefficients of the wrong number.
        """
        record = read_record(path, FORMAT, "a UF3 potential")
        try:
            names = tuple(record["type_names"])
            pair = PairTable(
                names,
                float(record["pair"]["r_max_A"]),
                np.asarray(record["pair"]["coefficients_eV"], dtype=np.float64),
                {},
            )
            three = record["three_body"]
            grid, c = None, np.zeros(0)
            if three is not None:
                grid = ThreeBodyGrid(three["inner_A"], three["cutoff_A"], three["intervals"])
                c = np.asarray(three["coefficients_eV"], dtype=np.float64)
        except KeyError as err:
            raise InputError("the key is missing", file=path, key=str(err.args[0])) from err
        if grid is not None and c.shape != (ThreeBody(names, grid).size,):
            raise InputError(
                f"expected {ThreeBody(names, grid).size} coefficients, found {c.size}",
                file=path,
                key="three_body",
            )
        return cls(pair, grid, c, dict(record.get("info", {})))

    def write_lammps(self, path: str | Path, *, pair: bool = True) -> Path:
        """Write the file of ``pair_style uf3``.

        Args:
            path: the file.
            pair: with the pair part; otherwise it is zero, for ``hybrid/overlay`` with a table
                (half the time in the pairs), and there must be a three-body part.
        """
        table = self.pair
        if not pair and self.grid is not None:
            table = short_pair(self.pair, self.grid.cutoff)
        names = self.type_names
        blocks = []
        row = 0
        for a in range(len(names)):
            for b in range(a, len(names)):
                blocks.append(
                    pair_block((names[a], names[b]), table.coefficients[row], table.spacing)
                )
                row += 1
        if self.grid is not None:
            grid = self.grid
            basis = ThreeBody(names, grid)
            for (centre, a, b), tensor in zip(basis.blocks, basis.tensors(self.three), strict=True):
                blocks.append(
                    triplet_block(
                        (names[centre], names[a], names[b]),
                        tensor,
                        cutoff=grid.cutoff,
                        short_knots=grid.knots(grid.intervals),
                        long_knots=grid.knots(grid.long_intervals),
                    )
                )
        return write_uf3(path, blocks)


def fit_uf3(
    model: UF3Config,
    frames: Sequence[CGFrame],
    temperature: float,
    *,
    stress: bool,
    weights: Sequence[float] | Array | None = None,
    quiet: bool = False,
) -> UF3Potential:
    """Fit UF3 to the forces, virials and energies of frames.

    Args:
        model: section ``model`` of train.yaml.
        frames: with forces; virials and energies are used where all frames have them.
        temperature: K, for the repulsive wall where no pair was seen.
        stress: use the virials (weights of the section ``model``).
        weights: of the frames (`cgpot.training.folder.weights.frame_weights`); None: their own.
        quiet: no progress bar.

    Raises:
        DataError: too few pairs, labels missing or a singular system.
    """
    names = frames[0].topology.type_names
    pair = PairBasis(names, model.cutoff, model.spacing, temperature)
    parts: dict[str, Basis] = {"pair": pair}
    grid = None
    if model.three_body_cutoff is not None:
        grid = ThreeBodyGrid(
            model.three_body_inner, model.three_body_cutoff, model.three_body_intervals
        )
        parts["three"] = ThreeBody(names, grid)
    joint = Joint(parts)
    weights = frame_weights(frames) if weights is None else weights
    equations = NormalEquations(joint.size)
    energies = model.energy != 0 and all(frame.energy is not None for frame in frames)
    stress = stress and all(frame.virial is not None for frame in frames)
    equations.add_frames(
        joint,
        frames,
        weights,
        virials=stress,
        energies=energies,
        blocks=BLOCKS,
        title="uf3 fit",
        quiet=quiet,
    )
    penalties = Penalties.of(joint)
    options = Options(
        virial_weight=model.virial if stress and model.virial is not None else 0.0,
        energy_weight=model.energy if energies else 0.0,
        match_mean_virial=stress and model.match_mean_virial,
        smooth=model.smooth,
        ridge=model.ridge,
    )
    c = equations.solve(penalties, options)
    split = joint.split(c)
    walls = {pair.pair_name(row): pair.wall(row).as_dict() for row in range(pair.pairs)}
    info = {
        "wall": walls,
        "fitted": int(penalties.free.sum()),
        "virial_rows": stress,
        "energy_rows": energies,
        **equations.quality(c),
    }
    if len(equations.filled()) > 1:
        info["force_rmse_cross_validation"] = equations.cross_validation(
            lambda block: equations.solve(penalties, options, leave_out=block)
        )
    table = PairTable(names, pair.r_max, split["pair"].reshape(pair.pairs, pair.width), {})
    three = split["three"] if grid is not None else np.zeros(0)
    return UF3Potential(table, grid, three, info)
