# SPDX-License-Identifier: GPL-2.0-or-later
"""g(r): ideal gas, lattice, two independent codes, mixtures, molecules, peaks."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_systems import ideal_gas, topology

from cgpot.analysis.observables.observable import System
from cgpot.analysis.observables.rdf_between import RadialDistribution
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pair_counts import PairCounter
from cgpot.molecules.rdf import RDFAccumulator, first_peak


def collect(frames, r_max=11.0, bins=110, replicas=None):
    observable = RadialDistribution(System(300.0, r_max, bins, frames[0].topology))
    for k, frame in enumerate(frames):
        observable.add(frame, 0 if replicas is None else replicas[k])
    return observable.measure()


def test_ideal_gas_is_one_within_its_poisson_error():
    rdf = collect(ideal_gas(200))["BNZ-BNZ"]
    shells = 4 / 3 * np.pi * np.diff(np.linspace(0, 11, 111) ** 3)
    expected = 200 * 100 * 99 / 2 * shells / 24.0**3
    z = (rdf.g - 1.0) * np.sqrt(expected)
    far = expected > 5
    assert np.abs(z[far]).max() < 4.5
    assert np.std(z[far]) == pytest.approx(1.0, abs=0.25)
    # The block errors are the Poisson errors too.
    assert np.median(rdf.error[far] * np.sqrt(expected[far])) == pytest.approx(1.0, abs=0.2)


def test_simple_cubic_lattice_has_its_shells():
    a, m = 5.02, 6  # no shell on the edge of a bin
    grid = np.stack(np.meshgrid(*[np.arange(m)] * 3, indexing="ij"), -1).reshape(-1, 3) * a
    frame = CGFrame(topology(m**3), grid + 0.3, np.eye(3) * a * m)
    rdf = collect([frame, frame], r_max=11.0, bins=220)["BNZ-BNZ"]
    neighbours = {6.0: 6, 8.0: 18, 9.0: 26, 10.5: 32}  # within r: shells of 6, 12, 8, 6
    for radius, count in neighbours.items():
        assert rdf.neighbours(radius)["number"] == pytest.approx(count, abs=1e-9)
    filled = rdf.r[rdf.g > 0]
    assert np.allclose(filled, [5.02, 7.0994, 8.6949, 10.04], atol=0.026)


def test_agrees_with_mdanalysis_on_the_same_frames():
    import MDAnalysis as mda
    from MDAnalysis.analysis.rdf import InterRDF

    frames = ideal_gas(20, n=80, seed=5)
    ours = collect(frames, r_max=11.0, bins=55)["BNZ-BNZ"]
    universe = mda.Universe.empty(80, trajectory=True)
    universe.load_new(
        np.stack([f.positions for f in frames]).astype(np.float32),
        dimensions=np.array([[24.0] * 3 + [90.0] * 3] * 20, dtype=np.float32),
    )
    # Every site is its own block, so that a site is not its own neighbour.
    theirs = InterRDF(
        universe.atoms, universe.atoms, nbins=55, range=(0.0, 11.0), exclusion_block=(1, 1)
    ).run()
    # InterRDF divides by N^2 - N pairs as we do; its coordinates are float32.
    counts = theirs.results.count
    assert np.array_equal(
        counts, np.round(2 * ours.g * 80 * 79 / 2 * _shells(11.0, 55) / 24.0**3 * 20)
    )
    assert np.allclose(theirs.results.rdf, ours.g, atol=1e-5)


def _shells(r_max, bins):
    return 4 / 3 * np.pi * np.diff(np.linspace(0, r_max, bins + 1) ** 3)


@pytest.mark.parametrize("triclinic", [False, True])
def test_agrees_with_freud(triclinic):
    cell = np.array([[25.0, 0, 0], [6.0, 24.0, 0], [-5.0, 4.0, 26.0]]) if triclinic else None
    frames = ideal_gas(4, n=120, seed=8, cell=cell)
    ours = collect(frames, r_max=10.0, bins=50)["BNZ-BNZ"]
    freud = RDFAccumulator(10.0, 50)
    for frame in frames:
        freud.add(frame)
    assert np.allclose(ours.g, freud.result().g, rtol=1e-5, atol=1e-5)
    # the report of a data set finds the first peak as the analysis does
    peak = ours.peak()
    assert freud.result().peak == pytest.approx((peak["position"], peak["height"]), rel=1e-3)


def test_mixture_has_one_curve_per_pair_and_all_are_one():
    rdfs = collect(ideal_gas(150, n=90, names=("AA", "BB"), seed=4), bins=22)
    assert list(rdfs) == ["AA-AA", "AA-BB", "BB-BB"]
    pairs = {"AA-AA": 45 * 44 / 2, "AA-BB": 45 * 45, "BB-BB": 45 * 44 / 2}
    for label, rdf in rdfs.items():
        expected = 150 * pairs[label] * _shells(11.0, 22) / 24.0**3
        assert np.abs((rdf.g - 1) * np.sqrt(expected))[4:].max() < 4.0  # Poisson errors
    # Neighbours of the other kind around the first kind: 45 in the box.
    shell = 4 / 3 * np.pi * 11.0**3
    found = rdfs["AA-BB"].neighbours(11.0)["number"]
    assert found == pytest.approx(45 * shell / 24.0**3, rel=0.02)


def test_pairs_of_one_molecule_are_left_out():
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(60):
        centres = rng.random((40, 3)) * 24
        positions = np.repeat(centres, 2, axis=0)
        positions[1::2] += 1.0
        frames.append(CGFrame(topology(80, per_molecule=2), positions, np.eye(3) * 24.0))
    rdf = collect(frames, bins=22)["BNZ-BNZ"]
    assert rdf.g[3] < 2.0  # the bond of 1.7 Å would give about 100
    assert np.abs(rdf.g[8:].mean() - 1.0) < 0.02


def test_replicas_become_halves_and_blocks_do_not_mix_them():
    frames = ideal_gas(10, seed=1) + ideal_gas(30, seed=2)
    rdf = collect(frames, replicas=[0] * 10 + [1] * 30)["BNZ-BNZ"]
    first = collect(frames[:10])["BNZ-BNZ"].g
    assert np.allclose(rdf.halves[0], first)
    assert np.allclose(rdf.halves[1], collect(frames[10:])["BNZ-BNZ"].g)
    assert len(rdf.blocks) == 10


def test_peak_of_a_known_curve():
    r = np.arange(0.025, 15, 0.05)
    g = 1.9 * np.exp(-0.5 * ((r - 5.72) / 0.7) ** 2) + 0.2 * np.exp(-0.5 * ((r - 10) / 1) ** 2)
    position, height = first_peak(r, g)
    assert position == pytest.approx(5.72, abs=0.005)
    assert height == pytest.approx(1.9, rel=0.003)
    noisy = g + 0.02 * np.random.default_rng(3).normal(size=len(r))
    assert first_peak(r, noisy)[1] == pytest.approx(1.9, rel=0.02)


def test_r_max_beyond_half_the_box_is_refused():
    frame = ideal_gas(1, length=20.0)[0]
    with pytest.raises(DataError, match=r"frame 0: r_max 11.000 Å exceeds half the box, 10.000 Å"):
        PairCounter(frame.topology, 11.0, 100).count(frame)


def test_one_frame_is_too_few():
    with pytest.raises(DataError, match="at least 2 frames for g"):
        collect(ideal_gas(1))


def test_a_type_with_one_site_has_no_curve_of_its_own():
    top = Topology(("AA", "BB"), (1.0, 1.0), np.array([0] * 9 + [1], dtype=np.int64), np.arange(10))
    rng = np.random.default_rng(0)
    frames = [CGFrame(top, rng.random((10, 3)) * 24, np.eye(3) * 24.0) for _ in range(3)]
    assert list(collect(frames)) == ["AA-AA", "AA-BB"]
