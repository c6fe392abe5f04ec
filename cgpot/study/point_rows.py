# SPDX-License-Identifier: GPL-2.0-or-later
"""One row for each point, from the files that its stages left."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_text
from cgpot.study.columns import COLUMNS
from cgpot.study.points import LINEAR, Point, model_type
from cgpot.study.stage_commands import Surroundings, training_folder
from cgpot.study.state import DONE, FAILED, PointFolder
from cgpot.study.study_speed import BESIDE, read_speed, speed_columns

Row = dict[str, Any]
LIQUID = 0.2
"""Relative deviation from the atomistic density up to which an NPT run counts as a liquid."""
LINEAR_LOSS = ("virial", "match_mean_virial", "match_slope")
"""Keys of the section model that tell whether a linear model is fitted to stress."""


def collect(points: Sequence[Point], around: Surroundings) -> list[Row]:
    """A row for every point, in order; what is not there stays empty."""
    rows = [row(point, around.point(point.name)) for point in points]
    losses = {item["point"]: item["loss"] for item in rows}
    for point, item in zip(points, rows, strict=True):
        teacher = point.teacher
        if teacher is not None:  # its labels are those that the teacher learned from
            item["loss"] = losses.get(teacher, item["loss"])
    return rows


def row(point: Point, folder: PointFolder) -> Row:
    """The row of one point."""
    record = folder.read()
    train = point.train
    trained = training_folder(point, folder)
    finished = _finished(record)
    result = _json(trained / "result.json") if finished(trained.name) else {}
    analysis = _json(folder.stage("analyze") / "analysis.json") if finished("analyze") else {}
    nvt_record = _json(folder.stage("nvt") / "md.json")
    model = train.get("model") or {}
    found: Row = dict.fromkeys(COLUMNS)
    found.update(
        point=point.name,
        family=point.family,
        model=str(result.get("kind") or point.model_type),
        settings=settings_text(point),
        loss=loss_text(train),
        frames=result.get("n_train", (train.get("data") or {}).get("frames")),
        seed=train.get("seed", 1),
        epochs=result.get("epochs"),
        cutoff_A=result.get("cutoff", model.get("cutoff")),
        l_max=model.get("l_max"),
        parameters=result.get("n_parameters"),
        state=record.get("state"),
        failure=record.get("failure"),
    )
    found.update(_training(result))
    found.update(_runs(analysis))
    if not found["model"] or found["model"] == "network":
        found["model"] = point.model_type
    found.update(_preset(trained, found))
    if found["stable_ns"] is None and nvt_record:
        found["stable_ns"] = stable_ns(nvt_record)
    if found["ns_per_day"] is None:
        found["ns_per_day"] = nvt_record.get("ns_per_day")
    if found["ns_per_day"] is not None:
        found["speed_measured"] = BESIDE
    found.update(speed_columns(record, read_speed(folder), refined=point.refine is not None))
    found["npt_phase"] = npt_phase(folder, record, found)
    for column, name in (("train_seconds", trained.name), ("compile_seconds", "deploy")):
        stage = record["stages"].get(name, {})
        found[column] = stage.get("seconds") if stage.get("state") == DONE else None
    return {key: _plain(value) for key, value in found.items()}


def _finished(record: Mapping[str, Any]) -> Any:
    stages = record["stages"]
    return lambda name: stages.get(name, {}).get("state") == DONE


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}


def _training(result: Mapping[str, Any]) -> Row:
    residual = result.get("pressure_residual_bar") or {}
    return {
        "force_rmse_eV_A": result.get("force_rmse"),
        "force_rmse_pair_fit_eV_A": result.get("force_rmse_pair_fit"),
        "stress_rmse_eV_A3": result.get("stress_rmse"),
        "pressure_residual_bar": residual.get("mean"),
        "pressure_residual_error_bar": residual.get("error"),
    }


def _preset(trained: Path, found: Row) -> Row:
    """Cutoff and l_max as the training resolved them (a preset's are not in the settings)."""
    config = (_json(trained / "inputs.json").get("config") or {}).get("model") or {}
    return {
        "cutoff_A": config.get("cutoff", found["cutoff_A"]),
        "l_max": config.get("l_max", found["l_max"]),
    }


def _runs(analysis: Mapping[str, Any]) -> Row:
    if not analysis:
        return {}
    reference = analysis.get("reference") or {}
    runs: dict[Any, Row] = {run.get("ensemble"): run for run in analysis.get("runs") or []}
    nvt = runs.get("nvt") or {}
    npt = runs.get("npt") or {}
    nve = runs.get("nve") or {}
    diffusion = nvt.get("diffusion") or {}
    drift = nve.get("energy_drift") or {}
    aa = analysis.get("density_aa") or {}
    found = {
        **(nvt.get("headline") or {}),
        "density_aa_kg_m3": aa.get("value"),
        "density_aa_error_kg_m3": aa.get("error"),
        "diffusion_m2_s": diffusion.get("value"),
        "diffusion_error_m2_s": diffusion.get("error"),
        "energy_drift_per_ps": drift.get("relative_per_ps"),
        "stable_ns": nvt.get("stable_ns"),
        "ns_per_day": nvt.get("ns_per_day"),
        "cpu_use_percent": nvt.get("cpu_use_percent"),
    }
    for section, name, suffix, unit in (
        (nvt, "pressure", "", "bar"),
        (reference, "pressure", "_aa", "bar"),
        (npt, "density", "", "kg_m3"),
    ):
        value = section.get(name) or {}
        found[f"{name}{suffix}_{unit}"] = value.get("mean")
        found[f"{name}{suffix}_error_{unit}"] = value.get("error")
    return found


def npt_phase(folder: PointFolder, record: Mapping[str, Any], found: Row) -> str | None:
    """What the fluid became in the NPT run: liquid, boiled, dense or failed; None: not run.

    The density is that of the last quarter of the run (or the analysed one, where the table of
    the run is not there), the reference the atomistic one, or else that of the start.
    """
    state = (record["stages"].get("npt") or {}).get("state")
    if state != DONE:
        return FAILED if state == FAILED else None
    where = folder.stage("npt")
    density = _last_density(where / "thermo.csv") or found["density_kg_m3"]
    reference = found["density_aa_kg_m3"] or _json(where / "md.json").get("start_density_kg_m3")
    if not density or not reference:
        return None
    ratio = float(density) / float(reference)
    if abs(ratio - 1.0) <= LIQUID:
        return "liquid"
    return "boiled" if ratio < 1.0 else "dense"


def _last_density(path: Path) -> float | None:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            values = [float(line["density_kg_m3"]) for line in csv.DictReader(stream)]
    except (OSError, KeyError, TypeError, ValueError):
        return None
    last = values[-max(1, len(values) // 4) :]
    return sum(last) / len(last) if last else None


def state_text(item: Mapping[str, Any]) -> str:
    """State of a point for readers: ``done``, or ``done, boiled`` where it is no liquid."""
    state, phase = str(item.get("state")), item.get("npt_phase")
    return f"{state}, {phase}" if state == DONE and phase not in (None, "liquid") else state


def stable_ns(md: Mapping[str, Any]) -> float | None:
    """Simulated time until the first failure that is the model's, ns."""
    timestep, total = md.get("timestep_fs"), md.get("ns")
    if not isinstance(timestep, int | float) or not isinstance(total, int | float):
        return None
    steps = [
        item.get("step")
        for item in md.get("failures") or []
        if not str(item.get("message", "")).startswith("LAMMPS was ended by")
    ]
    if any(step is None for step in steps):
        return 0.0
    times = [float(step) * float(timestep) * 1e-6 for step in steps if step is not None]
    return min([float(total), *times])


def loss_text(train: Mapping[str, Any]) -> str:
    """``forces`` or ``forces + stress``."""
    model = train.get("model") or {}
    kind = model_type(model)
    if kind in LINEAR:
        defaults = ("auto", True, False) if kind == "uf3" else (None, False, False)
        keys = [model.get(k, d) for k, d in zip(LINEAR_LOSS, defaults, strict=True)]
        return "forces + stress" if any(keys) else "forces"
    loss = train.get("loss") or {}
    names = [
        name
        for name in ("energy", "forces", "stress")
        if loss.get(name, None if name == "energy" else "auto") not in (None, 0, 0.0)
    ]
    return " + ".join(names)


def settings_text(point: Point) -> str:
    """What the point changes, in a line (not the runs, nor what has its own column)."""
    own = (
        *("loss.", "md.", "seed", "data.frames", "prior.match_mean_virial", "prior.refit"),
        *("model.virial", "model.match_mean_virial"),
    )
    parts = [
        f"{key.removeprefix('model.').removeprefix('optimiser.')}={_short(value)}"
        for key, value in point.changes.items()
        if not key.startswith((*own, "distill."))
    ]
    if point.distill is not None:
        parts.append(f"teacher={point.teacher or Path(point.distill.teacher).name}")
    return ", ".join(parts)


def _short(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def csv_text(rows: Sequence[Row]) -> str:
    """The table as CSV; six significant digits, empty where a value is not there."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in rows:
        writer.writerow([_cell(item.get(name)) for name in COLUMNS])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """Write results.csv."""
    return write_text(path, csv_text(rows))
