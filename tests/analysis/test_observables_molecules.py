# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured along bonds: against MDAnalysis, plain numpy and known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from chain_frames import CHAIN, NAMES, RING, STAR, TILTED, grown, measure, topology

from cgpot.analysis.observables.block_sums import BlockSums, compare_distributions, overlap
from cgpot.analysis.observables.bond_angles import BondAngles
from cgpot.analysis.observables.bond_lengths import LONGEST, BondLengths
from cgpot.analysis.observables.chains import chain_ends
from cgpot.analysis.observables.dihedral_angles import Dihedrals
from cgpot.analysis.observables.end_to_end import EndToEnd
from cgpot.analysis.observables.radius_of_gyration import RadiusOfGyration
from cgpot.analysis.observables.rdf_within import DistancesWithin
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology


def box() -> np.ndarray:
    """The tilted cell as MDAnalysis has it: three lengths and three angles."""
    from MDAnalysis.lib.mdamath import triclinic_box

    return triclinic_box(*TILTED)


@pytest.mark.parametrize(
    ("kind", "width", "low", "high", "key", "p_key"),
    [
        (BondLengths, 2, 0.0, LONGEST, "r_A", "p_per_A"),
        (BondAngles, 3, 0.0, 180.0, "theta_deg", "p_per_deg"),
        (Dihedrals, 4, -180.0, 180.0, "phi_deg", "p_per_deg"),
    ],
)
def test_terms_against_mdanalysis(kind, width, low, high, key, p_key) -> None:  # type: ignore[no-untyped-def]
    """In a tilted cell, with molecules across its faces, by names of types."""
    from MDAnalysis.lib import distances as mda

    rng = np.random.default_rng(2)
    top = topology((CHAIN, STAR), 20)
    frames = [grown(top, TILTED, rng)[0] for _ in range(4)]
    terms = {2: top.bonds, 3: top.angles, 4: top.dihedrals}[width]
    function = {2: mda.calc_bonds, 3: mda.calc_angles, 4: mda.calc_dihedrals}[width]
    found = measure(kind, frames).result()
    labels = []
    for term in terms:
        names = [NAMES[t] for t in top.types[term]]
        labels.append("-".join(min(names, names[::-1])))
    assert set(found) == set(labels)
    for label, record in found.items():
        own = terms[np.array([x == label for x in labels])]
        values = []
        for frame in frames:
            sites = [frame.positions[own[:, k]] for k in range(width)]
            values.append(function(*sites, box=box()))
        exact = np.concatenate(values)
        if width > 2:
            exact = np.degrees(exact)
        counts, edges = np.histogram(exact, bins=len(record[key]), range=(low, high))
        p = counts / counts.sum() / (edges[1] - edges[0])
        # MDAnalysis has positions in single precision: a value on an edge may change its bin
        assert np.abs(np.cumsum(p - record[p_key])).max() * (edges[1] - edges[0]) < 3 / len(exact)
        if width < 4:
            assert record["mean"] == pytest.approx(exact.mean(), abs=1e-4)
            assert record["deviation"] == pytest.approx(exact.std(), abs=1e-3)
        assert sum(record[p_key]) * (edges[1] - edges[0]) == pytest.approx(1.0)


def test_dihedral_signs() -> None:
    """cis 0, trans 180, and +90 where the far bond turns clockwise, seen along the middle one."""
    kind = Species("FOUR", ("A",) * 4, ((0, 1), (1, 2), (2, 3)))
    top = topology((kind,), 1)
    for last, exact in (([0, 1, 1], 0.0), ([0, -1, 1], 180.0), ([-1, 0, 1], 90.0)):
        sites = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 1], last], dtype=float)
        frame = CGFrame(top, sites + 0.5, np.eye(3) * 24.0)
        record = measure(Dihedrals, [frame] * 2).result()["A-A-A-A"]
        p = np.array(record["p_per_deg"])
        centre = record["phi_deg"][int(np.argmax(p))]
        assert np.count_nonzero(p) == 1
        assert abs(centre - exact) <= 2.5 or abs(abs(centre) - exact) <= 2.5


def bonds(mean: float, sigma: float, seed: int, n_frames: int = 100) -> BondLengths:
    """Dimers with normally distributed bonds."""
    rng = np.random.default_rng(seed)
    top = topology((Species("DIM", ("A", "A"), ((0, 1),)),), 200)
    cell = np.eye(3) * 24.0
    frames = [grown(top, cell, rng, mean, sigma)[0] for _ in range(n_frames)]
    found = measure(BondLengths, frames)
    assert isinstance(found, BondLengths)
    return found


