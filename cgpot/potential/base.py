# SPDX-License-Identifier: GPL-2.0-or-later
"""The base below a network: pair splines, and a local-density term beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.frame import CGFrame
from cgpot.potential.density_table import DensityTable
from cgpot.potential.local_density import Exclude, LocalDensityBasis
from cgpot.potential.splines import PairTable

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Base:
    """What is fitted by linear least squares and stands inside the model file.

    Attributes:
        pair: the pair part.
        density: the local-density part, or None.
    """

    pair: PairTable
    density: DensityTable | None = None


def density_labels(
    table: DensityTable, frame: CGFrame, exclude: Exclude | None = None
) -> tuple[Array, Array, float]:
    """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV of a local-density part.

    Args:
        table: of the part.
        frame: the sites.
        exclude: pairs of sites that do not count: frame and pairs -> mask.
    """
    rows = LocalDensityBasis.of(table, exclude).spline_rows(frame)
    c = table.coefficients.ravel()
    energy = 0.0 if rows.energy is None else float(rows.energy @ c)
    return (rows.forces @ c).reshape(-1, 3), rows.virial @ c, energy
