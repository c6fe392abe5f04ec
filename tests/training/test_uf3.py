# SPDX-License-Identifier: GPL-2.0-or-later
"""UF3: a known potential is found again, and LAMMPS computes what the fit says."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgpot.core.errors import ConfigError, InputError
from cgpot.deploy.deployment import deploy
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid
from cgpot.training.evaluation.evaluation_stage import evaluate_model
from cgpot.training.linear.uf3 import fit_uf3
from cgpot.training.settings.model_settings import UF3Config
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train

GRID = ThreeBodyGrid(2.0, 5.0, 5)


def fluid(seed: int, types: int = 1, n: int = 64) -> CGFrame:
    """A shaken lattice, in which no two beads collide."""
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = 4.0 * lattice + rng.uniform(-0.6, 0.6, size=(n, 3))
    names = ("A", "B")[:types]
    topology = Topology(names, (78.0, 40.0)[:types], np.arange(n) % types, np.arange(n))
    return CGFrame(topology, positions, 4.0 * side * np.eye(3))


def truth(types: int = 1) -> UF3Potential:
    rng = np.random.default_rng(9)
    names = ("A", "B")[:types]
    width = 28 + 3
    u = 0.02 * rng.normal(size=(types * (types + 1) // 2, width))
    u += 0.5 * np.exp(-0.4 * np.arange(width))
    u[:, -3:] = 0.0
    c = 0.05 * rng.normal(size=ThreeBody(names, GRID).size)
    return UF3Potential(PairTable(names, 7.0, u, {}), GRID, c, {})


def labelled(potential: UF3Potential, count: int, types: int = 1) -> list[CGFrame]:
    frames = []
    for seed in range(count):
        frame = fluid(seed, types)
        forces, virial, energy = potential.labels(frame)
        frames.append(
            replace(frame, forces=forces, virial=virial, energy=energy + 3.0, source_frame=seed)
        )
    return frames


MODEL = UF3Config(
    cutoff=7.0,
    spacing=0.25,
    three_body_cutoff=5.0,
    three_body_inner=2.0,
    three_body_intervals=5,
    smooth=1e-10,
    ridge=1e-10,
)


def test_a_known_potential_is_found_again() -> None:
    known = truth()
    found = fit_uf3(MODEL, labelled(known, 20), 300.0, stress=True, quiet=True)
    new = fluid(99)
    forces, virial, _ = known.labels(new)
    fitted = found.labels(new)
    assert np.abs(fitted[0] - forces).max() < 2e-2 * np.abs(forces).max()
    assert np.allclose(fitted[1], virial, atol=2e-2 * np.abs(virial).max())
    assert found.info["energy_rows"]
    assert found.info["virial_rows"]
    assert abs(found.info["mean_pressure_residual_bar"]) < 1e-6
    assert found.info["energy_rmse_per_site"] < 1e-4


def test_pairs_alone_miss_what_three_bodies_do() -> None:
    frames = labelled(truth(), 8)
    pair = replace_model(three_body_cutoff=None)
    alone = fit_uf3(pair, frames, 300.0, stress=True, quiet=True)
    assert alone.grid is None
    both = fit_uf3(MODEL, frames, 300.0, stress=True, quiet=True)
    assert both.info["force_rmse"] < 0.3 * alone.info["force_rmse"]


def replace_model(**change: object) -> UF3Config:
    return UF3Config(**{**MODEL.model_dump(), **change})  # type: ignore[arg-type]


def test_write_and_read(tmp_path: Path) -> None:
    known = truth(2)
    back = UF3Potential.read(known.write(tmp_path / "uf3.json"))
    frame = fluid(1, 2)
    for a, b in zip(known.labels(frame), back.labels(frame), strict=True):
        assert np.array_equal(a, b)
    record = json.loads((tmp_path / "uf3.json").read_text())
    record["three_body"]["coefficients_eV"].pop()
    (tmp_path / "short.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="coefficients, found"):
        UF3Potential.read(tmp_path / "short.json")
    record["format"] = "other"
    (tmp_path / "other.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="expected a UF3 potential of format"):
        UF3Potential.read(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"three_body_cutoff": 8.0}, "exceeds cutoff"),
        ({"three_body_inner": 5.0}, "is not below"),
        ({"spacing": 2.0}, "fewer than 4 intervals"),
        ({"layers": 2}, "layers"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace_model(**change)


def lammps(folder: Path, frame: CGFrame, commands: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Forces, virial and energy of LAMMPS on a frame, in a process of its own."""
    from cgpot.formats.lammps.cg_data import write_data
    from cgpot.md.engine import find_lammps

    write_data(folder / "system.data", frame)
    (folder / "in.check").write_text(
        "units metal\natom_style molecular\nspecial_bonds lj/coul 1 1 1\n"
        f"read_data system.data\n{commands}\n"
        "compute v all pressure NULL virial\nthermo_style custom pe c_v[1] c_v[2] c_v[3] c_v[4] "
        "c_v[5] c_v[6] vol\nthermo_modify format float %.12g\n"
        "dump d all custom 1 out.dump id fx fy fz\ndump_modify d sort id format float %.12g\n"
        "run 0\n"
    )
    found = find_lammps()
    done = subprocess.run(
        [*found.command, "-in", "in.check", "-log", "none"],
        cwd=folder,
        env=dict(found.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    lines = done.stdout.splitlines()
    at = next(k for k, line in enumerate(lines) if line.split()[:1] == ["PotEng"])
    values = np.array(lines[at + 1].split(), dtype=float)
    xx, yy, zz, xy, xz, yz = values[1:7] * values[7] / 1.602176634e6
    forces = np.loadtxt(folder / "out.dump", skiprows=9)[:, 1:]
    virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return forces, virial, float(values[0])


@pytest.mark.parametrize("types", [1, 2])
def test_lammps_computes_the_same(tmp_path: Path, types: int) -> None:
    known = truth(types)
    frame = fluid(5, types)
    lines = write_for_lammps(tmp_path, known, place=tmp_path).commands
    assert lines[0] == "pair_style uf3 3"
    found = lammps(tmp_path, frame, "\n".join(lines))
    forces, virial, energy = known.labels(frame)
    assert np.allclose(found[0], forces, rtol=0, atol=1e-8 * np.abs(forces).max())
    assert np.allclose(found[1], virial, rtol=0, atol=1e-6 * np.abs(virial).max())
    assert found[2] == pytest.approx(energy, rel=1e-9)


def settings(folder: Path, frames: list[CGFrame], **model: object) -> Path:
    write_frames(folder / "train.extxyz", frames[2:])
    write_frames(folder / "val.extxyz", frames[:2])
    text = {
        "data": {"train": "train.extxyz", "val": "val.extxyz"},
        "system": {"temperature": 300.0},
        "model": {**MODEL.model_dump(), **model},
    }
    (folder / "train.yaml").write_text(json.dumps(text))
    return folder / "train.yaml"


@pytest.mark.parametrize("overlay", [True, False])
def test_train_deploy_and_lammps(tmp_path: Path, overlay: bool) -> None:
    frames = labelled(truth(), 8)
    config = load_config(settings(tmp_path, frames, overlay=overlay))
    outcome = train(config, tmp_path / "out", quiet=True)
    assert outcome.result["kind"] == "uf3"
    assert outcome.result["force_rmse"] < 0.2 * outcome.result["force_rmse_pair_fit"]
    assert outcome.result["energy_rmse_per_site"] < 1e-3
    assert train(config, tmp_path / "out", quiet=True).skipped
    other = load_config(settings(tmp_path, frames, overlay=overlay, smooth=1e-5))
    with pytest.raises(InputError, match=r"other inputs \(config.model.smooth"):
        train(other, tmp_path / "out", quiet=True)

    again = evaluate_model(
        tmp_path / "out", [tmp_path / "val.extxyz"], tmp_path / "evaluated", quiet=True
    )
    assert again["force_rmse"] == pytest.approx(outcome.result["force_rmse"])

    done = deploy(tmp_path / "out", tmp_path / "deployed", quiet=True)
    assert done.content["kind"] == "uf3"
    assert not done.skipped
    assert deploy(tmp_path / "out", tmp_path / "deployed", quiet=True).skipped
    found = lammps(tmp_path, frames[0], f"include {tmp_path}/deployed/model.pair.lmp")
    forces, virial, energy = UF3Potential.read(tmp_path / "out" / "uf3.json").labels(frames[0])
    assert np.allclose(found[0], forces, atol=1e-3 * np.abs(forces).max())
    assert np.allclose(found[1], virial, atol=1e-3 * np.abs(virial).max())
    assert found[2] == pytest.approx(energy, rel=1e-3)


def test_the_networks_type_is_refused(tmp_path: Path) -> None:
    from cgpot.training.linear.uf3_stage import train_uf3

    path = settings(tmp_path, labelled(truth(), 4))
    config = load_config(path)
    with pytest.raises(ConfigError, match="expected a model of type 'uf3'"):
        train_uf3(
            config.model_copy(update={"model": type(config).model_fields["model"].default}),
            tmp_path / "out",
        )
