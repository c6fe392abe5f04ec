# SPDX-License-Identifier: GPL-2.0-or-later
"""A base of pairs and local density in `pair_style cgpot` against numpy, on one rank and more."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, MASSES, NAMES, NET_CUTOFF, base_tables, density_network
from plugin_support import Runner, deck, per_atom, same, write_data
from test_plugin_nequip import close, start, virial
from test_plugin_ranks import BOX, TRICLINIC

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.base import Base, density_labels
from cgpot.potential.potential import Labels


def as_frame(configuration: Any) -> CGFrame:
    n = len(configuration.positions)
    topology = Topology(tuple(NAMES), tuple(MASSES), configuration.types, np.arange(n))
    return CGFrame(topology, configuration.positions, configuration.cell)


def base_labels(frame: CGFrame) -> Labels:
    return Base(*base_tables()).labels(frame)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("density"), plugin)


@pytest.mark.parametrize("network", ["density64"], indirect=True)
@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_agrees_with_the_network_and_numpy(
    lammps: Any, plugin: Path, network: Path, name: str
) -> None:
    """The network alone (eager) and the base (numpy) make the deployed model, tables included."""
    reference = np.load(network.with_name("density64.npz"))
    configuration = CONFIGURATIONS[name]
    forces, w, energy = base_labels(as_frame(configuration))
    lmp = start(lammps, network, name)
    found = virial(lmp)
    if len(configuration.positions) > 1:
        close(per_atom(lmp, configuration, "f", 3), reference[f"{name}/forces"] + forces, 1e-8)
    close(found, reference[f"{name}/virial"][0] + w, 1e-8)
    total = reference[f"{name}/total_energy"].ravel()[0] + energy
    assert lmp.get_thermo("pe") == pytest.approx(total, rel=1e-8)
    # it is the local density that was tested, and not a small part of the sum
    alone = density_labels(base_tables()[1], as_frame(configuration))
    assert np.abs(alone[1]).max() > 0.02 * np.abs(found).max()


@pytest.mark.parametrize("network", ["density64"], indirect=True)
def test_ranks_agree(run: Runner, network: Path, tmp_path: Path, plugin: Path) -> None:
    for name, configuration in (("box", BOX), ("triclinic", TRICLINIC)):
        data = tmp_path / f"{name}.data"
        write_data(data, configuration)
        one = run(1, deck(data, network))
        for ranks, ghosts in itertools.product((1, 2, 3), ("exchange", "halo")):
            same(run(ranks, deck(data, network, ghosts=ghosts)), one, 1e-10)


@pytest.mark.parametrize("network", ["density64"], indirect=True)
def test_pairs_stay_with_the_operators(network: Path) -> None:
    from nequip.utils.global_state import set_global_state

    from cgpot.deploy.acceleration import accelerate

    set_global_state()
    model = density_network(network.parent, base=True)
    assert accelerate(model, "kernels") is not None
    kinds = {type(module).__name__ for module in model.modules()}
    assert {"FastPair", "LocalDensity"} <= kinds
    assert "PairSpline" not in kinds
    assert base_tables()[1].cutoff <= NET_CUTOFF
