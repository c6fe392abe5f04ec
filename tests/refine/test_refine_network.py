# SPDX-License-Identifier: GPL-2.0-or-later
"""A trained network with another pair part, and a refinement of it through the plugin."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from training_systems import fluid, write_case

from cgpot.core.config import load_yaml_dict
from cgpot.core.files import read_json
from cgpot.core.manifest import check_manifest
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.splines import PairTable
from cgpot.refine.refine_loop import refine
from cgpot.refine.refine_settings import RefineConfig
from cgpot.training.evaluation.predictions import pair_coefficients
from cgpot.training.network.amend import amend
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder of one epoch, in double precision."""
    path = write_case(
        tmp_path_factory.mktemp("refine-network"),
        system={"temperature": 300.0},
        model={"dtype": "float64", "features": 2, "layers": 1},
        prior={"type": "spline", "spacing": 0.5},
        optimiser={"epochs": 1},
    )
    train(load_config(path), path.parent / "train", quiet=True)
    return path.parent / "train"


def table_of(folder: Path) -> PairTable:
    """The pair part of a training folder's checkpoint."""
    table = PairTable.read(folder / "pair.json")
    return table.with_coefficients(pair_coefficients(folder / "model.ckpt"), {})


def test_amended_network(trained: Path, tmp_path: Path) -> None:
    """Forces and virial change by those of the change of the table; the rest is kept."""
    old = table_of(trained)
    change = np.zeros_like(old.coefficients)
    change[0, 3:-3] = 0.02 * np.sin(np.arange(change.shape[1] - 6))
    frames = fluid(3, 9)
    new = old.with_coefficients(old.coefficients + change, {})
    result = amend(
        trained,
        tmp_path / "model",
        new,
        frames,
        source=[trained.parent / "test.extxyz"],
        facts={"method": "by hand"},
        quiet=True,
    )
    check_manifest(tmp_path / "model" / "result.json", stage="training")
    before = NetworkPotential.read(trained / "model.ckpt")
    after = NetworkPotential.read(tmp_path / "model" / "model.ckpt")
    errors = []
    delta = old.with_coefficients(change, {})
    for frame in frames:
        f0, w0, _ = before.labels(frame)
        f1, w1, _ = after.labels(frame)
        f, w, _ = Base(delta).labels(frame)
        np.testing.assert_allclose(f1 - f0, f, atol=1e-6)
        np.testing.assert_allclose(w1 - w0, w, atol=1e-5)
        assert frame.forces is not None
        errors.append(f1 - frame.forces)
    rmse = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    assert result["force_rmse"] == pytest.approx(rmse, rel=1e-6)
    assert result["refined"] == {"method": "by hand"}
    assert result["evaluated_on"] == {"files": ["test.extxyz"], "frames": 3}
    assert read_json(tmp_path / "model" / "result.json") == result
    np.testing.assert_allclose(
        pair_coefficients(tmp_path / "model" / "model.ckpt"), new.coefficients
    )


def reference_of(folder: Path) -> tuple[Path, CGFrame]:
    """A made-up reference: jittered lattices at one volume."""
    frames = []
    for frame in fluid(20, 21):
        length = 12.0 / frame.cell[0, 0]
        frame.positions, frame.cell = frame.positions * length, frame.cell * length
        frames.append(frame)
    write_frames(folder / "reference.extxyz", frames)
    return folder / "reference.extxyz", frames[0]


