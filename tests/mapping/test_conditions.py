# SPDX-License-Identifier: GPL-2.0-or-later
"""Atoms of no site, of several sites, without mass, and charges of beads."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mapping_systems import make_chains

from cgpot.core.config import validate
from cgpot.core.errors import CgpotError, ConfigError, DataError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.dataset.dataset_stage import report_on
from cgpot.formats.atomistic import AtomFrame, AtomTopology, ThermoSeries
from cgpot.mapping.check import MIN_SAMPLES
from cgpot.mapping.kernel import internal_dof, map_frame, site_temperature
from cgpot.mapping.pipeline import MapOptions, map_trajectory, virial_form
from cgpot.mapping.readers import open_system
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import MappingSpec
from cgpot.molecules.extxyz import read_frames

KT = 0.02585


def topology(sizes: list[int], bonds: list[tuple[int, int]], **more: Any) -> AtomTopology:
    """Molecules of atoms of 1, 2, 3, ... amu."""
    molecules = np.repeat(np.arange(len(sizes)), sizes)
    values: dict[str, Any] = {
        "path": Path("a.tpr"),
        "n_atoms": len(molecules),
        "masses": np.arange(1.0, len(molecules) + 1.0),
        "bonds": np.array(bonds, dtype=np.int64).reshape(-1, 2),
        "molecules": molecules,
        "constraints": np.zeros((0, 2), dtype=np.int64),
    }
    return AtomTopology(**(values | more))


def frame(positions: np.ndarray, forces: np.ndarray, side: float = 40.0) -> AtomFrame:
    cell = np.diag([side] * 3)
    return AtomFrame(0, 0, 0.0, positions, forces, cell, whole=True)


def spec(types: dict[str, Any], blocks: list[dict[str, Any]], **more: Any) -> MappingSpec:
    return validate(MappingSpec, {"site-types": types, "system": blocks, **more}, "m.yaml")


# --- left out


def solution(**more: Any) -> AtomTopology:
    """Two solutes of three atoms, four waters of three, one ion."""
    sizes = [3, 3, 3, 3, 3, 3, 1]
    bonds = [(3 * m + k, 3 * m + k + 1) for m in range(6) for k in range(2)]
    masses = np.array([12.0, 1.0, 16.0] * 2 + [16.0, 1.0, 1.0] * 4 + [23.0])
    names = np.repeat(["SOLU"] * 2 + ["WAT"] * 4 + ["NA"], sizes)
    values = {"masses": masses, "molecule_types": names} | more
    return replace(topology(sizes, bonds), **values)  # type: ignore[arg-type]


SOLUTE = {"S": {"index": [0, 1, 2]}}
ONLY = [{"repeat": 2, "offset": 3, "sites": [["S", 0]]}]


@pytest.mark.parametrize("allowed", ["allow", ["WAT", "NA"]])
def test_whole_molecules_may_be_left_out(rng: np.random.Generator, allowed: Any) -> None:
    sites = resolve(spec(SOLUTE, ONLY, unmapped=allowed), solution(), "m.yaml")
    assert sites.left_out == {
        "atoms": 13,
        "molecules": 5,
        "mass_amu": pytest.approx(4 * 18.0 + 23.0),
        "types": ["NA", "WAT"],
    }
    assert "left out: 5 molecules (13 atoms, 95.0 amu: NA, WAT)" in sites.notes[0]
    x, f = rng.uniform(0, 5, (19, 3)), rng.normal(size=(19, 3))
    found = map_frame(frame(x, f), sites)
    np.testing.assert_allclose(found.forces, f[:6].reshape(2, 3, 3).sum(axis=1))
    weights = np.array([12.0, 1.0, 16.0]) / 29.0
    np.testing.assert_allclose(found.positions, weights @ x[:6].reshape(2, 3, 3))
    assert internal_dof(sites) == 3 * 6 - 3 * 2
    moving = frame(x, f)
    moving.velocities = rng.normal(size=(19, 3))
    alone = replace(sites, left_out=None)
    # the motion of the whole system is not that of the solutes
    ratio = site_temperature(moving, sites, solution().masses) / site_temperature(  # type: ignore[operator]
        moving, alone, solution().masses
    )
    assert ratio == pytest.approx(3 / 6)


def test_constraints_of_what_is_left_out_do_not_count() -> None:
    pairs = np.array([[0, 1], [1, 2], [6, 7], [6, 8], [9, 10]])
    sites = resolve(spec(SOLUTE, ONLY, unmapped="allow"), solution(constraints=pairs), "m.yaml")
    assert sites.n_constraints == 2


@pytest.mark.parametrize(
    ("more", "change", "match"),
    [
        ({}, {}, r"atom 6 belongs to no site \(13 of 19 atoms\).*can be left out with 'unmapped'"),
        ({"unmapped": ["WAT"]}, {}, "atom 18 of molecule type NA .*only WAT may be left out"),
        ({"unmapped": ["WAT", "NA", "CL"]}, {}, r"no molecule of type CL is left out; .*'SOLU'"),
        ({"unmapped": ["WAT"]}, {"molecule_types": None}, "names no molecule types; .*allow"),
        ({"unmapped": "allow"}, {"molecules": None, "bonds": None}, "does not tell molecules"),
        ({"unmapped": []}, {}, "unmapped"),
    ],
)
def test_what_may_not_be_left_out(more: Any, change: Any, match: str) -> None:
    with pytest.raises(CgpotError, match=match):
        resolve(spec(SOLUTE, ONLY, **more), solution(**change), "m.yaml")


def test_parts_of_molecules_are_not_left_out() -> None:
    part = {"S": {"index": [0, 1]}}
    with pytest.raises(ConfigError, match=r"atom 2 belongs to no site, but atom 0 of the same mol"):
        resolve(spec(part, ONLY, unmapped="allow"), solution(), "m.yaml")
    whole = [{"repeat": "all", "offset": 3, "sites": [["S", 0]]}]
    eighteen = topology([3] * 6, [], masses=np.ones(18))
    with pytest.raises(
        ConfigError, match=r"'allow' is given, but every atom of a.tpr is in a site"
    ):
        resolve(spec(SOLUTE, whole, unmapped="allow"), eighteen, "m.yaml")


class Run:
    """A trajectory in memory."""

    path = Path("run.trr")

    def __init__(self, frames: list[AtomFrame]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Any:
        return iter(self.frames)


def test_no_virial_of_a_part(rng: np.random.Generator, tmp_path: Path) -> None:
    """Stress labels are refused by name, forces are written with what was left out beside them."""
    atoms = replace(solution(), path=tmp_path / "a.tpr")
    atoms.path.touch()
    frames = [
        replace(
            frame(rng.uniform(0, 20, (19, 3)), rng.normal(size=(19, 3))), index=k, time=float(k)
        )
        for k in range(3)
    ]
    run = Run(frames)
    run.path = tmp_path / "run.trr"
    run.path.touch()
    mapping = tmp_path / "m.yaml"
    mapping.write_text(yaml.safe_dump({"site-types": SOLUTE, "system": ONLY, "unmapped": "allow"}))
    thermo = ThermoSeries(tmp_path / "a.edr", "time", np.arange(3.0), np.zeros((3, 3, 3)))
    out = tmp_path / "a.extxyz"
    options = MapOptions(temperature=300.0, quiet=True)
    with pytest.raises(ConfigError, match=r"5 molecules are left out, .* pass --forces-only"):
        map_trajectory(mapping, atoms, run, thermo, out, options)
    assert not out.exists()
    map_trajectory(mapping, atoms, run, None, out, options)
    record = check_manifest(out, stage="mapping")
    assert record["left_out"]["molecules"] == 5
    assert record["config"]["unmapped"] == "allow"
    report = report_on(out, quiet=True)
    assert report["sources"][0]["left_out"]["mass_amu"] == pytest.approx(95.0)
    assert next(read_frames(out)).virial is None


# --- shared


def harmonic(rng: np.random.Generator, n: int) -> np.ndarray:
    """A positive definite matrix of force constants (n, n), eV/Å^2."""
    a = rng.normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


def sigma_points(k: np.ndarray) -> np.ndarray:
    """Displacements (2 n, n) whose second moments are those of the Boltzmann distribution."""
    n = len(k)
    root = np.linalg.cholesky(KT * np.linalg.inv(k)) * np.sqrt(n)
    return np.concatenate([root.T, -root.T])


SHARED = {
    "A": {"index": [0, 1, 2], "mass": 5.0},
    "B": {"index": [0, 1, 2], "mass": 7.0},
}
OVERLAP = [{"repeat": "all", "offset": 5, "sites": [["A", 0], ["B", 2]]}]
CHAIN = [(k, k + 1) for k in range(4)]


def moments(sites: SiteMap, k: np.ndarray) -> np.ndarray:
    """<F R^T> of a harmonic molecule over its Boltzmann distribution, exact."""
    place = 20.0 + 2.0 * np.arange(len(k))
    centre = map_frame(frame(np.outer(place, [1, 0, 0]), np.zeros((len(k), 3))), sites).positions
    total = np.zeros((sites.topology.n_sites,) * 2)
    points = sigma_points(k)
    for x in points:
        positions, forces = np.zeros((2, len(k), 3))
        positions[:, 0], forces[:, 0] = place + x, -k @ x
        found = map_frame(frame(positions, forces), sites)
        assert found.forces is not None
        total += np.outer(found.forces[:, 0], (found.positions - centre)[:, 0])
    return total / len(points)


def test_forces_of_sites_that_share_an_atom(rng: np.random.Generator) -> None:
    """The mean force is the gradient of the potential of mean force (Noid et al. 2008).

    In a harmonic molecule both are linear, and ``<F_I R_J> = -k_B T delta_IJ`` holds exactly
    for force maps with ``sum b c = delta``, for no other.
    """
    masses = np.array([12.0, 1.0, 16.0, 14.0, 3.0])
    sites = resolve(spec(SHARED, OVERLAP), topology([5], CHAIN, masses=masses), "m.yaml")
    assert sites.shared.tolist() == [2]
    assert sites.topology.bonds.tolist() == [[0, 1]]
    assert sites.topology.type_masses == (5.0, 7.0)
    np.testing.assert_allclose(sites.groups[0].force_weights, np.array([29, 29, 0]) / 13)
    np.testing.assert_allclose(sites.groups[1].force_weights, np.array([0, 33, 33]) / 17)
    k = harmonic(rng, 5)
    np.testing.assert_allclose(moments(sites, k), -KT * np.eye(2), atol=1e-12)
    plain = tuple(replace(group, force_weights=np.ones(3)) for group in sites.groups)
    off = moments(replace(sites, groups=plain), k)
    assert abs(off[0, 1]) > 0.3 * KT
    assert any("beads weigh 12.000 amu, their atoms 46.000 amu" in note for note in sites.notes)


def test_stated_force_weights_on_shared_atoms(rng: np.random.Generator) -> None:
    """Others may be stated where they too give delta: all on one atom of the site's own."""
    c = [1.0, 1.0, 2.0]
    types = {
        "A": {"index": [0, 1, 2], "mass": 5.0, "x-weight": c, "f-weight": [4.0, 0.0, 0.0]},
        "B": {"index": [0, 1, 2], "mass": 7.0, "x-weight": c[::-1], "f-weight": [0.0, 2.0, 2.0]},
    }
    atoms = topology([5], CHAIN)
    sites = resolve(spec(types, OVERLAP), atoms, "m.yaml")
    np.testing.assert_allclose(moments(sites, harmonic(rng, 5)), -KT * np.eye(2), atol=1e-12)
    types["A"]["f-weight"] = [1.0, 1.0, 1.0]
    with pytest.raises(
        ConfigError, match=r"sites 0 \(A\) and 1 \(B\) share atoms, .* sum to 0.5; expected 0"
    ):
        resolve(spec(types, OVERLAP), atoms, "m.yaml")
    types["A"]["f-weight"] = [2.0, 0.0, 0.0]
    with pytest.raises(ConfigError, match=r"A.f-weight'.*sum of b c is 0.5; expected 1"):
        resolve(spec(types, OVERLAP), atoms, "m.yaml")


