# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts, gradients and steps of bonded terms and of pairs within molecules, without LAMMPS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from trimer_systems import (
    INTERVALS,
    KT,
    NAMES,
    R_MAX,
    TEMPERATURE,
    TRIMERS,
    lattice,
    topology,
    truth,
    write_config,
    write_start,
)

from cgpot.analysis.observables import bond_angles, bond_lengths
from cgpot.analysis.observables.block_sums import BlockSums, compare_distributions, distribution
from cgpot.analysis.observables.term_values import angle
from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import whole_positions
from cgpot.potential.bonds import BondBasis
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.frame_counts import FrameTally, Grid, TermRows, term_rows
from cgpot.refine.inverse_boltzmann import inversion_step
from cgpot.refine.judge import judge
from cgpot.refine.refine_loop import refine
from cgpot.refine.refine_settings import RefineConfig, ToleranceConfig, load_config
from cgpot.refine.refine_start import refined_functions, resolve
from cgpot.refine.refine_target import Target, collect
from cgpot.refine.relative_entropy import gradient, hessian, newton_step
from cgpot.refine.reweighting import Samples, WeightedAverages, weighted_averages
from cgpot.training.linear.mscg import MSCGPotential

BETA = 1.0 / KT
GRID = Grid(12.0, 240)


def tally_of(potential: MSCGPotential, system: Topology | None = None) -> FrameTally:
    """What is counted for pairs, bonds and angles of the trimers."""
    system = system or topology()
    bonded = potential.bonded
    bonded.check_system(system, "test")
    rows = tuple(TermRows.of(name, part) for name, part in bonded.parts.items())
    return FrameTally(system, GRID, bonded.exclusions(), bonded.acts_within(system), rows)


def basis_of(tally: FrameTally, **options: object) -> CountsBasis:
    return CountsBasis(
        tally.pairs,
        R_MAX,
        INTERVALS,
        GRID,
        tally.within,
        tally.terms,
        **options,  # type: ignore[arg-type]
    )


def shaken(count: int, seed: int, scale: float = 0.15) -> list[CGFrame]:
    """Trimers and monomers in different orders, bonds and angles shaken."""
    rng = np.random.default_rng(seed)
    frames = [lattice(seed + k) for k in range(count)]
    return [
        replace(f, positions=f.positions + rng.normal(scale=scale, size=f.positions.shape))
        for f in frames
    ]


def test_counts_by_brute_force() -> None:
    """All pairs by the minimum image: those of two molecules, and the ends of each trimer."""
    frame = shaken(1, 3)[0]
    tally = tally_of(truth())
    assert tally.within
    counts = tally.count(frame)
    types, molecules = frame.topology.types, frame.topology.molecules
    d = frame.positions[:, None] - frame.positions[None]
    d -= np.rint(d / frame.cell[0, 0]) * frame.cell[0, 0]
    i, j = np.triu_indices(len(d), 1)
    r = np.linalg.norm(d, axis=-1)[i, j]
    own = molecules[i] == molecules[j]
    # sites 3k, 3k + 1 and 3k + 2 are bonded in this order
    ends = own & (types[i] == 0) & (types[j] == 0)
    assert ends.sum() == TRIMERS
    for row, (a, b) in enumerate(((0, 0), (0, 1), (1, 1))):
        mine = (np.minimum(types[i], types[j]) == a) & (np.maximum(types[i], types[j]) == b)
        between, _ = np.histogram(r[mine & ~own], GRID.edges)
        within, _ = np.histogram(r[mine & ends], GRID.edges)
        np.testing.assert_array_equal(counts[row, : len(between)], between)
        np.testing.assert_array_equal(counts[3 + row, : len(within)], within)
    place = {label: (rows, row) for rows, row, label in term_rows(tally)}
    assert list(place) == ["A-B", "A-B-A"]
    centre = np.arange(1, 3 * TRIMERS, 3)
    one, two = -d[centre, centre - 1], -d[centre, centre + 1]
    for label, values in (
        ("A-B", np.linalg.norm(np.concatenate([one, two]), axis=1)),
        ("A-B-A", np.radians(angle(one, two))),
    ):
        rows, row = place[label]
        expected, _ = np.histogram(values, rows.edges)
        np.testing.assert_array_equal(counts[row, : rows.bins], expected)


