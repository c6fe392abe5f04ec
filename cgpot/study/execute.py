# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the stages of one point, from where they stopped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cgpot.core.errors import CgpotError
from cgpot.study.points import Point
from cgpot.study.stage_commands import Stage, Surroundings, command, plan
from cgpot.study.stage_process import Ended, Stopped, failure_text, run_stage
from cgpot.study.state import (
    DONE,
    FAILED,
    RUNNING,
    SKIPPED,
    WAITING,
    PointFolder,
)

Say = Callable[[str], None]


@dataclass
class PointRun:
    """The work on one point (whose lock the caller holds).

    Attributes:
        point: the point.
        around: what all points share.
        say: where lines about changes of state go.
        retry: run failed stages again.
        threads: of a stage.
        limit: seconds that a stage may take.
        stop: set to stop.
        lock: descriptor of the point's lock.
    """

    point: Point
    around: Surroundings
    say: Say
    retry: bool = False
    threads: int = 1
    limit: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    lock: int | None = None

    @property
    def folder(self) -> PointFolder:
        """The point's folder."""
        return self.around.point(self.point.name)

    def run(self) -> str:
        """Run what is not done; returns ``done`` or ``failed``.

        Raises:
            Stopped: the study was asked to stop; the same call goes on later.
        """
        record = self.folder.read()
        stages = plan(self.point, self.around)
        record = describe(self.point, record)
        names = [stage.name for stage in stages]
        record["stages"] = {k: v for k, v in record["stages"].items() if k in names}
        record["state"] = RUNNING
        self.folder.write(record)
        for number, stage in enumerate(stages):
            self._stage(stage, stages[number + 1 :], record)
        failures = [
            f"{name}: {item['message']}"
            for name in names
            if (item := record["stages"].get(name, {})).get("state") == FAILED
        ]
        notes = [item["note"] for item in record["stages"].values() if item.get("note")]
        record["failure"] = "; ".join([*failures, *notes]) or None
        record["state"] = FAILED if failures else DONE
        self.folder.write(record)
        return str(record["state"])

    def _stage(self, stage: Stage, later: list[Stage], record: dict[str, Any]) -> None:
        known = record["stages"].get(stage.name, {})
        states = {name: item.get("state") for name, item in record["stages"].items()}
        missing = [name for name in stage.needs if states.get(name) != DONE]
        if missing:
            record["stages"][stage.name] = {
                "key": stage.key,
                "state": SKIPPED,
                "message": f"{missing[0]} is not there",
            }
            return
        same = known.get("key") == stage.key
        output = self.folder.stage(stage.name)
        if same and known.get("state") == DONE and output.is_dir():
            return
        if same and known.get("state") == FAILED and not self.retry:
            return
        goes_on = same and known.get("state") in (RUNNING, WAITING)
        goes_on = goes_on or (same and known.get("state") == FAILED and known.get("resumable"))
        if not goes_on and output.is_dir():
            shutil.rmtree(output)
        renewed = {stage.name}
        for other in later:  # what was made from an earlier result of this stage
            if renewed & {*other.needs, *other.uses}:
                renewed.add(other.name)
                record["stages"].pop(other.name, None)
        before = float(known.get("seconds", 0.0)) if goes_on else 0.0
        item: dict[str, Any] = {"key": stage.key, "state": RUNNING, "seconds": before}
        record["stages"][stage.name] = item
        self.folder.write(record)
        self.say(f"{self.point.name}: {stage.name}{' goes on' if goes_on else ''}")
        start = time.monotonic()
        try:
            ended = self._run(stage, record, item)
        except Stopped:
            item.update(state=WAITING, seconds=round(before + time.monotonic() - start, 3))
            record["state"] = WAITING
            self.folder.write(record)
            raise
        except CgpotError as err:
            item.update(state=FAILED, message=str(err), seconds=before)
            self.say(f"{self.point.name}: {stage.name} failed: {err}")
            self.folder.write(record)
            return
        item["seconds"] = round(before + ended.seconds, 3)
        if ended.status == 0 and not ended.timed_out:
            item["state"] = DONE
            self.say(f"{self.point.name}: {stage.name} done in {clock(item['seconds'])}")
        else:
            if ended.timed_out:
                message = f"stopped after {clock(ended.seconds)}, the limit of a stage"
            elif ended.status == 3 and stage.name in ("nvt", "npt", "nve"):
                message = "stopped at its walltime"
            else:
                message = failure_text(self.folder.log(stage.name), ended.status)
            item.update(state=FAILED, message=message, resumable=ended.resumable)
            self.say(f"{self.point.name}: {stage.name} failed: {message}")
        self.folder.write(record)

    def _run(self, stage: Stage, record: dict[str, Any], item: dict[str, Any]) -> Ended:
        states = {name: entry.get("state") for name, entry in record["stages"].items()}
        runs = ("nvt", *(name for name in stage.uses if states.get(name) == DONE))
        ended = self._command(stage, runs)
        if stage.name == "analyze" and ended.status > 0 and len(runs) > 1:
            # a run that boiled or hardly moved must not cost the others their figures
            text = failure_text(self.folder.log(stage.name), ended.status)
            first = ended.seconds
            ended = self._command(stage, ("nvt",))
            ended = Ended(ended.status, first + ended.seconds, ended.timed_out)
            if ended.status == 0:
                item["note"] = f"analyze: NVT alone ({text})"
        return ended

    def _command(self, stage: Stage, runs: tuple[str, ...]) -> Ended:
        return run_stage(
            command(stage, self.point, self.around, runs=runs),
            self.folder.log(stage.name),
            threads=self.threads,
            limit=self.limit,
            stop=self.stop,
            lock=self.lock,
        )


def describe(point: Point, record: dict[str, Any]) -> dict[str, Any]:
    """The record with what the table needs to know about the point."""
    return {
        **record,
        "name": point.name,
        "family": point.family,
        "changes": point.changes,
        "train": point.train,
        "teacher": point.teacher or (point.distill.teacher if point.distill else None),
        "failure": None,
    }


def current_state(point: Point, around: Surroundings) -> tuple[str, str]:
    """State of a point without running it, and what to add (stage at work, or failure)."""
    folder = around.point(point.name)
    record = folder.read()
    stages = plan(point, around)
    known = record["stages"]
    failed = ""
    for stage in stages:
        item = known.get(stage.name, {})
        if item.get("key") != stage.key or item.get("state") in (RUNNING, WAITING, None):
            return WAITING, f"next: {stage.name}"
        if item["state"] == FAILED:
            failed = failed or f"{stage.name}: {item.get('message', '')}"
    return (FAILED, failed) if failed else (DONE, "")


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    if seconds >= 3600:
        return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{seconds:.0f} s"
