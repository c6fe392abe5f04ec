# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_support import lattice

from cgpot.core.errors import DataError, InputError, ManifestError
from cgpot.core.files import sha256_file, write_json
from cgpot.core.manifest import write_manifest
from cgpot.formats.lammps.cg_data import write_data
from cgpot.md.start import (
    check_model,
    check_pair_file,
    read_start,
    scale_to_density,
    sidecar_path,
)
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.species import Species
from cgpot.molecules.whole import minimum_image, molecule_centres


def sidecar(folder: Path, **changes: object) -> Path:
    """A model file, whose content does not matter here, with its sidecar."""
    model = folder / "model.nequip.pt2"
    model.write_bytes(b"compiled")
    content = {
        "format": "cgpot-model-1",
        "units": {"energy": "eV", "length": "angstrom"},
        "bead_names": ["BNZ", "TOL"],
        "masses": [78.114, 92.141],
        "temperature": 300.0,
        "sha256": {"model.nequip.pt2": sha256_file(model)},
        **changes,
    }
    (folder / "model.cgpot.json").write_text(json.dumps(content))
    return model


def test_reads_data_sets_and_data_files(tmp_path: Path) -> None:
    frames = [lattice(2, 6.0 + 0.1 * i) for i in range(3)]
    write_frames(tmp_path / "all.extxyz.xz", frames)
    write_data(tmp_path / "s.data", frames[1])
    for number, expected in ((0, 12.0), (2, 12.4), (-1, 12.4), (-3, 12.0)):
        frame = read_start(tmp_path / "all.extxyz.xz", number)
        assert frame.cell[0, 0] == pytest.approx(expected)
    assert read_start(tmp_path / "s.data").cell[0, 0] == pytest.approx(12.2)
    with pytest.raises(InputError, match=r"all\.extxyz\.xz, frame 3: the data set ends before"):
        read_start(tmp_path / "all.extxyz.xz", 3)
    with pytest.raises(InputError, match="frame -4: the data set has 3 frames only"):
        read_start(tmp_path / "all.extxyz.xz", -4)
    with pytest.raises(InputError, match="no such starting configuration"):
        read_start(tmp_path / "none.data")
    (tmp_path / "s.pdb").write_text("ATOM")
    with pytest.raises(InputError, match=r"s\.pdb: expected a data set"):
        read_start(tmp_path / "s.pdb")


def test_scaling_reaches_the_density_and_keeps_molecules_rigid(rng: np.random.Generator) -> None:
    frame = lattice(3, 6.0, names=("AA", "B2", "CC"))
    molecules = np.arange(27) // 3
    centres = rng.uniform(0, 18, size=(9, 3))
    shape = rng.normal(size=(27, 3))
    positions = (centres[molecules] + shape) % 18.0  # molecules cut by the boundary
    frame = replace(
        frame,
        topology=replace(frame.topology, molecules=molecules),
        positions=positions,
        forces=np.zeros((27, 3)),
    )
    scaled = scale_to_density(frame, 700.0)
    assert scaled.density == pytest.approx(700.0, rel=1e-12)
    assert scaled.forces is None
    _, before = molecule_centres(frame.topology, frame.positions, frame.cell)
    _, after = molecule_centres(scaled.topology, scaled.positions, scaled.cell)
    for molecule in range(9):
        own = molecules == molecule
        a, b = before[own] - before[own][0], after[own] - after[own][0]
        np.testing.assert_allclose(b, a, atol=1e-9)
    # centres move with the box: fractional coordinates stay, up to whole boxes
    old, _ = molecule_centres(frame.topology, frame.positions, frame.cell)
    new, _ = molecule_centres(scaled.topology, scaled.positions, scaled.cell)
    shift = new / scaled.cell[0, 0] - old / frame.cell[0, 0]
    np.testing.assert_allclose(shift - np.round(shift), 0.0, atol=1e-9)


def test_scaling_keeps_the_bonds_of_a_chain_longer_than_half_the_box() -> None:
    """24 Å in a box of 40 Å: by minimum image to its first site the last bond became 5.43 Å."""
    n, box = 7, 40.0
    chain = Species("CHAIN", ("AA",) * n, tuple((k, k + 1) for k in range(n - 1)))
    positions = np.zeros((n, 3))
    positions[:, 0] = (25.0 + 4.0 * np.arange(n)) % box
    topology = Topology(("AA",), (72.0,), np.zeros(n, int), np.zeros(n, int), species=(chain,))
    frame = CGFrame(topology, positions, np.eye(3) * box)
    scaled = scale_to_density(frame, frame.density * (40.0 / 50.0) ** 3)
    assert scaled.cell[0, 0] == pytest.approx(50.0)
    a, b = topology.bonds.T
    bonds = minimum_image(scaled.positions[b] - scaled.positions[a], scaled.cell)
    np.testing.assert_allclose(np.linalg.norm(bonds, axis=1), 4.0, atol=1e-9)
    centre, whole = molecule_centres(scaled.topology, scaled.positions, scaled.cell)
    assert np.ptp(whole[:, 0]) == pytest.approx(24.0)
    assert np.mod(centre[0, 0], 50.0) == pytest.approx((25.0 + 12.0) * 50.0 / 40.0)
    # without its bonds nobody can tell, and that is said
    with pytest.raises(DataError, match=r"site 5 lies about half the box .* species AA-AA-AA-AA-A"):
        scale_to_density(replace(frame, topology=replace(topology, species=())), 5.0)


