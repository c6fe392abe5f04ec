# SPDX-License-Identifier: GPL-2.0-or-later
"""The molecular virial against its definition, and with forces that stay inside molecules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict

from cgpot.core.errors import DataError
from cgpot.core.units import EV_PER_A3_IN_BAR, KB
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import (
    centre_offsets,
    internal_virial,
    label_pressure,
    label_stress,
    label_virial,
)
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import wrap
from cgpot.training.folder.graph_frames import CGDataset, neighbours, to_data
from cgpot.training.linear.pair_fit import PairFit, labelled
from cgpot.training.network.lightning_module import molecular_stress

SIDE = 18.0
TRIMER = Species("TRI", ("A", "B", "A"), ((0, 1), (1, 2)))


def force(d: np.ndarray) -> np.ndarray:
    """Force of the site at d on the one at 0, of u = 0.3 exp(-d / 2)."""
    r = np.linalg.norm(d)
    return np.asarray(-0.15 * np.exp(-r / 2) * d / r)


def trimers(seed: int = 3, n: int = 12, *, bonds: float = 0.0) -> tuple[CGFrame, np.ndarray]:
    """Trimers through the walls with forces between molecules and, of strength ``bonds``, within.

    Returns the frame and its molecular virial by sums over pairs of molecules: the distance of
    the mass centres times the force between the molecules.
    """
    rng = np.random.default_rng(seed)
    masses = (10.0, 30.0)
    topology = Topology(
        ("A", "B"), masses, np.tile([0, 1, 0], n), np.repeat(np.arange(n), 3), species=(TRIMER,)
    )
    cell = np.diag([SIDE] * 3)
    start = rng.uniform(0, SIDE, (n, 1, 3))
    whole = start + np.cumsum(rng.normal(0, 1.5, (n, 3, 3)), axis=1)
    weights = np.array([10.0, 30.0, 10.0]) / 50.0
    centres = np.einsum("s,nsa->na", weights, whole)
    forces = np.zeros((n, 3, 3))
    site, molecular = np.zeros((3, 3)), np.zeros((3, 3))
    for a in range(n):
        for b in range(a + 1, n):
            for i in range(3):
                for j in range(3):
                    d = whole[b, j] - whole[a, i]
                    image = SIDE * np.rint(d / SIDE)
                    d = d - image
                    if np.linalg.norm(d) > SIDE / 2:
                        continue
                    f = force(d)
                    forces[a, i] += f
                    forces[b, j] -= f
                    site -= np.outer(d, f)
                    molecular -= np.outer(centres[b] - centres[a] - image, f)
        for i, j in ((0, 1), (1, 2)):
            d = whole[a, j] - whole[a, i]
            f = bonds * d
            forces[a, i] += f
            forces[a, j] -= f
            site -= np.outer(d, f)
    frame = CGFrame(
        topology, wrap(whole.reshape(-1, 3), cell), cell, forces=forces.reshape(-1, 3), virial=site
    )
    return frame, molecular


@pytest.mark.parametrize("bonds", [0.0, 2.5])
def test_molecular_virial_is_that_of_the_centres(bonds: float) -> None:
    frame, expected = trimers(bonds=bonds)
    assert frame.forces is not None
    assert frame.virial is not None
    found = frame.virial - internal_virial(centre_offsets(frame), frame.forces)
    assert found == pytest.approx(expected, abs=1e-12)
    assert np.abs(frame.virial - expected).max() > 0.05
    virial, particles = label_virial(frame)
    assert virial == pytest.approx(expected, abs=1e-12)
    assert particles == 12
    ideal = 12 * KB * 300.0
    bar = (ideal + np.trace(expected) / 3) / frame.volume * EV_PER_A3_IN_BAR
    assert label_pressure(frame, 300.0) == pytest.approx(bar, rel=1e-10)
    symmetric = 0.5 * (expected + expected.T)
    assert label_stress(frame, centre_offsets(frame)) == pytest.approx(
        -symmetric / frame.volume, abs=1e-14
    )


def test_molecules_of_one_site_keep_their_virial() -> None:
    topology = Topology(("A",), (10.0,), np.zeros(2, dtype=int), np.arange(2))
    virial = np.arange(9.0).reshape(3, 3)
    frame = CGFrame(
        topology, np.eye(3)[:2], np.diag([9.0] * 3), forces=np.ones((2, 3)), virial=virial
    )
    assert centre_offsets(frame) is None
    assert label_virial(frame)[0] is virial
    assert label_virial(frame)[1] == 2
    with pytest.raises(DataError, match="no virial"):
        label_virial(replace(frame, virial=None))


def test_without_forces_the_sites_are_the_particles() -> None:
    frame, _ = trimers()
    bare = replace(frame, forces=None)
    assert label_virial(bare)[1] == 36
    assert label_pressure(bare, 300.0) == pytest.approx(bare.pressure(300.0), rel=1e-12)


def test_losses_compare_molecular_stresses() -> None:
    """A model that returns site labels has no error against the molecular label, in a batch."""
    frames = [trimers(seed, bonds=1.0)[0] for seed in (1, 2)]
    data = [
        to_data(frame, *neighbours(frame, 5.0), offsets=centre_offsets(frame)) for frame in frames
    ]
    batch = AtomicDataDict.batched_from_list(data)
    stress = [torch.from_numpy(0.5 * (f.stress + f.stress.T)) for f in frames]
    output = {
        AtomicDataDict.FORCE_KEY: batch[AtomicDataDict.FORCE_KEY],
        AtomicDataDict.STRESS_KEY: torch.stack(stress),
    }
    found = molecular_stress(output, batch)[AtomicDataDict.STRESS_KEY]
    label = batch[AtomicDataDict.STRESS_KEY]
    assert found.numpy() == pytest.approx(label.numpy(), abs=1e-13)
    assert np.abs(torch.stack(stress).numpy() - label.numpy()).max() > 1e-5


def test_mean_virial_of_a_fit_is_molecular() -> None:
    """Bonds whose forces are not in the pair part do not enter its mean virial."""
    fits = []
    for bonds in (0.0, 2.5):
        fit = PairFit(("A", "B"), 9.0, 0.5, 300.0, exclude=None)
        frame, expected = trimers(bonds=bonds)
        fit.add(labelled([frame]), 0)
        fits.append((fit.total().trace_label, np.trace(expected) / frame.volume))
    for found, expected in fits:
        assert found == pytest.approx(expected, rel=1e-10)


def test_data_set_of_molecules_holds_offsets(tmp_path: Path) -> None:
    frame, _ = trimers()
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame, trimers(5)[0]])
    data = CGDataset(str(path), 5.0, ("A", "B"), need_stress=True, pairs="not-1-3")
    one = data[0]
    assert one["centre_offset"].numpy() == pytest.approx(centre_offsets(frame), abs=1e-3)
