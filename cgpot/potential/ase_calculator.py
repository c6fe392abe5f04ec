# SPDX-License-Identifier: GPL-2.0-or-later
"""Any potential as a calculator of ASE: networks with their bonded part, linear fits, tables.

NequIP's own calculator knows neither which pairs a network leaves out nor the terms along bonds;
this one does.  ASE: Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from cgpot.core.errors import InputError
from cgpot.molecules.extxyz import from_atoms
from cgpot.molecules.fields import ATOM_TYPES, TEMPERATURE
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.potential import Potential


class PotentialCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å^3, ASE's sign) of coarse-grained sites.

    Args:
        potential: of any kind, e.g. `cgpot.training.open_potential.open_potential`.
        topology: the sites, in the order of the atoms; its bonds say which pairs are left out.
            None: as the atoms say themselves, which ASE read from a data set.
        temperature: K, for networks that take it as an input; None: that of a data set's frame.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        potential: Potential,
        topology: Topology | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.topology = topology
        self.temperature = temperature

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` for the atoms.

        Raises:
            InputError: atoms that are not the topology's sites, other bead types than the
                potential's, no cell, or no topology.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        frame = self._frame()
        labels = self.potential.labels(frame)
        stress = -0.5 * (labels.virial + labels.virial.T) / frame.volume
        self.results = {
            "energy": labels.energy,
            "free_energy": labels.energy,
            "forces": labels.forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }

    def _frame(self) -> CGFrame:
        """The atoms as sites."""
        atoms = self.atoms
        topology = from_atoms(atoms).topology if self.topology is None else self.topology
        if topology.type_names != self.potential.type_names:
            raise InputError(
                f"the sites are of bead types {list(topology.type_names)}, the potential is of "
                f"{list(self.potential.type_names)}"
            )
        if len(atoms) != topology.n_sites:
            raise InputError(f"found {len(atoms)} atoms, expected {topology.n_sites} sites")
        if not np.array_equal(atoms.arrays.get(ATOM_TYPES, topology.types), topology.types):
            raise InputError("expected the bead types of the topology's sites", key=ATOM_TYPES)
        if atoms.cell.rank < 3:
            raise InputError("the atoms have no cell, expected three vectors (Å)", key="cell")
        temperature = self.temperature
        if temperature is None and TEMPERATURE in atoms.info:
            temperature = float(atoms.info[TEMPERATURE])
        x, y, z = (bool(periodic) for periodic in atoms.pbc)
        return CGFrame(
            topology,
            np.array(atoms.positions, dtype=np.float64),
            np.array(atoms.cell.array, dtype=np.float64),
            pbc=(x, y, z),
            temperature=temperature,
        )
