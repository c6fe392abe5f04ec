# SPDX-License-Identifier: GPL-2.0-or-later
"""A study whose stages are a small program that writes canned outputs, fails or waits as told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from cgpot.study.points import Point, expand
from cgpot.study.stage_commands import Surroundings
from cgpot.study.study_run import Driver, open_study
from cgpot.study.study_settings import StudyConfig, load_study

PROGRAM = """
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
output = pathlib.Path(words[words.index("--output") + 1])
stage = output.name if words[0] == "md" else words[0]
point = output.parent.name
with open(here / "calls", "a") as stream:
    stream.write(f"{point}/{stage} {' '.join(words)}\\n")
orders = json.loads((here / "orders.json").read_text())
order = orders.get(f"{point}/{stage}", "")
output.mkdir(parents=True, exist_ok=True)
(output / "touched").open("a").write("x")
if order == "wait":
    while not (here / "go").exists():
        time.sleep(0.05)
if order == "sleep":
    time.sleep(60)
if order == "npt breaks" and any(w.endswith("/npt") for w in words):
    print("error: md: the run hardly moved", file=sys.stderr)
    sys.exit(2)
number = sum(map(ord, point)) % 7 + 1
def write(name, value):
    (output / name).write_text(json.dumps(value))
md = {"timestep_fs": 10.0, "ns": 0.06, "failures": [], "ns_per_day": 10.0 * number}
if order == "blow up":
    md["failures"] = [{"step": 3000, "message": "the simulation blew up at step 3000"}]
    write("md.json", md | {"ns": 0.03})
if order in ("fail", "blow up"):
    print("working\\nerror: it broke\\n  and more", file=sys.stderr)
    sys.exit(2)
if stage in ("train", "distill"):
    write("result.json", {
        "kind": "network", "force_rmse": 0.1 + 0.001 * number, "force_rmse_pair_fit": 0.12,
        "stress_rmse": 1e-4, "pressure_residual_bar": {"mean": -5.0, "error": 2.0},
        "n_train": 30, "epochs": 2, "n_parameters": 100 * number, "cutoff": 5.0})
    write("inputs.json", {"config": {"model": {"type": "nequip", "cutoff": 5.0, "l_max": 2}}})
if stage == "deploy":
    (output / "model.pair.lmp").write_text("pair_style none\\n")
if stage == "refine":
    (output / "model").mkdir(exist_ok=True)
    (output / "model" / "model.pair.lmp").write_text("pair_style none\\n")
if stage in ("nvt", "npt", "nve"):
    write("md.json", md)
    if order.startswith("density "):
        lines = ["density_kg_m3", "868.1", "868.1", "868.1", order.split()[1]]
        (output / "thermo.csv").write_text("\\n".join(lines) + "\\n")
if stage == "speed":
    write("md.json", md | {"ns_per_day": 77.0, "threads": 1,
        "segments": [{"cpu_use_percent": 40.0 if order == "busy" else 99.5}]})
if stage == "analyze":
    pm = lambda mean, error: {"mean": mean, "error": error}
    run = {"ensemble": "nvt", "stable_ns": 0.06, "ns_per_day": 10.0 * number,
           "cpu_use_percent": 99.0, "pressure": pm(12.0, 3.0), "density": pm(868.0, 0.0),
           "diffusion": {"value": 2e-9, "error": 1e-10},
           "headline": {"rdf_error": 0.01 * number, "rdf_error_error": 0.001,
             "first_peak_rel_error": 0.02, "first_peak_rel_error_error": 0.01}}
    npt = {"ensemble": "npt", "pressure": pm(1.0, 3.0), "density": pm(860.0, 2.0)}
    runs = [run, npt] if any(w.endswith("/npt") for w in words) else [run]
    write("analysis.json", {
        "reference": {"pressure": pm(3.0, 10.0), "rdf": {"BEA-BEA": {"halves_error": 0.007}}},
        "density_aa": {"value": 868.1, "error": 1.0}, "runs": runs})
"""

TRAIN: dict[str, Any] = {
    "data": {"train": "train.extxyz", "val": "val.extxyz"},
    "system": {"temperature": 300.0},
    "model": {"cutoff": 5.0},
    "prior": {"type": "wall"},
}
STUDY: dict[str, Any] = {
    "title": "Two points",
    "dataset": {"folder": "data"},
    "reference": ["reference.extxyz"],
    "train": TRAIN,
    "md": {"nvt": {"length_ps": 60}, "npt": {"length_ps": 60, "pressure_bar": 1.0}},
    "points": [{"name": "a", "seed": 1}, {"name": "b", "seed": 2}],
}


def write_study(folder: Path, **changes: Any) -> Path:
    """Write a study, its (empty) data and the program; returns the path of the YAML file."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for name in ("report.json", "train.extxyz", "val.extxyz", "test.extxyz"):
        (data / name).write_text("{}\n")
    (folder / "reference.extxyz").write_text("x\n")
    (folder / "program.py").write_text(PROGRAM)
    order(folder)
    path = folder / "study.yaml"
    content = {key: value for key, value in {**STUDY, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def order(folder: Path, **orders: str) -> None:
    """What the program does at ``point__stage``: fail, blow up, wait, sleep,
    or ``density X`` at the end of a run."""
    plain = {key.replace("__", "/"): value for key, value in orders.items()}
    (folder / "orders.json").write_text(json.dumps(plain))


def program(folder: Path) -> tuple[str, ...]:
    """The command that stands for ``cgpot``."""
    return (sys.executable, "-S", str(folder / "program.py"))


def opened(path: Path) -> tuple[StudyConfig, list[Point], Surroundings]:
    """A study ready to run in the folder ``out`` beside its file."""
    config = load_study(path)
    points = expand(config, path)
    return config, points, open_study(config, path.parent / "out", points, program(path.parent))


def run(path: Path, **options: Any) -> dict[str, str]:
    """Run a study; returns the states of its points."""
    config, points, around = opened(path)
    return Driver(config, around, points, **options).run()


def calls(folder: Path) -> list[str]:
    """``point/stage`` of every call since the last look."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split()[0] for line in lines]
