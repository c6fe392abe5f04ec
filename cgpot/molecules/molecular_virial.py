# SPDX-License-Identifier: GPL-2.0-or-later
"""The molecular virial of molecules of several sites: the site virial less what acts inside them.

In equilibrium site and molecular pressure have one mean (Ciccotti & Ryckaert, Comput. Phys. Rep.
4, 346 (1986)):

    (n_sites k_B T + tr W / 3) / V  =  (n_molecules k_B T + tr W_mol / 3) / V,
    W_mol = W - sum_i (r_i - R_i) F_i,   R_i the mass centre of site i's molecule.

Forces within a molecule, whose centre they do not move, drop out of W_mol exactly.  Stiff bonds are
most of the noise of W, and a bond that is 0.01 Å too long shifts its mean by hundreds of bar, so
labels and models are compared by W_mol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import ideal_pressure_bar, pressure_bar
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import molecule_centres

Array = NDArray[np.float64]


def is_molecular(topology: Topology) -> bool:
    """Whether virials are molecular: some molecule has several sites, and all bonds are known."""
    return topology.n_molecules < topology.n_sites and topology.has_bonds


def free_particles(topology: Topology) -> int:
    """Number of particles whose kinetic energy belongs to the virial: molecules, or sites."""
    return topology.n_molecules if is_molecular(topology) else topology.n_sites


def centre_offsets(frame: CGFrame) -> Array | None:
    """Sites less the mass centre of their molecule, (n, 3), Å.

    None where the virial stays that of the sites (`is_molecular`).
    """
    topology = frame.topology
    if not is_molecular(topology):
        return None
    centres, whole = molecule_centres(topology, frame.positions, frame.cell)
    return np.asarray(whole - centres[topology.molecule_index])


def internal_virial(offsets: Array | None, forces: Array) -> Array:
    """What the molecular virial leaves out, sum_i s_i F_i, (3, 3), eV.

    Args:
        offsets: of `centre_offsets`; None gives zero.
        forces: (n, 3), eV/Å.
    """
    if offsets is None:
        return np.zeros((3, 3))
    return np.asarray(offsets.T @ forces)


def label_stress(frame: CGFrame, offsets: Array | None) -> Array:
    """Symmetric stress of the labels, -W_mol / V, (3, 3), eV/Å^3.

    Args:
        frame: with forces and virial.
        offsets: of `centre_offsets`; None takes the virial as it is.

    Raises:
        DataError: the frame has no virial.
    """
    stress = frame.stress
    if offsets is not None and frame.forces is not None:
        stress = stress + internal_virial(offsets, frame.forces) / frame.volume
    return np.asarray(0.5 * (stress + stress.T))


def label_virial(frame: CGFrame) -> tuple[Array, int]:
    """Virial of the labels (3, 3), eV, and the number of free particles that belongs to it.

    Molecular, with the molecules as particles, where the frame has forces; else that of the sites.

    Raises:
        DataError: the frame has no virial.
    """
    if frame.virial is None:
        raise DataError("the frame has no virial, hence no pressure", frame=frame.source_frame)
    offsets = None if frame.forces is None else centre_offsets(frame)
    if offsets is None or frame.forces is None:
        return frame.virial, frame.topology.n_sites
    return frame.virial - internal_virial(offsets, frame.forces), frame.topology.n_molecules


def label_pressure(frame: CGFrame, temperature: float) -> float:
    """Pressure of the labels, bar (`label_virial`).

    Raises:
        DataError: the frame has no virial.
    """
    return pressure_of(*label_virial(frame), temperature, frame.volume)


def pressure_of(virial: Array, particles: int, temperature: float, volume: float) -> float:
    """Pressure (particles k_B T + tr W / 3) / V, bar, of a virial (3, 3) in eV at K and Å^3."""
    kinetic = ideal_pressure_bar(particles, temperature, volume)
    return float(kinetic + pressure_bar(np.trace(virial), volume))
