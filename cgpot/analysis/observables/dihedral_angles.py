# SPDX-License-Identifier: GPL-2.0-or-later
"""Dihedral angles along bonds, by kind of dihedral."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.term_values import TermHistogram, dihedral

Array = NDArray[np.float64]
BINS = 72


class Dihedrals(TermHistogram):
    """Distribution of the dihedral angles along bonds."""

    name = "dihedrals"
    title = "Dihedral angles"
    what = "dihedral angle"
    axis = "dihedral / °"
    x_key = "phi_deg"
    p_key = "p_per_deg"
    unit = "°"
    limit = "bonded_overlap"
    headlines: ClassVar[dict[str, str]] = {
        "dihedral_overlap": "overlap of the distributions of dihedral angles, of the worst kind",
        "dihedral_overlap_error": "its standard error",
    }
    periodic = True
    width = 4
    caption = (
        "Dihedral angles of four beads along bonds, 0 is cis. Grey band: two standard errors of "
        "the atomistic reference. The overlap is the area below both curves."
    )

    def bin_edges(self) -> Array:
        """-180 to 180 degrees in steps of 5."""
        return np.linspace(-180.0, 180.0, BINS + 1)

    def values(self, sites: Array) -> Array:
        """Dihedrals, degrees."""
        return dihedral(sites)
