# SPDX-License-Identifier: GPL-2.0-or-later
"""Units against scipy.constants (CODATA) and against LAMMPS's own conversion factors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants as sc

from cgpot.core import units
from cgpot.core.errors import UnitError

EXACT = 1e-12
"""Relative tolerance for values that the SI defines exactly."""
CODATA = 1e-8
"""Relative tolerance where the atomic mass constant enters: CODATA 2018 and 2022 differ by 8e-10
relative, the tables of other programs by a little more."""


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("AVOGADRO", sc.N_A, EXACT),
        ("ELEMENTARY_CHARGE", sc.e, EXACT),
        ("BOLTZMANN_SI", sc.k, EXACT),
        ("AMU_KG", sc.atomic_mass, CODATA),
        ("KB", sc.k / sc.e, EXACT),
        ("EV_PER_A3_IN_BAR", sc.e / sc.angstrom**3 / sc.bar, EXACT),
        ("AMU_PER_A3_IN_KG_M3", sc.atomic_mass / sc.angstrom**3, CODATA),
        ("MVV_TO_EV", sc.atomic_mass * (sc.angstrom / sc.pico) ** 2 / sc.e, CODATA),
        ("KJ_MOL", sc.kilo / sc.N_A / sc.e, EXACT),
        ("KCAL_MOL", sc.calorie * sc.kilo / sc.N_A / sc.e, EXACT),
        ("ATM_IN_BAR", sc.atm / sc.bar, EXACT),
        ("NM", sc.nano / sc.angstrom, EXACT),
    ],
)
def test_constants(name: str, expected: float, tolerance: float) -> None:
    assert getattr(units, name) == pytest.approx(expected, rel=tolerance)


def test_calorie_is_the_thermochemical_one() -> None:
    assert sc.calorie == sc.calorie_th == 4.184


def test_lammps_metal_is_the_identity() -> None:
    assert set(units.lammps_factors("metal").values()) == {1.0}


def test_lammps_real() -> None:
    factors = units.lammps_factors("real")
    assert factors["time"] == 1e-3
    assert factors["length"] == 1.0
    assert factors["force"] == factors["energy"] == pytest.approx(0.0433641, rel=1e-6)
    assert factors["pressure"] == 1.01325
    # LAMMPS update.cpp, units real: nktv2p = 68568.415 atm Å^3 mol/kcal; older constants than
    # CODATA 2018, hence 2e-6
    nktv2p = units.KCAL_MOL * units.EV_PER_A3_IN_BAR / units.ATM_IN_BAR
    assert nktv2p == pytest.approx(68568.415, rel=2e-6)


def test_lammps_other_style() -> None:
    with pytest.raises(UnitError, match="LAMMPS units 'lj' are not supported; expected one of"):
        units.lammps_factors("lj")


def test_ideal_pressure_is_the_gas_law() -> None:
    volume_m3 = 24.0e-27
    expected = 500 * sc.k * 300.0 / volume_m3 / sc.bar
    found = units.ideal_pressure_bar(500, 300.0, volume_m3 / sc.angstrom**3)
    assert found == pytest.approx(expected, rel=EXACT)


def test_pressure_from_a_virial_trace() -> None:
    # W = p V on each diagonal element
    volume = 5.0e4
    p = 1234.5
    w = p * sc.bar * volume * sc.angstrom**3 / sc.e
    assert units.pressure_bar(3 * w, volume) == pytest.approx(p, rel=EXACT)
    np.testing.assert_allclose(units.pressure_bar([3 * w, -6 * w], [volume, volume]), [p, -2 * p])


def test_density_of_water() -> None:
    # 33.3679 molecules per nm^3 of 18.01528 amu are 998.2 kg/m^3
    assert units.density_kg_m3(18.01528, 1e3 / 33.3679) == pytest.approx(998.2, abs=0.1)
