# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one stage as a process of its own: log, time limit, and no orphans."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.1


class Stopped(Exception):
    """The study was asked to stop while a stage ran; nothing is recorded as failed."""


@dataclass(frozen=True)
class Ended:
    """How a stage ended.

    Attributes:
        status: exit status (negative: the signal that ended it).
        seconds: time it took.
        timed_out: it was stopped at its time limit.
    """

    status: int
    seconds: float
    timed_out: bool = False

    @property
    def resumable(self) -> bool:
        """Whether the same command may go on: the stage was stopped, it did not fail by itself."""
        return self.timed_out or self.status < 0 or self.status in (3, 130, 143)


def _child() -> None:
    """In the child: interruptible, and interrupted when its parent ends however it ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGINT)


def run_stage(
    command: Sequence[str],
    log: Path,
    *,
    threads: int = 1,
    limit: float | None = None,
    stop: threading.Event | None = None,
    lock: int | None = None,
    note: str = "",
) -> Ended:
    """Run a command with its output in a log, to its end.

    Args:
        command: the command.
        log: file that its output is appended to.
        threads: OpenMP threads.
        limit: seconds after which it is stopped.
        stop: set by another thread to stop the command.
        lock: descriptor of a lock that the process inherits: the point stays locked while an
            orphan works.
        note: a line for the log.

    Raises:
        Stopped: ``stop`` was set.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.setdefault("COLUMNS", "100")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    start = time.monotonic()
    with log.open("ab") as out:
        out.write(f"# {note}{' '.join(command)}\n".encode())
        out.flush()
        process = subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
            preexec_fn=_child,
        )
        try:
            while process.poll() is None:
                if stop is not None and stop.is_set():
                    raise Stopped
                seconds = time.monotonic() - start
                if limit is not None and seconds > limit:
                    end(process)
                    return Ended(process.returncode, seconds, timed_out=True)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
        finally:
            end(process)
    return Ended(process.returncode, time.monotonic() - start)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process group to stop, and insist."""
    for number, patience in ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def failure_text(log: Path, status: int) -> str:
    """What went wrong, from the end of a log: the line ``error: ...``, else the last one."""
    lines: list[str] = []
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 16384))
        text = stream.read().decode("utf-8", "replace").replace("\r", "\n")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("# "):
            break
        if line.startswith(("error: ", "Error: ")):
            return line.split(": ", 1)[1][:400]
    last = lines[-1] if lines and not lines[-1].startswith("# ") else "no output"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}: {last[:300]}"
