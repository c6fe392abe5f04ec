# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as good enough."""

from __future__ import annotations

from pydantic import Field

from cgpot.core.config import StrictModel


class Limits(StrictModel):
    """Bars that the CG model is held against; null takes a check out of the verdict."""

    rdf_error: float | None = Field(
        default=0.03, gt=0, description="RDF error, integral of |Δg| over g"
    )
    first_peak_height_rel_error: float | None = Field(
        default=0.02, gt=0, description="relative difference of the first peak's height"
    )
    bonded_overlap: float | None = Field(
        default=0.97,
        gt=0,
        lt=1,
        description="overlap of the distributions of bonds, angles and dihedrals",
    )
    pressure_bar: float | None = Field(
        default=100.0, gt=0, description="difference of the mean pressures at one density, bar"
    )
    density_rel: float | None = Field(
        default=0.01, gt=0, description="relative difference of the densities at 1 atm"
    )
    stable_ns: float | None = Field(default=1.0, gt=0, description="NVT time without a failure, ns")
    force_rmse_below_pair_fit: bool = Field(
        default=True,
        description="held-out force RMSE below that of the pair fit on the same frames",
    )
    energy_drift_per_ps: float | None = Field(
        default=None, gt=0, description="NVE drift per kinetic energy and ps"
    )
    reference_share: float = Field(
        default=1 / 3,
        gt=0,
        le=1,
        description="share of a bar that the reference's own error may take",
    )
