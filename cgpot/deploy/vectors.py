# SPDX-License-Identifier: GPL-2.0-or-later
"""The precision in which a compiled model takes the vectors of edges.

Networks in single precision with tables take them in single precision, and give their gradients
so: half of the memory that is moved for each edge.  What the operators of this package do not
evaluate (lengths and harmonics in plain torch) goes on in double precision from there.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from nequip.data import AtomicDataDict

SINGLE_KEY: Final = "cgpot_edge_vectors"
"""In the data: the vectors as they were given, where that was in single precision."""


class FromSingle(torch.nn.Module):
    """The energies of a network whose vectors may be given in single precision."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.old = old
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Call the network with vectors in double precision."""
        given = data[AtomicDataDict.EDGE_VECTORS_KEY]
        if given.dtype == torch.float32:
            data[SINGLE_KEY] = given
            data[AtomicDataDict.EDGE_VECTORS_KEY] = given.to(torch.float64)
        return self.old(data)


def edge_vectors(data: AtomicDataDict.Type) -> torch.Tensor:
    """The vectors (edges, 3) as they were given."""
    found: torch.Tensor = data.get(SINGLE_KEY, data[AtomicDataDict.EDGE_VECTORS_KEY])
    return found


def take_single(model: Any, tables: dict[str, Any] | None) -> torch.dtype:
    """Let a `GraphModel` take vectors in single precision where that is precise enough.

    Args:
        model: whose derivatives are taken by `ForceStressOutput`; changed.
        tables: what :func:`cgpot.deploy.acceleration.accelerate` returned.

    Returns:
        The precision of the vectors: float64 of models in double precision, and without tables.
    """
    if tables is None or model.model_dtype != torch.float32:
        return torch.float64
    derivatives = next(m for m in model.modules() if hasattr(m, "do_derivatives"))
    if not isinstance(derivatives.func, FromSingle):
        derivatives.func = FromSingle(derivatives.func)
    return torch.float32
