# SPDX-License-Identifier: GPL-2.0-or-later
"""Sections of analysis.json: one for each reference and each run, all made alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.cg_run import RunFolder
from cgpot.analysis.collect import Collected, angles_summary, collect, diffusion_summary
from cgpot.analysis.compare import compare_rdf, halves_error
from cgpot.analysis.pairs import PairRDF
from cgpot.analysis.series import (
    compressibility,
    energy_drift,
    mean_of_replicas,
    plot_series,
    transient_end,
)
from cgpot.analysis.sources import Scan, replica_frames, require_same_beads
from cgpot.core.errors import DataError
from cgpot.core.progress import progress
from cgpot.core.statistics import MIN_SAMPLES
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.rdf import first_peak

Array = NDArray[np.float64]


@dataclass
class Context:
    """What all sections share; the first reference sets beads, shell radii and g(r).

    Attributes:
        temperature: K.
        r_max: upper end of g(r), Å.
        bins: number of bins.
        quiet: no progress bar.
        topology: beads of the first reference.
        name: its file.
        radii: first minimum of its g(r) by pair, Å.
        rdf: its g(r) by pair.
    """

    temperature: float
    r_max: float
    bins: int
    quiet: bool
    topology: Topology | None = None
    name: str = ""
    radii: dict[str, float] = field(default_factory=dict)
    rdf: dict[str, PairRDF] = field(default_factory=dict)


def reference_section(
    paths: Sequence[Path], scans: Sequence[Scan], context: Context, what: str
) -> dict[str, Any]:
    """Structure, density, pressure and compressibility of a mapped data set (all its frames).

    Raises:
        InputError: files of different systems.
        DataError: NaN, or r_max beyond half the box.
    """
    total = sum(s.n_frames for s in scans)
    with progress(f"{what}", total, quiet=context.quiet) as advance:
        data = collect(
            replica_frames(paths),
            temperature=context.temperature,
            r_max=context.r_max,
            bins=context.bins,
            files=[str(p) for p in paths],
            advance=advance,
        )
    if context.topology is None:
        context.topology, context.name = data.topology, str(paths[0])
        context.rdf = data.rdf
        for label, rdf in data.rdf.items():
            radius = rdf.first_minimum()
            if radius is not None:
                context.radii[label] = radius
    else:
        require_same_beads(context.topology, data.topology, context.name, paths[0])
    section: dict[str, Any] = {
        "files": [str(p) for p in paths],
        "manifests": [s.manifest for s in scans],
        "ensemble": "nvt" if data.constant_volume else "npt",
        "n_sites": data.topology.n_sites,
        "n_frames": data.n_frames,
        "frames_by_file": [s.n_frames for s in scans],
        "time_ps": [float(t[-1] - t[0]) for t in data.time],
        "volume_A3": float(np.concatenate(data.volume).mean()),
        "density": {**mean_of_replicas(data.density, detect=False), "unit": "kg/m3"},
        "pressure": None,
        "compressibility": None,
        "series": {"density": plot_series(data.time[0], data.density[0])},
        "notes": [],
    }
    if data.pressure is not None:
        section["pressure"] = {**mean_of_replicas(data.pressure, detect=False), "unit": "bar"}
        section["series"]["pressure"] = plot_series(data.time[0], data.pressure[0])
        _note_equilibration(section, "pressure", data.pressure)
    if not data.constant_volume:
        section["compressibility"] = compressibility(data.volume, context.temperature)
        _note_equilibration(section, "density", data.density)
    _structure(section, data, context)
    return section


def _note_equilibration(section: dict[str, Any], key: str, parts: Sequence[Array]) -> None:
    """Data sets are used whole; say so where the start looks different from the rest."""
    detected = mean_of_replicas(parts, detect=True)
    used = section[key]
    section[key]["start_detected"] = detected["start"]
    if abs(detected["mean"] - used["mean"]) > 3.0 * max(detected["error"], 1e-12):
        section["notes"].append(
            f"the {key} over all frames, {used['mean']:.1f}, differs from {detected['mean']:.1f} ± "
            f"{detected['error']:.1f} {used['unit']} after the detected equilibration "
            f"({sum(detected['start'])} frames): the data set may hold unequilibrated frames"
        )


def _structure(section: dict[str, Any], data: Collected, context: Context) -> None:
    section["rdf"] = {}
    for label, rdf in data.rdf.items():
        radius = context.radii.get(label)
        section["rdf"][label] = {
            "r_A": rdf.r.tolist(),
            "g": rdf.g.tolist(),
            "error": rdf.error.tolist(),
            "halves": rdf.halves.tolist(),
            "halves_error": halves_error(rdf),
            "peak": rdf.peak(),
            "halves_peak_height": [first_peak(rdf.r, half)[1] for half in rdf.halves],
            "coordination": None if radius is None else rdf.neighbours(radius),
            "n_frames": rdf.n_frames,
        }
    section["angles"] = angles_summary(data, context.radii)
    section["diffusion"] = diffusion_summary(data)
    if section["diffusion"] is None:
        section["notes"].append(f"no diffusion coefficient: {data.diffusion_problem}")


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
    values, method = run.pressure(context.temperature, n_sites)
    observed = {
        "temperature": (run.thermo["temperature_K"], "temperature_K", "K"),
        "density": (run.thermo["density_kg_m3"], "density_kg_m3", "kg/m3"),
        "pressure": (values, "pressure_bar", "bar"),
        "energy": (run.thermo["pe_eV"], "pe_eV", "eV"),
    }
    transient = max(transient_end(x) for x, _, _ in observed.values())
    means = {key: _mean_of(run, *item, transient) for key, item in observed.items()}
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
        "temperature": means["temperature"],
        "density": means["density"],
        "pressure": {**means["pressure"], "method": method},
        "compressibility": None,
        "energy_drift": None,
        "rdf": None,
        "angles": {},
        "diffusion": None,
        "comparison": {},
        "series": {
            key: plot_series(time, run.thermo[column])
            for key, column in (
                ("temperature", "temperature_K"),
                ("density", "density_kg_m3"),
                ("potential_energy", "pe_eV"),
                ("total_energy", "etotal_eV"),
            )
        },
        "notes": [],
    }
    section["series"]["pressure"] = plot_series(time, values)
    leading = [means["energy"], means["density" if run.ensemble == "npt" else "pressure"]]
    start = max(e["start"][0] for e in leading)
    section["equilibration_ps"] = float(time[start] - time[0])
    if start >= 0.45 * n:
        section["notes"].append(
            f"equilibration takes about half of its {time[-1] - time[0]:.0f} ps: it is too "
            "short, or drifts"
        )
    if run.ensemble == "npt":
        try:
            section["compressibility"] = compressibility(
                [run.thermo["volume_A3"][transient:]], context.temperature
            )
        except DataError as err:
            section["notes"].append(f"no compressibility: {err}")
    if found is not None and run.trajectory is not None:
        _run_structure(section, run, found, context, float(time[start]))
    else:
        section["notes"].append("the run wrote no trajectory: no g(r)")
    if run.ensemble == "nve" and n_sites:
        section["energy_drift"] = energy_drift(
            time, run.thermo["etotal_eV"], run.thermo["ke_eV"], n_sites
        )
    return section


def _mean_of(
    run: RunFolder, values: Array, column: str, unit: str, transient: int
) -> dict[str, Any]:
    """Mean of a column behind the transient, or behind its own equilibration without one.

    At most the first half is dropped: a later start leaves too little to tell slow
    fluctuation from drift, and its error would be too small.
    """
    skip, half = transient, len(values) // 2
    try:
        found = mean_of_replicas([values[skip:]], detect=transient == 0)
        if found["start"][0] > half:
            skip = half
            found = mean_of_replicas([values[skip:]], detect=False)
    except DataError as err:
        raise DataError(err.message, file=run.path / "thermo.csv", key=column) from err
    found["start"] = [found["start"][0] + skip]
    time = run.thermo["time_ps"]
    return {**found, "unit": unit, "start_ps": float(time[found["start"][0]] - time[0])}


def _run_structure(
    section: dict[str, Any], run: RunFolder, found: Scan, context: Context, start: float
) -> None:
    path = found.file
    topology = context.topology
    if topology is None:
        raise RuntimeError("a run section needs a reference section before it")

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
        data = collect(
            frames(),
            temperature=context.temperature,
            r_max=context.r_max,
            bins=context.bins,
            files=[str(path)],
            advance=advance,
        )
    if data.n_frames < MIN_SAMPLES:
        raise DataError(
            f"{data.n_frames} frames after the equilibration at {start:g} ps; expected at least "
            f"{MIN_SAMPLES} for a mean with an error",
            file=path,
        )
    section["n_frames"] = data.n_frames
    section["n_frames_dropped"] = found.n_frames - data.n_frames
    _structure(section, data, context)
    section["comparison"] = {
        label: compare_rdf(rdf, context.rdf[label])
        for label, rdf in data.rdf.items()
        if label in context.rdf
    }
