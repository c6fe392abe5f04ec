# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a point: its folder, the record in it, and its lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json

RECORD = "point.json"
FORMAT = "cgpot-study-point-1"
DONE, FAILED, RUNNING, WAITING, SKIPPED = "done", "failed", "running", "waiting", "skipped"


@dataclass(frozen=True)
class PointFolder:
    """Names of the files of a point.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def record(self) -> Path:
        """State of every stage."""
        return self.path / RECORD

    def stage(self, name: str) -> Path:
        """Output folder of a stage."""
        return self.path / name

    def log(self, name: str) -> Path:
        """What a stage printed."""
        return self.path / "logs" / f"{name}.log"

    def read(self) -> dict[str, Any]:
        """The record; an empty one where there is none, or where it is damaged."""
        try:
            record = read_json(self.record)
        except InputError:
            record = None
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            return {"format": FORMAT, "state": WAITING, "stages": {}}
        return record

    def write(self, record: dict[str, Any]) -> None:
        """Write the record whole."""
        write_json(self.record, record)


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[int | None]:
    """Hold a lock file; yields its descriptor, or None when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        stream.seek(0)
        stream.truncate()
        stream.write(f"{os.uname().nodename} {os.getpid()}\n")
        stream.flush()
        yield stream.fileno()


@contextlib.contextmanager
def wait_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def in_work(folder: PointFolder) -> bool:
    """Whether some process works on the point now."""
    if not folder.path.is_dir():
        return False
    with try_lock(folder.path / ".lock") as held:
        return held is None
