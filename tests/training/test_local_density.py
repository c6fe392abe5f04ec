# SPDX-License-Identifier: GPL-2.0-or-later
"""The local-density term: rows against finite differences and sums over all images."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from linear_systems import energy_of, shaken

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import read_json, write_json
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.base import density_labels
from cgpot.potential.basis import Joint, no_anchors
from cgpot.potential.density_table import INDICATORS, DensityTable, indicator
from cgpot.potential.local_density import LocalDensityBasis, sampled_spans
from cgpot.potential.pair_basis import PairBasis
from cgpot.training.linear.equations import NormalEquations
from cgpot.training.linear.solver import Options, Penalties

CUTOFF = 6.0


def triclinic(seed: int, types: int = 1, n: int = 30) -> CGFrame:
    """Sites at random in a skewed cell, narrower than twice the cutoff."""
    rng = np.random.default_rng(seed)
    cell = np.array([[9.0, 0.0, 0.0], [1.5, 10.0, 0.0], [-0.7, 2.0, 8.5]])
    topology = Topology(
        ("A", "B")[:types], (78.0, 40.0)[:types], np.arange(n) % types, np.arange(n)
    )
    return CGFrame(topology, rng.random((n, 3)) @ cell, cell)


def densities(frame: CGFrame, kind: str, weights) -> np.ndarray:
    """Local densities by a sum over all images."""
    rho = np.zeros(frame.topology.n_sites)
    for shift in itertools.product(range(-2, 3), repeat=3):
        delta = frame.positions[None] - frame.positions[:, None] + np.array(shift) @ frame.cell
        r = np.linalg.norm(delta, axis=-1)
        share = indicator(r, CUTOFF, kind)[0]
        share[r == 0.0] = 0.0
        rho += share @ np.asarray(weights)[frame.topology.types]
    return rho


def derivative(energy, h: float = 1e-5) -> float:
    """dE/dx at 0 by four points, E(x) = ``energy(x)``."""
    near, far = (energy(k * h) - energy(-k * h) for k in (1, 2))
    return (8.0 * near - far) / (12.0 * h)


def made(frame: CGFrame, kind: str = "smooth", weights=None, **options) -> LocalDensityBasis:
    names = frame.topology.type_names
    weights = weights or [1.0] * len(names)
    spans = sampled_spans([frame], CUTOFF, kind, weights)
    return LocalDensityBasis(names, CUTOFF, spans, 7, kind=kind, weights=weights, **options)


@pytest.mark.parametrize("kind", INDICATORS)
def test_indicator_and_its_slope(kind):
    r = np.linspace(0.0, CUTOFF, 200)[:-1]
    h = 1e-5
    w, slope = indicator(r, CUTOFF, kind)
    difference = (indicator(r + h, CUTOFF, kind)[0] - indicator(r - h, CUTOFF, kind)[0]) / (2 * h)
    np.testing.assert_allclose(slope, difference, atol=1e-9)
    assert w[0] == 1.0
    assert np.all(np.diff(w) <= 0.0)
    near, beyond = (
        indicator(np.array([CUTOFF - 1e-3]), CUTOFF, kind),
        indicator(np.array([CUTOFF, CUTOFF + 1.0]), CUTOFF, kind),
    )
    assert not np.any(beyond)
    # w goes as the cube or the square of the distance to the cutoff
    assert near[0][0] < (1e-9 if kind == "smooth" else 1e-6)


@pytest.mark.parametrize(
    ("types", "kind", "weights"),
    [(1, "smooth", [1.0]), (2, "smooth", [1.0, 0.4]), (2, "lammps", [1.0, 1.0])],
)
@pytest.mark.parametrize("system", [triclinic, shaken])
def test_forces_and_virial_are_derivatives_of_the_energy(system, types, kind, weights):
    frame = system(3, types)
    basis = made(frame, kind, weights)
    c = np.random.default_rng(0).normal(size=basis.size)
    rows = basis.rows(frame, energy=True)
    forces = (rows.forces @ c).reshape(-1, 3)
    virial = rows.virial @ c

    def moved(x, site, a):
        positions = frame.positions.copy()
        positions[site, a] += x
        return energy_of(basis, c, replace(frame, positions=positions))

    def strained(x, a, b):
        strain = np.eye(3)
        strain[a, b] += x
        new = replace(frame, positions=frame.positions @ strain, cell=frame.cell @ strain)
        return energy_of(basis, c, new)

    for site, a in itertools.product((0, 5, 20, 29), range(3)):
        expected = -derivative(partial(moved, site=site, a=a))
        assert forces[site, a] == pytest.approx(expected, rel=1e-8, abs=1e-8)
    for a, b in itertools.product(range(3), repeat=2):
        expected = -derivative(partial(strained, a=a, b=b))
        assert virial[a, b] == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert np.abs(forces.sum(axis=0)).max() < 1e-12 * np.abs(forces).sum()


@pytest.mark.parametrize("kind", INDICATORS)
def test_energy_is_that_of_a_sum_over_all_images(kind):
    frame = triclinic(1, 2)
    basis = made(frame, kind, [78.0, 40.0])
    rho = densities(frame, kind, [78.0, 40.0])
    np.testing.assert_allclose(basis.around(frame).rho, rho, rtol=1e-12)
    c = np.random.default_rng(2).normal(size=basis.size)
    table = basis.table(c, {})
    # no bend at the ends
    np.testing.assert_allclose(np.diff(table.coefficients, 2)[:, [0, -1]], 0.0, atol=1e-12)
    forces, virial, energy = density_labels(table, frame)
    rows = basis.rows(frame, energy=True)
    np.testing.assert_allclose(forces.ravel(), rows.forces @ c, atol=1e-12)
    np.testing.assert_allclose(virial, rows.virial @ c, atol=1e-11)
    assert energy == pytest.approx(rows.energy @ c, rel=1e-12)
    total = sum(
        float(table.embedding(r, k)[0]) for r, k in zip(rho, frame.topology.types, strict=True)
    )
    assert basis.rows(frame, energy=True).energy @ c == pytest.approx(total, rel=1e-12)


def test_beyond_the_knots_the_functions_are_straight():
    frame = triclinic(1)
    table = made(frame).table(np.random.default_rng(1).normal(size=8), {})
    low, high = table.spans[0]
    for end, sign in ((low, -1), (high, 1)):
        u, slope = table.embedding(np.array([end]))
        far, same = table.embedding(np.array([end + sign * 7.0]))
        assert far[0] == pytest.approx(u[0] + sign * 7.0 * slope[0], rel=1e-12)
        assert same[0] == pytest.approx(slope[0], rel=1e-12)
    # a dense frame, whose densities lie beyond all knots: finite, and still consistent
    squeezed = replace(frame, positions=0.7 * frame.positions, cell=0.7 * frame.cell)
    basis = made(frame)
    assert basis.around(squeezed).rho.min() > high
    c = np.random.default_rng(2).normal(size=basis.size)
    rows = basis.rows(squeezed)

    def scaled(x):
        scale = 1.0 + x
        moved = replace(squeezed, positions=scale * squeezed.positions, cell=scale * squeezed.cell)
        return energy_of(basis, c, moved)

    trace = float(np.einsum("iik->k", rows.virial) @ c)
    assert trace == pytest.approx(-derivative(scaled), rel=1e-8)


def test_a_straight_function_is_a_pair_potential_and_is_taken_out():
    """F = a rho is sum over pairs of 2 a w(r): the two coefficients that are fixed hold it."""
    frame = triclinic(4)
    basis = made(frame)
    straight = 0.3 * (basis.spans[0, 0] + np.arange(basis.width) * basis.steps[0])
    constant = np.ones(basis.width)
    rows = basis.rows(frame, energy=True)
    near = basis.around(frame)
    expected = np.zeros_like(frame.positions)
    np.add.at(expected, near.neighbour, -2 * 0.3 * near.slope[:, None] * near.unit)
    np.testing.assert_allclose((rows.forces @ straight).reshape(-1, 3), expected, atol=1e-12)
    assert rows.energy @ straight == pytest.approx(0.3 * near.rho.sum(), rel=1e-12)
    assert np.abs(rows.forces @ constant).max() < 1e-12
    free = basis.free()
    assert basis.size - free.sum() == 2
    assert np.linalg.matrix_rank(np.stack([straight, constant])[:, ~free]) == 2
    assert made(frame, linear=True).free().sum() == basis.size - 1


def test_excluded_neighbours_do_not_count():
    frame = shaken(2, molecule=2)

    def bonded(frame, pairs):
        return frame.topology.molecules[pairs.i] == frame.topology.molecules[pairs.j]

    plain, without = made(frame), made(frame, exclude=bonded)
    rho, fewer = plain.around(frame).rho, without.around(frame).rho
    delta = frame.positions[0::2] - frame.positions[1::2]
    delta -= np.rint(delta / np.diag(frame.cell)) * np.diag(frame.cell)
    share = indicator(np.linalg.norm(delta, axis=1), CUTOFF, "smooth")[0]
    assert np.all(share > 0.3)
    np.testing.assert_allclose(rho - fewer, np.repeat(share, 2), atol=1e-12)


def test_a_pair_potential_and_a_function_are_found_together():
    frames = [shaken(k) for k in range(20)]
    names = frames[0].topology.type_names
    spans = sampled_spans(frames, CUTOFF, "smooth", [1.0])
    joint = Joint(
        {
            "pair": PairBasis(names, CUTOFF, 0.5, 300.0),
            "density": LocalDensityBasis(names, CUTOFF, spans, 6),
        }
    )
    c = np.random.default_rng(7).normal(size=joint.size) * joint.free()
    equations = NormalEquations(joint.size)
    known = [
        replace(frame, forces=(joint.rows(frame).forces @ c).reshape(-1, 3)) for frame in frames
    ]
    equations.add_frames(
        joint, known, [1.0] * 20, virials=False, energies=False, blocks=4, title="", quiet=True
    )
    penalties = replace(Penalties.of(joint), anchors=no_anchors(joint.size))
    found = equations.solve(penalties, Options(ridge=1e-13))
    for frame in (shaken(50), shaken(51)):
        rows = joint.rows(frame)
        truth = rows.forces @ c
        np.testing.assert_allclose(rows.forces @ found, truth, atol=1e-3 * np.abs(truth).max())
    # the bend of F where there are samples: no pair potential gives it
    low, high = spans[0]
    rho = np.linspace(low + 0.3 * (high - low), high - 0.3 * (high - low), 9)
    density = joint.parts["density"]
    mine, theirs = (
        density.table(joint.split(values)["density"], {}).embedding(rho)[1] for values in (found, c)
    )
    np.testing.assert_allclose(mine, theirs, atol=0.02 * np.abs(theirs).max())


def test_few_samples_draw_the_function_to_a_straight_line():
    frame = triclinic(1)
    basis = made(frame)
    matrix, vector = basis.anchors()
    assert not vector.any()
    straight = 2.0 + 0.3 * np.arange(basis.width)
    assert abs(straight @ matrix @ straight) < 1e-20
    for _ in range(3):
        basis.observe(frame)
    counts = np.histogram(
        basis.around(frame).rho, basis.spans[0, 0] + basis.steps[0] * np.arange(8)
    )[0]
    matrix, _ = basis.anchors()
    # a bend in an interval without samples has a price, one between well-sampled ones has none
    bend = np.zeros(basis.width)
    bend[-1] = 1.0
    assert 3 * counts[-1] < 100
    assert bend @ matrix @ bend > 0
    for _ in range(100):
        basis.observe(frame)
    assert (103 * counts >= 100).all() or basis.anchors()[0].any()


def test_tables_are_read_back_and_bad_ones_refused(tmp_path):
    frame = triclinic(1, 2)
    basis = made(frame, weights=[78.0, 40.0])
    table = basis.table(np.random.default_rng(1).normal(size=basis.size), {"note": "x"})
    path = table.write(tmp_path / "density.json")
    back = DensityTable.read(path)
    np.testing.assert_array_equal(back.coefficients, table.coefficients)
    np.testing.assert_array_equal(back.spans, table.spans)
    assert (back.weights, back.indicator, back.info) == ((78.0, 40.0), "smooth", {"note": "x"})
    rows = LocalDensityBasis.of(back).rows(frame)
    np.testing.assert_array_equal(rows.forces, basis.rows(frame).forces)
    assert back.with_coefficients(np.arange(20.0), {}).coefficients.shape == (2, 10)
    record = read_json(path)
    for change, match in (
        ({"indicator": "step"}, "expected one of .*'smooth'.*found 'step'"),
        ({"weights": [1.0]}, "expected a weight and at least 4 coefficients"),
        ({"embedding": {"A": record["embedding"]["A"]}}, "the key is missing"),
        (
            {
                "embedding": {
                    name: {**part, "span": [2.0, 1.0]} for name, part in record["embedding"].items()
                }
            },
            "expected a first and a last knot",
        ),
    ):
        write_json(path, {**record, **change})
        with pytest.raises(InputError, match=match):
            DensityTable.read(path)


def test_what_cannot_be_is_refused():
    frame = triclinic(1)
    with pytest.raises(DataError, match="at least 4 intervals of the local density"):
        LocalDensityBasis(("A",), CUTOFF, np.array([[0.0, 1.0]]), 3)
    with pytest.raises(DataError, match="expected a range of local densities for each"):
        LocalDensityBasis(("A", "B"), CUTOFF, np.array([[0.0, 1.0]]), 5)
    with pytest.raises(DataError, match="no frames to take the range"):
        sampled_spans([], CUTOFF, "smooth", [1.0])
    alone = replace(frame, cell=50.0 * np.eye(3), positions=np.arange(30)[:, None] * [1.0, 0, 0])
    with pytest.raises(DataError, match=r"density of sites A within 0\.5 Å does not vary"):
        sampled_spans([alone], 0.5, "smooth", [1.0])