def test_sites_without_an_atom_of_their_own() -> None:
    blocks = [{"repeat": "all", "offset": 5, "sites": [["A", 0], ["B", 2], ["C", 1]]}]
    types = {**SHARED, "C": {"index": [0, 1, 2], "mass": 1.0}}
    with pytest.raises(
        ConfigError, match=r"site 2 \(C, molecule 0\) shares all of its atoms \[1, 2, 3\] .*"
    ):
        resolve(spec(types, blocks), topology([5], CHAIN), "m.yaml")
    light = {
        "A": {"index": [0, 1, 2], "mass": 5.0, "x-weight": [0.0, 0.0, 1.0]},
        "B": {"index": [0, 1, 2], "mass": 7.0},
    }
    with pytest.raises(ConfigError, match=r"A.f-weight'.*sum of b c is 0; expected 1"):
        resolve(spec(light, OVERLAP), topology([5], CHAIN), "m.yaml")
    bare = {name: {"index": [0, 1, 2]} for name in "AB"}
    with pytest.raises(ConfigError, match=r"A.mass'.*would count in the mass of each"):
        resolve(spec(bare, OVERLAP), topology([5], CHAIN), "m.yaml")


def test_virial_of_sites_that_share_atoms() -> None:
    atoms = topology([5], CHAIN)
    sites = resolve(spec(SHARED, OVERLAP), atoms, "m.yaml")
    assert virial_form(sites, atoms, "auto", Path("m.yaml"))[0] == "dof"
    with pytest.raises(ConfigError, match=r"1 atoms are shared by sites \(atom 2\).*--virial dof"):
        virial_form(sites, atoms, "exact", Path("m.yaml"))
    unknown = replace(atoms, constraints=None, forces_hold_constraints=True)
    with pytest.raises(ConfigError, match="their number enters the virial of sites that share"):
        virial_form(resolve(spec(SHARED, OVERLAP), unknown, "m.yaml"), unknown, "auto", Path("m"))


