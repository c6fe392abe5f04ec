# SPDX-License-Identifier: GPL-2.0-or-later
"""Benzene's atomistic deck against GROMACS, and by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benzene_box import (
    ATOMS,
    BOND_CC,
    BOND_CH,
    DIHEDRALS,
    BenzeneBox,
    build,
    main,
    write_aa_data,
)

from cgpot.core.errors import ConfigError
from cgpot.core.units import ATM_IN_BAR, EV_PER_A3_IN_BAR, KJ_MOL, density_kg_m3
from cgpot.formats.lammps.cg_dump import DumpFrame, read_dump
from cgpot.formats.lammps.log import ThermoTable, read_log
from cgpot.md.deck import deck_variables
from cgpot.select.backmap import random_rotation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "md"))
from lammps_support import lmp

DECK = Path("workflows/systems/benzene/lammps/aa_benzene.lmp")
DATA = Path(__file__).parent / "data"
KCAL = 4.184
BONDED = 1e-6
"""kJ/mol: both codes evaluate the same formulas in double precision."""
LENNARD_JONES = 1e-5
"""kJ/mol, tail correction taken off."""
TAIL = 0.01
"""kJ/mol: GROMACS leaves excluded pairs out of the mean C6, LAMMPS does not (0.35 kJ/mol)."""
COULOMB = 0.005
"""kJ/mol of 65: accuracy of PME and PPPM, LAMMPS's tables for erfc."""
FORCE = 5e-6
"""Root mean square difference over root mean square force."""


def gro(path: Path) -> BenzeneBox:
    lines = path.read_text().splitlines()
    positions = np.array(
        [[float(line[20 + 8 * k : 28 + 8 * k]) for k in range(3)] for line in lines[2:-1]]
    )
    return BenzeneBox(10.0 * positions.reshape(-1, ATOMS, 3), 10.0 * float(lines[-1].split()[0]))


def single_point(folder: Path, system: BenzeneBox, root: Path) -> tuple[ThermoTable, DumpFrame]:
    write_aa_data(folder / "b.data", system)
    arguments = ["-in", str(root / DECK), "-log", "run.log"]
    for name, value in (
        ("data", "b.data"), ("length_ps", "0"), ("minimize", "no"),
        ("accuracy", "1.0e-8"), ("ensemble", "nve"),
    ):  # fmt: skip
        arguments += ["-var", name, value]
    lmp(arguments, folder)
    return read_log(folder / "run.log")[-1], next(read_dump(folder / "run.0.dump"))


def compare(table: ThermoTable, snapshot: DumpFrame, reference: dict[str, Any]) -> None:
    energy = {name: values[0] * KCAL for name, values in table.columns.items()}
    want = reference["energies"]
    assert energy["E_bond"] == pytest.approx(want["Bond"], abs=BONDED)
    assert energy["E_angle"] == pytest.approx(want["Angle"], abs=BONDED)
    assert energy["E_dihed"] == pytest.approx(want["Ryckaert-Bell."], abs=BONDED)
    assert energy["E_impro"] == pytest.approx(want["Per. Imp. Dih."], abs=BONDED)
    short = want["LJ-14"] + want["LJ (SR)"]
    assert energy["E_vdwl"] - energy["E_tail"] == pytest.approx(short, abs=LENNARD_JONES)
    assert energy["E_tail"] == pytest.approx(want["Disper. corr."], abs=TAIL)
    charges = want["Coulomb-14"] + want["Coulomb (SR)"] + want["Coul. recip."]
    assert energy["E_coul"] + energy["E_long"] == pytest.approx(charges, abs=COULOMB)
    # the virial: Xi = -W/2, and W = V v_w
    volume = table["Volume"][0]
    for name, value in reference["minus_half_virial"].items():
        w = table[f"v_w{name}"][0] * ATM_IN_BAR / EV_PER_A3_IN_BAR * volume / KJ_MOL
        assert -0.5 * w == pytest.approx(value, abs=TAIL + COULOMB), name
    forces = np.asarray(reference["forces"])
    assert snapshot.forces is not None
    ours = snapshot.forces / KJ_MOL
    difference = np.sqrt(np.mean((ours - forces) ** 2)) / np.sqrt(np.mean(forces**2))
    assert difference < FORCE


