# SPDX-License-Identifier: GPL-2.0-or-later
"""Models with a local-density part: tabulated, for owned beads alone, several in one batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from model_systems import CUTOFF, NAMES, SMALL, build, frame, graph

from cgpot.deploy import operators
from cgpot.deploy.acceleration import accelerate
from cgpot.deploy.batch import together
from cgpot.deploy.ranks import only_owned, with_own_rows
from cgpot.deploy.target import edge_vector_data
from cgpot.potential.density_table import DensityTable
from cgpot.potential.splines import PairTable


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.plugin.plugin_build import build as build_plugin

    operators.load(build_plugin().library.with_name("cgpotops.so"))


def model(name: str, folder: Path, seed: int = 0, **changes: Any) -> Any:
    rng = np.random.default_rng(seed)
    pair = rng.normal(size=(3, 20))
    pair[:, -3:] = 0.0
    spans = np.array([[0.5, 1.4], [0.6, 1.3]])
    density = DensityTable(NAMES, 4.0, "smooth", (1.0, 1.0), spans, rng.normal(size=(2, 9)), {})
    torch.manual_seed(seed)
    return build(
        {**SMALL[name], **changes},
        pair_potential={
            "_target_": "cgpot.training.network.local_density_module.PairAndDensity",
            "pair": {
                "pair_file": str(
                    PairTable(NAMES, CUTOFF, pair, {}).write(folder / f"pair{seed}.json")
                )
            },
            "density": {"density_file": str(density.write(folder / f"density{seed}.json"))},
        },
    ).eval()


def close(found: Any, expected: Any, relative: float) -> None:
    a, b = (value.detach().double().numpy() for value in (found, expected))
    np.testing.assert_allclose(a, b, rtol=0, atol=relative * np.abs(b).max())


@pytest.mark.parametrize("way", ["kernels", "torch"])
@pytest.mark.parametrize("name", ["nequip", "schnet", "allegro"])
def test_tables_leave_the_results(name: str, way: str, tmp_path: Path) -> None:
    network = model(name, tmp_path)
    expected = network(graph(frame()))
    assert accelerate(network, way) is not None
    found = network(graph(frame()))
    for key in ("total_energy", "forces", "virial", "atomic_energy"):
        close(found[key], expected[key], 1e-8)


def test_energies_of_owned_beads_alone_and_ghosts(tmp_path: Path) -> None:
    """Some beads computed but not owned: their energies leave the sum, the rest is as it was."""
    network = model("nequip-scalar", tmp_path)
    assert accelerate(network, "kernels") is not None  # the first layer follows from the types
    data = edge_vector_data(graph(frame()))
    whole = network({**data})[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach()
    only_owned(network)
    with_own_rows(network)
    owned = 17
    given = {**data, AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY: torch.tensor([[owned, 0]])}
    energies = network(given)[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach()
    assert not energies[owned:].any()
    close(energies[:owned], whole[:owned], 1e-12)
    # ghosts: types of more beads than positions; edges of the computed ones as before
    index = data[AtomicDataDict.EDGE_INDEX_KEY].clone()
    types = data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)
    count = len(types)
    index[1] += count * (torch.arange(index.shape[1]) % 2)  # every other neighbour is a copy
    ghosts = {
        **data,
        AtomicDataDict.EDGE_INDEX_KEY: index,
        AtomicDataDict.ATOM_TYPE_KEY: torch.cat([types, types]),
    }
    close(network(ghosts)[AtomicDataDict.PER_ATOM_ENERGY_KEY], whole, 1e-12)


@pytest.mark.parametrize("way", ["kernels", "torch", None])
@pytest.mark.parametrize("name", ["nequip", "schnet"])
def test_members_in_one_batch(name: str, way: str | None, tmp_path: Path) -> None:
    """The parts of the members differ in all their numbers."""
    data = edge_vector_data(graph(frame()))
    expected = []
    for seed in range(2):
        out = model(name, tmp_path, seed)({**data})
        expected.append((out[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach(), out["edge_forces"]))
    batch, _, _ = together([model(name, tmp_path, seed) for seed in range(2)], way)
    found = batch(dict(data))
    for k, (energy, force) in enumerate(expected):
        close(found[AtomicDataDict.PER_ATOM_ENERGY_KEY][k], energy, 1e-8)
        close(found[AtomicDataDict.EDGE_FORCE_KEY][k], force, 1e-7)
