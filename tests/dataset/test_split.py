# SPDX-License-Identifier: GPL-2.0-or-later
"""Splits by contiguous time with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_runs import write_run

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.dataset.split import FrameIndex, SplitPlan, assign, scan


def index(n: int, times: np.ndarray | None = None, timeless: bool = False) -> FrameIndex:
    values = 0.5 * np.arange(n) if times is None else times
    return FrameIndex(Path("a.extxyz"), None if timeless else values, np.zeros((n, 3, 3)))


def test_blocks_follow_each_other_with_gaps() -> None:
    subset = assign(index(100), SplitPlan((0.8, 0.1, 0.1), gap_ps=2.0))
    for k in range(3):
        where = np.flatnonzero(subset == k)
        assert (np.diff(where) == 1).all()  # contiguous
    ends = [np.flatnonzero(subset == k)[[0, -1]] for k in range(3)]
    assert ends[0].tolist() == [0, 79]
    # 2 ps at 0.5 ps a frame: the next block starts 4 frames after the last one of the block.
    assert ends[1][0] - ends[0][1] == 4
    assert ends[2][0] - ends[1][1] == 4
    assert ends[2][1] == 99
    assert np.count_nonzero(subset == -1) == 6


def test_gap_in_frames_and_no_times() -> None:
    subset = assign(index(50, timeless=True), SplitPlan((0.6, 0.2, 0.2), gap_frames=3))
    assert [np.count_nonzero(subset == k) for k in range(3)] == [30, 7, 7]


def test_begin_drops_the_start() -> None:
    subset = assign(index(100), SplitPlan((0.5, 0.5, 0.0)), begin=25.0)
    assert (subset[:50] == -1).all()
    assert np.count_nonzero(subset == 0) == 25
    assert np.count_nonzero(subset == 2) == 0


def test_never_random() -> None:
    plan = SplitPlan((0.7, 0.2, 0.1), gap_ps=1.0)
    np.testing.assert_array_equal(assign(index(200), plan), assign(index(200), plan))
    known = assign(index(200), plan)
    order = known[known >= 0]
    assert (np.diff(order) >= 0).all()


@pytest.mark.parametrize(
    ("plan", "match"),
    [
        (SplitPlan((0.8, 0.1, 0.2)), r"sum to 1\.1; expected 1"),
        (SplitPlan((1.2, -0.1, -0.1)), "expected numbers from 0 to 1"),
        (SplitPlan((0.0, 0.5, 0.5)), "training fraction is 0"),
        (SplitPlan(gap_ps=1.0, gap_frames=2), "in ps and in frames"),
        (SplitPlan(gap_ps=-1.0), "the gap is negative"),
        (SplitPlan(gap_ps=100.0), "the val set gets no frame: 100 frames, .*gap 100.0 ps"),
        (SplitPlan(gap_frames=30), "the val set gets no frame: .*gap 30 frames"),
        (SplitPlan((0.996, 0.002, 0.002)), "the val set gets no frame"),
    ],
)
def test_refused_plans(plan: SplitPlan, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        assign(index(100), plan)


def test_times_must_ascend_and_exist() -> None:
    times = np.array([0.0, 1.0, 1.0, 2.0])
    with pytest.raises(DataError, match=r"frame 2: time 1 ps does not follow 1 ps"):
        assign(index(4, times), SplitPlan())
    with pytest.raises(DataError, match="the frames have no times; give the gap in frames"):
        assign(index(9, timeless=True), SplitPlan(gap_ps=1.0))


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_scan(tmp_path: Path, suffix: str) -> None:
    path = write_run(tmp_path / f"a.extxyz{suffix}", frames=7)
    found = scan(path)
    assert len(found) == 7
    assert found.times is not None
    np.testing.assert_allclose(found.times, 0.5 * np.arange(7))
    np.testing.assert_allclose(found.cells[0], np.diag([24.0, 24.0, 24.0]))


def test_scan_of_damaged_files(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz", frames=3)
    text = path.read_text()
    for damaged, match in (
        (text[:-20], "frame 2: truncated frame"),
        (text.replace("Lattice", "Lettuce", 1), "frame 0: no Lattice"),
        ("abc\n" + text, "frame 0: damaged or truncated data set: invalid literal"),
        ("\n", "no frames in the data set"),
    ):
        path.write_text(damaged)
        with pytest.raises(InputError, match=match):
            scan(path)
    packed = write_run(tmp_path / "b.extxyz.xz", frames=3)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or truncated data set"):
        scan(packed)
