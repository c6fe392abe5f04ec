# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run leaves for the later stages: thermo.csv and the trajectory as extxyz."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import atomic_path, require_file
from cgpot.core.units import lammps_factors
from cgpot.formats.lammps.cg_dump import merged_dumps, to_frame
from cgpot.formats.lammps.log import ThermoTable, merge, read_log
from cgpot.molecules.extxyz import ExtxyzWriter
from cgpot.molecules.frame import Topology

COLUMNS: dict[str, tuple[str, str]] = {
    "step": ("Step", "one"),
    "time_ps": ("Time", "time"),
    "temperature_K": ("Temp", "one"),
    "pressure_bar": ("Press", "pressure"),
    "pressure_virial_bar": ("c_virial", "pressure"),
    "pe_eV": ("PotEng", "energy"),
    "ke_eV": ("KinEng", "energy"),
    "etotal_eV": ("TotEng", "energy"),
    "volume_A3": ("Volume", "one"),
    "density_kg_m3": ("Density", "density"),
    "lx": ("Lx", "length"),
    "ly": ("Ly", "length"),
    "lz": ("Lz", "length"),
    "xy": ("Xy", "length"),
    "xz": ("Xz", "length"),
    "yz": ("Yz", "length"),
    "pxx_bar": ("Pxx", "pressure"),
    "pyy_bar": ("Pyy", "pressure"),
    "pzz_bar": ("Pzz", "pressure"),
    "pxy_bar": ("Pxy", "pressure"),
    "pxz_bar": ("Pxz", "pressure"),
    "pyz_bar": ("Pyz", "pressure"),
}
"""Column of thermo.csv -> LAMMPS's name and the kind of quantity.

``pressure_bar`` is LAMMPS's: its kinetic part is that of 3N-3 degrees of freedom, with mean
(N-1) kT/V.  ``pressure_virial_bar`` is tr W/(3V) alone.
"""


SPREAD_COLUMNS: dict[str, tuple[str, str]] = {
    "force_spread_max_eV_A": ("c_spread[1]", "force"),
    "force_spread_rms_eV_A": ("c_spread[2]", "force"),
    "energy_spread_eV": ("c_spread[3]", "energy"),
    "pressure_spread_bar": ("c_spread[4]", "pressure"),
    "spread_step": ("c_spread[5]", "one"),
}
"""Further columns of an ensemble; the energy spread is per bead."""


def segment_files(folder: Path, ending: str, prefix: str = "run") -> list[Path]:
    """Files ``run.0.ENDING``, ``run.1.ENDING``, ... of a run folder, in order."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.{re.escape(ending)}")
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := pattern.fullmatch(p.name))]
    return [p for _, p in sorted(found)]


def production_table(log: Path) -> ThermoTable:
    """The thermo table of the dynamics in a log; empty if the run did not get there.

    The table of a minimisation before it has no column ``Time``.
    """
    if not log.is_file() or log.stat().st_size == 0:
        return ThermoTable(file=log)
    tables = [t for t in read_log(log) if "Time" in t.columns]
    return tables[-1] if tables else ThermoTable(file=log)


def merged_thermo(logs: Iterable[Path]) -> ThermoTable:
    """Thermo output of all segments, without overlaps.

    Raises:
        InputError: no thermo output at all.
        DataError: NaN or infinity.
    """
    paths = list(logs)
    table = merge(production_table(path) for path in paths)
    if len(table) == 0:
        raise InputError("no thermo output", file=paths[-1] if paths else None)
    for name, values in table.columns.items():
        bad = ~np.isfinite(values)
        if bad.any():
            step = int(table["Step"][np.argmax(bad)])
            raise DataError(
                f"the column '{name}' is not a finite number at step {step}", file=table.file
            )
    return table


def write_thermo_csv(
    path: str | Path, table: ThermoTable, interval: int = 1, units: str = "metal"
) -> Path:
    """Write thermo output in the project's units (see `COLUMNS`).

    Args:
        path: the file to write.
        table: merged thermo output.
        interval: steps between lines; LAMMPS prints further ones where a run starts or ends,
            which are left out, so that the series is even.
        units: unit style of the log.

    Raises:
        InputError: a column is missing from the log.
    """
    factors = {**lammps_factors(units), "one": 1.0, "density": 1000.0}
    columns = dict(COLUMNS)
    if SPREAD_COLUMNS["spread_step"][0] in table.columns:
        columns.update(SPREAD_COLUMNS)
    data = {name: table[source] * factors[kind] for name, (source, kind) in columns.items()}
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(data)
        for i in np.flatnonzero(table["Step"] % interval == 0):
            writer.writerow([int(v[i]) if k == "step" else f"{v[i]:.10g}" for k, v in data.items()])
    return Path(path)


def write_trajectory(
    path: str | Path,
    dumps: Iterable[Path],
    topology: Topology,
    interval: int,
    last_step: int | None = None,
) -> int:
    """Write the dumps of all segments as one data set, streaming, without forces.

    Args:
        path: extxyz file, compressed if it ends in .xz.
        dumps: dumps of the segments, in order.
        topology: of the start; its species go over to the frames.
        interval: steps between frames.
        last_step: leave out frames beyond it.

    Returns:
        The number of frames.

    Raises:
        InputError: missing dumps, or frames missing between segments.
    """
    paths = list(dumps)
    for p in paths[-1:]:
        require_file(p, "LAMMPS dump")
    previous: int | None = None
    current = topology
    with ExtxyzWriter(path) as writer:
        for snapshot in merged_dumps(paths):
            if last_step is not None and snapshot.step > last_step:
                break
            if previous is not None and snapshot.step != previous + interval:
                raise InputError(
                    f"frames are missing between steps {previous} and {snapshot.step}; "
                    f"expected one every {interval} steps",
                    file=paths[-1],
                )
            frame = to_frame(snapshot, topology.type_names, topology.type_masses, current)
            current = frame.topology
            frame.forces = None
            writer.write(frame)
            previous = snapshot.step
        if writer.count == 0:
            raise InputError("no frames in the dumps", file=paths[-1] if paths else None)
    return writer.count
