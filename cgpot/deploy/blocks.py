# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules that take the place of a network's own, with tabulated radial functions."""

from __future__ import annotations

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import with_edge_type_

from cgpot.deploy.operators import Plan, coupling
from cgpot.deploy.radial import RadialTable, Table
from cgpot.deploy.vectors import edge_vectors

GHOSTS_KEY = "with_ghosts"
"""In the data where nodes are more than the rows of features: types of all nodes, ghosts last."""


def with_ghosts(x: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
    """Features of all nodes from those of the computed ones, see `cgpot::exchange`."""
    types = data.get(GHOSTS_KEY)
    return x if types is None else torch.ops.cgpot.exchange(x, types)


class Convolution(torch.nn.Module):
    """One call of `cgpot::convolve` with its table.

    Args:
        plan: the tensor product.
        table: a function for each channel of each path, in the order of the plan.
        dtype: of the features.
    """

    def __init__(self, plan: Plan, table: Table, dtype: torch.dtype) -> None:
        super().__init__()
        columns = plan.columns()
        rows = np.zeros((len(table.coefficients), columns[-1]))
        at = 0
        for path in range(len(plan.paths)):
            width = plan.channels(path)
            rows[:, columns[path] : columns[path] + width] = table.coefficients[:, at : at + width]
            at += width
        self.code = plan.code()
        self.r_max = float(table.r_max)
        self.register_buffer("table", torch.as_tensor(rows, dtype=dtype))

    def forward(self, x: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
        """Sums over the neighbours of each computed node, (rows, width of the plan)."""
        return torch.ops.cgpot.convolve(
            x,
            edge_vectors(data),
            data[AtomicDataDict.EDGE_INDEX_KEY],
            self.table,
            self.r_max,
            self.code,
            AtomicDataDict.num_nodes(data),
        )


class PlainConvolution(torch.nn.Module):
    """The same sums by plain torch operations, on any device and for any l.

    They are written so that Inductor fuses the table, the coupling and the sum over neighbours of
    a path into one loop over edges.

    Args:
        plan: the tensor product.
        table: a function for each channel of each path, in the order of the plan.
        dtype: of the features.
    """

    def __init__(self, plan: Plan, table: Table, dtype: torch.dtype) -> None:
        super().__init__()
        self.plan = plan
        self.radial = RadialTable(table, dtype)
        for k, (source, edge, out) in enumerate(plan.paths):
            # (edge component, component of the feature * component of the result)
            symbols = coupling(plan.irreps[source][0], edge, out).transpose(0, 1).flatten(1)
            self.register_buffer(f"coupling{k}", symbols.to(dtype), persistent=False)

    def forward(self, x: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
        """Sums over the neighbours of each computed node, (rows, width of the plan)."""
        rows = AtomicDataDict.num_nodes(data)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].unbind(0)
        weights = self.radial(data[AtomicDataDict.EDGE_LENGTH_KEY])
        parts, at = [], 0
        for degree, channels in self.plan.irreps:
            width = channels * (2 * degree + 1)
            parts.append(x[:, at : at + width].view(-1, channels, 2 * degree + 1))
            at += width
        sums, column = [], 0
        for k, (source, edge, out) in enumerate(self.plan.paths):
            degree, channels = self.plan.irreps[source]
            feature = torch.index_select(parts[source], 0, neighbor)
            weight = weights[:, column : column + channels].unsqueeze(-1)
            column += channels
            symbols = getattr(self, f"coupling{k}")
            if edge == 0:  # the coupling is a multiple of the unit matrix
                message = feature * (weight * symbols[0, 0])
            else:
                harmonics = data[AtomicDataDict.EDGE_ATTRS_KEY][:, edge**2 : (edge + 1) ** 2]
                turned = torch.mm(harmonics, symbols).view(-1, 1, 2 * degree + 1, 2 * out + 1)
                message = (feature.unsqueeze(-1) * turned).sum(2) * weight
            total = message.new_zeros(rows, channels, 2 * out + 1)
            sums.append(total.index_add(0, center, message).flatten(1))
        return torch.cat(sums, dim=1)


class FastPair(torch.nn.Module):
    """A pair spline by `cgpot::pair_energy`."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.field = old.per_atom_energy_field
        self.r_max = float(old.r_max)
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out
        self.register_buffer("coefficients", old.coefficients.detach().double())
        self.register_buffer("rows", old.rows.detach().clone())

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add half of u(r) of each edge to the energy of its centre."""
        energy = torch.ops.cgpot.pair_energy(
            edge_vectors(data),
            data[AtomicDataDict.EDGE_INDEX_KEY],
            data[AtomicDataDict.ATOM_TYPE_KEY].view(-1),
            self.coefficients,
            self.rows,
            self.r_max,
            AtomicDataDict.num_nodes(data),
        )
        if self.field in data:
            energy = energy + data[self.field]
        data[self.field] = energy
        return data


class FastInteraction(torch.nn.Module):
    """NequIP's interaction block with another convolution; shares the modules of the old one.

    Args:
        old: NequIP's.
        convolution: sums messages.
        by_type: (types, features) what the first layer passes on for a bead of each type; None
            in the others.
    """

    def __init__(
        self, old: torch.nn.Module, convolution: torch.nn.Module, by_type: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.exchange_width = old.linear_1.irreps_out.dim
        self.register_buffer("by_type", by_type)
        self.avg_num_neighbors_norm = old.avg_num_neighbors_norm
        self.linear_1 = old.linear_1
        self.linear_2 = old.linear_2
        self.sc = old.sc
        self.convolution = convolution
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        own = self.sc(x, data[AtomicDataDict.NODE_ATTRS_KEY]) if self.sc is not None else None
        if self.by_type is not None:
            x = torch.index_select(self.by_type, 0, data[AtomicDataDict.ATOM_TYPE_KEY].view(-1))
        else:
            data[AtomicDataDict.NODE_FEATURES_KEY] = self.linear_1(x)
            data = self.avg_num_neighbors_norm(data)
            x = with_ghosts(data[AtomicDataDict.NODE_FEATURES_KEY], data)
        x = self.linear_2(self.convolution(x, data))
        data[AtomicDataDict.NODE_FEATURES_KEY] = x if own is None else x + own
        return data


class FastSchNetInteraction(torch.nn.Module):
    """SchNet's interaction with another convolution; shares the dense layers of the old one.

    Args:
        old: SchNet's.
        convolution: sums messages.
        by_type: (types, filters) what the first layer passes on for a bead of each type; None in
            the others.
    """

    def __init__(
        self, old: torch.nn.Module, convolution: torch.nn.Module, by_type: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.in2f, self.f2out = old.in2f, old.f2out
        self.register_buffer("by_type", by_type)
        self.exchange_width = int(old.in2f.weight.shape[0])
        self.convolution = convolution
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features (nodes, features)."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        if self.by_type is not None:
            types = data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)
            features = torch.index_select(self.by_type, 0, types)
        else:
            features = with_ghosts(self.in2f(x), data)
        data[AtomicDataDict.NODE_FEATURES_KEY] = x + self.f2out(self.convolution(features, data))
        return data


class Columns(torch.nn.Module):
    """Some of the columns of a matrix, in the place of a linear layer whose results they are."""

    is_nonlinear = False

    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.start, self.width = start, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Columns of (rows, columns)."""
        return torch.narrow(x, -1, self.start, self.width)


class NodeContracter(torch.nn.Module):
    """Allegro's tensor product, the sum over the environment's components done at the nodes.

    All edges of a centre share its environment: contracting that with the weighted couplings
    first leaves (2l + 1)^2 products an edge and channel of what were (2l + 1)^3.

    Args:
        old: the contracter with its weights, which are fixed.
    """

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.mul, self.dim1, self.dim2 = old.mul, old.base_dim1, old.base_dim2
        with torch.no_grad():
            weighted = torch.einsum(old._weight_w3j_einstr, old.weights, old.w3j)
        self.dim_out = weighted.shape[-1]
        # (channels, environment component, component of the edge * of the result)
        weighted = weighted.expand(self.mul, self.dim1, self.dim2, self.dim_out)
        self.register_buffer(
            "weighted", weighted.transpose(1, 2).flatten(2).contiguous(), persistent=False
        )

    def forward(self, x1: torch.Tensor, x2: torch.Tensor, idxs: torch.Tensor) -> torch.Tensor:
        """Products of edges' tensors (edges, channels, ·) with those of their centres."""
        x1 = x1.reshape(-1, self.mul, self.dim1)
        x2 = x2.reshape(-1, self.mul, self.dim2)
        turned = torch.bmm(x2.transpose(0, 1), self.weighted).transpose(0, 1)
        turned = torch.index_select(turned.reshape(-1, self.mul, self.dim1, self.dim_out), 0, idxs)
        return (x1.unsqueeze(-1) * turned).sum(2)


class TwoBodyTable(torch.nn.Module):
    """Allegro's two-body embedding, and what is linear in it, as functions of r and two types.

    Args:
        old: the last module of the embedding, for its irreps.
        table: functions of each pair of types.
        types: number of types.
        dtype: of the model.
    """

    def __init__(self, old: torch.nn.Module, table: Table, types: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.types = types
        self.radial = RadialTable(table, dtype, types * types)
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Set the edge embedding."""
        data = with_edge_type_(data)
        center, neighbor = data[AtomicDataDict.EDGE_TYPE_KEY].unbind(0)
        data[AtomicDataDict.EDGE_EMBEDDING_KEY] = self.radial(
            data[AtomicDataDict.EDGE_LENGTH_KEY], center * self.types + neighbor
        )
        return data
