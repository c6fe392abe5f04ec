# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings and inputs that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refine_systems import TEMPERATURE, lattice, truth, write_config

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import sha256_file, write_json
from cgpot.core.manifest import write_manifest
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.base import Base
from cgpot.potential.splines import PairTable
from cgpot.refine.frame_counts import Grid
from cgpot.refine.refine_loop import refine
from cgpot.refine.refine_settings import RefineConfig, load_config
from cgpot.refine.refine_start import compiled_model, resolve
from cgpot.refine.reweighting import Samples
from cgpot.training.network.amend import amend

RESULT = {
    "format": "cgpot-training-1", "bead_names": ["BEA"], "masses": [30.0], "cutoff": 8.0,
    "temperature": 300.0,
}  # fmt: skip
SIDECAR = {"format": "cgpot-model-1", "units": {}, "bead_names": ["BEA"], "masses": [30.0]}


def frames(virial: bool = True, name: str = "BEA", count: int = 20) -> list[CGFrame]:
    found = []
    for seed in range(count):
        frame = lattice(seed)
        topology = frame.topology
        frame.topology = Topology((name,), topology.type_masses, topology.types, topology.molecules)
        forces, w, _ = Base(truth()).labels(frame)
        frame.forces, frame.virial = forces, w if virial else None
        found.append(frame)
    return found


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    write_frames(tmp_path / "reference.extxyz", frames())
    return tmp_path / "reference.extxyz"


def config(tmp_path: Path, reference: Path, **changes: Any) -> RefineConfig:
    return load_config(write_config(tmp_path / "refine.yaml", reference, **changes))


