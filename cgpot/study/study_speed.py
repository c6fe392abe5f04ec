# SPDX-License-Identifier: GPL-2.0-or-later
"""Speeds of a study's models, timed one after the other with nothing of the study beside them.

The runs of the points share the machine with whatever runs beside them; their ns/day compare
models only roughly.  After the points, each deployed model runs once more, alone and short.
The result stands in ``speed.json`` of the point's folder, outside the record of its stages:
no point is run again for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from cgpot.core.errors import CgpotError, InputError
from cgpot.core.files import read_json, write_json, write_text
from cgpot.study.points import Point
from cgpot.study.stage_commands import Surroundings, potential
from cgpot.study.stage_process import failure_text, run_stage
from cgpot.study.state import DONE, FAILED, PointFolder, in_work, try_lock
from cgpot.study.study_settings import SpeedConfig, StudyConfig

FORMAT = "cgpot-study-speed-1"
RECORD = "speed.json"
STAGE = "speed"
ALONE, BESIDE = "alone", "beside others"
BUSY = "busy"
"""State of a timing beside other programs: it is repeated by the next call, and not used."""
BUSY_PERCENT = 90.0
"""CPU use below which something else took part of the core."""
Say = Callable[[str], None]


def measure_speeds(
    config: StudyConfig,
    around: Surroundings,
    points: Sequence[Point],
    say: Say,
    *,
    retry: bool = False,
    stop: threading.Event | None = None,
) -> dict[str, str]:
    """Time the deployed model of every point that has run; what is timed already is skipped.

    Args:
        config: the study.
        around: what all points share.
        points: the points to time, in order.
        say: where lines about what happens go.
        retry: time those again that failed.
        stop: set to stop.

    Returns:
        Name -> ``done``, ``failed``, ``busy`` (other programs ran), or why it was not timed.

    Raises:
        KeyboardInterrupt: stopped by the user; the same call times the rest.
    """
    settings = config.speed or SpeedConfig()
    states: dict[str, str] = {}
    with try_lock(around.folder / ".speed.lock") as first:
        if first is None:
            say("speed: another process measures it")
            return states
        for point in points:
            folder = around.point(point.name)
            base = finished_base(folder.read(), refined=point.refine is not None)
            if base is None:
                states[point.name] = "not run yet"
                continue
            key = _key(point, base, settings)
            known = read_speed(folder)
            again = ("", BUSY, FAILED) if retry else ("", BUSY)
            if known.get("key") == key and known.get("state", "") not in again:
                states[point.name] = str(known["state"])
                continue
            every = sorted(path.name for path in (around.folder / "points").iterdir())
            others = [name for name in every if name != point.name]
            working = [name for name in others if in_work(around.point(name))]
            with try_lock(folder.path / ".lock") as lock:
                if working or lock is None:
                    name = point.name if lock is None else working[0]
                    say(f"speed: {name} is in work; give the command again when it is done")
                    states[point.name] = "others are in work"
                    return states
                record = _measure(point, around, settings, config, stop, lock)
            write_json(folder.path / RECORD, {"format": FORMAT, "key": key, "base": base, **record})
            states[point.name] = str(record["state"])
            say(f"{point.name}: speed {_words(record)}")
    return states


def finished_base(record: Mapping[str, Any], *, refined: bool) -> str | None:
    """Key of the stage that made the potential of a point that has run at constant volume."""
    stages = record.get("stages") or {}
    last = stages.get("refine" if refined else "deploy") or {}
    run = stages.get("nvt") or {}
    if last.get("state") != DONE or run.get("state") != DONE:
        return None
    return str(last.get("key"))


def read_speed(folder: PointFolder) -> dict[str, Any]:
    """The record of a point's timing; empty where there is none or it is damaged."""
    try:
        record = read_json(folder.path / RECORD)
    except InputError:
        return {}
    good = isinstance(record, dict) and record.get("format") == FORMAT
    return record if good else {}


