# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol of potentials: labels of every kind against the slopes of its own energy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from potential_systems import KINDS, MASSES, R_MAX, chains, mscg, pair_table, uf3

from cgpot.core.errors import InputError
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.base import Base
from cgpot.potential.potential import MeanOfPotentials, Potential, SumOfPotentials
from cgpot.potential.splines import PairTable
from cgpot.training.linear.bonded_part import BondedPart


def check_slopes(potential: Potential, frame: CGFrame) -> None:
    """Forces and virial against central differences of the energy."""
    forces, virial, _ = potential.labels(frame)
    step = 1e-5
    for site, axis in ((0, 0), (5, 1), (42, 2), (107, 0)):
        values = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[site, axis] += sign * step
            values.append(potential.labels(replace(frame, positions=moved)).energy)
        slope = (values[0] - values[1]) / (2 * step)
        assert forces[site, axis] == pytest.approx(-slope, abs=1e-6)
    for a, b in ((0, 0), (1, 1), (0, 2)):
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step
            stretched = replace(frame, positions=frame.positions @ strain, cell=frame.cell @ strain)
            values.append(potential.labels(stretched).energy)
        slope = (values[0] - values[1]) / (2 * step)
        assert virial[a, b] == pytest.approx(-slope, abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_slopes_of_the_energy(kind: str) -> None:
    potential = KINDS[kind]()
    frame = chains()
    check_slopes(potential, frame)
    labels = potential.labels(frame)
    assert np.abs(labels.forces).max() > 1e-3
    np.testing.assert_allclose(labels.forces.sum(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(labels.virial, labels.virial.T, atol=1e-9)
    assert potential.type_names == frame.topology.type_names


def test_a_pair_table_against_a_sum_over_all_images() -> None:
    """Every pair and every image that reaches, in loops of numpy; bonded pairs are left out."""
    frame, table = chains(), pair_table()
    frame = replace(frame, cell=frame.cell * 0.97, positions=frame.positions * 0.97)
    types = frame.topology.types
    forces = np.zeros_like(frame.positions)
    virial, energy = np.zeros((3, 3)), 0.0
    vectors = frame.positions[None] - frame.positions[:, None]
    vectors -= np.rint(vectors / np.diagonal(frame.cell)) * np.diagonal(frame.cell)
    assert np.diagonal(frame.cell).min() > 2 * R_MAX
    bonds = {tuple(sorted(pair)) for pair in frame.topology.bonds.tolist()}
    for i in range(len(types)):
        for j in range(i + 1, len(types)):
            v = vectors[i, j]
            r = float(np.linalg.norm(v))
            if r >= R_MAX or (i, j) in bonds:
                continue
            a, b = types[i], types[j]
            energy += float(table.energy(np.array([r]), a, b)[0])
            pull = float(table.force(np.array([r]), a, b)[0]) / r * v
            forces[i] -= pull
            forces[j] += pull
            virial += np.outer(v, pull)
    found = Base(table, pairs="not-1-2").labels(frame)
    np.testing.assert_allclose(found.forces, forces, atol=1e-12)
    np.testing.assert_allclose(found.virial, virial, atol=1e-11)
    assert found.energy == pytest.approx(energy, rel=1e-12)


def test_an_excluded_pair_of_ms_cg_is_one_that_the_base_does_not_see() -> None:
    """MS-CG without its terms along bonds is the pair table that sees the same pairs."""
    frame = chains()
    whole, bonded = mscg((1, 2, 3)), BondedPart(mscg((1, 2, 3)))
    parts = SumOfPotentials([Base(pair_table(), pairs="not-1-4"), bonded])
    for one, two in zip(parts.labels(frame), whole.labels(frame), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-9)
    assert parts.cutoff == whole.cutoff == R_MAX


def test_sums_and_means() -> None:
    frame = chains()
    members = [Base(pair_table(k)) for k in (1, 2, 3)]
    each = [m.labels(frame) for m in members]
    total, mean = SumOfPotentials(members).labels(frame), MeanOfPotentials(members).labels(frame)
    c = np.sum([m.pair.coefficients for m in members], axis=0)
    of_sum = Base(pair_table().with_coefficients(c, {})).labels(frame)
    for k in range(3):
        np.testing.assert_allclose(total[k], of_sum[k], atol=1e-10)
        np.testing.assert_allclose(mean[k], np.asarray(of_sum[k]) / 3, atol=1e-10)
    check_slopes(SumOfPotentials([members[0], uf3()]), frame)
    assert [x.energy for x in MeanOfPotentials(members).each(frame)] == [x.energy for x in each]


def test_only_potentials_of_one_kind_of_beads_add_up() -> None:
    table = pair_table()
    other = PairTable(("A", "C"), table.r_max, table.coefficients, {})
    with pytest.raises(InputError, match=r"potential 1 is of bead types \['A', 'C'\], expected"):
        SumOfPotentials([Base(table), Base(other)])
    with pytest.raises(InputError, match="no potential was given"):
        MeanOfPotentials([])


def test_pairs_that_need_bonds_refuse_a_topology_without() -> None:
    frame = chains()
    old = frame.topology
    bare = Topology(old.type_names, MASSES, old.types, old.molecules)
    with pytest.raises(InputError, match="bonds"):
        Base(pair_table(), pairs="not-1-2").labels(replace(frame, topology=bare))
