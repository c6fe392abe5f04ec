# SPDX-License-Identifier: GPL-2.0-or-later
"""Any potential as a calculator of ASE: networks with their bonded part, linear fits, tables.

NequIP's own calculator knows neither which pairs a network leaves out nor the terms along bonds;
this one does (Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from cgpot.core.errors import InputError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.potential import Potential


class PotentialCalculator(Calculator):  # type: ignore[misc]
    """Energy (eV), forces (eV/Å) and stress (eV/Å^3, ASE's sign) of coarse-grained sites.

    Args:
        potential: of any kind, e.g. `cgpot.training.open_potential.open_potential`.
        topology: the sites, in the order of the atoms; its bonds say which pairs are left out.
        temperature: K, for networks that take it as an input.

    Raises:
        InputError: other bead types than the potential's.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self, potential: Potential, topology: Topology, temperature: float | None = None
    ) -> None:
        super().__init__()
        if topology.type_names != potential.type_names:
            raise InputError(
                f"the sites are of bead types {list(topology.type_names)}, the potential is of "
                f"{list(potential.type_names)}"
            )
        self.potential = potential
        self.topology = topology
        self.temperature = temperature

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` for the atoms.

        Raises:
            InputError: another number of atoms, other ``atom_types``, or no cell.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        topology, found = self.topology, self.atoms
        if len(found) != topology.n_sites:
            raise InputError(f"found {len(found)} atoms, expected {topology.n_sites} sites")
        types = found.arrays.get("atom_types", topology.types)
        if not np.array_equal(types, topology.types):
            raise InputError("expected the types of the topology's sites", key="atom_types")
        if not found.cell.rank == 3:
            raise InputError("the atoms have no cell, expected three vectors (Å)", key="cell")
        frame = CGFrame(
            topology,
            np.array(found.positions, dtype=np.float64),
            np.array(found.cell.array, dtype=np.float64),
            pbc=tuple(bool(x) for x in found.pbc),
            temperature=self.temperature,
        )
        labels = self.potential.labels(frame)
        stress = -0.5 * (labels.virial + labels.virial.T) / frame.volume
        self.results: dict[str, Any] = {
            "energy": labels.energy,
            "free_energy": labels.energy,
            "forces": labels.forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


def as_atoms(frame: CGFrame) -> Atoms:
    """The sites of a frame as ASE's atoms: element X, masses, and the types as ``atom_types``."""
    topology = frame.topology
    atoms = Atoms(
        "X" * topology.n_sites,
        positions=frame.positions,
        cell=frame.cell,
        pbc=frame.pbc,
        masses=topology.masses,
    )
    atoms.set_array("atom_types", topology.types)
    return atoms