def test_constraints_and_shared_atoms() -> None:
    """Equal weights in every site: 0 and 1 have them, 1 and the shared 2 do not."""
    good = topology([5], CHAIN, constraints=np.array([[0, 1], [3, 4]]))
    assert resolve(spec(SHARED, OVERLAP), good, "m.yaml").n_constraints == 2
    bad = topology([5], CHAIN, constraints=np.array([[0, 1], [1, 2]]))
    with pytest.raises(ConfigError, match="atoms 1 and 2 are joined by a rigid constraint"):
        resolve(spec(SHARED, OVERLAP), bad, "m.yaml")


def test_sites_in_a_row_share_their_ends(rng: np.random.Generator) -> None:
    """Bonds between sites and within them, with every third atom in two sites."""
    made = make_chains(rng, "triclinic", molecules=3, size=4)
    atoms = topology([7] * 3, [(7 * m + k, 7 * m + k + 1) for m in range(3) for k in range(6)])
    types = {"A": {"index": [0, 1, 2, 3], "mass": 1.0, "x-weight": [1.0] * 4}}
    blocks = [{"repeat": "all", "offset": 7, "sites": [["A", 0], ["A", 3]]}]
    sites = resolve(spec(types, blocks), atoms, "m.yaml")
    assert sites.topology.bonds.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert sites.bonds is not None
    assert [len(rows) for rows in sites.bonds] == [9, 9]  # two kinds of force weights
    for group, rows in zip(sites.groups, sites.bonds, strict=True):
        ends = np.sort(group.atoms[rows[:, :1], rows[:, 1:]], axis=1)
        assert (ends[:, 1] - ends[:, 0] == 1).all()
    assert made.n == 12


