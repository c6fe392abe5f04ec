# SPDX-License-Identifier: GPL-2.0-or-later
"""What the mapping needs of thermo output: the full virial, and what goes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.units import EV_PER_A3_IN_BAR, lammps_factors
from cgpot.formats.atomistic import ThermoSeries
from cgpot.formats.lammps.log import log_text, parse_log, unit_style
from cgpot.formats.lammps.unit_styles import resolve_units

Array = NDArray[np.float64]
COMPONENTS = ("xx", "yy", "zz", "xy", "xz", "yz")
VIRIAL_NAMES = (
    tuple(f"v_w{c}" for c in COMPONENTS),
    tuple(f"c_vir[{i}]" for i in range(1, 7)),
)
PRESSURE_NAMES = tuple(f"P{c}" for c in COMPONENTS)


def parse_thermo(path: str | Path) -> tuple[list[str], Array, str | None]:
    """Thermo rows of a log or yaml file: column names, values (n, columns), units if echoed.

    Runs with other columns than the last are left out, a last row cut short by a kill is dropped.

    Raises:
        InputError: no thermo output.
    """
    p = require_file(path, "thermo output")
    text = log_text(p)
    tables = [table for table in parse_log(text, p) if len(table)]
    if not tables:
        raise InputError(
            "no thermo output found; expected a log with 'thermo_style custom step ...' or "
            "'thermo_modify line yaml'",
            file=p,
        )
    names = list(tables[-1].columns)
    rows = [
        np.stack(list(table.columns.values()), axis=1)
        for table in tables
        if list(table.columns) == names
    ]
    return names, np.concatenate(rows), unit_style(text)


def read_thermo(path: str | Path, units: str | None) -> ThermoSeries:
    """Virial, pressure, temperature and volume from thermo output.

    Args:
        path: log or yaml.
        units: unit style stated by the user or another file, or None.

    Raises:
        InputError: columns missing (all are listed), NaN.
        UnitError: units unknown or contradicting.
    """
    p = Path(path)
    names, table, echoed = parse_thermo(p)
    factors = lammps_factors(resolve_units(units, {p: echoed}))
    column = {name: table[:, i] for i, name in enumerate(names)}
    if "Step" not in column:
        raise InputError(f"no column 'Step' among {names}", file=p)
    _, last = np.unique(column["Step"][::-1], return_index=True)
    rows = np.sort(len(table) - 1 - last)
    rows = rows[np.argsort(column["Step"][rows], kind="stable")]
    column = {name: values[rows] for name, values in column.items()}

    def series(*options: str) -> Array | None:
        return next((column[name] for name in options if name in column), None)

    volume = series("Volume", "v_vol")
    to_bar = factors["pressure"]
    found = next((group for group in VIRIAL_NAMES if all(c in column for c in group)), None)
    notes: tuple[str, ...]
    if found is not None:
        virial = _tensor([column[c] for c in found]) * to_bar
        notes = (f"W_AA from the thermo columns {found[0]} ... {found[-1]}",)
    elif all(c in column for c in PRESSURE_NAMES) and "KinEng" in column and volume is not None:
        kinetic = 2.0 / 3.0 * column["KinEng"] * factors["energy"] / volume * EV_PER_A3_IN_BAR
        virial = _tensor([column[c] for c in PRESSURE_NAMES]) * to_bar
        virial -= kinetic[:, None, None] * np.eye(3)
        notes = (
            "W_AA from Pxx ... Pyz less an isotropic kinetic part 2 KinEng / 3 V (the trace is "
            "exact; print 'compute vir all pressure NULL virial' for exact components)",
        )
    else:
        raise InputError(
            f"no virial among the columns {names}; expected {' '.join(VIRIAL_NAMES[0])} or "
            f"{' '.join(VIRIAL_NAMES[1])} (compute vir all pressure NULL virial), or "
            f"{' '.join(PRESSURE_NAMES)} with KinEng and Volume",
            file=p,
        )
    bad = np.flatnonzero(~np.isfinite(virial).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"the virial at step {column['Step'][bad[0]]:.0f} holds NaN or infinity", file=p
        )
    pressure = series("Press")
    if pressure is None and all(c in column for c in PRESSURE_NAMES[:3]):
        pressure = np.mean([column[c] for c in PRESSURE_NAMES[:3]], axis=0)
    time = series("Time", "v_time")
    return ThermoSeries(
        path=p,
        key="step",
        keys=column["Step"],
        virial=None,
        virial_pressure=virial,
        pressure=None if pressure is None else pressure * to_bar,
        temperature=series("Temp"),
        volume=volume,
        time=None if time is None else time * factors["time"],
        notes=notes,
    )


def _tensor(components: list[Array]) -> Array:
    """(n, 3, 3) symmetric tensors from LAMMPS's six components."""
    xx, yy, zz, xy, xz, yz = components
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)
