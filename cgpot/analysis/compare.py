# SPDX-License-Identifier: GPL-2.0-or-later
"""How a CG g(r) differs from the atomistic one, and by how much it would by chance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgpot.analysis.pairs import PairRDF
from cgpot.molecules.rdf import rdf_error

BOOTSTRAPS = 200
BOOTSTRAP_SEED = 7


def compare_rdf(cg: PairRDF, reference: PairRDF) -> dict[str, Any]:
    """RDF error and first-peak differences of one pair of bead types.

    ``rdf_error`` is the integral of |g_CG - g_AA| over that of g_AA up to the last bin.  Its
    error comes from drawing the blocks of both runs again with replacement (200 times);
    ``rdf_error_noise`` is what two runs of the same system with these block errors would
    give on average (half-normal mean, sqrt(2/pi) sigma a bin).

    Raises:
        DataError: the bins differ.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    draws = [
        rdf_error(
            cg.blocks[rng.integers(len(cg.blocks), size=len(cg.blocks))].mean(axis=0),
            reference.blocks[rng.integers(len(reference.blocks), size=len(reference.blocks))].mean(
                axis=0
            ),
        )
        for _ in range(BOOTSTRAPS)
    ]
    sigma = np.sqrt(cg.error**2 + reference.error**2)
    a, b = cg.peak(), reference.peak()
    relative = (a["height"] - b["height"]) / b["height"]
    return {
        "rdf_error": rdf_error(cg.g, reference.g),
        "rdf_error_error": float(np.std(draws)),
        "rdf_error_noise": float(math.sqrt(2.0 / math.pi) * sigma.sum() / reference.g.sum()),
        "first_peak_height_rel_error": relative,
        "first_peak_height_rel_error_error": (1.0 + relative)
        * math.hypot(a["height_error"] / a["height"], b["height_error"] / b["height"]),
        "first_peak_shift_A": a["position"] - b["position"],
        "first_peak_shift_error_A": math.hypot(a["position_error"], b["position_error"]),
    }


def halves_error(rdf: PairRDF) -> float:
    """RDF error of the second half (or replicas) against the first."""
    return rdf_error(rdf.halves[1], rdf.halves[0])
