# SPDX-License-Identifier: GPL-2.0-or-later
"""The points of a study: base, named overrides and grid made into whole configurations."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from cgpot.core.config import StrictModel, load_yaml_dict, validate
from cgpot.core.errors import ConfigError
from cgpot.study.study_settings import ENSEMBLES, NAME, StudyConfig

OWN = ("name", "family", "md", "distill", "refine", "for")
"""Keys of a point that are no section of train.yaml."""

TYPES = ("nequip", "allegro", "schnet", "mscg", "uf3")
LINEAR = ("mscg", "uf3")
"""Types whose loss stands in the section model."""


class DistillConfig(StrictModel):
    """A point whose labels come from the trained model of another."""

    teacher: str = Field(description="name of a point, or a training folder")
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of `cgpot distill`, by their long names"
    )


@dataclass(frozen=True)
class Point:
    """One point, ready to run.

    Attributes:
        name: unique; also the name of its folder.
        family: models that share a colour.
        changes: dotted key -> value of everything that differs from the base.
        train: content of its train.yaml; paths of the section data as the user gave them.
        md: ensemble -> settings of `cgpot md`; ensembles that are not run are left out.
        distill: the teacher and options, if it is distilled.
        teacher: name of the point that must be done first, if any.
        refine: content of the YAML file of `cgpot refine`, if it is refined.
    """

    name: str
    family: str
    changes: dict[str, Any]
    train: dict[str, Any]
    md: dict[str, dict[str, Any]]
    distill: DistillConfig | None = None
    teacher: str | None = None
    refine: dict[str, Any] | None = None

    @property
    def model_type(self) -> str:
        """The architecture, as far as the settings name one."""
        return model_type(self.train.get("model") or {})

    @property
    def thermal(self) -> bool:
        """Whether the network takes the temperature as an input."""
        return bool((self.train.get("system") or {}).get("temperature_input"))

    @property
    def temperature(self) -> float:
        """K, of the runs and, for a network that takes it as an input, of its deployment."""
        system = (self.train.get("system") or {}).get("temperature")
        run = self.md["nvt"].get("temperature")
        chosen = (run, system) if self.thermal else (system, run)
        return float(next(value for value in chosen if value is not None))


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` on top: mappings merge key by key, all else is replaced.

    A section ``model`` that names another type, or a preset, replaces that of the base.
    """
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if key == "model" and isinstance(value, Mapping) and isinstance(old, Mapping):
            other = value.get("type", old.get("type", "nequip")) != old.get("type", "nequip")
            if other or "preset" in value:
                result[key] = dict(value)
                continue
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result


def nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b.c`` and a value as mappings within mappings."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Mappings within mappings as dotted keys."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            found.update(flat(item, f"{name}."))
        else:
            found[name] = item
    return found


def expand(config: StudyConfig, file: str | Path) -> list[Point]:
    """All points, in the order of the file.

    Raises:
        ConfigError: a name given twice, a point without one, or settings that a stage refuses
            (the point is named).
    """
    file = Path(file)
    entries = config.points or [{"name": ""}]
    for number, entry in enumerate(entries):
        if config.points and not isinstance(entry.get("name"), str):
            raise ConfigError("the point has no name", file=file, key=f"points.{number}.name")
    variants = _combinations(config, file)
    points: list[Point] = []
    for entry in entries:
        for suffix, change in variants:
            name = "_".join(part for part in (entry["name"], suffix) if part) or "base"
            points.append(make_point(config, file, name, merge(entry, change), suffix=suffix))
    _unique([p.name for p in points], file)
    return _with_teachers(points, file)


def make_point(
    config: StudyConfig, file: Path, name: str, entry: Mapping[str, Any], *, suffix: str = ""
) -> Point:
    """One point from its overrides, checked as each stage would.

    Raises:
        ConfigError: a wrong name or setting; the point is named.
    """
    if not re.match(NAME, name):
        raise ConfigError(
            f"point {name!r}: expected a name of letters, digits and . _ + -", file=file
        )
    try:
        entry = _by_type(config, entry, file)
        own = {key: entry[key] for key in OWN if key in entry}
        train = merge(base_train(config), {k: v for k, v in entry.items() if k not in OWN})
        train.setdefault("threads", config.threads)
        _check_train(train, file)
        distill = own.get("distill")
        chosen = validate(DistillConfig, distill, file) if distill is not None else None
        md = _md(config, own.get("md") or {}, file)
        temperature = _check_temperature(train, md, file)
        if own.get("refine") is not None:
            _check_refine(own["refine"], temperature, file)
    except ConfigError as err:
        raise ConfigError(f"point '{name}': {err.message}", file=err.file, key=err.key) from err
    changes = flat({k: v for k, v in entry.items() if k not in ("name", "family")})
    point = Point(
        name=name,
        family=str(own.get("family") or ""),
        changes=changes,
        train=train,
        md=md,
        distill=chosen,
        teacher=None if chosen is None else f"{chosen.teacher}|{suffix}",
        refine=own.get("refine"),
    )
    return point if point.family else _with(point, family=point.model_type)


