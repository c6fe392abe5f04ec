# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps between two neighbour lists, the times that a run tells, and memory over many steps."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, LJ_CUTOFF, LJ_EPSILON, LJ_SIGMA

CGPOT = "pair_style cgpot\npair_coeff * * {model} AAA BBB"
HYBRID = (
    f"pair_style hybrid/overlay cgpot zero {LJ_CUTOFF}\n"
    "pair_coeff * * cgpot {model} NULL BBB\npair_coeff * * zero"
)
# the list lasts for 20 steps: the beads must not move by more than half the skin
LIST = "neighbor 2.0 bin\nneigh_modify every 20 delay 20 check no"
NVE = f"{LIST}\nvelocity all create 200 11 loop all\nfix 1 all nve\ntimestep 0.004"
SWAP = "fix swap all atom/swap 3 6 5 400 types 1 2 ke no"


def lennard_jones(style: str) -> str:
    """What LAMMPS itself makes of the models above."""
    lines = [f"pair_style lj/cut {LJ_CUTOFF}"]
    for i, j in ((0, 0), (0, 1), (1, 1)):
        epsilon = 0.0 if style == HYBRID and i == 0 else LJ_EPSILON[i, j]
        lines.append(f"pair_coeff {i + 1} {j + 1} {epsilon} {LJ_SIGMA[i, j]}")
    return "\n".join(lines)


def energies(lmp: Any, steps: int) -> np.ndarray:
    """(steps, 3) energy, pressure and the sum of the squared forces, after each step."""
    lmp.command("thermo 1")
    rows = []
    for step in range(steps):
        lmp.command("run 1 post no" if step == 0 else "run 1 pre no post no")
        forces = np.array(lmp.numpy.extract_atom("f")[: lmp.extract_setting("nlocal")])
        rows.append([lmp.get_thermo("pe"), lmp.get_thermo("press"), (forces**2).sum()])
    return np.array(rows)


def log_rows(path: Path) -> np.ndarray:
    """The rows of numbers of the last run in a log."""
    block = path.read_text().split("Loop time")[-2].splitlines()
    rows = [line.split() for line in block if re.fullmatch(r"\s*[-+.\de]+(\s+[-+.\de]+)+\s*", line)]
    return np.array([[float(word) for word in row] for row in rows if len(row) == len(rows[-1])])


def flip(lmp: Any, to_null: bool) -> None:
    """Change the type of a bead at every fifth step, after its forces: 1 to 2 and back, or to 1."""

    def call(_: object, step: int, nlocal: int, tags: np.ndarray, x: object, f: np.ndarray) -> None:
        f[:] = 0.0
        if step % 5 == 3:
            types = lmp.numpy.extract_atom("type")[:nlocal]
            chosen = tags[:nlocal] == 1 + step % min(lmp.get_natoms(), 61)
            types[chosen] = 1 if to_null else 3 - types[chosen]

    lmp.command("fix flip all external pf/callback 1 1")
    lmp.set_fix_external_callback("flip", call)


