# SPDX-License-Identifier: GPL-2.0-or-later
"""Tabulate what depends on the edge length alone in a network, and sum its messages faster.

The radial networks of NequIP, the filters of SchNet and the two-body embedding of Allegro (with
all that is linear in it: the weights of the first tensors and of the first environment) become
cubic splines, cutoff included.  Everything else of the model stays as it is; so do its parameters.

There are three ways to sum the messages of NequIP and SchNet at each centre:

* "kernels": `cgpot::convolve` (:mod:`cgpot.deploy.operators`), which stores nothing of the size
  edges times features; CPUs, l up to 3.
* "triton": the same sums by kernels written for the model (:mod:`cgpot.deploy.gpu`); GPUs, l up
  to 3, edges sorted by centre.
* "torch": plain torch operations, which Inductor compiles; any device, any l.

Allegro's tensors are contracted by its own code in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

import numpy as np
import torch
from nequip.data import AtomicDataDict

from cgpot.deploy.blocks import (
    Columns,
    Convolution,
    FastInteraction,
    FastPair,
    FastSchNetInteraction,
    NodeContracter,
    PlainConvolution,
    TwoBodyTable,
)
from cgpot.deploy.operators import LANES, Plan
from cgpot.deploy.radial import FEWEST, TOLERANCE, Table, spline

WAYS: Final = ("kernels", "triton", "torch")


def _double(module: torch.nn.Module) -> torch.nn.Module:
    """A copy in double precision."""
    copy = deepcopy(module).double()
    for part in copy.modules():
        for name in ("_output_dtype", "model_dtype"):
            if hasattr(part, name):
                setattr(part, name, torch.float64)
    return copy


def _edges(r: np.ndarray, pair: tuple[int, int] = (0, 0)) -> AtomicDataDict.Type:
    """Edges of these lengths along x between two nodes."""
    vectors = torch.zeros(len(r), 3, dtype=torch.float64)
    vectors[:, 0] = torch.as_tensor(r, dtype=torch.float64)
    index = torch.zeros(2, len(r), dtype=torch.long)
    index[1] = 1
    return {
        AtomicDataDict.POSITIONS_KEY: torch.zeros(2, 3, dtype=torch.float64),
        AtomicDataDict.EDGE_VECTORS_KEY: vectors,
        AtomicDataDict.EDGE_INDEX_KEY: index,
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor(pair),
    }


class _Sampler:
    """The edge embedding of a model as function of the distance (and the types of the beads)."""

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self.modules = [_double(module) for module in modules]

    def data(self, r: np.ndarray, pair: tuple[int, int] = (0, 0)) -> AtomicDataDict.Type:
        data = _edges(r, pair)
        return self._run(data)

    def types(self, count: int) -> AtomicDataDict.Type:
        """The same for a bead of each type: what follows from the types."""
        data = _edges(np.ones(1))
        data[AtomicDataDict.EDGE_INDEX_KEY] = torch.zeros(2, 1, dtype=torch.long)
        data[AtomicDataDict.POSITIONS_KEY] = torch.zeros(count, 3, dtype=torch.float64)
        data[AtomicDataDict.ATOM_TYPE_KEY] = torch.arange(count)
        return self._run(data)

    def _run(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        with torch.no_grad():
            for module in self.modules:
                data = module(data)
        return data


def _convolution(plan: Plan, table: Table, dtype: torch.dtype, way: str) -> torch.nn.Module:
    if way == "torch" or not plan.supported:
        return PlainConvolution(plan, table, dtype)
    if way == "triton":
        from cgpot.deploy.gpu import GpuConvolution

        return GpuConvolution(plan, table, dtype)
    return Convolution(plan, table, dtype)


def _nequip(
    block: torch.nn.Module,
    sampler: _Sampler,
    r_max: float,
    dtype: torch.dtype,
    way: str,
    types: int | None,
    fewest: int,
) -> tuple[torch.nn.Module, Table]:
    scatter = block.tp_scatter
    irreps = [(ir.l, mul) for mul, ir in scatter.feature_irreps_in]
    harmonics = [ir.l for _, ir in scatter.irreps_edge_attr]
    instructions = list(scatter.tp.instructions)
    starts = np.cumsum([0] + [int(np.prod(ins.path_shape)) for ins in instructions])
    # the results are in the order of the paths: that of the block's second layer
    order = sorted(range(len(instructions)), key=lambda k: instructions[k].i_out)
    mid = [ir.l for _, ir in scatter.irreps_mid]
    plan = Plan(
        max(harmonics),
        tuple(irreps),
        tuple(
            (
                instructions[k].i_in1,
                harmonics[instructions[k].i_in2],
                mid[instructions[k].i_out],
            )
            for k in order
        ),
    )
    network = _double(block.edge_mlp)

    def function(r: np.ndarray) -> np.ndarray:
        data = sampler.data(r)
        with torch.no_grad():
            weights = network(data[AtomicDataDict.EDGE_EMBEDDING_KEY]).numpy()
        return np.concatenate(
            [
                weights[:, starts[k] : starts[k + 1]] * float(instructions[k].path_weight)
                for k in order
            ],
            axis=1,
        )

    by_type = None
    if types is not None:
        data = sampler.types(types)
        key = AtomicDataDict.NODE_FEATURES_KEY
        data[key] = _double(block.linear_1)(data[key])
        by_type = _double(block.avg_num_neighbors_norm)(data)[key].detach().to(dtype)
    table = spline(function, r_max, TOLERANCE[dtype], fewest)
    return FastInteraction(block, _convolution(plan, table, dtype, way), by_type), table


def _schnet(
    block: torch.nn.Module,
    sampler: _Sampler,
    r_max: float,
    dtype: torch.dtype,
    way: str,
    types: int | None,
    fewest: int,
) -> tuple[torch.nn.Module, Table]:
    network = _double(block.filter_network)

    def function(r: np.ndarray) -> np.ndarray:
        data = sampler.data(r)
        with torch.no_grad():
            filters = network(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
            filters = filters * (data[AtomicDataDict.EDGE_CUTOFF_KEY] * block.scale)
        return filters.numpy()

    by_type = None
    if types is not None:
        features = sampler.types(types)[AtomicDataDict.NODE_FEATURES_KEY]
        by_type = _double(block.in2f)(features).detach().to(dtype)
    table = spline(function, r_max, TOLERANCE[dtype], fewest)
    plan = Plan(0, ((0, table.coefficients.shape[1]),), ((0, 0, 0),))
    return FastSchNetInteraction(block, _convolution(plan, table, dtype, way), by_type), table


def _allegro(
    network: torch.nn.Module, r_max: float, dtype: torch.dtype, types: int, way: str, fewest: int
) -> Table | None:
    """Tabulate the embedding of an Allegro network in place."""
    children = dict(network.named_children())
    names = list(children)
    by_kind = {type(child).__name__: name for name, child in children.items()}
    place = by_kind.get("TwoBodySphericalHarmonicTensorEmbed")
    if place is None or names.index(place) == 0:
        return None
    tensors, layers = children[place], children[by_kind["Allegro_Module"]]
    before = names[: names.index(place)]
    sampler = _Sampler([children[name] for name in before])
    parts = [
        _double(tensors.env_embed_linear),
        _double(layers.first_layer_env_embed_projection),
    ]
    pairs = [(a, b) for a in range(types) for b in range(types)]

    def function(r: np.ndarray) -> np.ndarray:
        columns: list[np.ndarray] = []
        for pair in pairs:
            data = sampler.data(r, pair)
            with torch.no_grad():
                columns.extend(
                    part(data[AtomicDataDict.EDGE_EMBEDDING_KEY]).numpy() for part in parts
                )
        return np.concatenate(columns, axis=1)

    widths = [part(sampler.data(np.ones(1))[AtomicDataDict.EDGE_EMBEDDING_KEY]) for part in parts]
    first, second = (width.shape[1] for width in widths)
    table = spline(function, r_max, TOLERANCE[dtype], fewest)
    last = before[-1]
    setattr(
        network, last, _After(children[last], TwoBodyTable(children[last], table, types, dtype))
    )
    if way == "kernels":
        for number, product in enumerate(layers.tps):
            if type(product).__name__ == "Contracter" and not product.w3j_is_ij_diagonal:
                layers.tps[number] = NodeContracter(product)
    tensors.env_embed_linear = Columns(0, first)
    layers.first_layer_env_embed_projection = Columns(first, second)
    return table


class _After(torch.nn.Module):
    """A module, and another that writes over some of its results (which compiling leaves out)."""

    def __init__(self, old: torch.nn.Module, new: torch.nn.Module) -> None:
        super().__init__()
        self.old, self.new = old, new
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        return self.new(self.old(data))


def accelerate(
    model: torch.nn.Module, way: str = "kernels", fewest: Sequence[int] = ()
) -> dict[str, Any] | None:
    """Tabulate the radial functions of a NequIP `GraphModel` in place.

    Args:
        model: NequIP, SchNet or Allegro.
        way: one of :data:`WAYS`.
        fewest: intervals that the table of each layer begins with, before it is refined.

    Returns:
        ``way``, ``layers``, ``intervals`` of each table, ``value_error`` and ``slope_error``
        (largest of all tables, relative); None where the model holds nothing that is tabulated
        (pair potentials, cutoffs by edge type): it is left as it was.  What an earlier call on
        the same model returned, if there was one.

    Raises:
        ImportError: "triton" without Triton.
        ValueError: another way.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}; expected one of {', '.join(WAYS)}")
    network = next(
        (m for m in model.modules() if type(m).__name__ == "SequentialGraphNetwork"), None
    )
    done = tables_of(model)
    if done is not None or network is None or model.metadata.get("per_edge_type_cutoff"):
        return done
    dtype = model.model_dtype
    r_max = float(model.metadata["r_max"])
    before: list[torch.nn.Module] = []
    sampler: _Sampler | None = None
    replaced: list[tuple[torch.nn.Module, str, torch.nn.Module]] = []
    tables: list[Table] = []
    for name, child in network.named_children():
        kind = type(child).__name__
        if kind not in ("ConvNetLayer", "SchNetInteraction"):
            if sampler is None:
                before.append(child)
            continue
        sampler = sampler or _Sampler(before)
        # what the first layer passes on follows from the types alone
        types = None if tables else len(model.type_names)
        least = fewest[len(tables)] if fewest else FEWEST
        if kind == "ConvNetLayer":
            if type(child.conv).__name__ != "InteractionBlock":
                return None
            made, table = _nequip(child.conv, sampler, r_max, dtype, way, types, least)
            replaced.append((child, "conv", made))
        else:
            made, table = _schnet(child, sampler, r_max, dtype, way, types, least)
            replaced.append((network, name, made))
        tables.append(table)
    for parent, name, module in replaced:
        setattr(parent, name, module)
    if not tables:
        table_of_pairs = _allegro(
            network, r_max, dtype, len(model.type_names), way, fewest[0] if fewest else FEWEST
        )
        if table_of_pairs is None:
            return None
        tables.append(table_of_pairs)
    if way == "kernels":
        for name, child in list(network.named_children()):
            if type(child).__name__ == "PairSpline":
                setattr(network, name, FastPair(child))
            elif type(child).__name__ == "PairAndDensity":
                child.pair = FastPair(child.pair)
    record = {
        "way": way,
        "layers": len(tables),
        "lanes": LANES,
        "intervals": [len(t.coefficients) - 3 for t in tables],
        "value_error": max(t.value_error for t in tables),
        "slope_error": max(t.slope_error for t in tables),
    }
    network.cgpot_tables = record
    return dict(record)


def tables_of(model: torch.nn.Module) -> dict[str, Any] | None:
    """What :func:`accelerate` did with a model before, None for nothing."""
    records = (m.cgpot_tables for m in model.modules() if hasattr(m, "cgpot_tables"))
    record = next(records, None)
    return None if record is None else dict(record)
