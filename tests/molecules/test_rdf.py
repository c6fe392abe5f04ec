# SPDX-License-Identifier: GPL-2.0-or-later
"""g(r): the ideal gas, a crystal, boxes, and the comparison of two curves."""

from __future__ import annotations

import numpy as np
import pytest

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.rdf import RDFAccumulator, first_peak, freud_box, half_box, rdf_error

CUBE = np.eye(3) * 30.0
TILTED = np.array([[30.0, 0.0, 0.0], [9.0, 28.0, 0.0], [-6.0, 8.0, 31.0]])


def gas(
    rng: np.random.Generator, cell: np.ndarray, n: int = 400, types: int = 1, frame: int = 0
) -> CGFrame:
    kinds = np.arange(n) % types
    names = ("A", "B")[:types]
    return CGFrame(
        topology=Topology(names, (1.0,) * types, kinds, np.arange(n)),
        positions=rng.uniform(size=(n, 3)) @ cell,
        cell=cell,
        source_frame=frame,
    )


@pytest.mark.parametrize("cell", [CUBE, TILTED], ids=["cube", "tilted"])
@pytest.mark.parametrize("select", [None, (0, 0), (0, 1)])
def test_ideal_gas(
    rng: np.random.Generator, cell: np.ndarray, select: tuple[int, int] | None
) -> None:
    accumulator = RDFAccumulator(r_max=12.0, bins=24)
    for _ in range(40):
        accumulator.add(gas(rng, cell, types=2), select)
    rdf = accumulator.result()
    assert rdf.n_frames == 40
    np.testing.assert_allclose(rdf.r, 0.25 + 0.5 * np.arange(24))
    # the far half holds most pairs: its mean is 1 to within 1 % (counting error 0.2 %)
    assert rdf.g[12:].mean() == pytest.approx(1.0, abs=0.01)
    # single bins within five of their own standard errors
    far = rdf.r > 2.0
    assert np.all(np.abs(rdf.g[far] - 1.0) < 5 * rdf.error[far] + 1e-12)
    np.testing.assert_allclose(rdf.halves.mean(axis=0), rdf.g)


def test_finite_size_is_normalised(rng: np.random.Generator) -> None:
    """With few particles (N - 1)/N matters: without it g would be 0.9 for N = 10."""
    accumulator = RDFAccumulator(r_max=14.0, bins=10)
    for _ in range(4000):
        accumulator.add(gas(rng, CUBE, n=10))
    assert accumulator.result().g[3:].mean() == pytest.approx(1.0, abs=0.01)


def test_crystal_coordination(rng: np.random.Generator) -> None:
    """fcc: 12, 6, 24, 12 neighbours at a sqrt(1/2), a, a sqrt(3/2), a sqrt(2)."""
    a, n = 5.0, 6
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = ((grid + basis).reshape(-1, 3) + 0.01) * a
    cell = np.eye(3) * a * n
    count = len(positions)
    frame = CGFrame(
        Topology(("A",), (1.0,), np.zeros(count, int), np.arange(count)), positions, cell
    )
    accumulator = RDFAccumulator(r_max=8.0, bins=160)
    accumulator.add(frame)
    accumulator.add(frame)
    rdf = accumulator.result()
    shell = 4 * np.pi / 3 * np.diff(np.linspace(0, 8.0, 161) ** 3)
    neighbours = rdf.g * shell * (count - 1) / frame.volume
    for distance, number in [(0.5**0.5, 12), (1, 6), (1.5**0.5, 24), (2**0.5, 12)]:
        near = np.abs(rdf.r - distance * a) < 0.3
        assert neighbours[near].sum() == pytest.approx(number, rel=1e-3)
    np.testing.assert_array_equal(rdf.error, 0.0)


def test_half_box() -> None:
    assert half_box(CUBE) == pytest.approx(15.0)
    # distance of the faces spanned by two vectors: volume over the area of the face
    a, b, c = TILTED
    volume = abs(np.linalg.det(TILTED))
    widths = [volume / np.linalg.norm(np.cross(*pair)) for pair in ((b, c), (c, a), (a, b))]
    assert half_box(TILTED) == pytest.approx(min(widths) / 2)


def test_freud_box_keeps_the_cell() -> None:
    np.testing.assert_allclose(freud_box(TILTED).to_matrix().T, TILTED, atol=1e-4)
    with pytest.raises(DataError, match="expected a lower triangular cell"):
        freud_box(TILTED.T)


def test_r_max_beyond_half_the_box(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match=r"frame 7: r_max 15\.100 Å exceeds half the box, 15\.000"):
        RDFAccumulator(r_max=15.1).add(gas(rng, CUBE, frame=7))


def test_too_few_frames(rng: np.random.Generator) -> None:
    accumulator = RDFAccumulator(r_max=10.0)
    accumulator.add(gas(rng, CUBE))
    with pytest.raises(DataError, match="expected at least 2 frames for g\\(r\\), found 1"):
        accumulator.result()


def curve(r: np.ndarray, position: float, height: float) -> np.ndarray:
    """A liquid-like g(r): a skewed peak on a step, a second and smaller one."""
    step = 1 / (1 + np.exp(-(r - position + 1.0) / 0.15))
    first = (height - 1) * np.exp(-(((r - position) / 0.7) ** 2))
    return step * (1 + first + 0.2 * np.exp(-(((r - 1.9 * position) / 1.0) ** 2)))


def test_first_peak() -> None:
    r = np.linspace(0, 15, 300, endpoint=False) + 0.025
    fine = np.linspace(3, 8, 200001)
    true = curve(fine, 5.7, 1.9)
    position, height = first_peak(r, curve(r, 5.7, 1.9))
    assert position == pytest.approx(fine[true.argmax()], abs=0.02)
    assert height == pytest.approx(true.max(), rel=3e-3)


def test_first_peak_is_not_biased_by_noise(rng: np.random.Generator) -> None:
    r = np.linspace(0, 15, 300, endpoint=False) + 0.025
    g = curve(r, 5.7, 1.9)
    clean = first_peak(r, g)[1]
    noisy = [g + rng.normal(scale=0.03, size=300) for _ in range(200)]
    heights = [first_peak(r, x)[1] for x in noisy]
    assert np.mean(heights) == pytest.approx(clean, rel=5e-3)
    # the largest bin alone would be some 2 % too high
    assert np.mean([x.max() for x in noisy]) > clean * 1.015


def test_first_peak_of_few_bins_and_of_nothing() -> None:
    r = np.arange(5.0)
    assert first_peak(r, np.array([0.0, 1.0, 3.0, 2.0, 1.0])) == (2.0, 3.0)
    with pytest.raises(DataError, match="zero everywhere"):
        first_peak(r, np.zeros(5))


def test_rdf_error() -> None:
    r = np.linspace(0, 10, 1000, endpoint=False) + 0.005
    reference = np.where(r > 5, 1.0, 0.0)
    assert rdf_error(reference, reference) == 0.0
    # integral of |0.1| over 5 Å, over the integral 5
    assert rdf_error(reference * 1.1, reference) == pytest.approx(0.1)
    assert rdf_error(np.where(r > 6, 1.0, 0.0), reference) == pytest.approx(0.2, abs=1e-3)
    with pytest.raises(DataError, match=r"g\(r\) has \(3,\) bins, the reference \(4,\)"):
        rdf_error(np.ones(3), np.ones(4))
