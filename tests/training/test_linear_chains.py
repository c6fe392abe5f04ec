# SPDX-License-Identifier: GPL-2.0-or-later
"""Angles and dihedrals of MS-CG: rows, known potentials from LAMMPS's own styles, deployment."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from dataclasses import replace

import chain_systems as chain
import numpy as np
import pytest
from linear_systems import check_derivatives, lammps_point

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.units import KJ_MOL
from cgpot.deploy.deployment import deploy
from cgpot.ensemble.linear_mean import mean_mscg
from cgpot.formats.lammps.bonded_sections import sections_of
from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pairs import half_list
from cgpot.potential.angles import AngleBasis
from cgpot.potential.connectivity import (
    Exclusions,
    angle_sites,
    bond_sites,
    dihedral_sites,
    separated,
)
from cgpot.potential.dihedrals import DihedralBasis
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.training.linear.mscg import MSCGPotential, fit_mscg
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return chain.sample(tmp_path_factory.mktemp("chains"), 60, every=150)


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    write_frames(folder / "train.extxyz", frames)
    write_frames(folder / "val.extxyz", frames[:4])
    (folder / "train.yaml").write_text(
        "data: {train: train.extxyz, val: val.extxyz}\nsystem: {temperature: 300}\n"
        "model: {type: mscg, cutoff: 9.0, spacing: 0.1, smooth: 1.0e-9, "
        "bonds: {between: chain, spacing: 0.1}, angles: {}, dihedrals: {}}\n"
    )
    train(load_config(folder / "train.yaml"), folder / "out", quiet=True)
    deploy(folder / "out", folder / "deployed", quiet=True)
    return folder


def test_rows_are_derivatives_of_the_energy():
    frame = chain.chains()
    for part in chain.terms(frame).parts.values():
        check_derivatives(part, frame)


def test_forces_stay_finite_in_straight_and_folded_angles():
    topology = Topology(("A",), (1.0,), np.zeros(3, int), np.zeros(3, int))
    basis = AngleBasis(topology, np.array([[0, 1, 2]]), 10.0, chain.KT)
    c = np.random.default_rng(0).normal(size=basis.size)
    largest = []
    for angle in (0.0, 1e-9, 1e-4, np.pi - 1e-4, np.pi - 1e-9, np.pi):
        arm = 2.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
        positions = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], arm]) + 1.0
        rows = basis.rows(CGFrame(topology, positions, 20.0 * np.eye(3)))
        largest.append(np.abs(rows.forces @ c).max())
    # u' vanishes as its argument does: no force at the ends, and none that jumps
    assert np.all(np.isfinite(largest))
    assert max(largest) < 0.05
    assert max(largest[k] for k in (0, 1, 4, 5)) < 1e-5
    assert basis.evaluate(c, 0, np.array([0.0, np.pi]))[1] == pytest.approx([0, 0], abs=1e-12)


def test_dihedrals_are_periodic_and_finite():
    topology = Topology(("A",), (1.0,), np.zeros(4, int), np.zeros(4, int))
    basis = DihedralBasis(topology, np.array([[0, 1, 2, 3]]), 30.0, chain.KT)
    c = np.random.default_rng(0).normal(size=basis.size)
    q = np.array([-np.pi, np.pi, np.pi - 1e-9, 3 * np.pi + 0.3, np.pi + 0.3])
    u, slope = basis.evaluate(c, 0, q)
    assert u[0] == pytest.approx(u[1])
    assert slope[2] == pytest.approx(slope[0], abs=1e-6)
    assert (u[3], slope[3]) == pytest.approx((u[4], slope[4]))
    line = np.array([[0, 0, 0], [2, 0, 0], [4, 0, 0], [5, 1, 1]], dtype=float)
    rows = basis.rows(CGFrame(topology, line, 20.0 * np.eye(3)))
    assert np.isfinite(rows.forces).all()
    assert np.isfinite(rows.virial).all()


def test_potentials_of_lammps_styles_are_found(trained):
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    result = read_json(trained / "out" / "result.json")
    assert result["force_rmse"] < 0.01 * result["force_label_rms"]
    for kind, (k, r0) in enumerate(chain.BOND.values()):
        r = np.arange(r0 - 0.2, r0 + 0.2, 0.02)
        found = potential.bonds.evaluate(potential.part("bond"), kind, r)[1]
        np.testing.assert_allclose(found, 2 * k * (r - r0), atol=0.002)
    for kind, (k, degrees) in enumerate(chain.ANGLE.values()):
        theta = np.radians(np.arange(degrees - 25, degrees + 25, 2.0))
        found = potential.angles.evaluate(potential.part("angle"), kind, theta)[1]
        np.testing.assert_allclose(found, 2 * k * (theta - np.radians(degrees)), atol=0.003)
    phi = np.radians(np.arange(-180.0, 180.0, 3.0))
    found = potential.dihedrals.evaluate(potential.part("dihedral"), 0, phi)[1]
    expected = -sum(k * n * np.sin(n * phi - np.radians(d)) for k, n, d in chain.DIHEDRAL)
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max() + 0.002)
    # error bars cover the truth, and the CSV holds what the potential says
    rows = np.loadtxt(trained / "out" / "torsion_A-A-B-A.csv", delimiter=",", skiprows=1)
    assert rows[:, 0] == pytest.approx(np.arange(-180.0, 180.5))
    assert np.interp(np.degrees(phi), rows[:, 0], -rows[:, 2]) == pytest.approx(found, abs=1e-6)
    assert (rows[:, 4] > 0).all()
    assert (out := trained / "out" / "bend_A-B-A.csv").is_file()
    assert np.loadtxt(out, delimiter=",", skiprows=1)[:, 1].min() == 0.0


def test_deployed_tables_run_in_lammps_as_the_basis(trained, frames, tmp_path):
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    include = trained / "deployed" / "model.pair.lmp"
    text = include.read_text()
    for line in (
        "special_bonds lj/coul 0.0 0.0 0.0",
        "angle_coeff 2 ${pair_folder}/model.bend A-B-A",
        "dihedral_coeff 1 ${pair_folder}/model.torsion A-A-B-A",
    ):
        assert line in text
    offsets = []
    for number in (3, 40):
        frame = frames[number]
        energy, forces, virial = lammps_point(
            tmp_path / f"{number}", frame, include, potential.bonded
        )
        ours = potential.labels(frame)
        np.testing.assert_allclose(forces, ours[0], atol=2e-5 * np.abs(ours[0]).max())
        np.testing.assert_allclose(virial, ours[1], atol=2e-5 * np.abs(ours[1]).max())
        offsets.append(energy - ours[2])  # bonded tables are zero at their lowest point
    assert offsets[0] == pytest.approx(offsets[1], abs=2e-5 * abs(ours[2]))
    # the forces of the fit are those that the frames were labelled with, in LAMMPS too
    assert np.sqrt(np.mean((forces - frame.forces) ** 2)) < 0.01 * np.std(frame.forces)


def test_sidecar_names_the_terms(trained):
    bonded = read_json(trained / "deployed" / "model.cgpot.json")["bonded"]
    assert bonded["types"] == {
        "bonds": ["A-A", "A-B"],
        "angles": ["A-A-B", "A-B-A"],
        "dihedrals": ["A-A-B-A"],
    }
    assert bonded["special_bonds"] == [0.0, 0.0, 0.0]
    molecule = bonded["molecules"]["A-B-A-A"]
    assert molecule["bonds"] == [[2, 0, 1], [2, 1, 2], [1, 2, 3]]
    assert sorted(molecule["angles"]) == [[1, 1, 2, 3], [2, 0, 1, 2]]
    assert molecule["dihedrals"] == [[1, 0, 1, 2, 3]]


def test_each_exclusion_is_that_of_special_bonds(frames, tmp_path):
    for bonds, angles, dihedrals in ((True, False, False), (False, True, True)):
        config = chain.model(
            spacing=0.5,
            bonds={"between": "chain", "exclude": bonds},
            angles={"exclude": angles},
            dihedrals={"exclude": dihedrals},
        )
        potential, _ = fit_mscg(config, frames[:30], 300.0, quiet=True)
        folder = tmp_path / f"{bonds}"
        folder.mkdir()
        commands = write_for_lammps(folder, potential).commands
        include = folder / "pair.lmp"
        include.write_text("\n".join([f"variable pair_folder index {folder}", *commands]) + "\n")
        _, forces, virial = lammps_point(folder, frames[2], include, potential.bonded)
        ours = potential.labels(frames[2])
        np.testing.assert_allclose(forces, ours[0], atol=1e-4 * np.abs(ours[0]).max())
        np.testing.assert_allclose(virial, ours[1], atol=1e-4 * np.abs(ours[1]).max())


def test_angles_and_dihedrals_along_bonds():
    branched = np.array([[0, 1], [1, 2], [1, 3], [3, 4]])
    assert angle_sites(branched).tolist() == [[0, 1, 2], [0, 1, 3], [2, 1, 3], [1, 3, 4]]
    assert dihedral_sites(branched).tolist() == [[0, 1, 3, 4], [2, 1, 3, 4]]
    ring = np.array([[0, 1], [1, 2], [0, 2]])
    assert len(angle_sites(ring)) == 3
    assert len(dihedral_sites(ring)) == 0
    assert separated(branched, (2,)).tolist() == [[0, 2], [0, 3], [1, 4], [2, 3]]
    assert separated(branched, (3,)).tolist() == [[0, 4], [2, 4]]
    assert len(separated(ring, (2, 3))) == 0


def test_only_the_nearest_image_is_excluded():
    topology = Topology(("A",), (1.0,), np.zeros(2, int), np.zeros(2, int))
    frame = CGFrame(topology, np.array([[0.5, 0, 0], [2.0, 0, 0]]), np.diag([6.0, 20.0, 20.0]))
    pairs = half_list(frame, 5.0)
    assert len(pairs.i) == 2
    mask = Exclusions(frame.topology, np.array([[0, 1]]))(frame, pairs)
    assert pairs.distance[mask] == pytest.approx([1.5])


def test_explicit_terms(frames):
    config = chain.model(
        bonds={"between": [[0, 1], [1, 2], [2, 3]]},
        angles={"between": {"A-B-A-A": [[2, 1, 0]]}},
        dihedrals={"between": [[3, 2, 1, 0]], "types": [["A", "A", "B", "A"]]},
    )
    terms = chain.terms(frames[0], config)
    along = chain.terms(frames[0])
    assert terms.bonds.sites.tolist() == along.bonds.sites.tolist()
    assert terms.angles.sites[0].tolist() == [0, 1, 2]
    assert len(terms.angles.sites) == 1  # once for the species
    assert len(terms.angles.terms_on(frames[0])[0]) == 27
    assert terms.dihedrals.sites.tolist() == along.dihedrals.sites.tolist()
    only = chain.terms(frames[0], chain.model(angles={"types": [["B", "A", "A"]]}))
    assert [only.angles.kind_name(k) for k in range(only.angles.n_kinds)] == ["A-A-B"]


def two_molecules():
    topology = Topology(
        ("A", "B"), (1.0, 2.0), np.array([0, 1, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 2])
    )
    positions = np.array([[0, 0, 0], [2, 0, 0], [3, 2, 0], [8, 0, 0], [8, 2, 0], [4, 8, 8]])
    return CGFrame(topology, positions.astype(float), 12.0 * np.eye(3))


def test_molecules_that_differ():
    frame = two_molecules()
    config = chain.model(cutoff=5.0, bonds={"between": {"A-B-A": [[0, 1], [1, 2]]}}, dihedrals=None)
    terms = chain.terms(frame, config)
    assert terms.bonds.sites.tolist() == [[2, 3], [3, 4]]  # of A-A, A-B-A, B
    assert terms.bonds.terms_on(frame)[0].tolist() == [[0, 1], [1, 2]]
    record = terms.deployed()
    assert record["molecules"]["A-A"] == {}
    assert record["molecules"]["A-B-A"]["angles"] == [[1, 0, 1, 2]]
    found = sections_of(record, frame.topology, "m.cgpot.json", "start")
    assert found.terms["angles"].tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"bonds": {"between": [[0, 4]]}}, r"2 different sites from 0 to 3 of A-B-A-A, found \[0"),
        ({"bonds": {"between": [[1, 1]]}}, r"2 different sites .* found \[1, 1\]"),
        ({"bonds": {"between": {"A-A": [[0, 1]]}}}, "no molecule is of species 'A-A'"),
        ({"angles": {"types": [["A", "C", "A"]]}}, "unknown bead type 'C'"),
        ({"angles": {"types": [["B", "B", "B"]]}}, "no angle B-B-B is among the 2 angles"),
        ({"dihedrals": {"types": [["B", "A", "A", "B"]]}}, "no dihedral B-A-A-B is among the 1 "),
        (
            {"bonds": {"types": [["A", "A"]], "between": "chain"}, "dihedrals": None},
            "angles were asked for, but no molecule has 3 sites in a row",
        ),
    ],
)
def test_terms_that_the_molecules_lack(sections, message):
    with pytest.raises(ConfigError, match=message):
        chain.terms(chain.chains(), chain.model(**sections))


def test_one_list_for_molecules_that_differ():
    with pytest.raises(
        ConfigError, match=r"one list for molecules of different beads or bonds \(A-A, A-B"
    ):
        chain.terms(two_molecules(), chain.model(bonds={"between": [[0, 1]]}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("angles: {}", "angles follow the bonds, but bonds is null"),
        ("bonds: {}, dihedrals: {}", "dihedrals follow the bonds, but bonds join every pair"),
        ("angles: {between: [[0, 1, 2]]}", "angles.exclude counts along bonds, as LAMMPS does"),
        ("bonds: {between: ring}", "bonds.between"),
        ("bonded: inversion", "bonded is 'inversion', but bonds is null"),
        ("bonds: {between: chain}, angles: {spacing: 60}", "angles.spacing"),
        (
            "bonds: {between: chain, exclude: false}, angles: {}, three_body: {}",
            "three_body and angles with exclude cannot be deployed together",
        ),
    ],
)
def test_sections_that_do_not_fit(tmp_path, sections, message):
    write_frames(tmp_path / "train.extxyz", [chain.chains()])
    shutil.copy(tmp_path / "train.extxyz", tmp_path / "val.extxyz")
    (tmp_path / "train.yaml").write_text(
        "data: {train: train.extxyz, val: val.extxyz}\nsystem: {temperature: 300}\n"
        f"model: {{type: mscg, {sections}}}\n"
    )
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "train.yaml")


def test_frames_of_other_sites(frames):
    """Terms are those of species: any number of their molecules, in any order of the sites."""
    potential, _ = fit_mscg(chain.model(spacing=0.5), frames[:30], 300.0, quiet=True)
    forces, virial, energy = potential.labels(frames[0])
    topology = frames[0].topology
    order = np.random.default_rng(2).permutation(topology.n_sites)
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    own = [np.sort(moved[m]) for m in topology.members]  # the order within a molecule stays
    for old, new in zip(topology.members, own, strict=True):
        order[new] = old
    mixed = Topology(
        topology.type_names,
        topology.type_masses,
        topology.types[order],
        topology.molecules[order],
    )
    found = potential.labels(
        replace(frames[0], topology=mixed, positions=frames[0].positions[order])
    )
    np.testing.assert_allclose(found[0], forces[order], atol=1e-10)
    np.testing.assert_allclose(found[1], virial, atol=1e-9)
    assert found[2] == pytest.approx(energy)
    assert len(potential.labels(chain.chains(8))[0]) == 32
    other = replace(topology, molecules=np.roll(topology.molecules, 1))
    with pytest.raises(
        DataError, match=r"molecule 0 \(from site 1\) is B-A-A-A .* expected one of"
    ):
        potential.labels(replace(frames[0], topology=other))
    alone = replace(topology, type_names=("B", "A"))
    with pytest.raises(DataError, match=r"excluded pairs expected \['A', 'B'\], in this order"):
        potential.labels(replace(frames[0], topology=alone))


def test_spacings_that_make_no_spline():
    frame = chain.chains()
    with pytest.raises(DataError, match="at least 4 intervals from 0 to 180°, found 3"):
        AngleBasis(frame.topology, np.array([[0, 1, 2]]), 60.0, chain.KT)
    with pytest.raises(DataError, match="at least 4 intervals in 360°, found 3"):
        DihedralBasis(frame.topology, np.array([[0, 1, 2, 3]]), 120.0, chain.KT)


def test_where_no_angle_was_seen_the_well_of_the_cosine_goes_on(trained):
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    angles, c = potential.angles, potential.part("angle")
    for kind in range(angles.n_kinds):
        stiffness, mean = angles.well(kind)
        theta = np.radians(np.arange(10.0, 45.0, 5.0))
        found = angles.evaluate(c, kind, theta)[1]
        expected = -stiffness * (np.cos(theta) - mean) * np.sin(theta)
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05 * np.abs(expected).max())
        assert (found < 0).all()


def test_bonds_in_words_are_pairs_of_the_chain():
    frame = chain.chains()
    assert len(bond_sites(frame.topology, None)) == 27 * 6
    assert len(bond_sites(frame.topology, None, "chain")) == 27 * 3
    assert len(bond_sites(frame.topology, [("A", "A")], "chain")) == 27


def test_md_of_the_deployed_chains(trained, frames, tmp_path):
    """`cgpot md nvt` takes the deployed tables; the chains have the angles of the data."""
    config = MdConfig(
        start=trained / "train.extxyz",
        pair_file=trained / "deployed" / "model.pair.lmp",
        temperature=300.0,
        length_ps=20.0,
        timestep_fs=5.0,
        dump_ps=0.5,
    )
    result = run_md("nvt", config, tmp_path / "nvt", quiet=True)
    assert result["complete"] is True
    assert result["bonded"] == {"bonds": 81, "angles": 54, "dihedrals": 27}
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    ran = list(read_frames(tmp_path / "nvt" / "traj.extxyz.xz"))[10:]
    for part, spread in ((potential.bonds, 0.02), (potential.angles, 0.04)):
        values = [np.concatenate([part.measure(f).value for f in x]) for x in (frames, ran)]
        assert np.mean(values[0]) == pytest.approx(np.mean(values[1]), abs=spread)
        assert np.std(values[0]) == pytest.approx(np.std(values[1]), rel=0.15)


VOTCA_TOPOLOGY = """<topology base="sites.gro">
  <molecules><clear/><define name="MOL" first="1" nbeads="4" nmols="27"/></molecules>
