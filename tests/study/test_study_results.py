# SPDX-License-Identifier: GPL-2.0-or-later
"""What a study writes: the table, the page, the pictures, the command line."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from study_support import opened, order, run, write_study
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.study.columns import COLUMNS
from cgpot.study.point_rows import loss_text, stable_ns
from cgpot.study.study_page import write_page
from cgpot.study.study_plots import draw_all, pareto_front
from cgpot.study.study_results import write_results

TWO_LOSSES = {"loss": {"forces": {"loss": {"stress": None}}, "stress": {}}}


def test_the_table(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a", "seed": 4}], grid=TWO_LOSSES)
    run(path)
    config, points, around = opened(path)
    found = write_results(config, points, around, publish=tmp_path / "published")
    with open(tmp_path / "out" / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    first = rows[0]
    number = sum(map(ord, "a_forces")) % 7 + 1
    assert first["point"] == "a_forces"
    assert (first["loss"], rows[1]["loss"]) == ("forces", "forces + stress")
    assert (first["seed"], first["frames"], first["epochs"]) == ("4", "30", "2")
    assert (first["cutoff_A"], first["l_max"]) == ("5", "2")
    assert first["parameters"] == str(100 * number)
    assert float(first["rdf_error"]) == pytest.approx(0.01 * number)
    assert (first["pressure_bar"], first["pressure_error_bar"]) == ("12", "3")
    assert (first["pressure_aa_bar"], first["pressure_aa_error_bar"]) == ("3", "10")
    assert (first["density_kg_m3"], first["density_error_kg_m3"]) == ("860", "2")
    assert (first["density_aa_kg_m3"], first["density_aa_error_kg_m3"]) == ("868.1", "1")
    assert (first["diffusion_m2_s"], first["stable_ns"]) == ("2e-09", "0.06")
    assert float(first["train_seconds"]) > 0
    assert first["state"] == "done"
    assert first["failure"] == ""
    published = (tmp_path / "published" / "results.csv").read_text()
    assert published == (tmp_path / "out" / "results.csv").read_text()
    assert (tmp_path / "published" / "pareto.png").is_file()
    assert {p.name for p in found.files} >= {"results.csv", "results.html", "pareto.png"}


def test_the_page_is_one_file(tmp_path: Path) -> None:
    path = write_study(tmp_path, title="A <study>", about="What & why")
    order(tmp_path, b__deploy="fail")
    run(path)
    config, points, around = opened(path)
    write_results(config, points, around)
    text = (tmp_path / "out" / "results.html").read_text()
    assert "A &lt;study&gt;" in text
    assert "What &amp; why" in text
    assert "2 points: 1 done, 1 failed" in text
    assert "deploy: it broke" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert text.count("data:image/png;base64,") == 3
    assert "Atomistic reference: pressure 3 ± 10 bar" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("<tr>") == 3


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    n = len(next(iter(columns.values())))
    empty = dict.fromkeys(COLUMNS)
    return [empty | {key: values[i] for key, values in columns.items()} for i in range(n)]


def test_pareto_front() -> None:
    points = [(10.0, 0.02), (100.0, 0.05), (50.0, 0.06), (5.0, 0.03), (200.0, 0.5), (10.0, 0.01)]
    assert pareto_front(points) == [4, 1, 5]
    assert pareto_front([]) == []


def test_pictures_need_what_they_show(tmp_path: Path) -> None:
    common = {"point": ["a", "b"], "family": ["F", "F"], "loss": ["forces", "forces"]}
    assert draw_all(rows(**common), tmp_path) == []
    learned = common | {"frames": [10, 100], "force_rmse_eV_A": [0.2, 0.1], "parameters": [5, 5]}
    assert [p.key for p in draw_all(rows(**learned), tmp_path)] == ["learning"]
    measured = learned | {"rdf_error": [0.1, None], "ns_per_day": [5.0, 6.0]}
    keys = [p.key for p in draw_all(rows(**measured), tmp_path, noise=0.01)]
    assert keys == ["pareto", "forces", "learning"]
    # those of an earlier call that the rows no longer allow are gone
    draw_all(rows(**common), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_nothing(tmp_path: Path) -> None:
    waiting = rows(point=["a"], family=["F"], loss=["forces"], state=["waiting"])
    text = write_page(tmp_path / "p.html", "t", "", waiting, []).read_text()
    assert "1 points: 1 waiting" in text
    assert "Pictures" not in text


def test_stable_time() -> None:
    md: dict[str, Any] = {"timestep_fs": 5.0, "ns": 0.2, "failures": []}
    assert stable_ns(md) == 0.2
    blown = {"step": 1000, "message": "the simulation blew up at step 1000"}
    assert stable_ns(md | {"failures": [blown]}) == pytest.approx(0.005)
    killed = {"step": 500, "message": "LAMMPS was ended by SIGKILL at step 500"}
    assert stable_ns(md | {"failures": [killed]}) == 0.2
    assert stable_ns(md | {"failures": [{"step": None, "message": "LAMMPS failed"}]}) == 0.0
    assert stable_ns({}) is None


def test_words() -> None:
    assert loss_text({}) == "forces + stress"
    assert loss_text({"loss": {"forces": 0, "stress": 3.0}}) == "stress"
    assert loss_text({"loss": {"stress": None, "energy": 1.0}}) == "energy + forces"
    assert loss_text({"model": {"type": "uf3"}, "loss": {"stress": None}}) == "forces + stress"
    assert loss_text({"model": {"type": "mscg"}}) == "forces"
    assert loss_text({"model": {"type": "mscg", "virial": "auto"}}) == "forces + stress"
    without = {"type": "uf3", "virial": None, "match_mean_virial": False}
    assert loss_text({"model": without}) == "forces"


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(tmp_path)
    from study_support import program

    from cgpot.study import stage_commands
    from cgpot.study import study_run as run_module

    monkeypatch.setattr(stage_commands, "PROGRAM", program(tmp_path))
    monkeypatch.setattr(run_module.open_study, "__defaults__", (program(tmp_path),))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def call(*words: str) -> str:
        done = runner.invoke(build_app("study"), ["study", str(path), *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert call("--list").count("waiting") == 2
    text = call("--only", "a")
    assert "a: train done" in text
    assert "a: DONE; 1 of 1 points" in text
    assert (tmp_path / "runs" / "studies" / "study" / "results.html").is_file()
    text = call("--jobs", "2")
    assert "a: done already" in text
    assert "b: DONE" in text
    assert "results.csv" in call("--collect", "--publish", str(tmp_path / "out"))
    assert (tmp_path / "out" / "results.csv").is_file()
    call("--slurm", str(tmp_path / "job.sh"))
    assert "--array=0-1" in (tmp_path / "job.sh").read_text()