def test_overlap_of_two_normal_distributions() -> None:
    """The area below both is 2 Φ(-Δ/2σ); the error is the scatter over seeds."""
    reference = bonds(2.5, 0.1, 100)
    exact = math.erfc(0.05 / (2 * 0.1) / math.sqrt(2))
    values, errors, records = [], [], []
    for seed in range(8):
        run = bonds(2.55, 0.1, seed, 40)
        compared = run.compare(reference)["A-A"]
        records.append(run.result()["A-A"])  # type: ignore[index]
        values.append(compared["overlap"])
        errors.append(compared["overlap_error"])
    assert np.mean(values) == pytest.approx(exact, abs=0.006)  # noise makes it a little smaller
    assert np.std(values, ddof=1) < 3 * np.mean(errors)
    assert np.mean(errors) < 4 * np.std(values, ddof=1) + 0.002
    # two halves of one fluid differ by what chance gives
    same = bonds(2.5, 0.1, 7).compare(reference)["A-A"]
    assert 1 - same["overlap"] == pytest.approx(1 - same["overlap_noise"], rel=0.35)
    for key, mean, error in (
        ("mean", 2.55, 0.1 / math.sqrt(8000)),
        ("deviation", 0.1, 0.1 / math.sqrt(2 * 8000)),
    ):
        assert np.mean([r[key] for r in records]) == pytest.approx(mean, abs=4 * error / 8**0.5)
        assert np.mean([r[f"{key}_error"] for r in records]) == pytest.approx(error, rel=0.3)


def test_molecules_that_came_apart_do_not_overlap() -> None:
    """A bond of 11 Å in a box of 24 Å is counted, one beyond the bins too."""
    reference, broken = bonds(2.5, 0.1, 1, 4), bonds(11.0, 0.1, 2, 4)
    assert broken.compare(reference)["A-A"]["overlap"] == 0.0
    top = topology((Species("DIM", ("A", "A"), ((0, 1),)),), 1)
    far = CGFrame(top, np.array([[1.0, 1, 1], [26.0, 1, 1]]), np.eye(3) * 60.0)
    record = measure(BondLengths, [far] * 2).result()["A-A"]
    assert record["p_per_A"][-1] > 0
    assert record["mean"] == pytest.approx(25.0)


def test_random_directions() -> None:
    """Angles between random bonds follow the sine, dihedrals are uniform."""
    rng = np.random.default_rng(8)
    top = topology((CHAIN,), 100)
    frames = [grown(top, np.eye(3) * 40.0, rng)[0] for _ in range(60)]
    for label, record in measure(BondAngles, frames).result().items():
        theta, p = np.array(record["theta_deg"]), np.array(record["p_per_deg"])
        exact = np.sin(np.radians(theta)) / 2 * np.pi / 180
        n = 6000 * (2 if label == "A-B-B" else 1)
        assert np.abs(p - exact).max() < 5 * math.sqrt(exact.max() / n / 2.0)
    for record in measure(Dihedrals, frames).result().values():
        p = np.array(record["p_per_deg"])
        assert np.abs(p - 1 / 360).max() < 5 * math.sqrt(1 / 360 / 6000 / 5.0)
        assert "mean" not in record


def test_freely_jointed_chains_longer_than_half_the_box() -> None:
    """<R^2> = N b^2 and <R_g^2> = N b^2 (N + 2) / (6 (N + 1)) with equal masses."""
    n, b = 30, 2.0
    kind = Species("LONG", ("A",) * (n + 1), tuple((k, k + 1) for k in range(n)))
    rng = np.random.default_rng(3)
    top = topology((kind,), 40)
    grown_frames = [grown(top, np.eye(3) * 9.0, rng, b, 0.0) for _ in range(40)]
    frames = [frame for frame, _ in grown_frames]
    ends = measure(EndToEnd, frames).result()["LONG"]
    radii = measure(RadiusOfGyration, frames).result()["LONG"]
    square = ends["mean"] ** 2 + ends["deviation"] ** 2
    assert square == pytest.approx(n * b**2, rel=0.05)
    square = radii["mean"] ** 2 + radii["deviation"] ** 2
    assert square == pytest.approx(n * b**2 * (n + 2) / (6 * (n + 1)), rel=0.05)
    # most chains reach farther than half the box, 4.5 Å: no image of the ends could show it
    assert ends["mean"] > 8.0
    (sites,) = top.species_sites
    whole = [w[sites[:, -1]] - w[sites[:, 0]] for _, w in grown_frames]
    assert ends["mean"] == pytest.approx(np.linalg.norm(np.concatenate(whole), axis=1).mean())


