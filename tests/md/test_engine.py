# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lammps_support import LJ, script

from cgpot.core.errors import InputError, ToolError
from cgpot.md.engine import diagnose, find_lammps, folder_lock
from cgpot.md.restart import newest_restart, restart_step

TABLE = """LAMMPS (22 Jul 2025)
Per MPI rank memory allocation (min/avg/max) = 1 | 1 | 1 Mbytes
   Step          Time
         0   0
       100   0.5
"""


def explain(folder: Path, error: str, status: int = 1) -> str:
    log = folder / "run.0.log"
    log.write_text(TABLE + error)
    return diagnose(status, log, folder / "run.0.out", 5.0).message


def test_explosions_are_named_with_their_step(tmp_path: Path) -> None:
    for error in (
        "ERROR on proc 0: Non-numeric pressure - simulation unstable (src/fix_nh.cpp:1042)\n",
        "ERROR: Lost atoms: original 125 current 124 (src/thermo.cpp:494)\n",
        "ERROR on proc 0: Non-numeric atom coords - simulation unstable\n",
    ):
        message = explain(tmp_path, error + "Last input line: run 1000\n")
        assert message.startswith("the simulation blew up at step 100 (0.5 ps): ERROR")
        assert "Last input line: run 1000" in message


def test_other_failures(tmp_path: Path) -> None:
    message = explain(tmp_path, "ERROR: Unrecognized pair style 'cgpot' (src/force.cpp:275)\n")
    assert "LAMMPS failed at step 100 (0.5 ps): ERROR: Unrecognized pair style" in message
    assert "cgpot plugin build" in message
    assert "cgpot doctor" in message
    assert "ended by SIGKILL at step 100 (0.5 ps); the same command continues" in explain(
        tmp_path, "", -9
    )
    assert "exit status 77 without an error message" in explain(tmp_path, "", 77)


def test_no_such_program() -> None:
    with pytest.raises(ToolError, match="no program '/no/lmp'; expected a LAMMPS executable"):
        find_lammps("/no/lmp")


def test_threads_reach_the_environment() -> None:
    assert find_lammps(threads=3).environment["OMP_NUM_THREADS"] == "3"


def test_the_lock_of_a_folder_outlives_this_process_in_its_child(tmp_path: Path) -> None:
    with folder_lock(tmp_path) as lock:
        with pytest.raises(InputError, match="another run is still at work in this folder"):  # noqa: SIM117
            with folder_lock(tmp_path):
                pass
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    try:
        with pytest.raises(InputError, match="another run"):  # noqa: SIM117
            with folder_lock(tmp_path):
                pass
    finally:
        child.communicate(b"\n")
    with folder_lock(tmp_path):
        pass


def test_restart_files_are_checked(tmp_path: Path, lj_data: Path) -> None:
    script(
        tmp_path,
        f"units metal\natom_style molecular\nread_data {lj_data.name}\n{LJ}\nfix 1 all nve\n"
        "restart 30 run.restart.a run.restart.b\nrun 100\n",
    )
    a, b = tmp_path / "run.restart.a", tmp_path / "run.restart.b"
    assert (restart_step(a), restart_step(b)) == (90, 60)
    assert newest_restart(tmp_path) == (a, 90)
    # cut off while it was written: the other one is taken
    content = a.read_bytes()
    a.write_bytes(content[: len(content) // 2])
    assert restart_step(a) is None
    assert newest_restart(tmp_path) == (b, 60)
    b.write_text("not a restart file, but long enough to hold a magic string")
    assert newest_restart(tmp_path) is None
    assert restart_step(tmp_path / "none") is None
