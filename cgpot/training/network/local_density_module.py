# SPDX-License-Identifier: GPL-2.0-or-later
"""The local-density part of the base as a module of the NequIP framework.

`PairAndDensity` stands in a model where `PairSpline` does without such a part (option
``pair_potential``); the arithmetic is that of `cgpot.potential.density_table`.  The energy of a
site follows from its own neighbours alone: nothing is passed between sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from e3nn.o3._irreps import Irreps
from nequip.data import AtomicDataDict
from nequip.nn import GraphModuleMixin, scatter, with_edge_vectors_

from cgpot.potential.density_table import INDICATORS, DensityTable
from cgpot.training.network.pair_module import PairSpline


class LocalDensity(GraphModuleMixin, torch.nn.Module):
    """Embedding functions F(rho) as uniform cubic B-splines, added to the per-atom energies.

    ``rho_i = sum_j m_j w(r_ij)``.  All numbers are buffers: the linear fit determines them,
    training leaves them alone.

    Args:
        type_names: bead type names of the model; must be those of the table.
        density_file: JSON written by `cgpot.potential.density_table.DensityTable.write`.
        cutoff: of the table, Å (used with ``intervals`` when the file is absent, as on loading a
            model whose state dict holds the rest).
        intervals: number of spline intervals.

    Raises:
        ValueError: the table is for other bead types, or another cutoff or length.
    """

    intervals: int
    cutoff: float

    def __init__(
        self,
        type_names: Sequence[str],
        density_file: str | None = None,
        cutoff: float | None = None,
        intervals: int | None = None,
        per_atom_energy_field: str = AtomicDataDict.PER_ATOM_ENERGY_KEY,
        irreps_in: dict[str, Irreps] | None = None,
    ) -> None:
        super().__init__()
        self.per_atom_energy_field = per_atom_energy_field
        self._init_irreps(
            irreps_in=irreps_in,
            required_irreps_in=[],
            irreps_out={per_atom_energy_field: "0e"},
        )
        types = len(type_names)
        double = torch.float64
        if density_file is not None:
            table = DensityTable.read(density_file)
            if tuple(type_names) != table.type_names:
                raise ValueError(
                    f"{density_file} is for bead types {list(table.type_names)}, "
                    f"the model has {list(type_names)}"
                )
            for name, found, given in (
                ("cutoff", table.cutoff, cutoff),
                ("intervals", table.intervals, intervals),
            ):
                if given is not None and abs(found - given) > 1e-9:
                    raise ValueError(f"{density_file} has {name} {found}, expected {given}")
            cutoff, intervals = table.cutoff, table.intervals
            values = torch.as_tensor(table.coefficients, dtype=double)
            low = torch.as_tensor(table.spans[:, 0], dtype=double)
            step = torch.as_tensor(table.steps, dtype=double)
            weights = torch.as_tensor(table.weights, dtype=double)
            powers = torch.as_tensor(INDICATORS[table.indicator], dtype=double)
        elif cutoff is None or intervals is None:
            raise ValueError("LocalDensity needs density_file, or cutoff and intervals")
        else:
            values = torch.zeros(types, intervals + 3, dtype=double)
            low = torch.zeros(types, dtype=double)
            step = torch.ones(types, dtype=double)
            weights = torch.ones(types, dtype=double)
            powers = torch.zeros(4, dtype=double)
        self.cutoff = float(cutoff)
        self.intervals = int(intervals)
        self.register_buffer("coefficients", values)
        self.register_buffer("low", low)
        self.register_buffer("step", step)
        self.register_buffer("weights", weights)
        self.register_buffer("powers", powers)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add F(rho_i) to the energy of each site i."""
        data = with_edge_vectors_(data, with_lengths=False)
        types = data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)
        center = data[AtomicDataDict.EDGE_INDEX_KEY][0]
        neighbor = data[AtomicDataDict.EDGE_INDEX_KEY][1]
        vectors = data[AtomicDataDict.EDGE_VECTORS_KEY]
        nodes = AtomicDataDict.num_nodes(data)

        y = torch.clamp((vectors * vectors).sum(-1) / (self.cutoff * self.cutoff), max=1.0)
        p = self.powers
        share = p[0] + y * (p[1] + y * (p[2] + y * p[3]))
        mass = torch.index_select(self.weights, 0, torch.index_select(types, 0, neighbor))
        rho = scatter((share * mass).unsqueeze(-1), center, dim=0, dim_size=nodes).squeeze(-1)

        # with ghosts there are more types than computed sites
        own = torch.narrow(types, 0, 0, nodes)
        x = (rho - torch.index_select(self.low, 0, own)) / torch.index_select(self.step, 0, own)
        first = torch.clamp(torch.floor(x.detach()), min=0.0, max=float(self.intervals - 1))
        t = torch.clamp(x - first, min=0.0, max=1.0)
        beyond = x - first - t
        s = 1.0 - t
        start = own * (self.intervals + 3) + first.to(torch.long)
        flat = self.coefficients.view(-1)
        value = (
            s * s * s / 6.0,
            (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
            (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
            t * t * t / 6.0,
        )
        slope = (
            -0.5 * s * s,
            (3.0 * t * t - 4.0 * t) / 2.0,
            -(3.0 * s * s - 4.0 * s) / 2.0,
            0.5 * t * t,
        )
        energy = torch.zeros_like(x)
        for k in range(4):
            weight = value[k] + beyond * slope[k]
            energy = energy + torch.index_select(flat, 0, start + k) * weight
        per_atom = energy.unsqueeze(-1)
        if self.per_atom_energy_field in data:
            per_atom = per_atom + data[self.per_atom_energy_field]
        data[self.per_atom_energy_field] = per_atom
        return data


class PairAndDensity(GraphModuleMixin, torch.nn.Module):
    """A pair spline and a local-density part, one after the other.

    Args:
        type_names: bead type names of the model.
        pair: arguments of `cgpot.training.network.pair_module.PairSpline`.
        density: arguments of `LocalDensity`.

    Raises:
        ValueError: as these two.
    """

    def __init__(
        self,
        type_names: Sequence[str],
        pair: dict[str, Any],
        density: dict[str, Any],
        irreps_in: dict[str, Irreps] | None = None,
    ) -> None:
        super().__init__()
        self.pair = PairSpline(type_names, **pair, irreps_in=irreps_in)
        self.density = LocalDensity(type_names, **density, irreps_in=self.pair.irreps_out)
        self._init_irreps(irreps_in=irreps_in, irreps_out=self.density.irreps_out)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add both energies."""
        return self.density(self.pair(data))
