# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from lammps_support import lmp

from cgpot.core.errors import ConfigError, InputError
from cgpot.formats.lammps.cg_dump import read_dump
from cgpot.formats.lammps.log import read_log
from cgpot.md.deck import deck_path, deck_variables, fill_deck

CG_DECKS = ("cg_nvt", "cg_npt", "cg_nve")


@pytest.mark.parametrize("name", [*CG_DECKS, "aa_held"])
def test_headers_list_every_variable(root: Path, name: str) -> None:
    path = root / "lammps_inputs" / f"{name}.lmp"
    variables = deck_variables(path)
    assert variables["data"].kind == "required"
    assert variables["temperature"].default == "300.0"
    assert deck_path(name).read_text() == path.read_text()


def test_cg_decks_share_their_text(root: Path) -> None:
    # the decks stand alone, for use by hand: what is common must stay so
    texts = [(root / "lammps_inputs" / f"{name}.lmp").read_text() for name in CG_DECKS]
    set_up = {text[text.index("\n# Without one") : text.index("\ntimestep  ")] for text in texts}
    output = {text[text.index("\nvariable        temp_now") :] for text in texts}
    assert len(set_up) == 1
    assert len(output) == 1


@pytest.mark.parametrize(
    ("deck", "options"),
    [
        ("cg_nvt", {"thermostat": "langevin"}),
        ("cg_nvt", {"thermostat": "nose_hoover", "minimize": "yes"}),
        ("cg_npt", {"thermostat": "nose_hoover", "barostat": "nose_hoover"}),
        ("cg_npt", {"thermostat": "langevin", "barostat": "nose_hoover"}),
        ("cg_npt", {"thermostat": "nose_hoover", "barostat": "berendsen"}),
        ("cg_npt", {"thermostat": "langevin", "barostat": "berendsen", "nx": "2"}),
        ("cg_nve", {"dump_extra": "fx fy fz"}),
    ],
)
def test_by_hand(
    root: Path, tmp_path: Path, lj_data: Path, lj_file: Path, deck: str, options: dict[str, str]
) -> None:
    arguments = ["-in", str(root / "lammps_inputs" / f"{deck}.lmp"), "-log", "run.log"]
    arguments += ["-var", "data", lj_data.name, "-var", "pair_file", lj_file.name]
    for name, value in {"length_ps": "2", **options}.items():
        arguments += ["-var", name, value]
    lmp(arguments, tmp_path)
    table = read_log(tmp_path / "run.log")[-1]
    assert list(table["Step"]) == [0, 100, 200, 300, 400]
    np.testing.assert_allclose(table["Time"], table["Step"] * 0.005)
    fixed_volume = bool(np.ptp(table["Volume"]) == 0.0)
    assert fixed_volume == (deck != "cg_npt")
    snapshots = list(read_dump(tmp_path / "run.0.dump"))
    assert [s.step for s in snapshots] == [0, 200, 400]
    assert len(snapshots[0].types) == (250 if "nx" in options else 125)
    assert (snapshots[0].forces is not None) == ("dump_extra" in options)
    assert (tmp_path / "run.final.data").is_file()


def test_by_hand_with_the_wrapper_and_a_restart(
    root: Path, tmp_path: Path, lj_data: Path, lj_file: Path
) -> None:
    # exactly the command of the header, with the stock lmp of the environment
    deck = str(root / "lammps_inputs" / "cg_nvt.lmp")
    common = ["lmp", "-in", deck, "-var", "pair_file", lj_file.name]
    first = ["-var", "data", lj_data.name, "-var", "length_ps", "1", "-log", "run.0.log"]
    second = ["-var", "restart", "run.restart.end", "-var", "segment", "1"]
    second += ["-var", "length_ps", "2", "-log", "run.1.log"]
    for arguments in (first, second):
        done = subprocess.run([*common, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
    before, after = (read_log(tmp_path / f"run.{i}.log")[-1] for i in (0, 1))
    assert list(after["Step"]) == [200, 300, 400]
    assert after["PotEng"][0] == pytest.approx(before["PotEng"][-1], rel=1e-9)
    assert after["Temp"][0] == pytest.approx(before["Temp"][-1], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"pair_file": "lj.lmp"}, "data"),
        ({"data": "start.data"}, "model"),
        ({"data": "start.data", "model": "m.nequip.pt2"}, "beads"),
    ],
)
def test_by_hand_names_the_missing_variable(
    root: Path, tmp_path: Path, lj_data: Path, lj_file: Path, given: dict[str, str], missing: str
) -> None:
    arguments = ["-in", str(root / "lammps_inputs" / "cg_npt.lmp")]
    for name, value in given.items():
        arguments += ["-var", name, value]
    done = lmp(arguments, tmp_path, check=False)
    assert done.returncode == 1
    assert f"ERROR: variable {missing} is missing" in done.stdout


