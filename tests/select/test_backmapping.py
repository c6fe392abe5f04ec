# SPDX-License-Identifier: GPL-2.0-or-later
"""Atoms at the sites of CG frames, for molecules of any kind."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backmap_systems import BENZENE, CHAIN, apart, benzenes, chains, mapped, write_gro
from scipy.spatial.transform import Rotation

from cgpot.core.errors import ConfigError, InputError
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import Topology
from cgpot.select.backmap import axial_rotation, backmap, kabsch
from cgpot.select.conformations import read_structure, tree, whole


def structure_of(folder: Path, mapping: str, positions, cell, sizes, **more):
    (folder / "map.yaml").write_text(mapping)
    gro = write_gro(folder / "conf.gro", positions, cell, sizes)
    return read_structure(gro, folder / "map.yaml", **more)


@pytest.fixture
def benzene(tmp_path: Path):
    frame, atoms = benzenes()
    return frame, structure_of(tmp_path, BENZENE, atoms, frame.cell, [12] * 27)


@pytest.mark.parametrize("points", [3, 4, 9])
def test_rotations_are_those_of_scipy_and_mdanalysis(rng, points: int) -> None:
    from MDAnalysis.analysis.align import rotation_matrix

    fixed = rng.normal(size=(points, 3))
    moving = fixed @ Rotation.random(random_state=rng).as_matrix() + 0.1 * rng.normal(
        size=(points, 3)
    )
    fixed, moving = fixed - fixed.mean(axis=0), moving - moving.mean(axis=0)
    found = kabsch(moving, fixed)
    expected, distance = Rotation.align_vectors(fixed, moving)
    np.testing.assert_allclose(found.T, expected.as_matrix(), atol=1e-9)
    other, rms = rotation_matrix(moving, fixed)
    np.testing.assert_allclose(found.T, other, atol=1e-6)
    misfit = np.linalg.norm(moving @ found - fixed)
    assert misfit == pytest.approx(distance)
    assert misfit == pytest.approx(rms * np.sqrt(points), rel=1e-5)
    several = kabsch(np.stack([moving, fixed]), fixed)
    np.testing.assert_allclose(several[0], found)
    np.testing.assert_allclose(several[1], np.eye(3), atol=1e-12)


def test_no_mirror_images(rng) -> None:
    fixed = rng.normal(size=(5, 3))
    found = kabsch(fixed * [1, 1, -1], fixed)
    assert np.linalg.det(found) == pytest.approx(1.0)


def test_rotation_about_an_axis(rng) -> None:
    axis = rng.normal(size=3)
    expected = Rotation.from_rotvec(0.7 * axis / np.linalg.norm(axis)).as_matrix()
    np.testing.assert_allclose(axial_rotation(axis, 0.7).T, expected, atol=1e-12)


def test_a_cut_molecule_becomes_whole(rng) -> None:
    """A chain longer than half the box, by its steps alone."""
    cell = np.diag([9.0, 9.0, 9.0])
    cell[1, 0] = 2.0
    chain = np.cumsum(rng.normal(size=(14, 3)), axis=0)
    chain = np.cumsum(
        np.concatenate([[[0, 0, 0]], 1.2 * np.diff(chain, axis=0)
        / np.linalg.norm(np.diff(chain, axis=0), axis=1)[:, None]]), axis=0,
    )  # fmt: skip
    wrapped = chain @ np.linalg.inv(cell)
    wrapped = (wrapped - np.floor(wrapped)) @ cell
    steps = [(k, k + 1) for k in range(13)]
    found = whole(wrapped, cell, steps)
    np.testing.assert_allclose(found - found[0], chain - chain[0], atol=1e-9)
    straight = np.arange(6)[:, None] * np.array([1.3, 0.0, 0.0])
    assert sorted(tuple(sorted(p)) for p in tree(straight % 9.0, cell)) == steps[:5]
    assert np.array_equal(whole(wrapped, None), wrapped)


def test_one_site_molecules(benzene) -> None:
    frame, structure = benzene
    (kind,) = structure.kinds
    assert kind.conformations.shape == (27, 12, 3)
    assert structure.names[:2] == ("C1", "C2")
    placed = backmap(structure, frame, seed=3)
    assert placed.misfit < 1e-12
    again = mapped(structure, placed.positions, frame.cell)
    assert apart(again.positions, frame.positions, frame.cell).max() < 1e-10
    # the molecules are rigid copies of those of the structure, whole and in its order
    shape = np.linalg.norm(kind.conformations[0][:, None] - kind.conformations[0][None], axis=-1)
    atoms = placed.positions.reshape(27, 12, 3)
    found = np.linalg.norm(atoms[:, :, None] - atoms[:, None, :], axis=-1)
    np.testing.assert_allclose(found, np.broadcast_to(shape, found.shape), atol=3e-3)
    assert np.ptp(found[:, 0, 1]) > 0  # not all of one molecule: the .gro rounds each its own way


def test_contacts_are_the_closest_and_better_than_at_random(benzene) -> None:
    frame, structure = benzene
    best, first = backmap(structure, frame, seed=3), backmap(structure, frame, seed=3, sweeps=0)
    for placed in (best, first):
        closest = np.inf
        atoms = placed.positions.reshape(27, 12, 3)
        for i in range(27):
            for j in range(i):
                a, b = np.repeat(atoms[i], 12, axis=0), np.tile(atoms[j], (12, 1))
                closest = min(closest, apart(a, b, frame.cell).min())
        assert placed.contact == pytest.approx(closest)
    assert best.contact > 1.7
    assert first.contact < 1.2


@pytest.mark.parametrize("tilted", [False, True])
def test_several_kinds_and_sites_in_any_cell(tmp_path: Path, tilted: bool) -> None:
    positions, cell, sizes = chains(1, tilted)
    structure = structure_of(tmp_path, CHAIN, positions, cell, sizes)
    assert [k.conformations.shape for k in structure.kinds] == [(6, 12, 3), (8, 3, 3), (3, 6, 3)]
    # conformations are whole although the file cuts molecules at the boundary
    original = positions[:72].reshape(6, 12, 3)
    for kept, given in zip(structure.kinds[0].conformations, original, strict=True):
        a, b = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (kept, given))
        np.testing.assert_allclose(a, b, atol=1e-3)
    own = mapped(structure, positions, cell)
    # its own sites are met by its own conformations
    placed = backmap(structure, own, seed=2)
    assert placed.misfit < 0.1
    # sites of another configuration: conformations do not fit, the sites are met all the same
    other, _, _ = chains(7, tilted)
    frame = mapped(structure, other, cell)
    placed = backmap(structure, frame, seed=2)
    assert 0.05 < placed.misfit < 1.5
    again = mapped(structure, placed.positions, cell)
    assert apart(again.positions, frame.positions, cell).max() < 1e-9
    assert again.topology.same_as(frame.topology)
    # molecules are whole, and no atom is far from the others of its molecule
    for size, start in zip(sizes, np.cumsum([0, *sizes[:-1]]), strict=True):
        molecule = placed.positions[start : start + size]
        assert np.linalg.norm(molecule - molecule.mean(axis=0), axis=1).max() < 6.0


def test_the_misfit_is_the_rms_of_the_sites(tmp_path: Path) -> None:
    """With a single conformation and no choice, the fit of scipy gives the misfit."""
    positions, cell, sizes = chains(1)
    structure = structure_of(tmp_path, CHAIN, positions, cell, sizes)
    first = structure.kinds[0]
    one = replace(first, conformations=first.conformations[:1])
    structure = replace(structure, kinds=(one, *structure.kinds[1:]))
    frame = mapped(structure, chains(7)[0], cell)
    squares = 0.0
    sites = one.weights @ one.conformations[0]
    pair = structure.kinds[2]
    for members in one.sites:
        target = whole(frame.positions[members], cell)
        _, distance = Rotation.align_vectors(target - target.mean(axis=0), sites)
        squares += distance**2
    for members in pair.sites:
        length = np.linalg.norm(np.diff(whole(frame.positions[members], cell), axis=0))
        lengths = np.linalg.norm(np.diff(pair.weights @ pair.conformations, axis=1)[:, 0], axis=-1)
        squares += 0.5 * np.abs(lengths - length).min() ** 2
    placed = backmap(structure, frame, sweeps=0)
    assert placed.misfit == pytest.approx(np.sqrt(squares / frame.topology.n_sites), rel=1e-9)


def test_two_sites_turn_about_their_axis(tmp_path: Path) -> None:
    positions, cell, sizes = chains(3)
    structure = structure_of(tmp_path, CHAIN, positions, cell, sizes)
    frame = mapped(structure, positions, cell)
    a, b = (backmap(structure, frame, seed=s, sweeps=0).positions[96:] for s in (1, 2))
    assert np.linalg.norm(a - b, axis=1).max() > 0.3
    for members in structure.kinds[2].atoms - 96:
        axis = np.ptp([structure.kinds[2].weights @ x[members] for x in (a, b)], axis=0)
        assert np.abs(axis).max() < 1e-9


def test_conformations_of_a_trajectory(root: Path, tmp_path: Path) -> None:
    raw = root / "workflows" / "systems" / "benzene" / "data" / "raw"
    mapping = root / "workflows" / "systems" / "benzene" / "mapping.yaml"
    before = sorted(p.name for p in raw.iterdir())
    structure = read_structure(raw / "flexible.tpr", mapping, [raw / "flexible.trr"])
    assert sorted(p.name for p in raw.iterdir()) == before  # no index files left behind
    shapes = structure.kinds[0].conformations
    assert shapes.shape == (256, 12, 3)
    length = np.linalg.norm(shapes[:, 0] - shapes[:, 6], axis=-1)
    assert 1.0 < length.min() < length.max() < 1.2
    assert length.std() > 0.005
    data = root / "workflows" / "systems" / "benzene" / "data" / "benzene_300K_a.extxyz.xz"
    frame = next(iter(read_frames(data)))
    placed = backmap(structure, frame, sweeps=1)
    again = mapped(structure, placed.positions, frame.cell)
    assert apart(again.positions, frame.positions, frame.cell).max() < 1e-9
    assert placed.contact > 1.0


def test_other_formats(tmp_path: Path) -> None:
    import MDAnalysis

    frame, atoms = benzenes()
    gro = write_gro(tmp_path / "conf.gro", atoms, frame.cell, [12] * 27)
    (tmp_path / "map.yaml").write_text(BENZENE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MDAnalysis.Universe(str(gro)).atoms.write(str(tmp_path / "conf.pdb"))
    structure = read_structure(tmp_path / "conf.pdb", tmp_path / "map.yaml")
    placed = backmap(structure, frame)
    again = mapped(structure, placed.positions, frame.cell)
    assert apart(again.positions, frame.positions, frame.cell).max() < 1e-9


def test_errors(benzene, tmp_path: Path) -> None:
    frame, structure = benzene
    two = Topology(("BNZ",), (78.114,), np.zeros(27, np.int64), np.arange(27) // 2)
    with pytest.raises(InputError, match=r"far.extxyz, frame 700: 27 sites in 14 molecules; conf"):
        backmap(structure, replace(frame, topology=two), file="far.extxyz")
    other = replace(frame.topology, type_names=("TOL",))
    with pytest.raises(InputError, match=r"site 0 is TOL of molecule 0; conf.gro maps to BNZ of"):
        backmap(structure, replace(frame, topology=other))
    turned = frame.cell @ Rotation.from_euler("z", 30, degrees=True).as_matrix()
    with pytest.raises(InputError, match="is not lower triangular; expected a along x"):
        backmap(structure, replace(frame, cell=turned))
    bare = tmp_path / "bare.yaml"
    bare.write_text(BENZENE.replace("x-weight", "f-weight"))
    with pytest.raises(InputError, match=r"conf.gro: the topology holds no masses; give 'x-weight"):
        read_structure(tmp_path / "conf.gro", bare)
    bare.write_text(BENZENE.replace("repeat: all", "repeat: 40"))
    with pytest.raises(ConfigError, match="need 480 atoms; the topology has 324"):
        read_structure(tmp_path / "conf.gro", bare)
    with pytest.raises(InputError, match=r"x.gro: no such atomistic structure"):
        read_structure(tmp_path / "x.gro", bare)
    (tmp_path / "x.pdb").write_text("nonsense\n")
    with pytest.raises(InputError, match=r"x.pdb: MDAnalysis cannot read it"):
        read_structure(tmp_path / "x.pdb", tmp_path / "map.yaml")
    small = write_gro(
        tmp_path / "small.gro", np.zeros((12, 3)) + np.arange(12)[:, None], frame.cell, [12]
    )
    with pytest.raises(InputError, match=r"small.gro: no coordinates of these 324 atoms can be re"):
        read_structure(tmp_path / "conf.gro", tmp_path / "map.yaml", [small])
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile

    with TRRFile(str(tmp_path / "forces.trr"), "w") as stream:
        stream.write(None, None, np.zeros((324, 3)), np.eye(3), 0, 0.0, 0.0, 324)
    with pytest.raises(InputError, match=r"forces.trr: no frame with coordinates"):
        read_structure(tmp_path / "conf.gro", tmp_path / "map.yaml", [tmp_path / "forces.trr"])