def _key(point: Point, base: str, settings: SpeedConfig) -> str:
    parts = [base, point.md["nvt"], settings.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def timed_steps(settings: SpeedConfig, nvt: Mapping[str, Any]) -> int:
    """At least ``steps``, and as many as by the NVT run take ``seconds`` (at most its length)."""
    speed, timestep = nvt.get("ns_per_day"), nvt.get("timestep_fs")
    if not speed or not timestep:
        return settings.steps
    a_second = float(speed) / 86400.0 / (float(timestep) * 1e-6)
    return max(settings.steps, round(a_second * settings.seconds))


def _measure(
    point: Point,
    around: Surroundings,
    settings: SpeedConfig,
    config: StudyConfig,
    stop: threading.Event | None,
    lock: int,
) -> dict[str, Any]:
    """Run the model from the start file of its NVT run and read the speed."""
    folder = around.point(point.name)
    output = folder.stage(STAGE)
    shutil.rmtree(output, ignore_errors=True)  # a timing in two parts would be none
    load = os.getloadavg()[0]
    before = read_json(folder.stage("nvt") / "md.json")
    steps = timed_steps(settings, before)
    md = {k: v for k, v in point.md["nvt"].items() if k not in ("walltime", "dump_forces")}
    length = steps * float(before["timestep_fs"]) / 1000.0
    md |= {"length_ps": length, "dump_ps": length, "restart_ps": length}
    md["thermo_ps"] = length / 10.0  # writing is no part of a model's speed
    file = folder.path / "md_speed.yaml"
    write_text(file, yaml.safe_dump(md, sort_keys=False, allow_unicode=True))
    facts: dict[str, Any] = {"steps": steps, "load_before": round(load, 2)}
    try:
        option, model = potential(folder, point.refine is not None)
    except CgpotError as err:
        return {"state": FAILED, "message": str(err), **facts}
    words = ["md", "nvt", str(file), option, str(model), "--start", str(around.start)]
    if md.get("temperature") is None:
        words += ["--temperature", str(point.temperature)]
    ended = run_stage(
        [*around.program, *words, "--quiet", "--output", str(output)],
        folder.log(STAGE),
        threads=config.threads,
        limit=60.0 * config.stage_minutes if config.stage_minutes else None,
        stop=stop,
        lock=lock,
    )
    if ended.status != 0 or ended.timed_out:
        message = failure_text(folder.log(STAGE), ended.status)
        return {"state": FAILED, "message": "too long" if ended.timed_out else message, **facts}
    found = read_json(output / "md.json")
    segments = found.get("segments") or [{}]
    use = segments[-1].get("cpu_use_percent")
    return {
        "state": BUSY if isinstance(use, int | float) and use < BUSY_PERCENT else DONE,
        **facts,
        "ns_per_day": found.get("ns_per_day"),
        "cpu_use_percent": use,
        "threads": found.get("threads"),
    }


def _words(record: Mapping[str, Any]) -> str:
    if record["state"] == FAILED or not record.get("ns_per_day"):
        return f"failed: {record.get('message', 'no time was measured')}"
    text = f"{record['ns_per_day']:.3g} ns/day over {record['steps']} steps"
    if record["state"] == BUSY:
        text += f", not used: other programs left {record['cpu_use_percent']:.0f} % of a core; "
        text += "the same command times it again"
    return text


def speed_columns(
    record: Mapping[str, Any], speed: Mapping[str, Any], *, refined: bool
) -> dict[str, Any]:
    """Columns of a model timed alone; empty where it was not, or another model was."""
    current = finished_base(record, refined=refined)
    timed = speed.get("state") == DONE and speed.get("ns_per_day")
    if not timed or current is None or speed.get("base") != current:
        return {}
    return {
        "ns_per_day": speed["ns_per_day"],
        "cpu_use_percent": speed.get("cpu_use_percent"),
        "speed_measured": ALONE,
    }