def test_by_hand_refuses_an_unknown_thermostat(
    root: Path, tmp_path: Path, lj_data: Path, lj_file: Path
) -> None:
    for deck in ("cg_nvt", "cg_npt"):
        arguments = ["-in", str(root / "lammps_inputs" / f"{deck}.lmp"), "-var", "data"]
        arguments += [lj_data.name, "-var", "pair_file", lj_file.name]
        done = lmp([*arguments, "-var", "thermostat", "magic"], tmp_path, check=False)
        assert done.returncode == 1
        assert "variable thermostat is magic; expected langevin or nose_hoover" in done.stdout


def test_fill_sets_the_variables_in_the_text(tmp_path: Path) -> None:
    text = fill_deck(
        deck_path("cg_nvt"),
        {"data": "s.data", "model": "m.nequip.pt2", "beads": "A B", "temperature": 310.5},
    )
    assert 'variable        beads index "A B"\n' in text
    assert "variable        temperature index 310.5\n" in text
    assert "variable        timestep_fs index 5.0\n" in text
    assert text.index("variable        data index s.data") < text.index("read_data ${data}")


def test_fill_errors_name_the_variable() -> None:
    deck = deck_path("cg_nvt")
    good: dict[str, str | int | float] = {"data": "s.data", "pair_file": "lj.lmp"}
    with pytest.raises(ConfigError, match=r"cg_nvt\.lmp, key 'data': the required variable"):
        fill_deck(deck, {"pair_file": "lj.lmp"})
    with pytest.raises(ConfigError, match=r"key 'beads': the required variable is missing: bead"):
        fill_deck(deck, {"data": "s.data", "model": "m"})
    with pytest.raises(ConfigError, match=r"key 'temprature': .*did you mean 'temperature'"):
        fill_deck(deck, {**good, "temprature": 3})
    with pytest.raises(ConfigError, match="key 'pressure': the deck has no such variable"):
        fill_deck(deck, {**good, "pressure": 3})
    with pytest.raises(ConfigError, match=r"key 'data': the path 'my s\.data' holds a space"):
        fill_deck(deck, {**good, "data": "my s.data"})
    with pytest.raises(ConfigError, match="key 'out': the value '\\$x' holds a quote"):
        fill_deck(deck, {**good, "out": "$x"})
    with pytest.raises(ConfigError, match="key 'out': the value is empty"):
        fill_deck(deck, {**good, "out": " "})
    with pytest.raises(InputError, match=r"cg_nvp\.lmp: no such deck; known: aa_held, cg_npt"):
        deck_path("cg_nvp")


def test_header_and_defaults_must_agree(tmp_path: Path) -> None:
    deck = tmp_path / "d.lmp"
    deck.write_text("#   a   default   one\n")
    with pytest.raises(InputError, match=r"d\.lmp, key 'a': .*is missing"):
        deck_variables(deck)
    deck.write_text("#   a   default   one\nvariable a index 1\nvariable b index 1\n")
    with pytest.raises(InputError, match="key 'b': the variable is not listed in the header"):
        deck_variables(deck)
    deck.write_text("run 10\n")
    with pytest.raises(InputError, match="no header that lists variables"):
        deck_variables(deck)