def test_nothing_within_where_all_is_left_out() -> None:
    """With 1-2 and 1-3 pairs left out, no pair of a trimer is counted in a row of its own."""
    tally = tally_of(truth(excluded=(1, 2)))
    assert not tally.within
    assert tally.rows == 3 + 2
    assert tally_of(truth(excluded=())).within


def test_sums_are_energies_and_virials() -> None:
    """Of pairs, bonds and angles together, against the labels of the potential."""
    potential = truth()
    tally = tally_of(potential)
    basis = basis_of(tally)
    c = potential.coefficients
    energies, found, pressures = [], [], []
    for frame in shaken(6, 11):
        frame = replace(frame, topology=potential.topology)
        _, virial, energy = potential.labels(frame)
        counts = tally.count(frame).astype(float)
        energies.append(energy)
        found.append(float(basis.sums(counts) @ c))
        bar = np.trace(virial) / 3.0 / frame.volume * EV_PER_A3_IN_BAR
        pressures.append((bar, float(basis.pressures(counts, frame.volume) @ c)))
    # places inside the bins are not known: 0.04 k_B T of each of 64 stretched bonds
    assert np.std(energies) > 20 * KT
    np.testing.assert_allclose(found, energies, atol=KT)
    exact, binned = np.array(pressures).T
    np.testing.assert_allclose(binned, exact, atol=0.01 * np.abs(exact).max())


def samples_of(tally: FrameTally, frames: list[CGFrame], potential: MSCGPotential) -> Samples:
    pressure = []
    for frame in frames:
        _, virial, _ = potential.labels(replace(frame, topology=potential.topology))
        pressure.append(replace(frame, virial=virial).pressure(TEMPERATURE))
    return Samples(tally.counts(frames), np.array(pressure), potential.coefficients)


def test_gradient_hessian_and_pressure_slope_by_finite_differences() -> None:
    """S(c) = β <U_c>_AA + ln <exp(-β (U_c - U_0))>_0 on the samples, with all rows."""
    potential = truth()
    tally = tally_of(potential)
    basis = basis_of(tally)
    samples = samples_of(tally, shaken(40, 21, 0.02), potential)
    wanted = shaken(40, 121, 0.05)
    target = collect(((0, f) for f in wanted), len(wanted), lambda _: tally)
    sums = basis.sums(samples.counts.astype(float))
    reference = basis.sums(target.counts)
    c0 = potential.coefficients

    def at(c: np.ndarray) -> WeightedAverages:
        volume = target.volume
        return weighted_averages([samples], c, basis, temperature=TEMPERATURE, volume=volume)

    def entropy(c: np.ndarray) -> float:
        shift = logsumexp(-BETA * sums @ (c - c0)) - np.log(len(sums))
        return float(BETA * reference @ c + shift)

    rng = np.random.default_rng(3)
    now = at(c0)
    for _ in range(4):
        direction = rng.normal(size=basis.size)
        h = 1e-4 * KT
        slope = (entropy(c0 + h * direction) - entropy(c0 - h * direction)) / (2 * h)
        assert float(gradient(now, target) @ direction) == pytest.approx(slope, rel=1e-3)
        bend = entropy(c0 + h * direction) - 2 * entropy(c0) + entropy(c0 - h * direction)
        assert float(direction @ hessian(now) @ direction) == pytest.approx(bend / h**2, rel=0.01)
        up, down = at(c0 + h * direction), at(c0 - h * direction)
        change = (up.pressure - down.pressure) / (2 * h)
        assert float(now.pressure_slope @ direction) == pytest.approx(change, rel=2e-3)


# --- an ideal gas of dimers, whose bond distribution is known exactly ---

DIMERS = 60
DIMER = Species("DIM", ("A", "B"), ((0, 1),))


def dimer_bonds(stiffness: float = 40.0) -> BondBasis:
    n = DIMERS
    system = Topology(
        NAMES,
        (30.0, 40.0),
        np.tile([0, 1], n),
        np.repeat(np.arange(n), 2),
        species=(DIMER,),
        molecule_species=np.zeros(n, dtype=np.int64),
    )
    bonds = BondBasis(system, None, (1.5, 4.5), 0.1, KT, bonds=system.bonds)
    bonds.springs = [(stiffness * KT, 3.0)]
    return bonds


def density(bonds: BondBasis, c: np.ndarray, r: np.ndarray) -> np.ndarray:
    """p(r) of a bond at the spacing of r, normalised to 1: r^2 exp(-β u)."""
    u, _ = bonds.evaluate(c, 0, r)
    p = r**2 * np.exp(-BETA * (u - u.min()))
    return np.asarray(p / p.sum())


