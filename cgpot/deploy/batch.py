# SPDX-License-Identifier: GPL-2.0-or-later
"""The members of an ensemble as one model: networks of one shape, evaluated in one batch.

Their parameters are stacked, and `torch.vmap` turns each operation into one over all members.
What depends on the edges alone (lengths, harmonics, the places in the tables) is done once for all
(:mod:`cgpot.deploy.operators`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from nequip.data import AtomicDataDict
from torch.overrides import TorchFunctionMode

from cgpot.deploy.acceleration import accelerate
from cgpot.deploy.blocks import GHOSTS_KEY
from cgpot.deploy.ranks import Reach, only_owned, with_own_rows
from cgpot.deploy.vectors import take_single


class MembersDiffer(ValueError):
    """Networks that cannot be evaluated in one batch; the message says what differs."""


class Together(torch.nn.Module):
    """Energies and edge forces of several networks of one shape.

    Takes the inputs of :mod:`cgpot.deploy.target`, returns ``atomic_energy`` (members, C, 1) and
    ``edge_forces`` (members, E, 3).

    Args:
        models: `GraphModel`s that :func:`together` has prepared.
        vectors: precision of the vectors of edges.

    Attributes:
        count: number of members.
        vectors: as given.
    """

    def __init__(self, models: Sequence[Any], vectors: torch.dtype) -> None:
        super().__init__()
        first = models[0]
        self.vectors = vectors
        self.count = len(models)
        self.model_dtype = first.model_dtype
        self.type_names = first.type_names
        self.metadata = first.metadata
        energies = [_Energy(model) for model in models]
        # not a part of this module: its tensors are those of the members
        self._base = (energies[0],)
        self._names: list[tuple[str, str]] = []
        of_each = [_tensors(energy) for energy in energies]
        for name, tensor in of_each[0].items():
            for number, others in enumerate(of_each):
                found = others.get(name)
                if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
                    raise MembersDiffer(
                        f"member {number} has {name} of shape "
                        f"{None if found is None else tuple(found.shape)}, member 0 of "
                        f"{tuple(tensor.shape)}"
                    )
            buffer = name.replace(".", "__")
            self._names.append((name, buffer))
            self.register_buffer(
                buffer, torch.stack([tensors[name].detach() for tensors in of_each])
            )
        for number, others in enumerate(of_each):
            if others.keys() != of_each[0].keys():
                raise MembersDiffer(f"member {number} has other parameters than member 0")

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Evaluate all members."""
        vectors = data[AtomicDataDict.EDGE_VECTORS_KEY].detach()
        own = vectors.unsqueeze(0).expand(self.count, -1, -1).requires_grad_(True)
        rest = {k: v for k, v in data.items() if k != AtomicDataDict.EDGE_VECTORS_KEY}
        tensors = {name: getattr(self, buffer) for name, buffer in self._names}

        def energy(tensors: dict[str, torch.Tensor], vectors: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.func.functional_call(
                self._base[0], tensors, ({**rest, AtomicDataDict.EDGE_VECTORS_KEY: vectors},)
            )
            return result

        with torch.enable_grad():
            energies = torch.vmap(energy)(tensors, own)
            (gradient,) = torch.autograd.grad(energies.sum(), own)
        return {
            AtomicDataDict.PER_ATOM_ENERGY_KEY: energies.detach(),
            AtomicDataDict.EDGE_FORCE_KEY: gradient,
        }


class _NewTensors(TorchFunctionMode):
    """Other forms of operations that have none for members, or one for a fixed number of beads."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        new = _NEW.get(func, func)
        return new(*args, **(kwargs or {}))


def _rows(index: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return _index_select(weight, 0, index.view(-1))


class _Cat(torch.autograd.Function):
    """`torch.cat` of what the members of a batch hold."""

    @staticmethod
    def forward(dim: int, *tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dim, ctx.lengths = inputs[0], [tensor.shape[inputs[0]] for tensor in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return None, *torch.split(grad, ctx.lengths, ctx.dim)

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], dim: int, *tensors: torch.Tensor) -> Any:
        own = [
            tensor.expand(info.batch_size, *tensor.shape) if at is None else tensor.movedim(at, 0)
            for at, tensor in zip(dims[1:], tensors, strict=True)
        ]
        return torch.cat(own, dim if dim < 0 else dim + 1), 0


class _Sum(torch.autograd.Function):
    """Sums of rows with the same number, added to those of a tensor (`index_add`)."""

    @staticmethod
    def forward(into: torch.Tensor, index: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return into.index_add(0, index, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad, None, torch.index_select(grad, 0, ctx.saved_tensors[0])

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        into: torch.Tensor,
        index: torch.Tensor,
        rows: torch.Tensor,
    ) -> Any:
        # members side by side, behind the dimension that is summed over
        own = [
            torch.stack([tensor] * info.batch_size, 1) if at is None else tensor.movedim(at, 1)
            for at, tensor in ((dims[0], into), (dims[2], rows))
        ]
        return torch.index_add(own[0], 0, index, own[1]), 1


class _Take(torch.autograd.Function):
    """Rows of a tensor by their numbers (`index_select` along the first dimension)."""

    @staticmethod
    def forward(of: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return torch.index_select(of, 0, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.rows = inputs[0].shape[0]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        zeros = grad.new_zeros(ctx.rows, *grad.shape[1:])
        return zeros.index_add(0, ctx.saved_tensors[0], grad), None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], of: torch.Tensor, index: torch.Tensor) -> Any:
        if dims[0] is None or dims[1] is not None:
            raise NotImplementedError("the members of an ensemble share their edges")
        return torch.index_select(of.movedim(dims[0], 0), 1, index), 0


def _index_select(of: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    batched = torch._C._functorch.is_batchedtensor
    if dim != 0 or not batched(of) or batched(index):
        return torch.index_select(of, dim, index)
    rows: torch.Tensor = _Take.apply(of, index)
    return rows


def _index_add(
    into: torch.Tensor, dim: int, index: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    assert dim == 0, dim
    total: torch.Tensor = _Sum.apply(into, index, rows)
    return total


def _scatter_add(
    into: torch.Tensor, dim: int, index: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    while index.dim() > 1:  # numbers of rows, repeated along the others
        index = index.select(-1, 0)
    return _index_add(into, dim, index, rows)


def _join(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    joined: torch.Tensor = _Cat.apply(dim, *tensors)
    return joined


_NEW: dict[Any, Any] = {
    torch.cat: _join,
    torch.index_select: _index_select,
    torch.nn.functional.embedding: _rows,
    torch.Tensor.scatter_add_: _scatter_add,
    torch.Tensor.index_add: _index_add,
}


class _Energy(torch.nn.Module):
    """The energies of a network's beads, without derivatives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model.model.old.func

    def forward(self, data: AtomicDataDict.Type) -> torch.Tensor:
        data = {**data, GHOSTS_KEY: data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)}
        with _NewTensors():
            energies: torch.Tensor = self.network(data)[AtomicDataDict.PER_ATOM_ENERGY_KEY]
        return energies


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def together(
    models: Sequence[Any], way: str | None
) -> tuple[Together, Reach, dict[str, Any] | None]:
    """One model of several `GraphModel`s, which are changed.

    Args:
        models: of the same settings and bead types.
        way: how radial functions are tabulated (:data:`cgpot.deploy.acceleration.WAYS`), None for
            not at all.

    Returns:
        The model; its reach, with the width of rows of all members; what was tabulated (of the
        member with the largest error).

    Raises:
        MembersDiffer: networks of different shapes.
    """
    first = models[0]
    for number, model in enumerate(models):
        for key in ("type_names", "r_max", "model_dtype"):
            if model.metadata[key] != first.metadata[key]:
                raise MembersDiffer(
                    f"member {number} has {key} {model.metadata[key]!r}, member 0 "
                    f"{first.metadata[key]!r}"
                )
    records = [None] * len(models) if way is None else _same_tables(models, way)
    reaches = set()
    for model in models:
        only_owned(model)
        reaches.add(with_own_rows(model))
    if len(reaches) > 1:
        raise MembersDiffer(f"members pass messages differently: {sorted(map(str, reaches))}")
    reach = reaches.pop()
    each = (take_single(model, record) for model, record in zip(models, records, strict=True))
    vectors = max(each, key=lambda dtype: dtype.itemsize)
    record = max(records, key=lambda r: r["slope_error"] if r else 0.0)
    wide = Reach(reach.layers, len(models) * reach.exchange_width)
    return Together(models, vectors), wide, record


def _same_tables(models: Sequence[Any], way: str) -> list[dict[str, Any] | None]:
    """Tabulate the radial functions of all, each layer with as many intervals in every member."""
    copies = [accelerate(deepcopy(model), way) for model in models]
    if any(record is None for record in copies):
        return [accelerate(model, way) for model in models]
    lengths = [record["intervals"] for record in copies if record is not None]
    if len({len(each) for each in lengths}) > 1:
        raise MembersDiffer(f"members have {[len(each) for each in lengths]} layers")
    most = [max(layer) for layer in zip(*lengths, strict=True)]
    return [accelerate(model, way, most) for model in models]
