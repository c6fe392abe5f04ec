# SPDX-License-Identifier: GPL-2.0-or-later
"""Potentials as calculators of ASE: slopes of the energy, LAMMPS, and a run that keeps energy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from linear_systems import lammps_point
from potential_systems import NAMES, chains, mscg, pair_table

from cgpot.core.errors import InputError
from cgpot.molecules.extxyz import to_atoms, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.ase_calculator import PotentialCalculator
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import include_text, write_for_lammps
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.potential import Labels, Potential, SumOfPotentials
from cgpot.training.linear.bonded_part import BondedPart


def check(potential: Potential, **options: Any) -> Atoms:
    """Forces and stress of the calculator against ASE's own finite differences."""
    frame = chains()
    atoms = to_atoms(frame)
    atoms.calc = PotentialCalculator(potential, frame.topology, **options)
    found = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[0, 5, 42])
    np.testing.assert_allclose(atoms.get_forces()[[0, 5, 42]], found, atol=1e-6)
    stress = calculate_numerical_stress(atoms, eps=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-6 * np.abs(stress).max() + 1e-9)
    return atoms


@pytest.fixture(scope="module")
def network() -> NetworkPotential:
    """An untrained network that leaves out 1-2, 1-3 and 1-4 pairs."""
    from model_systems import SMALL, build

    return NetworkPotential(build(SMALL["nequip-scalar"]), pairs="not-1-4")


def test_bonded_terms() -> None:
    check(mscg((1, 2, 3)))


def test_a_network_that_leaves_bonded_pairs_out(network: NetworkPotential) -> None:
    """Beside its bonded part; without it molecules that are far apart do not act on themselves."""
    check(SumOfPotentials([network, BondedPart(mscg())]))
    frame = chains()
    near = replace(frame, positions=frame.positions * 0.8, cell=frame.cell * 0.8)
    assert np.abs(network.labels(near).forces).max() > 1e-6
    # one molecule alone: all of its pairs are bonded neighbours of up to three bonds
    old = frame.topology
    one = Topology.from_bonds(
        NAMES, old.type_masses, old.types[:4], np.zeros(4, int), np.array([[0, 1], [1, 2], [2, 3]])
    )
    lone = replace(frame, topology=one, positions=frame.positions[:4])
    every = NetworkPotential(network.model, pairs="all")
    assert np.abs(every.labels(lone).forces).max() > 1e-6
    assert np.abs(network.labels(lone).forces).max() == 0.0


def test_lammps_has_the_same(tmp_path: Path) -> None:
    potential = mscg((1, 2, 3))
    frame = chains()
    atoms = to_atoms(frame)
    frame = replace(frame, positions=atoms.positions)  # rounded as in a data set
    atoms.calc = PotentialCalculator(potential, frame.topology)
    include = tmp_path / "model.pair.lmp"
    written = write_for_lammps(tmp_path, potential)
    include.write_text(include_text(written.commands, tmp_path))
    _, forces, virial = lammps_point(tmp_path / "run", frame, include, potential.bonded)
    scale = np.abs(forces).max()
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-4 * scale)
    found = -atoms.get_stress(voigt=False) * frame.volume
    np.testing.assert_allclose(found, virial, atol=1e-4 * np.abs(virial).max())


def test_atoms_of_a_data_set_know_their_sites(tmp_path: Path) -> None:
    """What ASE reads holds the topology; a dynamics of it keeps its energy."""
    write_frames(tmp_path / "set.extxyz", [chains()])
    atoms = ase.io.read(tmp_path / "set.extxyz")
    atoms.calc = PotentialCalculator(mscg((1, 2, 3)))
    again = to_atoms(chains())
    again.calc = PotentialCalculator(mscg((1, 2, 3)), chains().topology)
    np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-10)
    atoms.set_masses(chains().topology.masses)
    MaxwellBoltzmannDistribution(atoms, temperature_K=100, rng=np.random.default_rng(1))
    energies = []
    run = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    run.attach(lambda: energies.append(atoms.get_total_energy()), interval=1)
    run.run(20)
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(energies) < 2e-3 * kinetic


