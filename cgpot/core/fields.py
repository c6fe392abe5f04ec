# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the quantities in data sets, with shapes, units and signs.

=================  =============  =======  =====================================================
name               shape          unit     meaning
=================  =============  =======  =====================================================
``positions``      (n, 3)         Å        site positions R, wrapped into the cell
``forces``         (n, 3)         eV/Å     mapped forces F on the sites
``atom_types``     (n,)           --       bead type, zero-based, order of the mapping's names
``molecule_ids``   (n,)           --       molecule of each site, zero-based
``bead_names``     (n,) str       --       the mapping's name of each site's type
``cell``           (3, 3)         Å        box vectors as rows (ASE)
``pbc``            (3,)           --       periodic in x, y, z
``stress``         (3, 3)         eV/Å^3   sigma = -W / V (ASE and NequIP sign)
``virial``         (3, 3)         eV       W = sum r (x) f of the coarse variables (LAMMPS: +W)
``time``           scalar         ps       time of the frame in the atomistic run
``source_frame``   scalar         --       index of the frame in the atomistic trajectory
=================  =============  =======  =====================================================

There is no energy: a mapped frame has none.
"""

POSITIONS = "positions"
FORCES = "forces"
ATOM_TYPES = "atom_types"
MOLECULE_IDS = "molecule_ids"
BEAD_NAMES = "bead_names"
CELL = "cell"
PBC = "pbc"
STRESS = "stress"
VIRIAL = "virial"
TIME = "time"
SOURCE_FRAME = "source_frame"

SPECIES = "X"
"""Chemical symbol that stands for every bead in extxyz; ``atom_types`` tells them apart."""