@pytest.mark.parametrize(
    ("name", "style", "change"),
    [
        ("cubic", CGPOT, "swap"),
        ("cubic", CGPOT, "flip"),
        ("cubic", HYBRID, "flip"),
        ("small", CGPOT, "flip"),
        ("small", HYBRID, "flip"),
    ],
    ids=["swapped", "flipped", "to NULL", "small, flipped", "small, to NULL"],
)
def test_steps_follow_lj_cut(
    lammps: Any, lj_model: Path, tmp_path: Path, name: str, style: str, change: str
) -> None:
    """Each of 50 steps, of which 3 make a list; types of beads change between lists.

    `fix atom/swap` tells LAMMPS of it, the callback does not: lj/cut has to make a list at every
    step to see it.  The list of a style in hybrid leaves out beads that have been NULL when it was
    made, so that there they only become NULL.
    """
    runs = []
    for k, commands in enumerate((style.format(model=lj_model), lennard_jones(style))):
        lmp = lammps(CONFIGURATIONS[name], log=f"{k}.log")
        lmp.commands_string(commands)
        lmp.commands_string(f"{NVE}\nthermo 1\nthermo_style custom step pe press fnorm")
        if change == "swap":
            lmp.commands_string(f"{SWAP}\nthermo_style custom step pe press fnorm f_swap[2]")
        else:
            flip(lmp, to_null=style == HYBRID)
        if change == "flip" and k == 1:
            lmp.command("neigh_modify every 1 delay 0 check no")
        lmp.command("run 50")
        lmp.command("log none")
        runs.append(log_rows(tmp_path / f"{k}.log"))
    ours, theirs = runs
    assert ours.shape[0] == 51
    assert np.ptp(theirs[:, 1]) > 1e-3
    if change == "swap":
        assert theirs[-1, 4] > 5  # swaps that were taken
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_beads_taken_away_and_runs_without_setup(lammps: Any, lj_model: Path) -> None:
    rows = []
    for commands in (CGPOT.format(model=lj_model), lennard_jones(CGPOT)):
        lmp = lammps(CONFIGURATIONS["cubic"], log="none")
        lmp.commands_string(f"{commands}\n{NVE}")
        first = energies(lmp, 7)
        lmp.commands_string("group few id 3 9 17\ndelete_atoms group few compress no")
        rows.append(np.concatenate([first, energies(lmp, 7)]))
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-8, atol=1e-10)
    assert abs(rows[0][6, 0] - rows[0][7, 0]) > 1e-3


def test_exclusions_and_the_plugins_own_list(lammps: Any, lj_model: Path) -> None:
    """Without exclusions the plugin finds neighbours alone; with them it takes LAMMPS's list."""
    rows, logs = [], []
    for k, commands in enumerate((CGPOT.format(model=lj_model), lennard_jones(CGPOT))):
        lmp = lammps(CONFIGURATIONS["cubic"], log=f"{k}.log")
        lmp.commands_string(f"{commands}\n{NVE}")
        first = energies(lmp, 3)
        lmp.command("neigh_modify exclude type 1 2")
        rows.append(np.concatenate([first, energies(lmp, 3)]))
        lmp.command("log none")
        logs.append(Path(f"{k}.log").read_text())
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-8, atol=1e-10)
    assert "hides neighbors from the model" in logs[0]
    ours = logs[0].split("neigh_modify exclude")
    assert "pair cgpot" not in ours[0]
    assert "pair cgpot, perpetual" in ours[1]


def test_times_are_those_of_a_run(lammps: Any, lj_model: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(f"{CGPOT.format(model=lj_model)}\n{NVE}")
    lmp.commands_string("compute c all pair cgpot\nthermo_style custom step pe c_c[6] c_c[7]")

    def times() -> tuple[float, float]:
        values = lmp.numpy.extract_compute("c", 0, 1)
        return float(values[5]), float(values[6])

    lmp.command("run 0 post no")
    assert times() == (0.0, 0.0)
    began = time.monotonic()
    lmp.command("run 50 post no")
    elapsed = time.monotonic() - began
    models, style = times()
    assert 0.0 < models < style < elapsed
    lmp.command("run 50 pre no post no")  # goes on
    assert times()[0] > models
    lmp.command("run 0 post no")
    assert times() == (0.0, 0.0)


def resident_kb() -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmRSS:\s*(\d+) kB", text)[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow(lammps: Any, lj_model: Path) -> None:
    """20,000 steps after 2,000 that fill the buffers: less than 50 bytes a step."""
    lmp = lammps(CONFIGURATIONS["cubic"], log="none")
    lmp.commands_string(
        f"{CGPOT.format(model=lj_model)}\nneighbor 1.0 bin\nvelocity all create 200 11\n"
        "fix 1 all nvt temp 200 200 0.2\ntimestep 0.004\nrun 2000 post no"
    )
    before = resident_kb()
    lmp.command("run 20000 pre no post no")
    assert resident_kb() - before < 1000
