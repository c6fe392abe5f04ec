# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS input of selected frames, and what GROMACS makes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from backmap_systems import BENZENE, CHAIN, apart, benzenes, chains, mapped, write_gro

from cgpot.core.errors import ConfigError, InputError
from cgpot.molecules.extxyz import read_frames
from cgpot.select.atomistic_runs import AtomisticRuns, prepare
from cgpot.select.backmap import backmap
from cgpot.select.conformations import read_structure
from cgpot.select.gromacs_deck import GromacsRun, write_gromacs
from cgpot.select.gromacs_files import pull_text, read_mdp, top_masses


@pytest.fixture(scope="module")
def case(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 benzenes: structure, mapping and the topology of the benzene reference."""
    folder = tmp_path_factory.mktemp("gromacs")
    frame, atoms = benzenes()
    write_gro(folder / "conf.gro", atoms, frame.cell, [12] * 27)
    text = (folder / "conf.gro").read_text().replace("MOL  ", "BNZ  ")
    (folder / "conf.gro").write_text(text)
    (folder / "map.yaml").write_text(BENZENE)
    shutil.copy(root / "workflows/systems/benzene/gromacs/benzene_hmr.itp", folder)
    top = (root / "workflows/systems/benzene/gromacs/topol_hmr.top").read_text()
    (folder / "topol.top").write_text(top.replace("BNZ 500", "BNZ 27"))
    return folder


def settings(case: Path, **changes) -> AtomisticRuns:
    values = {
        "engine": "gromacs", "structure": case / "conf.gro", "mapping": case / "map.yaml",
        "topology": case / "topol.top", "length_ps": 0.2, "equilibrate_ps": 0.1,
        "timestep_fs": 2.0,
    }  # fmt: skip
    return AtomisticRuns(**{**values, **changes})


def written(case: Path, folder: Path, **changes) -> Path:
    frame, _ = benzenes()
    ready = prepare([frame], settings(case, **changes), 300.0)
    ready.writers[0](folder)
    return folder


def test_the_files_of_a_frame(case: Path, tmp_path: Path) -> None:
    import MDAnalysis

    frame, _ = benzenes()
    ready = prepare([frame], settings(case), 300.0)
    files = ready.writers[0](tmp_path / "frame.0")
    names = {"conf.gro", "em.mdp", "eq.mdp", "run.mdp", "sites.ndx", "run.sh"}
    assert {f.name for f in files} == names == {f.name for f in (tmp_path / "frame.0").iterdir()}
    structure = read_structure(case / "conf.gro", case / "map.yaml")
    universe = MDAnalysis.Universe(str(tmp_path / "frame.0" / "conf.gro"), to_guess=())
    again = mapped(structure, universe.atoms.positions.astype(float), frame.cell)
    assert apart(again.positions, frame.positions, frame.cell).max() < 1e-4
    assert list(universe.atoms.names[:2]) == ["C1", "C2"]
    assert universe.atoms.resids[-1] == 27
    np.testing.assert_allclose(universe.trajectory.ts.triclinic_dimensions, frame.cell, atol=1e-4)
    run = read_mdp(tmp_path / "frame.0" / "run.mdp")
    assert (run["integrator"], run["nsteps"], run["nstfout"]) == ("sd", "100", "50")
    assert run["pull-ncoords"] == "81"
    assert run["rvdw"] == "0.729"  # 0.45 of the small box
    origin = np.array([run[f"pull-coord{3 * k + 1}-origin"].split() for k in range(27)], float)
    np.testing.assert_allclose(10.0 * origin, frame.positions, atol=1e-6)
    eq = read_mdp(tmp_path / "frame.0" / "eq.mdp")
    assert (eq["annealing-temp"], eq["annealing-time"]) == ("600 600 300 300", "0 0.04 0.07 0.1")
    assert ready.commands[0] == "sh run.sh"
    assert "--topology run.tpr --trajectory run.trr --energy run.edr" in ready.commands[1]
    assert ready.commands[1] in (tmp_path / "frame.0" / "run.sh").read_text()
    assert "--average" in ready.commands[2]
    assert ready.facts[0]["misfit_A"] < 1e-6
    assert ready.facts[0]["closest_atoms_A"] > 1.5


def test_free_sampling_holds_the_sites_while_atoms_relax(case: Path, tmp_path: Path) -> None:
    folder = written(case, tmp_path / "f", sampling="free")
    assert "pull" in read_mdp(folder / "em.mdp")
    assert "pull" in read_mdp(folder / "eq.mdp")
    run = read_mdp(folder / "run.mdp")
    assert not [key for key in run if key.startswith("pull")]
    assert run["comm-mode"] == "linear"
    script = (folder / "run.sh").read_text()
    assert "free.extxyz" in script
    assert "--accept-pressure-mismatch" not in script


def test_without_annealing(case: Path, tmp_path: Path) -> None:
    eq = read_mdp(written(case, tmp_path / "f", anneal=1.0) / "eq.mdp")
    assert "annealing" not in eq
    assert eq["gen-temp"] == "300.0"
    eq = read_mdp(written(case, tmp_path / "h", equilibrate_ps=0.0) / "eq.mdp")
    assert (eq.get("annealing"), eq["gen-temp"], eq["nsteps"]) == (None, "300.0", "0")
    with pytest.raises(ConfigError, match=r"key 'anneal': 0.5; expected at least 1"):
        written(case, tmp_path / "g", anneal=0.5)


def test_the_users_settings_are_kept_but_for_the_course_of_the_run(
    case: Path, tmp_path: Path
) -> None:
    (tmp_path / "user.mdp").write_text(
        "; production\nrvdw = 0.7 ; nm\nr_coulomb_x=1\nCoulombtype = Reaction-Field\nnsteps = -1\n"
        "pcoupl = C-rescale\ntau_p = 2\ngen_vel = yes\nnstxout = 7\nconstraints = h-bonds\n"
        "dt=0.004\n"
    )
    folder = written(case, tmp_path / "f", mdp=tmp_path / "user.mdp")
    for name in ("em", "eq", "run"):
        found = read_mdp(folder / f"{name}.mdp")
        assert found["rvdw"] == "0.7"
        assert found["coulombtype"] == "Reaction-Field"
        assert found["constraints"] == "h-bonds"
        assert "pcoupl" not in found
        assert "tau-p" not in found
        assert "dispcorr" not in found
    run = read_mdp(folder / "run.mdp")
    assert (run["dt"], run["gen-vel"], run["nstxout"]) == ("0.002", "no", "50")


def test_weights_that_are_no_masses_go_to_gromacs(tmp_path: Path) -> None:
    """GROMACS multiplies them with the masses: weight times mass is the position weight."""
    positions, cell, sizes = chains(1)
    write_gro(tmp_path / "c.gro", positions, cell, sizes)
    (tmp_path / "map.yaml").write_text(CHAIN)
    structure = read_structure(tmp_path / "c.gro", tmp_path / "map.yaml")
    sites = mapped(structure, positions, cell).positions
    assert "weights" not in pull_text(structure, sites, None)  # no masses known
    text = pull_text(structure, sites, np.tile([10.0, 2.0, 2.0], 38))
    found = re.findall(r"pull-group(\d+)-weights = (.*)", text)
    assert len(found) == structure.sites.topology.n_sites
    for number, words in found:
        w = np.array(words.split(), float) * [10.0, 2.0, 2.0]
        expected = [16, 1, 1] if 24 < int(number) <= 32 else [12, 1, 1]
        np.testing.assert_allclose(w / w.sum(), np.array(expected) / sum(expected), rtol=1e-5)
    text = pull_text(structure, sites, np.tile([12.0, 1.0, 1.0], 38))
    assert len(re.findall("-weights", text)) == 8  # the single sites alone


def test_masses_of_the_topology(case: Path, tmp_path: Path) -> None:
    top = tmp_path / "x.top"
    top.write_text(
        "[ defaults ]\n1 2 yes 0.5 0.5\n[ atomtypes ]\nA 10.0 0.0 A 0.3 0.5\n"
        "[ moleculetype ]\nBNZ 3\n[ atoms ]\n"
        + "".join(f"{k} A 1 BNZ C{k} {k} 0.0 {9.0 + k}\n" for k in range(1, 13))
        + "[ system ]\nx\n[ molecules ]\nBNZ 27\n"
    )
    np.testing.assert_allclose(top_masses(top, 324), np.tile(np.arange(10.0, 22.0), 27))
    with pytest.raises(InputError, match=r"x.top: 324 atoms, the structure has 12; expected the"):
        top_masses(top, 12)
    lost = tmp_path / "lost.top"
    lost.write_text('#include "nowhere.itp"\n[ system ]\nx\n[ molecules ]\nBNZ 27\n')
    assert top_masses(lost, 324) is None
    ready = prepare([benzenes()[0]], settings(case, topology=lost), 300.0)
    assert "the masses of lost.top are unknown" in ready.notes[0]
    assert prepare([benzenes()[0]], settings(case, topology=top), 300.0).notes == ()


def gmx(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["gmx", *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def ran(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A held run of 0.2 ps by its own script, one thread, mapped by its last command."""
    folder = written(case, tmp_path_factory.mktemp("held") / "frame.0")
    done = subprocess.run(
        ["sh", "run.sh"], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "MDRUN": "-nt 1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return folder


@pytest.mark.gromacs
def test_gromacs_holds_the_sites_and_map_reads_it(ran: Path) -> None:
    frame, _ = benzenes()
    frames = list(read_frames(ran / "held.extxyz"))
    assert len(frames) == 3
    for found in frames:
        assert apart(found.positions, frame.positions, frame.cell).max() < 3e-4
        assert found.forces is not None
        assert found.virial is not None
    # the forces differ from frame to frame: the molecules turn and vibrate
    assert np.abs(frames[0].forces - frames[-1].forces).max() > 0.01


@pytest.mark.gromacs
def test_forces_and_virials_hold_nothing_of_the_constraints(ran: Path, case: Path) -> None:
    """The same configurations without pulling: GROMACS gives the same forces and virial."""
    from cgpot.formats.gromacs import TrrTrajectory, read_edr

    free = re.sub(r"^pull.*\n", "", (ran / "run.mdp").read_text(), flags=re.MULTILINE)
    free = free.replace("nsteps                   = 100", "nsteps = 0")
    (ran / "point.mdp").write_text(free)
    gmx(ran, "grompp", "-f", "point.mdp", "-c", "conf.gro", "-t", "run.trr", "-time", "0.2",
        "-p", str(case / "topol.top"), "-o", "point.tpr", "-maxwarn", "1")  # fmt: skip
    gmx(ran, "mdrun", "-deffnm", "point", "-nt", "1")
    held = list(TrrTrajectory(ran / "run.trr", 324))[-1]
    (point,) = TrrTrajectory(ran / "point.trr", 324)
    np.testing.assert_allclose(point.positions, held.positions, atol=1e-5)
    np.testing.assert_allclose(point.forces, held.forces, atol=2e-3)
    ours, theirs = read_edr(ran / "run.edr").virial[-1], read_edr(ran / "point.edr").virial[0]
    assert np.abs(ours).max() > 1.0
    np.testing.assert_allclose(ours, theirs, atol=0.01)


@pytest.mark.gromacs
def test_the_script_does_nothing_twice(ran: Path) -> None:
    names = ("em.trr", "eq.cpt", "run.trr", "held.extxyz")
    before = [(ran / name).stat().st_mtime_ns for name in names]
    done = subprocess.run(
        ["sh", "run.sh"], cwd=ran, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(ran / name).stat().st_mtime_ns for name in names] == before


@pytest.mark.gromacs
def test_two_sites_of_a_molecule_are_held(case: Path, tmp_path: Path) -> None:
    """Halves of the ring, whose masses in the topology are not the weights of the mapping."""
    weights = "[12.011, 12.011, 12.011, 1.008, 1.008, 1.008]"
    index = f"{{index: [0, 1, 2, 6, 7, 8], x-weight: {weights}, mass: 39.057}}"
    (tmp_path / "two.yaml").write_text(
        f"site-types:\n  A: {index}\n  B: {index}\nsystem:\n"
        "  - {anchor: 0, repeat: all, offset: 12, sites: [[A, 0], [B, 3]]}\n"
    )
    structure = read_structure(case / "conf.gro", tmp_path / "two.yaml")
    one = benzenes()[0]
    atoms = backmap(read_structure(case / "conf.gro", case / "map.yaml"), one).positions
    frame = mapped(structure, atoms, one.cell)
    ready = prepare([frame], settings(case, mapping=tmp_path / "two.yaml"), 300.0)
    ready.writers[0](tmp_path / "f")
    done = subprocess.run(
        ["sh", "run.sh"], cwd=tmp_path / "f", capture_output=True, text=True, timeout=300,
        check=False, env={**os.environ, "MDRUN": "-nt 1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    frames = list(read_frames(tmp_path / "f" / "held.extxyz"))
    assert len(frames) == 3
    for found in frames:
        assert apart(found.positions, frame.positions, frame.cell).max() < 3e-4


@pytest.mark.gromacs
def test_a_free_run_of_gromacs(case: Path, tmp_path: Path) -> None:
    folder = written(case, tmp_path / "frame.0", sampling="free")
    done = subprocess.run(
        ["sh", "run.sh"], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "MDRUN": "-nt 1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    frame, _ = benzenes()
    frames = list(read_frames(folder / "free.extxyz"))
    assert apart(frames[0].positions, frame.positions, frame.cell).max() < 3e-4
    assert apart(frames[-1].positions, frame.positions, frame.cell).max() > 0.05


def test_the_command(case: Path, tmp_path: Path) -> None:
    """From a file of uncertain frames to folders for GROMACS."""
    import json

    import typer
    from typer.testing import CliRunner

    from cgpot.cli import select as select_command
    from cgpot.molecules.extxyz import write_frames

    write_frames(tmp_path / "one.extxyz", [benzenes()[0]])
    lines = (tmp_path / "one.extxyz").read_text().splitlines(keepends=True)
    lines[1] = lines[1].rstrip() + " force_spread_max=0.4\n"
    (tmp_path / "far.extxyz").write_text("".join(lines))
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    select_command.register(app)
    words = ["select", tmp_path / "far.extxyz", "-o", tmp_path / "out", "-T", 300, "-q"]
    words += ["--engine", "gromacs", "--structure", case / "conf.gro"]
    words += ["--mapping", case / "map.yaml", "--topology", case / "topol.top"]
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "1 of 1 configurations, force spread 0.4 to 0.4 eV/Å" in result.stdout
    assert "conformations fit the sites within" in result.stdout
    assert "  sh run.sh" in result.stdout
    record = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert record["frames"][0]["folder"] == "frame.0"
    assert record["frames"][0]["closest_atoms_A"] > 1.5
    assert (tmp_path / "out" / "frame.0" / "run.sh").is_file()


def test_errors(case: Path, tmp_path: Path) -> None:
    frame, _ = benzenes()
    with pytest.raises(ConfigError, match="key 'structure': runs in GROMACS need --structure and "):
        prepare([frame], settings(case, structure=None, mapping=None), 300.0)
    with pytest.raises(ConfigError, match="key 'force_field': has no use in runs of GROMACS"):
        prepare([frame], settings(case, force_field=case / "map.yaml"), 300.0)
    with pytest.raises(ConfigError, match="key 'engine': 'namd'; expected lammps or gromacs"):
        prepare([frame], settings(case, engine="namd"), 300.0)
    with pytest.raises(ConfigError, match="key 'sampling': 'hot'; expected held or free"):
        prepare([frame], settings(case, sampling="hot"), 300.0)
    with pytest.raises(InputError, match=r"no.top: no such GROMACS topology"):
        prepare([frame], settings(case, topology=case / "no.top"), 300.0)
    with pytest.raises(InputError, match=r"map.yaml: no section \[ system \]; expected a topol"):
        prepare([frame], settings(case, topology=case / "map.yaml"), 300.0)
    (tmp_path / "bad.mdp").write_text("integrator = sd\nnonsense\n")
    with pytest.raises(InputError, match=r"bad.mdp: line 2 is 'nonsense'; expected 'key = value'"):
        prepare([frame], settings(case, mdp=tmp_path / "bad.mdp"), 300.0)
    run = GromacsRun(case / "topol.top", case / "map.yaml", sample_ps=1e-4)
    with pytest.raises(ConfigError, match=r"0.0001 ps between frames is less than a step of 1.0"):
        run.check()


def test_a_tilted_box_is_written_as_gromacs_has_it(tmp_path: Path) -> None:
    import MDAnalysis

    positions, cell, sizes = chains(1, tilted=True)
    write_gro(tmp_path / "c.gro", positions, cell, sizes)
    (tmp_path / "map.yaml").write_text(CHAIN)
    structure = read_structure(tmp_path / "c.gro", tmp_path / "map.yaml")
    frame = mapped(structure, positions, cell)
    (tmp_path / "topol.top").write_text("[system]\nx\n")
    placed = backmap(structure, frame, sweeps=0)
    run = GromacsRun(tmp_path / "topol.top", tmp_path / "map.yaml")
    run.check()
    write_gromacs(tmp_path / "f", structure, placed, frame.positions, run, 300.0, 1)
    universe = MDAnalysis.Universe(str(tmp_path / "f" / "conf.gro"), to_guess=())
    np.testing.assert_allclose(universe.trajectory.ts.triclinic_dimensions, cell, atol=1e-4)
