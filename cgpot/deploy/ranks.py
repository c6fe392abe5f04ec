# SPDX-License-Identifier: GPL-2.0-or-later
"""What a compiled model needs to run on several MPI ranks.

A rank holds owned beads and ghosts, beads that other ranks own.  Energies of ghosts do not count
(:class:`OwnedEnergy`), and a model that passes messages between beads exchanges the features of
ghosts between its layers (`cgpot::exchange`, :mod:`cgpot.deploy.operators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from nequip.data import AtomicDataDict

LAYERS = ("ConvNetLayer", "SchNetInteraction", "FastSchNetInteraction")
"""Modules that pass messages once, by the names of their classes."""


@dataclass(frozen=True)
class Reach:
    """How a model passes messages.

    Attributes:
        layers: steps over which a bead's energy depends on others; 1 for strictly local models.
        exchange_width: widest row of features that is exchanged; 0 where none is.
    """

    layers: int
    exchange_width: int

    def metadata(self) -> dict[str, str]:
        """The strings that the pair style reads from the archive."""
        return {
            "cgpot_layers": str(self.layers),
            "cgpot_exchange_width": str(self.exchange_width),
        }


class OwnedEnergy(torch.nn.Module):
    """The sum over beads, without those that another rank owns."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.old = old
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Set energies of beads that are not owned to zero before they are summed."""
        key = AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY
        if key in data:
            energy = data[AtomicDataDict.PER_ATOM_ENERGY_KEY]
            number = torch.arange(energy.shape[0], device=energy.device)
            owned = (number < data[key][0, 0]).to(energy.dtype)
            data[AtomicDataDict.PER_ATOM_ENERGY_KEY] = energy * owned.unsqueeze(-1)
        return self.old(data)


class FeatureExchange(torch.nn.Module):
    """In the place of NequIP's module for ghosts: `cgpot::exchange` of the node features."""

    def forward(
        self, data: AtomicDataDict.Type, ghost_included: bool = False
    ) -> AtomicDataDict.Type:
        """Fill the rows of ghosts."""
        key = AtomicDataDict.NODE_FEATURES_KEY
        data[key] = torch.ops.cgpot.exchange(data[key])
        return data


def only_owned(model: torch.nn.Module) -> None:
    """Let a `GraphModel` leave out the energies of beads that are not owned.

    Raises:
        ValueError: the model sums its energies in another way than NequIP's models.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        if not isinstance(parent, OwnedEnergy)
        for name, child in parent.named_children()
        if type(child).__name__ == "AtomwiseReduce"
        and getattr(child, "field", None) == AtomicDataDict.PER_ATOM_ENERGY_KEY
    ]
    if not found and any(isinstance(m, OwnedEnergy) for m in model.modules()):
        return
    if len(found) != 1:
        raise ValueError(f"expected one sum of the energies of beads, found {len(found)}")
    parent, name, child = found[0]
    setattr(parent, name, OwnedEnergy(child))


def exchange_features(model: torch.nn.Module) -> Reach:
    """Let a `GraphModel` exchange the features of ghosts before each layer but the first.

    Models without layers that pass messages (Allegro, pair potentials) are left as they are;
    layers of other kinds than NequIP's, or without `cgpot::exchange`, reach by halos alone.
    """
    layers: list[Any] = [m for m in model.modules() if type(m).__name__ in LAYERS]
    widths = []
    complete = True
    for layer in layers[1:]:
        block = getattr(layer, "conv", layer)
        if type(block).__name__ == "InteractionBlock":
            block.ghost_exchange = FeatureExchange()
            widths.append(block.linear_1.irreps_out.dim)
        elif hasattr(block, "exchange_width"):
            widths.append(block.exchange_width)
        else:
            complete = False
    return Reach(max(1, len(layers)), max(widths, default=0) if complete else 0)
