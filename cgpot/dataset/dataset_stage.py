# SPDX-License-Identifier: GPL-2.0-or-later
"""Build a data set: check mapped files, split them, write subsets, report and manifest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import atomic_path, thermo_path, write_json
from cgpot.core.manifest import check_manifest, write_manifest
from cgpot.core.progress import progress
from cgpot.dataset.labels import LabelStatistics
from cgpot.dataset.report import (
    build_report,
    read_engine_pressure,
    state_report,
)
from cgpot.dataset.split import SUBSETS, UNUSED, FrameIndex, SplitPlan, assign, scan
from cgpot.molecules.compositions import CommonTypes, composition_of
from cgpot.molecules.extxyz import ExtxyzWriter, read_frames
from cgpot.molecules.frame import Topology, state_name
from cgpot.molecules.molecular_virial import label_pressure
from cgpot.molecules.rdf import half_box

RDF_R_MAX = 15.0
RDF_BINS = 300
TEMPERATURE_TOLERANCE = 0.1


@dataclass(frozen=True)
class BuiltDataset:
    """What was made.

    Attributes:
        folder: where it is.
        counts: frames by subset, and ``unused``.
        report: the report as plain data.
    """

    folder: Path
    counts: dict[str, int]
    report: dict[str, Any]


def _common_temperature(
    records: Sequence[dict[str, Any]], files: Sequence[Path], several: bool = False
) -> float | None:
    """The temperature of all files, K; None where it is unknown, or ``several`` are allowed."""
    values = [r.get("temperature") for r in records]
    known = [v for v in values if v is not None]
    if len(known) not in (0, len(values)):
        raise DataError(
            "one of the files has no temperature while others have", file=files[values.index(None)]
        )
    if known and not several and max(known) - min(known) > TEMPERATURE_TOLERANCE:
        raise DataError(
            f"temperatures {known} K differ; expected runs at one temperature, because a PMF "
            "belongs to its temperature (--several-temperatures takes them all)",
            file=files[int(np.argmax(known))],
        )
    if several and not known:
        raise DataError(
            "several temperatures are asked for, but the mapped files name none", file=files[0]
        )
    if known and max(known) - min(known) > TEMPERATURE_TOLERANCE:
        return None
    return float(np.mean(known)) if known else None


def r_max_for(indices: Sequence[FrameIndex]) -> float:
    """Upper end of g(r): 15 Å or half the smallest box, Å (freud wants it below half)."""
    smallest = min(half_box(cell) for index in indices for cell in index.cells)
    return min(RDF_R_MAX, float(np.floor((smallest - 1e-3) * 100.0) / 100.0))


def report_path(data_set: str | Path) -> Path:
    """Name of the report beside a mapped file."""
    return thermo_path(data_set).with_name(
        thermo_path(data_set).name.removesuffix(".thermo.csv") + ".report.json"
    )


def report_on(path: str | Path, *, quiet: bool = False) -> dict[str, Any]:
    """The report on one mapped file, without a split.

    Raises:
        CgpotError: not a file of ``cgpot map``, changed since, or damaged.
    """
    p = Path(path)
    record = check_manifest(p, stage="mapping")
    index = scan(p)
    temperature = record.get("temperature")
    statistics = LabelStatistics(r_max_for([index]), RDF_BINS, temperature)
    pressures = read_engine_pressure(p)
    engine: list[float] = []
    topology: Topology | None = None
    with progress("checking labels", len(index), quiet=quiet) as advance:
        for frame in read_frames(p):
            topology = topology or frame.topology
            statistics.add(frame)
            if frame.source_frame in pressures:
                engine.append(pressures[frame.source_frame])
            advance(1)
    if topology is None:
        raise InputError("no frames in the data set", file=p)
    return build_report(
        [statistics],
        [topology],
        engine=[engine],
        temperature=temperature,
        sources=[_source(p, record)],
    )


def _source(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": record["outputs"][0]["sha256"],
        "n_frames": record.get("n_frames"),
        "virial": record.get("virial"),
        "pressure_check_bar": record.get("pressure_check_bar"),
        "accept_pressure_mismatch": record.get("options", {}).get("accept_pressure_mismatch"),
        "notes": record.get("notes"),
        **({"left_out": record["left_out"]} if record.get("left_out") else {}),
    }


def build_dataset(
    inputs: Sequence[str | Path],
    folder: str | Path,
    plan: SplitPlan,
    *,
    begin: float | None = None,
    stride: int = 1,
    compress: bool = True,
    several_temperatures: bool = False,
    quiet: bool = False,
) -> BuiltDataset:
    """Split mapped files and report on their labels.

    Every file is one run and is split on its own: training, gap, validation, gap, test in
    order of time.  Files may be of several compositions (pure liquids and mixtures), which share
    their bead types and species by name; each is then in all subsets.  The statistics are over
    all frames after ``begin``, the gaps included.
    Every written frame carries the temperature of its run and the name of its state point
    (`cgpot.molecules.frame.state_name`, with the mean density of the run).

    Args:
        inputs: files written by ``cgpot map``.
        folder: where ``train``, ``val``, ``test`` (.extxyz.xz) and ``report.json`` go.
        plan: fractions and gap.
        begin: frames before this time (ps) are dropped from every file.
        stride: take every n-th frame.
        compress: write .extxyz.xz, else .extxyz.
        several_temperatures: take runs at different temperatures.
        quiet: no progress bar.

    Raises:
        ConfigError: a split that leaves a subset empty, a file given twice.
        InputError: damaged files, or bead types or species of one name that differ.
        ManifestError: not files of ``cgpot map``, or changed since.
        DataError: different temperatures, virials in some files only.
    """
    files = [Path(p) for p in inputs]
    if not files:
        raise ConfigError("no mapped file given")
    if len({p.resolve() for p in files}) != len(files):
        raise ConfigError("a mapped file is given twice; its frames would be in two subsets")
    if stride < 1:
        raise ConfigError(f"stride {stride}; expected 1 or more")
    plan.check()
    records = [check_manifest(p, stage="mapping") for p in files]
    temperature = _common_temperature(records, files, several_temperatures)
    own: list[float | None] = [record.get("temperature") for record in records]
    indices = [scan(p) for p in files]
    subsets = [assign(i, plan, begin) for i in indices]
    r_max = r_max_for(indices)
    suffix = ".extxyz.xz" if compress else ".extxyz"
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    names = [s for k, s in enumerate(SUBSETS) if plan.fractions[k] > 0.0]
    paths = {name: out / f"{name}{suffix}" for name in names}
    report_file = out / "report.json"

    runs: list[LabelStatistics] = []
    states: list[str] = []
    engine: list[list[float]] = []
    pressures: dict[str, list[float]] = {name: [] for name in names}
    counts = dict.fromkeys((*names, "unused"), 0)
    firsts = [next(read_frames(p)).topology for p in files]
    types = CommonTypes(firsts, files)
    several = len({composition_of(topology) for topology in firsts}) > 1
    with ExitStack() as stack:
        writers = {name: stack.enter_context(ExtxyzWriter(p)) for name, p in paths.items()}
        final_report = stack.enter_context(atomic_path(report_file))
        advance = stack.enter_context(
            progress("splitting", sum(len(i) for i in indices), quiet=quiet)
        )
        for run, (path, subset) in enumerate(zip(files, subsets, strict=True)):
            statistics = LabelStatistics(r_max, RDF_BINS, own[run])
            state: str | None = None
            known = read_engine_pressure(path)
            mine: list[float] = []
            for number, frame in enumerate(read_frames(path)):
                advance(1)
                frame.topology = types.of(frame.topology)
                late = begin is None or (frame.time is not None and frame.time >= begin - 1e-6)
                if not late or number % stride:
                    counts["unused"] += 1
                    continue
                if state is None:
                    mean_volume = float(np.abs(np.linalg.det(indices[run].cells)).mean())
                    state = state_name(own[run], frame.density * frame.volume / mean_volume)
                    if several:
                        state += "-" + composition_of(frame.topology).replace(", ", "+").replace(
                            " ", ""
                        )
                    states.append(state)
                frame.temperature, frame.state = own[run], state
                statistics.add(frame)
                if frame.source_frame in known:
                    mine.append(known[frame.source_frame])
                if subset[number] == UNUSED:
                    counts["unused"] += 1
                    continue
                name = SUBSETS[subset[number]]
                writers[name].write(frame)
                counts[name] += 1
                if frame.virial is not None and frame.temperature is not None:
                    pressures[name].append(label_pressure(frame, frame.temperature))
            if len(statistics.stress) not in (0, statistics.n_frames):
                raise DataError("some frames have stress labels and some have none", file=path)
            runs.append(statistics)
            engine.append(mine)
        if len({bool(r.stress) for r in runs}) > 1:
            raise DataError("some files have stress labels and some have none", file=files[0])
        empty = [name for name in names if counts[name] == 0]
        if empty:
            raise ConfigError(f"the {empty[0]} set gets no frame (stride {stride})")
        report = build_report(
            runs,
            [types.of(topology) for topology in firsts],
            engine=engine,
            temperature=temperature,
            sources=[_source(p, r) for p, r in zip(files, records, strict=True)],
            subsets={
                name: {
                    "file": paths[name].name,
                    "n_frames": counts[name],
                    "pressure_label_bar_mean": float(np.mean(pressures[name]))
                    if pressures[name]
                    else None,
                }
                for name in names
            },
        )
        report["states"] = state_report(states, own, runs)
        report["split"] = {
            "fractions": list(plan.fractions),
            "gap_ps": plan.gap_ps,
            "gap_frames": plan.gap_frames,
            "begin_ps": begin,
            "stride": stride,
            "unused": counts["unused"],
        }
        write_json(final_report, report)
    write_manifest(
        report_file,
        stage="dataset",
        inputs={"mapped": files},
        outputs=list(paths.values()),
        config=report["split"],
        extra={
            "counts": counts,
            "temperature": temperature,
            "temperatures": own,
            "bead_type_names": list(types.names),
            "bead_type_masses": list(types.masses),
        },
    )
    return BuiltDataset(out, counts, report)
