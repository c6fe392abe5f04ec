# SPDX-License-Identifier: GPL-2.0-or-later
"""The native operators against e3nn's couplings and harmonics and torch's own derivatives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cgpot.deploy import operators
from cgpot.deploy.operators import Plan, reference, reference_pair

NODES, EDGES, R_MAX = 40, 700, 5.0


def every_path(l_max: int) -> tuple[tuple[int, int, int], ...]:
    degrees = range(l_max + 1)
    return tuple(
        (i, edge, out)
        for i in degrees
        for edge in degrees
        for out in range(abs(i - edge), min(l_max, i + edge) + 1)
    )


ROUNDED = 2e-5
"""Of slopes, where lengths are rounded at other places (to 6e-8): random tables of 50 intervals
bend that much."""
PLANS = {
    "scalars": Plan(0, ((0, 16),), ((0, 0, 0),)),
    "vectors": Plan(1, ((0, 8), (1, 8)), ((0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))),
    "odd channels": Plan(2, ((0, 5), (1, 3), (2, 9)), every_path(2)),
    "l = 3": Plan(3, ((0, 3), (1, 2), (2, 4), (3, 9)), every_path(3)),
}


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.plugin.plugin_build import build

    library = build().library.with_name("cgpotops.so")
    assert operators.load(library)


class Case:
    """Random inputs; some vectors are longer than the cutoff.

    Args:
        plan: the tensor product.
        dtype: of the features.
        edges: of the vectors.
        ordered: edges by centre.
        ghosts: so many of the nodes are no centres.
    """

    def __init__(
        self,
        plan: Plan,
        dtype: torch.dtype,
        *,
        edges: torch.dtype = torch.float64,
        ordered: bool = False,
        ghosts: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(3)
        self.plan = plan
        width = sum(channels * (2 * degree + 1) for degree, channels in plan.irreps)

        def normal(*shape: int, kind: torch.dtype = torch.float64) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind)

        self.x = normal(NODES, width, kind=dtype).requires_grad_(True)
        self.vectors = (2.0 * normal(EDGES, 3)).to(edges).requires_grad_(True)
        assert (self.vectors.norm(dim=1) > R_MAX).any()
        self.index = torch.randint(0, NODES, (2, EDGES), generator=generator)
        self.centers = NODES - ghosts
        self.index[0] %= self.centers
        if ordered:
            self.index = self.index[:, self.index[0].argsort(stable=True)]
        self.table = normal(53, plan.columns()[-1], kind=dtype)
        self.grad = normal(self.centers, plan.width(), kind=dtype)

    def results(self, convolve: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, ...]:
        out = convolve(self.x, self.vectors, self.index, self.table, R_MAX)
        return out.detach(), *torch.autograd.grad(out, (self.x, self.vectors), self.grad)

    def native(self) -> tuple[torch.Tensor, ...]:
        return self.results(lambda *a: torch.ops.cgpot.convolve(*a, self.plan.code(), self.centers))

    def plain(self) -> tuple[torch.Tensor, ...]:
        return self.results(lambda *a: reference(*a, self.plan, self.centers))


def close(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], tol: float) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tol * float(b.abs().max()))


@pytest.mark.parametrize(
    ("dtype", "edges", "tol"),
    [
        (torch.float64, torch.float64, 1e-13),
        (torch.float64, torch.float32, ROUNDED),
        (torch.float32, torch.float64, 2e-6),
        (torch.float32, torch.float32, ROUNDED),
    ],
)
@pytest.mark.parametrize(("ordered", "ghosts"), [(False, 0), (True, 0), (True, 13)])
@pytest.mark.parametrize("name", list(PLANS))
def test_convolution(
    name: str, ordered: bool, ghosts: int, dtype: torch.dtype, edges: torch.dtype, tol: float
) -> None:
    """Gradients of vectors are in their precision: `close` compares the types too."""
    case = Case(PLANS[name], dtype, edges=edges, ordered=ordered, ghosts=ghosts)
    close(case.native(), case.plain(), tol)


def test_threads_agree() -> None:
    """More nodes than one task takes, with a neighbour list that crosses between the threads."""
    case = Case(PLANS["odd channels"], torch.float64)
    case.x = torch.cat([case.x.detach()] * 6).requires_grad_(True)
    case.grad = torch.cat([case.grad] * 6)
    case.centers = len(case.x)
    case.index = torch.randint(0, len(case.x), (2, EDGES), generator=torch.Generator())
    count = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        close(case.native(), case.plain(), 1e-13)
    finally:
        torch.set_num_threads(count)


def test_gradients_by_differences() -> None:
    case = Case(PLANS["vectors"], torch.float64)
    with torch.no_grad():  # away from the cutoff, where the random table jumps
        case.vectors.mul_(0.4 * R_MAX / case.vectors.norm(dim=1, keepdim=True))
    vectors = case.vectors[:20].detach().requires_grad_(True)

    def energy(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.ops.cgpot.convolve(
            x, v, case.index[:, :20], case.table, R_MAX, case.plan.code(), NODES
        )

    assert torch.autograd.gradcheck(energy, (case.x, vectors), eps=1e-6, atol=1e-7)


def test_edges_beyond_the_cutoff_count_nothing() -> None:
    case = Case(PLANS["vectors"], torch.float64)
    inside = case.vectors.norm(dim=1) < R_MAX
    out, _, of_vectors = case.native()
    assert torch.all(of_vectors[~inside] == 0)
    case.index, case.vectors = case.index[:, inside], case.vectors[inside].detach()
    case.vectors.requires_grad_(True)
    torch.testing.assert_close(case.native()[0], out, rtol=0, atol=1e-12)


def test_a_vector_that_is_no_number_shows() -> None:
    case = Case(PLANS["vectors"], torch.float64)
    with torch.no_grad():
        case.vectors[5] = torch.nan
    out, *_ = case.native()
    assert torch.isnan(out[case.index[0, 5]]).any()


def test_nodes_without_edges() -> None:
    case = Case(PLANS["scalars"], torch.float64)
    case.index = case.index % 10
    out, of_x, _ = case.native()
    assert torch.all(out[10:] == 0)
    assert torch.all(of_x[10:] == 0)


PAIR_ROWS = torch.tensor([[0, 1], [1, 2]])


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("edges", "tol"), [(torch.float64, 1e-13), (torch.float32, ROUNDED)])
@pytest.mark.parametrize(("shift", "ghosts"), [(0.0, 0), (100.0, 0), (0.0, 9)])
def test_pair_energy(
    shift: float, ghosts: int, edges: torch.dtype, tol: float, ordered: bool
) -> None:
    """Energies are in double precision in any case."""
    case = Case(PLANS["scalars"], torch.float64, edges=edges, ghosts=ghosts, ordered=ordered)
    types = torch.arange(NODES) % 2
    coefficients = torch.randn(3, 43, dtype=torch.float64) + shift
    rest = (case.index, types, coefficients, PAIR_ROWS, R_MAX, case.centers)
    grad = torch.randn(case.centers, 1, dtype=torch.float64)
    results = []
    for function in (torch.ops.cgpot.pair_energy, reference_pair):
        out = function(case.vectors, *rest)
        results.append((out.detach(), *torch.autograd.grad(out, case.vectors, grad)))
    assert results[0][0].dtype == torch.float64
    close(results[0], results[1], tol)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": torch.full((2, EDGES), NODES)}, "an edge ends at no node"),
        ({"vectors": torch.zeros(EDGES, 3, dtype=torch.half)}, "float32 or float64"),
        ({"centers": -1}, "a negative number of centres"),
        ({"types": torch.zeros(NODES)}, "wrong shapes of types"),
    ],
)
def test_wrong_arguments_of_pairs(change: dict[str, Any], message: str) -> None:
    case = Case(PLANS["scalars"], torch.float64)
    arguments = {
        "vectors": case.vectors.detach(),
        "index": case.index,
        "types": torch.zeros(NODES, dtype=torch.long),
        "coefficients": torch.zeros(3, 43, dtype=torch.float64),
        "rows": PAIR_ROWS,
        "r_max": R_MAX,
        "centers": NODES,
        **change,
    }
    with pytest.raises(RuntimeError, match=message):
        torch.ops.cgpot.pair_energy(*arguments.values())


@pytest.mark.parametrize("ghosts", [0, 4])
def test_exchange_alone_copies(ghosts: int) -> None:
    """Rows of ghosts are zeros outside the pair style, and gradients of them are dropped."""
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    out = torch.ops.cgpot.exchange(x, torch.zeros(7 + ghosts, dtype=torch.long))
    assert torch.equal(out[:7], x)
    assert torch.equal(out[7:], torch.zeros(ghosts, 5, dtype=torch.float64))
    assert out.data_ptr() != x.data_ptr()
    grad = torch.randn_like(out)
    (of_x,) = torch.autograd.grad(out, x, grad)
    assert torch.equal(of_x, grad[:7])


def test_exchange_of_more_rows_than_nodes() -> None:
    with pytest.raises(RuntimeError, match="expected rows of the first of all nodes"):
        torch.ops.cgpot.exchange(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))


def test_plan_survives_its_code() -> None:
    plan = PLANS["odd channels"]
    assert Plan.read(plan.code()) == plan
    assert plan.supported
    assert Plan(3, ((0, 4),), ((0, 3, 3),)).supported
    assert not Plan(4, ((0, 4),), ((0, 4, 4),)).supported
    assert plan.columns()[:3] == [0, 8, 16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(NODES, 3)}, r"expected \(members, nodes, 16\)"),
        ({"index": torch.full((2, EDGES), NODES)}, "an edge ends at no node"),
        ({"index": torch.zeros(2, EDGES - 1, dtype=torch.long)}, "a vector for each edge"),
        ({"centers": int(NODES / 2)}, "an edge ends at no node"),
        ({"centers": -1}, "a negative number of centres"),
        ({"table": torch.zeros(53, 8)}, r"expected \(members, intervals \+ 3, 16\)"),
        ({"plan": [4, 1, 0, 16, 0, 4, 4]}, "a path beyond l = 3"),
        ({"plan": [0, 1, 0, 16, 4, 0, 0]}, "takes an input that is not there"),
        ({"plan": [0, 1, 0, 16, 0, 0]}, "wrong length"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    case = Case(PLANS["scalars"], torch.float32)
    arguments = {
        "x": case.x.detach(),
        "vectors": case.vectors.detach(),
        "index": case.index,
        "table": case.table,
        "r_max": R_MAX,
        "plan": case.plan.code(),
        "centers": NODES,
        **change,
    }
    with pytest.raises(RuntimeError, match=message):
        torch.ops.cgpot.convolve(*arguments.values())


def test_without_the_library() -> None:
    """Plain torch code registers the same operators, in a process of its own."""
    code = """
import torch
from cgpot.deploy import operators
from cgpot.deploy.operators import Plan, reference
assert operators.load(None) is False
plan = Plan(1, ((0, 8),), ((0, 0, 0), (0, 1, 1)))
x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
v = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
index, table = torch.randint(0, 5, (2, 9)), torch.randn(13, 16, dtype=torch.float64)
out = torch.ops.cgpot.convolve(x, v, index, table, 4.0, plan.code(), 5)
torch.testing.assert_close(out, reference(x, v, index, table, 4.0, plan))
a = torch.autograd.grad(out.sum(), (x, v))
b = torch.autograd.grad(reference(x, v, index, table, 4.0, plan).sum(), (x, v))
for p, q in zip(a, b): torch.testing.assert_close(p, q)
types = torch.zeros(6, dtype=torch.long)
assert torch.equal(torch.ops.cgpot.exchange(x, types)[:5], x)
assert torch.equal(torch.ops.cgpot.exchange(x, types)[5], torch.zeros(8))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
