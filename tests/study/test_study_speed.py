# SPDX-License-Identifier: GPL-2.0-or-later
"""Timing the models of a study alone, fluids that are no liquid, distillations that go on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_support import calls, opened, order, program, run, write_study
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.study.point_rows import collect, state_text
from cgpot.study.stage_commands import plan
from cgpot.study.state import try_lock
from cgpot.study.study_page import counts_text, speeds_text, write_page
from cgpot.study.study_settings import SpeedConfig
from cgpot.study.study_speed import measure_speeds, timed_steps


def measure(path: Path, **options: Any) -> tuple[dict[str, str], list[str]]:
    config, points, around = opened(path)
    said: list[str] = []
    return measure_speeds(config, around, points, said.append, **options), said


def test_speeds_are_measured_after_the_points(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    run(path)
    calls(tmp_path)
    _, points, around = opened(path)
    before = [row["ns_per_day"] for row in collect(points, around)]
    assert [row["speed_measured"] for row in collect(points, around)] == ["beside others"] * 2
    keys = [[stage.key for stage in plan(point, around)] for point in points]
    # the section is newer than the points: nothing of them is run again
    path = write_study(tmp_path, speed={"steps": 40, "seconds": 0})
    assert run(path) == {"a": "done", "b": "done"}
    states, said = measure(path)
    assert states == {"a": "done", "b": "done"}
    assert said[0] == "a: speed 77 ns/day over 40 steps"
    assert calls(tmp_path) == ["a/speed", "b/speed"]
    _, points, around = opened(path)
    assert keys == [[stage.key for stage in plan(point, around)] for point in points]
    rows = collect(points, around)
    assert [row["ns_per_day"] for row in rows] == [77.0, 77.0] != before
    assert [row["cpu_use_percent"] for row in rows] == [99.5, 99.5]
    assert [row["speed_measured"] for row in rows] == ["alone", "alone"]
    settings = yaml.safe_load((tmp_path / "out/points/a/md_speed.yaml").read_text())
    assert settings["length_ps"] == settings["dump_ps"] == pytest.approx(0.4)
    assert run(path) == {"a": "done", "b": "done"}
    assert measure(path)[0] == {"a": "done", "b": "done"}
    assert calls(tmp_path) == []  # what is timed is not timed again
    write_study(tmp_path, speed={"steps": 50, "seconds": 0})
    measure(path)
    assert calls(tmp_path) == ["a/speed", "b/speed"]


def test_another_model_is_timed_again(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    run(path)
    measure(path)
    write_study(tmp_path, points=[{"name": "a", "seed": 9}])
    run(path)
    _, points, around = opened(path)
    assert collect(points, around)[0]["speed_measured"] == "beside others"
    measure(path)
    assert collect(points, around)[0]["speed_measured"] == "alone"


def test_what_cannot_be_timed(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    order(tmp_path, a__nvt="blow up", b__speed="fail")
    run(path)
    assert measure(path)[0] == {"a": "not run yet", "b": "failed"}
    _, points, around = opened(path)
    row = collect(points, around)[1]
    assert (row["state"], row["speed_measured"]) == ("done", "beside others")
    order(tmp_path)
    assert measure(path)[0]["b"] == "failed"
    assert measure(path, retry=True)[0]["b"] == "done"


def test_a_busy_machine(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    run(path)
    order(tmp_path, a__speed="busy")
    states, said = measure(path)
    assert states == {"a": "busy"}
    assert "not used: other programs left 40 % of a core" in said[0]
    _, points, around = opened(path)
    assert collect(points, around)[0]["speed_measured"] == "beside others"
    order(tmp_path)
    assert measure(path)[0] == {"a": "done"}  # timed again
    assert collect(points, around)[0]["speed_measured"] == "alone"


def test_nothing_of_the_study_runs_beside(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    run(path)
    with try_lock(tmp_path / "out" / "points" / "b" / ".lock"):
        states, said = measure(path)
    assert states == {"a": "others are in work"}
    assert said == ["speed: b is in work; give the command again when it is done"]
    with try_lock(tmp_path / "out" / ".speed.lock"):
        assert measure(path) == ({}, ["speed: another process measures it"])


def test_the_number_of_steps() -> None:
    settings = SpeedConfig(steps=500, seconds=10.0)
    assert timed_steps(settings, {}) == 500
    # 0.864 ns/day at 10 fs is one step a second; a hundred times that is 1,000 in 10 s
    assert timed_steps(settings, {"ns_per_day": 0.864, "timestep_fs": 10.0}) == 500
    assert timed_steps(settings, {"ns_per_day": 86.4, "timestep_fs": 10.0}) == 1000


def test_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(tmp_path)
    from cgpot.study import stage_commands
    from cgpot.study import study_run as run_module

    monkeypatch.setattr(stage_commands, "PROGRAM", program(tmp_path))
    monkeypatch.setattr(run_module.open_study, "__defaults__", (program(tmp_path),))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Any:
        return CliRunner().invoke(build_app("study"), ["study", str(path), *words])

    done = call("--speed")
    assert done.exit_code == 0, done.output
    assert "b: speed 77 ns/day" in done.output
    folder = tmp_path / "runs" / "studies" / "study"
    with open(folder / "results.csv", newline="") as stream:
        assert [row["speed_measured"] for row in csv.DictReader(stream)] == ["alone", "alone"]
    page = (folder / "results.html").read_text()
    assert "Speeds are of one model at a time, with nothing of the study beside it." in page
    refused = call("--speed", "--task-id", "0", "--tasks", "2")
    assert refused.exit_code == 2
    assert "times one model at a time" in refused.output


def test_a_fluid_that_left_the_liquid(tmp_path: Path) -> None:
    names = ("good", "gas", "solid", "stopped")
    path = write_study(tmp_path, points=[{"name": name} for name in names])
    densities = {"gas__npt": "density 3.3", "solid__npt": "density 1100", "stopped__npt": "fail"}
    order(tmp_path, **densities)
    assert set(run(path).values()) == {"done", "failed"}
    config, points, around = opened(path)
    rows = collect(points, around)
    assert [row["npt_phase"] for row in rows] == ["liquid", "boiled", "dense", "failed"]
    assert [row["state"] for row in rows] == ["done", "done", "done", "failed"]
    assert [state_text(row) for row in rows] == ["done", "done, boiled", "done, dense", "failed"]
    assert counts_text(rows) == "4 points: 1 done, 1 done but boiled, 1 done but dense, 1 failed"
    text = write_page(tmp_path / "page.html", "t", "", rows, []).read_text()
    assert '<span class="badge open">done, boiled</span>' in text
    assert "other work on the machine" in speeds_text(rows)
    # done is done: nothing runs again
    calls(tmp_path)
    assert run(path)["gas"] == "done"
    assert calls(tmp_path) == []
    del config


def test_a_point_without_npt_has_no_phase(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}], md={"nvt": {"length_ps": 60}})
    run(path)
    _, points, around = opened(path)
    assert collect(points, around)[0]["npt_phase"] is None


def test_a_stopped_distillation_goes_on(tmp_path: Path) -> None:
    points = [{"name": "b"}, {"name": "s", "distill": {"teacher": "b", "options": {"frames": 9}}}]
    path = write_study(tmp_path, points=points, stage_minutes=0.02)
    order(tmp_path, s__distill="sleep")
    assert run(path)["s"] == "failed"
    path = write_study(tmp_path, points=points)
    assert run(path, retry=True)["s"] == "done"
    folder = tmp_path / "out" / "points" / "s"
    assert (folder / "distill" / "touched").read_text() == "xx"  # its folder was kept
    lines = [x for x in (tmp_path / "calls").read_text().splitlines() if x.startswith("s/distill ")]
    assert len(lines) == 2
    assert all(" --restart " in line for line in lines)
    assert json.loads((folder / "point.json").read_text())["state"] == "done"
