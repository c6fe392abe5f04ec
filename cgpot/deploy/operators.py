# SPDX-License-Identifier: GPL-2.0-or-later
"""The operators that compiled models call: `cgpot::convolve` and `cgpot::exchange`.

`cgpot::convolve(x, vectors, index, table, r_max, plan, centers)` is the message-passing step

    out_i[p] = sum_j R_p(r_ij) (x_j ⊗ Y(r_ij))[p]

over the edges (i, j) of ``index`` and the paths p of ``plan``:

========= ================== ==================================================================
argument  shape              meaning
========= ================== ==================================================================
x         (nodes, features)  node features, e3nn's layout (channels × (2l + 1), m fastest)
vectors   (edges, 3)         float32 or float64, x_j - x_i in Å; so is their gradient
index     (2, edges)         int64, centre i and neighbour j
table     (intervals + 3, K) coefficients of uniform cubic B-splines on [0, r_max], a column for
                             each channel of each path (channels filled up to multiples of 8)
plan      list of int        :class:`Plan`
centers   int                rows of the result: every centre is one of the first so many nodes
========= ================== ==================================================================

Y are real spherical harmonics of the edge's direction (e3nn's order, sum of squares 2l + 1), ⊗ the
coupling with Wigner 3j symbols, channel by channel ("uvu" in e3nn).  The result has the
channels of x for each path, in the order of the paths.

`cgpot::pair_energy(vectors, index, types, coefficients, rows, r_max, centers)` sums half of a pair
potential over the edges of each centre, (centers, 1) in float64: coefficients (pairs of types,
intervals + 3) of uniform cubic B-splines, rows (types, types) the pair of each two types.

`cgpot::exchange(x, types)` gives each of the nodes that ``types`` (nodes,) counts a row: first
those of x (rows, features), then those of ghosts, from the ranks that own them when the pair style
says so, elsewhere zeros.  All have derivatives (`_backward`).  The plugin's library holds them
for CPUs; without it, :func:`load` registers plain torch code for the same operators.

Under `torch.vmap` over the members of an ensemble, x, vectors and table have a first dimension
more, and what depends on the edges alone is done once: the vectors are those of the first member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

VERSION: Final = "3"
"""Of the signatures; the plugin takes models of its own version alone."""
LANES: Final = 8
"""Channels are filled up to multiples of this number in the columns of the table."""
SCHEMAS: Final = {
    "convolve": "(Tensor x, Tensor vectors, Tensor index, Tensor table, float r_max, int[] plan, "
    "SymInt centers) -> Tensor",
    "convolve_backward": "(Tensor grad, Tensor x, Tensor vectors, Tensor index, Tensor table, "
    "float r_max, int[] plan, bool need_x) -> (Tensor, Tensor)",
    "pair_energy": "(Tensor vectors, Tensor index, Tensor types, Tensor coefficients, Tensor rows, "
    "float r_max, SymInt centers) -> Tensor",
    "pair_energy_backward": "(Tensor grad, Tensor vectors, Tensor index, Tensor types, "
    "Tensor coefficients, Tensor rows, float r_max) -> Tensor",
    "exchange": "(Tensor x, Tensor types) -> Tensor",
    "exchange_backward": "(Tensor grad, SymInt rows) -> Tensor",
}


@dataclass(frozen=True)
class Plan:
    """A tensor product of node features with spherical harmonics.

    Attributes:
        l_max: of the harmonics, 3 at most.
        irreps: (l, channels) of each irrep of the features, 3 at most for l.
        paths: (number of the irrep, l of the edge, l of the result) of each path.
    """

    l_max: int
    irreps: tuple[tuple[int, int], ...]
    paths: tuple[tuple[int, int, int], ...]

    def code(self) -> list[int]:
        """The plan as the operators take it."""
        values = [self.l_max, len(self.irreps)]
        for group in (*self.irreps, *self.paths):
            values.extend(group)
        return values

    @classmethod
    def read(cls, code: Sequence[int]) -> Plan:
        """Inverse of :meth:`code`."""
        count = code[1]
        split = 2 + 2 * count
        return cls(
            code[0],
            tuple((code[k], code[k + 1]) for k in range(2, split, 2)),
            tuple((code[k], code[k + 1], code[k + 2]) for k in range(split, len(code), 3)),
        )

    def channels(self, path: int) -> int:
        """Channels of a path."""
        return self.irreps[self.paths[path][0]][1]

    def columns(self) -> list[int]:
        """First column of each path in the table, and the number of columns."""
        starts = [0]
        for path in range(len(self.paths)):
            starts.append(starts[-1] + -(-self.channels(path) // LANES) * LANES)
        return starts

    def width(self) -> int:
        """Length of a row of the result."""
        return sum(self.channels(k) * (2 * p[2] + 1) for k, p in enumerate(self.paths))

    @property
    def supported(self) -> bool:
        """Whether there are kernels for it."""
        return self.l_max <= 3 and all(
            max(self.irreps[i][0], edge, out) <= 3 for i, edge, out in self.paths
        )


def _radial(table: torch.Tensor, r: torch.Tensor, r_max: float) -> torch.Tensor:
    """Values of the B-splines at r, (edges, columns)."""
    intervals = table.shape[0] - 3
    x = r.to(torch.float64) * (intervals / r_max)
    first = torch.clamp(torch.floor(x.detach()), 0, intervals - 1)
    t = (x - first).to(table.dtype)
    s = 1.0 - t
    weights = (
        s**3,
        3.0 * t**3 - 6.0 * t**2 + 4.0,
        3.0 * s**3 - 6.0 * s**2 + 4.0,
        t**3,
    )
    start = first.to(torch.long)
    value = sum(w.unsqueeze(-1) / 6.0 * table[start + k] for k, w in enumerate(weights))
    return torch.where((r < r_max).unsqueeze(-1), value, torch.zeros((), dtype=table.dtype))


@cache
def coupling(l1: int, l2: int, l3: int) -> torch.Tensor:
    """Wigner 3j symbols of real harmonics, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    from e3nn.o3._wigner import wigner_3j

    return wigner_3j(l1, l2, l3, dtype=torch.float64)


