# SPDX-License-Identifier: GPL-2.0-or-later
"""Mean labels of atomistic runs whose sites were held.

A mean force has less noise than the force of a single frame by the square root of the number of
independent samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgpot.core.errors import DataError, InputError
from cgpot.core.extxyz import read_frames, write_frames
from cgpot.core.frame import CGFrame
from cgpot.core.manifest import write_manifest

STAGE = "selection"
SAME_SITE = 0.05
"""Å: frames of a held run whose sites lie further apart were not held."""


def mean_frame(frames: Iterable[CGFrame], file: str | Path | None = None) -> CGFrame:
    """One frame with the mean labels of frames whose sites were held.

    Args:
        frames: frames of the same configuration with forces (and virials).
        file: named in errors.

    Returns:
        Mean positions, forces (n, 3) and, where all frames have one, virial (3, 3).

    Raises:
        InputError: no frames.
        DataError: no forces, or sites that moved.
    """
    every = list(frames)
    if not every:
        raise InputError("no frames to average", file=file)
    first = every[0]
    inverse = np.linalg.inv(first.cell)
    positions, forces = [], []
    for number, frame in enumerate(every):
        if frame.forces is None:
            raise DataError("the frame has no forces", file=file, frame=number)
        moved = (frame.positions - first.positions) @ inverse
        moved = (moved - np.round(moved)) @ first.cell
        largest = float(np.linalg.norm(moved, axis=1).max())
        if largest > SAME_SITE or not np.allclose(frame.cell, first.cell, atol=1e-6):
            raise DataError(
                f"a site moved by {largest:.3f} Å; expected a run with the centres held",
                file=file,
                frame=number,
            )
        positions.append(first.positions + moved)
        forces.append(frame.forces)
    virials = [frame.virial for frame in every if frame.virial is not None]
    return replace(
        first,
        positions=np.mean(positions, axis=0),
        forces=np.mean(forces, axis=0),
        virial=np.mean(virials, axis=0) if len(virials) == len(every) else None,
        time=None,
        source_frame=None,
    )


def average(files: Sequence[str | Path], output: str | Path) -> int:
    """Write one mean frame for each mapped held run; returns their number.

    Raises:
        InputError, DataError: see `mean_frame`.
    """
    frames = [mean_frame(read_frames(file), file) for file in files]
    if not frames:
        raise InputError("no data sets given; expected those of 'cgpot map' of held runs")
    count = write_frames(output, (replace(f, source_frame=k) for k, f in enumerate(frames)))
    write_manifest(output, stage=STAGE, inputs={"held": list(files)}, config={"average": True})
    return count
