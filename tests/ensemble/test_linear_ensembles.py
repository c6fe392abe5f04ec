# SPDX-License-Identifier: GPL-2.0-or-later
"""Ensembles of linear models: bootstrap members, their mean, LAMMPS, their spread on frames."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from linear_systems import lammps_point, shaken

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.deploy.deployed_ensemble import deploy_ensemble
from cgpot.ensemble.linear_mean import mean_mscg, mean_uf3, write_mean
from cgpot.ensemble.members import train_ensemble
from cgpot.ensemble.trajectory_spread import evaluate_spread, load_members
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.bonds import BondBasis
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.select.active import judged, select
from cgpot.training.linear.mscg import MSCGPotential
from cgpot.training.settings.train_settings import load_config

MEMBERS = 3
MODELS = {
    "mscg": "{type: mscg, cutoff: 6.5, spacing: 0.5, smooth: 1.0e-6, "
    "three_body: {cutoff: 6.0, gamma: 1.2, intervals: 4}}",
    "uf3": "{type: uf3, cutoff: 6.5, spacing: 0.5, three_body_cutoff: 5.5, three_body_inner: 2.0, "
    "three_body_intervals: 4}",
    "bonds": "{type: mscg, cutoff: 6.5, spacing: 0.5, smooth: 1.0e-6, "
    "bonds: {types: [[A, B]], spacing: 0.1}}",
}


def noisy(count: int, first: int, molecule: int = 1) -> list[CGFrame]:
    """Frames with repulsive pair forces, springs in molecules, and noise on the labels."""
    rng = np.random.default_rng(first)
    frames = []
    for number in range(count):
        frame = shaken(first + number, 2 if molecule > 1 else 1, molecule=molecule)
        delta = frame.positions[None] - frame.positions[:, None]
        delta -= np.round(delta @ np.linalg.inv(frame.cell)) @ frame.cell
        r = np.linalg.norm(delta, axis=-1)
        np.fill_diagonal(r, np.inf)
        slope = np.where(r < 6.5, -0.4 * (1.0 - r / 6.5) ** 2, 0.0)
        same = frame.topology.molecules[:, None] == frame.topology.molecules[None]
        slope = np.where(same & np.isfinite(r), 6.0 * (np.where(same, r, 0) - 1.6), slope)
        slope[np.isinf(r)] = 0.0
        forces = ((slope / r)[..., None] * delta).sum(axis=1)
        virial = -0.5 * np.einsum("ija,ijb->ab", delta, (slope / r)[..., None] * delta)
        forces = forces + 0.03 * rng.normal(size=forces.shape)
        frames.append(
            replace(
                frame,
                forces=forces - forces.mean(axis=0),
                virial=virial,
                time=float(number),
                source_frame=number,
            )
        )
    return frames


def case(folder: Path, kind: str) -> Path:
    frames = noisy(16, 10, 2 if kind == "bonds" else 1)
    write_frames(folder / "train.extxyz", frames)
    write_frames(folder / "val.extxyz", frames[:3])
    path = folder / "train.yaml"
    path.write_text(
        "data: {train: train.extxyz, val: val.extxyz}\nsystem: {temperature: 300}\n"
        f"model: {MODELS[kind]}\nseed: 5\n"
    )
    return path


@pytest.fixture(scope="module", params=["mscg", "uf3"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    path = case(folder, request.param)
    from cgpot.cli import ensemble

    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    ensemble.register(app)
    words = [
        "ensemble",
        str(path),
        "-k",
        str(MEMBERS),
        "--bootstrap",
        "-o",
        str(folder / "e"),
        "-q",
    ]
    result = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "3 members, 3 test frames" in result.stdout
    assert "the mean of the members is a model of its own" in result.stdout
    return folder / "e"


def potentials(ensemble: Path) -> list[MSCGPotential | UF3Potential]:
    kind = json.loads((ensemble / "ensemble.json").read_text())["kind"]
    read = MSCGPotential.read if kind == "mscg" else UF3Potential.read
    return [read(ensemble / name / f"{kind}.json") for name in
            [f"member.{k}" for k in range(MEMBERS)] + ["mean"]]  # fmt: skip


def test_members_differ_and_the_mean_is_their_mean(trained: Path) -> None:
    *members, mean = potentials(trained)
    frame = noisy(1, 50)[0]
    labels = [m.labels(frame) for m in members]
    assert np.abs(labels[0][0] - labels[1][0]).max() > 1e-3
    found = mean.labels(frame)
    scale = np.abs(labels[0][0]).max()
    np.testing.assert_allclose(found[0], np.mean([x[0] for x in labels], axis=0), atol=1e-9 * scale)
    np.testing.assert_allclose(found[1], np.mean([x[1] for x in labels], axis=0), rtol=1e-9)
    assert found[2] == pytest.approx(np.mean([x[2] for x in labels]))


def test_statistics_are_those_of_the_members(trained: Path) -> None:
    record = json.loads((trained / "ensemble.json").read_text())
    members = potentials(trained)[:-1]
    test = list(read_frames(trained.parent / "val.extxyz"))
    forces = np.stack([np.concatenate([m.labels(f)[0] for f in test]) for m in members])
    label = np.concatenate([f.forces for f in test])
    spread = np.sqrt(np.cov(forces.reshape(MEMBERS, -1), rowvar=False, ddof=1).diagonal()
                     .reshape(-1, 3).sum(axis=1))  # fmt: skip
    assert record["spread"]["force_spread_max"] == pytest.approx(spread.max(), rel=1e-4)
    assert record["spread"]["force_spread_rms"] == pytest.approx(
        np.sqrt(np.mean(spread**2)), rel=1e-4
    )
    error = float(np.sqrt(np.mean((forces.mean(axis=0) - label) ** 2)))
    mean = json.loads((trained / "mean" / "result.json").read_text())
    assert mean["force_rmse"] == pytest.approx(error, rel=1e-5)
    assert record["spread"]["force_rmse_mean"] == pytest.approx(error, rel=1e-5)
    assert mean["mean_of"] == ["member.0", "member.1", "member.2"]
    assert mean["pressure_residual_bar"]["error"] > 0
    assert check_manifest(trained / "mean" / "result.json", stage="training")


def test_the_deployed_mean_in_lammps(trained: Path, tmp_path: Path) -> None:
    done = deploy_ensemble(trained, tmp_path / "d", quiet=True)
    assert done.content["members"] == [f"model.{k}.pair.lmp" for k in range(MEMBERS)]
    assert done.content["pair_file"] == "model.pair.lmp"
    assert deploy_ensemble(trained, tmp_path / "d", quiet=True).skipped
    with pytest.raises(InputError, match=r"model.ensemble.json: tables of linear models; expected"):
        load_members([tmp_path / "d"])
    *members, mean = potentials(trained)
    frame = noisy(1, 50)[0]
    for name, potential in (("model", mean), ("model.1", members[1])):
        energy, forces, virial = lammps_point(
            tmp_path / name, frame, tmp_path / "d" / f"{name}.pair.lmp"
        )
        ours = potential.labels(frame)
        np.testing.assert_allclose(forces, ours[0], atol=5e-4 * np.abs(ours[0]).max())
        np.testing.assert_allclose(virial, ours[1], atol=5e-4 * np.abs(ours[1]).max())
        assert energy == pytest.approx(ours[2], rel=5e-4, abs=1e-3)


def test_spread_of_a_trajectory(trained: Path, tmp_path: Path) -> None:
    frames = [replace(f, forces=None, virial=None) for f in noisy(4, 60)]
    write_frames(tmp_path / "run.extxyz", frames)
    members = potentials(trained)[:-1]
    expected = []
    for frame in read_frames(tmp_path / "run.extxyz"):
        forces = np.stack([m.labels(frame)[0] for m in members])
        expected.append(np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1)))
    record = select(
        [tmp_path / "run.extxyz"], tmp_path / "out", count=2, models=[trained], temperature=None
    )
    with np.load(tmp_path / "out" / "spread.npz") as arrays:
        np.testing.assert_allclose(arrays["spread"], np.stack(expected), rtol=1e-5)
    rows = (tmp_path / "out" / "spread.csv").read_text().splitlines()
    assert len(rows) == 5
    for row, s in zip(rows[1:], expected, strict=True):
        values = [float(x) for x in row.split(",")[4:]]
        np.testing.assert_allclose(values, [s.max(), s.mean(), np.sqrt(np.mean(s**2))], rtol=1e-5)
    largest = [s.max() for s in expected]
    wanted = [int(np.argmax(largest[:2])), 2 + int(np.argmax(largest[2:]))]
    assert [f["step"] for f in record["frames"]] == wanted
    assert record["frames"][0]["force_spread_mean"] == pytest.approx(expected[wanted[0]].mean())
    assert record["candidates"] == 4
    found, every = judged(
        [tmp_path / "run.extxyz"], [trained], threshold=sorted(largest)[1], quiet=True
    )
    assert len(every) == 4
    assert len(found) == 2
    with pytest.raises(InputError, match=r"none of the 4 frames has a force spread above 99 eV/Å"):
        judged([tmp_path / "run.extxyz"], [trained], threshold=99.0, quiet=True)


def test_dumps_and_strides(trained: Path, tmp_path: Path) -> None:
    frame = noisy(1, 60)[0]
    rows = "\n".join(
        f"{k + 1} {k + 1} 1 {x:.10g} {y:.10g} {z:.10g}"
        for k, (x, y, z) in enumerate(frame.positions)
    )
    box = "\n".join(f"0.0 {frame.cell[i, i]:.10g}" for i in range(3))
    text = "".join(
        f"ITEM: UNITS\nmetal\nITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n64\n"
        f"ITEM: BOX BOUNDS pp pp pp\n{box}\nITEM: ATOMS id mol type x y z\n{rows}\n"
        for step in (0, 100, 200)
    )
    (tmp_path / "nvt").mkdir()
    (tmp_path / "nvt" / "run.0.dump").write_text(text)
    members = load_members([trained])
    assert members.names == ("A",)
    for source in (tmp_path / "nvt", tmp_path / "nvt" / "run.0.dump"):
        found = evaluate_spread([source], members, stride=2, quiet=True)
        assert [item.frame.source_frame for item in found] == [0, 200]
        np.testing.assert_allclose(found[0].spread, members.spread(frame), rtol=1e-6)
    (tmp_path / "two.dump").write_text(text.replace("\n64 64 1 ", "\n64 64 2 "))
    with pytest.raises(InputError, match=r"two.dump, frame 0: type 2; the models know \['A'\]"):
        evaluate_spread([tmp_path / "two.dump"], members, quiet=True)
    (tmp_path / "none.dump").write_text("")
    with pytest.raises(InputError, match=r"none.dump: the trajectories hold no frame"):
        evaluate_spread([tmp_path / "none.dump"], members, quiet=True)


def test_the_same_members_keep_their_mean(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "e")
    kind = json.loads((trained / "ensemble.json").read_text())["kind"]
    folders = [tmp_path / "e" / f"member.{k}" for k in range(MEMBERS)]
    result = tmp_path / "e" / "mean" / "result.json"
    before = result.stat().st_mtime_ns
    write_mean(tmp_path / "e", folders, kind)
    assert result.stat().st_mtime_ns == before
    write_mean(tmp_path / "e", folders[:2], kind)
    assert json.loads(result.read_text())["mean_of"] == ["member.0", "member.1"]


def test_bonds_of_members_with_different_spans(tmp_path: Path) -> None:
    config = load_config(case(tmp_path, "bonds"))
    train_ensemble(config, tmp_path / "e", MEMBERS, bootstrap=True, quiet=True)
    members = [MSCGPotential.read(tmp_path / "e" / f"member.{k}" / "mscg.json") for k in range(3)]
    mean = MSCGPotential.read(tmp_path / "e" / "mean" / "mscg.json")
    spans = {(m.bonds.low, m.bonds.high) for m in members}
    assert len(spans) > 1
    assert isinstance(mean.bonds, BondBasis)
    assert (mean.bonds.low, mean.bonds.high) == (min(a for a, _ in spans), max(b for _, b in spans))
    frame = noisy(12, 10, 2)[-1]
    labels = [m.labels(frame) for m in members]
    found = mean.labels(frame)
    expected = np.mean([x[0] for x in labels], axis=0)
    np.testing.assert_allclose(found[0], expected, atol=0.005 * np.abs(expected).max())
    assert mean.info["bond_resampling"] < 0.01
    r = np.linspace(mean.bonds.low - 0.2, mean.bonds.high + 0.2, 40)
    slopes = np.mean([m.bonds.evaluate(m.part("bond"), 0, r)[1] for m in members], axis=0)
    ours = mean.bonds.evaluate(mean.part("bond"), 0, r)[1]
    np.testing.assert_allclose(ours, slopes, atol=0.03 * np.abs(slopes).max())
    assert (tmp_path / "e" / "mean" / "model.bond").is_file()


@pytest.mark.parametrize("trained", ["mscg"], indirect=True)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r_max_A": 7.5}, r"the pair grid \(Å, intervals\) is \(7.5, 13\), that of member.0"),
        ({"three_body": None}, r"the three-body form \(Å, Å, intervals\) is None"),
    ],
)
def test_members_of_another_form(
    tmp_path_factory: pytest.TempPathFactory, trained: Path, change: dict, message: str
) -> None:
    folder = tmp_path_factory.mktemp("form")
    for k in range(2):
        shutil.copytree(trained / f"member.{k}", folder / f"member.{k}")
    file = folder / "member.1" / "mscg.json"
    record = {**json.loads(file.read_text()), **change}
    if "three_body" in change:
        record["coefficients_eV"].pop("three")
        record["jackknife_eV"] = []
    file.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        mean_mscg([folder / "member.0", folder / "member.1"])


def test_bonds_that_no_common_spline_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgpot.ensemble import linear_mean

    monkeypatch.setattr(linear_mean, "RESAMPLED", 1e-9)
    config = load_config(case(tmp_path, "bonds"))
    with pytest.raises(InputError, match="the bond splines of the members have different spans"):
        train_ensemble(config, tmp_path / "e", MEMBERS, bootstrap=True, quiet=True)
    # the members stay, and are not fitted again
    monkeypatch.undo()
    done = train_ensemble(config, tmp_path / "e", MEMBERS, bootstrap=True, quiet=True)
    assert done.content["mean"] == "mean"


def test_errors(trained: Path, tmp_path: Path) -> None:
    kind = json.loads((trained / "ensemble.json").read_text())["kind"]
    config = load_config(trained.parent / "train.yaml")
    with pytest.raises(ConfigError, match=rf"a fit of type '{kind}' has no random start: members"):
        train_ensemble(config, tmp_path / "x", 2, quiet=True)
    assert not (tmp_path / "x").exists()
    shutil.copytree(trained, tmp_path / "e")
    file = tmp_path / "e" / "member.1" / f"{kind}.json"
    record = json.loads(file.read_text())
    other = json.loads(json.dumps(record).replace('["A"]', '["B"]'))
    file.write_text(json.dumps(other))
    folders = [tmp_path / "e" / f"member.{k}" for k in range(MEMBERS)]
    mean = mean_mscg if kind == "mscg" else mean_uf3
    with pytest.raises(InputError, match=r"member\.1: the list of bead types is \('B',\), that of"):
        mean(folders)
    with pytest.raises(InputError, match="a model of kind 'network' has no mean of the same form"):
        write_mean(tmp_path / "e", folders, "network")
    ensemble = json.loads((tmp_path / "e" / "ensemble.json").read_text())
    (tmp_path / "e" / "ensemble.json").write_text(json.dumps({**ensemble, "mean": None}))
    with pytest.raises(InputError, match=rf"an ensemble of {kind} models without their mean; run"):
        deploy_ensemble(tmp_path / "e", tmp_path / "d")
    with pytest.raises(InputError, match="1 model; a spread needs at least two"):
        load_members([trained / "member.0"])
    shutil.copytree(trained / "member.0", tmp_path / "other" / "member.1")
    for name in (f"{kind}.json", "result.json"):
        file = tmp_path / "other" / "member.1" / name
        file.write_text(file.read_text().replace('"A"', '"C"'))
    (tmp_path / "other" / "member.1" / "result.json.manifest.json").unlink()
    with pytest.raises(InputError, match=r"member\.1: the members know different beads: \['A'\]"):
        load_members([trained / "member.0", tmp_path / "other" / "member.1"])
    with pytest.raises(InputError, match=r"none: no such file or folder"):
        load_members([tmp_path / "none"])
    frame = noisy(1, 60, molecule=2)[0]
    write_frames(tmp_path / "two.extxyz", [frame])
    with pytest.raises(InputError, match=r"two.extxyz, frame 0: bead types \['A', 'B'\]; the mod"):
        evaluate_spread([tmp_path / "two.extxyz"], load_members([trained]), quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no run.N.dump and no traj.extxyz.xz: not a fold"):
        evaluate_spread([tmp_path / "empty"], load_members([trained]), quiet=True)
    with pytest.raises(ConfigError, match="key 'threshold': needs --model: dumped frames were"):
        select([tmp_path / "two.extxyz"], tmp_path / "o", threshold=0.1)