def test_sizes_of_mixtures_in_plain_numpy() -> None:
    rng = np.random.default_rng(5)
    top = topology((CHAIN, STAR), 10)
    pairs = [grown(top, TILTED, rng) for _ in range(3)]
    frames = [frame for frame, _ in pairs]
    radii = measure(RadiusOfGyration, frames).result()
    assert set(radii) == {"CHN", "STR"}
    for name, sites in zip(("CHN", "STR"), top.species_sites, strict=True):
        exact = []
        for _, whole in pairs:
            for own in sites:
                m = top.masses[own]
                centre = (m[:, None] * whole[own]).sum(axis=0) / m.sum()
                exact.append(
                    math.sqrt((m * ((whole[own] - centre) ** 2).sum(axis=1)).sum() / m.sum())
                )
        assert radii[name]["mean"] == pytest.approx(np.mean(exact), rel=1e-9)
    ends = measure(EndToEnd, frames).result()
    assert set(ends) == {"CHN"}  # a star has no two ends
    within = measure(DistancesWithin, frames).result()
    exact = [
        np.linalg.norm(whole[i] - whole[j])
        for _, whole in pairs
        for sites in top.species_sites
        for own in sites
        for i in own
        for j in own
        if i < j and top.types[i] != top.types[j]
    ]
    assert within["A-B"]["mean"] == pytest.approx(np.mean(exact), rel=1e-9)
    counts = np.histogram(exact, bins=110, range=(0, 11))[0]
    assert np.allclose(within["A-B"]["p_per_A"], counts / counts.sum() / 0.1)


def test_which_molecules_are_chains() -> None:
    assert chain_ends(CHAIN) == (0, 4)
    assert chain_ends(Species("X", ("A",) * 3, ((0, 1), (0, 2)))) == (1, 2)
    assert chain_ends(STAR) is None
    assert chain_ends(RING) is None
    assert chain_ends(Species("D", ("A", "A"), ((0, 1),))) is None
    assert chain_ends(Species("U", ("A",) * 3, None)) is None


def test_molecules_of_one_site_have_nothing_along_bonds() -> None:
    top = Topology(("A",), (30.0,), np.zeros(20, dtype=np.int64), np.arange(20))
    frames = [
        CGFrame(top, np.random.default_rng(k).random((20, 3)) * 24, np.eye(3) * 24.0)
        for k in (0, 1)
    ]
    for kind in (BondLengths, BondAngles, Dihedrals, EndToEnd, RadiusOfGyration, DistancesWithin):
        assert measure(kind, frames).result() is None


def test_sums_in_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 9, size=(1000, 4)).astype(float)
    sums, short = BlockSums(kept=8), BlockSums(kept=4000)
    for row in rows:
        sums.add(row)
        short.add(row)
    assert np.array_equal(sums.total, rows.sum(axis=0))
    assert len(sums._parts[0]) <= 16
    assert np.array_equal(sums.blocks().sum(axis=0), rows.sum(axis=0))
    assert np.array_equal(
        short.blocks(), np.stack([x.sum(axis=0) for x in np.array_split(rows, 10)])
    )
    assert np.array_equal(short.halves(), [rows[:500].sum(axis=0), rows[500:].sum(axis=0)])
    two = BlockSums()
    for k, row in enumerate(rows[:60]):
        two.add(row, 0 if k < 20 else 1)
    assert np.array_equal(two.halves(), [rows[:20].sum(axis=0), rows[20:60].sum(axis=0)])


def test_overlap_and_other_bins() -> None:
    assert overlap(np.array([1.0, 1.0, 0.0]), np.array([0.0, 2.0, 2.0])) == 0.5
    one, other = bonds(2.5, 0.1, 1, 2), bonds(2.5, 0.1, 2, 2)
    other.edges = [np.linspace(0.0, 10.0, 1001)]
    other.result()
    with pytest.raises(DataError, match="the histograms have different bins"):
        compare_distributions(one.found["A-A"], other.found["A-A"])
