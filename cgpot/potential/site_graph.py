# SPDX-License-Identifier: GPL-2.0-or-later
"""A frame as a graph: sites and edges within a cutoff, as NequIP's models take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgpot.molecules.exclusions import seen_mask
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import neighbour_images
from cgpot.potential.graph_keys import TEMPERATURE_KEY


def neighbours(frame: CGFrame, r_max: float, pairs: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """Edges (2, E), centres ascending, and their cell shifts (E, 3), both small integers.

    Args:
        frame: the sites.
        r_max: cutoff, Å.
        pairs: which pairs of sites the model sees (`cgpot.molecules.exclusions.SEEN_PAIRS`).
    """
    found = neighbour_images(frame.positions, frame.cell, r_max, frame.pbc)
    i, j, shift = found.i, found.j, found.shift
    if pairs != "all":
        distance = frame.topology.bond_distance_of(i, j)
        seen = seen_mask(pairs, distance, found.vector, frame.cell, np.asarray(frame.pbc))
        i, j, shift = i[seen], j[seen], shift[seen]
    order = np.lexsort((j, i))
    edges = np.stack([i[order], j[order]])
    return edges.astype(np.int32), shift[order].astype(np.int16)


def bare_graph(
    frame: CGFrame, edges: np.ndarray, shifts: np.ndarray, *, temperature: bool = False
) -> dict[str, Any]:
    """One frame as NequIP's dictionary (float64), without labels.

    Args:
        frame: the sites.
        edges, shifts: of `neighbours`.
        temperature: add that of the frame as an input.
    """
    import torch
    from nequip.data import AtomicDataDict

    n = frame.topology.n_sites
    data: dict[str, Any] = {
        AtomicDataDict.POSITIONS_KEY: torch.from_numpy(frame.positions),
        AtomicDataDict.CELL_KEY: torch.from_numpy(frame.cell).view(1, 3, 3),
        AtomicDataDict.PBC_KEY: torch.tensor([list(frame.pbc)]),
        AtomicDataDict.ATOM_TYPE_KEY: torch.from_numpy(frame.topology.types),
        AtomicDataDict.EDGE_INDEX_KEY: torch.from_numpy(edges).to(torch.int64),
        AtomicDataDict.EDGE_CELL_SHIFT_KEY: torch.from_numpy(shifts).to(torch.float64),
        AtomicDataDict.BATCH_KEY: torch.zeros(n, dtype=torch.int64),
        AtomicDataDict.NUM_NODES_KEY: torch.tensor([n]),
    }
    if temperature and frame.temperature is not None:
        data[TEMPERATURE_KEY] = torch.tensor([[frame.temperature]], dtype=torch.float64)
    return data


def site_graph(
    frame: CGFrame, r_max: float, pairs: str = "all", *, temperature: bool = False
) -> dict[str, Any]:
    """One frame with its neighbours as NequIP's dictionary; see `neighbours` and `bare_graph`."""
    return bare_graph(frame, *neighbours(frame, r_max, pairs), temperature=temperature)
