# SPDX-License-Identifier: GPL-2.0-or-later
"""The section ``local_density`` of a prior and of a model of type mscg."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cgpot.core.config import StrictModel
from cgpot.molecules.frame import Topology


class LocalDensitySection(StrictModel):
    """An energy F(rho) of each site, rho the number of neighbours weighted by their distance."""

    cutoff: float = Field(
        default=7.0, gt=0, description="Å; neighbours farther away do not count; see also `weight`"
    )
    knots: int = Field(
        default=8, ge=4, description="intervals of the spline F over the sampled densities"
    )
    weight: Literal["count", "mass"] = Field(
        default="count",
        description="of a neighbour: count: 1; mass: its mass, over the mean of the bead types",
    )

    def weights(self, topology: Topology) -> tuple[float, ...]:
        """Weight of a neighbour of each type."""
        masses = np.asarray(topology.type_masses, dtype=np.float64)
        if self.weight == "count":
            return tuple(1.0 for _ in masses)
        return tuple((masses / masses.mean()).tolist())
