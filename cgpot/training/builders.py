# SPDX-License-Identifier: GPL-2.0-or-later
"""Model builders for nequip's configuration."""

from __future__ import annotations

from typing import Any

import torch
from nequip.model import NequIPGNNModel
from nequip.model.utils import model_builder

READOUT = "per_atom_energy_readout"


@model_builder
def CGNequIPModel(readout_start: float = 1.0, **kwargs: Any) -> Any:
    """nequip's `NequIPGNNModel` whose readout starts small, so that it starts at the prior.

    Args:
        readout_start: factor on the initial weights of the readout.
        kwargs: arguments of `nequip.model.NequIPGNNModel`.
    """
    model = NequIPGNNModel(**kwargs)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if READOUT in name:
                parameter.mul_(readout_start)
    return model


def _pack_own_code() -> None:
    """Let `nequip-package` put `cgpot.training.modules` into the archive, beside nequip's code.

    What that module imports to read pair.json is mocked: an archived model holds its
    coefficients, and never reads the file.
    """
    from nequip.scripts import _package_utils

    _package_utils._INTERNAL_MODULES.add("cgpot")
    _package_utils._MOCK_MODULES.add("cgpot.core.splines")


_pack_own_code()