def test_energies_forces_and_virial_are_those_of_gromacs(tmp_path: Path, root: Path) -> None:
    # the reference and the command that made it: data/README.md
    reference = json.loads((DATA / "benzene8.json").read_text())
    compare(*single_point(tmp_path, gro(DATA / "benzene8.gro"), root), reference)


@pytest.mark.gromacs
def test_the_stored_reference_is_what_gromacs_gives(tmp_path: Path, root: Path) -> None:
    program = shutil.which("gmx_d") or shutil.which("gmx")
    if program is None:
        pytest.skip("GROMACS is not installed")
    for name in ("benzene8.gro", "benzene8.mdp", "benzene8.top"):
        shutil.copy(DATA / name, tmp_path)
    shutil.copy(root / "workflows/systems/benzene/gromacs/benzene.itp", tmp_path)

    def gmx(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [program, "-quiet", "-nobackup", *arguments],
            cwd=tmp_path, input=text, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    gmx("grompp", "-f", "benzene8.mdp", "-c", "benzene8.gro", "-p", "benzene8.top",
        "-o", "b.tpr", "-maxwarn", "2")  # fmt: skip
    gmx("mdrun", "-s", "b.tpr", "-deffnm", "b", "-nt", "1")
    reference = json.loads((DATA / "benzene8.json").read_text())
    wanted = {**reference["energies"]}
    wanted |= {f"Vir-{k.upper()}": v for k, v in reference["minus_half_virial"].items()}
    single = "_d" not in Path(program).name
    for term, value in wanted.items():
        gmx("energy", "-f", "b.edr", "-o", "e.xvg", "-dp", text=term.replace(" ", "-") + "\n\n")
        found = float((tmp_path / "e.xvg").read_text().splitlines()[-1].split()[1])
        assert found == pytest.approx(value, abs=2e-2 if single else 1e-6), term


def test_parameters_as_tables(root: Path) -> None:
    # by the arithmetic: GROMACS's values (kJ/mol, nm) in LAMMPS's (kcal/mol, Å, K without 1/2)
    deck = (root / DECK).read_text()
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in deck.splitlines() if line}
    for key, gromacs in ((("bond_coeff", "1"), 392459.2), (("bond_coeff", "2"), 307105.6)):
        assert float(rows[key][0]) == pytest.approx(gromacs / 2 / 4.184 / 100, rel=1e-9)
    for key, gromacs in ((("angle_coeff", "1"), 527.184), (("angle_coeff", "2"), 292.88)):
        assert float(rows[key][0]) == pytest.approx(gromacs / 2 / 4.184, rel=1e-9)
    assert float(rows[("dihedral_coeff", "1")][1]) == pytest.approx(30.334 / 4.184, rel=1e-9)
    assert float(rows[("improper_coeff", "1")][0]) == pytest.approx(4.6024 / 4.184, rel=1e-9)


def test_lattice_and_molecules(rng: np.random.Generator) -> None:
    system = build(27, 850.0, seed=4)
    mass = 27 * 6 * (12.011 + 1.008)
    assert density_kg_m3(mass, system.box**3) == pytest.approx(850.0)
    ring = system.positions[:, :6]
    bonds = np.linalg.norm(ring - np.roll(ring, 1, axis=1), axis=2)
    np.testing.assert_allclose(bonds, BOND_CC, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(system.positions[:, 6:] - ring, axis=2), BOND_CH, atol=1e-12
    )
    assert len({tuple(row[1:]) for row in DIHEDRALS}) == 24
    rotation = random_rotation(rng)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert len(build(20, 850.0).positions) == 20


def test_builder_errors() -> None:
    with pytest.raises(ConfigError, match="0 molecules; expected at least 1"):
        build(0, 850.0)
    with pytest.raises(ConfigError, match=r"density 2000 kg/m.*less than 1500"):
        build(8, 2000.0)
    with pytest.raises(ConfigError, match="box 5 Å; expected at least"):
        build(8, 850.0, box=5.0)


