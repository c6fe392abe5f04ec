# SPDX-License-Identifier: GPL-2.0-or-later
"""Radial functions as splines: how a table is made, and how plain torch code evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

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
    fewest: int = FEWEST,
) -> Table:
    """Tabulate functions of r with as many intervals as the tolerance needs.

    Args:
        function: distances (n,) in Å to values (n, functions), float64.
        r_max: Å; value and slope of the functions vanish there.
        tolerance: for values and slopes.
        fewest: intervals to begin with.

    Returns:
        The coarsest table within the tolerance, else the finest tried; the errors say which.
    """
    from scipy.interpolate import BSpline

    table, n = None, fewest
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


class _Cubics(torch.autograd.Function):
    """Values of piecewise cubics; their slopes are made when they are asked for.

    Nothing of the size (edges, functions) is kept between the two.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, row: torch.Tensor, *powers: torch.Tensor) -> torch.Tensor:
        t = _fraction(x, powers[0])
        a, b, c, d = (torch.index_select(power, 0, row) for power in powers)
        return a + t * (b + t * (c + t * d))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, row, _, *powers = ctx.saved_tensors
        t = _fraction(x, grad)
        b, c, d = (torch.index_select(power, 0, row) for power in powers)
        slope = b + t * (2.0 * c + 3.0 * t * d)
        return (grad * slope).sum(-1, keepdim=True).to(x.dtype), None, None, None, None, None


def _fraction(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Place in the interval of a coordinate counted in intervals, (edges, 1)."""
    return (x - torch.floor(x.detach())).to(like.dtype)


class RadialTable(torch.nn.Module):
    """The functions of a table by plain torch operations, on any device.

    Each interval holds the four coefficients of its cubics: a value takes one gather of each, and
    its slope none of the differences that rounded spline coefficients would need.

    Args:
        table: functions of r, those of each pair of types one after the other.
        dtype: of the values.
        pairs: pairs of types.
    """

    def __init__(self, table: Table, dtype: torch.dtype, pairs: int = 1) -> None:
        super().__init__()
        spline = table.coefficients
        self.intervals = len(spline) - 3
        self.scale = self.intervals / float(table.r_max)
        a, b, c, d = (spline[k : k + self.intervals] for k in range(4))
        powers = (a + 4.0 * b + c, 3.0 * (c - a), 3.0 * (a - 2.0 * b + c), d - a + 3.0 * (b - c))
        for number, power in enumerate(powers):
            rows = np.zeros((pairs, self.intervals + 1, power.shape[1] // pairs))
            # the last row stands for all that is beyond r_max
            rows[:, :-1] = power.reshape(self.intervals, pairs, -1).transpose(1, 0, 2) / 6.0
            values = torch.as_tensor(rows.reshape(-1, rows.shape[2]), dtype=dtype)
            self.register_buffer(f"power{number}", values, persistent=False)

    def forward(self, length: torch.Tensor, pair: torch.Tensor | None = None) -> torch.Tensor:
        """Values at these distances, (edges, functions); 0 from r_max on.

        Args:
            length: (edges) or (edges, 1), float64, Å.
            pair: (edges), int64, the pair of types of each edge.
        """
        x = length.view(-1, 1) * self.scale
        row = torch.clamp(x.detach().view(-1), max=float(self.intervals)).to(torch.long)
        if pair is not None:
            row = row + pair * (self.intervals + 1)
        powers = (self.power0, self.power1, self.power2, self.power3)
        return _Cubics.apply(x, row, *powers)
