# SPDX-License-Identifier: GPL-2.0-or-later
"""Angles between bonds, by kind of angle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.term_values import TermHistogram, angle

Array = NDArray[np.float64]
BINS = 90


class BondAngles(TermHistogram):
    """Distribution of the angles along bonds."""

    name = "bond_angles"
    title = "Bond angles"
    what = "bond angle"
    axis = "angle / °"
    x_key = "theta_deg"
    p_key = "p_per_deg"
    unit = "°"
    largest = 180.0
    limit = "bonded_overlap"
    headlines: ClassVar[dict[str, str]] = {
        "angle_overlap": "overlap of the distributions of bond angles, of the worst kind",
        "angle_overlap_error": "its standard error",
    }
    width = 3
    caption = (
        "Angles between two bonds (probability per degree, not per solid angle). Grey band: two "
        "standard errors of the atomistic reference. The overlap is the area below both curves."
    )

    def bin_edges(self) -> Array:
        """0 to 180 degrees in steps of 2."""
        return np.linspace(0.0, 180.0, BINS + 1)

    def values(self, sites: Array) -> Array:
        """Angles at the middle site, degrees."""
        return angle(sites[:, 0] - sites[:, 1], sites[:, 2] - sites[:, 1])
