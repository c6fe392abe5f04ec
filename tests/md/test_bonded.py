# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds, angles and dihedrals in data files and in ``cgpot md``, with LAMMPS's own styles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lammps_support import app, script
from typer.testing import CliRunner

from cgpot.core.errors import ConfigError, DataError, InputError, ManifestError, ToolError
from cgpot.core.manifest import check_manifest, write_manifest
from cgpot.core.units import KB
from cgpot.formats.lammps.bonded_sections import check_own_terms, sections_of
from cgpot.formats.lammps.cg_data import read_data, write_data
from cgpot.formats.lammps.log import read_log
from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.md.start import pair_file_terms
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.whole import flags_along_bonds

RECORD: dict[str, Any] = {
    "types": {"bonds": ["A-B", "B-B"], "angles": ["A-B-B"], "dihedrals": ["A-B-B-A"]},
    "special_bonds": [0.0, 0.0, 0.0],
    "molecules": {
        "A-B-B-A": {
            "bonds": [[1, 0, 1], [2, 1, 2], [1, 2, 3]],
            "angles": [[1, 0, 1, 2], [1, 1, 2, 3]],
            "dihedrals": [[1, 0, 1, 2, 3]],
        },
        "A": {},
    },
}
K_AB, R_AB, K_BB, R_BB, K_ANGLE, K_DIHEDRAL = 1.0, 3.0, 1.5, 2.8, 0.2, 0.03
INCLUDE = f"""pair_style lj/smooth/linear 9.0
pair_coeff * * 0.005 4.0
special_bonds lj/coul 0.0 0.0 0.0
bond_style harmonic
bond_coeff 1 {K_AB} {R_AB}
bond_coeff 2 {K_BB} {R_BB}
angle_style harmonic
angle_coeff 1 {K_ANGLE} 115.0
dihedral_style harmonic
dihedral_coeff 1 {K_DIHEDRAL} 1 2
"""


def chains(n: int = 27, seed: int = 1, names: tuple[str, ...] = ("A", "B")) -> CGFrame:
    """Chains A-B-B-A across the boundary, and a molecule A between them."""
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    grid = 10.0 * np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shape = np.array([[0, 0, 0], [2.6, 1.4, 0], [5.0, 0, 0.3], [7.0, 1.6, 1.5]]) - 3.5
    positions = []
    for corner in grid:
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.append(corner + (shape + rng.normal(scale=0.05, size=(4, 3))) @ axes)
    positions.append(np.array([[5.0, 5.0, 5.0]]))
    types = np.array([names.index(b) for b in "ABBA"] * n + [names.index("A")])
    topology = Topology(
        names, (40.0,) * len(names), types, np.append(np.repeat(np.arange(n), 4), n)
    )
    cell = 10.0 * side * np.diag([1.0, 1.02, 0.99])
    return CGFrame(topology, np.concatenate(positions), cell)


def terms(frame: CGFrame):
    return sections_of(RECORD, frame.topology, "model.cgpot.json", "start.extxyz")


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """Styles of LAMMPS with a sidecar, in the place of deployed tables."""
    include = tmp_path / "model.pair.lmp"
    include.write_text(INCLUDE)
    sidecar = tmp_path / "model.cgpot.json"
    content = {
        "format": "cgpot-model-1", "units": {}, "bead_names": ["A", "B"], "masses": [40.0, 40.0],
        "bonded": RECORD,
    }  # fmt: skip
    sidecar.write_text(json.dumps(content))
    write_manifest(sidecar, stage="deploy", inputs={}, outputs=[include])
    write_frames(tmp_path / "start.extxyz", [chains()])
    return include