def reference(
    x: torch.Tensor,
    vectors: torch.Tensor,
    index: torch.Tensor,
    table: torch.Tensor,
    r_max: float,
    plan: Plan,
    centers: int | None = None,
) -> torch.Tensor:
    """`cgpot::convolve` in plain torch with e3nn's harmonics and couplings, differentiable."""
    if x.dim() == 3:
        members = zip(x, vectors, table, strict=True)
        return torch.stack([reference(a, v, index, t, r_max, plan, centers) for a, v, t in members])
    from e3nn.o3._spherical_harmonics import spherical_harmonics

    center, neighbor = index
    r = vectors.norm(dim=-1)
    harmonics = spherical_harmonics(
        list(range(plan.l_max + 1)), vectors, normalize=True, normalization="component"
    ).to(x.dtype)
    radial = _radial(table, r, r_max)
    parts, at = [], 0
    for degree, channels in plan.irreps:
        width = channels * (2 * degree + 1)
        parts.append(x[:, at : at + width].reshape(len(x), channels, 2 * degree + 1))
        at += width
    columns = plan.columns()
    rows = []
    for k, (source, edge, out) in enumerate(plan.paths):
        weight = radial[:, columns[k] : columns[k] + plan.channels(k)]
        message = torch.einsum(
            "eu,eui,ej,ijk->euk",
            weight,
            parts[source][neighbor],
            harmonics[:, edge**2 : (edge + 1) ** 2],
            coupling(plan.irreps[source][0], edge, out).to(x.dtype),
        )
        total = x.new_zeros(len(x) if centers is None else centers, plan.channels(k), 2 * out + 1)
        rows.append(total.index_add(0, center, message).flatten(1))
    return torch.cat(rows, dim=1)