# --- massless


def tip4p(rng: np.random.Generator, n: int = 4) -> tuple[AtomTopology, AtomFrame]:
    """Waters O, H, H, M; forces on M spread linearly over the three atoms."""
    pairs = np.array(
        [[4 * m + a, 4 * m + b] for m in range(n) for a, b in ((0, 1), (0, 2), (1, 2))]
    )
    atoms = topology(
        [4] * n,
        [(4 * m, 4 * m + k) for m in range(n) for k in (1, 2)],
        masses=np.array([16.0, 1.0, 1.0, 0.0] * n),
        constraints=pairs,
    )
    x = rng.uniform(5, 30, (n, 1, 3)) + rng.normal(scale=0.4, size=(n, 4, 3))
    a = 0.128
    x[:, 3] = x[:, 0] + a * (x[:, 1] - x[:, 0]) + a * (x[:, 2] - x[:, 0])
    f = rng.normal(size=(n, 4, 3))
    spread = f.copy()
    for k, w in enumerate((1 - 2 * a, a, a)):
        spread[:, k] += w * f[:, 3]
    spread[:, 3] = 0.0
    made = frame(x.reshape(-1, 3), spread.reshape(-1, 3))
    made.velocities = rng.normal(size=(4 * n, 3))
    return atoms, made


