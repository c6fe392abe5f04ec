# SPDX-License-Identifier: GPL-2.0-or-later
"""Operators for GPUs: `cgpot_gpu::convolve` and its derivative, by kernels written in Triton.

They do what `cgpot::convolve` does (:mod:`cgpot.deploy.operators`) for edges that are sorted by
centre.  Inductor sees through them and puts the compiled kernels into a model's archive: what runs
it needs neither Triton nor Python.

A kernel is written for each tensor product, number of intervals and precision
(:mod:`cgpot.deploy.gpu_source`).
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from nequip.data import AtomicDataDict

from cgpot.deploy.blocks import Convolution
from cgpot.deploy.gpu_source import Kernels
from cgpot.deploy.operators import Plan
from cgpot.deploy.radial import Table
from cgpot.deploy.vectors import edge_vectors

OFFSETS_KEY = "cgpot_edge_offsets"
"""In the data: first edge of each centre, (centers + 1) int64."""
NEIGHBORS_KEY = "cgpot_edge_neighbors"
"""In the data: neighbour of each edge, (edges) int32."""


@cache
def compiled(kernels: Kernels) -> tuple[Any, Any]:
    """Triton's functions ``forward`` and ``backward``.

    Raises:
        ImportError: Triton is not installed.
    """
    source = kernels.source()
    name = f"<cgpot kernels {hash(source) & 0xFFFFFFFFFFFF:012x}>"
    # where Triton finds the source of its functions
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, name, "exec"), space)
    return space["forward"], space["backward"]


def _kernels(
    table: torch.Tensor, vectors: torch.dtype, r_max: float, plan: Sequence[int]
) -> Kernels:
    real, edges = (str(dtype).removeprefix("torch.") for dtype in (table.dtype, vectors))
    return Kernels(Plan.read(list(plan)), table.shape[0] - 3, r_max, real, edges)


def _convolve(
    x: torch.Tensor,
    vectors: torch.Tensor,
    neighbors: torch.Tensor,
    offsets: torch.Tensor,
    table: torch.Tensor,
    r_max: float,
    plan: Sequence[int],
) -> torch.Tensor:
    from torch.library import wrap_triton

    kernels = _kernels(table, vectors.dtype, r_max, plan)
    forward, _ = compiled(kernels)
    centers = offsets.shape[0] - 1
    out = x.new_empty(centers, kernels.plan.width())
    wrap_triton(forward)[(centers,)](
        x, vectors, neighbors, offsets, table, out, BLOCK=kernels.block, num_warps=kernels.warps
    )
    return out


def _convolve_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    vectors: torch.Tensor,
    neighbors: torch.Tensor,
    offsets: torch.Tensor,
    table: torch.Tensor,
    r_max: float,
    plan: Sequence[int],
    need_x: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    from torch.library import wrap_triton

    kernels = _kernels(table, vectors.dtype, r_max, plan)
    _, backward = compiled(kernels)
    of_x = torch.zeros_like(x) if need_x else x.new_zeros(1)
    of_vectors = torch.zeros_like(vectors)
    wrap_triton(backward)[(offsets.shape[0] - 1,)](
        grad,
        x,
        vectors,
        neighbors,
        offsets,
        table,
        of_x,
        of_vectors,
        BLOCK=kernels.block,
        NEED_X=need_x,
        num_warps=kernels.warps,
    )
    return of_x, of_vectors


@cache
def operators() -> None:
    """Make `cgpot_gpu::convolve` and `cgpot_gpu::convolve_backward` known to torch.

    Raises:
        ImportError: Triton is not installed.
    """
    from torch.library import triton_op

    convolve = triton_op("cgpot_gpu::convolve", _convolve, mutates_args={})
    convolve_backward = triton_op(
        "cgpot_gpu::convolve_backward", _convolve_backward, mutates_args={}
    )

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.r_max, ctx.plan = inputs
        ctx.save_for_backward(*tensors)

    def derivative(ctx: Any, grad: torch.Tensor) -> Any:
        need_x = ctx.needs_input_grad[0]
        of_x, of_vectors = torch.ops.cgpot_gpu.convolve_backward(
            grad.contiguous(), *ctx.saved_tensors, ctx.r_max, ctx.plan, need_x
        )
        return (of_x if need_x else None), of_vectors, None, None, None, None, None

    # what is known of the shapes, in place of tracing the kernels
    @convolve.register_fake
    def shape(x: Any, vectors: Any, neighbors: Any, offsets: Any, *rest: Any) -> Any:
        return x.new_empty(offsets.shape[0] - 1, Plan.read(list(rest[-1])).width())

    @convolve_backward.register_fake
    def shapes(grad: Any, x: Any, vectors: Any, *rest: Any) -> Any:
        need_x = rest[-1]
        return (torch.empty_like(x) if need_x else x.new_empty(1)), torch.empty_like(vectors)

    convolve.register_autograd(derivative, setup_context=keep)

    def members(info: Any, dims: Any, *arguments: Any) -> Any:
        """Under `torch.vmap`: one call for each member of an ensemble."""
        *tensors, r_max, plan = arguments
        each = [
            torch.ops.cgpot_gpu.convolve(
                *(
                    tensor if dim is None else tensor.select(dim, k)
                    for tensor, dim in zip(tensors, dims, strict=False)
                ),
                r_max,
                plan,
            )
            for k in range(info.batch_size)
        ]
        return torch.stack(each), 0

    convolve.register_vmap(members)


class GpuConvolution(Convolution):
    """The sums of :class:`cgpot.deploy.blocks.Convolution` on a GPU, for edges sorted by centre.

    Raises:
        ImportError: Triton is not installed.
    """

    def __init__(self, plan: Plan, table: Table, dtype: torch.dtype) -> None:
        super().__init__(plan, table, dtype)
        operators()
        # kernels are written with torch's help: before tracing takes that for a part of the model
        for vectors in {dtype, torch.float64}:
            compiled(_kernels(self.table, vectors, self.r_max, self.code))

    def forward(self, x: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
        """Sums over the neighbours of each computed node, (rows, width of the plan)."""
        centers, neighbors = data[AtomicDataDict.EDGE_INDEX_KEY].unbind(0)
        if OFFSETS_KEY not in data:  # the same for all layers
            rows = torch.arange(AtomicDataDict.num_nodes(data) + 1, device=centers.device)
            data[OFFSETS_KEY] = torch.searchsorted(centers.contiguous(), rows)
            data[NEIGHBORS_KEY] = neighbors.to(torch.int32)
        return torch.ops.cgpot_gpu.convolve(
            x.contiguous(),
            edge_vectors(data).contiguous(),
            data[NEIGHBORS_KEY],
            data[OFFSETS_KEY],
            self.table,
            self.r_max,
            self.code,
        )
