# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of one shape evaluated together, against each alone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from model_systems import SMALL, build, frame, graph

from cgpot.core.errors import DataError
from cgpot.core.files import read_json, sha256_file, write_json
from cgpot.deploy import operators
from cgpot.deploy.batch import MembersDiffer, together
from cgpot.deploy.deployed_ensemble import deploy_ensemble
from cgpot.deploy.target import edge_vector_data
from cgpot.deploy.verify import verify_batch


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.plugin.plugin_build import build as build_plugin

    operators.load(build_plugin().library.with_name("cgpotops.so"))


def members(name: str, count: int = 3, **changes: Any) -> list[Any]:
    """Networks that differ by their weights alone."""
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        model = build({**SMALL[name], **changes}).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        models.append(model)
    return models


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("nequip", "kernels"),
        ("nequip", "torch"),
        ("nequip", None),
        ("schnet", "kernels"),
        ("schnet", None),
        ("allegro", "kernels"),
        ("allegro", "torch"),
    ],
)
def test_members_alone(name: str, way: str | None) -> None:
    models = members(name)
    data = edge_vector_data(graph(frame()))
    expected = [model({key: value.clone() for key, value in data.items()}) for model in models]
    batch, reach, record = together(models, way)
    found = batch(data)
    assert batch.count == 3
    assert reach.exchange_width % 3 == 0
    assert (record is None) == (way is None)
    for number, own in enumerate(expected):
        for key in ("atomic_energy", "edge_forces"):
            scale = float(own[key].detach().abs().max())
            torch.testing.assert_close(found[key][number], own[key], rtol=0, atol=1e-9 * scale)
    energies = found["atomic_energy"].sum((1, 2))
    assert len({float(e) for e in energies}) == 3


def test_tables_of_one_length() -> None:
    """A member whose radial functions need more intervals than the others'."""
    models = members("nequip", 2)
    with torch.no_grad():
        models[1].model.func.bessel_encode.bessel_weights.mul_(1.7)
    data = edge_vector_data(graph(frame()))
    expected = [model({key: value.clone() for key, value in data.items()}) for model in models]
    batch, _, _ = together(models, "kernels")
    for number, own in enumerate(expected):
        torch.testing.assert_close(
            batch(data)["edge_forces"][number], own["edge_forces"], rtol=0, atol=1e-10
        )


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("schnet", {"features": 9}, r"member 1 has .* of shape \(.*\), member 0 of \("),
        ("nequip", {"features": 5}, "members pass messages differently"),
        ("nequip", {"layers": 3}, r"members have \[2, 3\] layers"),
        ("nequip", {"dtype": "float32"}, "model_dtype 'float32', member 0 'float64'"),
    ],
)
def test_other_shapes_are_refused(name: str, other: dict[str, Any], message: str) -> None:
    with pytest.raises(MembersDiffer, match=message):
        together([*members(name, 1), *members(name, 1, **other)], "kernels")


def test_operators_of_members() -> None:
    """One call for all members: as one each, edges in any order."""
    from test_operators import PLANS, R_MAX, Case

    cases = [Case(PLANS["odd channels"], torch.float64, ghosts=5) for _ in range(2)]
    first = cases[0]
    rest = (first.index, R_MAX, first.plan.code(), first.centers)

    def call(x: Any, vectors: Any, table: Any) -> torch.Tensor:
        out: torch.Tensor = torch.ops.cgpot.convolve(x, vectors, rest[0], table, *rest[1:])
        return out

    x = torch.stack([first.x.detach(), 0.3 * first.x.detach() + 1.0]).requires_grad_(True)
    table = torch.stack([first.table, first.table.flip(0)])
    vectors = first.vectors.detach().expand(2, -1, -1).requires_grad_(True)
    found = torch.vmap(call)(x, vectors, table)
    grad = torch.stack([first.grad, first.grad.cos()])
    of_x, of_vectors = torch.autograd.grad(found, (x, vectors), grad)
    for number in range(2):
        own_x = x[number].detach().requires_grad_(True)
        own_vectors = first.vectors.detach().requires_grad_(True)
        out = call(own_x, own_vectors, table[number])
        torch.testing.assert_close(found[number], out)
        expected = torch.autograd.grad(out, (own_x, own_vectors), grad[number])
        torch.testing.assert_close(of_x[number], expected[0])
        torch.testing.assert_close(of_vectors[number], expected[1])


@pytest.fixture(scope="module")
def ensemble(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder twice, the second time with other weights."""
    folder = tmp_path_factory.mktemp("ensemble")
    for number in range(2):
        shutil.copytree(training, folder / f"member.{number}")
    record = {
        "format": "cgpot-ensemble-1",
        "kind": "network",
        "members": ["member.0", "member.1"],
        "spread": {},
    }
    write_json(folder / "ensemble.json", record)
    return folder


def test_deployed_together(ensemble: Path, tmp_path: Path) -> None:
    done = deploy_ensemble(ensemble, tmp_path, batch=True, quiet=True)
    batch = done.content["batch"]
    assert batch["file"] == "model.all.nequip.pt2"
    assert batch["sha256"] == sha256_file(tmp_path / batch["file"])
    assert batch["members_ms"] > 0
    assert batch["batch_ms"] > 0
    assert max(batch["errors"].values()) < 1e-4
    sidecar = read_json(tmp_path / "model.all.cgpot.json")
    assert sidecar["members"] == 2
    assert list(sidecar["sha256"]) == [batch["file"]]
    assert deploy_ensemble(ensemble, tmp_path, batch=True, quiet=True).skipped
    models = [tmp_path / f"model.{k}.nequip.pt2" for k in range(2)]
    example = ensemble / "member.0" / "example.extxyz"
    # what is compared is compared: with a file of other models
    _other_weights(ensemble, tmp_path, models)
    with pytest.raises(DataError, match="differs from its members: relative error"):
        verify_batch(tmp_path / batch["file"], models, example)

    from cgpot.core.errors import ManifestError
    from cgpot.md.compiled_models import batch_file

    record = read_json(done.sidecar)
    for faster, expected in ((True, batch["file"]), (False, None)):
        record["batch"] |= {"batch_ms": 1.0, "members_ms": 2.0 if faster else 0.5}
        write_json(done.sidecar, record)
        found = batch_file(done.sidecar)
        assert (found.name if found else None) == expected
    record["batch"] |= {"sha256": "0" * 64, "members_ms": 2.0}
    write_json(done.sidecar, record)
    with pytest.raises(ManifestError, match=r"changed since model\.ensemble\.json was written"):
        batch_file(done.sidecar)


def _other_weights(ensemble: Path, folder: Path, models: list[Path]) -> None:
    """Compile a member anew with its weights changed."""
    from nequip.model.saved_models.load_utils import load_saved_model

    from cgpot.deploy.target import compile_model
    from cgpot.molecules.extxyz import read_frames
    from cgpot.potential.site_graph import site_graph

    model = load_saved_model(str(folder / "model.1.nequip.zip")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    example = next(iter(read_frames(ensemble / "member.0" / "example.extxyz")))
    data = site_graph(example, float(model.metadata["r_max"]))
    compile_model(model, data, models[1], fast=True)
