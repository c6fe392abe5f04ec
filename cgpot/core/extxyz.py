# SPDX-License-Identifier: GPL-2.0-or-later
"""Data sets as extended XYZ, through ase; a name ending in .xz or .gz is compressed.

Every frame carries its bead names and masses, so that a file explains itself and files of
two systems cannot be mixed unnoticed.  nequip reads the same files with
``include_keys: [atom_types]``.
"""

from __future__ import annotations

import io
import itertools
import lzma
import re
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgpot.core import fields
from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, open_text, require_file
from cgpot.core.frame import BeadTopology, CGFrame

TYPE_NAMES = "bead_type_names"
TYPE_MASSES = "bead_type_masses"
POSITION_DECIMALS = 4
FORCE_DECIMALS = 5
_NAMES = re.compile(rf'\b{TYPE_NAMES}=(?:"([^"]*)"|(\S+))')


def to_atoms(frame: CGFrame) -> Any:
    """The frame as `ase.Atoms` (species X, labels in a SinglePointCalculator, no energy)."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    topology = frame.topology
    atoms = Atoms(
        symbols=[fields.SPECIES] * topology.n_sites,
        positions=np.round(frame.positions, POSITION_DECIMALS),
        cell=frame.cell,
        pbc=frame.pbc,
    )
    atoms.arrays[fields.ATOM_TYPES] = topology.types.astype(np.int64)
    atoms.arrays[fields.MOLECULE_IDS] = topology.molecules.astype(np.int64)
    atoms.arrays[fields.BEAD_NAMES] = np.asarray(topology.names)
    atoms.info[TYPE_NAMES] = " ".join(topology.type_names)
    atoms.info[TYPE_MASSES] = " ".join(f"{m:.6g}" for m in topology.type_masses)
    if frame.time is not None:
        atoms.info[fields.TIME] = float(frame.time)
    if frame.source_frame is not None:
        atoms.info[fields.SOURCE_FRAME] = int(frame.source_frame)
    results: dict[str, Any] = {}
    if frame.forces is not None:
        results["forces"] = np.round(frame.forces, FORCE_DECIMALS)
    if frame.virial is not None:
        stress = frame.stress
        results["stress"] = full_3x3_to_voigt_6_stress(0.5 * (stress + stress.T))
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def from_atoms(atoms: Any, file: str | Path | None = None, frame: int | None = None) -> CGFrame:
    """A frame from `ase.Atoms` as `to_atoms` writes them.

    Raises:
        InputError: a column or an info key of the format is missing.
    """
    from ase.stress import voigt_6_to_full_3x3_stress

    for key in (fields.ATOM_TYPES, fields.MOLECULE_IDS):
        if key not in atoms.arrays:
            raise InputError(
                f"the column '{key}' is missing; expected a data set written by 'cgpot map'",
                file=file,
                frame=frame,
            )
    for key in (TYPE_NAMES, TYPE_MASSES):
        if key not in atoms.info:
            raise InputError(
                "the key is missing from the comment line; expected a data set written by "
                "'cgpot map'",
                file=file,
                key=key,
                frame=frame,
            )
    topology = BeadTopology(
        type_names=tuple(str(atoms.info[TYPE_NAMES]).split()),
        type_masses=tuple(
            float(x) for x in np.atleast_1d(_floats(atoms.info[TYPE_MASSES], file, frame))
        ),
        types=np.asarray(atoms.arrays[fields.ATOM_TYPES], dtype=np.int64),
        molecules=np.asarray(atoms.arrays[fields.MOLECULE_IDS], dtype=np.int64),
    )
    results = atoms.calc.results if atoms.calc is not None else {}
    cell = np.asarray(atoms.cell.array, dtype=np.float64)
    if np.linalg.det(cell) == 0.0:
        raise InputError(
            "the cell has no volume; expected three box vectors under 'Lattice'",
            file=file,
            frame=frame,
        )
    virial = None
    if "stress" in results:
        stress = np.asarray(results["stress"], dtype=np.float64)
        if stress.shape == (6,):
            stress = voigt_6_to_full_3x3_stress(stress)
        virial = -stress * abs(np.linalg.det(cell))
    forces = results.get("forces")
    result = CGFrame(
        topology=topology,
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=cell,
        forces=None if forces is None else np.asarray(forces, dtype=np.float64),
        virial=virial,
        time=_optional(atoms.info.get(fields.TIME), float),
        source_frame=_optional(atoms.info.get(fields.SOURCE_FRAME), int),
        pbc=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
    )
    result.check_finite(file, frame)
    return result


def _floats(value: Any, file: str | Path | None, frame: int | None) -> Any:
    try:
        if isinstance(value, str):
            return [float(x) for x in value.split()]
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise InputError(
            f"expected masses in amu, found {value!r}", file=file, key=TYPE_MASSES, frame=frame
        ) from err


def _optional(value: Any, kind: Any) -> Any:
    return None if value is None else kind(value)


class ExtxyzWriter:
    """Write frames one by one; the file appears under its name when the block ends well."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        self._context = atomic_path(self.path)
        self._stream: IO[str] | None = None

    def __enter__(self) -> ExtxyzWriter:
        self._temporary = self._context.__enter__()
        self._stream = open_text(self._temporary, "w", kind=self.path)
        return self

    def write(self, frame: CGFrame) -> None:
        """Append one frame."""
        from ase.io.extxyz import write_xyz

        if self._stream is None:
            raise RuntimeError("the writer is not open")
        write_xyz(self._stream, to_atoms(frame), write_results=True)
        self.count += 1

    def __exit__(self, *exc: Any) -> None:
        try:
            if self._stream is not None:
                self._stream.close()
        except BaseException:
            self._context.__exit__(*sys.exc_info())
            raise
        self._context.__exit__(*exc)


def write_frames(path: str | Path, frames: Iterable[CGFrame]) -> int:
    """Write frames to a data set; returns their number."""
    with ExtxyzWriter(path) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.count


def read_frames(path: str | Path) -> Iterator[CGFrame]:
    """Frames of a data set, one at a time.

    Raises:
        InputError: missing file, damaged frame (its index is named), or two systems in one file.
    """
    from ase.io.extxyz import read_xyz

    p = require_file(path, "data set")
    first: BeadTopology | None = None
    index = 0
    with open_text(p) as stream:
        for chunk in _chunks(stream, p):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    atoms = next(read_xyz(io.StringIO(chunk), index=0))
            except (ValueError, IndexError, KeyError, OSError, EOFError, StopIteration) as err:
                raise InputError(f"damaged frame: {err}", file=p, frame=index) from err
            # ase turns names like T, F or 12 into logicals and numbers
            if names := _NAMES.search(chunk):
                atoms.info[TYPE_NAMES] = names[1] or names[2]
            frame = from_atoms(atoms, file=p, frame=index)
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


def _chunks(stream: IO[str], path: Path) -> Iterator[str]:
    """One frame at a time (ase's reader scans a whole file first)."""
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
        yield "".join(lines)
