# SPDX-License-Identifier: GPL-2.0-or-later
"""Small networks of every type and frames of two bead types to try them on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.site_graph import neighbours
from cgpot.training.folder.graph_frames import to_data

CUTOFF = 4.2
NAMES = ("A", "B")
SMALL: dict[str, dict[str, Any]] = {
    "nequip": {"type": "nequip", "layers": 2, "l_max": 2, "features": 3, "radial_width": 4},
    "nequip-scalar": {"type": "nequip", "layers": 1, "l_max": 0, "features": 4, "radial_width": 4},
    "allegro": {
        "type": "allegro",
        "layers": 2,
        "l_max": 1,
        "features": 6,
        "tensors": 3,
        "width": 6,
        "parity": True,
    },
    "schnet": {"type": "schnet", "features": 8, "filters": 6, "gaussians": 10},
    "schnet-polynomial": {
        "type": "schnet",
        "features": 8,
        "filters": 6,
        "gaussians": 10,
        "cutoff_function": "polynomial",
    },
}
"""Name -> section ``model`` without cutoff."""


def frame(n: int = 27, seed: int = 1, strain: float = 0.0) -> CGFrame:
    """A jittered lattice of two bead types in a triclinic cell, no pair closer than about 1.5 Å."""
    rng = np.random.default_rng(seed)
    cells = round(n ** (1 / 3))
    assert cells**3 == n
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    length = 3.0 * cells * (1.0 + strain)
    cell = np.array([[length, 0, 0], [0.8, length, 0], [-0.5, 0.6, length]])
    positions = (grid / cells) @ cell + rng.uniform(-0.4, 0.4, (n, 3))
    types = np.arange(n) % 2
    topology = Topology(NAMES, (40.0, 60.0), types, np.arange(n))
    return CGFrame(topology, positions, cell)


def moved(base: CGFrame, positions: np.ndarray, cell: np.ndarray | None = None) -> CGFrame:
    """The frame with other positions and cell."""
    return CGFrame(base.topology, positions, base.cell if cell is None else cell)


def graph(base: CGFrame, cutoff: float = CUTOFF) -> dict[str, torch.Tensor]:
    """The frame as nequip's dictionary."""
    return to_data(base, *neighbours(base, cutoff), forces=False, stress=False)


def build(section: dict[str, Any], **overrides: Any) -> Any:
    """The model of a section ``model``, as nequip's `GraphModel`, double precision, eager."""
    from hydra.utils import instantiate
    from nequip.utils.global_state import set_global_state

    model = instantiate({**record(section), **overrides}, _recursive_=False, _convert_="all")
    set_global_state()
    model.eval()
    return model


def record(section: dict[str, Any]) -> dict[str, Any]:
    """nequip's section ``model`` for a section ``model`` of train.yaml."""
    from nequip.utils.global_state import set_global_state
    from training_systems import settings

    from cgpot.core.config import validate
    from cgpot.training.folder.facts import DataFacts
    from cgpot.training.network.model_section import network_record
    from cgpot.training.settings.train_settings import TrainConfig

    set_global_state()
    data = settings()
    data["model"] = {"cutoff": CUTOFF, "dtype": "float64", "readout_start": 1.0, **section}
    config = validate(TrainConfig, data, "train.yaml")
    return network_record(config, DataFacts(NAMES, 4, 27, 11.0, 0.5, None))


def predict(model: Any, base: CGFrame, cutoff: float = CUTOFF) -> tuple[float, Any, Any]:
    """Energy (eV), forces (n, 3) in eV/Å and stress (3, 3) in eV/Å^3."""
    out = model(graph(base, cutoff))
    return (
        float(out[AtomicDataDict.TOTAL_ENERGY_KEY].detach()),
        out[AtomicDataDict.FORCE_KEY].detach().double().numpy(),
        out[AtomicDataDict.STRESS_KEY].detach().double().numpy().reshape(3, 3),
    )
