# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of LAMMPS's thermo output: one-line, multi-line and yaml tables, whole or cut off.

A table begins behind ``Per MPI rank memory allocation``, or, in a file of the thermo output
alone, at its head (``Step ...``, ``keywords:``).  What the mapping makes of the tables, the
virial, is in `thermo`.

pymatgen.io.lammps.outputs.parse_lammps_log is not used here: it raises on a log that lacks
the line ``Loop time of``, which is what a run stopped by a walltime or a kill leaves behind,
it stumbles over warnings within a table, and it does not read the yaml style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.molecules.frame import Array

_TABLE_FOLLOWS = ("Per MPI rank memory allocation", "Memory usage per processor")
_ENDS = ("Loop time of", "ERROR", "Total wall time")
_MULTI_HEAD = re.compile(r"-+ Step\s+(\d+) -+ CPU =\s+(\S+)")
_MULTI_ITEM = re.compile(r"([^\s=]+)\s+=\s+(\S+)")


@dataclass
class ThermoTable:
    """Thermo output of one run command.

    Attributes:
        columns: name -> values (n,), in the units of the log, as LAMMPS names them
            (``Step``, ``Temp``, ``Press``, ...; multi-line tables use the same names).
        complete: whether the run reached its end (``Loop time of``).
        file: the log.
    """

    columns: dict[str, Array] = field(default_factory=dict)
    complete: bool = False
    file: Path | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise InputError(
                f"the thermo table has no column '{name}' (columns: {', '.join(self.columns)})",
                file=self.file,
            )
        return self.columns[name]


class _Builder:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[list[float]] = []
        self.complete = False

    def table(self, file: Path) -> ThermoTable:
        data = np.asarray(self.rows, dtype=np.float64).reshape(len(self.rows), len(self.names))
        columns = {name: data[:, i] for i, name in enumerate(self.names)}
        return ThermoTable(columns, self.complete, file)


def _numbers(tokens: Sequence[str]) -> list[float] | None:
    try:
        return [float(token) for token in tokens]
    except ValueError:
        return None


def _starts(line: str) -> bool:
    """Whether a table begins at this line."""
    return line.split()[:1] == ["Step"] or bool(
        _MULTI_HEAD.match(line) or line.startswith("keywords:")
    )


def _table_one(lines: list[str], start: int, out: _Builder) -> int:
    out.names = lines[start].split()
    index = start + 1
    while index < len(lines):
        line = lines[index]
        if line.startswith((*_ENDS, *_TABLE_FOLLOWS)) or _starts(line):
            break
        tokens = line.split()
        row = _numbers(tokens) if len(tokens) == len(out.names) else None
        if row is not None:
            out.rows.append(row)
        index += 1
    return index


def _table_multi(lines: list[str], start: int, out: _Builder) -> int:
    current: dict[str, float] = {}

    def finish() -> None:
        if current and not out.names:
            out.names = list(current)
        if current and set(current) >= set(out.names):
            out.rows.append([current[name] for name in out.names])

    index = start
    while index < len(lines):
        line = lines[index]
        if line.startswith((*_ENDS, *_TABLE_FOLLOWS)):
            break
        if head := _MULTI_HEAD.match(line):
            finish()
            current = {"Step": float(head[1]), "CPU": float(head[2])}
        elif not line.startswith("WARNING"):
            for name, value in _MULTI_ITEM.findall(line):
                number = _numbers([value])
                if number:
                    current[name] = number[0]
        index += 1
    # The last record counts only when it holds every column: the log may be cut off in it.
    finish()
    return index