def test_signs_are_those_of_ase() -> None:
    """Energy, forces and stress of a table of ASE's own Lennard-Jones potential, to its spline."""
    from cgpot.potential.splines import PairTable, basis, locate

    r = np.linspace(2.5, 7.0, 800)
    pair = [Atoms("X2", positions=[[0, 0, 0], [x, 0, 0]]) for x in r]
    law = LennardJones(sigma=3.0, epsilon=0.05, rc=6.9, smooth=True)
    u = np.array([law.get_potential_energy(atoms) for atoms in pair])
    first, t = locate(r, 7.0, 140)
    rows = np.zeros((len(r), 143))
    for k, w in enumerate(basis(t)):
        rows[np.arange(len(r)), first + k] = w
    c = np.zeros(143)
    seen = np.flatnonzero(np.abs(rows[:, :-3]).sum(axis=0) > 0)
    c[seen] = np.linalg.lstsq(rows[:, seen], u, rcond=None)[0]
    table = PairTable(("A",), 7.0, c[None], {})
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    atoms = Atoms(
        "X125", 3.6 * grid + rng.uniform(-0.3, 0.3, (125, 3)), cell=[18, 18, 18], pbc=True
    )
    topology = Topology(("A",), (40.0,), np.zeros(125, int), np.arange(125))
    wanted = atoms.copy()
    wanted.calc = law
    atoms.calc = PotentialCalculator(Base(table), topology)
    assert atoms.get_potential_energy() == pytest.approx(wanted.get_potential_energy(), rel=1e-4)
    forces = wanted.get_forces()
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-3 * np.abs(forces).max())
    stress = wanted.get_stress()
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-3 * np.abs(stress).max())


class Heard:
    """A potential of no forces, whose energy is the temperature of the frame."""

    type_names, cutoff = NAMES, 1.0

    def labels(self, frame: CGFrame) -> Labels:
        nothing = np.zeros_like(frame.positions)
        return Labels(nothing, np.zeros((3, 3)), frame.temperature or 0.0)


def test_the_temperature_of_the_frame_or_another() -> None:
    atoms = to_atoms(replace(chains(), temperature=280.0))
    atoms.calc = PotentialCalculator(Heard())
    assert atoms.get_potential_energy() == 280.0
    atoms.calc = PotentialCalculator(Heard(), temperature=310.0)
    assert atoms.get_potential_energy() == 310.0


def test_what_is_refused() -> None:
    frame = chains()
    atoms = to_atoms(frame)
    atoms.calc = PotentialCalculator(Base(pair_table()), frame.topology)
    small = atoms[:8]
    small.calc = atoms.calc
    with pytest.raises(InputError, match="found 8 atoms, expected 108 sites"):
        small.get_potential_energy()
    other = atoms.copy()
    other.arrays["atom_types"] = 1 - other.arrays["atom_types"]
    other.calc = PotentialCalculator(Base(pair_table()), frame.topology)
    with pytest.raises(InputError, match="key 'atom_types': expected the bead types"):
        other.get_potential_energy()
    bare = Atoms("X108", positions=frame.positions)
    bare.calc = PotentialCalculator(Base(pair_table()), frame.topology)
    with pytest.raises(InputError, match="no cell"):
        bare.get_potential_energy()
    bare.calc = PotentialCalculator(Base(pair_table()))
    with pytest.raises(InputError, match="column 'atom_types' is missing"):
        bare.get_potential_energy()
    old = frame.topology
    named = Topology(("A", "C"), old.type_masses, old.types, old.molecules)
    atoms.calc = PotentialCalculator(Base(pair_table()), named)
    with pytest.raises(InputError, match=r"of bead types \['A', 'C'\], the potential is of"):
        atoms.get_potential_energy()
