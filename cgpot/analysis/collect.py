# SPDX-License-Identifier: GPL-2.0-or-later
"""One pass over frames: every observable takes each frame, for data sets and runs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cgpot.analysis.observables.observable import Observable, Record, System
from cgpot.analysis.observables.pressure import COMPONENTS
from cgpot.analysis.observables.registry import OF_FRAMES, OF_SERIES
from cgpot.analysis.series import Series
from cgpot.core.errors import DataError
from cgpot.core.units import ideal_pressure_bar, pressure_bar
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import label_virial, pressure_of

PLACES = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}


class Measurement:
    """All observables of one system.

    Args:
        system: what is measured; its topology is that of the first frame.
        positions: whether observables of the sites are measured, or time series alone.
    """

    def __init__(self, system: System, *, positions: bool = True) -> None:
        self.system = system
        self._kinds = OF_FRAMES if positions else ()
        self.observables: dict[str, Observable] = {}
        self.n_frames = 0
        self._columns: list[dict[str, list[float]]] = []

    def collect(
        self,
        frames: Iterable[tuple[int, CGFrame]],
        advance: Callable[[int], None] = lambda n: None,
    ) -> None:
        """Read frames once.

        Args:
            frames: pairs (replica, frame), replicas in order.
            advance: progress.

        Raises:
            DataError: no frames, r_max beyond half the box, other sites than those of the first
                frame, or labels in some frames only.
        """
        system, labelled = self.system, 0
        for replica, frame in frames:
            while len(self._columns) <= replica:
                self._columns.append({})
            index = len(self._columns[replica].get("time_ps", ()))
            if system.topology is None:
                system.topology = frame.topology
                system.n_sites = frame.topology.n_sites
                self.observables |= {kind.name: kind(system) for kind in self._kinds}
            try:
                if not system.topology.same_as(frame.topology):
                    raise DataError("other sites than in the first frame; expected the same ones")
                for observable in self.observables.values():
                    observable.add(frame, replica)
            except DataError as err:
                file = system.file_of(replica) or None
                raise DataError(err.message, file=file, frame=index) from err
            labelled += frame.virial is not None
            self._note(self._columns[replica], frame, index)
            self.n_frames += 1
            advance(1)
        if self.n_frames == 0:
            raise DataError("no frames to analyse")
        if labelled not in (0, self.n_frames):
            raise DataError(
                f"{labelled} of {self.n_frames} frames carry a virial; expected all or none",
                file=system.file_of(0) or None,
            )

    def _note(self, columns: dict[str, list[float]], frame: CGFrame, index: int) -> None:
        """The frame's values of the time series."""
        values = {
            "time_ps": float(index if frame.time is None else frame.time),
            "volume_A3": frame.volume,
            "density_kg_m3": frame.density,
        }
        if frame.virial is not None:
            temperature = self.system.temperature
            virial, n = label_virial(frame)
            values["pressure_bar"] = pressure_of(virial, n, temperature, frame.volume)
            ideal = float(ideal_pressure_bar(n, temperature, frame.volume))
            for c in COMPONENTS:
                a, b = PLACES[c]
                part = 0.5 * float(virial[a, b] + virial[b, a])
                # pressure_bar takes a trace, three times the component
                values[f"p{c}_bar"] = float(pressure_bar(3.0 * part, frame.volume))
                if a == b:
                    values[f"p{c}_bar"] += ideal
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    def frame_series(self) -> Series:
        """Time series of the frames, all samples used."""
        names = list(self._columns[0])
        columns = {name: [np.array(c[name]) for c in self._columns if c] for name in names}
        return Series(time=columns.pop("time_ps"), columns=columns)

    def results(self, groups: str = "all") -> dict[str, Any]:
        """Records of all observables by name; None where there is nothing to measure.

        Args:
            groups: ``frames``, ``series``, or ``all``.
        """
        if groups != "frames":
            self.observables |= {kind.name: kind(self.system) for kind in OF_SERIES}
        chosen = {"frames": OF_FRAMES, "series": OF_SERIES, "all": (*OF_SERIES, *OF_FRAMES)}[groups]
        return {
            kind.name: self.observables[kind.name].result()
            if kind.name in self.observables
            else None
            for kind in chosen
        }

    def compare(self, reference: Measurement) -> dict[str, Record]:
        """Comparisons with a reference by observable, after `results` of both."""
        found = {}
        for name, observable in self.observables.items():
            other = reference.observables.get(name)
            record = observable.compare(other) if other is not None else None
            if record:
                found[name] = record
        return found
