# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver of the chains: order, skipping, resuming, failures."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import cgpot.md.md_settings
import cgpot.report.limits
import cgpot.training.settings.train_settings
from cgpot.core.config import load_yaml
from cgpot.core.errors import ConfigError, InputError, ToolError

DRIVER = Path(__file__).resolve().parents[2] / "workflows" / "run.py"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workflow_run", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["workflow_run"] = module
    spec.loader.exec_module(module)
    return module


CHAIN = """
title: Two files and their sum
stages:
  - name: total
    about: add
    command: sh -c "cat {run}/left {run}/right > {run}/total; echo total >> {here}/order"
    inputs: ["{run}/left", "{run}/right"]
    outputs: ["{run}/total"]
"""

PARTS = """
  - name: SIDE
    about: copy
    command: sh -c "cat {here}/SIDE.txt > {run}/SIDE; echo SIDE >> {here}/order"
    inputs: ["{here}/SIDE.txt"]
    outputs: ["{run}/SIDE"]
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    head, total = CHAIN.split("  - name: total")
    parts = "".join(PARTS.replace("SIDE", side) for side in ("left", "right"))
    path = tmp_path / "chain.yaml"
    path.write_text(head + parts + "  - name: total" + total)
    (tmp_path / "left.txt").write_text("1\n")
    (tmp_path / "right.txt").write_text("2\n")
    return path


def ran(chain: Path) -> list[str]:
    order = chain.parent / "order"
    names = order.read_text().split() if order.exists() else []
    order.unlink(missing_ok=True)
    return names


def test_runs_in_order_and_skips_what_is_up_to_date(
    run: ModuleType, chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chain.parent / "out"
    run.run_chain(chain, folder, 1, [])
    assert (folder / "total").read_text() == "1\n2\n"
    assert ran(chain) == ["left", "right", "total"]
    assert "total: done in" in capsys.readouterr().out

    run.run_chain(chain, folder, 1, [])
    assert ran(chain) == []
    assert capsys.readouterr().out.count("up to date (took") == 3

    # only what follows from a changed input runs again; equal content at a new time does not
    (chain.parent / "left.txt").touch()
    (chain.parent / "right.txt").write_text("3\n")
    run.run_chain(chain, folder, 1, [])
    assert ran(chain) == ["right", "total"]
    assert (folder / "total").read_text() == "1\n3\n"

    (folder / "total").unlink()
    run.run_chain(chain, folder, 1, [])
    assert ran(chain) == ["total"]

    run.run_chain(chain, folder, 1, ["left"])
    assert ran(chain) == ["left", "total"]


def test_independent_stages_run_side_by_side(run: ModuleType, tmp_path: Path) -> None:
    # each waits for the file of the other: in sequence neither would end well
    stage = """
  - name: {0}
    about: wait for the other
    command: >-
      sh -c "touch {{run}}/{0}; for i in $(seq 100); do
      [ -e {{run}}/{1} ] && exit 0; sleep 0.1; done; exit 1"
    outputs: ["{{run}}/{0}"]
