# SPDX-License-Identifier: GPL-2.0-or-later
"""A search with Optuna: each trial is a point; trials live in study.db in the study's folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError, ToolError
from cgpot.study.execute import PointRun
from cgpot.study.point_rows import Row, row
from cgpot.study.points import Point, make_point, merge, nested
from cgpot.study.stage_commands import Surroundings
from cgpot.study.stage_process import Stopped
from cgpot.study.state import try_lock
from cgpot.study.study_run import say
from cgpot.study.study_settings import SearchConfig, SearchSpace, StudyConfig

STORAGE = "study.db"
NAME = "cgpot"


def load_optuna() -> Any:
    """The package.

    Raises:
        ToolError: it is not installed.
    """
    try:
        import optuna
    except ImportError as err:
        raise ToolError(
            "a study with 'search' needs Optuna, which is not installed: pip install optuna"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_storage(search: SearchConfig, folder: Path) -> Any:
    """The Optuna study in the folder, made if need be."""
    optuna = load_optuna()
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    return optuna.create_study(
        storage=f"sqlite:///{folder / STORAGE}",
        study_name=NAME,
        sampler=samplers[search.sampler](seed=search.seed),
        direction="minimize",
        load_if_exists=True,
    )


def trial_name(number: int) -> str:
    """Name of a trial's point."""
    return f"trial-{number:04d}"


def trial_point(
    config: StudyConfig, file: Path, number: int, parameters: Mapping[str, Any]
) -> Point:
    """The point of a trial.

    Raises:
        ConfigError: settings that a stage refuses.
    """
    entry: dict[str, Any] = {}
    for key, value in parameters.items():
        entry = merge(entry, nested(key, value))
    return make_point(config, file, trial_name(number), entry)


def trial_points(config: StudyConfig, file: Path, around: Surroundings) -> list[Point]:
    """The points of all trials so far; none where the search has not begun."""
    if config.search is None or not (around.folder / STORAGE).is_file():
        return []
    trials = open_storage(config.search, around.folder).get_trials(deepcopy=False)
    return [trial_point(config, file, t.number, t.params) for t in trials if t.params]


def run_search(config: StudyConfig, file: Path, around: Surroundings, *, jobs: int = 1) -> None:
    """Run trials until there are as many as wanted; interrupted ones first.

    Args:
        config: the study, with a section search.
        file: its YAML file.
        around: what the points share.
        jobs: trials worked on at a time.

    Raises:
        ToolError: Optuna is not installed.
        ConfigError: a key of the space that no stage knows.
        KeyboardInterrupt: stopped; interrupted trials go on with the next call.
    """
    search = config.search
    if search is None:
        raise ValueError("the study has no section 'search'")
    optuna = load_optuna()
    first = {key: _example(space) for key, space in search.space.items()}
    trial_point(config, file, 0, first)  # a wrong key ends the search before it begins
    study = open_storage(search, around.folder)
    stop, guard = threading.Event(), threading.Lock()
    problems: list[BaseException] = []
    running = optuna.trial.TrialState.RUNNING
    interrupted = [t for t in study.get_trials(deepcopy=False) if t.state == running]

    def next_trial() -> tuple[int, dict[str, Any]] | None:
        with guard:
            if interrupted:
                frozen = interrupted.pop(0)
                if frozen.params:
                    return frozen.number, dict(frozen.params)
                study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)
            if len(study.get_trials(deepcopy=False)) >= search.trials:
                return None
            trial = study.ask()
            return trial.number, _suggest(trial, search.space)

    def work() -> None:
        try:
            while not stop.is_set() and (item := next_trial()) is not None:
                number, parameters = item
                value = _run(config, file, around, number, parameters, stop)
                if value is BUSY:
                    continue
                with guard:
                    if value is None:
                        study.tell(number, state=optuna.trial.TrialState.FAIL)
                    else:
                        study.tell(number, value)
                text = "failed" if value is None else f"{value:.6g}"
                say(f"{trial_name(number)}: objective {text}")
        except Stopped:
            return
        except BaseException as err:
            problems.append(err)
            stop.set()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.1)
    except BaseException:
        stop.set()
        for worker in workers:
            worker.join(60.0)
        raise
    if problems:
        raise problems[0]


BUSY = object()
"""Another process works on the trial."""


def _run(
    config: StudyConfig,
    file: Path,
    around: Surroundings,
    number: int,
    parameters: Mapping[str, Any],
    stop: threading.Event,
) -> Any:
    try:
        point = trial_point(config, file, number, parameters)
    except ConfigError as err:  # settings that do not fit together are a failed trial
        say(f"{trial_name(number)}: {err}")
        return None
    folder = around.point(point.name)
    with try_lock(folder.path / ".lock") as lock:
        if lock is None:
            return BUSY
        limit = 60.0 * config.stage_minutes if config.stage_minutes else None
        PointRun(
            point, around, say, threads=config.threads, limit=limit, stop=stop, lock=lock
        ).run()
    if config.search is None:
        raise ValueError("the study has no section 'search'")
    return objective(row(point, folder), config.search.weights)


def objective(values: Row, weights: Mapping[str, float]) -> float | None:
    """Weighted sum of absolute values; None where a column is empty."""
    total = 0.0
    for name, weight in weights.items():
        value = values.get(name)
        if not isinstance(value, int | float):
            return None
        total += weight * abs(float(value))
    return total


def _suggest(trial: Any, space: Mapping[str, SearchSpace | list[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in space.items():
        if isinstance(item, list):
            found[key] = trial.suggest_categorical(key, item)
        elif item.integer:
            step = int(item.step or 1)
            found[key] = trial.suggest_int(
                key, int(item.low), int(item.high), log=item.log, step=step
            )
        else:
            found[key] = trial.suggest_float(key, item.low, item.high, log=item.log, step=item.step)
    return found


def _example(space: SearchSpace | list[Any]) -> Any:
    if isinstance(space, list):
        return space[0]
    return int(space.low) if space.integer else space.low
