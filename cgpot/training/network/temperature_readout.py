# SPDX-License-Identifier: GPL-2.0-or-later
"""Energies that depend on the temperature: a second readout, linear in T.

A potential of mean force is a free energy: over a range of temperatures in which the entropy of
the removed degrees of freedom changes little, U(R; T) = U0(R) + (T - T0)/dT U1(R), the form
F = U - T S.  Both parts share the features of the network and have a readout each.  In training
T comes with each frame; in a deployed model it is a constant that is stored with the weights.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModuleMixin

from cgpot.potential.graph_keys import TEMPERATURE_KEY

BUFFER = "baked_temperature"


class TemperatureReadout(GraphModuleMixin, torch.nn.Module):
    """Two readouts of the same features: E = E0 + (T - reference) / scale * E1.

    Args:
        readout: module that makes energies of nodes or edges out of features (a
            `GraphModuleMixin`); a copy of it makes E1.
        reference: K.
        scale: K.

    Raises:
        ValueError: a reference or a scale that is not positive, or no readout of energies.
    """

    reference: float
    scale: float
    per_edge: bool

    def __init__(self, readout: Any, reference: float, scale: float) -> None:
        super().__init__()
        if not (reference > 0 and scale > 0):
            raise ValueError(f"expected positive temperatures, found {reference} and {scale} K")
        edge = AtomicDataDict.EDGE_ENERGY_KEY
        self.per_edge = edge in readout.irreps_out
        self.out_field = edge if self.per_edge else AtomicDataDict.PER_ATOM_ENERGY_KEY
        if self.out_field not in readout.irreps_out:
            raise ValueError(f"the readout makes no energies, but {sorted(readout.irreps_out)}")
        self.reference = float(reference)
        self.scale = float(scale)
        self.energetic = readout
        self.thermal = deepcopy(readout)
        with torch.no_grad():
            # another start than that of the first readout: opposite, for a random layer
            for parameter in self.thermal.parameters():
                if parameter.ndim == 2:
                    parameter.copy_(parameter.flip(0) if parameter.shape[0] > 1 else -parameter)
        self.register_buffer(BUFFER, torch.full((1,), float("nan"), dtype=torch.float64))
        self._init_irreps(irreps_in=readout.irreps_in, irreps_out=dict(readout.irreps_out))

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Energies at the temperature of the frame, else at the stored one (NaN without both)."""
        first = self.energetic(data.copy())
        second = self.thermal(data.copy())[self.out_field]
        if TEMPERATURE_KEY in data:
            temperature = data[TEMPERATURE_KEY].view(-1)
            if AtomicDataDict.BATCH_KEY in data:
                rows = data[AtomicDataDict.BATCH_KEY].view(-1)
                if self.per_edge:
                    rows = torch.index_select(rows, 0, data[AtomicDataDict.EDGE_INDEX_KEY][0])
                temperature = torch.index_select(temperature, 0, rows)
        else:
            temperature = self.get_buffer(BUFFER)
        x = ((temperature - self.reference) / self.scale).to(second.dtype).unsqueeze(-1)
        first[self.out_field] = first[self.out_field] + x * second
        return first


def add_temperature(
    model: torch.nn.Module, names: tuple[str, ...], reference: float | None, scale: float
) -> torch.nn.Module:
    """Replace the readout of a model by a `TemperatureReadout`; nothing without a reference.

    Args:
        model: what a builder of nequip made (not yet wrapped).
        names: names by which the readout is found.
        reference: K, or None.
        scale: K.

    Raises:
        ValueError: no readout of these names.
    """
    if reference is None:
        return model
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        if last in names:
            wrapped = TemperatureReadout(module, reference, scale)
            setattr(model.get_submodule(parent), last, wrapped)
            inputs: Any = model.irreps_in
            inputs[TEMPERATURE_KEY] = None
            return model
    raise ValueError(f"the model has no module named {' or '.join(names)}")
