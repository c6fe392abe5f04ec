# SPDX-License-Identifier: GPL-2.0-or-later
"""Replace the message-passing steps of a network by operators with tabulated radial functions.

The radial networks of NequIP and the filters of SchNet depend on the edge length alone.  They
become cubic B-splines, cutoff included, and the step that sums the messages at each centre becomes
`cgpot::convolve` (:mod:`cgpot.deploy.operators`), which stores nothing of the size edges times
features.  Everything else of the model stays as it is; so do its parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from nequip.data import AtomicDataDict

from cgpot.deploy.operators import LANES, Plan

TOLERANCE: Final = {torch.float32: 4e-6, torch.float64: 1e-10}
"""Largest error of a radial function and of its slope, relative to the largest of all.  In single
precision a finer table gives worse slopes: they are differences of its rounded coefficients."""
FEWEST: Final = 64
MOST: Final = 8192
"""Intervals of a table: doubled until the tolerance is met."""
_TINY: Final = 1e-6


@dataclass(frozen=True)
class Table:
    """Radial functions as uniform cubic B-splines on [0, r_max].

    Attributes:
        coefficients: (intervals + 3, functions), float64.
        r_max: Å.
        value_error: largest error of a value between the knots, relative to the largest value.
        slope_error: the same of the slopes.
    """

    coefficients: np.ndarray
    r_max: float
    value_error: float
    slope_error: float


def _coefficients(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """B-spline coefficients (n + 3, functions) from values at n + 1 knots and slopes times h."""
    from scipy.linalg import solve_banded

    n = len(values) - 1
    banded = np.zeros((5, n + 3))
    right = np.concatenate([start[None], values, end[None]])
    ends = {0: (-0.5, 0.0, 0.5), n + 2: (-0.5, 0.0, 0.5)}
    for row in range(n + 3):
        first = min(max(row - 1, 0), n)
        for k, weight in enumerate(ends.get(row, (1 / 6, 4 / 6, 1 / 6))):
            banded[2 + row - first - k, first + k] = weight
    return solve_banded((2, 2), banded, right)


def spline(
    function: Callable[[np.ndarray], np.ndarray],
    r_max: float,
    tolerance: float,
) -> Table:
    """Tabulate functions of r with as many intervals as the tolerance needs.

    Args:
        function: distances (n,) in Å to values (n, functions), float64.
        r_max: Å; value and slope of the functions vanish there.
        tolerance: for values and slopes.

    Returns:
        The coarsest table within the tolerance, else the finest tried; the errors say which.
    """
    from scipy.interpolate import BSpline

    table, n = None, FEWEST
    while table is None or n <= MOST:
        h = r_max / n
        values = function(np.linspace(0.0, r_max, n + 1))
        start = (function(np.array([_TINY])) - values[:1])[0] * (h / _TINY)
        coefficients = _coefficients(values, start, np.zeros_like(start))
        basis = BSpline(np.arange(-3, n + 4) * h, coefficients, 3)
        middle = (np.arange(4 * n) + 0.5) * (h / 4)
        step = min(1e-4 * r_max, h / 8)  # stays inside
        exact = function(middle)
        slopes = (
            8.0 * (function(middle + step / 2) - function(middle - step / 2))
            - (function(middle + step) - function(middle - step))
        ) / (6.0 * step)
        used = middle > 0.15 * r_max  # beads do not come closer; e.g. 1.5 Å for 10 Å
        table = Table(
            coefficients,
            r_max,
            _relative(basis(middle) - exact, exact, used),
            _relative(basis.derivative()(middle) - slopes, slopes, used),
        )
        if max(table.value_error, table.slope_error) <= tolerance:
            break
        n *= 2
    assert table is not None
    return table


def _relative(error: np.ndarray, values: np.ndarray, used: np.ndarray) -> float:
    scale = float(np.abs(values[used]).max())
    return float(np.abs(error[used]).max()) / scale if scale > 0 else 0.0


class Convolution(torch.nn.Module):
    """One call of `cgpot::convolve` with its table.

    Args:
        plan: the tensor product.
        table: a function for each channel of each path, in the order of the plan.
        dtype: of the features.
    """

    def __init__(self, plan: Plan, table: Table, dtype: torch.dtype) -> None:
        super().__init__()
        columns = plan.columns()
        rows = np.zeros((len(table.coefficients), columns[-1]))
        at = 0
        for path in range(len(plan.paths)):
            width = plan.channels(path)
            rows[:, columns[path] : columns[path] + width] = table.coefficients[:, at : at + width]
            at += width
        self.code = plan.code()
        self.r_max = float(table.r_max)
        self.register_buffer("table", torch.as_tensor(rows, dtype=dtype))

    def forward(self, x: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
        """Sums over the neighbours of each node, (nodes, width of the plan)."""
        return torch.ops.cgpot.convolve(
            x,
            data[AtomicDataDict.EDGE_VECTORS_KEY],
            data[AtomicDataDict.EDGE_INDEX_KEY],
            self.table,
            self.r_max,
            self.code,
        )


class FastPair(torch.nn.Module):
    """A pair spline by `cgpot::pair_energy`."""

    def __init__(self, old: torch.nn.Module) -> None:
        super().__init__()
        self.field = old.per_atom_energy_field
        self.r_max = float(old.r_max)
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out
        self.register_buffer("coefficients", old.coefficients.detach().double())
        self.register_buffer("rows", old.rows.detach().clone())

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add half of u(r) of each edge to the energy of its centre."""
        energy = torch.ops.cgpot.pair_energy(
            data[AtomicDataDict.EDGE_VECTORS_KEY],
            data[AtomicDataDict.EDGE_INDEX_KEY],
            data[AtomicDataDict.ATOM_TYPE_KEY].view(-1),
            self.coefficients,
            self.rows,
            self.r_max,
        )
        if self.field in data:
            energy = energy + data[self.field]
        data[self.field] = energy
        return data


