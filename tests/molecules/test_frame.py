# SPDX-License-Identifier: GPL-2.0-or-later
"""Bead topologies and frames."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants as sc

from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame, Topology


def topology(
    names: tuple[str, ...] = ("A", "B"),
    masses: tuple[float, ...] = (78.0, 18.0),
    types: tuple[int, ...] = (0, 1, 0),
    molecules: tuple[int, ...] = (0, 0, 1),
) -> Topology:
    return Topology(names, masses, np.array(types), np.array(molecules))


def test_topology() -> None:
    t = topology()
    assert t.n_sites == 3
    assert t.names == ["A", "B", "A"]
    np.testing.assert_array_equal(t.masses, [78.0, 18.0, 78.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("A", "A")}, r"not unique: \['A', 'A'\]"),
        ({"names": ("A", "B-1")}, "bead type name 'B-1': expected letters and digits only"),
        ({"names": ("A", "é")}, "bead type name 'é'"),
        ({"names": ("A", "")}, "bead type name ''"),
        ({"masses": (78.0,)}, "2 bead types but 1 masses"),
        ({"masses": (78.0, 0.0)}, r"bead type 'B' has mass 0\.0; expected a positive number"),
        ({"masses": (78.0, -1.0)}, r"'B' has mass -1\.0"),
        ({"masses": (float("nan"), 1.0)}, r"'A' has mass nan"),
        ({"types": (0, 1)}, r"types \(2,\) and molecules \(3,\) differ"),
        ({"types": (0, 2, 0)}, r"bead types span 0\.\.2, but 2 are named"),
        ({"types": (0, -1, 0)}, r"bead types span -1\.\.0"),
    ],
)
def test_wrong_topology(change: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        topology(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"masses": (78.01, 18.0)}, True),  # 1.3e-4: another rounding of the same mass
        ({"masses": (78.2, 18.0)}, False),
        ({"names": ("A", "C")}, False),
        ({"types": (0, 1, 1)}, False),
        ({"molecules": (0, 1, 1)}, False),
    ],
)
def test_same_as(change: dict[str, tuple[int, ...]], same: bool) -> None:
    assert topology().same_as(topology(**change)) is same  # type: ignore[arg-type]


CELL = np.array([[20.0, 0.0, 0.0], [3.0, 25.0, 0.0], [-4.0, 5.0, 30.0]])


def frame(virial: np.ndarray | None = None) -> CGFrame:
    return CGFrame(topology(), np.zeros((3, 3)), CELL, virial=virial, source_frame=12)


def test_volume_and_density() -> None:
    assert frame().volume == pytest.approx(15000.0, rel=1e-14)
    left_handed = CGFrame(topology(), np.zeros((3, 3)), CELL[[1, 0, 2]])
    assert left_handed.volume == pytest.approx(15000.0, rel=1e-14)
    expected = 174.0 * sc.atomic_mass / 15000e-30
    assert frame().density == pytest.approx(expected, rel=1e-8)


def test_pressure_has_its_sign_from_the_virial() -> None:
    # repulsion: W = sum r (x) f > 0, pressure above the ideal one, stress negative
    volume_m3 = 15000e-30
    ideal = 3 * sc.k * 300.0 / volume_m3 / 1e5
    w = np.diag([1.0, 2.0, 3.0])
    f = frame(w)
    assert f.pressure(300.0) == pytest.approx(ideal + 2.0 * sc.e / volume_m3 / 1e5, rel=1e-12)
    assert frame(-w).pressure(300.0) == pytest.approx(ideal - 2.0 * sc.e / volume_m3 / 1e5)
    np.testing.assert_allclose(f.stress, -w / 15000.0)


def test_no_virial() -> None:
    with pytest.raises(DataError, match="frame 12: the frame has no virial, hence no stress"):
        _ = frame().stress
    with pytest.raises(DataError, match="frame 12: the frame has no virial, hence no pressure"):
        frame().pressure(300.0)


@pytest.mark.parametrize("name", ["positions", "cell", "forces", "virial"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(name: str, value: float) -> None:
    f = frame(np.eye(3))
    f.forces = np.zeros((3, 3))
    f.cell = f.cell.copy()
    f.check_finite()
    getattr(f, name)[1, 2] = value
    with pytest.raises(DataError, match=f"a.xyz, frame 12: {name} hold NaN or infinity"):
        f.check_finite("a.xyz")
    with pytest.raises(DataError, match=f"a.xyz, frame 4: {name}"):
        f.check_finite("a.xyz", 4)
