# SPDX-License-Identifier: GPL-2.0-or-later
"""Split a run into contiguous blocks of time with gaps between them.

Frames of a trajectory are correlated: a random split puts near copies of training frames
into the validation set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import open_text, require_file
from cgpot.molecules import fields

SUBSETS = ("train", "val", "test")
UNUSED = -1
_TIME = re.compile(rf"(?:^|\s){fields.TIME}=([^\s]+)")
_LATTICE = re.compile(r'Lattice="([^"]+)"')


@dataclass(frozen=True)
class FrameIndex:
    """What the comment lines of a data set say.

    Attributes:
        path: the data set.
        times: (n,) ps, or None where the frames have none.
        cells: (n, 3, 3) Å.
    """

    path: Path
    times: NDArray[np.float64] | None
    cells: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class SplitPlan:
    """How to split.

    Attributes:
        fractions: of the frames for training, validation and test; sum 1.
        gap_ps: time left out between blocks, ps; None: ``gap_frames`` instead.
        gap_frames: frames left out between blocks.
    """

    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    gap_ps: float | None = None
    gap_frames: int = 0

    def check(self) -> None:
        """Refuse fractions that are no partition, and a gap stated twice or negative.

        Raises:
            ConfigError: names the option.
        """
        if any(not 0.0 <= f <= 1.0 for f in self.fractions):
            raise ConfigError(f"fractions {self.fractions}; expected numbers from 0 to 1")
        if abs(sum(self.fractions) - 1.0) > 1e-6:
            raise ConfigError(
                f"fractions {self.fractions} sum to {sum(self.fractions):g}; expected 1"
            )
        if self.fractions[0] == 0.0:
            raise ConfigError("the training fraction is 0; expected more")
        if self.gap_ps is not None and self.gap_frames:
            raise ConfigError("the gap is given in ps and in frames; give one of them")
        if (self.gap_ps or 0.0) < 0.0 or self.gap_frames < 0:
            raise ConfigError("the gap is negative; expected 0 or more")


def scan(path: str | Path) -> FrameIndex:
    """Times and cells of all frames from the comment lines alone.

    Raises:
        InputError: not an extxyz data set, or truncated (the frame is named).
    """
    p = require_file(path, "data set")
    times: list[float | None] = []
    cells: list[list[float]] = []
    index = 0
    with open_text(p) as stream:
        try:
            while head := stream.readline():
                if not head.strip():
                    continue
                n = int(head)
                comment = stream.readline()
                lattice = _LATTICE.search(comment)
                if lattice is None:
                    raise InputError("no Lattice in the comment line", file=p, frame=index)
                cells.append([float(x) for x in lattice.group(1).split()])
                time = _TIME.search(comment)
                times.append(None if time is None else float(time.group(1)))
                for _ in range(n):
                    line = stream.readline()
                if not line.endswith("\n"):
                    raise InputError("truncated frame", file=p, frame=index)
                index += 1
        except (ValueError, EOFError, OSError, UnboundLocalError) as err:
            raise InputError(f"damaged or truncated data set: {err}", file=p, frame=index) from err
    if not index:
        raise InputError("no frames in the data set", file=p)
    known = [t for t in times if t is not None]
    return FrameIndex(
        path=p,
        times=np.asarray(known) if len(known) == len(times) else None,
        cells=np.asarray(cells).reshape(-1, 3, 3),
    )


def assign(index: FrameIndex, plan: SplitPlan, begin: float | None = None) -> NDArray[np.int64]:
    """Subset of each frame, (n,): 0 training, 1 validation, 2 test, -1 left out.

    The blocks follow each other in time: training, gap, validation, gap, test.

    Args:
        index: the frames of one run.
        plan: fractions and gap.
        begin: frames before this time (ps) are left out.

    Raises:
        ConfigError: a subset with a fraction gets no frame.
        DataError: times missing where the gap is in ps, or not ascending.
    """
    plan.check()
    n = len(index)
    times = index.times
    if times is not None and (np.diff(times) <= 0).any():
        bad = int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1
        raise DataError(
            f"time {times[bad]:g} ps does not follow {times[bad - 1]:g} ps",
            file=index.path,
            frame=bad,
        )
    if times is None and (plan.gap_ps or begin is not None):
        raise DataError(
            "the frames have no times; give the gap in frames", file=index.path, key="time"
        )
    result = np.full(n, UNUSED, dtype=np.int64)
    start = 0 if begin is None or times is None else int(np.searchsorted(times, begin - 1e-6))
    edges = start + np.rint(np.cumsum([0.0, *plan.fractions]) * (n - start)).astype(int)
    # A fraction of 0 makes no block and needs no gap.
    previous_end: int | None = None
    for subset in range(3):
        lo, hi = int(edges[subset]), int(edges[subset + 1])
        if plan.fractions[subset] == 0.0:
            continue
        if previous_end is not None:
            if plan.gap_ps is not None and times is not None:
                earliest = times[previous_end - 1] + plan.gap_ps
                lo = max(lo, int(np.searchsorted(times, earliest - 1e-6)))
            else:
                lo = max(lo, previous_end + plan.gap_frames)
        if lo >= hi:
            raise ConfigError(
                f"the {SUBSETS[subset]} set gets no frame: {n - start} frames, fractions "
                f"{plan.fractions}, gap "
                + (f"{plan.gap_ps} ps" if plan.gap_ps is not None else f"{plan.gap_frames} frames")
                + f" ({index.path.name})"
            )
        result[lo:hi] = subset
        previous_end = hi
    return result
