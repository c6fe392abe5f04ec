# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS files: topology (.tpr, .gro), trajectory (.trr) and energies (.edr).

Signs and units: the .trr holds nm, kJ/(mol nm), ps; the .edr holds ``Xi = -W/2`` in kJ/mol
(GROMACS manual, "Virial and pressure"), so ``W_AA = -2 Xi``.  The dispersion correction and
PME are part of ``Xi``.  The .trr forces leave the constraint forces out.
"""

from cgpot.formats.gromacs.atomistic_topology import read_topology
from cgpot.formats.gromacs.edr import read_edr
from cgpot.formats.gromacs.trr import TrrTrajectory, scan_trr

__all__ = ["TrrTrajectory", "read_edr", "read_topology", "scan_trr"]