def _plain_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    vectors: torch.Tensor,
    index: torch.Tensor,
    table: torch.Tensor,
    r_max: float,
    plan: list[int],
    need_x: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.enable_grad():
        a = x.detach().requires_grad_(True)
        v = vectors.detach().requires_grad_(True)
        out = reference(a, v, index, table, r_max, Plan.read(plan), grad.shape[-2])
        of_x, of_vectors = torch.autograd.grad(out, (a, v), grad)
    return of_x if need_x else x.new_zeros(0), of_vectors


def _plain(
    x: Any, vectors: Any, index: Any, table: Any, r_max: float, plan: list[int], centers: int
) -> Any:
    return reference(x, vectors, index, table, r_max, Plan.read(plan), centers)


def reference_pair(
    vectors: torch.Tensor,
    index: torch.Tensor,
    types: torch.Tensor,
    coefficients: torch.Tensor,
    rows: torch.Tensor,
    r_max: float,
    centers: int,
) -> torch.Tensor:
    """`cgpot::pair_energy` in plain torch, differentiable."""
    center, neighbor = index
    values = _radial(coefficients.T, vectors.norm(dim=-1), r_max)
    pair = rows[types[center], types[neighbor]]
    energy = 0.5 * values.gather(1, pair.unsqueeze(-1))
    return energy.new_zeros(centers, 1).index_add(0, center, energy)


def _plain_pair_backward(grad: torch.Tensor, vectors: torch.Tensor, *rest: Any) -> torch.Tensor:
    with torch.enable_grad():
        v = vectors.detach().requires_grad_(True)
        energy: torch.Tensor = reference_pair(v, *rest, len(grad))  # type: ignore[call-arg]
        (of_vectors,) = torch.autograd.grad(energy, v, grad)
    return of_vectors


