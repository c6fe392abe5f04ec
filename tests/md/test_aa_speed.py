# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md aa-speed``: a deck and a data file of the user's, timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benzene_box import build, write_aa_data
from lammps_support import app
from typer.testing import CliRunner

from cgpot.core.errors import ConfigError, InputError, ToolError, UnitError
from cgpot.md.aa_speed import aa_speed, timed

DIMERS = """units metal
atom_style molecular
bond_style harmonic
include parts/pairs.lmp
read_data ${data}
mass 1 20.0
bond_coeff 1 8.0 1.5
pair_coeff 1 1 0.01 3.4
velocity all create 300 1
fix 1 all nve
timestep 0.0005
run 5
run ${steps}
"""


@pytest.fixture
def dimers(tmp_path: Path) -> Path:
    """A deck of dimers in metal units that includes a file beside it."""
    rows = [(2 * k + j + 1, k + 1, 5.0 * k + 1.5 * j + 1.0) for k in range(4) for j in range(2)]
    atoms = "".join(f"{i} {m} 1 {x} 2.0 2.0\n" for i, m, x in rows)
    bonds = "".join(f"{k + 1} 1 {2 * k + 1} {2 * k + 2}\n" for k in range(4))
    (tmp_path / "dimers.data").write_text(
        "dimers\n\n8 atoms\n4 bonds\n1 atom types\n1 bond types\n\n0 20 xlo xhi\n0 20 ylo yhi\n"
        f"0 20 zlo zhi\n\nMasses\n\n1 20.0\n\nAtoms # molecular\n\n{atoms}\nBonds\n\n{bonds}"
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "pairs.lmp").write_text("pair_style lj/cut 8.0\n")
    (tmp_path / "in.dimers").write_text(DIMERS)
    return tmp_path


def test_a_deck_in_metal_units(dimers: Path) -> None:
    before = sorted(dimers.rglob("*"))
    record = aa_speed(dimers / "in.dimers", dimers / "dimers.data", 40, quiet=True)
    assert record["format"] == "cgpot-aa-speed-1"
    assert (record["n_atoms"], record["n_molecules"], record["steps"]) == (8, 4, 40)
    assert record["timestep_fs"] == pytest.approx(0.5)
    assert record["ns_per_day"] == pytest.approx(40 * 0.5e-6 / record["wall_seconds"] * 86400)
    assert record["steps_per_second"] == pytest.approx(40 / record["wall_seconds"])
    assert record["system"] == "dimers"
    assert str(dimers) not in record["command"]
    assert sorted(dimers.rglob("*")) == before


def test_benzene_by_the_command_line(tmp_path: Path, root: Path) -> None:
    write_aa_data(tmp_path / "b.data", build(27, 850.0))
    out = tmp_path / "speed.json"
    deck = root / "workflows/systems/benzene/lammps/aa_benzene.lmp"
    words = ["md", "aa-speed", "--deck", deck, "--data", tmp_path / "b.data", "--steps", 20]
    words += ["--var", "ensemble=nvt", "--var", "minimize_steps=30", "--name", "benzene"]
    done = CliRunner().invoke(app(), [*map(str, words), "-q", "-o", str(out)],
                              catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0
    record = json.loads(out.read_text())
    assert (record["n_atoms"], record["n_molecules"], record["timestep_fs"]) == (324, 27, 1.0)
    assert record["system"] == "benzene"
    assert f"{record['ns_per_day']:.3g} ns/day" in done.stdout
    assert "steps/s" in done.stdout


def test_errors(dimers: Path) -> None:
    deck, data = dimers / "in.dimers", dimers / "dimers.data"
    with pytest.raises(ConfigError, match="0 steps; expected at least 1"):
        aa_speed(deck, data, 0)
    with pytest.raises(ConfigError, match="key 'var steps': is set by --steps"):
        aa_speed(deck, data, 5, variables={"steps": "7"})
    with pytest.raises(ConfigError, match="key 'var x': the value 'a b' is empty or holds a space"):
        aa_speed(deck, data, 5, variables={"x": "a b"})
    with pytest.raises(ToolError, match="no program 'nolmp'"):
        aa_speed(deck, data, 10, program="nolmp")
    with pytest.raises(InputError, match="no such LAMMPS deck"):
        aa_speed(dimers / "none", data)
    for old, match in (("run ${steps}", "'steps'.*run"), ("${data}", "'data'.*read_data")):
        (dimers / "in.bad").write_text(DIMERS.replace(old, "run 7"))
        with pytest.raises(InputError, match=f"does not use the variable {match}"):
            aa_speed(dimers / "in.bad", data)
    (dimers / "in.bad").write_text(DIMERS.replace("fix 1 all nve", "fix 1 all what"))
    with pytest.raises(ToolError, match="what"):
        aa_speed(dimers / "in.bad", data, 5, quiet=True)
    (dimers / "in.bad").write_text(DIMERS + "run 0\n")
    with pytest.raises(ToolError, match="no loop time of 5 steps"):
        aa_speed(dimers / "in.bad", data, 5, quiet=True)
    loop = "Loop time of 2.0 on 1 procs for 5 steps with 8 atoms\n"
    with pytest.raises(ToolError, match="does not say the units and the time step"):
        timed(loop, "", 5)
    with pytest.raises(UnitError, match="LAMMPS units 'lj' are not supported"):
        timed(loop, "  Unit style    : lj\n  Current step  : 0\n  Time step     : 0.005\n", 5)
    command = ["md", "aa-speed", "--deck", str(deck), "--data", str(data), "--var", "x"]
    with pytest.raises(ConfigError, match="key 'var': expected NAME=VALUE, found 'x'"):
        CliRunner().invoke(app(), command, catch_exceptions=False)
