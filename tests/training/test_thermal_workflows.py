# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks with the temperature as an input, where a workflow deploys or labels with them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "study"))

from study_support import calls, opened, run, write_study
from thermal_systems import COLD, HOT, THERMAL, exact, write_two
from training_systems import settings

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import read_json, write_json
from cgpot.deploy import deployment as deploy_run
from cgpot.deploy.deployment import Deployment
from cgpot.distill.distill_md import deploy_student
from cgpot.distill.distillation import distill
from cgpot.distill.teacher import Teacher
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.splines import PairTable
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.refine_start import compiled_model, resolve
from cgpot.study.stage_commands import plan
from cgpot.training.network.amend import amend
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Outcome, train

WALL = {"type": "wall"}


@pytest.fixture(scope="module")
def thermal(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Trained on frames at 4 and 6 K, on a repulsive wall."""
    changes = {**THERMAL, "prior": WALL, "optimiser": {"epochs": 1, "ema_decay": 0.8}}
    path = write_two(tmp_path_factory.mktemp("thermal"), **changes)
    return train(load_config(path), path.parent / "out", quiet=True)


@pytest.fixture
def deployed_at(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Temperatures at which something was to be deployed; nothing is compiled."""
    found: list[float | None] = []

    def deploy(training: Path, output: Path, **options: Any) -> Deployment:
        found.append(options.get("temperature"))
        return Deployment(Path(output) / "model.cgpot.json")

    monkeypatch.setattr(deploy_run, "deploy", deploy)
    return found


def refinement(start: Path, temperature: float, **changes: Any) -> RefineConfig:
    return RefineConfig(
        start=start, reference=[start / "example.extxyz"], temperature=temperature, **changes
    )


def test_refinement_deploys_at_its_own_temperature(
    thermal: Outcome, tmp_path: Path, deployed_at: list[float | None]
) -> None:
    config = refinement(thermal.folder, COLD)
    start = resolve(config)
    assert start.thermal
    compiled_model(config, start, tmp_path / "start", quiet=True)
    assert deployed_at == [COLD]
    with pytest.raises(InputError, match="trained from 4 to 6 K, the refinement is at 9 K"):
        resolve(refinement(thermal.folder, 9.0))


def test_a_model_deployed_at_another_temperature_is_refused(
    thermal: Outcome, tmp_path: Path
) -> None:
    from cgpot.core.files import sha256_file

    digest = sha256_file(thermal.folder / "model.ckpt")
    record = {
        "format": "cgpot-model-1", "bead_names": ["A"], "masses": [1.0], "units": {},
        "sha256": {"model.ckpt": digest}, "temperature": HOT,
    }  # fmt: skip
    write_json(tmp_path / "model.cgpot.json", record)
    config = refinement(thermal.folder, COLD, deployed=tmp_path / "model.nequip.pt2")
    with pytest.raises(InputError, match=r"deployed at 6\.0 K, the refinement is at 4 K"):
        compiled_model(config, resolve(config), tmp_path / "start", quiet=True)
    config = refinement(thermal.folder, HOT, deployed=tmp_path / "model.nequip.pt2")
    assert compiled_model(config, resolve(config), tmp_path, quiet=True) == config.deployed


def test_a_refined_network_keeps_its_temperature(thermal: Outcome, tmp_path: Path) -> None:
    """The correction holds at one temperature: the model is fixed there, its labels unchanged."""
    start = resolve(refinement(thermal.folder, HOT))
    assert start.table is not None
    frames = exact(2, 30, HOT)
    before = [NetworkPotential.read(thermal.folder / "model.ckpt").labels(f).forces for f in frames]
    result = amend(
        thermal.folder, tmp_path / "m", start.table, frames, source=[], facts={}, temperature=HOT
    )
    assert result["temperature_input"] is None
    assert result["temperature"] == HOT
    bare = [replace(frame, temperature=None) for frame in frames]
    after = [NetworkPotential.read(tmp_path / "m" / "model.ckpt").labels(f).forces for f in bare]
    np.testing.assert_allclose(after, before, atol=1e-12)
    with pytest.raises(InputError, match="force at 6 K, not at 4 K"):
        deploy_run.deploy(tmp_path / "m", tmp_path / "d", temperature=COLD)


def test_a_teacher_labels_at_the_temperature_of_the_frame(thermal: Outcome) -> None:
    model = NetworkPotential.read(thermal.folder / "model.ckpt")
    cold, hot = exact(1, 31, COLD)[0], replace(exact(1, 31, COLD)[0], temperature=HOT)
    teacher = Teacher([thermal.folder])
    assert teacher.thermal
    labels = [teacher.label(frame)[0].forces for frame in (cold, hot)]
    for frame, found in zip((cold, hot), labels, strict=True):
        np.testing.assert_allclose(found, model.labels(frame).forces)
    assert not np.allclose(labels[0], labels[1], rtol=1e-6)
    bare = replace(cold, temperature=None)
    given, _ = Teacher([thermal.folder], HOT).label(bare)
    assert given.temperature == HOT
    np.testing.assert_allclose(given.forces, labels[1])
    with pytest.raises(InputError, match="temperature as an input, but the frame carries none"):
        teacher.label(bare)


def test_a_student_is_deployed_at_the_temperature_of_the_md(
    thermal: Outcome, tmp_path: Path, deployed_at: list[float | None]
) -> None:
    deploy_student(thermal.folder, tmp_path / "d", HOT)
    write_json(tmp_path / "result.json", {**thermal.result, "temperature_input": None})
    deploy_student(tmp_path, tmp_path / "d", HOT)  # takes no temperature: its own
    assert deployed_at == [HOT, None]


def test_a_student_of_a_thermal_teacher(thermal: Outcome, tmp_path: Path) -> None:
    """A UF3 model at one temperature, of a network that knows two."""
    data = tmp_path / "data"
    data.mkdir()
    for seed, (name, count) in enumerate((("train", 6), ("val", 2), ("test", 2))):
        frames = [replace(frame, temperature=None) for frame in exact(count, seed, COLD)]
        write_frames(data / f"{name}.extxyz", frames)
    model = {"type": "uf3", "cutoff": 5.0, "three_body_cutoff": None}
    path = tmp_path / "student.yaml"
    path.write_text(yaml.safe_dump({**settings(system={"temperature": HOT}), "model": model}))
    distill(path, tmp_path / "out", teachers=[thermal.folder], dataset=data, quiet=True)
    labelled = list(read_frames(tmp_path / "out" / "distillation" / "test.extxyz.xz"))
    assert [frame.temperature for frame in labelled] == [HOT, HOT]
    expected = NetworkPotential.read(thermal.folder / "model.ckpt").labels(labelled[0]).forces
    np.testing.assert_allclose(labelled[0].forces, expected, atol=1e-5)


THERMAL_TRAIN = {"system": {"temperature": 300.0, "temperature_input": True}}


def test_a_study_deploys_at_the_temperature_of_its_runs(tmp_path: Path) -> None:
    points = [{"name": "a"}, {"name": "t", **THERMAL_TRAIN}]
    path = write_study(tmp_path, points=points)
    run(path)
    lines = {line.split()[0]: line for line in (tmp_path / "calls").read_text().splitlines()}
    assert " --temperature 300 " in lines["t/deploy"]
    assert "--temperature" not in lines["a/deploy"]
    calls(tmp_path)
    # at another temperature the training stays, and the model is deployed again
    md = {name: {"length_ps": 60, "temperature": 310.0} for name in ("nvt", "npt")}
    path = write_study(tmp_path, points=[{"name": "a"}, {"name": "t", **THERMAL_TRAIN, "md": md}])
    run(path)
    lines = {line.split()[0]: line for line in (tmp_path / "calls").read_text().splitlines()}
    assert list(lines) == ["t/deploy", "t/nvt", "t/npt", "t/analyze"]
    assert " --temperature 310 " in lines["t/deploy"]
    assert "analyze --temperature 310.0 " in lines["t/analyze"]


def test_the_temperature_of_a_student_in_a_study(tmp_path: Path) -> None:
    student = {"name": "s", "distill": {"teacher": "t", "options": {"frames": 9}}, **THERMAL_TRAIN}
    path = write_study(tmp_path, points=[{"name": "t", **THERMAL_TRAIN}, student])
    run(path)
    lines = {line.split()[0]: line for line in (tmp_path / "calls").read_text().splitlines()}
    assert "--temperature 300 --frames 9 --restart" in lines["s/distill"]


def test_what_a_study_refuses(tmp_path: Path) -> None:
    md = {"nvt": {"temperature": 310.0}, "npt": {"temperature": 320.0}}
    path = write_study(tmp_path, points=[{"name": "t", **THERMAL_TRAIN, "md": md}])
    with pytest.raises(ConfigError, match=r"point 't'.*310.0 K, 320.0 K.*same for all runs"):
        opened(path)
    free = {"system": {"temperature": None}}
    path = write_study(tmp_path, points=[{"name": "a", **free}])
    with pytest.raises(ConfigError, match=r"point 'a'.*null, and the runs name no temperature"):
        opened(path)
    path = write_study(tmp_path, points=[{"name": "a", **free, "md": {"nvt": {"temperature": 7}}}])
    _, points, around = opened(path)
    assert points[0].temperature == 7.0
    assert len(plan(points[0], around)) == 5


@pytest.mark.slow
def test_a_whole_refinement_of_a_thermal_network(thermal: Outcome, tmp_path: Path) -> None:
    """Compiled at the temperature, run by LAMMPS, and amended."""
    from cgpot.refine.refine_loop import refine

    frames = [replace(frame, temperature=HOT) for frame in exact(40, 50, HOT)]
    write_frames(tmp_path / "reference.extxyz", frames)
    config = refinement(thermal.folder, HOT).model_copy(
        update={"reference": [tmp_path / "reference.extxyz"], "iterations": 1}
    )
    short = {
        "length_ps": 1.5,
        "equilibration_ps": 0.5,
        "timestep_fs": 1.0,
        "sample_ps": 0.02,
        "tdamp_ps": 0.02,
        "skin": 0.5,
        "minimize": True,
    }
    config = config.model_copy(update={"md": config.md.model_copy(update=short)})
    outcome = refine(config, tmp_path / "out", quiet=True)
    assert read_json(outcome.folder / "start" / "model.cgpot.json")["temperature"] == HOT
    result = read_json(outcome.folder / "model" / "result.json")
    assert (result["temperature"], result["temperature_input"]) == (HOT, None)
    assert PairTable.read(outcome.folder / "model" / "pair.json").type_names == ("BEA",)
