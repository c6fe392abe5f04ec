# SPDX-License-Identifier: GPL-2.0-or-later
"""Lengths of bonds, by kind of bond."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.term_values import TermHistogram

Array = NDArray[np.float64]
WIDTH = 0.02
"""Of a bin, Å."""
LONGEST = 20.0
"""Å; longer bonds, of molecules that came apart, are counted in the last bin."""


class BondLengths(TermHistogram):
    """Distribution of the lengths of bonds."""

    name = "bond_lengths"
    title = "Bond lengths"
    what = "bond length"
    axis = "length / Å"
    limit = "bonded_overlap"
    headlines: ClassVar[dict[str, str]] = {
        "bond_overlap": "overlap of the distributions of bond lengths, of the worst kind",
        "bond_overlap_error": "its standard error",
    }
    width = 2
    caption = (
        "Lengths of the bonds between beads. Grey band: two standard errors of the atomistic "
        "reference. The overlap is the area below both curves."
    )

    def bin_edges(self) -> Array:
        """0 to 20 Å in steps of 0.02 Å."""
        return np.linspace(0.0, LONGEST, round(LONGEST / WIDTH) + 1)

    def values(self, sites: Array) -> Array:
        """Lengths, Å."""
        return np.asarray(np.linalg.norm(sites[:, 1] - sites[:, 0], axis=1))
