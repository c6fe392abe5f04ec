# SPDX-License-Identifier: GPL-2.0-or-later
"""Units and conversions.

Everywhere inside the project: eV, Å, amu, K, bar, ps (LAMMPS ``units metal``), with
velocities in Å/ps.  Readers convert at the door.  Values are CODATA 2018 (exact where the
SI defines them); the tests compare them with ``scipy.constants``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgpot.core.errors import UnitError

AVOGADRO = 6.02214076e23
ELEMENTARY_CHARGE = 1.602176634e-19
BOLTZMANN_SI = 1.380649e-23
AMU_KG = 1.66053906660e-27

KB = BOLTZMANN_SI / ELEMENTARY_CHARGE
"""Boltzmann constant, eV/K."""

EV_PER_A3_IN_BAR = ELEMENTARY_CHARGE / 1e-30 / 1e5
"""1 eV/Å^3 in bar."""

AMU_PER_A3_IN_KG_M3 = AMU_KG / 1e-30
"""1 amu/Å^3 in kg/m^3."""

MVV_TO_EV = AMU_KG * 1e4 / ELEMENTARY_CHARGE
"""1 amu (Å/ps)^2 in eV."""

KJ_MOL = 1e3 / AVOGADRO / ELEMENTARY_CHARGE
"""1 kJ/mol in eV."""

KCAL_MOL = 4.184 * KJ_MOL
"""1 kcal/mol in eV."""

ATM_IN_BAR = 1.01325
"""1 atm in bar."""

NM = 10.0
"""1 nm in Å."""

LAMMPS_STYLES: dict[str, dict[str, float]] = {
    "metal": {"energy": 1.0, "length": 1.0, "force": 1.0, "pressure": 1.0, "time": 1.0},
    "real": {
        "energy": KCAL_MOL,
        "length": 1.0,
        "force": KCAL_MOL,
        "pressure": ATM_IN_BAR,
        "time": 1e-3,
    },
}
"""Factors from a LAMMPS unit style to the project's units (multiply)."""


def lammps_factors(style: str) -> dict[str, float]:
    """Factors from the LAMMPS unit style ``metal`` or ``real`` to eV, Å, eV/Å, bar and ps.

    Raises:
        UnitError: any other style.
    """
    if style not in LAMMPS_STYLES:
        raise UnitError(
            f"LAMMPS units {style!r} are not supported; expected one of {sorted(LAMMPS_STYLES)}"
        )
    return LAMMPS_STYLES[style]


def pressure_bar(virial_trace: ArrayLike, volume: ArrayLike) -> NDArray[np.float64]:
    """Configurational pressure ``tr W / (3 V)`` in bar from a trace (eV) and a volume (Å^3)."""
    w = np.asarray(virial_trace, dtype=np.float64)
    return w / (3.0 * np.asarray(volume, dtype=np.float64)) * EV_PER_A3_IN_BAR


def ideal_pressure_bar(n_sites: int, temperature: float, volume: ArrayLike) -> NDArray[np.float64]:
    """Kinetic pressure ``n k_B T / V`` of ``n_sites`` free particles, bar; volume in Å^3."""
    return n_sites * KB * temperature / np.asarray(volume, np.float64) * EV_PER_A3_IN_BAR


def density_kg_m3(mass: float, volume: ArrayLike) -> NDArray[np.float64]:
    """Mass density in kg/m^3 from a mass in amu and a volume in Å^3."""
    return mass / np.asarray(volume, dtype=np.float64) * AMU_PER_A3_IN_KG_M3