def _by_type(config: StudyConfig, entry: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The overrides with those of the section ``for`` that belong to the type of the model.

    Its keys are types of models, and ``distilled``, which comes first for a distilled point.

    Raises:
        ConfigError: a key that is no type.
    """
    result = {key: value for key, value in entry.items() if key != "for"}
    choices = entry.get("for") or {}
    for key in choices:
        if key not in (*TYPES, "distilled"):
            raise ConfigError(
                f"unknown type {key!r} (known: {', '.join(TYPES)}, distilled)", file=file, key="for"
            )
    kind = model_type(merge(base_train(config), result).get("model") or {})
    if "distill" in result:
        kind = "distilled" if "distilled" in choices else kind
    return merge(result, choices.get(kind) or {})


def model_type(model: Mapping[str, Any]) -> str:
    """The architecture that a section ``model`` names, by type or preset."""
    return str(model.get("type") or str(model.get("preset", "nequip")).split("-")[0])


def base_train(config: StudyConfig) -> dict[str, Any]:
    """The training that all points share."""
    if isinstance(config.train, Path):
        return load_yaml_dict(config.train)
    return dict(config.train)


def _check_train(train: dict[str, Any], file: Path) -> None:
    from cgpot.training.settings.train_settings import TrainConfig

    validate(TrainConfig, train, file)


def _check_temperature(
    train: Mapping[str, Any], md: Mapping[str, Mapping[str, Any]], file: Path
) -> float:
    """The temperature of the runs, K.

    Raises:
        ConfigError: none is given, or several for a network that takes it as an input (and is
            deployed once, at one).
    """
    system = train.get("system") or {}
    given = [run.get("temperature") or system.get("temperature") for run in md.values()]
    if given[0] is None:
        raise ConfigError(
            "null, and the runs name no temperature; give it in K here or in md.nvt.temperature",
            file=file,
            key="system.temperature",
        )
    if system.get("temperature_input") and any(value != given[0] for value in given):
        raise ConfigError(
            f"the runs are at {', '.join(f'{value} K' for value in given)}; a network with "
            "temperature_input is deployed at one temperature: expected the same for all runs of "
            "a point",
            file=file,
            key="md",
        )
    return float(given[0])


def _check_refine(refine: Any, temperature: float, file: Path) -> None:
    from cgpot.refine.refine_settings import RefineConfig

    if not isinstance(refine, Mapping):
        raise ConfigError("expected settings of 'cgpot refine'", file=file, key="refine")
    for key in ("start", "deployed", "reference"):
        if key in refine:
            raise ConfigError("the study sets this itself", file=file, key=f"refine.{key}")
    known = {"start": "zero", "reference": ["reference"]}
    validate(RefineConfig, {"temperature": temperature, **refine, **known}, file)


def _md(config: StudyConfig, changes: Mapping[str, Any], file: Path) -> dict[str, dict[str, Any]]:
    from cgpot.md.md_settings import MdConfig

    result: dict[str, dict[str, Any]] = {}
    for name in changes:
        if name not in ENSEMBLES:
            raise ConfigError(
                f"unknown ensemble {name!r} (known: {', '.join(ENSEMBLES)})", file=file, key="md"
            )
    for name in ENSEMBLES:
        change = changes.get(name, {})
        base = config.md.get(name)  # type: ignore[call-overload]
        if change is None or (base is None and not change):
            continue
        settings = load_yaml_dict(base) if isinstance(base, Path) else dict(base or {})
        settings = merge(settings, change)
        for key in ("start", "model", "pair_file"):
            if key in settings:
                raise ConfigError("the study sets this itself", file=file, key=f"md.{name}.{key}")
        settings.setdefault("threads", config.threads)
        validate(MdConfig, {**settings, "start": "start", "model": "model"}, file)
        result[name] = settings
    if "nvt" not in result:
        raise ConfigError("expected an NVT run", file=file, key="md.nvt")
    return result


def _combinations(config: StudyConfig, file: Path) -> list[tuple[str, dict[str, Any]]]:
    axes: list[list[tuple[str, dict[str, Any]]]] = []
    for key, axis in config.grid.items():
        if isinstance(axis, dict):
            axes.append([(str(label), change) for label, change in axis.items()])
        else:
            short = key.rsplit(".", 1)[-1]
            axes.append([(f"{short}{label(value)}", nested(key, value)) for value in axis])
    found = []
    for combination in itertools.product(*axes):
        change: dict[str, Any] = {}
        for _, part in combination:
            change = merge(change, part)
        found.append(("_".join(text for text, _ in combination), change))
    return found


def label(value: Any) -> str:
    """A value as part of a name."""
    if value is None:
        return "-none"
    if isinstance(value, str):
        return "-" + re.sub(r"[^A-Za-z0-9.+-]+", "-", value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unique(names: list[str], file: Path) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two points are named {name!r}", file=file, key="points")


def _with(point: Point, **changes: Any) -> Point:
    from dataclasses import replace

    return replace(point, **changes)


def _with_teachers(points: list[Point], file: Path) -> list[Point]:
    """Resolve the teachers: a point of that name, with the same place in the grid if need be."""
    names = [p.name for p in points]
    result = []
    for point in points:
        if point.distill is None or point.teacher is None:
            result.append(point)
            continue
        wanted, suffix = point.teacher.split("|", 1)
        candidates = [n for n in (wanted, f"{wanted}_{suffix}") if n in names and n != point.name]
        if candidates:
            result.append(_with(point, teacher=candidates[0]))
        elif (file.resolve().parent / wanted / "result.json").is_file():
            folder = str((file.resolve().parent / wanted).resolve())
            distill = point.distill.model_copy(update={"teacher": folder})
            result.append(_with(point, teacher=None, distill=distill))
        else:
            raise ConfigError(
                f"point '{point.name}': the teacher {wanted!r} is neither a point of the study "
                "nor a training folder",
                file=file,
                key="distill.teacher",
            )
    chains = {p.name: p.teacher for p in result}
    for point in result:
        seen, current = {point.name}, point.teacher
        while current is not None:
            if current in seen:
                raise ConfigError(
                    f"point '{point.name}' is its own teacher", file=file, key="distill.teacher"
                )
            seen.add(current)
            current = chains[current]
    return result
