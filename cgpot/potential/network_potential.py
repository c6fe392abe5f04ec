# SPDX-License-Identifier: GPL-2.0-or-later
"""A trained network as a potential, in Python; LAMMPS runs its compiled form."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from cgpot.core.checkpoints import TEMPERATURE
from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.molecules.frame import CGFrame
from cgpot.potential.graph_keys import TEMPERATURE_KEY
from cgpot.potential.potential import Labels
from cgpot.potential.site_graph import site_graph


def load_model(path: str | Path) -> Any:
    """The model of a checkpoint (moving-average weights) or package as nequip's `GraphModel`.

    Raises:
        InputError: no such file.
    """
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    require_file(path, "checkpoint")
    set_global_state()
    model = load_saved_model(str(path))
    model.eval()
    return model


class NetworkPotential:
    """A network with its base, eager.

    Args:
        model: nequip's `GraphModel` (`load_model`).
        pairs: which pairs of sites it sees (`cgpot.molecules.exclusions.SEEN_PAIRS`); None: as
            the model says itself.
        device: where it is evaluated.
    """

    def __init__(self, model: Any, pairs: str | None = None, device: str = "cpu") -> None:
        self.model = model
        found = (getattr(module, "sees", None) for module in model.modules())
        stated = next((word for word in found if word is not None), "all")
        self.pairs: str = stated if pairs is None else pairs
        self.device = device

    @classmethod
    def read(cls, path: str | Path, pairs: str | None = None) -> NetworkPotential:
        """The network of a checkpoint or package.

        Raises:
            InputError: no such file.
        """
        return cls(load_model(path), pairs)

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return tuple(self.model.metadata["type_names"].split())

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.model.metadata["r_max"])

    @property
    def takes_temperature(self) -> bool:
        """Whether its energies depend on the temperature."""
        return TEMPERATURE_KEY in getattr(self.model, "model_input_fields", ())

    @cached_property
    def stored_temperature(self) -> float | None:
        """The temperature stored in it, K; None where there is none."""
        for name, value in self.model.named_buffers():
            if name.rpartition(".")[2] == TEMPERATURE and bool(value.isfinite().all()):
                return float(value)
        return None

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame.

        Raises:
            InputError: the model takes the temperature as an input, and neither it nor the frame
                has one.
        """
        import torch
        from nequip.data import AtomicDataDict

        thermal = self.takes_temperature
        if thermal and frame.temperature is None and self.stored_temperature is None:
            raise InputError(
                "the model takes the temperature as an input, but the frame carries none",
                frame=frame.source_frame,
                key="temperature",
            )
        data = site_graph(frame, self.cutoff, self.pairs, temperature=thermal)
        out = self.model(AtomicDataDict.to_(data, torch.device(self.device)))
        energy, forces, stress = (
            out[key].detach().double().cpu().numpy()
            for key in (
                AtomicDataDict.TOTAL_ENERGY_KEY,
                AtomicDataDict.FORCE_KEY,
                AtomicDataDict.STRESS_KEY,
            )
        )
        return Labels(forces, -stress.reshape(3, 3) * frame.volume, float(energy.sum()))
