# SPDX-License-Identifier: GPL-2.0-or-later
"""A guard: what is right for molecules of one site only refuses any others by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.molecules.frame import Topology


def require_single_sites(topology: Topology, what: str, *, file: str | Path | None = None) -> None:
    """Refuse molecules of several sites where nothing holds them together.

    Args:
        topology: the sites.
        what: subject of the message, as ``network training``.
        file: where the sites come from.

    Raises:
        InputError: names the first molecule of several sites.
    """
    _, counts = np.unique(topology.molecules, return_counts=True)
    if not (counts > 1).any():
        return
    molecules, first = np.unique(topology.molecules, return_index=True)
    order = np.argsort(first)
    number = next(int(k) for k in order if counts[k] > 1)
    sites = np.flatnonzero(topology.molecules == molecules[number])
    names = "-".join(topology.names[s] for s in sites[:8])
    raise InputError(
        f"{what} takes molecules of one site only, but molecule {int(molecules[number])} has "
        f"{len(sites)} ({names}{'...' if len(sites) > 8 else ''}): expected a network or "
        "a model of type mscg with bonds, which hold them together",
        file=file,
    )
