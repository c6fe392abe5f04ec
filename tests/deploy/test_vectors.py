# SPDX-License-Identifier: GPL-2.0-or-later
"""The precision of the vectors of edges, and what of the edge index compiled models read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from nequip.data import AtomicDataDict

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from model_systems import SMALL, build, frame, graph

from cgpot.deploy import operators
from cgpot.deploy.acceleration import accelerate
from cgpot.deploy.batch import together
from cgpot.deploy.export import reads_centers, trace
from cgpot.deploy.ranks import only_owned, with_own_rows
from cgpot.deploy.target import INPUTS, OUTPUTS, edge_vector_data
from cgpot.deploy.vectors import take_single

VECTORS, GRADIENT = AtomicDataDict.EDGE_VECTORS_KEY, AtomicDataDict.EDGE_FORCE_KEY


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.plugin.plugin_build import build as build_plugin

    operators.load(build_plugin().library.with_name("cgpotops.so"))


def prepared(name: str, dtype: str, way: str | None) -> tuple[Any, torch.dtype]:
    """A model as `compile_model` has it before it is traced."""
    torch.manual_seed(0)
    model = build({**SMALL[name], "dtype": dtype}).eval()
    tables = None if way is None else accelerate(model, way)
    only_owned(model)
    with_own_rows(model)
    return model, take_single(model, tables)


@pytest.mark.parametrize(
    ("name", "dtype", "way", "vectors", "read"),
    [
        ("nequip", "float32", "kernels", torch.float32, False),
        ("nequip", "float64", "kernels", torch.float64, False),
        ("nequip", "float32", "torch", torch.float32, True),
        ("nequip", "float32", None, torch.float64, True),
        ("schnet", "float32", "kernels", torch.float32, False),
        ("allegro", "float32", "kernels", torch.float32, True),
    ],
)
def test_what_a_model_takes(
    name: str, dtype: str, way: str | None, vectors: torch.dtype, read: bool
) -> None:
    """Against the same model with vectors in double precision; the graph's readers of an input."""
    model, taken = prepared(name, dtype, way)
    assert taken == vectors
    data = edge_vector_data(graph(frame()), vectors)
    exported = trace(model, data, inputs=INPUTS, outputs=OUTPUTS, device="cpu")
    assert reads_centers(exported, INPUTS) == read
    full = {**data, VECTORS: data[VECTORS].double()}
    found, expected = model(dict(data)), model(dict(full))
    assert found[GRADIENT].dtype == vectors
    for key in OUTPUTS:
        scale = float(expected[key].detach().abs().max())
        torch.testing.assert_close(
            found[key].detach().double(), expected[key].detach().double(), rtol=0, atol=3e-6 * scale
        )


def test_members_take_the_same() -> None:
    models = [prepared("schnet", "float32", None)[0] for _ in range(2)]
    assert together(models, None)[0].vectors == torch.float64
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(build({**SMALL["schnet"], "dtype": "float32"}).eval())
    both, _, _ = together(models, "kernels")
    assert both.vectors == torch.float32
    data = edge_vector_data(graph(frame()), both.vectors)
    found = both(dict(data))
    assert found[GRADIENT].dtype == torch.float32
    for number, model in enumerate(models):
        alone = model(dict(data))
        for key in OUTPUTS:
            torch.testing.assert_close(found[key][number].detach(), alone[key].detach())