def numbers(frame: CGFrame) -> tuple[float, float, float]:
    """Bond, angle and dihedral energy, eV, by plain loops over the molecules."""
    bond = angle = dihedral = 0.0
    inverse = np.linalg.inv(frame.cell)

    def unit(v: np.ndarray) -> np.ndarray:
        return v / np.linalg.norm(v)

    for m in range(int(frame.topology.molecules.max())):
        x = frame.positions[frame.topology.molecules == m]
        v = np.diff(x, axis=0)
        v -= np.rint(v @ inverse) @ frame.cell
        for d, k, r0 in zip(v, (K_AB, K_BB, K_AB), (R_AB, R_BB, R_AB), strict=True):
            bond += k * (np.linalg.norm(d) - r0) ** 2
        for a, b in ((v[0], v[1]), (v[1], v[2])):
            angle += K_ANGLE * (np.arccos(-unit(a) @ unit(b)) - np.radians(115.0)) ** 2
        p, q = unit(np.cross(v[0], v[1])), unit(np.cross(v[1], v[2]))
        dihedral += K_DIHEDRAL * (1 + np.cos(2 * np.arccos(np.clip(p @ q, -1, 1))))
    return bond, angle, dihedral


@pytest.mark.parametrize("tilt", [0.0, 4.0])
def test_lammps_reads_the_terms_across_the_boundary(tmp_path: Path, tilt: float) -> None:
    frame = chains()
    cell = frame.cell.copy()
    cell[1, 0] = tilt
    frame = replace(frame, cell=cell, positions=frame.positions @ np.linalg.inv(frame.cell) @ cell)
    write_data(tmp_path / "s.data", frame, bonded=terms(frame))
    script(
        tmp_path,
        f"units metal\natom_style molecular\nread_data s.data\n{INCLUDE}"
        "thermo_style custom ebond eangle edihed\nthermo_modify norm no format float %.12g\n"
        "run 0\nreplicate 2 1 1\nrun 0\nwrite_data out.data nocoeff\n",
    )
    once, twice = read_log(tmp_path / "in.test.log")
    for name, expected in zip(("E_bond", "E_angle", "E_dihed"), numbers(frame), strict=True):
        assert once[name][0] == pytest.approx(expected, rel=1e-7)
        assert twice[name][0] == pytest.approx(2 * expected, rel=1e-7)
    back = read_data(tmp_path / "s.data")
    assert back.topology.same_sites(frame.topology)
    np.testing.assert_array_equal(back.topology.bonds, np.sort(terms(frame).terms["bonds"][:, 1:]))
    assert [kind.bonds for kind in back.topology.species] == [((0, 1), (1, 2), (2, 3)), ()]
    check_own_terms(tmp_path / "s.data", terms(back))
    big = read_data(tmp_path / "out.data")  # LAMMPS writes the labels of types there
    check_own_terms(tmp_path / "out.data", terms(big))


def test_images_make_molecules_whole() -> None:
    frame = chains()
    cell = np.diag(np.diagonal(frame.cell))
    wrapped = np.mod(frame.positions, np.diagonal(cell))
    found = terms(frame)
    flags = flags_along_bonds(wrapped, cell, found.edges)
    whole = wrapped + flags @ cell
    for table in found.terms.values():
        length = np.linalg.norm(whole[table[:, 1]] - whole[table[:, 2]], axis=1)
        assert length.max() < 4.0
    assert np.any(flags != 0)
    assert np.all(flags[-1] == 0)


