# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder that ``cgpot md`` wrote: thermo.csv, md.json and the trajectory."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import read_json, require_file
from cgpot.core.manifest import check_manifest, manifest_path
from cgpot.core.units import ideal_pressure_bar

Array = NDArray[np.float64]
COLUMNS = (
    "time_ps",
    "temperature_K",
    "pressure_bar",
    "pe_eV",
    "ke_eV",
    "etotal_eV",
    "volume_A3",
    "density_kg_m3",
)
"""Columns of thermo.csv that are needed; others are left alone."""

OPTIONAL = ("pressure_virial_bar",)
"""Columns that are used where they exist."""

TRAJECTORIES = ("traj.extxyz.xz", "traj.extxyz.gz", "traj.extxyz")


@dataclass(frozen=True)
class RunFolder:
    """One CG run.

    Attributes:
        path: the folder.
        md: content of md.json.
        ensemble: ``nvt``, ``npt`` or ``nve``.
        thermo: column name -> (n,) samples.
        trajectory: the trajectory file, or None when the run wrote none.
        manifest: whether a manifest was found, and agreed.
    """

    path: Path
    md: dict[str, Any]
    ensemble: str
    thermo: dict[str, Array]
    trajectory: Path | None
    manifest: bool

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def ns(self) -> float:
        """Simulated time, ns: md.json's ``ns``, else the span of thermo.csv."""
        value = self.md.get("ns")
        if isinstance(value, int | float):
            return float(value)
        time = self.thermo["time_ps"]
        return float(time[-1] - time[0]) / 1000.0

    @property
    def cpu_use(self) -> float | None:
        """CPU use over the segments of the run, per cent of one core; None if not recorded."""
        segments = self.md.get("segments")
        pairs = [
            (float(s["wall_seconds"]), float(s["cpu_use_percent"]))
            for s in (segments if isinstance(segments, list) else [])
            if isinstance(s, dict)
            and isinstance(s.get("wall_seconds"), int | float)
            and isinstance(s.get("cpu_use_percent"), int | float)
        ]
        total = sum(wall for wall, _ in pairs)
        return sum(wall * use for wall, use in pairs) / total if total > 0 else None

    @property
    def stable_ns(self) -> float:
        """Simulated time without a failure, ns (up to the first failure, if md.json has one)."""
        failures = self.md.get("failures")
        timestep = self.md.get("timestep_fs")
        if not isinstance(failures, list) or not failures:
            return self.ns
        steps = [f.get("step") for f in failures if isinstance(f, dict)]
        known = [int(s) for s in steps if isinstance(s, int)]
        if not known or not isinstance(timestep, int | float):
            return 0.0
        return min(self.ns, min(known) * float(timestep) * 1e-6)

    def pressure(self, temperature: float, n_sites: int | None) -> tuple[Array, str]:
        """Pressure as the labels of a data set count it, (n,) bar, and how it was made.

        With the column ``pressure_virial_bar`` and at constant temperature it is
        N k_B T / V + tr W / (3 V), the estimator of mapped frames.  Otherwise it is the engine's,
        with k_B T / V added when the number of beads is known: the engine counts 3N-3 degrees
        of freedom, the labels 3N.
        """
        volume = self.thermo["volume_A3"]
        virial = self.thermo.get("pressure_virial_bar")
        if n_sites and virial is not None and self.ensemble != "nve":
            return ideal_pressure_bar(n_sites, temperature, volume) + virial, "virial"
        engine = self.thermo["pressure_bar"]
        if n_sites:
            return engine + ideal_pressure_bar(1, temperature, volume), "engine"
        return engine, "engine, 3N-3 degrees of freedom"

    @property
    def files(self) -> list[Path]:
        """Files that the analysis reads."""
        names = [self.path / "thermo.csv", self.path / "md.json", self.trajectory]
        return [p for p in names if p is not None and p.is_file()]


def read_thermo(path: str | Path) -> dict[str, Array]:
    """Columns of a thermo.csv.

    Raises:
        InputError: a column is missing, a value is no number, or a line is short.
        DataError: NaN or infinity, or times that do not increase.
    """
    p = require_file(path, "thermo table")
    with open(p, newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = [name.strip() for name in next(rows, [])]
        for name in COLUMNS:
            if name not in header:
                raise InputError(
                    f"the column is missing; found {header}, expected {list(COLUMNS)}",
                    file=p,
                    key=name,
                )
        values = []
        for line, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"line {line} has {len(row)} values, the header {len(header)}; "
                    "the file is truncated or damaged",
                    file=p,
                )
            try:
                values.append([float(x) for x in row])
            except ValueError as err:
                raise InputError(f"line {line}: {err}", file=p) from err
    if len(values) < 2:
        raise InputError(f"expected at least 2 lines of values, found {len(values)}", file=p)
    table = np.array(values)
    result = {name: table[:, i] for i, name in enumerate(header)}
    for name in (*COLUMNS, *(c for c in OPTIONAL if c in result)):
        bad = np.flatnonzero(~np.isfinite(result[name]))
        if len(bad):
            raise DataError(
                f"line {bad[0] + 2} holds {result[name][bad[0]]}; expected a finite number "
                "(did the run blow up?)",
                file=p,
                key=name,
            )
    back = np.flatnonzero(np.diff(result["time_ps"]) <= 0)
    if len(back):
        i = int(back[0])
        raise DataError(
            f"time goes from {result['time_ps'][i]:g} to {result['time_ps'][i + 1]:g} ps at line "
            f"{i + 3}; expected increasing times",
            file=p,
            key="time_ps",
        )
    return result


def read_run(folder: str | Path, temperature: float) -> RunFolder:
    """Read a run folder and check it against the temperature of the analysis.

    Args:
        folder: run folder of ``cgpot md``.
        temperature: K.

    Raises:
        InputError: no such folder, a missing file or column, an unknown ensemble, or a
            thermostat at another temperature.
        DataError: see `read_thermo`.
        ManifestError: files changed since the run wrote them.
    """
    p = Path(folder)
    if not p.is_dir():
        raise InputError("no such run folder; expected one written by 'cgpot md'", file=p)
    md = read_json(p / "md.json")
    if not isinstance(md, dict):
        raise InputError(f"expected a mapping, found {type(md).__name__}", file=p / "md.json")
    manifest = False
    for target in (p / "md.json", p):
        if manifest_path(target).is_file():
            check_manifest(target)
            manifest = True
    thermo = read_thermo(p / "thermo.csv")
    ensemble = str(md.get("ensemble") or "").lower()
    if not ensemble:
        volume = thermo["volume_A3"]
        ensemble = "nvt" if np.ptp(volume) < 1e-6 * volume.mean() else "npt"
    if ensemble not in ("nvt", "npt", "nve"):
        raise InputError(
            f"expected nvt, npt or nve, found {ensemble!r}", file=p / "md.json", key="ensemble"
        )
    for key in ("temperature_K", "temperature"):
        made_at = md.get(key)
        if isinstance(made_at, int | float) and abs(float(made_at) - temperature) > 0.5:
            raise InputError(
                f"the run was made at {made_at:g} K, the analysis is for {temperature:g} K",
                file=p / "md.json",
                key=key,
            )
    trajectory = next((p / n for n in TRAJECTORIES if (p / n).is_file()), None)
    return RunFolder(p, md, ensemble, thermo, trajectory, manifest)
