# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading data sets."""

from __future__ import annotations

import io
import itertools
import lzma
import re
import warnings
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.molecules import fields
from cgpot.molecules.extxyz.atoms import TYPE_NAMES, from_parts
from cgpot.molecules.extxyz.species_key import KnownTopologies
from cgpot.molecules.frame import CGFrame

_NAMES = re.compile(rf'\b{TYPE_NAMES}=(?:"([^"]*)"|(\S+))')
_PROPERTIES = re.compile(r'(?:^|\s)Properties=(?:"([^"]*)"|(\S+))')
_WANTED = {
    "pos": ("R", 3),
    fields.ATOM_TYPES: ("I", 1),
    fields.MOLECULE_IDS: ("I", 1),
    "forces": ("R", 3),
}
"""Columns that are read here, with their kind and number."""


def read_frames(path: str | Path, *, several: bool = False) -> Iterator[CGFrame]:
    """Frames of a data set, one at a time; frames of the same sites share their topology.

    Args:
        path: the data set.
        several: take frames of several compositions of the same bead types and species, each
            with a topology of its own.

    Raises:
        InputError: missing file, damaged frame (its index is named), two systems in one file,
            or several compositions that were not asked for.
    """
    from ase.io.extxyz import read_xyz

    p = require_file(path, "data set")
    known = KnownTopologies(several)
    index = 0
    with open_text(p) as stream:
        for lines in _chunks(stream, p):
            table = _table(lines)
            # ase reads the comment line; the columns too, where they are not those of cgpot
            text = "".join(lines) if table is None else f"1\n{lines[1]}{lines[2]}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    atoms = next(read_xyz(io.StringIO(text), index=0))
            except (ValueError, IndexError, KeyError, OSError, EOFError, StopIteration) as err:
                raise InputError(f"damaged frame: {err}", file=p, frame=index) from err
            # ase turns names like T, F or 12 into logicals and numbers
            if names := _NAMES.search(lines[1]):
                atoms.info[TYPE_NAMES] = names[1] or names[2]
            results = atoms.calc.results if atoms.calc is not None else {}
            if table is None:
                table = {**atoms.arrays, "forces": results.get("forces")}
            frame = from_parts(atoms, table, results, known, p, index)
            yield frame
            index += 1
    if index == 0:
        raise InputError("no frames in the data set", file=p)


@lru_cache(maxsize=16)
def _columns(properties: str) -> tuple[dict[str, int], int] | None:
    """First column of each property that is read here, and the number of columns.

    None where one is missing, of another kind or given twice, or the text is not that of
    properties (ase says what is wrong).
    """
    words = properties.split(":")
    if len(words) % 3:
        return None
    found: dict[str, int] = {}
    width = 0
    for name, kind, number in zip(words[::3], words[1::3], words[2::3], strict=True):
        if not number.isdigit() or kind not in ("S", "R", "I", "L"):
            return None
        if name in _WANTED:
            if name in found or _WANTED[name] != (kind, int(number)):
                return None
            found[name] = width
        width += int(number)
    return None if set(_WANTED) - set(found) - {"forces"} else (found, width)


def _table(lines: list[str]) -> dict[str, Any] | None:
    """The columns of a frame, 20 times faster than through ase.

    None for columns that ase must read, and for damaged lines (ase says what is wrong with them).
    """
    match = _PROPERTIES.search(lines[1])
    layout = None if match is None else _columns(match[1] or match[2])
    if layout is None:
        return None
    place, width = layout
    rows = [line.split() for line in lines[2:]]
    if any(len(row) != width for row in rows):
        return None
    columns = list(zip(*rows, strict=True))

    def vectors(name: str) -> Any:
        at = place[name]
        return np.stack([np.array([*map(float, columns[at + k])]) for k in range(3)], axis=1)

    try:
        return {
            "positions": vectors("pos"),
            fields.ATOM_TYPES: np.array([*map(int, columns[place[fields.ATOM_TYPES]])]),
            fields.MOLECULE_IDS: np.array([*map(int, columns[place[fields.MOLECULE_IDS]])]),
            "forces": vectors("forces") if "forces" in place else None,
        }
    except ValueError:
        return None


def _chunks(stream: IO[str], path: Path) -> Iterator[list[str]]:
    """The lines of one frame at a time (ase's reader scans a whole file first)."""
    index = 0
    while True:
        try:
            head = stream.readline()
            if not head:
                return
            if not head.strip():
                continue
            n = int(head)
            if n < 1:
                raise ValueError
            lines = [head, *itertools.islice(stream, n + 1)]
        except UnicodeDecodeError as err:
            raise InputError(f"not a text file: {err}", file=path, frame=index) from err
        except ValueError as err:
            raise InputError(
                f"expected a number of sites, found {head.strip()[:40]!r}", file=path, frame=index
            ) from err
        except EOFError as err:
            raise InputError(f"truncated file: {err}", file=path, frame=index) from err
        except (OSError, lzma.LZMAError, zlib.error) as err:
            raise InputError(f"damaged file: {err}", file=path, frame=index) from err
        if len(lines) < n + 2 or not lines[-1].endswith("\n"):
            raise InputError(
                f"truncated frame: expected {n} sites, found {max(len(lines) - 2, 0)} lines"
                + ("" if len(lines) < n + 2 else ", the last without its end"),
                file=path,
                frame=index,
            )
        index += 1
        yield lines
