# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS files: data file, dump with forces, and thermo output as log or yaml.

Units are those of the unit style (``metal`` or ``real``) that the user states or that a file
holds (``ITEM: UNITS`` of a dump, the echoed ``units`` command of a log); nothing is guessed.
LAMMPS forces include those of ``fix shake`` and ``fix rattle``.

The full virial comes from thermo columns, best from ``compute vir all pressure NULL virial``
printed as ``c_vir[1] ... c_vir[6]`` or as variables ``v_wxx v_wyy v_wzz v_wxy v_wxz v_wyz``
(LAMMPS's order of components: xx, yy, zz, xy, xz, yz; pressure units).  With the pressure
tensor ``Pxx ... Pyz`` alone the kinetic part is taken out as ``2 KinEng / 3 V`` on the
diagonal: its trace is exact, its components are those of an isotropic kinetic tensor.
"""

from cgpot.formats.lammps.atomistic_data import read_data
from cgpot.formats.lammps.atomistic_dump import LammpsDump
from cgpot.formats.lammps.atomistic_thermo import parse_thermo, read_thermo
from cgpot.formats.lammps.dump import dump_units
from cgpot.formats.lammps.unit_styles import resolve_units

__all__ = [
    "LammpsDump",
    "dump_units",
    "parse_thermo",
    "read_data",
    "read_thermo",
    "resolve_units",
]
