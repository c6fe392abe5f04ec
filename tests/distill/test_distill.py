# SPDX-License-Identifier: GPL-2.0-or-later
"""Distillation: labels, new frames, rounds, and going on; a UF3 model as a quick teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cgpot.cli import main
from cgpot.core.errors import CgpotError, ConfigError, InputError
from cgpot.core.manifest import check_manifest, manifest_path
from cgpot.distill.distill_md import MdPlan
from cgpot.distill.distillation import distill
from cgpot.distill.teacher import Teacher
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train

MODEL = {
    "type": "uf3",
    "cutoff": 7.0,
    "three_body_cutoff": 5.0,
    "three_body_inner": 2.0,
    "three_body_intervals": 5,
}


def fluid(seed: int, name: str = "A") -> CGFrame:
    rng = np.random.default_rng(seed)
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    topology = Topology((name,), (78.0,), np.zeros(64, dtype=np.int64), np.arange(64))
    positions = 4.5 * lattice + rng.uniform(-0.6, 0.6, size=(64, 3))
    return CGFrame(
        topology,
        positions,
        18.0 * np.eye(3),
        forces=np.zeros((64, 3)),
        virial=np.zeros((3, 3)),
        source_frame=seed,
    )


def lennard_jones(frame: CGFrame) -> CGFrame:
    """The frame with forces, virial and energy of a Lennard-Jones fluid, from ase."""
    from dataclasses import replace

    from ase import Atoms
    from ase.calculators.lj import LennardJones

    atoms = Atoms("X64", positions=frame.positions, cell=frame.cell, pbc=True)
    atoms.calc = LennardJones(sigma=3.6, epsilon=0.02, rc=6.5, smooth=True)
    return replace(
        frame,
        forces=atoms.get_forces(),
        virial=-atoms.get_stress(voigt=False) * frame.volume,
        energy=atoms.get_potential_energy(),
    )


def dataset(folder: Path, name: str = "A") -> Path:
    folder.mkdir()
    frames = [fluid(seed, name) for seed in range(9)]
    write_frames(folder / "train.extxyz.xz", frames[:5])
    write_frames(folder / "val.extxyz.xz", frames[5:7])
    write_frames(folder / "test.extxyz.xz", frames[7:])
    return folder


def settings(folder: Path, **model: object) -> Path:
    path = folder / "student.yaml"
    path.write_text(
        json.dumps(
            {
                "data": {"train": "no-file.extxyz", "val": "none.extxyz"},
                "system": {"temperature": 120.0},
                "model": {**MODEL, **model},
            }
        )
    )
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UF3 model of a Lennard-Jones fluid."""
    folder = tmp_path_factory.mktemp("teacher")
    frames = [lennard_jones(fluid(seed)) for seed in range(100, 110)]
    write_frames(folder / "train.extxyz", frames[:8])
    write_frames(folder / "val.extxyz", frames[8:])
    path = folder / "train.yaml"
    path.write_text(
        json.dumps(
            {
                "data": {"train": "train.extxyz", "val": "val.extxyz"},
                "system": {"temperature": 120.0},
                "model": MODEL,
            }
        )
    )
    train(load_config(path), folder / "out", quiet=True)
    return folder / "out"


def test_the_student_learns_the_labels_of_the_teacher(tmp_path: Path, teacher: Path) -> None:
    data = dataset(tmp_path / "data")
    call = {"teachers": [teacher], "dataset": data, "frames": 4, "quiet": True}
    student = settings(tmp_path)
    outcome = distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]
    assert outcome.result["force_rmse"] < 0.2 * outcome.result["force_label_rms"]
    labelled = tmp_path / "out" / "distillation" / "train.extxyz.xz"
    record = check_manifest(labelled, stage="mapping")
    assert record["frames"] == 4
    assert record["spread_eV_per_A"] == [0.0] * 4
    frame = next(read_frames(labelled))
    again, _ = Teacher([teacher]).label(frame)
    assert frame.energy is not None
    assert frame.energy == pytest.approx(again.energy, abs=1e-3)
    assert np.allclose(frame.forces, again.forces, atol=2e-3)
    # the same call does nothing, other settings are refused
    before = labelled.stat().st_mtime_ns
    assert distill(student, tmp_path / "out", **call).skipped  # type: ignore[arg-type]
    assert labelled.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other inputs"):
        distill(settings(tmp_path, smooth=1e-5), tmp_path / "out", **call)  # type: ignore[arg-type]


def test_a_killed_labelling_is_taken_up(tmp_path: Path, teacher: Path) -> None:
    data = dataset(tmp_path / "data")
    student = settings(tmp_path)
    distill(student, tmp_path / "out", teachers=[teacher], dataset=data, quiet=True)
    first = (tmp_path / "out" / "uf3.json").read_bytes()
    labels = tmp_path / "out" / "distillation"
    manifest_path(labels / "val.extxyz.xz").unlink()
    manifest_path(tmp_path / "out" / "result.json").unlink()
    outcome = distill(student, tmp_path / "out", teachers=[teacher], dataset=data, quiet=True)
    assert not outcome.skipped
    assert (tmp_path / "out" / "uf3.json").read_bytes() == first


