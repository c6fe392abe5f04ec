# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a chain of stages from a YAML file; what is up to date is skipped.

    python workflows/run.py workflows/systems/benzene/demo.yaml --folder runs/demo

A stage is a command with its input and output files.  It runs when it never finished, when its
command or one of its inputs changed (by content), or when an output is gone; stages that need
nothing from each other run side by side as far as the threads allow.  After a kill the same
command goes on: finished stages are skipped, the interrupted one is started again and resumes
from its own checkpoints.  Output of each stage goes to ``<folder>/logs/<stage>.log``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from cgpot import __version__
from cgpot.core.config import StrictModel, load_yaml
from cgpot.core.errors import CgpotError, ConfigError, InputError, ToolError
from cgpot.core.files import read_json, sha256_file, write_json

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.2
STILL_RUNNING_S = 60.0


class StageConfig(StrictModel):
    """One stage; ``{here}``, ``{run}``, ``{root}`` stand for the YAML's, run and project folder."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    about: str
    command: str
    inputs: list[str] = Field(default=[])
    outputs: list[str] = Field(min_length=1)
    threads: int = Field(default=1, ge=1)
    show: bool = False
    """Print what the stage wrote when all is done."""


class ChainConfig(StrictModel):
    """A chain of stages, in an order in which they could run one after the other."""

    title: str
    stages: list[StageConfig] = Field(min_length=1)


@dataclass
class Stage:
    """A stage with its paths filled in."""

    config: StageConfig
    command: list[str]
    inputs: list[Path]
    outputs: list[Path]
    state_file: Path
    log: Path
    after: list[Stage] = field(default_factory=list)
    status: str = "waiting"
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.config.name


def load_chain(path: Path, folder: Path) -> tuple[ChainConfig, list[Stage]]:
    """Read the YAML file and work out which stage needs which.

    Raises:
        ConfigError: a wrong key, a name or output given twice, a command that names the input of
            no file, an input inside the run folder that no earlier stage makes.
    """
    config = load_yaml(path, ChainConfig)
    values = {"here": path.resolve().parent, "run": folder.resolve(), "root": ROOT}

    def fill(text: str, key: str) -> str:
        try:
            return text.format(**values)
        except (KeyError, IndexError, ValueError) as err:
            raise ConfigError(
                f"unknown placeholder {err} in {text!r}; expected {{here}}, {{run}} or {{root}}",
                file=path,
                key=key,
            ) from err

    stages: list[Stage] = []
    for number, item in enumerate(config.stages):
        key = f"stages.{number}"
        if any(item.name == stage.name for stage in stages):
            raise ConfigError(f"two stages are named {item.name!r}", file=path, key=f"{key}.name")
        stage = Stage(
            config=item,
            command=[fill(word, f"{key}.command") for word in shlex.split(item.command)],
            inputs=[Path(fill(p, f"{key}.inputs")) for p in item.inputs],
            outputs=[Path(fill(p, f"{key}.outputs")) for p in item.outputs],
            state_file=folder / ".chain" / f"{item.name}.json",
            log=folder / "logs" / f"{item.name}.log",
        )
        for output in stage.outputs:
            if values["run"] not in output.parents:
                raise ConfigError(
                    f"{output} lies outside the run folder", file=path, key=f"{key}.outputs"
                )
            for other in stages:
                if output in other.outputs:
                    raise ConfigError(
                        f"{output.name} is an output of {other.name!r} already",
                        file=path,
                        key=f"{key}.outputs",
                    )
        for p in stage.inputs:
            makers = [s for s in stages if any(o == p or o in p.parents for o in s.outputs)]
            if not makers and values["run"] in p.parents:
                raise ConfigError(
                    f"no earlier stage makes {p.relative_to(values['run'])}",
                    file=path,
                    key=f"{key}.inputs",
                )
            stage.after += [s for s in makers if s not in stage.after]
        stages.append(stage)
    return config, stages


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all names and contents below a folder."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for p in sorted(path.rglob("*")):
        if p.is_file() and not p.name.startswith("."):
            digest.update(f"{p.relative_to(path)}\0{sha256_file(p)}\n".encode())
    return digest.hexdigest()


def stage_key(stage: Stage) -> str:
    """Hash of the command and the contents of the inputs.

    Raises:
        InputError: an input does not exist.
    """
    digest = hashlib.sha256(f"{__version__}\0{stage.config.command}\n".encode())
    for name, p in zip(stage.config.inputs, stage.inputs, strict=True):
        if not p.exists():
            raise InputError(f"no such input of stage '{stage.name}'", file=p)
        digest.update(f"{name}\0{content_hash(p)}\n".encode())
    return digest.hexdigest()


def prepare(stage: Stage, folder: Path) -> tuple[bool, str]:
    """Whether the stage is up to date, and its key; stale outputs of another key are removed."""
    key = stage_key(stage)
    try:
        state = read_json(stage.state_file)
    except InputError:
        return False, key
    if state.get("key") == key:
        done = state.get("done") is True and all(p.exists() for p in stage.outputs)
        stage.seconds = float(state.get("seconds", 0.0))
        return done, key
    for p in stage.outputs:
        if folder.resolve() in p.parents:
            if p.is_dir():
                shutil.rmtree(p)
            else:
                p.unlink(missing_ok=True)
    stage.seconds = 0.0
    stage.state_file.unlink()
    return False, key


def start(stage: Stage, key: str, lock_fd: int) -> subprocess.Popen[bytes]:
    """Start a stage in a process group of its own, its output going to the log.

    It inherits the lock: should the driver be killed, the folder stays locked while a stage works.

    Raises:
        ToolError: the command cannot be started.
    """
    stage.log.parent.mkdir(parents=True, exist_ok=True)
    for p in stage.outputs:
        p.parent.mkdir(parents=True, exist_ok=True)
    write_json(stage.state_file, {"key": key, "done": False, "seconds": stage.seconds})
    env = os.environ.copy()
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = str(stage.config.threads)
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("COLUMNS", "100")
    with stage.log.open("wb") as log:
        try:
            return subprocess.Popen(
                stage.command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock_fd,),
            )
        except OSError as err:
            raise ToolError(f"stage '{stage.name}' cannot be started: {err}") from err


def last_line(path: Path) -> str:
    """The last line of a log that is not blank (carriage returns count as line ends)."""
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4096))
        text = stream.read().decode("utf-8", "replace").replace("\r", "\n")
        for line in reversed(text.splitlines()):
            if line.strip():
                return line.strip()[:100]
    return ""


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def say(text: str) -> None:
    """One line of the driver itself."""
    print(text, flush=True)


class Runner:
    """Run the stages of a chain, side by side as far as ``threads`` allow."""

    def __init__(self, stages: list[Stage], folder: Path, threads: int, lock_fd: int) -> None:
        self.stages = stages
        self.folder = folder
        self.threads = threads
        self.lock_fd = lock_fd
        self.running: dict[str, tuple[Stage, subprocess.Popen[bytes], float, str]] = {}
        self._spoken: dict[str, float] = {}

    def run(self) -> None:
        """Run everything that is not up to date.

        Raises:
            ToolError: a stage failed; those beside it were left to finish.
        """
        failed: Stage | None = None
        try:
            while True:
                if failed is None:
                    self._start_ready()
                if not self.running:
                    break
                time.sleep(POLL_S)
                failed = self._collect() or failed
        except BaseException:
            self.stop()
            raise
        if failed is not None:
            tail = failed.log.read_text(errors="replace").splitlines()[-15:]
            raise ToolError(
                f"stage '{failed.name}' failed; the end of {failed.log}:\n  "
                + "\n  ".join(tail)
                + "\nThe same command again goes on from here."
            )

    def _start_ready(self) -> None:
        for stage in self.stages:
            if stage.status != "waiting" or any(
                other.status not in ("done", "skipped") for other in stage.after
            ):
                continue
            busy = sum(s.config.threads for s, *_ in self.running.values())
            if busy and busy + stage.config.threads > self.threads:
                continue
            current, key = prepare(stage, self.folder)
            if current:
                stage.status = "skipped"
                say(f"-- {stage.name}: up to date (took {clock(stage.seconds)})")
                continue
            say(f"== {stage.name}: {stage.config.about}")
            process = start(stage, key, self.lock_fd)
            stage.status = "running"
            now = time.monotonic()
            self.running[stage.name] = (stage, process, now, key)
            self._spoken[stage.name] = now

    def _collect(self) -> Stage | None:
        failed = None
        now = time.monotonic()
        for name, (stage, process, began, key) in list(self.running.items()):
            code = process.poll()
            if code is None:
                if now - self._spoken[name] >= STILL_RUNNING_S:
                    self._spoken[name] = now
                    say(f"   {name} {clock(now - began)}  {last_line(stage.log)}")
                continue
            del self.running[name]
            stage.seconds += now - began
            missing = [p for p in stage.outputs if not p.exists()]
            if code == 0 and missing:
                with stage.log.open("a") as log:
                    log.write(f"error: the stage ended well but did not write {missing[0]}\n")
            if code != 0 or missing:
                stage.status = "failed"
                failed = stage
                say(f"!! {name}: failed after {clock(now - began)} (exit status {code})")
                continue
            stage.status = "done"
            write_json(stage.state_file, {"key": key, "done": True, "seconds": stage.seconds})
            say(f"   {name}: done in {clock(now - began)}")
        return failed

    def stop(self) -> None:
        """Ask the running stages to stop, and insist after 20 seconds."""
        for number, patience in ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5)):
            deadline = time.monotonic() + patience
            for _, process, *_ in self.running.values():
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
            while time.monotonic() < deadline and any(
                process.poll() is None for _, process, *_ in self.running.values()
            ):
                time.sleep(POLL_S)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[int]:
    """Hold the run folder (two drivers would overwrite each other); yields the lock's descriptor.

    Raises:
        InputError: another driver runs there.
    """
    path = folder / ".chain" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            stream.seek(0)
            raise InputError(
                f"another run is at work here (process {stream.read().strip()}, or a stage that it "
                "started and that goes on)",
                file=folder,
            ) from err
        stream.seek(0)
        stream.truncate()
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield stream.fileno()


def forget(stages: list[Stage], name: str) -> None:
    """Drop what is known of a stage, so that it and what follows from it run again.

    Raises:
        ConfigError: there is no such stage.
    """
    names = [stage.name for stage in stages]
    if name not in names:
        raise ConfigError(f"no stage {name!r}; expected one of {', '.join(names)}")
    stale = {name}
    for stage in stages:
        if stage.name in stale or any(other.name in stale for other in stage.after):
            stale.add(stage.name)
            if stage.state_file.exists():
                # a key that fits nothing: the outputs are removed before the stage runs
                write_json(stage.state_file, {"key": "", "done": False, "seconds": 0.0})


def summary(stages: list[Stage], wall: float) -> str:
    """A table of the stages and what each took."""
    width = max(len(stage.name) for stage in stages)
    lines = [f"{'stage':{width}}     time  state"]
    for stage in stages:
        state = "up to date" if stage.status == "skipped" else stage.status
        lines.append(f"{stage.name:{width}}  {clock(stage.seconds):>7}  {state}")
    lines.append(f"{'this run':{width}}  {clock(wall):>7}")
    return "\n".join(lines)


def run_chain(path: Path, folder: Path, threads: int, redo: list[str]) -> None:
    """Run a chain and print its summary.

    Raises:
        CgpotError: wrong YAML, a missing input, or a stage that failed.
    """
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    config, stages = load_chain(path, folder)
    with lock(folder) as lock_fd:
        for name in redo:
            forget(stages, name)
        say(f"{config.title}\nrun folder {folder}, {threads} threads")
        Runner(stages, folder, threads, lock_fd).run()
        wall = time.monotonic() - began
        times = {s.name: {"seconds": round(s.seconds, 1), "state": s.status} for s in stages}
        write_json(folder / "times.json", {"seconds": round(wall, 1), "stages": times})
    say("")
    say(summary(stages, wall))
    for stage in stages:
        if stage.config.show:
            say("\n" + stage.log.read_text(errors="replace").rstrip())


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="Run a chain of stages; resumable.")
    parser.add_argument("chain", type=Path, help="YAML file with the stages")
    parser.add_argument("--folder", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="cores to use (default: 2)"
    )
    parser.add_argument(
        "--redo", action="append", default=[], metavar="STAGE", help="run this stage again"
    )
    options = parser.parse_args(argv)

    def terminated(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGHUP, terminated)
    try:
        run_chain(options.chain, options.folder, options.threads, options.redo)
    except KeyboardInterrupt:
        say("stopped; the same command again goes on from here")
        sys.exit(130)
    except (CgpotError, json.JSONDecodeError) as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