def _table_yaml(lines: list[str], start: int, out: _Builder) -> int:
    index = start
    while index < len(lines):
        line = lines[index].strip()
        if line == "..." or line.startswith(("Loop time of", "ERROR")):
            break
        if line.startswith("keywords:") and out.names:
            break
        if line.startswith("keywords:"):
            names = re.findall(r"'([^']*)'", line)
            out.names = names or [n.strip() for n in line[9:].strip(" []").split(",") if n.strip()]
        elif line.startswith("- [") and line.endswith("]"):
            row = _numbers([x for x in line[3:-1].replace(" ", "").split(",") if x])
            if row is not None and len(row) == len(out.names):
                out.rows.append(row)
        index += 1
    while index < len(lines) and not lines[index].startswith(("Loop time of", "ERROR")):
        if lines[index].startswith(_TABLE_FOLLOWS) or _starts(lines[index]):
            break
        index += 1
    return index


def read_log(path: str | Path) -> list[ThermoTable]:
    """Thermo tables of a log, one per run or minimize command, in the order of the log.

    A last line without a line end is left out (its last number may be cut short).

    Raises:
        InputError: missing or empty.
    """
    p = require_file(path, "LAMMPS log")
    return parse_log(log_text(p), p)


def log_text(path: Path) -> str:
    """The text of a log, through xz or gzip when the name ends so; odd bytes are replaced."""
    with open_text(path, errors="replace") as stream:
        return stream.read()


def unit_style(text: str) -> str | None:
    """The unit style that a log echoes (``units real``; the last one), or None."""
    found = re.findall(r"^[ \t]*units[ \t]+([A-Za-z]+)[ \t]*$", text, flags=re.MULTILINE)
    return str(found[-1]) if found else None


def parse_log(text: str, file: Path) -> list[ThermoTable]:
    """Thermo tables in the text of a log."""
    lines = text.splitlines()
    if lines and not text.endswith("\n"):
        lines.pop()
    tables: list[ThermoTable] = []
    index = 0
    while index < len(lines):
        if lines[index].startswith(_TABLE_FOLLOWS):
            index += 1
            while index < len(lines) and (
                not lines[index].strip() or lines[index].startswith("WARNING")
            ):
                index += 1
            if index >= len(lines):
                break
        elif not _starts(lines[index]):
            index += 1
            continue
        out = _Builder()
        if lines[index].strip() == "---" or lines[index].startswith("keywords:"):
            index = _table_yaml(lines, index, out)
        elif _MULTI_HEAD.match(lines[index]):
            index = _table_multi(lines, index, out)
        else:
            index = _table_one(lines, index, out)
        out.complete = index < len(lines) and lines[index].startswith("Loop time of")
        tables.append(out.table(file))
    return tables


def cpu_use(text: str) -> float | None:
    """CPU use of the last run in the text of a log, %, summed over threads; None if cut off.

    On several MPI ranks it is the mean over ranks.
    """
    found = re.findall(r"^(\S+)% CPU use with", text, flags=re.MULTILINE)
    return float(found[-1]) if found else None


def last_step(text: str) -> int | None:
    """Step of the last complete thermo line in a piece of a log, for progress bars."""
    cut = text.rfind("\n")
    for line in reversed(text[: max(cut, 0)].splitlines()):
        if match := re.match(r"\s*(?:-+ Step|- \[)?\s*(\d+)(?:[\s,]+[-\dn]|\s+-+ CPU)", line):
            return int(match[1])
    return None


def merge(tables: Iterable[ThermoTable]) -> ThermoTable:
    """One table from those of restarted segments, in order.

    Rows of an earlier segment at or after the first step of a later one are dropped: the
    later segment has computed them again.

    Raises:
        InputError: the columns of two segments differ.
    """
    kept: ThermoTable | None = None
    for table in tables:
        if len(table) == 0:
            continue
        if kept is None:
            kept = ThermoTable(dict(table.columns), table.complete, table.file)
            continue
        if list(kept.columns) != list(table.columns):
            raise InputError(
                f"thermo columns {list(table.columns)} differ from those of the segment before, "
                f"{list(kept.columns)}",
                file=table.file,
            )
        earlier = kept["Step"] < table["Step"][0]
        kept = ThermoTable(
            {
                name: np.concatenate([kept.columns[name][earlier], values])
                for name, values in table.columns.items()
            },
            table.complete,
            table.file,
        )
    return kept if kept is not None else ThermoTable()
