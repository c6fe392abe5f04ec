# SPDX-License-Identifier: GPL-2.0-or-later
"""Sections of analysis.json: one for each reference and each run, all made alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.analysis.cg_run import RunFolder
from cgpot.analysis.collect import Measurement
from cgpot.analysis.observables.observable import System
from cgpot.analysis.observables.pressure import COMPONENTS
from cgpot.analysis.observables.registry import OF_FRAMES
from cgpot.analysis.series import Series, plot_series, transient_end
from cgpot.analysis.sources import Scan, replica_frames, require_same_beads
from cgpot.core.errors import DataError, InputError
from cgpot.core.progress import progress
from cgpot.core.statistics import MIN_SAMPLES
from cgpot.core.units import ideal_pressure_bar
from cgpot.molecules.frame import CGFrame, Topology

LEADING = ("temperature_K", "density_kg_m3", "pressure_bar", "pe_eV")
"""Columns of a run whose transient is left out of all."""


@dataclass
class Context:
    """What all sections share; the first reference sets beads, shell radii and bins.

    Attributes:
        temperature: K.
        r_max: upper end of g(r), Å.
        bins: number of bins.
        quiet: no progress bar.
        reference: what was measured of the first reference.
        name: its file.
        radii: first minimum of its g(r) by pair, Å.
        ranges: upper ends of histograms.
    """

    temperature: float
    r_max: float
    bins: int
    quiet: bool
    reference: Measurement | None = None
    name: str = ""
    radii: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, float] = field(default_factory=dict)

    @property
    def topology(self) -> Topology | None:
        """Sites of the first reference."""
        return self.reference.system.topology if self.reference else None

    def system(self, files: Sequence[Path], notes: list[str], **more: Any) -> System:
        """A system with the shared settings."""
        return System(
            self.temperature,
            self.r_max,
            self.bins,
            radii=self.radii,
            ranges=self.ranges,
            notes=notes,
            files=[str(p) for p in files],
            **more,
        )


def reference_section(
    paths: Sequence[Path], scans: Sequence[Scan], context: Context, what: str
) -> dict[str, Any]:
    """All observables of a mapped data set (all its frames).

    Raises:
        InputError: files of different systems.
        DataError: NaN, or r_max beyond half the box.
    """
    notes: list[str] = []
    system = context.system(paths, notes, is_reference=context.reference is None)
    measured = Measurement(system)
    with progress(what, sum(s.n_frames for s in scans), quiet=context.quiet) as advance:
        measured.collect(replica_frames(paths), advance)
    if context.reference is None:
        context.reference, context.name = measured, str(paths[0])
    else:
        known = context.reference.system.sites()
        require_same_beads(known, system.sites(), context.name, paths[0])
    series = measured.frame_series()
    volume = np.concatenate(series.columns["volume_A3"])
    constant = bool(np.ptp(volume) < 1e-6 * volume.mean())
    system.series, system.ensemble = series, "nvt" if constant else "npt"
    section: dict[str, Any] = {
        "files": [str(p) for p in paths],
        "manifests": [s.manifest for s in scans],
        "ensemble": system.ensemble,
        "n_sites": system.n_sites,
        "n_frames": measured.n_frames,
        "frames_by_file": [s.n_frames for s in scans],
        "time_ps": [float(t[-1] - t[0]) for t in series.time],
        "volume_A3": float(volume.mean()),
        **measured.results(),
        "series": {
            name: plot_series(series.time[0], series.columns[column][0])
            for name, column in (("density", "density_kg_m3"), ("pressure", "pressure_bar"))
            if column in series.columns
        },
        "notes": notes,
    }
    if not system.sites().has_bonds:
        notes.append("the bonds of its molecules are not known: nothing is measured along them")
    return section


def point_section(path: Path, found: Scan, context: Context) -> dict[str, Any]:
    """Density and pressure of a data set at constant volume, a point of the equation of state.

    Raises:
        InputError: another system than the reference, a volume that changes, or no virials.
    """
    notes: list[str] = []
    measured = Measurement(context.system([path], notes), positions=False)
    with progress(path.name, found.n_frames, quiet=context.quiet) as advance:
        measured.collect(replica_frames([path]), advance)
    system = measured.system
    if context.topology is not None:
        require_same_beads(context.topology, system.sites(), context.name, path)
    system.series = measured.frame_series()
    volume = system.series.columns["volume_A3"][0]
    if np.ptp(volume) >= 1e-6 * volume.mean():
        raise InputError("the volume changes; expected a run at constant volume", file=path)
    records = measured.results("series")
    if records["pressure"] is None:
        raise InputError("the frames carry no virials, hence no pressure", file=path)
    return {
        "files": [str(path)],
        "manifests": [found.manifest],
        "ensemble": system.ensemble,
        "n_sites": system.n_sites,
        "n_frames": measured.n_frames,
        **records,
        "notes": notes,
    }


def run_section(run: RunFolder, found: Scan | None, name: str, context: Context) -> dict[str, Any]:
    """The same of a CG run after its equilibration, and its comparison with the reference.

    Raises:
        InputError: the beads differ from the reference's.
        DataError: too few samples, NaN, or r_max beyond half the box.
    """
    time = run.thermo["time_ps"]
    n = len(time)
    if n < MIN_SAMPLES:
        raise DataError(
            f"{n} lines; expected at least {MIN_SAMPLES} for a mean with an error",
            file=run.path / "thermo.csv",
        )
    known = run.md.get("n_sites")
    n_sites = known if isinstance(known, int) else (found.n_sites if found else None)
    notes: list[str] = []
    system = context.system(
        [found.file] if found else [], notes, ensemble=run.ensemble, n_sites=n_sites
    )
    system.series, system.pressure_method = _run_series(run, context.temperature, n_sites)
    measured = Measurement(system)
    of_series = measured.results("series")
    columns = system.series.columns
    leading = [
        system.series.mean("pe_eV"),
        of_series["density" if run.ensemble == "npt" else "pressure"],
    ]
    start = max(e["start"][0] for e in leading)
    if start >= 0.45 * n:
        notes.append(
            f"equilibration takes about half of its {time[-1] - time[0]:.0f} ps: it is too "
            "short, or drifts"
        )
    section: dict[str, Any] = {
        "name": name,
        "path": str(run.path),
        "manifest": run.manifest,
        "ensemble": run.ensemble,
        "ns": run.ns,
        "stable_ns": run.stable_ns,
        "failures": run.md.get("failures"),
        "ns_per_day": run.md.get("ns_per_day"),
        "cpu_use_percent": run.cpu_use,
        "md": {k: v for k, v in run.md.items() if isinstance(v, str | int | float | bool)},
        **of_series,
        **dict.fromkeys(kind.name for kind in OF_FRAMES),
        "equilibration_ps": float(time[start] - time[0]),
        "series": {
            key: plot_series(time, columns[column][0])
            for key, column in (
                ("temperature", "temperature_K"),
                ("density", "density_kg_m3"),
                ("pressure", "pressure_bar"),
                ("potential_energy", "pe_eV"),
                ("total_energy", "etotal_eV"),
            )
        },
        "comparison": {},
        "headline": {},
        "notes": notes,
    }
    if found is not None and run.trajectory is not None:
        _add_frames(section, measured, found, context, float(time[start]))
    else:
        notes.append("the run wrote no trajectory: no g(r)")
    return section


def _run_series(run: RunFolder, temperature: float, n_sites: int | None) -> tuple[Series, str]:
    """Columns of thermo.csv with the pressure as data sets count it, and how that was made."""
    values, method = run.pressure(temperature, n_sites)
    columns = {name: [x] for name, x in run.thermo.items()}
    columns["pressure_bar"] = [values]
    if n_sites:
        one = ideal_pressure_bar(1, temperature, run.thermo["volume_A3"])
        for c in COMPONENTS[:3]:
            if f"p{c}_bar" in columns:
                columns[f"p{c}_bar"] = [run.thermo[f"p{c}_bar"] + one]
    transient = max(transient_end(columns[name][0]) for name in LEADING)
    series = Series(
        time=[run.thermo["time_ps"]],
        columns=columns,
        whole=False,
        transient=transient,
        file=run.path / "thermo.csv",
    )
    return series, method


def _add_frames(
    section: dict[str, Any], measured: Measurement, found: Scan, context: Context, start: float
) -> None:
    """Measure the trajectory of a run from ``start`` (ps) on, and compare it."""
    path, reference = found.file, context.reference
    if reference is None:
        raise RuntimeError("a run section needs a reference section before it")
    topology = reference.system.sites()

    def frames() -> Iterator[tuple[int, CGFrame]]:
        for index, (replica, frame) in enumerate(replica_frames([path])):
            if index == 0:
                require_same_beads(topology, frame.topology, context.name, path)
                section["n_sites"] = frame.topology.n_sites
            if frame.time is None or frame.time >= start - 1e-6:
                yield replica, frame
            elif index == found.n_frames - 1:
                raise DataError(f"no frame after the equilibration at {start:g} ps", file=path)

    with progress(f"run {section['name']}", found.n_frames, quiet=context.quiet) as advance:
        measured.collect(frames(), advance)
    if measured.n_frames < MIN_SAMPLES:
        raise DataError(
            f"{measured.n_frames} frames after the equilibration at {start:g} ps; expected at "
            f"least {MIN_SAMPLES} for a mean with an error",
            file=path,
        )
    section["n_frames"] = measured.n_frames
    section["n_frames_dropped"] = found.n_frames - measured.n_frames
    section.update(measured.results("frames"))
    section["comparison"] = measured.compare(reference)
    for kind in OF_FRAMES:
        section["headline"] |= kind.headline(section["comparison"].get(kind.name, {}))
