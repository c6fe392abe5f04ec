# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train` and `cgpot deploy` of MS-CG models: known potentials, LAMMPS, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from linear_systems import lammps_point, shaken, write_case
from pair_systems import R_MAX, fluid, slope

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import read_json
from cgpot.deploy.deployment import deploy
from cgpot.potential.basis import Joint
from cgpot.potential.bonds import BondBasis
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.splines import PairTable
from cgpot.potential.threebody import ThreeBodySW
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.training.folder.training_folder import Folder
from cgpot.training.linear.mscg import MSCGPotential, fit_mscg
from cgpot.training.settings.model_settings import MSCGConfig
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train

KT = 0.0258


def labelled(frames, joint, c, energy=False):
    """Frames with the labels of known coefficients."""
    found = []
    for number, frame in enumerate(frames):
        rows = joint.rows(frame, energy=True)
        found.append(
            replace(
                frame,
                forces=(rows.forces @ c).reshape(-1, 3),
                virial=rows.virial @ c,
                energy=float(rows.energy @ c) + 5.0 if energy else None,
                source_frame=number,
            )
        )
    return found


def truth(frames, bonds=None):
    """Coefficients of walls with a well outside, an angle part or springs.

    The walls are those that the fit puts where it sees no pair, so that it can be exact.
    """
    names = frames[0].topology.type_names
    pair = PairBasis(names, 6.5, 0.25, 300.0, exclude=bonds.is_bonded if bonds else None)
    for frame in frames:
        pair.observe(frame)
    parts = {"pair": pair}
    x = (np.arange(pair.width) - 1) * 0.25
    matrix, vector = pair.anchors()
    rows = []
    for k in range(pair.pairs):
        row = 0.2 * np.exp(-0.5 * x) - 0.02 * (k + 1) * np.exp(-((x - 4.8) ** 2))
        part = slice(k * pair.width, (k + 1) * pair.width)
        wall = np.flatnonzero(np.diagonal(matrix[part, part]) > 0)
        core, *_ = np.linalg.lstsq(matrix[part, part][np.ix_(wall, wall)], vector[part][wall])
        if len(wall):
            row[wall] = core - core[-1] + row[wall[-1]]
        rows.append(row)
    c = [np.concatenate(rows) * pair.free()]
    if bonds is not None:
        parts["bond"] = bonds
        r = bonds.low + (np.arange(bonds.width) - 1) * bonds.step
        spring = 3.0 * (r - 1.6) ** 2
        c.append(spring - spring[-1])
    else:
        parts["three"] = ThreeBodySW(names, 6.0, 1.2, 5)
        c.append(0.2 * np.random.default_rng(5).normal(size=parts["three"].size))
    return Joint(parts), np.concatenate(c)


@pytest.mark.parametrize("types", [1, 2])
def test_pair_and_three_body_part_are_found_and_run_in_lammps(tmp_path, types):
    frames = [shaken(k, types) for k in range(24)]
    joint, c = truth(frames)
    frames = labelled(frames, joint, c)
    path = write_case(
        tmp_path,
        frames,
        "cutoff: 6.5, spacing: 0.25, smooth: 1.0e-10, match_mean_virial: true, "
        "three_body: {cutoff: 6.0, gamma: 1.2, intervals: 5}",
    )
    outcome = train(load_config(path), tmp_path / "out", quiet=True)
    result = outcome.result
    assert result["kind"] == "mscg"
    assert result["force_rmse"] < 0.02 * result["force_label_rms"]
    assert result["force_rmse"] < 0.1 * result["force_rmse_pair_fit"]
    assert abs(result["pressure_residual_bar"]["mean"]) < 20.0
    potential = MSCGPotential.read(tmp_path / "out" / "mscg.json")
    theta = np.radians(np.arange(70.0, 175.0, 5.0))
    three = potential.three
    for row in range(len(three.blocks)):
        expected = three.function(joint.split(c)["three"], row, theta)[1]
        found = three.function(potential.part("three"), row, theta)[1]
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()

    done = deploy(tmp_path / "out", tmp_path / "deployed", quiet=True)
    assert done.content["pair_file"] == "model.pair.lmp"
    assert deploy(tmp_path / "out", tmp_path / "deployed", quiet=True).skipped
    frame = frames[0]
    energy, forces, virial = lammps_point(
        tmp_path / "run", frame, tmp_path / "deployed" / "model.pair.lmp"
    )
    ours = potential.labels(frame)
    np.testing.assert_allclose(forces, ours[0], atol=2e-5 * np.abs(ours[0]).max())
    np.testing.assert_allclose(virial, ours[1], atol=2e-5 * np.abs(ours[1]).max())
    assert energy == pytest.approx(ours[2], rel=2e-5)


