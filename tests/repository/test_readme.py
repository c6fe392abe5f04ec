# SPDX-License-Identifier: GPL-2.0-or-later
"""The README says what is so: its commands exist and run, its files are there.

Blocks marked ``bash`` hold commands.  All are checked against the command line or the Makefile;
those that take seconds are run in the order in which they stand, in a folder that sees the
repository's ``workflows``.  With the marker ``slow`` all ``cgpot`` commands run, training and
simulation included, and then the LAMMPS input of the block marked ``lammps``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for kind, body in BLOCKS
    if kind == "bash"
    for line in body.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
QUICK = {"map", "dataset"}
"""Commands of cgpot that the README shows on files that need no training: run in every test."""


def words(program: str) -> list[list[str]]:
    return [shlex.split(line) for line in COMMANDS if shlex.split(line)[0] == program]


def test_it_opens_with_the_two_commands() -> None:
    head = README.split("\n```\n")[0]
    assert head.splitlines()[-3:] == ["```bash", "make demo", "make test"]


def test_blocks_are_known_and_hold_known_commands() -> None:
    assert {kind for kind, _ in BLOCKS} <= {"bash", "python", "lammps", "yaml", "text"}
    assert {shlex.split(line)[0] for line in COMMANDS} <= {"make", "cgpot", "lmp"}
    assert len(words("cgpot")) >= 8


@pytest.mark.parametrize("line", words("make"), ids=" ".join)
def test_make_targets_exist(line: list[str]) -> None:
    done = subprocess.run(
        ["make", "-n", *line[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def application() -> Any:
    import typer

    from cgpot.cli import build_app

    return typer.main.get_command(build_app())


@pytest.mark.parametrize("line", words("cgpot"), ids=" ".join)
def test_options_exist(application: Any, line: list[str]) -> None:
    """Parse every command without running it; unknown options and missing arguments fail."""
    command, arguments = application, line[1:]
    while hasattr(command, "commands"):
        assert arguments, f"{' '.join(line)}: a subcommand is missing"
        name, *arguments = arguments
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    try:
        command.make_context(line[-1], list(arguments))
    except Exception as err:  # the parser's own errors; Exit is that of --help
        if type(err).__name__ != "Exit":
            pytest.fail(f"{' '.join(line)}: {err}")


@pytest.mark.parametrize("text", sorted(set(re.findall(r"[\w./-]*workflows/[\w./-]+", README))))
def test_files_exist(text: str) -> None:
    path = text.rstrip(".")
    assert (ROOT / path).exists(), path


@pytest.mark.parametrize("text", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(text: str) -> None:
    assert text.startswith("https://") or (ROOT / text).exists(), text


def playground(folder: Path) -> Path:
    for name in ("workflows", "lammps_inputs", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def execute(line: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / line[0]
    return subprocess.run(
        [str(program), *line[1:]],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_quick_commands_run(tmp_path: Path) -> None:
    folder = playground(tmp_path)
    lines = [line for line in words("cgpot") if line[1] in QUICK]
    assert {line[1] for line in lines} == QUICK
    for line in lines:
        done = execute(line, folder)
        assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout}\n{done.stderr}"


def test_python_blocks_run(tmp_path: Path) -> None:
    folder = playground(tmp_path)
    for line in words("cgpot"):
        if line[1] in QUICK:
            execute(line, folder)
    blocks = [body for kind, body in BLOCKS if kind == "python"]
    assert blocks
    for body in blocks:
        done = subprocess.run(
            [sys.executable, "-c", body], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{body}\n{done.stderr}"


@pytest.mark.slow
def test_the_whole_chain_runs(tmp_path: Path) -> None:
    folder = playground(tmp_path)
    for line in words("cgpot"):
        if line[1] in {"doctor", "plugin"}:
            continue
        done = execute(line, folder)
        assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout}\n{done.stderr}"
    inputs = [body for kind, body in BLOCKS if kind == "lammps"]
    assert inputs
    for number, body in enumerate(inputs):
        (folder / f"in.{number}").write_text(body)
        done = execute(["lmp", "-in", f"in.{number}"], folder)
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
