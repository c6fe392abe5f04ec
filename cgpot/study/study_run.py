# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a study: the data set, then the points, by several workers or several processes."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError, ToolError
from cgpot.core.files import read_json, sha256_file, write_json
from cgpot.study.execute import PointRun, clock, current_state
from cgpot.study.points import Point
from cgpot.study.stage_commands import PROGRAM, Surroundings, surroundings
from cgpot.study.stage_process import Stopped, failure_text, run_stage
from cgpot.study.state import DONE, FAILED, WAITING, in_work, try_lock, wait_lock
from cgpot.study.study_settings import StudyConfig

POLL_SECONDS = 1.0
BUSY = "busy"


def say(text: str) -> None:
    """One line about a change of state, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def prepare_dataset(config: StudyConfig, folder: Path, program: Sequence[str] = PROGRAM) -> Path:
    """The folder of the data set; mapped files are split first, once for all processes.

    Raises:
        ToolError: `cgpot dataset` failed.
    """
    if config.dataset.folder is not None:
        return config.dataset.folder
    target, record = folder / "dataset", folder / "dataset.json"
    digests = [sha256_file(p) for p in config.dataset.mapped]
    text = json.dumps([digests, config.dataset.options], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    with wait_lock(folder / ".dataset.lock"):
        if record.is_file() and target.is_dir() and read_json(record).get("key") == key:
            return target
        say("data set: splitting the mapped files")
        log = folder / "logs" / "dataset.log"
        words = [*program, "dataset", *map(str, config.dataset.mapped), "--quiet"]
        for name, value in config.dataset.options.items():
            words += [f"--{name}", f"{value:g}"]
        ended = run_stage([*words, "--output", str(target)], log)
        if ended.status != 0:
            raise ToolError(failure_text(log, ended.status), file=log)
        write_json(record, {"key": key})
    return target


def select(
    points: Sequence[Point],
    *,
    only: Sequence[str] = (),
    task: int | None = None,
    tasks: int | None = None,
) -> list[Point]:
    """The points of one process; teachers come along.

    Args:
        points: all points.
        only: names; all if empty.
        task: number of this process, from 0.
        tasks: number of processes.

    Raises:
        ConfigError: an unknown name, or numbers that do not fit.
    """
    names = [point.name for point in points]
    for name in only:
        if name not in names:
            raise ConfigError(f"no point {name!r}; expected one of {', '.join(names)}")
    chosen = [point for point in points if not only or point.name in only]
    if (task is None) != (tasks is None):
        raise ConfigError("give both --task-id and --tasks, or none of them")
    if task is not None and tasks is not None:
        if not 0 <= task < tasks:
            raise ConfigError(f"--task-id {task}; expected 0 to {tasks - 1}")
        chosen = [
            point for group in groups(points)[task::tasks] for point in group if point in chosen
        ]
    wanted = {point.name for point in chosen}
    teachers = {point.name: point.teacher for point in points}
    for point in chosen:
        teacher = point.teacher
        while teacher is not None:
            wanted.add(teacher)
            teacher = teachers[teacher]
    return [point for point in points if point.name in wanted]


def groups(points: Sequence[Point]) -> list[list[Point]]:
    """Points that must be run by one process: a teacher and its students."""
    by_name = {point.name: point for point in points}
    found: dict[str, list[Point]] = {}
    for point in points:
        root = point
        while root.teacher is not None:
            root = by_name[root.teacher]
        found.setdefault(root.name, []).append(point)
    return list(found.values())


@dataclass
class Driver:
    """Workers that share the points of one process.

    Attributes:
        config: the study.
        around: what all points share.
        points: those of this process, in order.
        jobs: workers.
        retry: run failed stages again.
    """

    config: StudyConfig
    around: Surroundings
    points: Sequence[Point]
    jobs: int = 1
    retry: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    states: dict[str, str] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _active: set[str] = field(default_factory=set)
    _times: list[float] = field(default_factory=list)
    _problem: BaseException | None = None

    def run(self) -> dict[str, str]:
        """Run all points; returns name -> ``done``, ``failed`` or ``busy`` (elsewhere).

        Raises:
            KeyboardInterrupt: stopped by the user; what ran goes on with the next call.
        """
        workers = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True)
            for n in range(max(1, min(self.jobs, len(self.points))))
        ]
        for worker in workers:
            worker.start()
        try:
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(0.2)
        except BaseException:
            self.stop.set()
            for worker in workers:
                worker.join(60.0)
            raise
        if self._problem is not None:
            raise self._problem
        return self.states

    def _work(self) -> None:
        try:
            while not self.stop.is_set():
                point = self._next()
                if point is None:
                    return
                if isinstance(point, Point):
                    self._one(point)
                else:
                    self.stop.wait(POLL_SECONDS)
        except Stopped:
            return
        except BaseException as err:
            self._problem = err
            self.stop.set()

    def _next(self) -> Point | bool | None:
        """A point to work on; True: wait for a teacher; None: nothing is left."""
        wait = False
        with self._guard:
            for point in self.points:
                if point.name in self.states or point.name in self._active:
                    continue
                if point.teacher is not None:
                    state = self.states.get(point.teacher)
                    if state is None or (state == BUSY and self._busy(point.teacher)):
                        wait = True
                        continue
                self._active.add(point.name)
                return point
        return True if wait else None

    def _busy(self, name: str) -> bool:
        return in_work(self.around.point(name))

    def _one(self, point: Point) -> None:
        folder = self.around.point(point.name)
        try:
            with try_lock(folder.path / ".lock") as lock:
                if lock is None:
                    self._set(point.name, BUSY)
                    say(f"{point.name}: another process works on it")
                    return
                state, _ = current_state(point, self.around)
                if state == DONE or (state == FAILED and not self.retry):
                    self._set(point.name, state)
                    say(f"{point.name}: {state} already")
                    return
                start = time.monotonic()
                work = PointRun(
                    point,
                    self.around,
                    say,
                    retry=self.retry,
                    threads=self.config.threads,
                    limit=60.0 * self.config.stage_minutes if self.config.stage_minutes else None,
                    stop=self.stop,
                    lock=lock,
                )
                state = work.run()
                self._set(point.name, state, time.monotonic() - start)
                say(f"{point.name}: {state.upper()}; {self.left()}")
        finally:
            with self._guard:
                self._active.discard(point.name)

    def _set(self, name: str, state: str, seconds: float | None = None) -> None:
        with self._guard:
            self.states[name] = state
            if seconds is not None:
                self._times.append(seconds)

    def left(self) -> str:
        """How far the study is, and a guess at the time left."""
        with self._guard:
            todo = len(self.points) - len(self.states)
            text = f"{len(self.states)} of {len(self.points)} points"
            if todo and self._times:
                mean = sum(self._times) / len(self._times)
                workers = max(1, min(self.jobs, todo))
                text += f", about {clock(mean * todo / workers)} left"
        return text


def open_study(
    config: StudyConfig, folder: Path, points: Sequence[Point], program: Sequence[str] = PROGRAM
) -> Surroundings:
    """Make the data set where need be, and describe what all points share."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = prepare_dataset(config, folder, program)
    around = surroundings(folder, dataset, config.reference, config.npt_reference, points)
    if tuple(program) != PROGRAM:
        from dataclasses import replace

        around = replace(around, program=tuple(program))
    return around


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the study as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def state_table(points: Sequence[Point], around: Surroundings) -> list[tuple[str, str, str]]:
    """Name, state and remark of every point."""
    rows = []
    for point in points:
        state, remark = current_state(point, around)
        if state == WAITING and in_work(around.point(point.name)):
            state = "running"
        rows.append((point.name, state, remark))
    return rows