</topology>
"""
VOTCA_MAP = """<cg_molecule>
  <name>MOL</name><ident>MOL</ident>
  <topology>
    <cg_beads>
      <cg_bead><name>A1</name><type>A</type><mapping>M</mapping><beads>1:MOL:A1</beads></cg_bead>
      <cg_bead><name>B1</name><type>B</type><mapping>M</mapping><beads>1:MOL:B1</beads></cg_bead>
      <cg_bead><name>A2</name><type>A</type><mapping>M</mapping><beads>1:MOL:A2</beads></cg_bead>
      <cg_bead><name>A3</name><type>A</type><mapping>M</mapping><beads>1:MOL:A3</beads></cg_bead>
    </cg_beads>
    <cg_bonded>
      <bond><name>ab</name><beads>A1 B1 B1 A2</beads></bond>
      <bond><name>aa</name><beads>A2 A3</beads></bond>
      <angle><name>aba</name><beads>A1 B1 A2</beads></angle>
      <angle><name>baa</name><beads>B1 A2 A3</beads></angle>
      <dihedral><name>torsion</name><beads>A1 B1 A2 A3</beads></dihedral>
    </cg_bonded>
  </topology>
  <maps><map><name>M</name><weights>1</weights></map></maps>
</cg_molecule>
"""


def votca_settings(parts):
    """Options of csg_fmatch: bonded name or pair of types -> lowest, highest, step."""
    text = ""
    for name, (low, high, step) in parts.items():
        tag, types = "bonded", ""
        if isinstance(name, tuple):
            tag, types = "non-bonded", f"<type1>{name[0]}</type1><type2>{name[1]}</type2>"
            name = "-".join(name)
        text += (
            f"<{tag}><name>{name}</name>{types}<fmatch><min>{low}</min><max>{high}</max>"
            f"<step>{step}</step><out_step>{step / 2}</out_step></fmatch></{tag}>"
        )
    return (
        f"<cg>{text}<fmatch><frames_per_block>30</frames_per_block>"
        "<constrainedLS>false</constrainedLS></fmatch></cg>"
    )


@pytest.mark.votca
@pytest.mark.skipif(shutil.which("csg_fmatch") is None, reason="csg_fmatch is not on the PATH")
def test_angles_and_dihedrals_are_those_of_votca(trained, frames, tmp_path):
    """csg_fmatch on the same frames: nm, kJ/mol and radians; a force of an angle is -du/dtheta."""
    mda = pytest.importorskip("MDAnalysis")
    n = frames[0].topology.n_sites
    universe = mda.Universe.empty(
        n, n_residues=27, atom_resindex=np.repeat(np.arange(27), 4), trajectory=True, forces=True
    )
    universe.add_TopologyAttr("names", ["A1", "B1", "A2", "A3"] * 27)
    universe.add_TopologyAttr("resnames", ["MOL"] * 27)
    with warnings.catch_warnings(), mda.Writer(str(tmp_path / "sites.trr"), n_atoms=n) as writer:
        warnings.simplefilter("ignore")
        for number, frame in enumerate(frames):
            universe.dimensions = [*np.diagonal(frame.cell), 90.0, 90.0, 90.0]
            universe.atoms.positions = frame.positions
            universe.atoms.forces = frame.forces / KJ_MOL
            universe.trajectory.ts.time = float(number)
            writer.write(universe.atoms)
            if number == 0:
                universe.atoms.write(str(tmp_path / "sites.gro"))
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    range_of = {}
    for name, part in potential.bonded.parts.items():
        q = np.concatenate([part.measure(f).value for f in frames])
        kind = np.tile(part.kind, len(frames))
        range_of[name] = [(q[kind == k].min(), q[kind == k].max()) for k in range(part.n_kinds)]
    parts = {
        "aa": (*(x / 10 for x in range_of["bond"][0]), 0.01),
        "ab": (*(x / 10 for x in range_of["bond"][1]), 0.01),
        "baa": (*range_of["angle"][0], 0.09),
        "aba": (*range_of["angle"][1], 0.09),
        "torsion": (-np.pi, np.pi, np.pi / 18),
        ("A", "A"): (0.33, 0.9, 0.02),
        ("A", "B"): (0.33, 0.9, 0.02),
        ("B", "B"): (0.36, 0.9, 0.02),
    }
    (tmp_path / "topology.xml").write_text(VOTCA_TOPOLOGY)
    (tmp_path / "map.xml").write_text(VOTCA_MAP)
    (tmp_path / "fmatch.xml").write_text(votca_settings(parts))
    done = subprocess.run(
        [
            *("csg_fmatch", "--top", "topology.xml", "--trj", "sites.trr"),
            *("--cg", "map.xml", "--options", "fmatch.xml"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    # where the data lie thick: at the ends of its range VOTCA's spline sees next to nothing
    for file, name, kind in (("baa", "angle", 0), ("aba", "angle", 1), ("torsion", "dihedral", 0)):
        part = potential.bonded.parts[name]
        q = np.concatenate([part.measure(f).value for f in frames])
        low, high = np.quantile(q[np.tile(part.kind, len(frames)) == kind], [0.02, 0.98])
        table = np.genfromtxt(tmp_path / f"{file}.force", usecols=(0, 1))
        q, force = table[(table[:, 0] > low) & (table[:, 0] < high)].T
        ours = -part.evaluate(potential.part(name), kind, q)[1]
        difference = ours - force * KJ_MOL
        assert len(q) > 8
        assert np.sqrt(np.mean(difference**2)) < 0.05 * np.sqrt(np.mean(ours**2))
        assert np.abs(difference).max() < 0.1 * np.abs(ours).max()


def test_explicit_angles_need_no_bonds(frames, tmp_path):
    config = chain.model(
        spacing=0.5,
        bonds=None,
        dihedrals=None,
        angles={"between": [[0, 1, 2], [1, 2, 3]], "exclude": False},
    )
    potential, _ = fit_mscg(config, frames[:20], 300.0, quiet=True)
    commands = write_for_lammps(tmp_path, potential).commands
    assert "special_bonds lj/coul 1.0 1.0 1.0" in commands
    include = tmp_path / "pair.lmp"
    include.write_text("\n".join([f"variable pair_folder index {tmp_path}", *commands]) + "\n")
    _, forces, _ = lammps_point(tmp_path, frames[2], include, potential.bonded)
    ours = potential.labels(frames[2])[0]
    np.testing.assert_allclose(forces, ours, atol=1e-4 * np.abs(ours).max())


def test_potentials_are_read_as_written(trained, frames, tmp_path):
    path = trained / "out" / "mscg.json"
    potential = MSCGPotential.read(path)
    potential.labels(frames[0])  # frames seen after the fit leave no trace
    again = MSCGPotential.read(potential.write(tmp_path / "mscg.json"))
    assert (tmp_path / "mscg.json").read_text() == path.read_text()
    np.testing.assert_array_equal(again.labels(frames[1])[0], potential.labels(frames[1])[0])


def test_potentials_written_before_there_were_angles(frames, tmp_path):
    config = chain.model(spacing=0.5, bonds={"types": [["A", "B"]]}, angles=None, dihedrals=None)
    potential, _ = fit_mscg(config, frames[:20], 300.0, quiet=True)
    record = read_json(potential.write(tmp_path / "mscg.json"))
    sites = record.pop("sites")
    for key in ("excluded", "angles", "dihedrals"):
        record.pop(key)
    del record["bonds"]["terms"]
    record["bonds"] |= {
        "types": [["A", "B"]],
        "exclude": True,
        "site_types": sites["types"],
        "site_molecules": sites["molecules"],
    }
    old = MSCGPotential.read(write_json(tmp_path / "old.json", record))
    np.testing.assert_array_equal(old.labels(frames[3])[0], potential.labels(frames[3])[0])
    assert old.excluded == (1,)


def test_the_mean_of_members_is_that_of_their_potentials(trained, frames, tmp_path):
    potential = MSCGPotential.read(trained / "out" / "mscg.json")
    folders = [tmp_path / f"member.{k}" for k in range(2)]
    for k, folder in enumerate(folders):
        folder.mkdir()
        c = potential.coefficients * (1.0 + k)
        replace(potential, coefficients=c).write(folder / "mscg.json")
    mean = mean_mscg(folders).labels(frames[0])
    expected = potential.labels(frames[0])
    np.testing.assert_allclose(mean[0], 1.5 * expected[0], atol=1e-10)
    np.testing.assert_allclose(mean[1], 1.5 * expected[1], atol=1e-9)
    replace(potential, excluded=(1,)).write(folders[1] / "mscg.json")
    with pytest.raises(InputError, match=r"list of bonded terms is .*excluded: 1-2, that of mem"):
        mean_mscg(folders)


def test_dihedrals_cross_a_gap_without_slope():
    """Where nothing was seen the slope is drawn to zero, with the weight of sampled terms."""
    frame = chain.chains()
    basis = chain.terms(frame).dihedrals
    basis.observe(frame)
    matrix, vector = basis.anchors()
    assert not vector.any()
    assert np.abs(matrix @ np.ones(basis.size)).max() < 1e-12 * np.abs(matrix).max()
    seen = basis.locate(basis.measure(frame).value)[0]
    gap = np.setdiff1d(np.arange(basis.intervals), seen)
    c = np.random.default_rng(0).normal(size=basis.size)
    slopes = basis.evaluate(c, 0, basis.centres(gap))[1]
    assert c @ matrix @ c == pytest.approx(basis.wall_weight(0) * np.sum(slopes**2))
