# SPDX-License-Identifier: GPL-2.0-or-later
"""The YAML file of a study: merging, grids, and what is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from study_support import TRAIN, calls, opened, order, write_study

from cgpot.core.errors import CgpotError, ConfigError, InputError, ToolError
from cgpot.study.columns import COLUMNS
from cgpot.study.points import Point, expand, flat, merge
from cgpot.study.search import load_optuna, objective
from cgpot.study.study_settings import load_study

ROOT = Path(__file__).resolve().parents[2]


def points(folder: Path, **changes: Any) -> list[Point]:
    path = write_study(folder, **changes)
    return expand(load_study(path), path)


def test_merge() -> None:
    base = {"loss": {"forces": 1, "stress": 2}, "model": {"type": "nequip", "l_max": 1}, "seed": 1}
    found = merge(base, {"loss": {"stress": None}, "seed": 2})
    assert found["loss"] == {"forces": 1, "stress": None}
    assert found["seed"] == 2
    assert merge(base, {"model": {"l_max": 2}})["model"] == {"type": "nequip", "l_max": 2}
    assert merge(base, {"model": {"type": "schnet"}})["model"] == {"type": "schnet"}
    preset = {"preset": "nequip-tiny"}
    assert merge(base, {"model": preset})["model"] == preset
    assert base["model"] == {"type": "nequip", "l_max": 1}
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_points_times_grid(tmp_path: Path) -> None:
    found = points(
        tmp_path,
        points=[{"name": "p", "family": "F"}, {"name": "q", "model": {"preset": "schnet-small"}}],
        grid={
            "model.cutoff": [4.5, 6],
            "loss": {"f": {"loss": {"stress": None}}, "fs": {"md": {"npt": None}}},
        },
    )
    assert [p.name for p in found] == [
        f"{n}_cutoff{c}_{x}" for n in "pq" for c in ("4.5", "6") for x in ("f", "fs")
    ]
    assert found[0].train["model"]["cutoff"] == 4.5
    assert found[0].train["loss"]["stress"] is None
    assert "npt" in found[0].md
    assert "npt" not in found[1].md
    assert (found[0].family, found[-1].family) == ("F", "schnet")
    assert found[-1].train["model"] == {"preset": "schnet-small", "cutoff": 6}
    assert found[-1].changes["model.cutoff"] == 6


def test_overrides_by_type(tmp_path: Path) -> None:
    plain = {"loss": {"stress": None}}
    variant = {
        "for": {
            "nequip": plain,
            "uf3": {"model": {"virial": None, "match_mean_virial": False}},
            "distilled": {"seed": 5},
        }
    }
    uf3 = {"type": "uf3", "cutoff": 8.0}
    found = points(
        tmp_path,
        points=[
            {"name": "n", "model": {"preset": "nequip-tiny"}},
            {"name": "u", "model": uf3},
            {"name": "d", "model": uf3, "distill": {"teacher": "n"}},
        ],
        grid={"loss": {"forces": variant}},
    )
    assert found[0].train["loss"] == {"stress": None}
    assert found[1].train["model"] == uf3 | {"virial": None, "match_mean_virial": False}
    assert (found[2].train["model"], found[2].train["seed"]) == (uf3, 5)
    with pytest.raises(ConfigError, match=r"point 'a': unknown type 'gap' \(known: nequip"):
        points(tmp_path, points=[{"name": "a", "for": {"gap": {}}}])


def test_grid_without_points(tmp_path: Path) -> None:
    found = points(tmp_path, points=None, grid={"seed": [1, 2], "data.frames": [5, None]})
    names = [p.name for p in found]
    assert names == ["seed1_frames5", "seed1_frames-none", "seed2_frames5", "seed2_frames-none"]


def test_a_teacher_at_the_same_place_of_the_grid(tmp_path: Path) -> None:
    grid = {"seed": [1, 2]}
    found = points(
        tmp_path, points=[{"name": "t"}, {"name": "s", "distill": {"teacher": "t"}}], grid=grid
    )
    teachers = {p.name: p.teacher for p in found if p.teacher}
    assert teachers == {"s_seed1": "t_seed1", "s_seed2": "t_seed2"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tilte": "x"}, r"study\.yaml, key 'tilte': unknown key; did you mean 'title'"),
        ({"points": [{"name": "a"}, {"name": "a"}]}, "two points are named 'a'"),
        ({"points": [{"seed": 1}]}, r"key 'points\.0\.name': the point has no name"),
        ({"points": [{"name": "a b"}]}, "point 'a b': expected a name of letters"),
        (
            {"points": [{"name": "a", "optimiser": {"epocs": 1}}]},
            r"key 'optimiser\.epocs': point 'a': unknown key; did you mean 'epochs'",
        ),
        (
            {"points": [{"name": "a", "model": {"type": "gap"}}]},
            "point 'a': .*gap",
        ),
        (
            {"points": [{"name": "a", "md": {"nvt": {"lenght_ps": 1}}}]},
            "point 'a': unknown key; did you mean 'length_ps'",
        ),
        ({"points": [{"name": "a", "md": {"nvt": None}}]}, "point 'a': expected an NVT run"),
        ({"points": [{"name": "a", "md": {"nph": {}}}]}, "point 'a': unknown ensemble 'nph'"),
        (
            {"points": [{"name": "a", "md": {"nvt": {"model": "m"}}}]},
            r"md\.nvt\.model': point 'a': the study sets this itself",
        ),
        (
            {"points": [{"name": "a", "refine": {"iteration": 2}}]},
            "point 'a': unknown key; did you mean 'iterations'",
        ),
        (
            {"points": [{"name": "a", "refine": {"start": "zero"}}]},
            r"refine\.start': point 'a': the study sets this itself",
        ),
        (
            {"points": [{"name": "a", "refine": 3}]},
            "point 'a': expected settings of 'cgpot refine'",
        ),
        ({"md": {"npt": {}}}, "expected settings for 'nvt'"),
        ({"grid": {"seed": []}}, "the axis 'seed' is empty"),
        ({"grid": {"sead": [1]}}, "point 'a_sead1': unknown key; did you mean 'seed'"),
        ({"dataset": {}}, "expected either 'folder' or 'mapped'"),
        (
            {"dataset": {"mapped": ["reference.extxyz"], "options": {"frames": 3}}},
            "unknown option 'frames'",
        ),
        (
            {"points": [{"name": "a", "distill": {"teacher": "b"}}]},
            "point 'a': the teacher 'b' is neither a point of the study nor a training folder",
        ),
        (
            {
                "points": [
                    {"name": "a", "distill": {"teacher": "b"}},
                    {"name": "b", "distill": {"teacher": "a"}},
                ]
            },
            "point 'a' is its own teacher",
        ),
        (
            {
                "points": None,
                "search": {"trials": 2, "objective": "speed", "space": {"seed": [1, 2]}},
            },
            "unknown objective 'speed'; expected one of .*rdf_error",
        ),
        (
            {"search": {"trials": 2, "objective": "rdf_error", "space": {"seed": [1]}}},
            "'search' makes its own points",
        ),
        (
            {
                "points": None,
                "search": {
                    "trials": 2,
                    "objective": "rdf_error",
                    "space": {"model.cutoff": {"low": 8, "high": 6}},
                },
            },
            "expected low < high, found 8.0 and 6.0",
        ),
    ],
)
def test_wrong_studies(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        points(tmp_path, **changes)


def test_missing_files(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "data" / "report.json").unlink()
    with pytest.raises(InputError, match="no such report of 'cgpot dataset'"):
        load_study(path)
    with pytest.raises(InputError, match=r"other\.extxyz: no such reference"):
        load_study(write_study(tmp_path, reference=["other.extxyz"]))


def test_base_from_a_file(tmp_path: Path) -> None:
    import yaml

    tmp_path.joinpath("train.yaml").write_text(yaml.safe_dump(TRAIN | {"seed": 7}))
    tmp_path.joinpath("nvt.yaml").write_text("length_ps: 5\nseed: 3\n")
    found = points(tmp_path, train="train.yaml", md={"nvt": "nvt.yaml"}, points=[{"name": "a"}])
    # a string in these places is a path
    assert found[0].train["seed"] == 7
    assert found[0].md["nvt"] == {"length_ps": 5, "seed": 3, "threads": 1}


@pytest.mark.parametrize("path", sorted((ROOT / "workflows" / "studies").glob("*.yaml")))
def test_the_studies_of_the_repository(path: Path) -> None:
    found = expand(load_study(path), path)
    assert len({p.name for p in found}) == len(found) >= 4
    for point in found:
        assert point.md["nvt"]["density_kg_m3"] == 868.1


def test_objective() -> None:
    row = dict.fromkeys(COLUMNS) | {"rdf_error": 0.02, "pressure_bar": -50.0}
    assert objective(row, {"rdf_error": 1.0, "pressure_bar": 0.001}) == pytest.approx(0.07)
    assert objective(row, {"rdf_error": 1.0, "density_kg_m3": 1.0}) is None


SEARCH = {
    "trials": 3,
    "objective": "rdf_error",
    "space": {
        "seed": {"low": 1, "high": 9, "integer": True},
        "model.cutoff": {"low": 4.0, "high": 8.0},
        "loss.stress": ["auto", None],
    },
}


def test_a_search_without_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ToolError, match="pip install optuna"):
        load_optuna()


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_search(tmp_path: Path) -> None:
    from cgpot.study.search import open_storage, run_search, trial_points
    from cgpot.study.study_run import open_study

    path = write_study(tmp_path, points=None, search=SEARCH)
    config, _, _ = opened_search(path)
    around = opened_search(path)[2]
    order(tmp_path, **{"trial-0001__train": "fail"})
    run_search(config, path, around)
    trials = open_storage(config.search, around.folder).get_trials()
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    found = trial_points(config, path, around)
    assert [p.name for p in found] == ["trial-0000", "trial-0001", "trial-0002"]
    assert found[0].train["seed"] == trials[0].params["seed"]
    calls(tmp_path)
    run_search(config, path, around)
    assert calls(tmp_path) == []
    # an interrupted trial goes on under its number
    study = open_storage(config.search, around.folder)
    asked = study.ask()
    for name in ("seed",):
        asked.suggest_int(name, 1, 9)
    asked.suggest_float("model.cutoff", 4.0, 8.0)
    asked.suggest_categorical("loss.stress", ["auto", None])
    run_search(config, path, around)
    assert {c.split("/")[0] for c in calls(tmp_path)} == {"trial-0003"}
    wrong = dict(SEARCH, space={"model.cutof": {"low": 1.0, "high": 2.0}})
    path = write_study(tmp_path, points=None, search=wrong)
    config = load_study(path)
    with pytest.raises(ConfigError, match="unknown key; did you mean 'cutoff'"):
        run_search(config, path, open_study(config, tmp_path / "other", []))


def opened_search(path: Path) -> tuple[Any, list[Point], Any]:
    from study_support import program

    from cgpot.study.study_run import open_study

    config = load_study(path)
    return config, [], open_study(config, path.parent / "out", [], program(path.parent))


def test_command_line_errors(tmp_path: Path) -> None:
    path = write_study(tmp_path, points=[{"name": "a", "optimiser": {"epocs": 1}}])
    done = subprocess.run(
        [sys.executable, "-m", "cgpot", "study", str(path), "--list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "point 'a': unknown key; did you mean 'epochs'" in done.stderr
    assert not (tmp_path / "runs").exists()
    with pytest.raises(CgpotError):
        opened(path)
