# SPDX-License-Identifier: GPL-2.0-or-later
"""SchNet as modules of the NequIP framework.

Schuett, Sauceda, Kindermans, Tkatchenko, Mueller, J. Chem. Phys. 148, 241722 (2018).  Widths,
cutoff, biases, start values and names of the weights are those of schnetpack 2, whose `SchNet`
with an `Atomwise` output and shifted softplus gives the same energies and forces with the same
weights.  The module imports torch, e3nn and nequip alone: it goes into packaged models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from e3nn.o3._irreps import Irreps
from nequip.data import AtomicDataDict
from nequip.nn import GraphModuleMixin, scatter
from nequip.utils.global_dtype import _GLOBAL_DTYPE


class ShiftedSoftplus(torch.nn.Module):
    """ln(1 + e^x) - ln 2: zero at zero, smooth everywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the function to each element."""
        return torch.nn.functional.softplus(x) - math.log(2.0)


class Dense(torch.nn.Linear):
    """Linear layer with Glorot's uniform start weights and zero biases, and its activation.

    Args:
        inputs: length of the last dimension of the input.
        outputs: length of the last dimension of the output.
        bias: whether there is a bias.
        activate: whether a shifted softplus follows.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, activate: bool = False
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.activation = ShiftedSoftplus() if activate else torch.nn.Identity()

    def reset_parameters(self) -> None:
        """Start values."""
        torch.nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return self.activation(super().forward(x))


class CosineCutoff(torch.nn.Module):
    """(1 + cos(pi x)) / 2 below x = r / r_max = 1, zero beyond.

    Behler, J. Chem. Phys. 134, 074106 (2011).  Value and slope vanish at the cutoff, the second
    derivative jumps by pi^2 / (2 r_max^2).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Cutoff function of the distance in units of the cutoff."""
        return 0.5 * (torch.cos(math.pi * x) + 1.0) * (x < 1.0)


class GaussianEdgeLengthEncoding(GraphModuleMixin, torch.nn.Module):
    """Expand each edge length in equidistant Gaussians as wide as their spacing.

    e_k(r) = exp(-(r - mu_k)^2 / (2 w^2)), mu_k from ``start`` to ``r_max``, w the spacing.

    Args:
        r_max: centre of the last Gaussian, Å.
        cutoff: cutoff function of r / r_max, which multiplies the filters later.
        num_gaussians: number of Gaussians, at least 2.
        start: centre of the first Gaussian, Å.
        trainable: whether centres and widths are trained.
    """

    def __init__(
        self,
        r_max: float,
        cutoff: torch.nn.Module,
        num_gaussians: int = 50,
        start: float = 0.0,
        trainable: bool = False,
        irreps_in: dict[str, Irreps] | None = None,
    ) -> None:
        super().__init__()
        if num_gaussians < 2 or not 0.0 <= start < r_max:
            raise ValueError(
                f"expected at least 2 Gaussians from 0 <= start < r_max, found {num_gaussians} "
                f"from {start} to {r_max}"
            )
        self.cutoff = cutoff
        offsets = torch.linspace(start, r_max, num_gaussians, dtype=_GLOBAL_DTYPE)
        widths = (offsets[1] - offsets[0]) * torch.ones_like(offsets)
        if trainable:
            self.offsets = torch.nn.Parameter(offsets)
            self.widths = torch.nn.Parameter(widths)
        else:
            self.register_buffer("offsets", offsets)
            self.register_buffer("widths", widths)
        self._init_irreps(
            irreps_in=irreps_in,
            required_irreps_in=[AtomicDataDict.NORM_LENGTH_KEY],
            irreps_out={
                AtomicDataDict.EDGE_EMBEDDING_KEY: Irreps([(num_gaussians, (0, 1))]),
                AtomicDataDict.EDGE_CUTOFF_KEY: "0e",
            },
        )
        self._output_dtype = torch.get_default_dtype()

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Set the edge embedding (edges, Gaussians) and the cutoff factor (edges, 1)."""
        length = data[AtomicDataDict.EDGE_LENGTH_KEY].view(-1, 1)
        x = ((length - self.offsets) / self.widths).to(self._output_dtype)
        data[AtomicDataDict.EDGE_EMBEDDING_KEY] = torch.exp(-0.5 * (x * x))
        cutoff = self.cutoff(data[AtomicDataDict.NORM_LENGTH_KEY])
        data[AtomicDataDict.EDGE_CUTOFF_KEY] = cutoff.to(self._output_dtype)
        return data


class SchNetInteraction(GraphModuleMixin, torch.nn.Module):
    """One interaction block: x_i <- x_i + f2out(sum_j in2f(x_j) * W(r_ij) * f_cut(r_ij)).

    Args:
        num_filters: width of the continuous filters.
        avg_num_neighbors: the sum over neighbours is divided by its square root; None leaves
            the plain sum of the publication.
    """

    scale: float

    def __init__(
        self,
        num_filters: int,
        avg_num_neighbors: float | None = None,
        irreps_in: dict[str, Irreps] | None = None,
    ) -> None:
        super().__init__()
        self._init_irreps(
            irreps_in=irreps_in,
            required_irreps_in=[
                AtomicDataDict.NODE_FEATURES_KEY,
                AtomicDataDict.EDGE_EMBEDDING_KEY,
                AtomicDataDict.EDGE_CUTOFF_KEY,
            ],
        )
        features = self.irreps_in[AtomicDataDict.NODE_FEATURES_KEY].dim
        gaussians = self.irreps_in[AtomicDataDict.EDGE_EMBEDDING_KEY].dim
        self.scale = 1.0 if avg_num_neighbors is None else 1.0 / math.sqrt(avg_num_neighbors)
        self.in2f = Dense(features, num_filters, bias=False)
        self.f2out = torch.nn.Sequential(
            Dense(num_filters, features, activate=True), Dense(features, features)
        )
        self.filter_network = torch.nn.Sequential(
            Dense(gaussians, num_filters, activate=True), Dense(num_filters, num_filters)
        )

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features (nodes, features)."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        edge_index = data[AtomicDataDict.EDGE_INDEX_KEY]
        filters = self.filter_network(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
        filters = filters * (data[AtomicDataDict.EDGE_CUTOFF_KEY] * self.scale)
        messages = torch.index_select(self.in2f(x), 0, edge_index[1]) * filters
        summed = scatter(messages, edge_index[0], dim=0, dim_size=x.size(0))
        data[AtomicDataDict.NODE_FEATURES_KEY] = x + self.f2out(summed)
        return data


class AtomwiseReadout(GraphModuleMixin, torch.nn.Module):
    """The energy of each bead from its features, by dense layers with shifted softplus.

    Args:
        hidden: widths of the hidden layers.
    """

    def __init__(self, hidden: Sequence[int], irreps_in: dict[str, Irreps] | None = None) -> None:
        super().__init__()
        self._init_irreps(
            irreps_in=irreps_in,
            required_irreps_in=[AtomicDataDict.NODE_FEATURES_KEY],
            irreps_out={AtomicDataDict.PER_ATOM_ENERGY_KEY: "0e"},
        )
        widths = [self.irreps_in[AtomicDataDict.NODE_FEATURES_KEY].dim, *hidden]
        layers = [Dense(a, b, activate=True) for a, b in itertools.pairwise(widths)]
        self.outnet = torch.nn.Sequential(*layers, Dense(widths[-1], 1))

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Set the energy of each bead (nodes, 1)."""
        features = data[AtomicDataDict.NODE_FEATURES_KEY]
        data[AtomicDataDict.PER_ATOM_ENERGY_KEY] = self.outnet(features)
        return data