def gas(bonds: BondBasis, c: np.ndarray, count: int, seed: int) -> list[CGFrame]:
    """Dimers at random places and in random directions, with bonds drawn from p(r)."""
    rng = np.random.default_rng(seed)
    r = np.linspace(1.0, 5.0, 20001)
    cumulated = np.cumsum(density(bonds, c, r))
    frames = []
    for _ in range(count):
        length = np.interp(rng.random(DIMERS), cumulated, r)
        step = rng.normal(size=(DIMERS, 3))
        step *= (length / np.linalg.norm(step, axis=1))[:, None]
        first = rng.random((DIMERS, 3)) * 30.0
        positions = np.stack([first, first + step], axis=1).reshape(-1, 3)
        frames.append(CGFrame(bonds.topology, positions, np.eye(3) * 30.0))
    return frames


def harmonic(bonds: BondBasis, stiffness: float, length: float) -> np.ndarray:
    """Coefficients of a spring (k_B T/Å^2, Å)."""
    q = np.linspace(bonds.low, bonds.high, 400)
    u = 0.5 * stiffness * KT * (q - length) ** 2
    return np.linalg.lstsq(bonds.splines(q)[0], u, rcond=None)[0]


@pytest.fixture(scope="module")
def dimers() -> tuple[BondBasis, FrameTally, CountsBasis, Target]:
    """Bonds whose reference has a stiffness of 90 k_B T/Å^2 at 2.9 Å."""
    bonds = dimer_bonds()
    tally = FrameTally(bonds.topology, GRID, None, False, (TermRows.of("bond", bonds),))
    basis = CountsBasis(3, R_MAX, INTERVALS, GRID, False, tally.terms, (False,) * 3 + (True,))
    frames = gas(bonds, harmonic(bonds, 90.0, 2.9), 120, 1)
    target = collect(((0, f) for f in frames), len(frames), lambda _: tally)
    return bonds, tally, basis, target


def averages(
    dimers: tuple[BondBasis, FrameTally, CountsBasis, Target], c: np.ndarray, seed: int
) -> WeightedAverages:
    """Of the gas with bonds of these coefficients."""
    bonds, tally, basis, target = dimers
    flat = np.zeros(basis.size)
    flat[basis.term_blocks[0].columns] = c
    counts = tally.counts(gas(bonds, c, 120, seed))
    samples = Samples(counts, np.zeros(len(counts)), flat)
    return weighted_averages([samples], flat, basis, temperature=TEMPERATURE, volume=target.volume)


def test_the_exact_gradient_of_dimers(
    dimers: tuple[BondBasis, FrameTally, CountsBasis, Target],
) -> None:
    """β N (∫ p_AA B_k - ∫ p_CG B_k), the integrals by numpy; likewise the Hessian."""
    bonds, _, basis, target = dimers
    c = harmonic(bonds, 40.0, 3.0)
    now = averages(dimers, c, 2)
    r = np.linspace(1.0, 5.0, 20001)
    values, _ = bonds.splines(r)
    p_cg, p_aa = density(bonds, c, r), density(bonds, harmonic(bonds, 90.0, 2.9), r)
    exact = BETA * DIMERS * (p_aa - p_cg) @ values
    block = basis.term_blocks[0].columns
    found = gradient(now, target)[block]
    variance = [p @ values**2 - (p @ values) ** 2 for p in (p_cg, p_aa)]
    error = BETA * np.sqrt(DIMERS * sum(variance) / 120)
    assert np.abs(exact).max() > 30 * error.max()
    np.testing.assert_array_less(np.abs(found - exact), 4.0 * error + 0.02 * BETA)
    covariance = DIMERS * ((values * p_cg[:, None]).T @ values - np.outer(*[p_cg @ values] * 2))
    np.testing.assert_allclose(
        basis.independent(now.counts)[block, block], covariance, atol=0.05 * covariance.max()
    )
    # the diagonal of the sample's covariance, within its error
    sampled = np.diag(now.covariance[block, block])
    np.testing.assert_allclose(sampled, np.diag(covariance), atol=0.5 * covariance.max())
    # nothing is asked of the pairs, which are held
    assert set(basis.free) == set(range(block.start, block.stop))


