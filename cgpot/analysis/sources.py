# SPDX-License-Identifier: GPL-2.0-or-later
"""Where frames come from: data sets (several files are replicas) and CG trajectories."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import open_text, require_file
from cgpot.core.manifest import check_manifest, manifest_path
from cgpot.molecules.extxyz import composition, read_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.rdf import half_box

R_MAX = 15.0
"""Largest upper end of g(r) that is taken without being asked for, Å."""

_LATTICE = re.compile(r'Lattice="([^"]*)"')


@dataclass
class Scan:
    """What the comment lines of a trajectory tell without reading its sites.

    Attributes:
        file: the file.
        n_frames: number of frames.
        n_sites: number of sites of the first frame.
        half_box: smallest half distance between faces over all frames, Å.
        manifest: whether a manifest stood beside the file and agreed with it.
    """

    file: Path
    n_frames: int = 0
    n_sites: int = 0
    half_box: float = float("inf")
    manifest: bool = False


def scan(path: str | Path) -> Scan:
    """Count the frames of an extxyz file and find its smallest box; checks its manifest.

    Raises:
        InputError: missing or truncated file, or a frame without a cell.
        ManifestError: the file is not the one its manifest describes.
    """
    p = require_file(path, "trajectory")
    result = Scan(p)
    if manifest_path(p).is_file():
        check_manifest(p)
        result.manifest = True
    seen: set[str] = set()
    try:
        with open_text(p) as stream:
            while head := stream.readline():
                if not head.strip():
                    continue
                n = int(head)
                result.n_sites = result.n_sites or n
                comment = stream.readline()
                match = _LATTICE.search(comment)
                if match is None:
                    raise InputError(
                        "no Lattice in the comment line", file=p, frame=result.n_frames
                    )
                if match.group(1) not in seen:
                    seen.add(match.group(1))
                    cell = np.array(match.group(1).split(), dtype=np.float64).reshape(3, 3)
                    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-9:
                        raise InputError(
                            f"the cell {match.group(1)!r} has no volume",
                            file=p,
                            frame=result.n_frames,
                        )
                    result.half_box = min(result.half_box, half_box(cell))
                for _ in range(n):
                    stream.readline()
                result.n_frames += 1
    except (ValueError, EOFError, OSError) as err:
        raise InputError(
            f"damaged or truncated: {err}; expected extended XYZ", file=p, frame=result.n_frames
        ) from err
    if result.n_frames == 0:
        raise InputError("no frames in the trajectory", file=p)
    return result


def common_range(scans: Sequence[Scan]) -> float:
    """Upper end of g(r) for all frames, Å: `R_MAX`, or half the smallest box to 0.01 Å.

    Analysis and refinement take it where nothing else is asked for, so that they mean the same
    by Δg.
    """
    return min(R_MAX, math.floor(min(s.half_box for s in scans) * 100) / 100)


def require_same_beads(first: Topology, other: Topology, first_name: str, file: str | Path) -> None:
    """Refuse two systems of different beads (their numbers may differ).

    Raises:
        InputError: names, masses or composition differ.
    """
    if first.type_names != other.type_names:
        raise InputError(
            f"bead names {list(other.type_names)} differ from {list(first.type_names)} of "
            f"{first_name}; expected the same system",
            file=file,
        )
    if not np.allclose(first.type_masses, other.type_masses, rtol=1e-3):
        raise InputError(
            f"bead masses {list(other.type_masses)} differ from {list(first.type_masses)} of "
            f"{first_name}; expected the same system",
            file=file,
        )
    a, b = (
        np.bincount(t.types, minlength=len(t.type_names)) / max(t.n_sites, 1)
        for t in (first, other)
    )
    if not np.allclose(a, b, atol=1e-9):
        raise InputError(
            f"the composition {_percent(other, b)} differs from {_percent(first, a)} of "
            f"{first_name}; expected the same mixture",
            file=file,
        )


def _percent(topology: Topology, shares: NDArray[np.float64]) -> str:
    return ", ".join(
        f"{name} {100 * x:.2f} %" for name, x in zip(topology.type_names, shares, strict=True)
    )


def replica_frames(paths: Sequence[str | Path]) -> Iterator[tuple[int, CGFrame]]:
    """Pairs (replica, frame) of several files of one system, in order, one frame at a time.

    Raises:
        InputError: a damaged file, or files of different systems.
    """
    first: Topology | None = None
    for replica, path in enumerate(paths):
        for index, frame in enumerate(read_frames(path)):
            if first is None:
                first = frame.topology
            elif index == 0:
                require_same_beads(first, frame.topology, str(paths[0]), path)
                if not first.same_as(frame.topology):
                    raise InputError(
                        f"{frame.topology.n_sites} sites ({composition(frame.topology)}), but "
                        f"{first.n_sites} ({composition(first)}) in {paths[0]}; "
                        "replicas hold the same sites in the same order",
                        file=path,
                    )
            yield replica, frame
