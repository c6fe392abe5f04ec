# SPDX-License-Identifier: GPL-2.0-or-later
"""The one writer of LAMMPS's files and commands for a potential.

The commands name their files in ``${pair_folder}``, or in a folder that is given.  The parameter
file of ``pair_style sw/angle/table`` holds the path of its table, so the commands print that file
into the folder where LAMMPS runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import write_text
from cgpot.potential.density_table import DensityTable
from cgpot.potential.lammps_density import density_text
from cgpot.potential.lammps_tables import (
    PAIR_POINTS,
    pair_keys,
    pair_text,
    term_text,
    three_body_parameters,
    three_body_text,
)
from cgpot.potential.splines import PairTable
from cgpot.potential.term_basis import TermBasis
from cgpot.potential.threebody import ThreeBodySW

Array = NDArray[np.float64]
FOLDER = "pair_folder"
"""LAMMPS variable that names the folder of the files: ``-var pair_folder DIR``."""
SUFFIXES = {"bond": "bond", "angle": "bend", "dihedral": "torsion"}
"""End of a file's name by bonded part; that of the three-body part is ``angle``."""
KEPT = 0.5
"""Weight of bonded pairs for LAMMPS as a whole, where the styles of an overlay have their own: 0
would take the pairs out of the lists, 1 would hide from the styles which they are."""


@dataclass(frozen=True)
class LammpsParts:
    """What LAMMPS runs of a potential; what is None is not there.

    Attributes:
        pair: table of ``pair_style table``.
        interpolation: of that table: method and points of LAMMPS's own (even in r^2 for splines).
        three: basis and coefficients of ``sw/angle/table``.
        density: table of ``local/density``.
        uf3: text of the file of ``pair_style uf3`` and its largest number of bodies.
        terms: splines and coefficients along bonds, by ``bond``, ``angle``, ``dihedral``.
        special: weights of 1-2, 1-3 and 1-4 pairs in the pair styles.
        bonded: what a data file must hold (`BondedTerms.deployed`).
    """

    pair: PairTable | None = None
    interpolation: str = f"spline {2 * PAIR_POINTS}"
    three: tuple[ThreeBodySW, Array] | None = None
    density: DensityTable | None = None
    uf3: tuple[str, int] | None = None
    terms: Mapping[str, tuple[TermBasis, Array]] = field(default_factory=dict)
    special: str | None = None
    bonded: dict[str, Any] | None = None


class LammpsPotential(Protocol):
    """A potential that LAMMPS runs with its own styles."""

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types, in the order of LAMMPS's types."""
        ...

    def lammps_parts(self) -> LammpsParts:
        """Its parts."""
        ...


@dataclass(frozen=True)
class Written:
    """Files for LAMMPS and the commands that use them.

    Attributes:
        files: what was written.
        commands: lines of LAMMPS.
        bonded: what a data file must hold; None without bonded terms.
    """

    files: list[Path]
    commands: list[str]
    bonded: dict[str, Any] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """Key ``lammps`` of result.json."""
        record = {"files": [path.name for path in self.files], "commands": self.commands}
        return record if self.bonded is None else {**record, "bonded": self.bonded}


@dataclass(frozen=True)
class _Style:
    """A pair style: its words, its coefficients (types, arguments), what must come before them."""

    words: str
    coefficients: list[tuple[str, str]]
    before: list[str] = field(default_factory=list)