def test_bonds_are_found_and_run_in_lammps(tmp_path):
    frames = [shaken(k, 2, molecule=2) for k in range(24)]
    bonds = BondBasis(frames[0].topology, None, (1.1, 2.1), 0.1, KT)
    joint, c = truth(frames, bonds)
    frames = labelled(frames, joint, c)
    path = write_case(
        tmp_path,
        frames,
        "cutoff: 6.5, spacing: 0.25, smooth: 1.0e-10, bonds: {types: [[A, B]], spacing: 0.1}",
    )
    outcome = train(load_config(path), tmp_path / "out", quiet=True)
    assert outcome.result["force_rmse"] < 0.02 * outcome.result["force_label_rms"]
    potential = MSCGPotential.read(tmp_path / "out" / "mscg.json")
    r = np.arange(1.42, 1.78, 0.02)
    _, slopes = potential.bonds.evaluate(potential.part("bond"), 0, r)
    np.testing.assert_allclose(slopes, 6.0 * (r - 1.6), atol=0.03)
    rows = np.loadtxt(tmp_path / "out" / "bond_A-B.csv", delimiter=",", skiprows=1)
    inside = (rows[:, 0] > 1.45) & (rows[:, 0] < 1.75)
    np.testing.assert_allclose(rows[inside, 2], -6.0 * (rows[inside, 0] - 1.6), atol=0.03)

    deploy(tmp_path / "out", tmp_path / "deployed", quiet=True)
    energy, forces, virial = lammps_point(
        tmp_path / "run",
        frames[0],
        tmp_path / "deployed" / "model.pair.lmp",
        potential.bonded,
    )
    ours = potential.labels(frames[0])
    np.testing.assert_allclose(forces, ours[0], atol=2e-5 * np.abs(ours[0]).max())
    np.testing.assert_allclose(virial, ours[1], atol=2e-5 * np.abs(ours[1]).max())
    other = energy - ours[2]  # the bond table is zero at its minimum
    energy, _, _ = lammps_point(
        tmp_path / "run",
        frames[1],
        tmp_path / "deployed" / "model.pair.lmp",
        potential.bonded,
    )
    assert energy - potential.labels(frames[1])[2] == pytest.approx(other, rel=1e-4)


@pytest.fixture(scope="module")
def pair_case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    path = write_case(folder, fluid(26, noise=0.05), "cutoff: 6.0, spacing: 0.25, smooth: auto")
    return path, train(load_config(path), folder / "out", quiet=True)


def test_pair_errors_cover_the_truth(pair_case):
    _, outcome = pair_case
    rows = np.loadtxt(outcome.folder / "pair_A-A.csv", delimiter=",", skiprows=1)
    r, force, error = rows[:, 0], rows[:, 2], rows[:, 4]
    seen = (r > 3.3) & (r < R_MAX - 0.2)
    pull = (force + slope(r))[seen] / np.maximum(error[seen], 1e-4)
    assert np.sqrt(np.mean(pull**2)) < 4.0
    assert (error[seen] > 0).all()
    scores = outcome.result["fit"]["cross_validation_force_rmse"]
    assert min(scores.values()) == pytest.approx(0.05, rel=0.1)
    assert outcome.result["fit"]["smooth"] == float(min(scores, key=scores.get))