def test_a_chain_around_the_box_is_refused(tmp_path: Path) -> None:
    topology = Topology(("A",), (1.0,), np.zeros(4, int), np.zeros(4, int))
    positions = np.array([[2.5 * k, 1.0, 1.0] for k in range(4)])
    record = {
        "types": {"bonds": ["A-A"]},
        "molecules": {"A-A-A-A": {"bonds": [[1, k, (k + 1) % 4] for k in range(4)]}},
    }
    frame = CGFrame(topology, positions, np.diag([10.0, 30.0, 30.0]))
    found = sections_of(record, topology, "m.cgpot.json", "s")
    with pytest.raises(DataError, match="bonded to its own image; the box is too small"):
        write_data(tmp_path / "s.data", frame, bonded=found)
    assert not (tmp_path / "s.data").exists()


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app(), ["md", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("ensemble", ["nvt", "npt", "nve"])
def test_md_of_chains(tmp_path: Path, deployed: Path, ensemble: str) -> None:
    """Runs, continues from its restart file, and keeps the chains whole."""
    out = tmp_path / ensemble
    common = [
        ensemble, "--start", tmp_path / "start.extxyz", "--pair-file", deployed, "-T", 300,
        "--timestep-fs", 4, "--minimize", "--restart-ps", 2, "--dump-ps", 0.4, "-o", out, "-q",
    ]  # fmt: skip
    if ensemble == "npt":
        common += ["--thermostat", "langevin"]
    invoke(*common, "--length-ps", 8)
    invoke(*common, "--length-ps", 24)
    record = json.loads((out / "md.json").read_text())
    assert record["complete"] is True
    assert [s["first_step"] for s in record["segments"]] == [0, 2000]
    assert record["bonded"] == {"bonds": 81, "angles": 54, "dihedrals": 27}
    manifest = check_manifest(out / "md.json", stage="lammps")
    assert manifest["inputs"]["sidecar"][0]["file"].endswith("model.cgpot.json")
    frames = list(read_frames(out / "traj.extxyz.xz"))
    bonds = terms(frames[0]).terms["bonds"]
    lengths = []
    for frame in frames[20:]:
        delta = frame.positions[bonds[:, 2]] - frame.positions[bonds[:, 1]]
        delta -= np.rint(delta @ np.linalg.inv(frame.cell)) @ frame.cell
        lengths.append(np.linalg.norm(delta, axis=1))
    found = np.array(lengths)[:, bonds[:, 0] == 0]
    # a stiff harmonic spring K (r - r0)^2: variance kT/2K, the mean a little outside for the
    # volume element r^2, by kT/(K r0)
    if ensemble != "nve":
        assert found.std() ** 2 == pytest.approx(KB * 300 / (2 * K_AB), rel=0.15)
        assert found.mean() == pytest.approx(R_AB + KB * 300 / (K_AB * R_AB), abs=0.03)
    else:
        table = read_log(out / "run.1.log")[-1]
        assert np.ptp(table["TotEng"]) < 0.01 * table["KinEng"].mean()
    # the final data file is a start, too, with terms that agree
    assert pair_file_terms(deployed, frames[0].topology, out / "run.final.data") is not None


def test_replicated_chains(tmp_path: Path, deployed: Path) -> None:
    config = MdConfig(
        start=tmp_path / "start.extxyz",
        pair_file=deployed,
        temperature=300,
        length_ps=0.4,
        timestep_fs=4,
        thermo_ps=0.4,
        dump_ps=0.4,
        replicate=(1, 2, 1),
        minimize=True,
    )
    result = run_md("nvt", config, tmp_path / "out", quiet=True)
    assert result["bonded"]["bonds"] == 162
    text = (tmp_path / "out" / "run.final.data").read_text()
    assert "162 bonds" in text
    check_own_terms(
        tmp_path / "out" / "run.final.data", terms(read_data(tmp_path / "out" / "run.final.data"))
    )


def test_files_without_bonded_styles_need_no_sidecar(tmp_path: Path, lj_file: Path) -> None:
    assert pair_file_terms(lj_file, chains().topology, "start.extxyz") is None
    lj_file.write_text("bond_style none\n" + lj_file.read_text())
    assert pair_file_terms(lj_file, chains().topology, "start.extxyz") is None


def test_bonded_styles_without_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "own.lmp"
    path.write_text(INCLUDE)
    with pytest.raises(InputError, match="has bonded styles, but no sidecar beside it says"):
        pair_file_terms(path, chains().topology, "start.extxyz")


def test_tables_that_changed(deployed: Path) -> None:
    deployed.write_text(INCLUDE.replace("115.0", "105.0"))
    with pytest.raises(ManifestError, match="changed since it was written"):
        pair_file_terms(deployed, chains().topology, "start.extxyz")


def test_systems_that_the_tables_do_not_know(deployed: Path) -> None:
    topology = chains().topology
    with pytest.raises(InputError, match=r"bead types are \['B', 'A'\]; the tables of model.cgpot"):
        pair_file_terms(deployed, chains(names=("B", "A")).topology, "start.extxyz")
    with pytest.raises(DataError, match="bead type 'B' has mass 41 amu here"):
        pair_file_terms(deployed, replace(topology, type_masses=(40.0, 41.0)), "start.extxyz")
    joined = replace(topology, molecules=topology.molecules // 2)
    with pytest.raises(
        InputError, match=r"the molecule A-B-B-A-A-B-B-A .* is not among those of m"
    ):
        pair_file_terms(deployed, joined, "start.extxyz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"types": {}}, "damaged: 'bonds'"),
        ({"molecules": None}, "damaged: "),
        (
            {"types": {"bonds": ["A-B"], "angles": [], "dihedrals": []}},
            "damaged: a type or site of A-B-B-A",
        ),
    ],
)
def test_damaged_records(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"model.cgpot.json, key 'bonded': {message}"):
        sections_of({**RECORD, **change}, chains().topology, "model.cgpot.json", "start")


def test_data_files_with_other_terms(tmp_path: Path) -> None:
    frame = chains()
    path = write_data(tmp_path / "s.data", frame, bonded=terms(frame))
    text = path.read_text()
    section = text[text.index("\nBonds\n") :]
    changed = section.replace(section.splitlines()[3], "1  2  1  2", 1)
    path.write_text(text.replace(section, changed))
    with pytest.raises(InputError, match=r"the data file has a bond of type B-B between the sites"):
        check_own_terms(path, terms(frame))
    without = dict(RECORD["molecules"]["A-B-B-A"])
    del without["dihedrals"]
    record = {**RECORD, "molecules": {"A-B-B-A": without, "A": {}}}
    fewer = sections_of(record, frame.topology, "m.cgpot.json", "s")
    path = write_data(tmp_path / "fewer.data", frame, bonded=fewer)
    with pytest.raises(InputError, match=r"the model has a dihedral of type A-B-B-A .* \[1, 2, 3"):
        check_own_terms(path, terms(frame))
    check_own_terms(write_data(tmp_path / "plain.data", frame), terms(frame))


def test_styles_that_lammps_lacks(tmp_path: Path, deployed: Path) -> None:
    deployed.write_text(INCLUDE.replace("dihedral_style harmonic", "dihedral_style unknown"))
    write_manifest(tmp_path / "model.cgpot.json", stage="deploy", inputs={}, outputs=[deployed])
    config = MdConfig(
        start=tmp_path / "start.extxyz", pair_file=deployed, temperature=300, length_ps=0.4
    )
    with pytest.raises(ToolError, match="Unrecognized dihedral style 'unknown'"):
        run_md("nvt", config, tmp_path / "out", quiet=True)


def test_a_run_keeps_to_its_tables(tmp_path: Path, deployed: Path) -> None:
    config = MdConfig(
        start=tmp_path / "start.extxyz", pair_file=deployed, temperature=300, length_ps=0.4,
        dump_ps=0.4, thermo_ps=0.4, timestep_fs=4, minimize=True,
    )  # fmt: skip
    run_md("nvt", config, tmp_path / "out", quiet=True)
    sidecar = tmp_path / "model.cgpot.json"
    sidecar.write_text(
        sidecar.read_text().replace('{"format', '{"sha256": {"x": "other"}, "format', 1)
    )
    write_manifest(sidecar, stage="deploy", inputs={}, outputs=[deployed])
    with pytest.raises(ConfigError, match="key 'sidecar_sha256': the folder holds a run with"):
        run_md("nvt", config, tmp_path / "out", quiet=True)
