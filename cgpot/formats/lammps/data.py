# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of LAMMPS data files: sections, names of types, atom style, other coordinates.

What an atomistic system needs beyond is in `atomistic_data` (through MDAnalysis, whose universe
the mapping's selections want), what a CG system needs in `cg_data` (through pymatgen, which
writes too) and `bonded_sections`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.molecules.frame import Array

COLUMNS = {"atomic": 2, "charge": 3, "bond": 3, "angle": 3, "molecular": 3, "full": 4}
"""Atom style -> column of x in the section Atoms."""


@dataclass(frozen=True)
class DataRow:
    """A line of a section: its words and the comment behind them."""

    words: list[str]
    comment: str


@dataclass(frozen=True)
class DataText:
    """Parts of a data file.

    Attributes:
        counts: what the header counts (``atoms``, ``atom types``, ...) -> number.
        sections: title -> rows; of the wanted sections that the file has.
    """

    counts: dict[str, int] = field(default_factory=dict)
    sections: dict[str, list[DataRow]] = field(default_factory=dict)

    def labels(self, kind: str) -> dict[int, str]:
        """Number -> name, of the section ``KIND Type Labels``."""
        rows = self.sections.get(f"{kind} Type Labels", [])
        return {int(r.words[0]): r.words[1] for r in rows
                if len(r.words) == 2 and r.words[0].isdigit()}  # fmt: skip


def read_sections(path: str | Path, wanted: Collection[str], stop: str | None = None) -> DataText:
    """The header's counts and some sections of a data file.

    Args:
        path: the file.
        wanted: titles of the sections.
        stop: title of a section that ends the search (``Atoms``: of large files the head alone).

    Raises:
        InputError: missing or empty.
    """
    p = require_file(path, "LAMMPS data file")
    found = DataText()
    header, current = True, None
    with open(p, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream):
            text, _, comment = line.partition("#")
            words = text.split()
            if not words or not number:
                continue
            # Rows of Masses begin with a letter where types are labels: a number follows there.
            if words[0][0].isupper() and not any(word[0].isdigit() for word in words[1:]):
                header, title = False, " ".join(words)
                if title == stop:
                    break
                current = found.sections.setdefault(title, []) if title in wanted else None
            elif current is not None:
                current.append(DataRow(words, comment.strip()))
            elif header and words[0].isdigit():
                found.counts.setdefault(" ".join(words[1:]), int(words[0]))
    return found


def read_type_names(path: str | Path) -> tuple[str, ...]:
    """Names of the atom types, from ``Atom Type Labels`` or the comments behind ``Masses``.

    Raises:
        InputError: neither names every type.
    """
    p = Path(path)
    data = read_sections(p, ("Atom Type Labels", "Masses"), stop="Atoms")
    n_types = data.counts.get("atom types")
    if n_types is None:
        raise InputError("no line 'N atom types'; expected a LAMMPS data file", file=p)
    comments = {
        int(row.words[0]): row.comment.split()[0]
        for row in data.sections.get("Masses", [])
        if row.comment and row.words[0].isdigit()
    }
    for found in (data.labels("Atom"), comments):
        if sorted(found) == list(range(1, n_types + 1)):
            return tuple(found[i] for i in range(1, n_types + 1))
    raise InputError(
        f"the {n_types} atom types have no names; expected a section 'Atom Type Labels' or "
        "comments such as '1 78.114 # BNZ' in the section 'Masses'",
        file=p,
    )


def atom_style(path: str | Path) -> str:
    """Atom style of a data file, from the comment behind ``Atoms``.

    Raises:
        InputError: no such comment, or a style whose columns are not known.
    """
    p = require_file(path, "LAMMPS data file")
    match = re.search(r"^Atoms(?:\s*#\s*(\w+))?", p.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise InputError("no section Atoms; expected a LAMMPS data file", file=p)
    if match[1] not in COLUMNS:
        raise InputError(
            f"the section Atoms has {match[1] or 'no style'} behind it; expected 'Atoms # STYLE' "
            f"with one of {', '.join(COLUMNS)}",
            file=p,
        )
    return match[1]


def moved_data(path: str | Path, positions: Array, cell: Array) -> str:
    """Text of a data file with other coordinates and box, without velocities.

    Args:
        path: the data file; atom ids run from 1 to n.
        positions: (n, 3) Å by atom id, molecules whole; wrapped here, with image flags.
        cell: (3, 3) Å, lower triangular.

    Raises:
        InputError: another number of atoms, or a damaged line.
    """
    p = Path(path)
    x = COLUMNS[atom_style(p)]
    images = np.floor(positions @ np.linalg.inv(cell) + 1e-12).astype(np.int64)
    wrapped = positions - images @ cell
    bounds = {f"{a}lo {a}hi": f"0.0 {cell[i, i]:.10g}" for i, a in enumerate("xyz")}
    tilt = " ".join(f"{cell[i, j]:.10g}" for i, j in ((1, 0), (2, 0), (2, 1)))
    tilted = bool(np.abs([cell[1, 0], cell[2, 0], cell[2, 1]]).max() > 0.0)
    lines: list[str] = []
    section, count = "", 0
    for number, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#")[0].strip()
        words = text.split()
        ends = " ".join(words[-2:])
        if number > 1 and ends in bounds:
            lines.append(f"{bounds[ends]} {ends}")
            if ends == "zlo zhi" and tilted:
                lines.append(f"{tilt} xy xz yz")
            continue
        if text.endswith("xy xz yz"):
            continue
        if words and words[0][0].isalpha() and number > 1:
            section = text
        if section == "Velocities":
            continue
        if section == "Atoms" and words and words[0].isdigit():
            row = int(words[0]) - 1
            if not (0 <= row < len(positions) and len(words) in (x + 3, x + 6)):
                raise InputError(f"line {number} is {text[:60]!r}: no atom of this system", file=p)
            count += 1
            where = " ".join(f"{value:.10g}" for value in wrapped[row])
            flags = " ".join(str(value) for value in images[row])
            lines.append(f"{' '.join(words[:x])} {where} {flags}")
            continue
        lines.append(line)
    if count != len(positions):
        raise InputError(f"{count} atoms, expected {len(positions)}", file=p)
    return "\n".join(lines) + "\n"
