# SPDX-License-Identifier: GPL-2.0-or-later
"""Distillation: a teacher labels frames, a student learns from the labels.

The labels of a teacher hold no noise and have energies, so that few frames are enough.  Frames
are those of a data set, and where the teacher is deployed, new ones from its own MD.  With
``rounds`` the student, too, runs and the teacher labels what it meets: errors of the student on
its own configurations, which the first data do not show, are then seen and fitted (Ross, Gordon
& Bagnell, AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError, ManifestError
from cgpot.core.files import sha256_file, write_json
from cgpot.core.manifest import check_manifest, manifest_path, write_manifest
from cgpot.core.progress import progress
from cgpot.distill.distill_md import MdPlan, Run, deployed_student, md_runs
from cgpot.distill.teacher import Teacher
from cgpot.molecules.charges import require_no_charges
from cgpot.molecules.compositions import topologies_of
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.single_sites import require_single_sites

Array = NDArray[np.float64]
SUBSETS = ("train", "val", "test")
STAGE = "mapping"
"""Relabelled frames stand for mapped ones: `cgpot dataset` takes them too."""
FOLDER = "distillation"


def subset_files(dataset: str | Path) -> dict[str, Path]:
    """Files of the subsets in a folder of `cgpot dataset`.

    Raises:
        InputError: no folder, or no training or validation frames in it.
    """
    folder = Path(dataset)
    found: dict[str, Path] = {}
    for name in SUBSETS:
        for suffix in (".extxyz.xz", ".extxyz.gz", ".extxyz"):
            if (folder / (name + suffix)).is_file():
                found[name] = folder / (name + suffix)
                break
    for name in ("train", "val"):
        if name not in found:
            raise InputError(f"no {name}.extxyz or {name}.extxyz.xz in the folder", file=folder)
    return found


def spread_evenly(frames: list[CGFrame], most: int | None) -> list[CGFrame]:
    """At most so many frames, evenly over the list."""
    if most is None or most >= len(frames):
        return frames
    return [frames[int(k)] for k in np.linspace(0, len(frames) - 1, most).round()]


def relabel(
    teacher: Teacher,
    frames: Sequence[CGFrame],
    output: Path,
    *,
    identity: dict[str, Any],
    sources: dict[str, Path],
    temperature: float | None,
    quiet: bool = False,
) -> Path:
    """Write frames with the teacher's labels and a manifest; an up-to-date file is left alone.

    Raises:
        InputError: no frames, bead types that differ, or molecules of several sites.
    """
    if _current(output, identity):
        return output
    if not frames:
        raise InputError("no frames to label", file=output)
    for topology in topologies_of(frames):
        require_single_sites(topology, "cgpot distill", file=sources.get("data"))
    labelled: list[CGFrame] = []
    spread: list[float] = []
    with progress(f"teacher labels, {output.name.split('.')[0]}", len(frames), quiet=quiet) as go:
        for frame in frames:
            new, value = teacher.label(frame)
            labelled.append(new)
            spread.append(value)
            go(1)
    output.parent.mkdir(parents=True, exist_ok=True)
    manifest_path(output).unlink(missing_ok=True)
    write_frames(output, labelled)
    write_manifest(
        output,
        stage=STAGE,
        inputs={"teacher": [f / "result.json" for f in teacher.folders], **sources},
        config=identity,
        extra={
            "temperature": temperature,
            "frames": len(labelled),
            "spread_eV_per_A": [round(value, 8) for value in spread],
        },
    )
    return output


def _current(output: Path, identity: dict[str, Any]) -> bool:
    if not output.is_file() or not manifest_path(output).is_file():
        return False
    try:
        return bool(check_manifest(output, stage=STAGE).get("config") == identity)
    except ManifestError:
        return False


def distill(
    student: str | Path,
    output: str | Path,
    *,
    teachers: Sequence[str | Path],
    dataset: str | Path,
    frames: int | None = None,
    deployed: str | Path | None = None,
    md: MdPlan | None = None,
    rounds: int = 0,
    match: int = 0,
    restart: bool = False,
    quiet: bool = False,
) -> Any:
    """Label, train and, with ``rounds``, let the student meet its own configurations.

    ``output`` is the student's training folder as `cgpot train` makes it; the labelled frames
    and the runs are in ``output``/distillation.  The same call goes on where one was stopped.

    Args:
        student: train.yaml of the student; its section ``data`` is replaced.
        output: folder for all files.
        teachers: training folders or ensembles; the labels are the mean of all.
        dataset: folder of `cgpot dataset`.
        frames: at most so many training frames of the data set (evenly); None: all.
        deployed: compiled teacher (.nequip.pt2, ensemble) for MD that gives new frames.
        md: what to run; needs ``deployed`` or ``rounds``.
        rounds: trainings after the first, each with new frames from MD with the student.
        match: for students of type uf3: steps that bring g(r) and pressure of the student's MD
            onto those of the teacher's (`cgpot.distill.match`); needs ``deployed``.
        restart: replace a student that was trained with other settings, and its runs; what
            belongs to these settings is kept.
        quiet: no progress bars.

    Returns:
        `cgpot.training.training_stage.Outcome` of the last training.

    Raises:
        ConfigError: options that do not fit together, a wrong train.yaml, or charged beads.
        InputError: teacher not finished, bead types that differ, no frames.
    """
    from cgpot.training.settings.train_settings import load_config
    from cgpot.training.training_stage import train

    if match and deployed is None:
        raise ConfigError("matching the fluids needs the deployed teacher", key="match")
    if (deployed is not None or rounds > 0) and md is None:
        raise ConfigError("MD for new frames needs its length and temperature", key="md")
    if deployed is not None and not Path(deployed).exists():
        raise InputError("no such deployed teacher", file=deployed)
    subsets = subset_files(dataset)
    config = load_config(_with_data(student, subsets, Path(output)))
    if match and config.model.type != "uf3":
        raise ConfigError(
            f"matching the fluids needs a student of type 'uf3', found {config.model.type!r}; "
            "see 'cgpot refine' for networks",
            file=student,
            key="model.type",
        )
    for path in subsets.values():
        topologies = [frame.topology for frame in islice(read_frames(path), 1)]
        require_no_charges(topologies, ignore=config.system.charges == "ignore", file=path)
    temperature = config.system.temperature
    if temperature is None and not config.system.temperature_input:
        temperature = config.temperature  # tells what to give
    if md is not None:
        temperature = md.temperature if temperature is None else temperature
    teacher = Teacher(teachers, temperature if md is None else md.temperature)
    where = Path(output).resolve() / FOLDER
    identity: dict[str, Any] = {"teacher": teacher.digests, "frames": frames}
    files: dict[str, Path] = {}
    for name, path in subsets.items():
        source = {"data": path}
        stated = {**identity, "data": sha256_file(path)}
        target = where / f"{name}.extxyz.xz"
        most = frames if name == "train" else None
        chosen = [] if _current(target, stated) else spread_evenly(list(read_frames(path)), most)
        files[name] = relabel(
            teacher,
            chosen,
            target,
            identity=stated,
            sources=source,
            temperature=temperature,
            quiet=quiet,
        )
    extra: list[Path] = []
    reference: list[Run] = []
    if deployed is not None and md is not None:
        key = "pair_file" if str(deployed).endswith(".lmp") else "model"
        reference = md_runs(
            where / "md_teacher",
            md,
            subsets["train"],
            {key: Path(deployed)},
            student=False,
            replace=restart,
            quiet=quiet,
        )
        new = spread_evenly([frame for run in reference for frame in run.frames], frames)
        new = _at_temperature(new, files["train"], md.temperature)
        extra.append(
            _label_new(teacher, new, where / "teacher_md.extxyz.xz", identity, temperature)
        )
    outcome = None
    for number in range(rounds + 1):
        train_file = _joined(where / f"train.{number}.extxyz.xz", files["train"], extra)
        data = config.data.model_copy(update={**files, "train": train_file, "report": None})
        settings = config.model_copy(update={"data": data})
        last = number == rounds
        place = Path(output) if last else where / f"student.{number}"
        outcome = train(settings, place, restart=restart or not last, quiet=quiet)
        if not last and md is not None:
            met = md_runs(
                where / f"md_student.{number}",
                md,
                subsets["train"],
                deployed_student(place, where / f"deployed.{number}", md.temperature),
                replace=restart,
                quiet=quiet,
            )
            new = spread_evenly([frame for run in met for frame in run.frames], frames)
            new = _at_temperature(new, files["train"], md.temperature)
            target = where / f"student_md.{number}.extxyz.xz"
            extra.append(_label_new(teacher, new, target, identity, temperature))
        elif match and md is not None:
            from cgpot.distill.match import match_fluids

            outcome = match_fluids(
                settings,
                place,
                outcome,
                where,
                md,
                subsets["train"],
                reference,
                match,
                replace=restart,
                quiet=quiet,
            )
    write_json(
        where / "distill.json",
        {
            "format": "cgpot-distillation-1",
            "teacher": [str(folder) for folder in teacher.folders],
            "rounds": rounds,
            "match": match,
            "labelled": [path.name for path in (*files.values(), *extra)],
        },
    )
    return outcome


def _label_new(
    teacher: Teacher,
    frames: list[CGFrame],
    target: Path,
    identity: dict[str, Any],
    temperature: float | None,
) -> Path:
    digest = [float(np.round(frame.positions.sum(), 4)) for frame in frames]
    return relabel(
        teacher,
        frames,
        target,
        identity={**identity, "positions": digest},
        sources={},
        temperature=temperature,
        quiet=True,
    )


def _at_temperature(frames: list[CGFrame], like: Path, temperature: float) -> list[CGFrame]:
    """Frames of MD with its temperature, where the frames that they join carry one too."""
    if next(iter(read_frames(like))).temperature is None:
        return frames
    return [replace(frame, temperature=temperature) for frame in frames]


def _joined(target: Path, first: Path, others: list[Path]) -> Path:
    """One file of all frames; the training frames themselves where there are no others."""
    if not others:
        return first
    frames = [frame for path in (first, *others) for frame in read_frames(path)]
    write_frames(target, frames)
    return target


def _with_data(student: str | Path, subsets: dict[str, Path], output: Path) -> Path:
    """The student's train.yaml with the data set's files, for checking; returns its path."""
    import yaml

    from cgpot.core.config import load_yaml_dict
    from cgpot.core.files import write_text

    record = load_yaml_dict(student)
    record["data"] = {
        **{k: v for k, v in (record.get("data") or {}).items() if k not in (*SUBSETS, "report")},
        **{name: str(path.resolve()) for name, path in subsets.items()},
    }
    path = output.resolve() / FOLDER / "student.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
