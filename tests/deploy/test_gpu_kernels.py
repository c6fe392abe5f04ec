# SPDX-License-Identifier: GPL-2.0-or-later
"""The Triton kernels' text, run by NumPy, against e3nn and torch's derivatives; no GPU needed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy_triton import stand_in

from cgpot.deploy.gpu import compiled
from cgpot.deploy.gpu_source import Kernels, derivative, harmonics
from cgpot.deploy.operators import Plan, reference

NODES, CENTERS, EDGES, R_MAX, INTERVALS = 9, 6, 40, 4.0, 16


def every_path(degrees: tuple[int, ...], l_max: int) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (source, edge, out)
        for source, degree in enumerate(degrees)
        for edge, out in product(range(l_max + 1), repeat=2)
        if abs(degree - edge) <= out <= degree + edge
    )


PLANS = {
    "scalars": Plan(0, ((0, 20),), ((0, 0, 0),)),
    "an irrep that no path takes": Plan(1, ((1, 2), (0, 3)), ((1, 1, 1), (1, 0, 0))),
    "l = 2": Plan(2, ((0, 17), (1, 3), (2, 2)), every_path((0, 1, 2), 2)),
    "l = 3": Plan(3, ((0, 2), (3, 3)), every_path((0, 3), 3)),
}


@pytest.mark.parametrize("need_x", [True, False])
@pytest.mark.parametrize(
    ("dtype", "kind", "tol"),
    [
        (torch.float64, torch.float64, 1e-13),
        (torch.float32, torch.float64, 2e-6),
        (torch.float32, torch.float32, 2e-6),
    ],
)
@pytest.mark.parametrize("name", list(PLANS))
def test_kernels(
    name: str, dtype: torch.dtype, kind: torch.dtype, tol: float, need_x: bool
) -> None:
    """Features, gradients of features and vectors; centres without edges, edges beyond R_MAX."""
    plan = PLANS[name]
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind)

    width = sum(channels * (2 * degree + 1) for degree, channels in plan.irreps)
    x = normal(NODES, width).requires_grad_(True)
    vectors = (1.5 * normal(EDGES, 3, kind=torch.float64)).to(kind).requires_grad_(True)
    assert 0 < int((vectors.norm(dim=1) >= R_MAX).sum()) < EDGES
    table = normal(INTERVALS + 3, plan.columns()[-1])
    centers = torch.randint(1, CENTERS - 1, (EDGES,), generator=generator).sort().values
    neighbors = torch.randint(0, NODES, (EDGES,), generator=generator, dtype=torch.int32)
    offsets = torch.searchsorted(centers, torch.arange(CENTERS + 1))
    index = torch.stack([centers, neighbors])
    result = reference(x, vectors, index, table, R_MAX, plan, CENTERS)
    grad = normal(CENTERS, plan.width())
    of_x, of_vectors = torch.autograd.grad(result, (x, vectors), grad)
    expected = result.detach()

    names = (str(each).removeprefix("torch.") for each in (dtype, kind))
    kernels = Kernels(plan, INTERVALS, R_MAX, *names)
    compiled.cache_clear()
    with stand_in():
        forward, backward = compiled(kernels)
    compiled.cache_clear()
    sizes = {"BLOCK": kernels.block, "num_warps": kernels.warps}
    edges = (vectors, neighbors, offsets, table)
    out = torch.full((CENTERS, plan.width()), torch.nan, dtype=dtype)
    forward[(CENTERS,)](x, *edges, out, **sizes)
    found_x, found = torch.zeros_like(x), torch.full_like(vectors, torch.nan)
    backward[(CENTERS,)](grad, x, *edges, found_x, found, NEED_X=need_x, **sizes)
    if not need_x:
        assert not found_x.any()
    pairs = [(out, expected), (found, of_vectors), *([(found_x, of_x)] if need_x else [])]
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=tol * float(b.abs().max()))


def test_what_is_not_a_number_stays_so() -> None:
    """A broken position must not become a force of zero."""
    plan = PLANS["scalars"]
    kernels = Kernels(plan, INTERVALS, R_MAX, "float64")
    compiled.cache_clear()
    with stand_in():
        forward, _ = compiled(kernels)
    compiled.cache_clear()
    out = torch.zeros(1, 20, dtype=torch.float64)
    forward[(1,)](
        torch.ones(2, 20, dtype=torch.float64),
        torch.tensor([[torch.nan, 0.0, 0.0]], dtype=torch.float64),
        torch.tensor([1], dtype=torch.int32),
        torch.tensor([0, 1]),
        torch.ones(INTERVALS + 3, 24, dtype=torch.float64),
        out,
        BLOCK=kernels.block,
        num_warps=1,
    )
    assert out.isnan().all()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics(degree: int) -> None:
    """Of other points than those they were fitted to; slopes by differences."""
    from e3nn.o3._spherical_harmonics import spherical_harmonics

    points = np.random.default_rng(7).standard_normal((20, 3))
    expected = spherical_harmonics(
        degree, torch.as_tensor(points), normalize=False, normalization="component"
    ).numpy()

    def value(polynomial: dict[tuple[int, int, int], float], at: np.ndarray) -> np.ndarray:
        return sum(
            (f * np.prod(at ** np.array(p), axis=1) for p, f in polynomial.items()),
            np.zeros(len(at)),
        )

    for m, polynomial in enumerate(harmonics(degree)):
        np.testing.assert_allclose(value(polynomial, points), expected[:, m], rtol=0, atol=1e-12)
        for axis in range(3):
            step = 1e-5 * np.eye(3)[axis]
            slope = (value(polynomial, points + step) - value(polynomial, points - step)) / 2e-5
            np.testing.assert_allclose(
                value(derivative(polynomial, axis), points), slope, rtol=0, atol=1e-7
            )


def test_lanes_and_warps() -> None:
    sizes = {
        channels: (kernels.block, kernels.warps)
        for channels in (1, 16, 17, 32, 128, 300)
        for kernels in [Kernels(Plan(0, ((0, channels),), ((0, 0, 0),)), 4, 1.0, "float32")]
    }
    assert sizes == {
        1: (16, 1),
        16: (16, 1),
        17: (32, 1),
        32: (32, 1),
        128: (128, 4),
        300: (512, 8),
    }