@pytest.mark.parametrize("method", ["relative-entropy", "ibi"])
def test_steps_find_the_spring(
    dimers: tuple[BondBasis, FrameTally, CountsBasis, Target], method: str
) -> None:
    """From less than half the stiffness, every ensemble drawn exactly."""
    bonds, _, basis, target = dimers
    c = harmonic(bonds, 40.0, 3.0)
    overlaps = []
    for seed in range(4):
        now = averages(dimers, c, 10 + seed)
        record = judge(now, target, ToleranceConfig())
        overlaps.append(record["bonded_overlap"])
        assert record["terms"].keys() == {"A-B"}
        if method == "ibi":
            change = inversion_step(now, target, value_kT=2.0, curvature_kT=2.0)
        else:
            change = newton_step([(now, target)], value_kT=2.0, curvature_kT=2.0)
        assert not change[: 3 * basis.width].any()
        c = c + change[basis.term_blocks[0].columns]
    assert overlaps[0] < 0.8
    assert overlaps[-1] > 0.96
    r = np.linspace(2.75, 3.05, 7)
    slope = bonds.evaluate(c, 0, r)[1] / KT
    np.testing.assert_allclose(slope, 90.0 * (r - 2.9), atol=2.5)


def test_the_overlap_is_that_of_the_analysis(
    dimers: tuple[BondBasis, FrameTally, CountsBasis, Target],
) -> None:
    """Values binned and compared by `cgpot analyze` beside those of the counts."""
    bonds, tally, _, target = dimers
    found = averages(dimers, harmonic(bonds, 40.0, 3.0), 5)
    record = judge(found, target, ToleranceConfig())
    longest, width = bond_lengths.LONGEST, bond_lengths.WIDTH
    edges = np.linspace(0.0, longest, round(longest / width) + 1)
    distributions = []
    for stiffness, length, seed in ((90.0, 2.9, 1), (40.0, 3.0, 5)):
        sums = BlockSums()
        for frame in gas(bonds, harmonic(bonds, stiffness, length), 120, seed):
            whole = whole_positions(tally.topology, frame.positions, frame.cell)
            r = np.linalg.norm(whole[1::2] - whole[::2], axis=1)
            sums.add(np.append(np.histogram(r, edges)[0], [r.sum(), (r**2).sum()]))
        distributions.append(distribution(sums.blocks(), sums.halves(), edges))
    expected = compare_distributions(distributions[1], distributions[0])
    assert record["bonded_overlap"] == pytest.approx(expected["overlap"], abs=1e-12)
    assert record["bonded_overlap_noise"] == pytest.approx(expected["overlap_noise"], abs=0.005)
    rows = TermRows.of("angle", truth().angles)
    assert rows.bins % bond_angles.BINS == 0


# --- other systems, and what is refused ---


def test_terms_of_a_system_of_another_size() -> None:
    """The splines of 32 trimers count those of two, whose molecules come in another order."""
    system = Topology(
        NAMES,
        (40.0, 60.0),
        np.array([1, 0, 1, 0, 0, 1, 0]),
        np.array([0, 1, 1, 1, 2, 2, 2]),
        species=(Species("TRI", ("A", "B", "A"), ((0, 1), (1, 2))), Species("MON", ("B",))),
        molecule_species=np.array([1, 0, 0]),
    )
    there = truth()
    there.bonded.check_system(system, "x.extxyz")
    tally = tally_of(there, system)
    assert tally.within
    assert not tally_of(truth(excluded=(1, 2)), system).within
    # the energy of the whole potential there, by hand
    arm = np.array([[2.2, 0.9, 0.0], [0.0, 0.0, 0.0], [-2.3, 0.8, 0.0]])
    shifts = np.array([[5.0, 9.0, 5.0], [5.0, 9.0, 9.5]])
    x = np.concatenate([[[5.0, 5.0, 5.0]], arm + shifts[0], arm + shifts[1]])
    table, c = there.table(), system.types
    bonded = {(1, 2), (2, 3), (4, 5), (5, 6)}
    energy = sum(
        float(table.energy(np.linalg.norm(x[i] - x[j]), c[i], c[j]))
        for i, j in zip(*np.triu_indices(7, 1), strict=True)
        if (i, j) not in bonded
    )
    for i, j in bonded:
        u, _ = there.bonds.evaluate(there.part("bond"), 0, np.linalg.norm(x[[i]] - x[[j]], axis=1))  # type: ignore[union-attr]
        energy += float(u[0])
    for i in (2, 5):
        theta = np.radians(angle(x[None, i - 1] - x[None, i], x[None, i + 1] - x[None, i]))
        energy += float(there.angles.evaluate(there.part("angle"), 0, theta)[0][0])  # type: ignore[union-attr]
    frame = CGFrame(system, x, np.eye(3) * 60.0)
    assert there.labels(frame).energy == pytest.approx(energy, abs=1e-10)
    # what is counted: four bonds, two angles, the two pairs of ends
    counts = tally.count(frame)
    assert [int(counts[row].sum()) for _, row, _ in term_rows(tally)] == [4, 2]
    assert counts[3:6].sum(axis=1).tolist() == [2, 0, 0]
    sums = basis_of(tally).sums(counts.astype(float))
    # places inside the bins are not known: some 0.1 k_B T of each bond
    assert energy > 10 * KT
    assert float(sums @ there.coefficients) == pytest.approx(energy, abs=0.5 * KT)
    other = Topology(NAMES, (40.0, 60.0), np.array([0, 0]), np.array([0, 0]))
    with pytest.raises(InputError, match=r"x.extxyz.*A-A"):
        truth().bonded.check_system(other, "x.extxyz")
    monomers = Topology(NAMES, (40.0, 60.0), np.array([1, 1]), np.array([0, 1]))
    with pytest.raises(InputError, match="the potential has the bonds A-B, the system none"):
        truth().bonded.check_system(monomers, "x.extxyz")


