# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS files, written by LAMMPS itself, against pair sums; damaged and mixed files."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mapping_systems import shortest

from cgpot.core.config import validate
from cgpot.core.errors import InputError, UnitError
from cgpot.core.units import ATM_IN_BAR, EV_PER_A3_IN_BAR, KCAL_MOL
from cgpot.formats.lammps import LammpsDump, parse_thermo, read_data, read_thermo, resolve_units
from cgpot.mapping.kernel import map_frame
from cgpot.mapping.readers import open_system
from cgpot.mapping.sites import resolve
from cgpot.mapping.spec import MappingSpec
from cgpot.mapping.thermo import ThermoLookup

EPSILON, SIGMA, CUTOFF = 0.15, 3.4, 8.0
VIRIAL_TOLERANCE = 1e-6
"""eV: ten digits of the thermo output at 1e3 atm and 1e4 Å^3."""

DECK = """\
units {units}
atom_style full
bond_style harmonic
pair_style lj/cut 8.0
special_bonds lj/coul 0 0 0
read_data {data}
pair_coeff 1 1 {epsilon} 3.4
bond_coeff 1 {bond} 1.5
minimize 1e-3 1e-4 50 200
reset_timestep 0
velocity all create 300 4711 mom yes
timestep {timestep}
fix f all nvt temp 300 300 {damp}
compute vp all pressure NULL virial
variable wxx equal c_vp[1]
variable wyy equal c_vp[2]
variable wzz equal c_vp[3]
variable wxy equal c_vp[4]
variable wxz equal c_vp[5]
variable wyz equal c_vp[6]
thermo 20
thermo_style custom step time temp press pe ke vol pxx pyy pzz pxy pxz pyz &
  v_wxx v_wyy v_wzz v_wxy v_wxz v_wyz
thermo_modify line {line} format float %.12g
dump d all custom 20 run.dump id mol type {columns} fx fy fz
dump_modify d format float %.12g {modify}
run 200
write_data final.data
"""


def write_data_file(path: Path, cell: np.ndarray, n: int = 60) -> None:
    rng = np.random.default_rng(8)
    side = int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    first = (grid + 0.3) / side @ cell
    arm = rng.normal(size=(n, 3))
    arm *= 1.5 / np.linalg.norm(arm, axis=1, keepdims=True)
    lines = ["dimers", "", f"{2 * n} atoms", f"{n} bonds", "1 atom types", "1 bond types", ""]
    for axis, name in enumerate("xyz"):
        lines.append(f"-1.5 {cell[axis, axis] - 1.5} {name}lo {name}hi")
    if np.count_nonzero(cell) > 3:
        lines.append(f"{cell[1, 0]} {cell[2, 0]} {cell[2, 1]} xy xz yz")
    lines += ["", "Masses", "", "1 15.0", "", "Atoms # full", ""]
    for m in range(n):
        for k, x in enumerate((first[m], first[m] + arm[m])):
            x = x - 1.5
            lines.append(f"{2 * m + k + 1} {m + 1} 1 0.0 {x[0]:.8f} {x[1]:.8f} {x[2]:.8f}")
    lines += ["", "Bonds", ""] + [f"{m + 1} 1 {2 * m + 1} {2 * m + 2}" for m in range(n)]
    path.write_text("\n".join(lines) + "\n")


CELLS = {
    "orthogonal": np.diag([22.0, 24.0, 26.0]),
    "triclinic": np.array([[23.0, 0, 0], [5.0, 22.0, 0], [-4.0, 3.0, 24.0]]),
}


