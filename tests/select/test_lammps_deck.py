# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS input of selected frames for a user's own data file, and what LAMMPS makes of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backmap_systems import BENZENE, apart, benzenes, mapped
from benzene_box import BenzeneBox, write_aa_data

from cgpot.core.errors import ConfigError, InputError, UnitError
from cgpot.core.units import KCAL_MOL
from cgpot.formats.lammps import LammpsDump, read_data
from cgpot.formats.lammps.data import moved_data
from cgpot.md.engine import find_lammps
from cgpot.select.atomistic_runs import AtomisticRuns, prepare
from cgpot.select.conformations import read_structure
from cgpot.select.lammps_deck import LammpsRun, site_text

TWO = """\
site-types:
  A: {index: [0, 1, 2, 6, 7, 8], mass: 39.057}
  B: {index: [0, 1, 2, 6, 7, 8], mass: 39.057}
system:
  - {anchor: 0, repeat: all, offset: 12, sites: [[A, 0], [B, 3]]}
temperature: 300.0
"""
"""Two sites in a ring: half the carbons and their hydrogens each."""


@pytest.fixture(scope="module")
def case(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file of 27 benzenes and the commands of their force field."""
    folder = tmp_path_factory.mktemp("lammps")
    frame, atoms = benzenes()
    box = BenzeneBox(atoms.reshape(27, 12, 3), np.diag(frame.cell))
    write_aa_data(folder / "user.data", box)
    (folder / "map.yaml").write_text(BENZENE)
    (folder / "two.yaml").write_text(TWO)
    ff = root / "workflows" / "systems" / "benzene" / "lammps" / "force_field.lmp"
    commands = ff.read_text().replace("cutoff index 12.0", "cutoff index 7.0")
    (folder / "ff.lmp").write_text(commands.replace("skin index 2.0", "skin index 1.0"))
    return folder


def settings(case: Path, **changes) -> AtomisticRuns:
    values = {
        "structure": case / "user.data", "mapping": case / "map.yaml",
        "force_field": case / "ff.lmp", "length_ps": 0.6, "equilibrate_ps": 0.3,
    }  # fmt: skip
    return AtomisticRuns(**{**values, **changes})


def run(folder: Path, sample_every: int = 20) -> None:
    program = find_lammps()
    arguments = ["-in", "in.deck", "-log", "run.0.log", "-var", "sample_every", str(sample_every)]
    arguments += ["-var", "minimize_steps", "200"]
    done = subprocess.run(
        [*program.command, *arguments], cwd=folder, env=dict(program.environment),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_data_file_gets_coordinates_alone(case: Path, tmp_path: Path) -> None:
    frame, _ = benzenes()
    ready = prepare([frame], settings(case), 300.0)
    files = ready.writers[0](tmp_path / "frame.0")
    assert [f.name for f in files] == ["system.data", "sites.txt", "force_field.lmp", "in.deck"]
    before = (case / "user.data").read_text().split("Bonds")[1]
    assert (tmp_path / "frame.0" / "system.data").read_text().split("Bonds")[1].split() == (
        before.split()
    )
    atoms = read_data(tmp_path / "frame.0" / "system.data")
    structure = read_structure(case / "user.data", case / "map.yaml")
    again = mapped(structure, atoms.universe.atoms.positions.astype(float), frame.cell)
    assert apart(again.positions, frame.positions, frame.cell).max() < 1e-4
    text = (tmp_path / "frame.0" / "in.deck").read_text()
    assert "variable        steps index 600" in text
    assert "variable        timestep index 1.0" in text
    assert ready.commands[0] == "lmp -in in.deck -log run.0.log"


def test_a_tilted_box_and_velocities(case: Path, tmp_path: Path) -> None:
    frame, atoms = benzenes()
    cell = frame.cell.copy()
    cell[1, 0], cell[2, 1] = 2.0, -3.0
    text = (case / "user.data").read_text()
    (tmp_path / "v.data").write_text(text + "\nVelocities\n\n1 0.0 0.0 0.0\n2 0.0 0.0 1.0\n")
    moved = moved_data(tmp_path / "v.data", atoms + 40.0, cell)
    assert "2 0 -3 xy xz yz" in moved
    assert "Velocities" not in moved
    (tmp_path / "again.data").write_text(moved)
    found = read_data(tmp_path / "again.data").universe
    np.testing.assert_allclose(found.trajectory.ts.triclinic_dimensions, cell, atol=1e-4)
    assert apart(found.atoms.positions.astype(float), atoms + 40.0, cell).max() < 1e-4
    # moving it a second time gives the same
    assert moved_data(tmp_path / "again.data", atoms + 40.0, cell) == moved


@pytest.mark.parametrize(("mapping", "sites"), [("map.yaml", 1), ("two.yaml", 2)])
def test_lammps_holds_the_sites(case: Path, tmp_path: Path, mapping: str, sites: int) -> None:
    """Sites stay, forces hold neither tether nor bath, and the tether balances the mean force."""
    frame, _ = benzenes()
    structure = read_structure(case / "user.data", case / mapping)
    if sites == 2:
        ready = prepare([frame], settings(case), 300.0)
        ready.writers[0](tmp_path / "first")
        atoms = read_data(tmp_path / "first" / "system.data").universe.atoms.positions
        frame = mapped(structure, atoms.astype(float), frame.cell)
    ready = prepare([frame], settings(case, mapping=case / mapping), 300.0)
    ready.writers[0](tmp_path / "frame.0")
    run(tmp_path / "frame.0")
    dump = LammpsDump(tmp_path / "frame.0" / "run.0.dump", 324, units="real")
    from cgpot.mapping.kernel import map_frame

    frames = [map_frame(snapshot, structure.sites) for snapshot in dump]
    assert len(frames) == 31
    moves = np.stack([f.positions - frame.positions for f in frames])
    moves -= np.round(moves / np.diag(frame.cell)) * np.diag(frame.cell)
    assert np.linalg.norm(moves, axis=-1).max() < 0.03
    forces = np.stack([f.forces for f in frames])
    assert np.abs(forces.sum(axis=1)).max() < 1e-2
    stiffness = 64.0 * KCAL_MOL * 78.114 / sites
    balance, mean = stiffness * moves.mean(axis=0), forces.mean(axis=0)
    assert np.corrcoef(balance.ravel(), mean.ravel())[0, 1] > 0.9
    assert 0.8 < float((balance * mean).sum() / (mean**2).sum()) < 1.2


def test_errors(case: Path, tmp_path: Path) -> None:
    frame, atoms = benzenes()
    with pytest.raises(ConfigError, match="key 'force_field': runs in LAMMPS need --force-field"):
        prepare([frame], settings(case, force_field=None), 300.0)
    with pytest.raises(ConfigError, match="key 'topology': has no use in runs of LAMMPS"):
        prepare([frame], settings(case, topology=case / "x.top"), 300.0)
    with pytest.raises(ConfigError, match=r"key 'structure': runs in LAMMPS need --structure and"):
        prepare([frame], AtomisticRuns(force_field=case / "ff.lmp"), 300.0)
    with pytest.raises(ConfigError, match="free sampling is written for GROMACS alone"):
        prepare([frame], settings(case, sampling="free"), 300.0)
    text = (case / "ff.lmp").read_text()
    (tmp_path / "a.lmp").write_text(text.replace("${data}", "user.data"))
    with pytest.raises(InputError, match=r"a.lmp: no 'read_data \$\{data\}'; expected units"):
        prepare([frame], settings(case, force_field=tmp_path / "a.lmp"), 300.0)
    (tmp_path / "b.lmp").write_text(text.replace("units           real", ""))
    with pytest.raises(UnitError, match="LAMMPS units 'lj' are not supported"):
        prepare([frame], settings(case, force_field=tmp_path / "b.lmp"), 300.0)
    data = (case / "user.data").read_text()
    (tmp_path / "c.data").write_text(data.replace("Atoms # full", "Atoms # sphere"))
    with pytest.raises(InputError, match=r"c.data: the section Atoms has sphere behind it; expect"):
        LammpsRun(tmp_path / "c.data", case / "ff.lmp").check()
    with pytest.raises(InputError, match=r"map.yaml: no section Atoms; expected a LAMMPS data fil"):
        LammpsRun(case / "map.yaml", case / "ff.lmp").check()
    with pytest.raises(InputError, match=r"no atom of this system"):
        moved_data(case / "user.data", atoms[:100], frame.cell)
    with pytest.raises(InputError, match=r"user.data: 324 atoms, expected 400"):
        moved_data(case / "user.data", np.zeros((400, 3)), frame.cell)
    structure = read_structure(case / "user.data", case / "map.yaml")
    heavy = replace(structure.topology, masses=np.tile(np.repeat([10.019, 3.0], 6), 27))
    with pytest.raises(ConfigError, match=r"site-types.BNZ.x-weight': the position weights are n"):
        site_text(replace(structure, topology=heavy))