WATER = {"W": {"index": [0, 1, 2, 3]}}
WATERS = [{"repeat": "all", "offset": 4, "sites": [["W", 0]]}]


def test_massless_atoms(rng: np.random.Generator) -> None:
    atoms, made = tip4p(rng)
    sites = resolve(spec(WATER, WATERS), atoms, "m.yaml")
    np.testing.assert_allclose(
        sites.groups[0].position_weights, np.array([16.0, 1.0, 1.0, 0.0]) / 18.0
    )
    assert sites.topology.type_masses == (18.0,)
    assert internal_dof(sites) == 4 * (9 - 3 - 3)
    found = map_frame(made, sites)
    assert found.forces is not None
    np.testing.assert_allclose(found.forces.sum(axis=0), made.forces.sum(axis=0), atol=1e-12)
    x = made.positions.reshape(4, 4, 3)
    np.testing.assert_allclose(
        found.positions, np.einsum("k,nkx->nx", np.array([16.0, 1.0, 1.0]) / 18.0, x[:, :3])
    )
    bare = AtomFrame(0, 0, 0.0, x[:, :3].reshape(-1, 3), np.zeros((12, 3)), made.cell)
    bare.velocities = made.velocities.reshape(4, 4, 3)[:, :3].reshape(-1, 3)  # type: ignore[union-attr]
    three = topology([3] * 4, [], masses=np.array([16.0, 1.0, 1.0] * 4))
    plain = resolve(
        spec({"W": {"index": [0, 1, 2]}}, [{"repeat": "all", "offset": 3, "sites": [["W", 0]]}]),
        three,
        "m.yaml",
    )
    assert site_temperature(made, sites, atoms.masses) == pytest.approx(  # type: ignore[arg-type]
        site_temperature(bare, plain, three.masses)  # type: ignore[arg-type]
    )


def test_forces_that_were_not_spread(rng: np.random.Generator) -> None:
    """One site has the same sum either way; of several the sum would miss a part."""
    atoms, made = tip4p(rng)
    made.forces[3] = [0.1, 0.0, 0.0]
    one = resolve(spec(WATER, WATERS), atoms, "m.yaml")
    found = map_frame(made, one).forces
    assert found is not None
    np.testing.assert_allclose(found.sum(axis=0), made.forces.sum(axis=0), atol=1e-12)
    free = replace(atoms, constraints=np.zeros((0, 2), dtype=np.int64))
    types = {"O": {"index": [0, 3]}, "H": {"index": [0]}}
    sites = [{"repeat": "all", "offset": 4, "sites": [["O", 0], ["H", 1], ["H", 2]]}]
    several = resolve(spec(types, sites), free, "m.yaml")
    with pytest.raises(DataError, match=r"massless atom 3 has a force of \[0.1, 0.0, 0.0\]"):
        map_frame(made, several)
    made.forces[3] = 0.0
    total = map_frame(made, several).forces
    assert total is not None
    np.testing.assert_allclose(total.sum(axis=0), made.forces.sum(axis=0), atol=1e-12)


def test_a_site_of_virtual_sites_alone(rng: np.random.Generator) -> None:
    atoms, _ = tip4p(rng)
    types = {"W": {"index": [0, 1, 2]}, "M": {"index": [0]}}
    blocks = [{"repeat": "all", "offset": 4, "sites": [["W", 0], ["M", 3]]}]
    with pytest.raises(ConfigError, match=r"site-types.M'.*atoms \[3\] of a site have no mass"):
        resolve(spec(types, blocks), atoms, "m.yaml")