@pytest.mark.slow
def test_a_network_is_refined_through_the_plugin(trained: Path, tmp_path: Path) -> None:
    """Compile, overlay a correction in LAMMPS, bake it in, deploy (minutes)."""
    from cgpot.md.md_settings import MdConfig
    from cgpot.md.md_stage import run_md

    reference, _ = reference_of(tmp_path)
    config = RefineConfig.model_validate(
        {
            "start": str(trained),
            "reference": [str(reference)],
            "temperature": 300.0,
            "iterations": 2,
            "pressure": "ignore",
            "md": {
                "length_ps": 2.0,
                "equilibration_ps": 0.5,
                "timestep_fs": 2.0,
                "sample_ps": 0.05,
                "tdamp_ps": 0.1,
            },
            "deploy": True,
        }
    )
    outcome = refine(config, tmp_path / "out", quiet=True)
    assert outcome.history["start"] == "network"
    chosen = outcome.folder / f"iter.{outcome.history['chosen']:03d}"
    total = table_of(trained).coefficients + PairTable.read(chosen / "potential.json").coefficients
    found = pair_coefficients(outcome.folder / "model" / "model.ckpt")
    np.testing.assert_allclose(found, total, atol=1e-9)
    # the deployed network alone is the old one with the correction overlaid
    energies = []
    for number, iteration in ((0, outcome.folder / "iter.001"), (1, None)):
        options = {
            "start": reference,
            "temperature": 300.0,
            "length_ps": 0.02,
            "timestep_fs": 2.0,
            "thermo_ps": 0.002,
            "dump_ps": 0.01,
            "seed": 5,
        }
        if iteration is not None:
            options["pair_file"] = chosen / "potential.pair.lmp"
        else:
            options["model"] = outcome.folder / "deploy" / "model.nequip.pt2"
        run_md("nve", MdConfig.model_validate(options), tmp_path / f"md{number}", quiet=True)
        lines = (tmp_path / f"md{number}" / "thermo.csv").read_text().splitlines()
        column = lines[0].split(",").index("pe_eV")
        energies.append([float(line.split(",")[column]) for line in lines[1:]])
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_a_network_of_molecules_is_refined(tmp_path: Path) -> None:
    """Base, network and bonded tables with a correction: LAMMPS against Python (minutes).

    The network sees all pairs but the bonded ones, so does the correction beside it.
    """
    from linear_systems import lammps_point
    from trimer_systems import TEMPERATURE, write_config, write_reference

    from cgpot.molecules.extxyz import read_frames
    from cgpot.training.linear.bonded_part import BondedPart
    from cgpot.training.open_potential import open_potential

    reference = write_reference(tmp_path / "reference", 40.0)
    frames = list(read_frames(reference))
    case = write_case(
        tmp_path / "train",
        data={"train": "train.extxyz", "val": "val.extxyz", "test": "val.extxyz"},
        system={"temperature": TEMPERATURE},
        model={
            "dtype": "float64",
            "features": 2,
            "layers": 1,
            "cutoff": 7.0,
            "pairs": "not-1-2",
        },
        prior={"type": "spline", "spacing": 0.5},
        optimiser={"epochs": 1},
    )
    write_frames(tmp_path / "train" / "val.extxyz", frames[-10:])
    write_frames(tmp_path / "train" / "train.extxyz", frames[:-10])
    train(load_config(case), tmp_path / "train" / "out", quiet=True)
    path = write_config(
        tmp_path / "refine.yaml",
        reference,
        start=str(tmp_path / "train" / "out"),
        iterations=2,
        md={"length_ps": 5.0, "equilibration_ps": 0.5, "timestep_fs": 5.0, "sample_ps": 0.1},
    )
    outcome = refine(
        RefineConfig.model_validate(load_yaml_dict(path)), tmp_path / "out", quiet=True
    )
    assert outcome.history["start"] == "network"
    assert set(outcome.history["iterations"][0]["terms"]) == {"A-B", "A-B-A"}

    # the second iteration: the old network, the correction on the pairs it sees, other bonds
    place = outcome.folder / "iter.001"
    frame = list(read_frames(place / "md" / "traj.extxyz.xz"))[-1]
    frame = replace(frame, topology=frames[0].topology)
    old = open_potential(tmp_path / "train" / "out")
    before = BondedPart.read(tmp_path / "train" / "out" / "bonded.json")
    c = np.array(read_json(place / "coefficients.json")["eV"])
    correction = PairTable.read(place / "potential.json")
    assert np.abs(correction.coefficients).max() > 1e-3
    split = before.potential.joint.split(before.potential.coefficients)
    bonded = np.concatenate([split["bond"], split["angle"]])
    changed = c[correction.coefficients.size :]
    assert changed.shape == bonded.shape
    assert np.abs(changed - bonded).max() > 1e-3
    split["bond"], split["angle"] = np.split(changed, [len(split["bond"])])
    after = BondedPart(replace(before.potential, coefficients=np.concatenate(list(split.values()))))
    f, w, _ = old.labels(frame)
    for part, sign in ((before, -1.0), (after, 1.0)):
        more, virial, _ = part.labels(frame)
        f, w = f + sign * more, w + sign * virial
    more, virial, _ = Base(correction, pairs="not-1-2").labels(frame)
    f, w = f + more, w + virial
    _, forces, virial = lammps_point(
        tmp_path / "point", frame, place / "potential.pair.lmp", before.potential.bonded
    )
    np.testing.assert_allclose(forces, f, atol=2e-4 * np.abs(f).max())
    np.testing.assert_allclose(virial, w, atol=5e-4 * np.abs(w).max())

    # the model that is left has the bonded tables and the pair part of the chosen iteration
    model = open_potential(outcome.folder)
    if outcome.history["chosen"] == 1:
        np.testing.assert_allclose(model.labels(frame)[0], f, atol=1e-6)
    place = outcome.folder / "model"
    result = read_json(place / "result.json")
    check_manifest(place / "result.json", stage="training")
    assert result["pairs"] == "not-1-2"
    assert result["lammps"]["bonded"] == before.potential.bonded.deployed()
    assert all((place / name).is_file() for name in result["lammps"]["files"])
    used = frames[:: len(frames) // 60][:60]
    network = NetworkPotential.read(place / "model.ckpt")
    taken = BondedPart.read(place / "bonded_fit.json")
    errors = [network.labels(f).forces + taken.labels(f).forces - f.forces for f in used]
    assert result["force_rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)