def test_folder_holds_what_networks_write(pair_case):
    path, outcome = pair_case
    result = read_json(outcome.folder / "result.json")
    for key in ("stress_rmse", "stress_rmse_pair_fit", "n_train", "density_kg_m3", "seconds"):
        assert result[key] > 0
    assert result["prior"] is None
    assert result["not_used"] == ["prior", "loss", "optimiser"]
    assert result["bead_names"] == ["A"]
    with np.load(outcome.folder / "parity.npz") as parity:
        assert parity["force_model"].shape == parity["force_label"].shape
    table = PairTable.read(outcome.folder / "pair.json")
    assert table.r_max == 6.0
    assert train(load_config(path), outcome.folder, quiet=True).skipped


def test_other_sections_change_nothing(pair_case, tmp_path):
    path, outcome = pair_case
    text = path.read_text() + "loss: {forces: auto, stress: null}\noptimiser: {epochs: 3}\n"
    other = path.with_name("other.yaml")
    other.write_text(text)
    assert train(load_config(other), outcome.folder, quiet=True).skipped
    other.write_text(text.replace("spacing: 0.25", "spacing: 0.3"))
    with pytest.raises(InputError, match=r"other inputs \(config.model.spacing: 0.25 before"):
        train(load_config(other), outcome.folder, quiet=True)


@pytest.mark.parametrize("kind", ["mscg", "uf3"])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("energy: auto", "loss.energy is for networks; .* weight of its energy rows from model.en"),
        ("mean_pressure: 2.0", "loss.mean_pressure is for networks; .* model.match_mean_virial"),
        ("per_type: auto", "loss.per_type is for networks; .* all bead types alike"),
        ("per_type: {A: 2.0}", "loss.per_type is for networks; a model of type '.*'"),
        ("forces: 2.0, stress: 3.0", "loss.forces as a number is for networks; .* model.virial"),
        ("forces: 0.0, stress: 3.0", "loss.stress as a number is for networks; .* model.virial"),
    ],
)
def test_options_of_the_loss_that_linear_models_lack(tmp_path, kind, loss, message):
    path = write_case(tmp_path, fluid(2), "cutoff: 6.0", f"loss: {{{loss}}}\n")
    path.write_text(path.read_text().replace("type: mscg", f"type: {kind}"))
    with pytest.raises(ConfigError, match=message):
        load_config(path)


@pytest.fixture(scope="module")
def mixed():
    """Frames of two state points with different forces: no pair potential fits both."""
    frames = fluid(12)
    return [
        replace(f, state="a" if k % 2 else "b", forces=f.forces * (1.0 if k % 2 else -1.0))
        for k, f in enumerate(frames)
    ]


@pytest.mark.parametrize("model", ["type: mscg", "type: uf3, three_body_cutoff: null"])
def test_state_weights_decide_the_fit(tmp_path, model, mixed):
    """Factor 0 leaves a state out, and a factor counts as that many copies of its frames."""
    frames = mixed

    def forces(name, frames, data=""):
        folder = tmp_path / name
        folder.mkdir()
        path = write_case(folder, frames, "cutoff: 6.0, spacing: 0.25")
        text = path.read_text().replace("type: mscg", model)
        path.write_text(text.replace("val: val.extxyz", f"val: val.extxyz{data}"))
        outcome = train(load_config(path), folder / "out", quiet=True)
        r = np.arange(3.8, 5.8, 0.1)  # where the walls, of all frames, do not reach
        tables = [PairTable.read(Folder(outcome.folder).yardstick)]
        if model == "type: mscg":
            tables.append(MSCGPotential.read(outcome.folder / "mscg.json").table())
        else:
            tables.append(UF3Potential.read(outcome.folder / "uf3.json").pair)
        return np.stack([table.force(r) for table in tables])

    only = forces("only", [f for f in frames if f.state == "a"])
    both = forces("both", frames)
    without = forces("without", frames, ", state_weights: {b: 0.0}")
    assert np.abs(without - only).max() < 0.2 * np.abs(both - only).max()
    heavy = forces("heavy", frames, ", state_weights: {a: 3.0}")
    copies = forces("copies", frames + [f for f in frames if f.state == "a"] * 2)
    assert np.abs(heavy - copies).max() < 0.2 * np.abs(heavy - both).max()
    own = forces("own", [replace(f, weight=3.0 if f.state == "a" else 1.0) for f in frames])
    np.testing.assert_allclose(own, heavy, atol=1e-9)


