# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS decks as templates: their variables stand in the header, and are filled here.

A deck is a LAMMPS input script that also runs by hand with ``lmp -var NAME VALUE``.  Lines
of its header read ``#   NAME  required|optional|default  description``; every default is a
line ``variable NAME index VALUE``.  Filling a deck replaces those lines, so that the file
in a run folder says all by itself, and ``lmp -var`` still overrides it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import require_file

Value = str | int | float | tuple[str, ...]
"""A tuple is a list of paths."""

_HEADER = re.compile(r"#   (\w+)\s+(required|optional|default)\s+(\S.*)")
_DEFAULT = re.compile(r"variable\s+(\w+)\s+index\s+(.*\S)\s*")
_ALTERNATIVES = {"model": "pair_file", "beads": "pair_file", "data": "restart"}
"""A required variable may be left out when this one is given."""


@dataclass(frozen=True)
class DeckVariable:
    """A variable of a deck.

    Attributes:
        name: name for ``lmp -var``.
        kind: required, optional or default.
        default: text of the default, if any.
        description: meaning and unit, from the header.
    """

    name: str
    kind: str
    default: str | None
    description: str


def deck_path(name: str) -> Path:
    """Path of a deck that comes with the package, such as ``cg_nvt``.

    Raises:
        InputError: no such deck; the known ones are named.
    """
    folder = Path(__file__).parent / "decks"
    path = folder / f"{name}.lmp"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.lmp"))
        raise InputError(f"no such deck; known: {', '.join(known)}", file=path)
    return path


def deck_variables(path: str | Path) -> dict[str, DeckVariable]:
    """Variables of a deck by name, from its header.

    Raises:
        InputError: missing deck, a header without variables, or one that does not fit the
            lines ``variable NAME index VALUE``.
    """
    p = require_file(path, "LAMMPS deck")
    lines = p.read_text(encoding="utf-8").splitlines()
    defaults = {m[1]: m[2] for line in lines if (m := _DEFAULT.fullmatch(line))}
    found: dict[str, DeckVariable] = {}
    for line in lines:
        if match := _HEADER.fullmatch(line.rstrip()):
            name, kind, description = match[1], match[2], match[3]
            if (kind == "default") != (name in defaults):
                raise InputError(
                    f"the header says '{kind}', but a line 'variable {name} index ...' is "
                    f"{'there' if name in defaults else 'missing'}",
                    file=p,
                    key=name,
                )
            found[name] = DeckVariable(name, kind, defaults.get(name), description)
    if not found:
        raise InputError("no header that lists variables; expected a cgpot deck", file=p)
    unlisted = sorted(set(defaults) - set(found))
    if unlisted:
        raise InputError("the variable is not listed in the header", file=p, key=unlisted[0])
    return found


_MAY_BE_BLANK = ("dump_extra", "cgpot_options")
_PATHS = ("data", "model", "pair_file", "restart", "out")


def _text(name: str, value: Value, file: Path) -> str:
    if isinstance(value, tuple):
        text = " ".join(_text(name, path, file) for path in value)
        return f'"{text}"' if len(value) > 1 else text
    text = repr(value) if isinstance(value, float) else str(value)
    if not text.strip() and name not in _MAY_BE_BLANK:
        raise ConfigError("the value is empty", file=file, key=name)
    if any(c in text for c in "\"'$\n&#"):
        raise ConfigError(
            f"the value {text!r} holds a quote, '$', '&', '#' or a line end, "
            "which LAMMPS would interpret",
            file=file,
            key=name,
        )
    if name in _PATHS and " " in text:
        raise ConfigError(
            f"the path {text!r} holds a space, at which LAMMPS splits it; use another folder",
            file=file,
            key=name,
        )
    return f'"{text}"' if " " in text or not text else text


def fill_deck(path: str | Path, values: Mapping[str, Value]) -> str:
    """Text of a deck with its variables set.

    Args:
        path: the deck.
        values: variable -> value; the others keep their defaults.

    Raises:
        ConfigError: an unknown variable, a required one that is missing, or a value that
            LAMMPS would take apart.
    """
    p = Path(path)
    variables = deck_variables(p)
    for name in values:
        if name not in variables:
            close = difflib.get_close_matches(name, variables, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ConfigError(
                f"the deck has no such variable{hint} (known: {', '.join(variables)})",
                file=p,
                key=name,
            )
    for name, variable in variables.items():
        given = name in values or _ALTERNATIVES.get(name) in values
        if variable.kind == "required" and not given:
            raise ConfigError(
                f"the required variable is missing: {variable.description}", file=p, key=name
            )
    lines = p.read_text(encoding="utf-8").splitlines()
    filled: list[str] = []
    extra = [
        f"variable        {name} index {_text(name, value, p)}"
        for name, value in values.items()
        if variables[name].kind != "default"
    ]
    for line in lines:
        match = _DEFAULT.fullmatch(line)
        if match and extra:
            filled += extra
            extra = []
        if match and match[1] in values:
            line = f"variable        {match[1]} index {_text(match[1], values[match[1]], p)}"
        filled.append(line)
    return "\n".join(filled) + "\n"