def test_model_that_fits(tmp_path: Path) -> None:
    model = sidecar(tmp_path)
    assert check_model(model, lattice(2, 6.0).topology, "s.data").temperature == 300.0
    assert sidecar_path(model).name == "model.cgpot.json"


def test_bead_names_that_do_not_match(tmp_path: Path) -> None:
    model = sidecar(tmp_path)
    with pytest.raises(
        InputError,
        match=r"s\.data: the system's bead type 'WAT' is not one of the model's \(BNZ, TOL",
    ):
        check_model(model, lattice(2, 6.0, names=("WAT",)).topology, "s.data")


def test_other_misfits(tmp_path: Path) -> None:
    topology = lattice(2, 6.0).topology
    model = sidecar(tmp_path, masses=[72.0, 92.0])
    with pytest.raises(DataError, match=r"'BNZ' has mass 78\.114 amu here, but 72 amu"):
        check_model(model, topology, "s.data")
    model = sidecar(tmp_path, sha256={"model.nequip.pt2": "0" * 64})
    with pytest.raises(ManifestError, match=r"model\.nequip\.pt2: changed since"):
        check_model(model, topology, "s.data")
    model = sidecar(tmp_path, format="other")
    with pytest.raises(InputError, match=r"cgpot\.json, key 'format': expected format"):
        check_model(model, topology, "s.data")
    model = sidecar(tmp_path, pairs="bonded")
    with pytest.raises(InputError, match=r"key 'pairs': expected one of all, .*, found 'bonded'"):
        check_model(model, topology, "s.data")
    (tmp_path / "model.cgpot.json").write_text('{"format": "cgpot-model-1", "masses": [1]}')
    with pytest.raises(InputError, match="key 'bead_names': the key is missing"):
        check_model(model, topology, "s.data")
    (tmp_path / "model.cgpot.json").unlink()
    with pytest.raises(InputError, match=r"no sidecar 'model\.cgpot\.json' beside the model"):
        check_model(model, topology, "s.data")
    with pytest.raises(InputError, match="no such compiled model"):
        check_model(tmp_path / "x.nequip.pt2", topology, "s.data")
    with pytest.raises(InputError, match=r"whose name ends in \.nequip\.pt2"):
        sidecar_path("model.pth")


def tables(folder: Path, names: list[str]) -> Path:
    """A pair file with its sidecar, as `cgpot deploy` writes them."""
    table = folder / "model.table"
    table.write_text("table")
    pair_file = folder / "model.pair.lmp"
    pair_file.write_text("pair_style table linear 1000\n")
    sidecar = folder / "model.cgpot.json"
    write_json(
        sidecar,
        {
            "format": "cgpot-model-1",
            "units": {},
            "bead_names": names,
            "masses": [78.114] * len(names),
            "temperature": 311.0,
        },
    )
    write_manifest(sidecar, stage="deploy", inputs={}, outputs=[table, pair_file], config={})
    return pair_file


def topology(names: tuple[str, ...]) -> Topology:
    kinds = np.arange(4) % len(names)
    return Topology(names, (78.114,) * len(names), kinds, np.arange(4))


def test_the_sidecar_of_tables_goes_with_them(tmp_path: Path) -> None:
    pair_file = tables(tmp_path, ["A", "B"])
    found = check_pair_file(pair_file, topology(("A", "B")), "start.data")
    assert found is not None
    assert found.temperature == 311.0
    (tmp_path / "lj.lmp").write_text("pair_style lj/cut 10.0\n")
    assert check_pair_file(tmp_path / "lj.lmp", topology(("A",)), "start.data") is None


def test_tables_of_another_order_or_changed_ones_are_refused(tmp_path: Path) -> None:
    pair_file = tables(tmp_path, ["A", "B"])
    with pytest.raises(InputError, match=r"numbered for \['A', 'B'\], in this order"):
        check_pair_file(pair_file, topology(("B", "A")), "start.data")
    (tmp_path / "model.table").write_text("another table")
    with pytest.raises(ManifestError, match=r"model\.table"):
        check_pair_file(pair_file, topology(("A", "B")), "start.data")
