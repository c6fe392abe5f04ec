# SPDX-License-Identifier: GPL-2.0-or-later
"""Distance between the two ends of unbranched chains, by species."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.chains import SizeHistogram, chain_ends
from cgpot.molecules.species import Species

Array = NDArray[np.float64]


class EndToEnd(SizeHistogram):
    """Distribution of the end-to-end distance; rings and branched molecules have none."""

    name = "end_to_end"
    title = "End-to-end distance"
    what = "end-to-end distance"
    axis = "end-to-end distance / Å"
    caption = (
        "Distance between the first and the last bead along the bonds of a chain, in whole "
        "molecules. Grey band: two standard errors of the atomistic reference."
    )

    def applies(self, kind: Species) -> bool:
        """Whether it is an unbranched chain of three sites or more."""
        return chain_ends(kind) is not None

    def sizes(self, kind: Species, sites: Array, masses: Array) -> Array:
        """Distance of the ends, Å."""
        ends = chain_ends(kind)
        if ends is None:
            raise RuntimeError(f"{kind.name} is no chain")
        return np.asarray(np.linalg.norm(sites[:, ends[1]] - sites[:, ends[0]], axis=1))