class FastInteraction(torch.nn.Module):
    """NequIP's interaction block with `cgpot::convolve`; shares the modules of the old one."""

    def __init__(self, old: torch.nn.Module, convolution: Convolution) -> None:
        super().__init__()
        self.is_first_layer = old.is_first_layer
        self.exchange_width = old.linear_1.irreps_out.dim
        self.avg_num_neighbors_norm = old.avg_num_neighbors_norm
        self.linear_1 = old.linear_1
        self.linear_2 = old.linear_2
        self.sc = old.sc
        self.convolution = convolution
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        own = self.sc(x, data[AtomicDataDict.NODE_ATTRS_KEY]) if self.sc is not None else None
        data[AtomicDataDict.NODE_FEATURES_KEY] = self.linear_1(x)
        data = self.avg_num_neighbors_norm(data)
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        # the features of the first layer do not depend on positions
        x = x.detach() if self.is_first_layer else torch.ops.cgpot.exchange(x)
        x = self.linear_2(self.convolution(x, data))
        data[AtomicDataDict.NODE_FEATURES_KEY] = x if own is None else x + own
        return data


class FastSchNetInteraction(torch.nn.Module):
    """SchNet's interaction with `cgpot::convolve`; shares the dense layers of the old one."""

    def __init__(self, old: torch.nn.Module, convolution: Convolution, first: bool) -> None:
        super().__init__()
        self.in2f, self.f2out = old.in2f, old.f2out
        self.first = first
        self.exchange_width = int(old.in2f.weight.shape[0])
        self.convolution = convolution
        self.irreps_in, self.irreps_out = old.irreps_in, old.irreps_out

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Update the node features (nodes, features)."""
        x = data[AtomicDataDict.NODE_FEATURES_KEY]
        features = self.in2f(x)
        features = features.detach() if self.first else torch.ops.cgpot.exchange(features)
        data[AtomicDataDict.NODE_FEATURES_KEY] = x + self.f2out(self.convolution(features, data))
        return data


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
    """The edge embedding of a model as function of the distance."""

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self.modules = [_double(module) for module in modules]

    def data(self, r: np.ndarray) -> AtomicDataDict.Type:
        data = _edges(r)
        with torch.no_grad():
            for module in self.modules:
                data = module(data)
        return data


def _nequip(block: torch.nn.Module, sampler: _Sampler, r_max: float, dtype: torch.dtype) -> Any:
    scatter = block.tp_scatter
    irreps = [(ir.l, mul) for mul, ir in scatter.feature_irreps_in]
    harmonics = [ir.l for _, ir in scatter.irreps_edge_attr]
    instructions = list(scatter.tp.instructions)
    starts = np.cumsum([0] + [int(np.prod(ins.path_shape)) for ins in instructions])
    # the operator gives its results in the order of the paths: that of the block's second layer
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
    if not plan.supported:
        return None
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

    table = spline(function, r_max, TOLERANCE[dtype])
    return FastInteraction(block, Convolution(plan, table, dtype)), table


def _schnet(
    block: torch.nn.Module,
    sampler: _Sampler,
    r_max: float,
    dtype: torch.dtype,
    first: bool,
) -> Any:
    network = _double(block.filter_network)

    def function(r: np.ndarray) -> np.ndarray:
        data = sampler.data(r)
        with torch.no_grad():
            filters = network(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
            filters = filters * (data[AtomicDataDict.EDGE_CUTOFF_KEY] * block.scale)
        return filters.numpy()

    table = spline(function, r_max, TOLERANCE[dtype])
    plan = Plan(0, ((0, table.coefficients.shape[1]),), ((0, 0, 0),))
    return FastSchNetInteraction(block, Convolution(plan, table, dtype), first), table


def accelerate(model: torch.nn.Module) -> dict[str, Any] | None:
    """Replace the interaction blocks of a NequIP `GraphModel` in place.

    Returns:
        ``layers``, ``intervals`` of each table, ``value_error`` and ``slope_error`` (largest of
        all tables, relative); None where the model holds no block that the operators can do
        (Allegro, l above 2, cutoffs by edge type): it is left as it was.
    """
    network = next(
        (m for m in model.modules() if type(m).__name__ == "SequentialGraphNetwork"), None
    )
    if network is None or model.metadata.get("per_edge_type_cutoff"):
        return None
    dtype = model.model_dtype
    r_max = float(model.metadata["r_max"])
    before: list[torch.nn.Module] = []
    sampler: _Sampler | None = None
    replaced: list[tuple[torch.nn.Module, str, Any]] = []
    tables: list[Table] = []
    for name, child in network.named_children():
        kind = type(child).__name__
        if kind not in ("ConvNetLayer", "SchNetInteraction"):
            if sampler is None:
                before.append(child)
            continue
        sampler = sampler or _Sampler(before)
        if kind == "ConvNetLayer":
            if type(child.conv).__name__ != "InteractionBlock":
                return None
            made = _nequip(child.conv, sampler, r_max, dtype)
            place = (child, "conv")
        else:
            made = _schnet(child, sampler, r_max, dtype, first=not tables)
            place = (network, name)
        if made is None:
            return None
        replaced.append((*place, made[0]))
        tables.append(made[1])
    if not replaced:
        return None
    for parent, name, module in replaced:
        setattr(parent, name, module)
    for name, child in list(network.named_children()):
        if type(child).__name__ == "PairSpline":
            setattr(network, name, FastPair(child))
    return {
        "layers": len(replaced),
        "lanes": LANES,
        "intervals": [len(t.coefficients) - 3 for t in tables],
        "value_error": max(t.value_error for t in tables),
        "slope_error": max(t.slope_error for t in tables),
    }