def write_for_lammps(
    folder: Path,
    *potentials: LammpsPotential,
    name: str = "model",
    place: str | Path = f"${{{FOLDER}}}",
    beside: Path | None = None,
) -> Written:
    """Write the files of a potential, or of the sum of several; returns them and the commands.

    Args:
        folder: where to.
        potentials: of any kind that LAMMPS runs with its own styles.
        name: stem of the files.
        place: folder of the files in the commands.
        beside: compiled network (``pair_style cgpot``), which finds its pairs itself, to which
            the potential is added.

    Raises:
        InputError: a local-density part that LAMMPS does not have, or a part that two have.
    """
    parts = _together([potential.lammps_parts() for potential in potentials])
    names = " ".join(potentials[0].type_names)
    files: list[Path] = []

    def put(suffix: str, text: str) -> str:
        files.append(write_text(folder / f"{name}.{suffix}", text))
        return f"{place}/{name}.{suffix}"

    styles: list[_Style] = []
    if beside is not None:
        styles.append(_Style("cgpot", [("* *", f"{beside.resolve()} {names}")]))
    if parts.pair is not None:
        file = put("table", pair_text(parts.pair))
        rows = [(f"{a} {b}", f"{file} {key}") for a, b, key in pair_keys(parts.pair)]
        styles.append(_Style(f"table {parts.interpolation}", rows))
    if parts.uf3 is not None:
        text, bodies = parts.uf3
        styles.append(_Style(f"uf3 {bodies}", [("* *", f"{put('uf3', text)} {names}")]))
    if parts.three is not None:
        lines = three_body_parameters(parts.three[0], put("angle", three_body_text(*parts.three)))
        target = f"{name}.sw"
        before = [
            f'print "{line}" {"append" if number else "file"} {target} screen no'
            for number, line in enumerate(lines)
        ]
        styles.append(_Style("sw/angle/table", [("* *", f"{target} {names}")], before))
    if parts.density is not None:
        file = put("density", density_text(parts.density))
        styles.append(_Style("local/density", [("* *", file)]))
    commands = _pair_commands(styles)
    commands += _special(parts.special, styles)
    for word, (part, coefficients) in parts.terms.items():
        text, points = term_text(word, part, coefficients)
        file = put(SUFFIXES[word], text)
        commands.append(f"{word}_style table spline {points}")
        commands += [
            f"{word}_coeff {kind + 1} {file} {part.kind_name(kind)}" for kind in range(part.n_kinds)
        ]
    return Written(files, commands, parts.bonded)


def _pair_commands(styles: Sequence[_Style]) -> list[str]:
    """``pair_style`` and ``pair_coeff``, overlaid where there are several."""
    if not styles:
        return []
    several = len(styles) > 1
    words = " ".join(style.words for style in styles)
    commands = [f"pair_style {'hybrid/overlay ' if several else ''}{words}"]
    for style in styles:
        word = f"{style.words.split()[0]} " if several else ""
        commands += style.before
        commands += [f"pair_coeff {types} {word}{rest}" for types, rest in style.coefficients]
    return commands


def _special(special: str | None, styles: Sequence[_Style]) -> list[str]:
    """Weights of 1-2, 1-3 and 1-4 pairs; those of a network are 1."""
    if special is None or not any(style.words == "cgpot" for style in styles):
        return [] if special is None else [f"special_bonds lj/coul {special}"]
    words = [style.words.split()[0] for style in styles]
    weights = ["1.0 1.0 1.0" if word == "cgpot" else special for word in words]
    return [f"special_bonds lj/coul {KEPT} {KEPT} {KEPT}"] + [
        f"pair_modify pair {word} special lj/coul {weight}"
        for word, weight in zip(words, weights, strict=True)
    ]


def _together(every: Sequence[LammpsParts]) -> LammpsParts:
    """The parts of several potentials as those of one.

    Raises:
        InputError: two of them have the same part.
    """
    given: dict[str, Any] = {}
    for parts in every:
        for item in fields(parts):
            value = getattr(parts, item.name)
            if value is None or value == {} or item.name == "interpolation":
                continue
            if item.name in given:
                raise InputError(
                    f"two potentials have {item.name}, which LAMMPS runs once; add them up first"
                )
            given[item.name] = value
    own = next((parts for parts in every if parts.pair is not None), every[0])
    return LammpsParts(**given, interpolation=own.interpolation)


def include_text(commands: Sequence[str], folder: Path, title: str | None = None) -> str:
    """An include file: the commands, after the variable that names the folder of their files."""
    head = [] if title is None else [f"# {title}"]
    return "\n".join([*head, f"variable {FOLDER} index {folder}", *commands]) + "\n"


def renamed(commands: Sequence[str], copies: Mapping[str, str]) -> list[str]:
    """The commands with other names of files: old -> new."""
    found = list(commands)
    for old, new in copies.items():
        pattern = re.compile(rf"/{re.escape(old)}(?=\s|$)")
        found = [pattern.sub(f"/{new}", command) for command in found]
    return found