def test_states_that_no_frame_is_of(tmp_path, mixed):
    path = write_case(tmp_path, mixed, "cutoff: 6.0")
    path.write_text(path.read_text().replace("val: val", "state_weights: {c: 2.0}, val: val"))
    with pytest.raises(ConfigError, match=r"no training frame is of state \['c'\]"):
        train(load_config(path), tmp_path / "out", quiet=True)


def test_energies_enter_where_all_frames_have_them():
    frames = [shaken(k) for k in range(6)]
    joint, c = truth(frames)
    frames = labelled(frames, joint, c, energy=True)
    model = MSCGConfig(cutoff=6.5, spacing=0.25, three_body={"cutoff": 6.0, "gamma": 1.2})
    potential, _ = fit_mscg(model, frames, 300.0, quiet=True)
    assert potential.info["energy_rows"]
    assert potential.info["energy_rmse_per_site"] < 2e-3
    frames[2] = replace(frames[2], energy=None)
    assert not fit_mscg(model, frames, 300.0, quiet=True)[0].info["energy_rows"]


def test_labels_that_are_missing(tmp_path):
    frames = [replace(frame, virial=None) for frame in fluid(8)]
    path = write_case(tmp_path, frames, "cutoff: 6.0, match_mean_virial: true")
    with pytest.raises(InputError, match=r"train\.extxyz, frame 0: .*the frame has none"):
        train(load_config(path), tmp_path / "out", quiet=True)
    plain = write_case(tmp_path, frames, "cutoff: 6.0")
    assert train(load_config(plain), tmp_path / "out2", quiet=True).result["stress_rmse"] is None


def test_bonds_between_types_of_different_molecules(tmp_path):
    frames = fluid(4)
    path = write_case(tmp_path, frames, "cutoff: 6.0, bonds: {}")
    with pytest.raises(ConfigError, match="every molecule is a single site"):
        train(load_config(path), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("cutoff: 6.0, three_body: {cutoff: 7.0}", "three_body.cutoff 7.0 Å exceeds cutoff 6.0"),
        ("cutoff: 6.0, spacing: 2.0", "spacing 2.0 Å leaves fewer than 4 intervals"),
        ("cutoff: 9.0, three_body: {}, bonds: {}", "three_body and bonds with exclude cannot"),
        ("layers: 2", "layers"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, model, message):
    path = write_case(tmp_path, fluid(4), model)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_damaged_potential(pair_case, tmp_path):
    _, outcome = pair_case
    text = (outcome.folder / "mscg.json").read_text()
    path = tmp_path / "mscg.json"
    path.write_text(text.replace("cgpot-mscg-1", "cgpot-mscg-0"))
    with pytest.raises(InputError, match="expected an MS-CG potential of format"):
        MSCGPotential.read(path)
    path.write_text(text.replace('"r_max_A"', '"r_max"'))
    with pytest.raises(InputError, match="key 'r_max_A': the key is missing"):
        MSCGPotential.read(path)
    path.write_text(text.replace('"intervals": 24', '"intervals": 25'))
    with pytest.raises(InputError, match="expected 28 coefficients, found 27"):
        MSCGPotential.read(path)
