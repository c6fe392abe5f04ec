# SPDX-License-Identifier: GPL-2.0-or-later
"""Distillation: a teacher labels frames, a student learns from the labels.

The labels of a teacher hold no noise and have energies, so that few frames are enough.  Frames
are those of a data set, and where the teacher is deployed, new ones from its own MD.  With
``rounds`` the student, too, runs and the teacher labels what it meets: errors of the student on
its own configurations, which the first data do not show, are then seen and fitted (Ross, Gordon
& Bagnell, AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError, ManifestError
from cgpot.core.extxyz import read_frames, write_frames
from cgpot.core.files import read_json, require_file, sha256_file, write_json
from cgpot.core.frame import CGFrame
from cgpot.core.manifest import check_manifest, manifest_path, write_manifest
from cgpot.core.progress import progress

Array = NDArray[np.float64]
SUBSETS = ("train", "val", "test")
STAGE = "mapping"
"""Relabelled frames stand for mapped ones: `cgpot dataset` takes them too."""
EQUILIBRATION = 0.1
"""Part of an MD run that is left out."""
VALIDATION_EVERY = 10
FOLDER = "distillation"


@dataclass(frozen=True)
class MdPlan:
    """MD that gives new configurations.

    Attributes:
        densities: kg/m^3, one run for each; empty: that of the first frame.
        temperature: K.
        length_ps: of each run.
        every_ps: time between frames.
        timestep_fs: of the runs.
        threads: of LAMMPS.
    """

    densities: tuple[float, ...]
    temperature: float
    length_ps: float = 100.0
    every_ps: float = 2.0
    timestep_fs: float = 5.0
    threads: int = 1


class Teacher:
    """One trained model, or the mean of several.

    Args:
        paths: training folders of networks or of UF3 models, or folders of ensembles.

    Raises:
        InputError: no such folder, unfinished, or bead types that differ between the members.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.folders = [member for path in paths for member in members(path)]
        if not self.folders:
            raise InputError("no teacher was given")
        results = [_result(folder) for folder in self.folders]
        names = {tuple(result["bead_names"]) for result in results}
        if len(names) > 1:
            raise InputError(
                f"the bead types of the teachers differ: {sorted(map(list, names))}",
                file=self.folders[-1],
            )
        self.type_names: tuple[str, ...] = names.pop()
        self._models = [
            _labels(folder, result) for folder, result in zip(self.folders, results, strict=True)
        ]

    @property
    def digests(self) -> list[str]:
        """sha256 of each member's result."""
        return [sha256_file(folder / "result.json") for folder in self.folders]

    def label(self, frame: CGFrame) -> tuple[CGFrame, float]:
        """The frame with the mean labels, and the rms spread of a force component, eV/Å.

        Raises:
            InputError: other bead types than the teacher's.
        """
        if frame.topology.type_names != self.type_names:
            raise InputError(
                f"bead types {list(frame.topology.type_names)} differ from those of the teacher, "
                f"{list(self.type_names)}",
                frame=frame.source_frame,
            )
        found = [model(frame) for model in self._models]
        forces = np.stack([f for f, _, _ in found])
        spread = 0.0
        if len(found) > 1:
            spread = float(np.sqrt(forces.var(axis=0, ddof=1).mean()))
        return (
            replace(
                frame,
                forces=forces.mean(axis=0),
                virial=np.mean([w for _, w, _ in found], axis=0),
                energy=float(np.mean([e for _, _, e in found])),
            ),
            spread,
        )


def members(path: str | Path) -> list[Path]:
    """Training folders that a path names: itself, or the members of an ensemble.

    Raises:
        InputError: neither.
    """
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise InputError("expected a training folder or an ensemble as teacher", file=path)
    record = folder / "ensemble.json"
    if not record.is_file():
        return [folder]
    listed = read_json(record).get("members")
    if not isinstance(listed, list) or not listed:
        raise InputError("expected a list of members", file=record, key="members")
    return [folder / str(name) for name in listed]


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not path.is_file():
        raise InputError(
            "the teacher has no result.json: its training has not finished; run 'cgpot train' "
            "again, it goes on where it stopped",
            file=folder,
        )
    check_manifest(path, stage="training")
    record: dict[str, Any] = read_json(path)
    return record


