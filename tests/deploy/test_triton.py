# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels for GPUs with Triton itself, on a machine without a GPU; `make test-triton`.

Half of the tests need Triton's interpreter (TRITON_INTERPRET=1), which runs kernels on the CPU, the
other half its compiler.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from model_systems import SMALL, build, frame, graph

from cgpot.deploy import gpu
from cgpot.deploy.acceleration import accelerate
from cgpot.deploy.batch import together
from cgpot.deploy.export import trace
from cgpot.deploy.gpu_source import Kernels
from cgpot.deploy.operators import Plan, load, reference
from cgpot.deploy.ranks import only_owned, with_own_rows
from cgpot.deploy.target import INPUTS, OUTPUTS, edge_vector_data

pytest.importorskip("triton")
pytestmark = pytest.mark.triton
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="needs TRITON_INTERPRET=1")
compiling = pytest.mark.skipif(INTERPRETED, reason="needs Triton's compiler")

NODES, CENTERS, EDGES, R_MAX = 7, 5, 30, 4.0
PLANS = {
    "scalars": Plan(0, ((0, 24),), ((0, 0, 0),)),
    "l = 2": Plan(
        2,
        ((0, 9), (1, 4), (2, 3)),
        ((0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 1, 0), (1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 2, 2)),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.core.native import built_operators

    load(built_operators())
    gpu.operators()


@interpreted
@pytest.mark.parametrize(
    ("dtype", "kind", "tol"),
    [
        (torch.float64, torch.float64, 1e-13),
        (torch.float32, torch.float64, 2e-6),
        (torch.float32, torch.float32, 2e-6),
    ],
)
@pytest.mark.parametrize("name", list(PLANS))
def test_operators(name: str, dtype: torch.dtype, kind: torch.dtype, tol: float) -> None:
    plan = PLANS[name]
    generator = torch.Generator().manual_seed(5)
    width = sum(channels * (2 * degree + 1) for degree, channels in plan.irreps)
    x = torch.randn(NODES, width, generator=generator).to(dtype).requires_grad_(True)
    vectors = 1.5 * torch.randn(EDGES, 3, generator=generator, dtype=torch.float64)
    vectors = vectors.to(kind).requires_grad_(True)
    table = torch.randn(19, plan.columns()[-1], generator=generator).to(dtype)
    centers = torch.randint(0, CENTERS, (EDGES,), generator=generator).sort().values
    neighbors = torch.randint(0, NODES, (EDGES,), generator=generator, dtype=torch.int32)
    offsets = torch.searchsorted(centers, torch.arange(CENTERS + 1))
    expected = reference(x, vectors, torch.stack([centers, neighbors]), table, R_MAX, plan, CENTERS)
    grad = torch.randn(expected.shape, generator=generator).to(dtype)
    found = torch.ops.cgpot_gpu.convolve(x, vectors, neighbors, offsets, table, R_MAX, plan.code())
    pairs = zip(
        (found.detach(), *torch.autograd.grad(found, (x, vectors), grad)),
        (expected.detach(), *torch.autograd.grad(expected, (x, vectors), grad)),
        strict=True,
    )
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=tol * float(b.abs().max()))


@interpreted
@pytest.mark.parametrize("name", ["nequip", "schnet"])
def test_models(name: str) -> None:
    """Eager, and traced with ghosts: the operators stand in what Inductor is given."""
    torch.manual_seed(0)
    model = build({**SMALL[name], "dtype": "float64"}).eval()
    only_owned(model)
    data = edge_vector_data(graph(frame()))
    expected = {key: value.detach() for key, value in model(dict(data)).items() if key in OUTPUTS}
    record = accelerate(model, "triton")
    assert record is not None
    assert record["way"] == "triton"
    with_own_rows(model)
    exported = trace(model, data, inputs=INPUTS, outputs=OUTPUTS, device="cpu")
    called = [str(node.target) for node in exported.graph.nodes]
    layers = record["layers"]
    assert sum("cgpot_gpu.convolve.default" in target for target in called) == layers
    assert sum("cgpot_gpu.convolve_backward.default" in target for target in called) == layers
    assert sum("searchsorted" in target for target in called) == 1
    traced = exported.module()(*(data[key] for key in INPUTS))
    for found in (model(dict(data)), dict(zip(OUTPUTS, traced, strict=True))):
        for key in OUTPUTS:
            scale = float(expected[key].abs().max())
            torch.testing.assert_close(
                found[key].detach(), expected[key], rtol=0, atol=1e-9 * scale
            )


@interpreted
def test_members_together() -> None:
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(build({**SMALL["schnet"], "dtype": "float64"}).eval())
    data = edge_vector_data(graph(frame()))
    alone = []
    for model in models:
        only_owned(model)
        alone.append({key: value.detach() for key, value in model(dict(data)).items()})
    both, _, _ = together(models, "triton")
    found = both(dict(data))
    for number, expected in enumerate(alone):
        for key in OUTPUTS:
            scale = float(expected[key].abs().max())
            torch.testing.assert_close(
                found[key][number].detach(), expected[key], rtol=0, atol=1e-9 * scale
            )


@compiling
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    ("dtype", "edges"), [("float32", "float32"), ("float32", "float64"), ("float64", "float64")]
)
@pytest.mark.parametrize("name", list(PLANS))
def test_machine_code(name: str, dtype: str, edges: str, capability: int) -> None:
    """What the kernels become for data-centre GPUs; numbers stay as exact as they are."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    intervals = 77
    kernels = Kernels(PLANS[name], intervals, R_MAX, dtype, edges)
    form = {"float32": ">f", "float64": ">d"}[edges]
    number = f"0{form[1]}{struct.pack(form, intervals / R_MAX).hex().upper()}"
    pointers = {"float32": "*fp32", "float64": "*fp64"}
    real, vector = pointers[dtype], pointers[edges]
    types = {"neighbors": "*i32", "offsets": "*i64", "vectors": vector, "of_vectors": vector}
    for function in gpu.compiled(kernels):
        names = list(function.arg_names)
        constants = {n: v for n, v in (("BLOCK", kernels.block), ("NEED_X", True)) if n in names}
        signature = {n: "constexpr" if n in constants else types.get(n, real) for n in names}
        source = ASTSource(
            function, signature, {(names.index(n),): v for n, v in constants.items()}
        )
        made = triton.compile(
            source,
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": kernels.warps},
        )
        assert f".target sm_{capability}" in made.asm["ptx"]
        assert number in made.asm["ptx"]
        if edges == dtype == "float32":  # consumer GPUs are slow in double precision
            assert "f64" not in made.asm["ptx"]
        assert made.asm["cubin"]