def test_new_frames_from_the_teacher_and_from_the_student(tmp_path: Path, teacher: Path) -> None:
    from cgpot.deploy.deployment import deploy

    deploy(teacher, tmp_path / "deployed", quiet=True)
    data = dataset(tmp_path / "data")
    outcome = distill(
        settings(tmp_path),
        tmp_path / "out",
        teachers=[teacher],
        dataset=data,
        deployed=tmp_path / "deployed" / "model.pair.lmp",
        md=MdPlan((), 120.0, length_ps=1.0, every_ps=0.1),
        rounds=1,
        quiet=True,
    )
    folder = tmp_path / "out" / "distillation"
    counts = [
        len(list(read_frames(folder / name)))
        for name in ("teacher_md.extxyz.xz", "student_md.0.extxyz.xz")
    ]
    assert counts == [10, 10]
    assert outcome.result["n_train"] == 5 + sum(counts)


def test_an_ensemble_gives_its_mean_and_spread(tmp_path: Path, teacher: Path) -> None:
    data = dataset(tmp_path / "data")
    other = tmp_path / "other"
    distill(
        settings(tmp_path, three_body_cutoff=None),
        other,
        teachers=[teacher],
        dataset=data,
        quiet=True,
    )
    ensemble = tmp_path / "ensemble"
    ensemble.mkdir()
    record = {"format": "cgpot-ensemble-1", "members": [str(teacher), str(other)]}
    (ensemble / "ensemble.json").write_text(json.dumps(record))
    both = Teacher([ensemble])
    assert both.folders == [teacher, other]
    frame, spread = both.label(fluid(3))
    single = [Teacher([folder]).label(fluid(3))[0] for folder in (teacher, other)]
    assert np.allclose(frame.forces, 0.5 * (single[0].forces + single[1].forces))
    assert frame.energy == pytest.approx(0.5 * (single[0].energy + single[1].energy))
    difference = single[0].forces - single[1].forces
    assert spread == pytest.approx(np.sqrt(np.mean(difference**2) / 2))


def test_the_command_line(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(tmp_path / "data")
    words = ["distill", str(settings(tmp_path)), "--teacher", str(teacher), "-q"]
    words += ["--dataset", str(data), "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--deploy", str(tmp_path / "deployed")])
    assert stop.value.code == 0
    assert (tmp_path / "deployed" / "model.pair.lmp").is_file()
    assert "coefficients from 5 frames" in capsys.readouterr().out


def test_the_fluid_of_the_student_is_brought_onto_that_of_the_teacher(
    tmp_path: Path, teacher: Path
) -> None:
    """A student whose pairs end too early has another pressure; a step removes most of that."""
    from cgpot.deploy.deployment import deploy

    deploy(teacher, tmp_path / "deployed", quiet=True)
    call = {
        "teachers": [teacher],
        "dataset": dataset(tmp_path / "data"),
        "deployed": tmp_path / "deployed" / "model.pair.lmp",
        "md": MdPlan((), 120.0, length_ps=20.0, every_ps=0.2, student_length_ps=30.0),
        "match": 1,
        "quiet": True,
    }
    student = settings(
        tmp_path, cutoff=5.0, three_body_cutoff=None, match_mean_virial=False, virial=None
    )
    outcome = distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]
    before, after = outcome.result["matching"]["history"]
    assert before["step"] == 0 and len(before["pressure_difference_bar"]) == 1  # noqa: PT018
    first, second = (abs(h["pressure_difference_bar"][0]) for h in (before, after))
    assert first > 300.0
    assert second < 0.7 * first  # the step is one of 1 k_B T, shorter than that of Newton
    assert after["rdf_error"] < 0.8 * before["rdf_error"]
    final = (tmp_path / "out" / "uf3.json").read_bytes()
    check_manifest(tmp_path / "out" / "result.json", stage="training")
    assert distill(student, tmp_path / "out", **call).result == outcome.result  # type: ignore[arg-type]
    assert (tmp_path / "out" / "uf3.json").read_bytes() == final


