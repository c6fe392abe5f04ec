# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of the NequIP framework for CG models.

`PairSpline` adds the pair base (or the repulsive wall) to any NequIP model through its
``pair_potential`` option, so that one deployed file holds all that was subtracted from the
labels.  Registered with nequip by the entry point ``nequip.extension``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from e3nn.o3._irreps import Irreps
from nequip.data import AtomicDataDict
from nequip.nn import GraphModuleMixin, scatter, with_edge_vectors_

from cgpot.potential.splines import PairTable, pair_index


class PairSpline(GraphModuleMixin, torch.nn.Module):
    """Pair potentials as uniform cubic B-splines, added to the per-atom energies.

    Each direction of an edge contributes half of u(r).  The coefficients are a buffer: the
    linear fit determines them, training leaves them alone.

    Args:
        type_names: bead type names of the model; must be those of the table.
        pair_file: JSON written by `cgpot.potential.splines.PairTable.write`.
        r_max: cutoff of the table, Å (used with ``intervals`` when the file is absent, as on
            loading a packaged model whose state dict holds the coefficients).
        intervals: number of spline intervals.
        sees: which pairs of sites the model's neighbour list holds
            (`cgpot.molecules.exclusions.SEEN_PAIRS`); kept for whoever makes that list.

    Raises:
        ValueError: the table is for other bead types, or another cutoff or length.
    """

    intervals: int
    r_max: float

    def __init__(
        self,
        type_names: Sequence[str],
        pair_file: str | None = None,
        r_max: float | None = None,
        intervals: int | None = None,
        sees: str = "all",
        per_atom_energy_field: str = AtomicDataDict.PER_ATOM_ENERGY_KEY,
        irreps_in: dict[str, Irreps] | None = None,
    ) -> None:
        super().__init__()
        self.per_atom_energy_field = per_atom_energy_field
        self.sees = sees
        self._init_irreps(
            irreps_in=irreps_in,
            required_irreps_in=[],
            irreps_out={per_atom_energy_field: "0e"},
        )
        n_types = len(type_names)
        rows = n_types * (n_types + 1) // 2
        dtype = torch.get_default_dtype()
        if pair_file is not None:
            table = PairTable.read(pair_file)
            if tuple(type_names) != table.type_names:
                raise ValueError(
                    f"{pair_file} is for bead types {list(table.type_names)}, "
                    f"the model has {list(type_names)}"
                )
            for name, found, given in (
                ("r_max", table.r_max, r_max),
                ("intervals", table.intervals, intervals),
            ):
                if given is not None and abs(found - given) > 1e-9:
                    raise ValueError(f"{pair_file} has {name} {found}, expected {given}")
            r_max, intervals = table.r_max, table.intervals
            values = torch.as_tensor(table.coefficients, dtype=dtype)
        elif r_max is None or intervals is None:
            raise ValueError("PairSpline needs pair_file, or r_max and intervals")
        else:
            values = torch.zeros(rows, intervals + 3, dtype=dtype)
        self.r_max = float(r_max)
        self.intervals = int(intervals)
        self.register_buffer("coefficients", values)
        self.register_buffer("rows", torch.as_tensor(pair_index(n_types)))

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add sum_j u(r_ij) / 2 to the energy of each site i."""
        data = with_edge_vectors_(data, with_lengths=True)
        types = data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)
        center = data[AtomicDataDict.EDGE_INDEX_KEY][0]
        neighbor = data[AtomicDataDict.EDGE_INDEX_KEY][1]
        length = data[AtomicDataDict.EDGE_LENGTH_KEY].view(-1)
        width = self.intervals + 3

        x = length * (self.intervals / self.r_max)
        first = torch.clamp(torch.floor(x.detach()), min=0.0, max=float(self.intervals - 1))
        t = torch.clamp(x - first, max=1.0)
        s = 1.0 - t
        row = torch.index_select(
            self.rows.view(-1),
            0,
            torch.index_select(types, 0, center) * self.rows.shape[0]
            + torch.index_select(types, 0, neighbor),
        )
        start = row * width + first.to(torch.long)
        flat = self.coefficients.view(-1)
        energy = (
            torch.index_select(flat, 0, start) * (s * s * s)
            + torch.index_select(flat, 0, start + 1) * (3.0 * t * t * t - 6.0 * t * t + 4.0)
            + torch.index_select(flat, 0, start + 2) * (3.0 * s * s * s - 6.0 * s * s + 4.0)
            + torch.index_select(flat, 0, start + 3) * (t * t * t)
        ) / 12.0
        per_atom = scatter(
            energy.unsqueeze(-1),
            center,
            dim=0,
            dim_size=AtomicDataDict.num_nodes(data),
        )
        if self.per_atom_energy_field in data:
            per_atom = per_atom + data[self.per_atom_energy_field]
        data[self.per_atom_energy_field] = per_atom
        return data
