# SPDX-License-Identifier: GPL-2.0-or-later
"""The thermodynamics of a run: its row for each frame, and the table beside a data set."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.formats.atomistic import AtomFrame, ThermoSeries

Array = NDArray[np.float64]
THERMO_COLUMNS = (
    "frame",
    "time_ps",
    "temperature_K",
    "volume_A3",
    "pressure_engine_bar",
    "pressure_label_bar",
)
VOLUME_TOLERANCE = 1e-4


class ThermoLookup:
    """The row of a thermodynamic series that belongs to a frame."""

    def __init__(self, series: ThermoSeries) -> None:
        self.series = series

    def row(self, frame: AtomFrame) -> int:
        """Index of the frame's row.

        Raises:
            InputError: no row at the frame's time (or step); names the nearest.
        """
        s = self.series
        by_time = s.key == "time"
        wanted = frame.time if by_time else float(frame.step)
        if wanted is None:
            raise InputError("the frame has no time to match", file=s.path, frame=frame.index)
        # .trr times are single precision: allow their rounding, never half a time step.
        tolerance = max(1e-4, 4e-7 * abs(wanted)) if by_time else 0.1
        i = int(np.searchsorted(s.keys, wanted - tolerance))
        if i < len(s.keys) and abs(s.keys[i] - wanted) <= tolerance:
            return i
        nearest = s.keys[int(np.argmin(np.abs(s.keys - wanted)))]
        unit = " ps" if by_time else ""
        raise InputError(
            f"no entry at {s.key} {wanted:g}{unit} (trajectory frame {frame.index}); the nearest "
            f"is at {nearest:g}{unit}, the file spans {s.keys[0]:g} to {s.keys[-1]:g}{unit} in "
            f"{len(s.keys)} entries; expected energies of the same run at every frame",
            file=s.path,
            frame=frame.index,
        )

    def check_volume(self, row: int, frame: AtomFrame) -> None:
        """Refuse a row whose volume is not that of the frame.

        Raises:
            InputError: the files belong to different runs.
        """
        if self.series.volume is None:
            return
        theirs = float(self.series.volume[row])
        ours = abs(float(np.linalg.det(frame.cell)))
        if abs(theirs - ours) > VOLUME_TOLERANCE * ours:
            raise InputError(
                f"volume {theirs:.2f} Å^3, but the trajectory's box has {ours:.2f} Å^3 at the "
                "same time; the files belong to different runs",
                file=self.series.path,
                frame=frame.index,
            )

    def virial(self, row: int, volume: float) -> Array:
        """W_AA of a row, eV."""
        s = self.series
        if s.virial is not None:
            return s.virial[row]
        if s.virial_pressure is None:
            raise InputError("the series holds no virial", file=s.path)
        return s.virial_pressure[row] * (volume / EV_PER_A3_IN_BAR)


def write_table(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """Write the table, one row a frame in the order of `THERMO_COLUMNS`; empty where unknown."""
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(THERMO_COLUMNS)
        for row in rows:
            writer.writerow(
                [f"{v:.6f}" if isinstance(v, float) else ("" if v is None else v) for v in row]
            )
