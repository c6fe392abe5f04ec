# SPDX-License-Identifier: GPL-2.0-or-later
"""Diffusion by species, and angles in the first shell by triplet of types."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_systems import ideal_gas
from chain_frames import CHAIN, STAR, grown, measure, topology

from cgpot.analysis.observables.diffusion import Diffusion
from cgpot.analysis.observables.plot import AA, NVT, Shown
from cgpot.analysis.observables.shell_angles import ShellAngles, angle_distributions
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import wrap

CELL = np.eye(3) * 20.0


def walking_dimers(n_frames: int, steps: tuple[float, float], seed: int = 0) -> list[CGFrame]:
    """Two species of dimers of unequal beads whose mass centres walk; the bonds turn at random."""
    rng = np.random.default_rng(seed)
    kinds = (Species("FAST", ("A", "B"), ((0, 1),)), Species("SLOW", ("B", "A"), ((0, 1),)))
    n = 60
    label = np.repeat([0, 1], n)
    types = np.concatenate([[0, 1] * n, [1, 0] * n]).astype(np.int64)
    top = Topology(
        ("A", "B"),
        (30.0, 10.0),
        types,
        np.repeat(np.arange(2 * n), 2),
        species=kinds,
        molecule_species=label,
    )
    centre = rng.random((2 * n, 3)) * 20
    heavy = types.reshape(-1, 2) == 0
    frames = []
    for k in range(n_frames):
        turn = rng.normal(size=(2 * n, 3))
        turn *= 1.5 / np.linalg.norm(turn, axis=1, keepdims=True)
        # the centre divides the bond 1 : 3
        places = centre[:, None] + np.where(heavy, 0.25, -0.75)[..., None] * turn[:, None]
        frames.append(CGFrame(top, wrap(places.reshape(-1, 3), CELL), CELL, time=0.5 * k))
        scale = np.where(label == 0, steps[0], steps[1])[:, None]
        centre = centre + scale * rng.normal(size=(2 * n, 3))
    return frames


def test_centres_diffuse_by_species() -> None:
    """D = step^2 / (2 dt) of each; the turning bonds do not count, the common drift is small."""
    observable = measure(Diffusion, walking_dimers(1200, (0.5, 0.2)))
    found = observable.result()
    assert found is not None
    for name, step in (("FAST", 0.5), ("SLOW", 0.2)):
        record = found["species"][name]
        exact = step**2 / (2 * 0.5) * 1e-8
        assert record["value"] == pytest.approx(exact, rel=0.06)
        assert record["value"] == pytest.approx(exact, abs=4 * record["error"])
    # of sites the bonds add an offset: <(x_i(t) - x_i(0))^2> starts at 2 (0.25^2 or 0.75^2) 1.5^2
    assert found["msd_A2"][0] > found["species"]["FAST"]["msd_A2"][0] + 1.0
    assert [row.label for row in Diffusion.rows(found)] == ["All beads, D", "FAST, D", "SLOW, D"]


def test_molecules_of_one_site_diffuse_as_their_sites() -> None:
    frames = [CGFrame(f.topology, f.positions, f.cell, time=f.time) for f in ideal_gas(5)]
    rng = np.random.default_rng(1)
    x = frames[0].positions
    walk = []
    for k in range(80):
        walk.append(CGFrame(frames[0].topology, wrap(x, frames[0].cell), frames[0].cell, time=k))
        x = x + 0.3 * rng.normal(size=x.shape)
    found = measure(Diffusion, walk).result()
    assert found is not None
    assert found["species"]["BNZ"]["value"] == pytest.approx(found["value"], rel=1e-9)
    shown = [Shown(AA, found, {}), Shown(NVT, found, {})]
    assert [plot.key for plot in Diffusion.plots(shown)] == ["msd"]
    assert Diffusion.plots(shown[:1]) == []


def brute_angles(frame: CGFrame, radii: np.ndarray, bins: int) -> dict[str, np.ndarray]:
    """Histograms of the angles by triplet, in plain loops over sites."""
    top = frame.topology
    found: dict[str, np.ndarray] = {}
    for j in range(top.n_sites):
        d = frame.positions - frame.positions[j]
        d -= np.diag(frame.cell) * np.rint(d / np.diag(frame.cell))
        r = np.linalg.norm(d, axis=1)
        near = (r < radii[top.types, top.types[j]]) & (top.molecules != top.molecules[j])
        sites = np.flatnonzero(near)
        for a, i in enumerate(sites):
            for k in sites[:a]:
                first, last = sorted((int(top.types[i]), int(top.types[k])))
                label = "-".join(top.type_names[t] for t in (first, int(top.types[j]), last))
                cosine = d[i] @ d[k] / (r[i] * r[k])
                angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
                counts = found.setdefault(label, np.zeros(bins))
                counts[min(int(angle * bins / 180), bins - 1)] += 1
    return found


def test_triplets_in_plain_loops() -> None:
    rng = np.random.default_rng(6)
    frames = [grown(topology((CHAIN, STAR), 8), CELL, rng)[0] for _ in range(2)]
    radii = np.array([[5.0, 6.0], [6.0, 7.0]])
    found = angle_distributions(frames, radii, bins=18)
    assert list(found) == ["A-A-A", "A-A-B", "B-A-B", "A-B-A", "A-B-B", "B-B-B"]
    exact = [brute_angles(frame, radii, 18) for frame in frames]
    for label, distribution in found.items():
        counts = sum(e[label] for e in exact)
        assert np.allclose(distribution.p, counts / counts.sum() / 10.0)


def test_a_pair_without_a_radius_has_no_triplets() -> None:
    frames = ideal_gas(4, n=120, names=("AA", "BB"))
    observable = measure(ShellAngles, frames, radii={"AA-AA": 9.0, "AA-BB": 8.0})
    found = observable.result()
    assert list(found) == ["AA-AA-AA", "AA-AA-BB", "BB-AA-BB", "AA-BB-AA"]
    assert found["AA-AA-BB"]["radius_A"] == 9.0
    assert found["AA-AA-BB"]["second_radius_A"] == 8.0
    assert measure(ShellAngles, frames).result() == {}
    with pytest.raises(DataError, match="at least 2 frames for an angular distribution"):
        angle_distributions(frames[:1], np.array([[9.0]]))
