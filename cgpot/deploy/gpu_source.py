# SPDX-License-Identifier: GPL-2.0-or-later
"""Source of the Triton kernels that do `cgpot::convolve` on a GPU, written for one tensor product.

A program of a kernel has a centre, its lanes are channels.  It goes over the edges of the centre
once: the radial functions come from the table, the harmonics from polynomials, couplings are
numbers in the code, sums stay in registers.  Nothing of the size edges times features is stored.
The gradient of the features is added to the rows of the neighbours by atomic operations, the
gradient of an edge's vector is summed over channels in the program.

Arguments of both, in this order (:mod:`cgpot.deploy.operators` for what they mean):

========= ======================================================================================
forward   x, vectors, neighbors (edges; int32), offsets (centers + 1: first edges), table, out
backward  grad of out, x, vectors, neighbors, offsets, table, of_x (zeros), of_vectors
========= ======================================================================================

and the constants BLOCK, :attr:`Kernels.block`, and of backward NEED_X: without it of_x is not
written.

Harmonics of a unit vector u are homogeneous polynomials P_l(u), so that with r = |v|

    dP_l(v / r) / dv = (grad P_l(u) - l P_l(u) u) / r            (Euler's theorem)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import torch

from cgpot.deploy.operators import Plan, coupling

Polynomial = dict[tuple[int, int, int], float]
"""Coefficient of each product of powers of x, y and z."""
_ZERO = 1e-12


@cache
def harmonics(degree: int) -> tuple[Polynomial, ...]:
    """The real harmonics of a degree as polynomials of a unit vector, in e3nn's order and norm."""
    from e3nn.o3._spherical_harmonics import spherical_harmonics

    powers = [p for p in product(range(degree + 1), repeat=3) if sum(p) == degree]
    points = np.random.default_rng(1).standard_normal((8 * len(powers), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    values = spherical_harmonics(
        degree, torch.as_tensor(points), normalize=False, normalization="component"
    ).numpy()
    terms = np.stack([np.prod(points ** np.array(p), axis=1) for p in powers], axis=1)
    solution = np.linalg.lstsq(terms, values, rcond=None)[0]
    return tuple(
        {(a, b, c): float(f) for (a, b, c), f in zip(powers, column, strict=True) if abs(f) > 1e-9}
        for column in solution.T
    )


def derivative(polynomial: Polynomial, axis: int) -> Polynomial:
    """Along x, y or z."""
    result = {}
    for power, factor in polynomial.items():
        if power[axis]:
            lower = list(power)
            lower[axis] -= 1
            result[lower[0], lower[1], lower[2]] = factor * power[axis]
    return result


@dataclass(frozen=True)
class Kernels:
    """What the source is written for.

    Attributes:
        plan: the tensor product.
        intervals: of the table.
        r_max: Å.
        dtype: of the features, ``float32`` or ``float64``.
        vectors: of the vectors and their gradients.
    """

    plan: Plan
    intervals: int
    r_max: float
    dtype: str
    vectors: str = "float64"

    @property
    def block(self) -> int:
        """Lanes of a program: the most channels, filled up to a power of two."""
        most = max(channels for _, channels in self.plan.irreps)
        return max(16, 1 << (most - 1).bit_length())

    @property
    def warps(self) -> int:
        """Warps of a program: a lane for each thread, where there are not too many."""
        return min(8, max(1, self.block // 32))

    def source(self) -> str:
        """A module with the functions ``forward`` and ``backward``."""
        lines = [
            "import triton",
            "import triton.language as tl",
            "",
            "",
            "@triton.jit",
            "def forward(x, vectors, neighbors, offsets, table, out, BLOCK: tl.constexpr):",
            *_indented(self._forward()),
            "",
            "",
            "@triton.jit",
            "def backward(",
            "    grad, x, vectors, neighbors, offsets, table, of_x, of_vectors,",
            "    BLOCK: tl.constexpr, NEED_X: tl.constexpr,",
            "):",
            *_indented(self._backward()),
        ]
        return "\n".join(lines) + "\n"

    def _begin(self) -> Iterator[str]:
        yield "i = tl.program_id(0).to(tl.int64)"
        yield "c = tl.arange(0, BLOCK)"
        yield "begin = tl.load(offsets + i)"
        yield "end = tl.load(offsets + i + 1)"

    def _results(self) -> Iterator[tuple[str, str, str]]:
        """Of each component of each path: number, place in the rows of results, mask."""
        at, width = 0, self.plan.width()
        for path, (_, _, out) in enumerate(self.plan.paths):
            size, channels = 2 * out + 1, self.plan.channels(path)
            for k in range(size):
                yield f"{path}_{k}", f"i * {width} + {at + k} + c * {size}", f"c < {channels}"
            at += channels * size

    def _sources(self) -> Iterator[tuple[str, str, str]]:
        """The same of the irreps that paths take, in the rows of features of the neighbour."""
        width = sum(channels * (2 * degree + 1) for degree, channels in self.plan.irreps)
        used = {source for source, _, _ in self.plan.paths}
        at = 0
        for source, (degree, channels) in enumerate(self.plan.irreps):
            size = 2 * degree + 1
            for m in range(size if source in used else 0):
                yield f"{source}_{m}", f"j * {width} + {at + m} + c * {size}", f"c < {channels}"
            at += channels * size

    def _geometry(self, slopes: bool) -> Iterator[str]:
        """Per edge: neighbour, unit vector, harmonics, splines; lengths as precise as vectors."""
        real = f"tl.{self.dtype}"
        yield "j = tl.load(neighbors + e).to(tl.int64)"
        for axis in range(3):
            yield f"v{axis} = tl.load(vectors + 3 * e + {axis})"
        yield "r = tl.sqrt(v0 * v0 + v1 * v1 + v2 * v2)"
        yield f"place = r * {self.intervals / self.r_max!r}"
        last = float(self.intervals - 1)
        # the last interval also for what is not a number, whose values then are none either
        yield f"row = tl.where(place < {last!r}, place, {last!r}).to(tl.int64)"
        yield f"t = (place - row.to(tl.{self.vectors})).to({real})"
        yield "s = 1.0 - t"
        yield f"beyond = r >= {self.r_max!r}"
        values = (
            "s * s * s * 0.16666666666666666",
            "(0.5 * t - 1.0) * t * t + 0.6666666666666666",
            "(0.5 * s - 1.0) * s * s + 0.6666666666666666",
            "t * t * t * 0.16666666666666666",
        )
        derivatives = (
            "-0.5 * s * s",
            "(1.5 * t - 2.0) * t",
            "(2.0 - 1.5 * s) * s",
            "0.5 * t * t",
        )
        for k in range(4):
            yield f"b{k} = tl.where(beyond, 0.0, {values[k]})"
        if slopes:
            scale = self.intervals / self.r_max
            for k in range(4):
                yield f"d{k} = tl.where(beyond, 0.0, ({derivatives[k]}) * {scale!r})"
        used = self._degrees()
        if slopes or any(used):
            yield "inverse = 1.0 / r"
            for axis in range(3):
                yield f"u{axis} = (v{axis} * inverse).to({real})"
        for degree in used:
            if degree:
                for number, polynomial in enumerate(harmonics(degree)):
                    yield f"y{degree}_{number} = {_text(polynomial)}"

    def _degrees(self) -> list[int]:
        return sorted({edge for _, edge, _ in self.plan.paths})

    def _features(self) -> Iterator[str]:
        for number, place, mask in self._sources():
            yield f"x{number} = tl.load(x + {place}, mask={mask}, other=0.0)"

    def _coefficients(self, path: int) -> Iterator[str]:
        starts = self.plan.columns()
        for k in range(4):
            yield (
                f"w{k} = tl.load(table + (row + {k}) * {starts[-1]} + {starts[path]} + c, "
                f"mask=c < {self.plan.channels(path)}, other=0.0)"
            )

    def _symbols(self, path: int) -> dict[tuple[int, int, int], float]:
        """The coupling of a path: components of feature, harmonic and result that it joins."""
        source, edge, out = self.plan.paths[path]
        symbols = coupling(self.plan.irreps[source][0], edge, out).numpy()
        return {
            (i, m, k): float(symbols[i, m, k])
            for i, m, k in product(*map(range, symbols.shape))
            if abs(symbols[i, m, k]) > _ZERO
        }

    def _turned(self, path: int) -> dict[tuple[int, int], str]:
        """The coupling with the harmonics, of each component of the feature and of the result."""
        edge = self.plan.paths[path][1]
        terms: dict[tuple[int, int], list[str]] = {}
        for (i, m, k), factor in self._symbols(path).items():
            text = f"{factor!r} * y{edge}_{m}" if edge else f"{factor!r}"
            terms.setdefault((i, k), []).append(text)
        return {joined: " + ".join(parts) for joined, parts in terms.items()}

    def _forward(self) -> Iterator[str]:
        yield from self._begin()
        for number, _, _ in self._results():
            yield f"a{number} = tl.zeros([BLOCK], dtype=tl.{self.dtype})"
        yield "for e in range(begin, end):"
        body = [*self._geometry(slopes=False), *self._features()]
        for path, (source, _, out) in enumerate(self.plan.paths):
            body.extend(self._coefficients(path))
            body.append(f"w = {_spline('b')}")
            turned = self._turned(path)
            for k in range(2 * out + 1):
                terms = [f"x{source}_{i} * ({text})" for (i, to), text in turned.items() if to == k]
                if terms:
                    body.append(f"a{path}_{k} += w * ({' + '.join(terms)})")
        yield from _indented(body)
        for number, place, mask in self._results():
            yield f"tl.store(out + {place}, a{number}, mask={mask})"

    def _backward(self) -> Iterator[str]:
        yield from self._begin()
        for number, place, mask in self._results():
            yield f"g{number} = tl.load(grad + {place}, mask={mask}, other=0.0)"
        yield "for e in range(begin, end):"
        yield from _indented([*self._geometry(slopes=True), *self._features(), *self._edge()])

    def _edge(self) -> Iterator[str]:
        """Gradients from one edge."""
        zeros = f"tl.zeros([BLOCK], dtype=tl.{self.dtype})"
        yield f"radial = {zeros}"
        for degree in self._degrees():
            for m in range(2 * degree + 1 if degree else 0):
                yield f"h{degree}_{m} = {zeros}"
        for number, _, _ in self._sources():
            yield f"o{number} = {zeros}"
        for path, (source, edge, _) in enumerate(self.plan.paths):
            yield from self._coefficients(path)
            yield f"w = {_spline('b')}"
            yield f"slope = {_spline('d')}"
            turned = self._turned(path)
            rows = sorted({i for i, _ in turned})
            for i in rows:
                terms = [f"g{path}_{k} * ({text})" for (at, k), text in turned.items() if at == i]
                yield f"q{i} = {' + '.join(terms)}"
                yield f"o{source}_{i} += w * q{i}"
            yield f"radial += slope * ({' + '.join(f'x{source}_{i} * q{i}' for i in rows)})"
            if not edge:
                continue
            products: dict[int, list[str]] = {}
            for (i, m, k), factor in self._symbols(path).items():
                products.setdefault(m, []).append(f"{factor!r} * x{source}_{i} * g{path}_{k}")
            for m, terms in products.items():
                yield f"h{edge}_{m} += w * ({' + '.join(terms)})"
        yield from self._vector()
        yield "if NEED_X:"
        for number, place, mask in self._sources():
            yield f"    tl.atomic_add(of_x + {place}, o{number}, mask={mask})"

    def _vector(self) -> Iterator[str]:
        """The gradient of the edge's vector, summed over the channels."""
        # along u, and across: of the harmonics
        yield "along = tl.sum(radial, axis=0)"
        across: list[list[str]] = [[], [], []]
        inward = []
        for degree in self._degrees():
            for m, polynomial in enumerate(harmonics(degree) if degree else ()):
                yield f"f{degree}_{m} = tl.sum(h{degree}_{m}, axis=0)"
                inward.append(f"{float(degree)!r} * f{degree}_{m} * y{degree}_{m}")
                for axis in range(3):
                    slope = derivative(polynomial, axis)
                    if slope:
                        across[axis].append(f"f{degree}_{m} * ({_text(slope)})")
        if inward:
            yield f"inward = {' + '.join(inward)}"
        for axis in range(3):
            parts = [f"along * u{axis}"]
            if inward:
                turned = " + ".join([*across[axis], f"-inward * u{axis}"])
                parts.append(f"inverse * ({turned})")
            value = f"({' + '.join(parts)}).to(tl.{self.vectors})"
            yield f"tl.store(of_vectors + 3 * e + {axis}, {value})"


def _spline(letter: str) -> str:
    """Radial function (b) or its slope (d), from the loaded coefficients."""
    return " + ".join(f"{letter}{k} * w{k}" for k in range(4))


def _text(polynomial: Polynomial) -> str:
    """As an expression of u0, u1 and u2."""
    terms = []
    for power, factor in polynomial.items():
        factors = [f"u{axis}" for axis, n in enumerate(power) for _ in range(n)]
        terms.append(" * ".join([repr(factor), *factors]))
    return " + ".join(terms) or "0.0"


def _indented(lines: Iterator[str] | list[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)
