# SPDX-License-Identifier: GPL-2.0-or-later
"""UF3: pair and three-body splines, fitted by linear least squares, run by LAMMPS itself.

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023).  A fast target for distillation: the
labels of a network hold no noise, and energies say how the configurations compare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame
from cgpot.potential.basis import Basis, Joint
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid
from cgpot.training.folder.weights import frame_weights
from cgpot.training.linear.equations import NormalEquations
from cgpot.training.linear.solver import Options, Penalties
from cgpot.training.settings.model_settings import UF3Config

Array = NDArray[np.float64]
BLOCKS = 8


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
    return UF3Potential(table, grid, three, info, model.overlay)