def network(folder: Path, with_pair: bool = True, **facts: Any) -> Path:
    """A training folder as far as it is read before anything runs."""
    folder.mkdir()
    table = truth()
    state = {"model.pair_potential.coefficients": torch.as_tensor(table.coefficients)}
    torch.save(
        {"state_dict": state if with_pair else {"weight": torch.zeros(2)}}, folder / "model.ckpt"
    )
    table.write(folder / "pair.json")
    record = {
        "format": "cgpot-training-1",
        "bead_names": ["BEA"],
        "masses": [78.0],
        "cutoff": 8.0,
        "temperature": TEMPERATURE,
        **facts,
    }
    write_json(folder / "result.json", record)
    write_manifest(
        folder / "result.json", stage="training", inputs={}, outputs=[folder / "model.ckpt"]
    )
    return folder


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"methd": "ibi"}, "methd.*did you mean 'method'"),
        ({"method": "boltzmann"}, "method"),
        ({"iterations": 0}, "iterations"),
        ({"deployed": "model.nequip.pt2"}, "'deployed' belongs"),
        ({"pressure_weight": -1.0}, "pressure_weight"),
        ({"zero": {"spacing": 3.0}}, "fewer than 4 intervals"),
        ({"md": {"length_ps": 5.0}}, "expected at least 20"),
        ({"pressure": "reference"}, "pressure"),
    ],
)
def test_settings(tmp_path: Path, reference: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config(tmp_path, reference, **changes)


def test_overrides(tmp_path: Path, reference: Path) -> None:
    path = write_config(tmp_path / "refine.yaml", reference)
    found = load_config(path, start="zero", reference=[Path("x.extxyz")], iterations=2)
    assert found.start == "zero"
    assert found.reference == [Path("x.extxyz").resolve()]
    assert found.iterations == 2


def test_no_reference(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such reference"):
        refine(config(tmp_path, tmp_path / "none.extxyz"), tmp_path / "out", quiet=True)


def test_no_virial(tmp_path: Path) -> None:
    write_frames(tmp_path / "bare.extxyz", frames(virial=False))
    with pytest.raises(DataError, match=r"no virial.*pressure to 'ignore'"):
        refine(config(tmp_path, tmp_path / "bare.extxyz"), tmp_path / "out", quiet=True)


def test_charges_have_no_coulomb_term(tmp_path: Path) -> None:
    charged = frames()
    for frame in charged:
        frame.topology = replace(frame.topology, type_charges=(0.5,))
    write_frames(tmp_path / "charged.extxyz", charged)
    settings = config(tmp_path, tmp_path / "charged.extxyz")
    with pytest.raises(
        ConfigError, match=r"charged.*key 'charges'.*BEA \(\+0.5 e\).* Coulomb term"
    ):
        refine(settings, tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").glob("*"))
    ignored = settings.model_copy(update={"charges": "ignore"})
    tally = resolve(ignored).tally(ignored, charged[0].topology, Grid(8.0, 20))
    assert tally.topology.type_charges == (0.5,)


def test_too_few_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "few.extxyz", frames(count=5))
    with pytest.raises(DataError, match="5 frames; expected at least 16"):
        refine(config(tmp_path, tmp_path / "few.extxyz"), tmp_path / "out", quiet=True)


def test_density_too_far(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(InputError, match=r"density_kg_m3 is 500.*too far"):
        refine(config(tmp_path, reference, density_kg_m3=500.0), tmp_path / "out", quiet=True)


def test_cutoff_beyond_the_box(tmp_path: Path, reference: Path) -> None:
    bad = config(tmp_path, reference, zero={"cutoff": 12.0, "spacing": 0.5})
    with pytest.raises(DataError, match=r"reaches 12.0 Å, g\(r\) 10.4"):
        refine(bad, tmp_path / "out", quiet=True)


def test_other_beads(tmp_path: Path, reference: Path) -> None:
    names = replace(truth(), type_names=("OTH",))
    names.write(tmp_path / "pair.json")
    bad = config(tmp_path, reference, start=str(tmp_path / "pair.json"))
    with pytest.raises(InputError, match=r"bead types \['BEA'\], the potential is for \['OTH'\]"):
        refine(bad, tmp_path / "out", quiet=True)


def test_other_sites_in_the_configuration(tmp_path: Path, reference: Path) -> None:
    write_frames(tmp_path / "other.extxyz", frames(name="OTH", count=1))
    bad = config(tmp_path, reference, configuration=str(tmp_path / "other.extxyz"))
    with pytest.raises(InputError, match="expected the same system"):
        refine(bad, tmp_path / "out", quiet=True)


def test_folders_that_are_no_start(tmp_path: Path, reference: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither model\.ckpt nor pair\.json"):
        resolve(config(tmp_path, reference, start=str(tmp_path / "empty")))
    (tmp_path / "uf3").mkdir()
    write_json(tmp_path / "uf3" / "result.json", {**RESULT, "kind": "uf3"})
    with pytest.raises(InputError, match=r"three-body terms of UF3.*cgpot distill"):
        resolve(config(tmp_path, reference, start=str(tmp_path / "uf3")))
    with pytest.raises(InputError, match="no such JSON file"):
        resolve(config(tmp_path, reference, start=str(tmp_path / "none.json")))


def test_a_network_is_read(tmp_path: Path, reference: Path) -> None:
    folder = network(tmp_path / "net")
    start = resolve(config(tmp_path, reference, start=str(folder)))
    assert start.kind == "network"
    assert start.table is not None
    np.testing.assert_allclose(start.table.coefficients, truth().coefficients)


def test_a_network_without_a_pair_part(tmp_path: Path, reference: Path) -> None:
    folder = network(tmp_path / "net", with_pair=False)
    with pytest.raises(InputError, match="expected one pair part in the model, found 0"):
        resolve(config(tmp_path, reference, start=str(folder)))


def test_a_network_of_another_temperature(tmp_path: Path, reference: Path) -> None:
    folder = network(tmp_path / "net", temperature=350.0)
    with pytest.raises(InputError, match="belongs to 350 K, the refinement is at 300 K"):
        resolve(config(tmp_path, reference, start=str(folder)))


def test_a_network_with_other_knots(tmp_path: Path, reference: Path) -> None:
    folder = network(tmp_path / "net")
    PairTable(("BEA",), 8.0, np.zeros((1, 23)), {}).write(folder / "pair.json")
    with pytest.raises(InputError, match="expected the same knots"):
        resolve(config(tmp_path, reference, start=str(folder)))


def test_a_deployed_model_of_another_network(tmp_path: Path, reference: Path) -> None:
    folder = network(tmp_path / "net")
    (tmp_path / "model.nequip.pt2").write_bytes(b"x")
    write_json(tmp_path / "model.cgpot.json", {**SIDECAR, "sha256": {"model.ckpt": "0"}})
    bad = config(
        tmp_path, reference, start=str(folder), deployed=str(tmp_path / "model.nequip.pt2")
    )
    with pytest.raises(InputError, match="made from another checkpoint"):
        compiled_model(bad, resolve(bad), tmp_path / "start", quiet=True)
    digest = sha256_file(folder / "model.ckpt")
    write_json(tmp_path / "model.cgpot.json", {**SIDECAR, "sha256": {"model.ckpt": digest}})
    found = compiled_model(bad, resolve(bad), tmp_path / "start", quiet=True)
    assert found.name == "model.nequip.pt2"


def test_damaged_samples(tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"damaged samples.*remove the file"):
        Samples.read(tmp_path / "samples.npz")


def test_amend_refuses(tmp_path: Path) -> None:
    folder = network(tmp_path / "net")
    facts: dict[str, Any] = {}
    with pytest.raises(InputError, match="expected a finished training folder"):
        amend(tmp_path, tmp_path / "out", truth(), frames(count=1), source=[], facts=facts)
    other = replace(truth(), type_names=("OTH",))
    with pytest.raises(InputError, match=r"bead types \['OTH'\], the model has \['BEA'\]"):
        amend(folder, tmp_path / "out", other, frames(count=1), source=[], facts=facts)
    with pytest.raises(InputError, match="no frames on which"):
        amend(folder, tmp_path / "out", truth(), [], source=[], facts=facts)
    short = PairTable(("BEA",), 8.0, np.zeros((1, 23)), {})
    with pytest.raises(InputError, match="expected coefficients of shape"):
        amend(folder, tmp_path / "out", short, frames(count=1), source=[], facts=facts)
    assert not (tmp_path / "out").exists()
