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
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.molecules import fields
from cgpot.molecules.extxyz.atoms import TYPE_NAMES, from_atoms, from_parts
from cgpot.molecules.frame import CGFrame, Topology

_NAMES = re.compile(rf'\b{TYPE_NAMES}=(?:"([^"]*)"|(\S+))')
_COLUMNS = re.compile(
    r"\bProperties=species:S:1:pos:R:3:"
    rf"{fields.ATOM_TYPES}:I:1:{fields.MOLECULE_IDS}:I:1:{fields.BEAD_NAMES}:S:1"
    r"(:forces:R:3)?(?=\s)"
)


def read_frames(path: str | Path) -> Iterator[CGFrame]:
    """Frames of a data set, one at a time.

    Raises:
        InputError: missing file, damaged frame (its index is named), or two systems in one file.
    """
    from ase.io.extxyz import read_xyz

    p = require_file(path, "data set")
    first: Topology | None = None
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
            if table is None:
                frame = from_atoms(atoms, file=p, frame=index)
            else:
                results = atoms.calc.results if atoms.calc is not None else {}
                frame = from_parts(atoms, table, results, p, index)
            if first is None:
                first = frame.topology
            elif not first.same_as(frame.topology):
                raise InputError(
                    f"{frame.topology.n_sites} sites of types {list(frame.topology.type_names)} "
                    f"differ from frame 0 ({first.n_sites} sites of {list(first.type_names)}); "
                    "one data set holds one system",
                    file=p,
                    frame=index,
                )
            yield frame
            index += 1
    if index == 0:
        raise InputError("no frames in the data set", file=p)


def _table(lines: list[str]) -> dict[str, Any] | None:
    """The columns of a frame that `format_frame` wrote, 20 times faster than through ase.

    None for other columns, and for damaged lines (ase says what is wrong with them).
    """
    match = _COLUMNS.search(lines[1])
    if match is None:
        return None
    rows = [line.split() for line in lines[2:]]
    width = 10 if match[1] else 7
    if any(len(row) != width for row in rows):
        return None
    columns = list(zip(*rows, strict=True))
    try:
        numbers = [np.array([*map(float, columns[k])]) for k in (1, 2, 3, *range(7, width))]
        integers = [np.array([*map(int, columns[k])]) for k in (4, 5)]
    except ValueError:
        return None
    return {
        "positions": np.stack(numbers[:3], axis=1),
        fields.ATOM_TYPES: integers[0],
        fields.MOLECULE_IDS: integers[1],
        "forces": np.stack(numbers[3:], axis=1) if match[1] else None,
    }


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
