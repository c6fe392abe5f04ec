# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs at several temperatures in one data set; what a frame says about its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_runs import frames, write_run
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.core.errors import DataError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.dataset.dataset_stage import build_dataset
from cgpot.dataset.split import SplitPlan
from cgpot.molecules.extxyz import from_atoms, read_frames, to_atoms, write_frames
from cgpot.molecules.frame import state_name

PLAN = SplitPlan((0.8, 0.1, 0.1), gap_ps=1.0)


def test_frames_carry_temperature_state_and_weight(tmp_path: Path) -> None:
    made = frames(3)
    made[0].temperature, made[0].state, made[0].weight = 300.0, "300K-868", 25.0
    made[1].state = "868"
    write_frames(tmp_path / "a.extxyz", made)
    read = list(read_frames(tmp_path / "a.extxyz"))
    assert [f.temperature for f in read] == [300.0, None, None]
    assert [f.state for f in read] == ["300K-868", "868", None]
    assert [f.weight for f in read] == [25.0, 1.0, 1.0]
    again = from_atoms(to_atoms(made[0]))
    assert (again.temperature, again.state, again.weight) == (300.0, "300K-868", 25.0)


@pytest.mark.parametrize("value", ["-3.0", "0", "cold", "nan"])
@pytest.mark.parametrize("key", ["temperature", "weight"])
def test_wrong_numbers_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, frames(1))
    text = path.read_text(encoding="utf-8").replace("source_frame=0", f"{key}={value}")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"key '{key}', frame 0: expected a positive number, found"
    ):
        list(read_frames(path))


def test_several_temperatures_are_an_explicit_wish(tmp_path: Path) -> None:
    cold = write_run(tmp_path / "a.extxyz", seed=1)
    hot = write_run(tmp_path / "b.extxyz", seed=2, temperature=350.0, frames=60)
    again = write_run(tmp_path / "c.extxyz", seed=3)
    with pytest.raises(DataError, match=r"PMF belongs to its temperature.*--several-temperatures"):
        build_dataset([cold, hot], tmp_path / "no", PLAN, quiet=True)
    done = build_dataset(
        [cold, hot, again],
        tmp_path / "out",
        PLAN,
        several_temperatures=True,
        compress=False,
        quiet=True,
    )
    assert done.report["temperature"] is None
    states = done.report["states"]
    assert [s["temperature"] for s in states] == [300.0, 350.0]
    assert [s["n_frames"] for s in states] == [160, 60]
    assert [s["n_runs"] for s in states] == [2, 1]
    density = frames(1)[0].density
    names = [state_name(t, density) for t in (300.0, 350.0)]
    assert [s["state"] for s in states] == names
    # the ideal part of the pressure belongs to the temperature of each run
    ideal = [60 * 1.380649e-23 * t / 24e-10**3 * 1e-5 for t in (300.0, 350.0)]
    for state, expected in zip(states, ideal, strict=True):
        found = state["pressure_label_bar"]
        assert abs(found["mean"] - expected) < 5 * found["error"]
    written = list(read_frames(tmp_path / "out" / "train.extxyz"))
    assert {(f.temperature, f.state) for f in written} == set(
        zip((300.0, 350.0), names, strict=True)
    )
    manifest = check_manifest(tmp_path / "out" / "report.json", stage="dataset")
    assert manifest["temperatures"] == [300.0, 350.0, 300.0]


def test_one_temperature_needs_no_flag_and_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a.extxyz")
    done = build_dataset([run], tmp_path / "out", PLAN, compress=False, quiet=True)
    assert done.report["temperature"] == 300.0
    for frame in read_frames(tmp_path / "out" / "test.extxyz"):
        assert frame.temperature == 300.0
        assert np.isclose(float(str(frame.state).split("-")[1]), frame.density, atol=0.5)


def test_unknown_temperatures_cannot_be_several(tmp_path: Path) -> None:
    files = [write_run(tmp_path / f"{k}.extxyz", seed=k, temperature=None) for k in range(2)]
    with pytest.raises(DataError, match=r"several temperatures are asked for, but.*name none"):
        build_dataset(files, tmp_path / "out", PLAN, several_temperatures=True, quiet=True)


def test_the_command_lists_the_states(tmp_path: Path) -> None:
    files = [
        write_run(tmp_path / "a.extxyz", seed=1),
        write_run(tmp_path / "b.extxyz", seed=2, temperature=350.0),
    ]
    words = ["dataset", *map(str, files), "-o", str(tmp_path / "out"), "--quiet"]
    assert CliRunner().invoke(build_app("dataset"), words).exit_code != 0
    found = CliRunner().invoke(build_app("dataset"), [*words, "--several-temperatures"])
    assert found.exit_code == 0, found.output
    assert "state 350K" in found.output
