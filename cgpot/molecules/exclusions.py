# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pairs of sites a potential sees: the key ``pairs`` of models and sidecars."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError

SEEN_PAIRS: Final = ("all", "not-1-2", "not-1-3", "not-1-4", "intermolecular")
"""All pairs; those not joined by one (up to two, up to three) bonds; those between molecules."""

TOLERANCE: Final = 1e-9
"""Of fractions of the cell: of two images at half the cell both count as nearest."""


def bonds_left_out(pairs: str) -> int:
    """Pairs joined by up to so many bonds are left out; 0 for ``all`` and ``intermolecular``.

    Raises:
        ConfigError: none of `SEEN_PAIRS`.

    >>> bonds_left_out("not-1-3")
    2
    """
    if pairs not in SEEN_PAIRS:
        raise ConfigError(f"expected one of {', '.join(SEEN_PAIRS)}, found {pairs!r}", key="pairs")
    return SEEN_PAIRS.index(pairs) % 4


def nearest_image(
    vectors: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether vectors are those of nearest images: no fraction of the cell beyond a half.

    Args:
        vectors: (n, 3) from one site to the other, in the unit of the cell.
        cell: (3, 3) rows.
        pbc: (3,) periodic directions; others do not count.
    """
    fraction = vectors @ np.linalg.inv(cell)
    within = (np.abs(fraction) <= 0.5 + TOLERANCE) | ~np.asarray(pbc, dtype=bool)
    return np.asarray(within.all(axis=1))


def seen_mask(
    pairs: str,
    distance: NDArray[np.int64],
    vectors: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which pairs of a neighbour list a potential sees.

    A pair that is left out is left out in its nearest image alone, as in LAMMPS with the plugin.

    Args:
        pairs: one of `SEEN_PAIRS`.
        distance: (n,) bonds between the two sites as `Topology.bond_distance_of` gives them: 1, 2,
            3, 4 for more of one molecule, 0 between molecules.
        vectors: (n, 3) from the first site to that image of the second.
        cell: (3, 3) rows.
        pbc: (3,) periodic directions.

    Raises:
        ConfigError: `pairs` is none of `SEEN_PAIRS`.
    """
    most = bonds_left_out(pairs)
    hidden = distance > 0
    if pairs != "intermolecular":
        hidden &= distance <= most
    return ~(hidden & nearest_image(vectors, cell, pbc))