def test_a_match_that_was_killed_goes_on(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that has run is run again; with restart, a student of other settings replaces it."""
    from cgpot.deploy.deployment import deploy
    from cgpot.distill import distill_md

    deploy(teacher, tmp_path / "deployed", quiet=True)
    call = {
        "teachers": [teacher],
        "dataset": dataset(tmp_path / "data"),
        "deployed": tmp_path / "deployed" / "model.pair.lmp",
        "md": MdPlan((), 120.0, length_ps=2.5, every_ps=0.1),
        "match": 1,
        "restart": True,
        "quiet": True,
    }
    real = distill_md.md_runs

    def killed(folder: Path, *rest: object, **options: object) -> object:
        if folder.name == "md_match.1":
            raise KeyboardInterrupt
        return real(folder, *rest, **options)  # type: ignore[arg-type]

    student = settings(tmp_path, three_body_cutoff=None)
    monkeypatch.setattr(distill_md, "md_runs", killed)
    with pytest.raises(KeyboardInterrupt):
        distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]
    monkeypatch.setattr(distill_md, "md_runs", real)
    folder = tmp_path / "out" / "distillation"
    kept = [
        *(folder / f"{name}.extxyz.xz" for name in ("train", "teacher_md")),
        *(folder / f"{name}/start/run.0.log" for name in ("md_teacher", "md_match.0")),
    ]
    before = [path.stat().st_mtime_ns for path in kept]
    outcome = distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]
    assert len(outcome.result["matching"]["history"]) == 2
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert not list(folder.glob("md_match.*/start/run.1.log"))
    other = settings(tmp_path, three_body_cutoff=None, smooth=1e-5)
    with pytest.raises(InputError, match="other inputs"):
        distill(other, tmp_path / "out", **{**call, "restart": False})  # type: ignore[arg-type]
    again = distill(other, tmp_path / "out", **call)  # type: ignore[arg-type]
    assert not again.skipped
    assert [path.stat().st_mtime_ns for path in kept[:3]] == before[:3]
    assert kept[3].stat().st_mtime_ns > before[3]
    runs = folder / "md_match.0"
    (runs / "start" / "tables.json").write_text("{}")
    with pytest.raises(InputError, match="a run with another potential"):
        distill_md.md_runs(
            runs,
            MdPlan((), 120.0, length_ps=2.5, every_ps=0.1),
            tmp_path / "data" / "train.extxyz.xz",
            {"pair_file": folder / "match.0" / "model.pair.lmp"},
            quiet=True,
        )


def test_charges_and_molecules(tmp_path: Path, teacher: Path) -> None:
    """Both are refused before anything is labelled; charges may be ignored."""
    from dataclasses import replace

    data = dataset(tmp_path / "data")
    call: dict[str, object] = {"teachers": [teacher], "dataset": data, "quiet": True}
    frames = [fluid(seed) for seed in range(4)]
    for frame in frames:
        frame.topology = replace(frame.topology, type_charges=(0.5,))
    write_frames(data / "val.extxyz.xz", frames)
    with pytest.raises(ConfigError, match=r"val.*system\.charges.*A \(\+0.5 e\).* Coulomb term"):
        distill(settings(tmp_path), tmp_path / "out", **call)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("out/distillation/*.xz"))
    student = settings(tmp_path)
    record = json.loads(student.read_text())
    record["system"]["charges"] = "ignore"
    student.write_text(json.dumps(record))
    write_frames(data / "train.extxyz.xz", frames)
    outcome = distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]
    assert "there is no Coulomb term" in outcome.result["warnings"][0]
    for frame in frames:
        pairs = np.arange(64) // 2
        frame.topology = Topology(("A",), (78.0,), frame.topology.types, pairs)
    write_frames(data / "test.extxyz.xz", frames)
    with pytest.raises(InputError, match=r"test.*cgpot distill takes molecules of one site only"):
        distill(student, tmp_path / "out", **call)  # type: ignore[arg-type]


def test_what_is_refused(tmp_path: Path, teacher: Path) -> None:
    data = dataset(tmp_path / "data")
    other = dataset(tmp_path / "other", "B")
    empty = tmp_path / "empty"
    empty.mkdir()
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "ensemble.json").write_text('{"format": "cgpot-ensemble-1", "members": []}')
    usual: dict[str, object] = {"teachers": [teacher], "dataset": data, "quiet": True}
    cases: list[tuple[dict[str, object], type[CgpotError], str]] = [
        ({"teachers": [empty]}, InputError, "no result.json"),
        ({"teachers": [tmp_path / "none"]}, InputError, "a training folder or an ensemble"),
        ({"teachers": [lone]}, InputError, "expected a list of members"),
        ({"teachers": []}, InputError, "no teacher"),
        ({"dataset": empty}, InputError, "no train.extxyz"),
        ({"dataset": other}, InputError, r"bead types \['B'\] differ from those of the teacher"),
        ({"rounds": 1}, ConfigError, "length and temperature"),
        ({"match": 1}, ConfigError, "needs the deployed teacher"),
        ({"deployed": tmp_path / "x.nequip.pt2"}, ConfigError, "length and temperature"),
        (
            {"deployed": tmp_path / "x.nequip.pt2", "md": MdPlan((), 100.0)},
            InputError,
            "no such deployed teacher",
        ),
    ]
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            distill(settings(tmp_path), tmp_path / "out", **{**usual, **change})  # type: ignore[arg-type]
    assert not (tmp_path / "out" / "result.json").exists()
