# SPDX-License-Identifier: GPL-2.0-or-later
"""Our SchNet against schnetpack's, with the same weights."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_systems import NAMES

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.site_graph import neighbours
from cgpot.training.folder.graph_frames import to_data
from cgpot.training.network.builders import SchNetModel

HERE = Path(__file__).resolve().parent
STORED = HERE / "schnetpack_reference.json"
SCRIPT = HERE / "schnetpack_reference.py"
PYTHON = "SCHNETPACK_PYTHON"


def our_name(name: str) -> str | None:
    """Name of a weight of schnetpack's in our model; None for what ours does not store."""
    parts = name.removeprefix("weights/").split(".")
    if parts[:2] == ["representation", "radial_basis"]:
        return f"model.func.radial.{parts[2]}"
    if parts[:2] == ["representation", "embedding"]:
        return "model.func.type_embed.embed_module.weight"
    if parts[:2] == ["representation", "interactions"]:
        return f"model.func.interaction{parts[2]}." + ".".join(parts[3:])
    if parts[:2] == ["output_modules", "0"]:
        return "model.func.per_atom_energy_readout." + ".".join(parts[2:])
    assert parts[1] == "cutoff_fn", name
    return None


def ours(data: dict[str, Any], dtype: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and stress of our model with schnetpack's weights."""
    from nequip.utils.global_state import set_global_state

    set_global_state()
    cutoff = float(data["size/cutoff"])
    model = SchNetModel(
        seed=1,
        model_dtype=dtype,
        type_names=list(NAMES),
        r_max=cutoff,
        num_interactions=int(data["size/interactions"]),
        num_features=int(data["size/features"]),
        num_filters=int(data["size/filters"]),
        num_gaussians=int(data["size/gaussians"]),
    )
    state = model.state_dict()
    given = {}
    for key, value in data.items():
        if key.startswith("weights/") and (name := our_name(key)) is not None:
            given[name] = torch.as_tensor(np.asarray(value), dtype=state[name].dtype)
    learned = {name for name, _ in model.named_parameters()}
    assert learned <= set(given)
    for name, value in given.items():
        assert value.shape == state[name].shape, name
    # what a model of ours starts with, widths and centres, is what schnetpack starts with
    for name in set(given) - learned:
        torch.testing.assert_close(given[name], state[name], rtol=1e-6, atol=1e-6)
    model.load_state_dict({**state, **given})
    model.eval()
    types = np.asarray(data["types"])
    topology = Topology(NAMES, (1.0, 1.0), types, np.arange(len(types)))
    frame = CGFrame(topology, np.asarray(data["positions"]), np.asarray(data["cell"]))
    out = model(to_data(frame, *neighbours(frame, cutoff), forces=False, stress=False))
    return (
        float(out["total_energy"].detach()),
        out["forces"].detach().numpy(),
        out["stress"].detach().numpy(),
    )


def compare(data: dict[str, Any], dtype: str, energy_tolerance: float, tolerance: float) -> None:
    """Against schnetpack in double precision.

    Energy relative, forces and stress relative to the largest component.
    """
    energy, forces, stress = ours(data, dtype)
    wanted = float(np.squeeze(data["float64/energy"]))
    assert energy == pytest.approx(wanted, rel=energy_tolerance)
    for name, value in (("forces", forces), ("stress", stress)):
        right = np.asarray(data[f"float64/{name}"])
        scale = np.abs(right).max()
        assert scale > 1e-3
        np.testing.assert_allclose(value, right, rtol=0, atol=tolerance * scale)


# in single precision the beads' energies, of either sign, are rounded: the sum is worse off
PRECISIONS = [("float64", 1e-12, 1e-12), ("float32", 4e-6, 1e-6)]


@pytest.mark.parametrize(("dtype", "energy", "forces"), PRECISIONS)
def test_equals_the_stored_numbers_of_schnetpack(dtype: str, energy: float, forces: float) -> None:
    """The file says which version wrote it, and by which command."""
    data = json.loads(STORED.read_text(encoding="utf-8"))
    assert data["made_by"].startswith("schnetpack 2.")
    compare(data, dtype, energy, forces)


@pytest.mark.schnetpack
@pytest.mark.parametrize("paper", [False, True], ids=["small", "published size"])
def test_equals_schnetpack_itself(tmp_path: Path, paper: bool) -> None:
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"{PYTHON} names no interpreter with schnetpack (make test-schnetpack)")
    words = [python, "-W", "ignore", str(SCRIPT), str(tmp_path / "out.npz")]
    done = subprocess.run(
        words + ["--paper"] * paper, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "out.npz") as stored:
        data = dict(stored)
    for precision in PRECISIONS:
        compare(data, *precision)
