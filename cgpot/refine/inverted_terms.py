# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonded terms of a start from zero: Boltzmann inversion of the reference's distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.frame import CGFrame
from cgpot.potential.inversion import invert
from cgpot.potential.pair_basis import PairBasis
from cgpot.training.linear.bonded_terms import BondedTerms
from cgpot.training.linear.mscg import MSCGPotential


def inverted(
    terms: BondedTerms,
    frames: Sequence[CGFrame],
    cutoff: float,
    spacing: float,
    temperature: float,
) -> MSCGPotential:
    """Bonded splines by Boltzmann inversion, beside a pair part of nothing.

    Nothing is known yet of the pull of the surroundings (`cgpot.potential.inversion.invert`).

    Args:
        terms: their bases, which observe the frames.
        frames: of the distributions.
        cutoff: of the pair part, Å.
        spacing: of its knots, Å.
        temperature: K.

    Raises:
        DataError: a kind of terms with too few samples (`cgpot.potential.inversion.invert`).
    """
    topology = catalogue(topologies_of(frames))
    exclude = terms.exclusions()
    bare = MSCGPotential(
        topology,
        PairBasis(topology.type_names, cutoff, spacing, temperature, exclude=exclude),
        terms.bonds,
        None,
        np.zeros(0),
        np.zeros((0, 0)),
        {},
        terms.angles,
        terms.dihedrals,
        terms.excluded,
    )
    found = {name: invert(part, frames) for name, part in terms.parts.items()}
    values = [found.get(name, np.zeros(part.size)) for name, part in bare.joint.parts.items()]
    coefficients = np.concatenate(values)
    info = {"bonded": "inversion", "frames": len(frames)}
    empty = np.zeros((0, len(coefficients)))
    return replace(bare, coefficients=coefficients, samples=empty, info=info)
