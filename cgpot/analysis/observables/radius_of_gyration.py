# SPDX-License-Identifier: GPL-2.0-or-later
"""Radius of gyration of molecules of several sites, by species.

R_g^2 = sum_i m_i |r_i - R|^2 / sum_i m_i with R the mass centre; the sites are points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.chains import SizeHistogram
from cgpot.molecules.species import Species

Array = NDArray[np.float64]


class RadiusOfGyration(SizeHistogram):
    """Distribution of the radius of gyration."""

    name = "radius_of_gyration"
    title = "Radius of gyration"
    what = "radius of gyration"
    axis = "radius of gyration / Å"
    caption = (
        "Mass-weighted radius of gyration of the beads of whole molecules. Grey band: two standard "
        "errors of the atomistic reference."
    )

    def sizes(self, kind: Species, sites: Array, masses: Array) -> Array:
        """R_g, Å."""
        weights = masses / masses.sum()
        centre = np.einsum("s,msa->ma", weights, sites)
        away = sites - centre[:, None, :]
        return np.asarray(np.sqrt(np.einsum("s,msa,msa->m", weights, away, away)))