def run_nve(folder: Path, root: Path, timestep_fs: float, sample_every: int) -> Path:
    """27 molecules, minimised, then 30 fs at constant energy, sampled every 5 fs."""
    main(["--molecules", "27", "--density", "800", "-o", str(folder / "b.data")])
    arguments = ["-in", str(root / DECK), "-log", "run.log"]
    for name, value in {
        "data": "b.data",
        "ensemble": "nve",
        "length_ps": "0.03",
        "timestep_fs": str(timestep_fs),
        "sample_every": str(sample_every),
        "minimize_steps": "100",
        "cutoff": "9.0",
    }.items():
        arguments += ["-var", name, value]
    lmp(arguments, folder)
    return folder


@pytest.fixture(scope="module")
def nve(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    return run_nve(tmp_path_factory.mktemp("aa"), root, 0.5, 10)


def test_deck_runs_and_conserves_energy(nve: Path, tmp_path: Path, root: Path) -> None:
    coarse = read_log(nve / "run.log")[-1]
    assert list(coarse["Step"]) == [0, 10, 20, 30, 40, 50, 60]
    fine = read_log(run_nve(tmp_path, root, 0.25, 20) / "run.log")[-1]
    np.testing.assert_array_equal(coarse["Time"], fine["Time"])
    # the error of velocity Verlet is of second order in the time step: a quarter at half of it
    errors = [np.ptp(t["TotEng"]) for t in (coarse, fine)]
    assert errors[0] < 1e-2 * coarse["KinEng"].mean()
    assert 3.0 < errors[0] / errors[1] < 5.0


def test_virial_columns_are_the_pressure_without_its_kinetic_part(nve: Path) -> None:
    table = read_log(nve / "run.log")[-1]
    virial = (table["v_wxx"] + table["v_wyy"] + table["v_wzz"]) / 3.0
    # 1 kcal/mol/Å^3 = 6.9476954570e9 Pa (4184/6.02214076e23/1e-30) in atm
    unit = 4184.0 / 6.02214076e23 / 1e-30 / 101325.0
    kinetic = 2.0 * table["KinEng"] / (3.0 * table["Volume"]) * unit
    np.testing.assert_allclose(table["Press"], virial + kinetic, rtol=1e-5, atol=1e-2)
    for name in ("xy", "xz", "yz"):
        assert np.ptp(table[f"P{name}"] - table[f"v_w{name}"]) > 0.0


def test_frames_have_forces_at_the_steps_of_the_log(nve: Path) -> None:
    snapshots = list(read_dump(nve / "run.0.dump"))
    assert [s.step for s in snapshots] == [0, 10, 20, 30, 40, 50, 60]
    np.testing.assert_allclose([s.time for s in snapshots], 0.0005 * np.arange(0, 61, 10))
    for snapshot in snapshots:
        assert snapshot.forces is not None
        assert snapshot.images is not None
        assert len(snapshot.types) == 27 * ATOMS
        # PPPM conserves momentum to its accuracy
        assert np.abs(snapshot.forces.sum(axis=0)).max() < 1e-2 * np.abs(snapshot.forces).max()
        whole = snapshot.positions + snapshot.images @ snapshot.cell
        ring = whole.reshape(27, ATOMS, 3)[:, :6]
        bonds = np.linalg.norm(ring - np.roll(ring, 1, axis=1), axis=2)
        assert 1.2 < bonds.min() < bonds.max() < 1.6


def test_unknown_ensemble(nve: Path, tmp_path: Path, root: Path) -> None:
    deck = str(root / DECK)
    done = lmp(["-in", deck, "-var", "data", "x", "-var", "ensemble", "nph"], tmp_path, check=False)
    assert done.returncode == 1
    assert "variable ensemble is nph; expected npt, nvt or nve" in done.stdout


def test_the_force_field_alone_is_that_of_the_deck(root: Path) -> None:
    texts = [
        (root / DECK).with_name(name).read_text() for name in ("aa_benzene.lmp", "force_field.lmp")
    ]
    for begin, end in (("units           real", "neigh_modify"), ("# Types as", "improper_coeff")):
        assert len({text[text.index(begin) : text.index(end)] for text in texts}) == 1


def test_header_lists_every_variable(root: Path) -> None:
    variables = deck_variables(root / DECK)
    assert variables["data"].kind == "required"
    assert variables["temperature"].default == "300.0"