def reference(folder: Path) -> Path:
    frames = shaken(20, 31, 0.05)
    for frame in frames:
        frame.virial = np.eye(3)
    write_frames(folder / "reference.extxyz", frames)
    return folder / "reference.extxyz"


def config(folder: Path, **changes: object) -> RefineConfig:
    return load_config(write_config(folder / "refine.yaml", reference(folder), **changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"pairs": []}, "the pressure is matched by pairs"),
        ({"pairs": [], "bonded": False}, "nothing to refine"),
    ],
)
def test_settings(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config(tmp_path, **changes)


def test_which_functions_are_refined(tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", truth())
    for changes, expected in (
        ({}, (True, True, True, True, True)),
        ({"pairs": ["B-A"], "bonded": ["angle"]}, (False, True, False, True)),
        ({"pairs": ["A-A", "B-B"], "bonded": ["B-A"]}, (True, False, True, True)),
        ({"bonded": False}, (True, True, True)),
    ):
        settings = config(tmp_path, start=str(start), **changes)
        tally = resolve(settings).tally(settings, topology(), GRID)
        assert refined_functions(settings, tally) == expected
    for changes, match in (
        ({"pairs": ["A-C"]}, r"key 'pairs': no such pair 'A-C'; expected some of A-A, A-B, B-B"),
        ({"bonded": ["A-A-A"]}, r"key 'bonded': no such bonded terms.*found \['A-A-A'\]"),
    ):
        settings = config(tmp_path, start=str(start), **changes)
        with pytest.raises(ConfigError, match=match):
            refine(settings, tmp_path / "out", quiet=True)


def test_a_pair_table_holds_no_molecule_together(tmp_path: Path) -> None:
    truth().table().write(tmp_path / "pair.json")
    with pytest.raises(InputError, match=r"without bonded terms.*molecule 0 has 3 \(A-B-A\)"):
        refine(config(tmp_path, start=str(tmp_path / "pair.json")), tmp_path / "out", quiet=True)


def test_bonds_that_nobody_tells(tmp_path: Path) -> None:
    bare = Topology(NAMES, (40.0, 60.0), topology().types, topology().molecules)
    frames = [replace(frame, topology=bare) for frame in shaken(20, 31)]
    settings = config(tmp_path)
    write_frames(tmp_path / "reference.extxyz", frames)
    with pytest.raises(InputError, match=r"reference\.extxyz.*cgpot refine needs the bonds"):
        refine(settings, tmp_path / "out", quiet=True)


def test_another_system_in_the_run() -> None:
    tally = tally_of(truth())
    other = Topology(NAMES, (40.0, 60.0), np.zeros(4, np.int64), np.arange(4))
    with pytest.raises(DataError, match="the frame's 4 sites are not those of the reference"):
        tally.count(CGFrame(other, np.eye(4)[:, :3] * 5, np.eye(3) * 30.0))