def run_lammps(
    folder: Path,
    *,
    cell: str = "orthogonal",
    units: str = "real",
    columns: str = "x y z ix iy iz",
    line: str = "one",
    modify: str = "sort id",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_data_file(folder / "start.data", CELLS[cell])
    metal = units == "metal"
    (folder / "in.deck").write_text(
        DECK.format(
            units=units, data="start.data", columns=columns, line=line, modify=modify,
            epsilon=EPSILON * (KCAL_MOL if metal else 1.0), bond=8.0 if metal else 200.0,
            timestep=0.001 if metal else 1.0, damp=0.1 if metal else 100.0,
        )
    )  # fmt: skip
    lmp = shutil.which("lmp")
    assert lmp is not None
    subprocess.run(
        [lmp, "-in", "in.deck", "-screen", "none"], cwd=folder, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_lammps(tmp_path_factory.mktemp("lammps"))


SPEC = {
    "site-types": {"DIM": {"index": [0, 1]}},
    "system": [{"repeat": 60, "offset": 2, "sites": [["DIM", 0]]}],
}


def pair_sum(positions: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forces on the molecules and their virial from Lennard-Jones pairs, eV."""
    n = len(positions)
    i, j = np.triu_indices(n, 1)
    other = i // 2 != j // 2
    i, j = i[other], j[other]
    d = shortest(positions[i] - positions[j], cell)
    r2 = np.sum(d * d, axis=1)
    near = r2 < CUTOFF**2
    i, j, d, r2 = i[near], j[near], d[near], r2[near]
    s6 = (SIGMA**2 / r2) ** 3
    f = (24 * EPSILON * KCAL_MOL * (2 * s6**2 - s6) / r2)[:, None] * d
    half = shortest(positions[1::2] - positions[::2], cell) / 2
    arm = np.stack([-half, half], axis=1).reshape(-1, 3)
    forces = np.zeros((n // 2, 3))
    np.add.at(forces, i // 2, f)
    np.add.at(forces, j // 2, -f)
    return forces, (d - arm[i] + arm[j]).T @ f


@pytest.mark.parametrize(
    ("cell", "units", "columns", "line", "modify"),
    [
        ("orthogonal", "real", "x y z ix iy iz", "one", "sort id"),
        ("triclinic", "real", "x y z", "yaml", "units yes time yes"),
        ("triclinic", "metal", "xu yu zu", "one", "units yes"),
        ("orthogonal", "metal", "xs ys zs ix iy iz", "yaml", "time yes"),
        ("triclinic", "real", "xsu ysu zsu", "one", "sort id"),
    ],
)
def test_mapped_run_against_pair_sums(
    tmp_path: Path, cell: str, units: str, columns: str, line: str, modify: str
) -> None:
    folder = run_lammps(tmp_path, cell=cell, units=units, columns=columns, line=line, modify=modify)
    system = open_system(folder / "start.data", folder / "run.dump", folder / "log.lammps")
    sites = resolve(validate(MappingSpec, SPEC), system.topology, "m.yaml")
    assert system.thermo is not None
    lookup = ThermoLookup(system.thermo)
    count = 0
    for frame in system.trajectory:
        row = lookup.row(frame)
        lookup.check_volume(row, frame)
        volume = abs(np.linalg.det(frame.cell))
        mapped = map_frame(frame, sites, virial=lookup.virial(row, volume))
        forces, virial = pair_sum(frame.positions, frame.cell)
        assert mapped.forces is not None
        assert mapped.virial is not None
        np.testing.assert_allclose(mapped.forces, forces, atol=1e-6)
        np.testing.assert_allclose(mapped.virial, virial, atol=VIRIAL_TOLERANCE * 10)
        assert frame.time == pytest.approx(0.001 * frame.step)
        np.testing.assert_allclose(frame.cell, CELLS[cell], atol=1e-9)
        count += 1
    assert count == 11
    # P = (kinetic + configurational) in bar, whatever the unit style.
    assert system.thermo.virial_pressure is not None
    assert system.thermo.pressure is not None
    names, table, _ = parse_thermo(folder / "log.lammps")
    ke = dict(zip(names, table[-1], strict=True))["KinEng"] * (1 if units == "metal" else KCAL_MOL)
    kinetic = 2 * ke / (3 * abs(np.linalg.det(CELLS[cell]))) * EV_PER_A3_IN_BAR
    total = np.trace(system.thermo.virial_pressure[-1]) / 3 + kinetic
    assert total == pytest.approx(system.thermo.pressure[-1], abs=0.02)


def test_pressure_tensor_with_kinetic_energy(run: Path, tmp_path: Path) -> None:
    """Without virial columns: the trace is exact."""
    names, table, units = parse_thermo(run / "log.lammps")
    assert units == "real"
    keep = [i for i, n in enumerate(names) if not n.startswith("v_w")]
    text = ["units real", " ".join(names[i] for i in keep)]
    text += [" ".join(f"{row[i]:.12g}" for i in keep) for row in table]
    path = tmp_path / "log.lammps"
    path.write_text("\n".join(text) + "\n")
    exact = read_thermo(run / "log.lammps", "real")
    derived = read_thermo(path, None)
    assert exact.virial_pressure is not None
    assert derived.virial_pressure is not None
    np.testing.assert_allclose(
        np.trace(derived.virial_pressure, axis1=1, axis2=2),
        np.trace(exact.virial_pressure, axis1=1, axis2=2),
        atol=0.05,
    )
    assert "isotropic kinetic part" in derived.notes[0]


def test_compute_columns_and_atm(tmp_path: Path) -> None:
    path = tmp_path / "thermo.yaml"
    path.write_text(
        "---\nkeywords: ['Step', 'Press', 'Volume', 'c_vir[1]', 'c_vir[2]', 'c_vir[3]', "
        "'c_vir[4]', 'c_vir[5]', 'c_vir[6]', ]\ndata:\n"
        "  - [0, 10.0, 1000.0, 1, 2, 3, 4, 5, 6, ]\n"
        "  - [5, 11.0, 1000.0, 1, 2, 3, 4, 5, 6, ]\n...\n"
    )
    series = read_thermo(path, "real")
    assert series.keys.tolist() == [0, 5]
    assert series.virial_pressure is not None
    expected = np.array([[1, 4, 5], [4, 2, 6], [5, 6, 3]]) * ATM_IN_BAR
    np.testing.assert_allclose(series.virial_pressure[0], expected)
    assert series.pressure is not None
    assert series.pressure[1] == pytest.approx(11 * ATM_IN_BAR)


def test_log_cut_short(run: Path, tmp_path: Path) -> None:
    """A killed run: whole rows are read, the last half row is not."""
    text = (run / "log.lammps").read_text()
    rows = text[: text.index("Loop time", text.rindex("Step "))].splitlines(keepends=True)
    path = tmp_path / "log.lammps"
    path.write_text("".join(rows[:-1]) + rows[-1][: len(rows[-1]) // 2])
    assert read_thermo(path, None).keys[-1] == 180


def test_units_missing_and_contradicting(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "log.lammps"
    bare.write_text((run / "log.lammps").read_text().replace("units real\n", ""))
    with pytest.raises(UnitError, match=r"run\.dump, key 'units': the units are missing"):
        open_system(run / "start.data", run / "run.dump", bare)
    assert open_system(run / "start.data", run / "run.dump", bare, units="real").thermo
    with pytest.raises(UnitError, match=r"log\.lammps, key 'units': units 'real', but 'metal'"):
        open_system(run / "start.data", run / "run.dump", run / "log.lammps", units="metal")
    with pytest.raises(UnitError, match="LAMMPS units 'lj' are not supported"):
        resolve_units("lj", {})


def dump(path: Path, **options: object) -> LammpsDump:
    return LammpsDump(path, 120, units="real", **options)  # type: ignore[arg-type]


def edited(run: Path, tmp_path: Path, old: str, new: str, count: int = -1) -> Path:
    path = tmp_path / "edited.dump"
    text = (run / "run.dump").read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path


def test_truncated_dump(run: Path, tmp_path: Path) -> None:
    text = (run / "run.dump").read_text()
    lines = text.splitlines(keepends=True)
    per_frame = len(lines) // 11
    path = tmp_path / "short.dump"
    for keep, match in (
        ("".join(lines[: 2 * per_frame + 50]), "frame 2: truncated trajectory: 41 of 120 atoms"),
        ("".join(lines[: 2 * per_frame + 3]), "frame 2: truncated trajectory: the file ends"),
        ("".join(lines[: 2 * per_frame + 6])[:-4], "frame 2: truncated trajectory: the file ends"),
        (text[:-5], "frame 10: truncated trajectory"),
    ):
        path.write_text(keep)
        with pytest.raises(InputError, match=match):
            list(dump(path))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("fx fy fz", "vx vy vz", r"frame 0: no forces: columns \['fx', 'fy', 'fz'\] are missing"),
        ("ATOMS id", "ATOMS number", "no atom ids"),
        ("x y z ix", "a b c ix", "no coordinates among the columns"),
        ("NUMBER OF ATOMS\n120", "NUMBER OF ATOMS\n119", "119 atoms, but the topology has 120"),
        ("BOX BOUNDS", "BOX BOUNDS abc origin", "general triclinic box"),
        ("ITEM: TIMESTEP\n0\n", "ITEM: TIMESTEP\nzero\n", "invalid literal"),
        ("ITEM: TIMESTEP\n0\n", "what\n", "expected an 'ITEM:' line, found 'what'"),
        ("\n2 1 1 ", "\n1 1 1 ", "atom ids are not 1 to 120"),
        ("\n2 1 1 ", "\n2 1 1 abc ", "damaged frame: atom lines: .*abc"),
    ],
)
def test_damaged_dump(run: Path, tmp_path: Path, old: str, new: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        list(dump(edited(run, tmp_path, old, new, 1)))


def test_nan_in_a_dump_is_named(run: Path, tmp_path: Path) -> None:
    from cgpot.core.errors import DataError

    lines = (run / "run.dump").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("7 "))
    lines[at] = " ".join([*lines[at].split()[:-1], "nan"])
    path = tmp_path / "nan.dump"
    path.write_text("\n".join(lines) + "\n")
    sites = resolve(validate(MappingSpec, SPEC), read_data(run / "start.data"), "m.yaml")
    with pytest.raises(DataError, match="frame 0: forces of atom 6 hold NaN"):
        [map_frame(f, sites) for f in dump(path)]


def test_times(run: Path) -> None:
    assert [f.time for f in dump(run / "run.dump")][:2] == [None, None]
    assert next(iter(dump(run / "run.dump", timestep=0.002))).time == 0.0
    last = list(dump(run / "run.dump", timestep=0.002))[-1]
    assert last.time == pytest.approx(0.4)


def test_velocities_carry_the_kinetic_energy(tmp_path: Path) -> None:
    """1/2 sum m v^2 of a frame is LAMMPS's own kinetic energy (real units: A/fs)."""
    folder = run_lammps(tmp_path, columns="x y z ix iy iz vx vy vz")
    names, table, _ = parse_thermo(folder / "log.lammps")
    # amu (A/ps)^2 in kcal/mol: 1.66053906660e-27 * 1e4 * 6.02214076e23 / 4184
    unit = 1.66053906660e-27 * 1e4 * 6.02214076e23 / 4184
    energies = table[-11:, names.index("KinEng")]
    for frame, energy in zip(dump(folder / "run.dump"), energies, strict=True):
        assert frame.velocities is not None
        kinetic = 0.5 * 15.0 * np.sum(frame.velocities**2) * unit
        assert kinetic == pytest.approx(energy, rel=1e-6)


def test_energies_of_other_steps(run: Path) -> None:
    series = read_thermo(run / "log.lammps", "real")
    lookup = ThermoLookup(replace(series, keys=series.keys + 7))
    with pytest.raises(InputError, match=r"no entry at step 0 .*the nearest is at 7"):
        lookup.row(next(iter(dump(run / "run.dump"))))


def test_volume_of_another_run(run: Path) -> None:
    series = read_thermo(run / "log.lammps", "real")
    assert series.volume is not None
    lookup = ThermoLookup(replace(series, volume=series.volume * 1.01))
    frame = next(iter(dump(run / "run.dump")))
    with pytest.raises(InputError, match="the files belong to different runs"):
        lookup.check_volume(lookup.row(frame), frame)


def test_thermo_without_virial(tmp_path: Path) -> None:
    path = tmp_path / "log.lammps"
    path.write_text("units metal\nStep Temp Press\n0 300 1\nLoop time of 1\n")
    with pytest.raises(InputError, match=r"no virial among the columns \['Step', 'Temp', 'Press'"):
        read_thermo(path, None)
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="no thermo output found"):
        read_thermo(path, "metal")
    path.write_text("Time Temp\n")
    with pytest.raises(InputError, match="no thermo output found"):
        read_thermo(path, "metal")


def test_nan_virial(tmp_path: Path) -> None:
    path = tmp_path / "log.lammps"
    columns = " ".join(f"v_w{c}" for c in ("xx", "yy", "zz", "xy", "xz", "yz"))
    path.write_text(f"Step {columns}\n0 1 2 3 4 5 6\n10 1 nan 3 4 5 6\nLoop time\n")
    with pytest.raises(InputError, match="the virial at step 10 holds NaN"):
        read_thermo(path, "real")


def test_data_file(run: Path, tmp_path: Path) -> None:
    topology = read_data(run / "start.data")
    assert topology.n_atoms == 120
    assert topology.forces_hold_constraints
    assert topology.bonds is not None
    assert topology.bonds.shape == (60, 2)
    assert topology.molecules is not None
    assert topology.molecules[:4].tolist() == [0, 0, 1, 1]
    written = read_data(run / "final.data")  # write_data: atoms in another order
    assert written.masses is not None
    np.testing.assert_allclose(written.masses, 15.0)
    path = tmp_path / "bad.data"
    path.write_text("rubbish\n")
    with pytest.raises(InputError, match="not a readable LAMMPS data file"):
        read_data(path)
    path.write_text((run / "start.data").read_text().replace("\n120 60 1 ", "\n130 60 1 "))
    with pytest.raises(InputError, match="atom ids run from 1 to 130 for 120 atoms"):
        read_data(path)


def test_files_of_two_engines(run: Path, raw: Path) -> None:
    with pytest.raises(InputError, match="a LAMMPS trajectory with the GROMACS topology"):
        open_system(raw / "flexible.tpr", run / "run.dump", run / "log.lammps", units="real")
    with pytest.raises(InputError, match=r"unknown format '\.xtc'"):
        open_system(raw / "flexible.tpr", "a.xtc", None, forces_only=True)
    with pytest.raises(InputError, match="no --energy file given"):
        open_system(run / "start.data", run / "run.dump", None)
    with pytest.raises(InputError, match="exclude each other"):
        open_system(run / "start.data", run / "run.dump", run / "log.lammps", forces_only=True)
    with pytest.raises(InputError, match="--units and --timestep are for LAMMPS"):
        open_system(raw / "flexible.tpr", raw / "flexible.trr", raw / "flexible.edr", units="real")
