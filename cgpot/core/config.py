# SPDX-License-Identifier: GPL-2.0-or-later
"""YAML configuration through pydantic: unknown keys refused, errors name file and key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cgpot.core.errors import ConfigError
from cgpot.core.files import require_file


class StrictModel(BaseModel):
    """A configuration section: unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


M = TypeVar("M", bound=BaseModel)


def _without_tags(data: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path of keys as the file has it: pydantic puts the tag of a union in between."""
    path: list[str | int] = []
    current = data
    for number, part in enumerate(location):
        if isinstance(current, dict):
            if part not in current and number < len(location) - 1:
                continue
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            current = current[part]
        path.append(part)
    return tuple(path)


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type, however nested its union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _members(part)]


def _known_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Field names of the section in which an unknown key stands, as far as types tell."""
    found: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        if len(found) > 1:  # the tag of a union
            found = [m for m in found if m.model_fields["type"].default == part]
        elif found and part in found[0].model_fields:
            found = _members(found[0].model_fields[part].annotation)
        else:
            return []
    return sorted(found[0].model_fields) if len(found) == 1 else []


def validate(model: type[M], data: Any, file: str | Path | None = None) -> M:
    """Validate plain data against a model.

    Raises:
        ConfigError: the first wrong key, its value and what was expected.
    """
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected a mapping of keys to values, found {type(data).__name__}", file=file
        )
    try:
        return model.model_validate(data)
    except ValidationError as err:
        # a mistyped key is reported twice, as unknown and as missing: the first tells more
        first = min(err.errors(), key=lambda item: item["type"] != "extra_forbidden")
        tagged = tuple(first["loc"])
        location = _without_tags(data, tagged)
        key = ".".join(str(part) for part in location) or None
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, tagged)
            close = difflib.get_close_matches(str(location[-1]), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            text = f"unknown key{hint}" + (f" (known: {', '.join(known)})" if known else "")
        elif first["type"] == "missing":
            text = "the key is missing"
        else:
            text = f"{first['msg']}, found {first['input']!r}"
        more = len(err.errors()) - 1
        if more:
            text += f" (and {more} more)"
        raise ConfigError(text, file=file, key=key) from err


def load_yaml_dict(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; duplicate keys are refused.

    Raises:
        ConfigError: not UTF-8, not YAML, a duplicate key, or another top level.
        InputError: missing or empty.
    """
    p = require_file(path, "YAML file")
    try:
        data = yaml.load(p.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except UnicodeDecodeError as err:
        raise ConfigError(f"not UTF-8 text: {err}", file=p) from err
    except yaml.YAMLError as err:
        raise ConfigError(f"not valid YAML: {err}", file=p) from err
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected a mapping of keys to values, found {type(data).__name__}", file=p
        )
    return data


def load_yaml(path: str | Path, model: type[M]) -> M:
    """Read and validate a YAML file.

    Raises:
        ConfigError: see `validate` and `load_yaml_dict`.
        InputError: missing or empty.
    """
    return validate(model, load_yaml_dict(path), file=path)


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
