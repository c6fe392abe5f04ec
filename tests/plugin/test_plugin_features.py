# SPDX-License-Identifier: GPL-2.0-or-later
"""`pair_style cgpot` with what LAMMPS does to types, numbers of atoms and communication."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from plugin_models import LJ_CUTOFF, LJ_EPSILON, LJ_SIGMA, grid
from plugin_support import Runner, deck, same, write_data

BOX = grid(np.diag([14.4, 14.0, 15.2]), (4, 4, 4), 31)
FRESH = """print 'moved $(pe:%.15g) $(atoms)'
write_data after.data nocoeff
clear
units metal
newton on
atom_modify map yes
read_data after.data
STYLE
neighbor 1.0 bin
compute w all stress/atom NULL virial
compute e all pe/atom
thermo_style custom step pe
thermo_modify format float %.15g
run 0 post no
print 'fresh $(pe:%.15g) $(atoms)'"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("features"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "box.data"
    write_data(path, BOX)
    return path


MOVES = {
    "gcmc": "fix 1 all gcmc 1 20 20 1 29494 300.0 -0.5 0.5 full_energy",
    # without a pair energy LAMMPS takes the full one by itself
    "gcmc alone": "fix 1 all gcmc 1 20 20 1 29494 300.0 -0.5 0.5",
    "swap": "fix 1 all atom/swap 1 20 29494 3000.0 ke no types 1 2",
}


@pytest.mark.parametrize(
    ("name", "ranks"), [("gcmc", 1), ("gcmc", 2), ("gcmc alone", 1), ("swap", 1), ("swap", 2)]
)
def test_moves_leave_the_energy_of_what_is_there(
    run: Runner, data: Path, fast_model: Path, name: str, ranks: int
) -> None:
    """After insertions, deletions and exchanges of types: the energy of a new start."""
    style = f"pair_style cgpot\npair_coeff * * {fast_model} AAA BBB"
    accepted = "print 'accepted $(f_1[4]) $(f_1[6])'" if "gcmc" in name else ""
    swapped = "print 'accepted $(f_1[2]) 1'" if name == "swap" else ""
    body = "\n".join(
        [
            *("fix 2 all nve", MOVES[name], "thermo_style custom step pe atoms"),
            *("thermo_modify lost ignore", "run 5", accepted, swapped, FRESH),
        ]
    ).replace("STYLE", style)
    status, output, _ = run.text(ranks, deck(data, fast_model, body=body))
    assert status == 0, output
    found = {
        word: [float(v) for v in values.split()]
        for word, values in re.findall(r"^(moved|fresh|accepted) (.*)$", output, re.MULTILINE)
    }
    assert min(found["accepted"]) > 0
    assert found["moved"][1] == found["fresh"][1]
    assert (found["moved"][1] != 64) == ("gcmc" in name)
    assert found["moved"][0] == pytest.approx(found["fresh"][0], rel=1e-9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_widom_insertions_are_those_of_lj_cut(
    run: Runner, data: Path, lj_model: Path, ranks: int
) -> None:
    """The same random insertions with LAMMPS's own style give the same chemical potential."""
    own = [f"pair_style lj/cut {LJ_CUTOFF}"]
    for i, j in ((0, 0), (0, 1), (1, 1)):
        own.append(f"pair_coeff {i + 1} {j + 1} {LJ_EPSILON[i, j]} {LJ_SIGMA[i, j]}")
    found = []
    for style in (f"pair_style cgpot\npair_coeff * * {lj_model} AAA BBB", "\n".join(own)):
        body = "\n".join(
            [
                "fix 2 all nve\nfix 1 all widom 1 20 2 29494 9000.0 full_energy",
                "run 5\nprint 'widom $(f_1[1]:%.15g) $(f_1[2]:%.15g)'",
            ]
        )
        status, output, _ = run.text(ranks, deck(data, lj_model, style=style, body=body))
        assert status == 0, output
        rows = re.findall(r"^widom (\S+) (\S+)$", output, re.MULTILINE)
        found.append([float(value) for value in rows[-1]])
    assert found[1][1] > 1e-6
    assert found[0] == pytest.approx(found[1], rel=1e-8)


COMMUNICATION = {
    # LAMMPS widens what is too short for a model of one cutoff, the style what a halo needs
    "short cutoff": ("", "comm_modify cutoff 3.0", "exchange"),
    "short cutoff, halo": ("", "comm_modify cutoff 3.0", "halo"),
    "multi": ("", "neighbor 1.0 multi\ncomm_modify mode multi", "auto"),
    # there is no cgpot/omp: the style itself runs
    "package omp": ("package omp 2\nsuffix omp", "", "exchange"),
    "tiled and short": ("comm_style tiled", "comm_modify cutoff 3.0\nbalance 1.0 rcb", "halo"),
}


@pytest.mark.parametrize("name", list(COMMUNICATION))
def test_communication(run: Runner, data: Path, fast_model: Path, name: str) -> None:
    before, body, ghosts = COMMUNICATION[name]
    expected = run(1, deck(data, fast_model))
    text = deck(data, fast_model, before=before, body=f"{body}\nrun 0", ghosts=ghosts)
    same(run(2, text), expected, 1e-10)


def test_newton_off_on_one_rank(run: Runner, data: Path, fast_model: Path) -> None:
    text = deck(data, fast_model)
    same(run(1, text.replace("newton on", "newton off")), run(1, text), 1e-10)


def test_a_halo_needs_neighbors_of_ghosts(run: Runner, data: Path, fast_model: Path) -> None:
    text = deck(data, fast_model, body="neighbor 1.0 multi\nrun 0", ghosts="halo")
    status, output, _ = run.text(2, text)
    assert status != 0
    assert re.search("no neighbors of ghosts with `neighbor multi`.*use `neighbor bin`", output)
