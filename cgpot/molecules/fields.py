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
``species_bonds``  string         --       species with beads and bonds, and the molecules of each
``cell``           (3, 3)         Å        box vectors as rows (ASE)
``pbc``            (3,)           --       periodic in x, y, z
``stress``         (3, 3)         eV/Å^3   sigma = -W / V (ASE and NequIP sign)
``virial``         (3, 3)         eV       W = sum r (x) f of the coarse variables (LAMMPS: +W)
``time``           scalar         ps       time of the frame in the atomistic run
``source_frame``   scalar         --       index of the frame in the atomistic trajectory
``temperature``    scalar         K        of the run that the frame comes from
``state``          string         --       name of the run's state point, as ``300K-868``
``weight``         scalar         --       statistical weight (absent: 1); n for means of n samples
``energy``         scalar         eV       potential energy; only in frames labelled by a model
=================  =============  =======  =====================================================

A mapped frame has no energy: only forces and virial of the potential of mean force are mapped.
"""

ATOM_TYPES = "atom_types"
MOLECULE_IDS = "molecule_ids"
BEAD_NAMES = "bead_names"
TIME = "time"
SOURCE_FRAME = "source_frame"
TEMPERATURE = "temperature"
STATE = "state"
WEIGHT = "weight"
ENERGY = "energy"

SPECIES = "X"
"""Chemical symbol that stands for every bead in extxyz; ``atom_types`` tells them apart."""
