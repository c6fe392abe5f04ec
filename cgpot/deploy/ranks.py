# SPDX-License-Identifier: GPL-2.0-or-later
"""What a compiled model needs to run on several MPI ranks.

A rank holds owned beads and ghosts, beads that other ranks own.  A model that passes messages
between beads computes rows of features for its owned beads and takes those of ghosts from their
owners before each layer (`cgpot::exchange`, :mod:`cgpot.deploy.operators`).  With a halo as deep as
its layers it computes all rows instead, and energies of ghosts do not count (:class:`OwnedEnergy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from nequip.data import AtomicDataDict
from nequip.nn import scatter

from cgpot.deploy.blocks import GHOSTS_KEY, with_ghosts

BLOCKS: Final = (
    "InteractionBlock",
    "FastInteraction",
    "GhostInteraction",
    "FastSchNetInteraction",
    "GhostSchNetInteraction",
)
"""Modules that pass messages once, by the names of their classes."""
NODE_TYPES: Final = ("NodeTypeEmbed", "PerTypeScaleShift", "AvgNumNeighborsNorm")
"""Modules for which there is a type for each row of features."""


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


class OwnTypes(torch.nn.Module):
    """A module that takes a type for each row of features: those of the computed nodes."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.old = old
        for name in ("irreps_in", "irreps_out"):
            if hasattr(old, name):
                setattr(self, name, getattr(old, name))

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Call the module with the types of the computed nodes."""
        key = AtomicDataDict.ATOM_TYPE_KEY
        types = data[key]
        if GHOSTS_KEY in data:
            data[key] = torch.narrow(types, 0, 0, AtomicDataDict.num_nodes(data))
        data = self.old(data)
        data[key] = types
        return data


class Ghosts(torch.nn.Module):
    """The whole model, where nodes are more than the rows of features."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.old = old
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Keep the types of all nodes where the layers look for them."""
        data[GHOSTS_KEY] = data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)
        return self.old(data)


class GhostInteraction(torch.nn.Module):
    """NequIP's interaction block as it is, with the features of ghosts; shares its modules."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.is_first_layer = old.is_first_layer
        self.exchange_width = old.linear_1.irreps_out.dim
        self.avg_num_neighbors_norm = old.avg_num_neighbors_norm
        self.linear_1, self.linear_2 = old.linear_1, old.linear_2
        self.sc, self.edge_mlp, self.tp_scatter = old.sc, old.edge_mlp, old.tp_scatter
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features (rows, features)."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        own = self.sc(x, data[AtomicDataDict.NODE_ATTRS_KEY]) if self.sc is not None else None
        data[AtomicDataDict.NODE_FEATURES_KEY] = self.linear_1(x)
        data = self.avg_num_neighbors_norm(data)
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        x = with_ghosts(x.detach() if self.is_first_layer else x, data)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].unbind(0)
        harmonics = data[AtomicDataDict.EDGE_ATTRS_KEY]
        weights = self.edge_mlp(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
        rows = AtomicDataDict.num_nodes(data)
        if type(self.tp_scatter).__name__ == "TensorProductScatter":
            messages = self.tp_scatter.tp(torch.index_select(x, 0, neighbor), harmonics, weights)
            x = scatter(messages, center, dim=0, dim_size=rows)
        else:  # other libraries' sum over all nodes
            x = self.tp_scatter(
                x=x, edge_attr=harmonics, edge_weight=weights, edge_dst=center, edge_src=neighbor
            )
            x = torch.index_select(x, 0, torch.arange(rows, device=x.device))
        x = self.linear_2(x)
        data[AtomicDataDict.NODE_FEATURES_KEY] = x if own is None else x + own
        return data


class GhostSchNetInteraction(torch.nn.Module):
    """SchNet's interaction as it is, with the features of ghosts; shares its modules."""

    def __init__(self, old: torch.nn.Module, first: bool) -> None:
        super().__init__()
        self.first = first
        self.exchange_width = int(old.in2f.weight.shape[0])
        self.in2f, self.f2out, self.filter_network = old.in2f, old.f2out, old.filter_network
        self.scale = old.scale
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features (rows, features)."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        features = self.in2f(x)
        features = with_ghosts(features.detach() if self.first else features, data)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].unbind(0)
        filters = self.filter_network(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
        filters = filters * (data[AtomicDataDict.EDGE_CUTOFF_KEY] * self.scale)
        messages = torch.index_select(features, 0, neighbor) * filters
        summed = scatter(messages, center, dim=0, dim_size=x.size(0))
        data[AtomicDataDict.NODE_FEATURES_KEY] = x + self.f2out(summed)
        return data


def only_owned(model: torch.nn.Module) -> None:
    """Let a `GraphModel` leave out the energies of beads that are not owned.

    Raises:
        ValueError: the model sums its energies in another way than NequIP's models.
    """
    found = [
        (parent, name, child)
        for parent, name, child in _children(model)
        if not isinstance(parent, OwnedEnergy)
        and type(child).__name__ == "AtomwiseReduce"
        and getattr(child, "field", None) == AtomicDataDict.PER_ATOM_ENERGY_KEY
    ]
    if not found and any(isinstance(m, OwnedEnergy) for m in model.modules()):
        return
    if len(found) != 1:
        raise ValueError(f"expected one sum of the energies of beads, found {len(found)}")
    parent, name, child = found[0]
    setattr(parent, name, OwnedEnergy(child))


def with_own_rows(model: torch.nn.Module) -> Reach:
    """Let a `GraphModel` compute rows of features for some of the nodes alone, the first ones.

    The inputs may then hold more types of nodes than positions: the others are ghosts, whose
    features `cgpot::exchange` gives to each layer but the first, where they follow from types.

    Raises:
        ValueError: a layer that passes messages in another way than NequIP's and SchNet's.
    """
    for parent, name, child in _children(model):
        if type(child).__name__ in NODE_TYPES and not isinstance(parent, OwnTypes):
            setattr(parent, name, OwnTypes(child))
    widths: list[int] = []
    for parent, name, child in _children(model):
        kind = type(child).__name__
        made = child
        if kind == "InteractionBlock":
            made = GhostInteraction(child)
        elif kind == "SchNetInteraction":
            made = GhostSchNetInteraction(child, first=not widths)
        elif kind == "ConvNetLayer" and type(child.conv).__name__ not in BLOCKS:
            raise ValueError(
                f"a layer of {type(child.conv).__name__}; expected NequIP's interaction block"
            )
        setattr(parent, name, made)
        if type(made).__name__ in BLOCKS:
            widths.append(made.exchange_width)
    if not isinstance(model.model, Ghosts):
        model.model = Ghosts(model.model)
    return Reach(max(1, len(widths)), max(widths[1:], default=0))


def _children(model: torch.nn.Module) -> list[tuple[Any, str, Any]]:
    """Each module with its parent and its name there."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
    ]
