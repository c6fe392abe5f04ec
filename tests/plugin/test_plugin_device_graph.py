# SPDX-License-Identifier: GPL-2.0-or-later
"""`graph device`: edges found by torch where the model runs (here the CPU), against the host's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, grid
from plugin_support import Result, Runner, deck, per_atom, same, write_data

BOX = grid(np.diag([21.6, 20.8, 22.4]), (6, 6, 6), 21)
TRICLINIC = grid(np.array([[20.0, 0, 0], [3.0, 20.4, 0], [-2.0, 4.0, 19.6]]), (6, 6, 6), 22)
FOUND = "cgpot: neighbors are found on the device of the models"
NVE = "velocity all create 300 7 loop all\nfix 1 all nve\ntimestep 0.004\nrun 60"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("device"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    files = {name: folder / f"{name}.data" for name in ("box", "triclinic", "slab")}
    write_data(files["box"], BOX)
    write_data(files["triclinic"], TRICLINIC)
    write_data(files["slab"], BOX, extra=60.0)
    return files


def style(models: Path | list[Path], words: str = "") -> str:
    names = " ".join(map(str, models)) if isinstance(models, list) else str(models)
    return f"pair_style cgpot {words}\npair_coeff * * {names} AAA BBB"


def both(
    run: Runner, ranks: int, data: Path, models: Path | list[Path], words: str = "", **rest: Any
) -> tuple[Result, Result]:
    """With edges of the device, and with those of the host."""
    device, host = (
        run(ranks, deck(data, Path(), style=style(models, f"{words} graph {graph}"), **rest))
        for graph in ("device", "host")
    )
    assert FOUND in device.log
    assert FOUND not in host.log
    return device, host


@pytest.mark.parametrize(("name", "ranks"), [("box", 1), ("triclinic", 1), ("box", 3)])
def test_forces_and_virials(
    run: Runner, data: dict[str, Path], fast_model: Path, name: str, ranks: int
) -> None:
    same(*both(run, ranks, data[name], fast_model), 1e-12)


@pytest.mark.parametrize("ranks", [1, 2])
def test_strictly_local_model(
    run: Runner, data: dict[str, Path], lj_model: Path, ranks: int
) -> None:
    same(*both(run, ranks, data["box"], lj_model), 1e-12)


def test_steps_with_new_lists(run: Runner, data: dict[str, Path], fast_model: Path) -> None:
    """A trajectory: rounding differs, but what is out of the list does not come back in late."""
    device, host = both(run, 1, data["box"], fast_model, body=NVE)
    assert max(map(int, re.findall(r"Neighbor list builds = (\d+)", host.log))) > 2
    same(device, host, 1e-7)


@pytest.mark.parametrize("ranks", [1, 4])
def test_open_boundaries_and_empty_subdomains(
    run: Runner, data: dict[str, Path], fast_model: Path, ranks: int
) -> None:
    before = "processors 1 1 *"
    same(*both(run, ranks, data["slab"], fast_model, boundary="p p f", before=before), 1e-12)


@pytest.mark.parametrize("words", ["", "use 2 spread 1"])
def test_ensembles(run: Runner, data: dict[str, Path], lj_members: list[Path], words: str) -> None:
    body = "compute spread all pair cgpot\nthermo_style custom step pe press c_spread[*]\nrun 0"
    same(*both(run, 2, data["box"], lj_members, words), 1e-12)
    if words:
        device, host = both(run, 1, data["box"], lj_members, words, body=body)
        assert host.thermo[2] > 0.0  # the spread of forces
        np.testing.assert_allclose(device.thermo[:6], host.thermo[:6], rtol=1e-12)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_boxes_smaller_than_the_cutoff(lammps: Any, fast_model: Path, name: str) -> None:
    """Several images of a pair, a bead's own images, fewer than two beads or edges."""
    configuration = CONFIGURATIONS[name]
    forces = []
    for graph in ("device", "host"):
        lmp = lammps(configuration)
        lmp.commands_string(style(fast_model, f"graph {graph}") + "\nrun 0")
        rows = per_atom(lmp, configuration, "f", 3)
        forces.append([*rows.ravel(), lmp.get_thermo("pe"), lmp.get_thermo("press")])
    np.testing.assert_allclose(forces[0], forces[1], rtol=1e-9, atol=1e-12)


def test_one_bead_alone(lammps: Any, lj_model: Path) -> None:
    lmp = lammps(CONFIGURATIONS["small"])
    lmp.commands_string("change_box all x final 0 60 y final 0 60 z final 0 60")
    lmp.commands_string("group one id 1\ndelete_atoms group one compress no")
    lmp.commands_string(style(lj_model, "graph device") + "\nrun 1")
    assert lmp.get_thermo("pe") == 0.0


def test_types_that_change_between_lists(lammps: Any, lj_model: Path) -> None:
    energies = []
    for graph in ("device", "host"):
        lmp = lammps(CONFIGURATIONS["cubic"])
        lmp.commands_string(style(lj_model, f"graph {graph}") + "\nrun 0")
        lmp.commands_string("set atom 1*20 type 2\nrun 0 pre no")
        energies.append(lmp.get_thermo("pe"))
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_forces_that_are_no_number_name_the_closest(lammps: Any, lj_model: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string("set atom 5 x 1.0 y 1.0 z 1.0\nset atom 9 x 1.0 y 1.0 z 1.0")
    lmp.commands_string(style(lj_model, "graph device"))
    with pytest.raises(Exception, match=r"the closest beads are atoms [59] and [59], 0 Angstrom"):
        lmp.command("run 0")


@pytest.mark.parametrize("what", ["exclusion", "halo", "hybrid"])
def test_needs_of_a_list_are_told(
    run: Runner, data: dict[str, Path], fast_model: Path, what: str
) -> None:
    ranks, words, before, commands = 1, "graph device", "", ""
    if what == "exclusion":
        commands = "neigh_modify exclude type 1 2"
    elif what == "halo":
        ranks, words = 2, "graph device ghosts halo"
    text = style(fast_model, words)
    if what == "hybrid":
        text = f"pair_style hybrid/overlay cgpot {words} zero 5.0\n"
        text += f"pair_coeff * * cgpot {fast_model} AAA BBB\npair_coeff * * zero"
    status, output, _ = run.text(
        ranks, deck(data["box"], fast_model, style=f"{text}\n{commands}", before=before)
    )
    assert status != 0
    assert "`graph device` finds neighbors by positions alone" in output


def test_unknown_place(lammps: Any) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    with pytest.raises(Exception, match="keyword 'graph' takes auto, host or device, found 'gpu'"):
        lmp.command("pair_style cgpot graph gpu")