def _labels(
    folder: Path, result: dict[str, Any]
) -> Callable[[CGFrame], tuple[Array, Array, float]]:
    kind = result.get("kind", "network")
    if kind == "uf3":
        from cgpot.training.linear.uf3 import UF3Potential

        return UF3Potential.read(folder / "uf3.json").labels
    if kind != "network":
        raise InputError(
            f"expected a network or a UF3 model as teacher, found {kind!r}",
            file=folder / "result.json",
            key="kind",
        )
    import torch
    from nequip.data import AtomicDataDict

    from cgpot.training.dataset import neighbours, to_data
    from cgpot.training.evaluate import cutoff_of, load_model

    model = load_model(require_file(folder / "model.ckpt", "checkpoint"))
    cutoff = cutoff_of(model)

    def network(frame: CGFrame) -> tuple[Array, Array, float]:
        data = to_data(frame, *neighbours(frame, cutoff), forces=False, stress=False)
        out = model(AtomicDataDict.to_(data, torch.device("cpu")))

        def array(key: str) -> Array:
            value: Array = out[key].detach().double().numpy()
            return value

        stress = array(AtomicDataDict.STRESS_KEY).reshape(3, 3)
        energy = float(array(AtomicDataDict.TOTAL_ENERGY_KEY).sum())
        return array(AtomicDataDict.FORCE_KEY), -stress * frame.volume, energy

    return network


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
    temperature: float,
    quiet: bool = False,
) -> Path:
    """Write frames with the teacher's labels and a manifest; an up-to-date file is left alone.

    Raises:
        InputError: no frames, or bead types that differ.
    """
    if _current(output, identity):
        return output
    if not frames:
        raise InputError("no frames to label", file=output)
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


def md_frames(
    folder: Path, plan: MdPlan, start: Path, potential: dict[str, Path], *, quiet: bool = False
) -> list[CGFrame]:
    """Frames of MD with a deployed potential, one run for each density; finished runs are kept.

    Args:
        folder: of the runs.
        plan: what to run.
        start: data set whose first frame is the start.
        potential: key ``model`` or ``pair_file`` of `MdConfig`, and the file.
    """
    from cgpot.lammps.config import MdConfig
    from cgpot.lammps.md import run_md

    frames: list[CGFrame] = []
    for density in plan.densities or (None,):
        where = folder / ("start" if density is None else f"{density:g}")
        config = MdConfig(
            start=start,
            temperature=plan.temperature,
            density_kg_m3=density,
            length_ps=plan.length_ps,
            timestep_fs=plan.timestep_fs,
            dump_ps=plan.every_ps,
            threads=plan.threads,
            **potential,  # type: ignore[arg-type]
        )
        run_md("nvt", config, where, quiet=quiet)
        every = list(read_frames(where / "traj.extxyz.xz"))
        frames += every[max(1, int(EQUILIBRATION * len(every))) :]
    return frames


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
        restart: replace a student that was trained with other settings.
        quiet: no progress bars.

    Returns:
        `cgpot.training.run.Outcome` of the last training.

    Raises:
        ConfigError: options that do not fit together, or a wrong train.yaml.
        InputError: teacher not finished, bead types that differ, no frames.
    """
    from cgpot.training.config import load_config
    from cgpot.training.run import train

    if (deployed is not None or rounds > 0) and md is None:
        raise ConfigError("MD for new frames needs its length and temperature", key="md")
    if deployed is not None and not Path(deployed).exists():
        raise InputError("no such deployed teacher", file=deployed)
    subsets = subset_files(dataset)
    config = load_config(_with_data(student, subsets, Path(output)))
    teacher = Teacher(teachers)
    where = Path(output).resolve() / FOLDER
    temperature = config.temperature
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
    if deployed is not None and md is not None:
        key = "pair_file" if str(deployed).endswith(".lmp") else "model"
        new = md_frames(
            where / "md_teacher", md, subsets["train"], {key: Path(deployed)}, quiet=quiet
        )
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
            new = md_frames(
                where / f"md_student.{number}",
                md,
                subsets["train"],
                _deployed(place, where / f"deployed.{number}"),
                quiet=quiet,
            )
            target = where / f"student_md.{number}.extxyz.xz"
            extra.append(_label_new(teacher, new, target, identity, temperature))
    write_json(
        where / "distill.json",
        {
            "format": "cgpot-distillation-1",
            "teacher": [str(folder) for folder in teacher.folders],
            "rounds": rounds,
            "labelled": [path.name for path in (*files.values(), *extra)],
        },
    )
    return outcome


def _label_new(
    teacher: Teacher,
    frames: list[CGFrame],
    target: Path,
    identity: dict[str, Any],
    temperature: float,
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


def _joined(target: Path, first: Path, others: list[Path]) -> Path:
    """One file of all frames; the training frames themselves where there are no others."""
    if not others:
        return first
    frames = [frame for path in (first, *others) for frame in read_frames(path)]
    write_frames(target, frames)
    return target


def _deployed(training: Path, target: Path) -> dict[str, Path]:
    """Deploy a student; key of `MdConfig` and file."""
    from cgpot.deploy.run import deploy

    deploy(training, target, quiet=True)
    pair_file = target / "model.pair.lmp"
    if pair_file.is_file():
        return {"pair_file": pair_file}
    return {"model": target / "model.nequip.pt2"}


def _with_data(student: str | Path, subsets: dict[str, Path], output: Path) -> Path:
    """The student's train.yaml with the data set's files, for checking; returns its path."""
    import yaml

    from cgpot.core.config import load_yaml_dict

    record = load_yaml_dict(student)
    record["data"] = {
        **{k: v for k, v in (record.get("data") or {}).items() if k not in (*SUBSETS, "report")},
        **{name: str(path.resolve()) for name, path in subsets.items()},
    }
    path = output.resolve() / FOLDER / "student.yaml"
    from cgpot.core.files import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_text(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
