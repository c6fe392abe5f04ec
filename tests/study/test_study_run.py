# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a study: skipping, failures, retries, kills, locks, teachers, arrays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from study_support import calls, opened, order, program, run, write_study

from cgpot.core.errors import ConfigError, ToolError
from cgpot.study.point_rows import collect
from cgpot.study.slurm import slurm_script
from cgpot.study.state import try_lock
from cgpot.study.study_run import Driver, groups, prepare_dataset, select, state_table

STAGES = ["train", "deploy", "nvt", "npt", "analyze"]


def stages(point: str, names: list[str] = STAGES) -> list[str]:
    return [f"{point}/{name}" for name in names]


def test_runs_in_order_and_skips_what_is_done(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    assert run(path) == {"a": "done", "b": "done"}
    assert calls(tmp_path) == [*stages("a"), *stages("b")]
    assert run(path) == {"a": "done", "b": "done"}
    assert calls(tmp_path) == []
    # a longer run starts at the run, other data start everything anew
    path = write_study(tmp_path, md={"nvt": {"length_ps": 70}, "npt": {"length_ps": 60}})
    assert run(path) == {"a": "done", "b": "done"}
    assert calls(tmp_path) == [f"{p}/{s}" for p in "ab" for s in ("nvt", "npt", "analyze")]
    (tmp_path / "data" / "train.extxyz").write_text("{ }\n")
    run(path)
    assert calls(tmp_path) == [*stages("a"), *stages("b")]


def test_the_commands_of_a_point(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    run(path)
    out = tmp_path / "out" / "points" / "a"
    lines = {line.split()[0]: line for line in (tmp_path / "calls").read_text().splitlines()}
    assert f"train {out}/train.yaml --dataset {tmp_path}/data" in lines["a/train"]
    assert f"deploy {out}/train " in lines["a/deploy"]
    nvt = lines["a/nvt"]
    assert f"md nvt {out}/md_nvt.yaml --pair-file {out}/deploy/model.pair.lmp" in nvt
    assert f"--start {tmp_path}/data/test.extxyz --temperature 300.0" in nvt
    assert f"--reference {tmp_path}/reference.extxyz --npt-reference" in lines["a/analyze"]
    assert f"--run {out}/nvt --run {out}/npt" in lines["a/analyze"]


def test_a_failure_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    order(tmp_path, a__npt="fail")
    assert run(path) == {"a": "failed", "b": "done"}
    assert calls(tmp_path) == [*stages("a"), *stages("b")]
    config, points, around = opened(path)
    row = collect(points, around)[0]
    assert row["state"] == "failed"
    assert row["failure"] == "npt: it broke"
    assert row["rdf_error"] is not None
    assert row["density_kg_m3"] is None
    assert state_table(points, around)[0] == ("a", "failed", "npt: it broke")
    # only --retry runs it again, and what follows from it
    order(tmp_path)
    assert run(path) == {"a": "failed", "b": "done"}
    assert calls(tmp_path) == []
    assert run(path, retry=True) == {"a": "done", "b": "done"}
    assert calls(tmp_path) == ["a/npt", "a/analyze"]
    assert collect(points, around)[0]["density_kg_m3"] == 860.0
    assert (around.point("a").stage("npt") / "touched").read_text() == "x"
    del config


def test_a_blow_up_gives_the_time_until_it(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    order(tmp_path, a__nvt="blow up")
    assert run(path) == {"a": "failed"}
    assert calls(tmp_path) == stages("a", ["train", "deploy", "nvt"])
    _, points, around = opened(path)
    row = collect(points, around)[0]
    assert row["stable_ns"] == pytest.approx(0.03)
    assert row["rdf_error"] is None
    assert row["failure"] == "nvt: it broke"


def test_an_analysis_that_a_run_breaks_is_made_without_it(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    order(tmp_path, a__analyze="npt breaks")
    assert run(path) == {"a": "done"}
    _, points, around = opened(path)
    row = collect(points, around)[0]
    assert row["failure"] == "analyze: NVT alone (md: the run hardly moved)"
    assert row["pressure_bar"] == 12.0
    assert row["density_kg_m3"] is None


def test_a_stage_over_its_limit_is_stopped(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}], stage_minutes=0.02)
    order(tmp_path, a__train="sleep")
    assert run(path) == {"a": "failed"}
    _, points, around = opened(path)
    assert "stopped after 1 s, the limit of a stage" in collect(points, around)[0]["failure"]
    order(tmp_path)
    assert run(path, retry=True) == {"a": "done"}
    # it may go on where it stopped: its folder was kept
    assert (around.point("a").stage("train") / "touched").read_text() == "xx"


DRIVER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from cgpot.study.study_run import interruptible
from study_support import run
with interruptible():
    try:
        run(Path(sys.argv[1]), jobs=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30.0
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_study_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    order(tmp_path, a__nvt="wait")
    command = [sys.executable, "-c", DRIVER, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        touched = tmp_path / "out" / "points" / "a" / "nvt" / "touched"
        wait_for(touched)
        _, points, around = opened(path)
        assert state_table(points, around) == [("a", "running", "next: nvt")]
        os.kill(driver.pid, number)
        driver.wait(30)
    if number == signal.SIGTERM:
        assert driver.returncode == 130
    deadline = time.monotonic() + 20.0
    while state_table(points, around)[0][1] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)  # the stage of a killed study is interrupted too
    assert state_table(points, around) == [("a", "waiting", "next: nvt")]
    calls(tmp_path)
    order(tmp_path)
    assert run(path) == {"a": "done"}
    assert calls(tmp_path) == stages("a", ["nvt", "npt", "analyze"])
    assert touched.read_text() == "xx"  # the same folder: the run went on


def test_points_of_another_process_are_left_alone(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    with try_lock(tmp_path / "out" / "points" / "a" / ".lock") as lock:
        assert lock is not None
        assert run(path) == {"a": "busy", "b": "done"}
    assert calls(tmp_path) == stages("b")
    assert run(path) == {"a": "done", "b": "done"}


def test_two_workers_work_side_by_side(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    # a waits until b has come to its end
    order(tmp_path, a__train="wait")
    config, points, around = opened(path)
    driver = Driver(config, around, points, jobs=2)
    import threading

    thread = threading.Thread(target=driver.run)
    thread.start()
    wait_for(tmp_path / "out" / "points" / "b" / "analyze" / "analysis.json")
    (tmp_path / "go").touch()
    thread.join(30)
    assert driver.states == {"a": "done", "b": "done"}
    assert "2 of 2 points" in driver.left()


STUDENT = [
    {"name": "student", "distill": {"teacher": "b", "options": {"frames": 10, "md": True}}},
    {"name": "a"},
    {"name": "b", "seed": 2},
]


def test_a_teacher_comes_first(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=STUDENT)
    assert set(run(path).values()) == {"done"}
    lines = (tmp_path / "calls").read_text().splitlines()
    done = calls(tmp_path)
    assert done.index("b/analyze") < done.index("student/distill")
    line = next(x for x in lines if x.startswith("student/distill"))
    assert f"--teacher {tmp_path}/out/points/b/train" in line
    assert "--frames 10 --md" in line
    # another teacher is another student
    path = write_study(tmp_path, points=[*STUDENT[:2], {"name": "b", "seed": 5}])
    run(path)
    assert set(calls(tmp_path)) == {*stages("b"), *stages("student", ["distill", *STAGES[1:]])}


def test_a_refined_point(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a", "refine": {"iterations": 3}}])
    run(path)
    out = tmp_path / "out" / "points" / "a"
    lines = {line.split()[0]: line for line in (tmp_path / "calls").read_text().splitlines()}
    assert list(lines) == stages("a", ["train", "deploy", "refine", "nvt", "npt", "analyze"])
    refine = lines["a/refine"]
    assert f"refine {out}/refine.yaml --start {out}/train --reference" in refine
    settings = yaml.safe_load((out / "refine.yaml").read_text())
    assert settings == {"temperature": 300.0, "deploy": False, "iterations": 3}
    assert f"--pair-file {out}/refine/model/model.pair.lmp" in lines["a/nvt"]


def test_selection(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=STUDENT)
    _, points, _ = opened(path)
    assert [p.name for p in select(points, only=["a"])] == ["a"]
    assert [p.name for p in select(points, only=["student"])] == ["student", "b"]
    shares = [[p.name for p in select(points, task=k, tasks=2)] for k in range(2)]
    assert shares == [["student", "b"], ["a"]]
    assert len(groups(points)) == 2
    with pytest.raises(ConfigError, match="no point 'c'; expected one of student, a, b"):
        select(points, only=["c"])
    with pytest.raises(ConfigError, match="--task-id 2; expected 0 to 1"):
        select(points, task=2, tasks=2)
    with pytest.raises(ConfigError, match="give both --task-id and --tasks"):
        select(points, task=2)


def test_slurm_script(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=STUDENT)
    _, points, _ = opened(path)
    script = tmp_path / "job.sh"
    text = slurm_script(path, tmp_path / "out", points, 2, script)
    assert text.startswith("#!/bin/bash\n")
    assert "#SBATCH --array=0-1\n" in text
    assert "#SBATCH --cpus-per-task=2\n" in text
    assert f"-m cgpot study {path} --folder {tmp_path}/out" in text
    assert '--task-id "$SLURM_ARRAY_TASK_ID" --tasks 2\n' in text
    script.write_text(text)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_mapped_files_are_split_once(tmp_path: Path) -> None:
    dataset = {"mapped": ["reference.extxyz"], "options": {"stride": 2}}
    path = write_study(tmp_path, dataset=dataset, points=[{"name": "a"}])
    config, _, around = opened(path)
    line = (tmp_path / "calls").read_text()
    assert f"dataset {tmp_path}/reference.extxyz --quiet --stride 2 --output" in line
    calls(tmp_path)
    assert prepare_dataset(config, around.folder, program(tmp_path)) == around.dataset
    assert calls(tmp_path) == []
    order(tmp_path, out__dataset="fail")
    (tmp_path / "reference.extxyz").write_text("y\n")
    with pytest.raises(ToolError, match=r"dataset\.log: it broke"):
        opened(path)


def test_a_damaged_record_starts_the_point_anew(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a"}])
    run(path)
    calls(tmp_path)
    record = tmp_path / "out" / "points" / "a" / "point.json"
    record.write_text(record.read_text()[:50])
    assert run(path) == {"a": "done"}
    assert calls(tmp_path) == stages("a")
    assert json.loads(record.read_text())["state"] == "done"