@pytest.mark.gromacs
def test_gromacs_spreads_the_forces_of_tip4p(tmp_path: Path) -> None:
    """A .trr holds zero on M, the sites have the total force, and the pressure is the engine's."""
    gmx = shutil.which("gmx")
    if gmx is None:
        pytest.skip("gmx is not on the PATH")
    top = Path(gmx).resolve().parents[1] / "share" / "gromacs" / "top"
    if not (top / "tip4p.gro").is_file():
        pytest.skip("this GROMACS has no tip4p.gro")
    (tmp_path / "topol.top").write_text(
        '#include "oplsaa.ff/forcefield.itp"\n#include "oplsaa.ff/tip4p.itp"\n'
        "[ system ]\ntip4p\n[ molecules ]\nSOL 216\n"
    )
    (tmp_path / "run.mdp").write_text(
        "integrator = md\ndt = 0.002\nnsteps = 300\nnstxout = 10\nnstfout = 10\nnstenergy = 10\n"
        "nstvout = 10\nnstcalcenergy = 10\nrlist = 0.85\nrcoulomb = 0.85\nrvdw = 0.85\n"
        "coulombtype = PME\ntcoupl = v-rescale\ntc-grps = System\ntau-t = 0.1\nref-t = 300\n"
        "gen-vel = yes\ngen-temp = 300\ngen-seed = 1\nconstraints = none\n"
    )
    for words in (
        ["grompp", "-f", "run.mdp", "-c", top / "tip4p.gro", "-p", "topol.top", "-maxwarn", "5"],
        ["mdrun", "-nt", "1"],
    ):
        done = subprocess.run(
            [gmx, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    run = open_system(tmp_path / "topol.tpr", tmp_path / "traj.trr", tmp_path / "ener.edr")
    mapping = tmp_path / "m.yaml"
    mapping.write_text(yaml.safe_dump({"site-types": WATER, "system": WATERS, "temperature": 300}))
    sites = resolve(
        validate(MappingSpec, yaml.safe_load(mapping.read_text())), run.topology, mapping
    )
    assert sites.n_constraints == 3 * 216
    assert run.topology.charges is not None
    assert run.topology.charges[:4] == pytest.approx([0.0, 0.52, 0.52, -1.04], abs=1e-6)
    for atoms in run.trajectory:
        assert not atoms.forces[3::4].any()
        found = map_frame(atoms, sites).forces
        assert found is not None
        np.testing.assert_allclose(found.sum(axis=0), atoms.forces.sum(axis=0), atol=1e-9)
    # raises where the pressures of labels and engine differ
    result = map_trajectory(
        mapping, run.topology, run.trajectory, run.thermo, tmp_path / "w.extxyz",
        MapOptions(quiet=True),
    )  # fmt: skip
    assert result.virial == "dof"
    assert result.n_frames > MIN_SAMPLES
    assert result.check.agrees


# --- charges


def test_charges_of_beads() -> None:
    charges = np.array([-0.18, 0.06, 0.06, 0.5, -0.50000001, 1.0, 0.0])
    atoms = topology([5, 2], [(0, 1), (1, 2), (2, 3), (3, 4), (5, 6)], charges=charges)
    types = {
        "A": {"index": [0, 1, 2], "charge": "sum"},
        "N": {"index": [0, 1], "charge": "sum"},
        "I": {"index": [0, 1], "charge": 0.8},
    }
    blocks = [
        {"repeat": 1, "offset": 5, "sites": [["A", 0], ["N", 3]]},
        {"anchor": 5, "repeat": 1, "offset": 2, "sites": [["I", 0]]},
    ]
    sites = resolve(spec(types, blocks), atoms, "m.yaml")
    assert sites.topology.type_charges == (-0.06, 0.0, 0.8)
    np.testing.assert_allclose(sites.topology.charges, [-0.06, 0.0, 0.8])
    plain = {name: {"index": kind["index"]} for name, kind in types.items()}
    assert not any(resolve(spec(plain, blocks), atoms, "m.yaml").topology.type_charges)
    with pytest.raises(InputError, match=r"a.tpr: the topology holds no charges to sum for site"):
        resolve(spec(types, blocks), replace(atoms, charges=None), "m.yaml")
    same = [
        {"repeat": 1, "offset": 5, "sites": [["A", 0], ["N", 3]]},
        {"anchor": 5, "repeat": 1, "offset": 2, "sites": [["N", 0]]},
    ]
    alike = replace(atoms, masses=np.ones(7))
    with pytest.raises(InputError, match=r"'N' has sites of charge -0.0000 to 1.0000 e"):
        resolve(spec({k: types[k] for k in "AN"}, same), alike, "m.yaml")
    shared = {name: {**kind, "charge": "sum"} for name, kind in SHARED.items()}
    five = topology([5], CHAIN, charges=np.zeros(5))
    with pytest.raises(ConfigError, match=r"A.charge'.*charges of shared atoms in each site"):
        resolve(spec(shared, OVERLAP), five, "m.yaml")
    with pytest.raises(ConfigError, match="charge"):
        spec({"A": {"index": [0], "charge": "much"}}, WATERS)