"""
    path = tmp_path / "chain.yaml"
    path.write_text("title: t\nstages:\n" + stage.format("a", "b") + stage.format("b", "a"))
    run.run_chain(path, tmp_path / "out", 2, [])


def test_failure_names_stage_and_log_and_goes_on_later(run: ModuleType, chain: Path) -> None:
    text = chain.read_text()
    chain.write_text(text.replace("cat {run}/left", "echo no such thing; exit 7; cat {run}/left"))
    folder = chain.parent / "out"
    with pytest.raises(ToolError, match=r"(?s)stage 'total' failed.*total\.log.*no such thing"):
        run.run_chain(chain, folder, 2, [])
    assert sorted(ran(chain)) == ["left", "right"]
    chain.write_text(text)
    run.run_chain(chain, folder, 2, [])
    assert ran(chain) == ["total"]


def test_an_output_that_was_not_written_is_a_failure(run: ModuleType, chain: Path) -> None:
    chain.write_text(chain.read_text().replace("> {run}/total", "> /dev/null"))
    with pytest.raises(ToolError, match=r"did not write .*out/total"):
        run.run_chain(chain, chain.parent / "out", 1, [])


def test_partial_output_is_kept_for_the_same_inputs_and_dropped_for_others(
    run: ModuleType, tmp_path: Path
) -> None:
    # the stage appends a line each time and ends well when it has two
    path = tmp_path / "chain.yaml"
    path.write_text(
        "title: t\nstages:\n  - name: grow\n    about: grow\n"
        '    command: sh -c "mkdir -p {run}/d; echo x >> {run}/d/f; test $(wc -l < {run}/d/f) = 2"'
        '\n    inputs: ["{here}/in"]\n    outputs: ["{run}/d"]\n'
    )
    (tmp_path / "in").write_text("1")
    folder = tmp_path / "out"
    with pytest.raises(ToolError, match="grow"):
        run.run_chain(path, folder, 1, [])
    (tmp_path / "in").write_text("2")
    with pytest.raises(ToolError, match="grow"):  # started afresh: one line again
        run.run_chain(path, folder, 1, [])
    run.run_chain(path, folder, 1, [])
    assert (folder / "d" / "f").read_text() == "x\nx\n"


def test_killed_driver_leaves_no_stage_behind_and_continues(chain: Path) -> None:
    text = chain.read_text()
    flag = chain.parent / "go"
    chain.write_text(
        text.replace("cat {run}/left", "test -e {here}/go || sleep 60; cat {run}/left")
    )
    folder = chain.parent / "out"
    command = [sys.executable, str(DRIVER), str(chain), "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 60
        state = folder / ".chain" / "total.json"
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 2
        assert "another run is at work here" in other.stderr
        os.kill(driver.pid, signal.SIGTERM)
        output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the same command again goes on" in output
    assert sorted(ran(chain)) == ["left", "right"]
    flag.touch()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert ran(chain) == ["total"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("about: add", "abuot: add", r"chain.yaml, key 'stages.2.*abuot'.*unknown key"),
        ("name: total", "name: left", r"stages.2.name'.*two stages are named 'left'"),
        ('inputs: ["{run}/left"', 'inputs: ["{run}/up"', r"no earlier stage makes up"),
        ('inputs: ["{run}/left"', 'inputs: ["{rnu}/left"', r"unknown placeholder 'rnu'"),
        ('outputs: ["{run}/total"]', 'outputs: ["{run}/left"]', r"left is an output of 'left'"),
        ('outputs: ["{run}/total"]', 'outputs: ["/tmp/t"]', r"lies outside the run folder"),
    ],
)
def test_wrong_chain(run: ModuleType, chain: Path, old: str, new: str, message: str) -> None:
    assert old in chain.read_text()
    chain.write_text(chain.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        run.run_chain(chain, chain.parent / "out", 1, [])


def test_missing_input_and_unknown_stage(run: ModuleType, chain: Path) -> None:
    (chain.parent / "right.txt").unlink()
    with pytest.raises(InputError, match=r"right\.txt: no such input of stage 'right'"):
        run.run_chain(chain, chain.parent / "out", 1, [])
    with pytest.raises(ConfigError, match="no stage 'middle'; expected one of left, right, total"):
        run.run_chain(chain, chain.parent / "out", 1, ["middle"])


@pytest.mark.parametrize("name", ["demo", "benzene"])
def test_the_chains_of_the_repository(run: ModuleType, tmp_path: Path, name: str) -> None:
    """Placeholders, files and order are right; every settings file is that of its command."""
    folder = DRIVER.parent / "systems" / "benzene"
    _, stages = run.load_chain(folder / f"{name}.yaml", tmp_path / "out")
    assert stages[-1].name == "report"
    assert {s.name for s in stages[-1].after} >= {"analyze", "train", "deploy", "aa-speed"}
    for stage in stages:
        for path in stage.inputs:
            assert path.exists() or tmp_path in path.parents
        for word in stage.command:
            if word.startswith(str(folder)) and Path(word).suffix == ".yaml":
                assert Path(word) in stage.inputs, f"{stage.name}: {word} is no input"
    load = {
        "train": cgpot.training.settings.train_settings.TrainConfig,
        "md": cgpot.md.md_settings.MdConfig,
        "limits": cgpot.report.limits.Limits,
    }
    for path in sorted(folder.glob("*.yaml")):
        model = load.get(path.stem.split("_")[0])
        if model is cgpot.md.md_settings.MdConfig:
            cgpot.md.md_settings.load_config(path, {"start": "x", "model": "y"})
        elif model is not None:
            load_yaml(path, model)