def _alone(x: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    shape = (*x.shape[:-2], len(types) - x.shape[-2], x.shape[-1])
    return torch.cat([x, x.new_zeros(shape)], dim=-2)


def _alone_backward(grad: torch.Tensor, rows: int) -> torch.Tensor:
    return grad[..., :rows, :].clone()


_LIBRARIES: list[Any] = []
_LOADED: list[bool] = []
"""Whether the operators of this process are native; empty before they are loaded."""


def _fakes() -> None:
    """Shapes of the results, for tracing."""

    def convolve(
        x: Any, vectors: Any, index: Any, table: Any, r_max: float, plan: list[int], centers: Any
    ) -> Any:
        return x.new_empty(*x.shape[:-2], centers, Plan.read(plan).width())

    def convolve_backward(
        grad: Any,
        x: Any,
        vectors: Any,
        index: Any,
        table: Any,
        r_max: float,
        plan: Any,
        need_x: bool,
    ) -> Any:
        return (torch.empty_like(x) if need_x else x.new_empty(0)), torch.empty_like(vectors)

    def pair_energy(vectors: Any, *rest: Any) -> Any:
        return vectors.new_empty(rest[-1], 1, dtype=torch.float64)

    def pair_energy_backward(grad: Any, vectors: Any, *rest: Any) -> Any:
        return torch.empty_like(vectors)

    def exchange(x: Any, types: Any) -> Any:
        return x.new_empty(*x.shape[:-2], types.shape[0], x.shape[-1])

    def exchange_backward(grad: Any, rows: Any) -> Any:
        return grad.new_empty(*grad.shape[:-2], rows, grad.shape[-1])

    fakes: dict[str, Callable[..., Any]] = {
        "convolve": convolve,
        "convolve_backward": convolve_backward,
        "pair_energy": pair_energy,
        "pair_energy_backward": pair_energy_backward,
        "exchange": exchange,
        "exchange_backward": exchange_backward,
    }
    for name, fake in fakes.items():
        torch.library.register_fake(f"cgpot::{name}", fake)


def _derivatives() -> None:
    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        x, vectors, index, table, r_max, plan, _ = inputs
        ctx.save_for_backward(x, vectors, index, table)
        ctx.r_max, ctx.plan = r_max, plan

    def convolve(ctx: Any, grad: torch.Tensor) -> Any:
        x, vectors, index, table = ctx.saved_tensors
        need_x = ctx.needs_input_grad[0]
        of_x, of_vectors = torch.ops.cgpot.convolve_backward(
            grad, x, vectors, index, table, ctx.r_max, ctx.plan, need_x
        )
        return (of_x if need_x else None), of_vectors, None, None, None, None, None

    torch.library.register_autograd("cgpot::convolve", convolve, setup_context=keep)

    def keep_pair(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.r_max, _ = inputs
        ctx.save_for_backward(*tensors)

    def pair_energy(ctx: Any, grad: torch.Tensor) -> Any:
        of_vectors = torch.ops.cgpot.pair_energy_backward(grad, *ctx.saved_tensors, ctx.r_max)
        return of_vectors, None, None, None, None, None, None

    torch.library.register_autograd("cgpot::pair_energy", pair_energy, setup_context=keep_pair)

    def keep_rows(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.rows = inputs[0].shape[-2]

    def exchange(ctx: Any, grad: torch.Tensor) -> Any:
        return torch.ops.cgpot.exchange_backward(grad, ctx.rows), None

    torch.library.register_autograd("cgpot::exchange", exchange, setup_context=keep_rows)


def _batches() -> None:
    """What `torch.vmap` over the members of an ensemble does with the operators."""

    def member(value: Any, dim: int | None, count: int) -> Any:
        """The dimension of the members first."""
        return (
            value.unsqueeze(0).expand(count, *value.shape) if dim is None else value.movedim(dim, 0)
        )

    def convolve(
        info: Any, dims: Any, x: Any, vectors: Any, index: Any, table: Any, *rest: Any
    ) -> Any:
        if dims[2] is not None:
            raise NotImplementedError("the members of an ensemble share their edges")
        of = [
            member(value, dims[k], info.batch_size)
            for k, value in ((0, x), (1, vectors), (3, table))
        ]
        return torch.ops.cgpot.convolve(of[0], of[1], index, of[2], *rest), 0

    def pair_energy(info: Any, dims: Any, *arguments: Any) -> Any:
        *tensors, r_max, centers = arguments
        of = [member(value, dims[k], info.batch_size) for k, value in enumerate(tensors)]
        each = [
            torch.ops.cgpot.pair_energy(*values, r_max, centers) for values in zip(*of, strict=True)
        ]
        return torch.stack(each), 0

    def exchange(info: Any, dims: Any, x: Any, types: Any) -> Any:
        if dims[1] is not None:
            raise NotImplementedError("the members of an ensemble share their nodes")
        return torch.ops.cgpot.exchange(x.movedim(dims[0], 0), types), 0

    for rule in (convolve, pair_energy, exchange):
        torch.library.register_vmap(f"cgpot::{rule.__name__}", rule)


def load(library: Path | None = None) -> bool:
    """Make the operators known to torch in this process; returns whether they are native.

    What is known stays: a process takes one library, or none.

    Args:
        library: `cgpotops.so` beside the built plugin; None registers plain torch code.
    """
    if _LOADED:
        return _LOADED[0]
    native = library is not None
    if library is not None:
        torch.ops.load_library(str(library))
    else:
        definition = torch.library.Library("cgpot", "DEF")
        for name, schema in SCHEMAS.items():
            definition.define(name + schema)
        definition.impl("convolve", _plain, "CompositeExplicitAutograd")
        definition.impl("convolve_backward", _plain_backward, "CompositeExplicitAutograd")
        definition.impl("pair_energy", reference_pair, "CompositeExplicitAutograd")
        definition.impl("pair_energy_backward", _plain_pair_backward, "CompositeExplicitAutograd")
        definition.impl("exchange", _alone, "CompositeExplicitAutograd")
        definition.impl("exchange_backward", _alone_backward, "CompositeExplicitAutograd")
        _LIBRARIES.append(definition)
    _fakes()
    _derivatives()
    _batches()
    _LOADED.append(native)
    return native
