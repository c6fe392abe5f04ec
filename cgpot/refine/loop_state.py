# SPDX-License-Identifier: GPL-2.0-or-later
"""What the iterations of a refinement share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.units import density_kg_m3
from cgpot.potential.splines import PairTable
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.refine_start import Start
from cgpot.refine.refine_target import Target
from cgpot.training.linear.mscg import MSCGPotential

Array = NDArray[np.float64]


@dataclass
class Loop:
    """What the iterations share."""

    config: RefineConfig
    folder: Path
    start: Start
    target: Target
    basis: CountsBasis
    initial: Array
    """Coefficients (size,) of the start."""
    model: Path | None
    quiet: bool

    def table(self, coefficients: Array, info: dict[str, Any] | None = None) -> PairTable:
        """The pair part of flat coefficients."""
        shape = (self.basis.pairs, self.basis.width)
        return PairTable(
            self.target.topology.type_names,
            self.basis.r_max,
            coefficients[: shape[0] * shape[1]].reshape(shape),
            info or {},
        )

    def linear(self, coefficients: Array) -> MSCGPotential | None:
        """The MS-CG potential, or the bonded part below the network; None without."""
        potential = self.start.linear
        if potential is None:
            return None
        parts = potential.joint.split(potential.coefficients)
        if self.start.kind == "mscg":
            parts["pair"] = self.table(coefficients).coefficients.reshape(-1)
        for rows, block in zip(self.basis.terms, self.basis.term_blocks, strict=True):
            parts[rows.name] = coefficients[block.columns]
        found = np.concatenate(list(parts.values()))
        return replace(potential, coefficients=found, samples=np.zeros((0, len(found))))

    @property
    def density(self) -> float:
        """Density of the CG runs, kg/m^3."""
        mass = float(self.target.topology.masses.sum())
        return float(density_kg_m3(mass, self.target.volume))

    def iteration(self, number: int) -> Path:
        """Folder of an iteration."""
        return self.folder / f"iter.{number:03d}"
