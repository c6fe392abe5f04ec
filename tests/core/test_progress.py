# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress without a terminal: few lines, none at all when quiet."""

from __future__ import annotations

import pytest

import cgpot.core.progress as module
from cgpot.core.progress import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_sparse_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("map", 100) as advance:
        for _ in range(100):
            clock.now += 1.0
            advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "map: 30/100, 30 s, 70 s left",
        "map: 60/100, 60 s, 40 s left",
        "map: 90/100, 90 s, 10 s left",
    ]


def test_unknown_total(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("map", None) as advance:
        clock.now = 31.0
        advance(5)
    assert capsys.readouterr().err == "map: 5, 31 s\n"


def test_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("map", 10, quiet=True) as advance:
        clock.now = 100.0
        advance(5)
    assert capsys.readouterr().err == ""
