# SPDX-License-Identifier: GPL-2.0-or-later
"""Mean labels of atomistic runs whose sites were held.

A mean force has less noise than the force of a single frame by the square root of the number of
independent samples, which becomes the weight of the frame in training.  Frames in which the
molecules had not yet settled on the configuration are left out (equilibration detection on the
trace of the virial, Chodera, J. Chem. Theory Comput. 12, 1799 (2016)): with the sites fixed,
molecules turn slowly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cgpot.core.errors import DataError, InputError
from cgpot.core.manifest import write_manifest
from cgpot.core.statistics import MIN_SAMPLES, estimate
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame

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


@dataclass(frozen=True)
class Averaged:
    """What became of one held run.

    Attributes:
        file: mapped data set.
        frames: frames in it.
        left_out: of them at the start, before the molecules had settled.
        samples: independent samples among the others.
    """

    file: str
    frames: int
    left_out: int
    samples: float

    @property
    def too_short(self) -> bool:
        """Whether half of the run or more was spent on settling."""
        return 2 * self.left_out >= self.frames


def settled(frames: Sequence[CGFrame], file: str | Path) -> Averaged:
    """Where the equilibrium of a held run begins, and how many independent samples follow.

    Both from the trace of the virial, or from the mean square force without one; a run of fewer
    than 8 frames is taken whole, as if its frames were independent.
    """
    if all(frame.virial is not None for frame in frames):
        series = [float(np.trace(frame.virial)) for frame in frames if frame.virial is not None]
    else:
        series = [float(np.mean(f.forces**2)) for f in frames if f.forces is not None]
    if len(series) < MIN_SAMPLES:
        return Averaged(str(file), len(frames), 0, float(max(len(frames), 1)))
    found = estimate(series)
    samples = max(1.0, found.n / max(found.inefficiency, 1.0))
    return Averaged(str(file), len(frames), found.start, samples)


def average(files: Sequence[str | Path], output: str | Path) -> list[Averaged]:
    """Write one mean frame for each mapped held run; its weight is the number of samples.

    Args:
        files: data sets of `cgpot map`, a held run each.
        output: the data set to write.

    Returns:
        What became of each run.

    Raises:
        InputError, DataError: see `mean_frame`.
    """
    means, facts = [], []
    for number, file in enumerate(files):
        frames = list(read_frames(file))
        mean_frame(frames, file)  # all of them must be of one configuration
        fact = settled(frames, file)
        mean = mean_frame(frames[fact.left_out :], file)
        means.append(replace(mean, source_frame=number, weight=fact.samples))
        facts.append(fact)
    if not means:
        raise InputError("no data sets given; expected those of 'cgpot map' of held runs")
    write_frames(output, means)
    write_manifest(
        output,
        stage=STAGE,
        inputs={"held": list(files)},
        config={"average": True},
        extra={"runs": [asdict(fact) | {"file": Path(fact.file).name} for fact in facts]},
    )
    return facts
