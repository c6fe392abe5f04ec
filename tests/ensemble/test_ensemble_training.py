# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot ensemble``: members, bootstrap, statistics, resuming, deployment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from training_systems import write_case

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.deploy.deployed_ensemble import deploy_ensemble, is_ensemble
from cgpot.ensemble.members import (
    force_spread,
    member_config,
    read_ensemble,
    spread_statistics,
    train_ensemble,
)
from cgpot.training.settings.train_settings import load_config


def command(*arguments: object) -> Any:
    from cgpot.cli import ensemble

    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    ensemble.register(app)
    return CliRunner().invoke(
        app, ["ensemble", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "120"}
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(
        tmp_path_factory.mktemp("ensemble"),
        model={"features": 2, "layers": 1},
        optimiser={"epochs": 1},
    )


@pytest.fixture(scope="module")
def trained(case: Path) -> Path:
    out = case.parent / "out"
    result = command(case, "--members", 2, "--bootstrap", "-o", out, "-q")
    assert result.exit_code == 0
    assert "2 members, 4 test frames" in result.stdout
    return out


def parity(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "parity.npz") as arrays:
        return dict(arrays)


def test_members_differ_by_seed_and_sample(trained: Path) -> None:
    record = json.loads((trained / "ensemble.json").read_text())
    assert record["format"] == "cgpot-ensemble-1"
    assert record["members"] == ["member.0", "member.1"]
    assert record["seeds"] == [3, 4]
    manifest = check_manifest(trained / "ensemble.json", stage="ensemble")
    assert len(manifest["inputs"]["members"]) == 2
    inputs = [json.loads((trained / f"member.{k}" / "inputs.json").read_text()) for k in (0, 1)]
    assert [i["config"]["seed"] for i in inputs] == [3, 4]
    assert [i["selection"]["bootstrap"] for i in inputs] == [3, 4]
    assert read_ensemble(trained)[1] == [trained / "member.0", trained / "member.1"]


def test_statistics_are_those_of_the_parity_arrays(trained: Path) -> None:
    spread = json.loads((trained / "ensemble.json").read_text())["spread"]
    a, b = (parity(trained / f"member.{k}") for k in (0, 1))
    # two members: the sample deviation of each component is |difference| / sqrt(2)
    each = np.linalg.norm(a["force_model"] - b["force_model"], axis=1) / np.sqrt(2.0)
    assert spread["force_spread_rms"] == pytest.approx(np.sqrt(np.mean(each**2)), rel=1e-5)
    assert spread["force_spread_max"] == pytest.approx(each.max(), rel=1e-5)
    mean = 0.5 * (a["force_model"] + b["force_model"]) - a["force_label"]
    assert spread["force_rmse_mean"] == pytest.approx(np.sqrt(np.mean(mean**2)), rel=1e-5)
    results = [json.loads((trained / f"member.{k}" / "result.json").read_text()) for k in (0, 1)]
    assert spread["force_rmse_members"] == pytest.approx([r["force_rmse"] for r in results])
    pressures = [np.mean(p["pressure_model_bar"]) for p in (a, b)]
    assert spread["pressure_spread_bar"] == pytest.approx(np.std(pressures, ddof=1), rel=1e-4)
    assert -1.0 <= spread["spearman_spread_error"] <= 1.0


def test_spread_on_frames_is_that_of_the_parity_arrays(trained: Path, case: Path) -> None:
    """The members label frames of a file anew; their test errors were computed in training."""
    from cgpot.ensemble.trajectory_spread import evaluate_spread, load_members

    members = load_members([trained])
    assert members.names == ("BEA",)
    found = evaluate_spread([case.parent / "test.extxyz"], members, quiet=True)
    forces = np.stack([parity(trained / f"member.{k}")["force_model"] for k in (0, 1)])
    expected = np.linalg.norm(forces[0] - forces[1], axis=1) / np.sqrt(2.0)
    np.testing.assert_allclose(
        np.concatenate([item.spread for item in found]), expected, atol=2e-5 * np.abs(forces).max()
    )
    # the same from the folders of the members
    again = load_members([trained / "member.0", trained / "member.1"])
    np.testing.assert_allclose(again.spread(found[0].frame), found[0].spread, rtol=1e-5)
    with pytest.raises(InputError, match=r"model.ckpt: expected a folder of 'cgpot train' or"):
        load_members([trained / "member.0" / "model.ckpt", trained / "member.1"])


def test_the_same_command_does_nothing(trained: Path, case: Path) -> None:
    before = (trained / "ensemble.json").stat().st_mtime_ns
    result = command(case, "--members", 2, "--bootstrap", "-o", trained, "-q")
    assert "nothing to do" in result.stdout
    assert (trained / "ensemble.json").stat().st_mtime_ns == before


def test_an_interrupted_ensemble_goes_on(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cgpot.training.training_stage as stage
    from cgpot.training.training_stage import Outcome

    config, calls = load_config(case), []

    def fake(settings: Any, output: Path, **options: Any) -> Outcome:
        calls.append((settings.seed, settings.data.bootstrap, output.name))
        if len(calls) == 2:
            raise KeyboardInterrupt
        output.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(settings.seed)
        label = np.random.default_rng(0).normal(size=(20, 3))
        np.savez(
            output / "parity.npz",
            force_label=label, force_model=label + rng.normal(size=(20, 3)),
            pressure_model_bar=rng.normal(size=2),
        )  # fmt: skip
        record = {"bead_names": ["BEA"], "temperature": 5.0, "n_test": 4}
        (output / "result.json").write_text(json.dumps(record))
        return Outcome(output, record, skipped=len(calls) > 3)

    monkeypatch.setattr(stage, "train", fake)
    with pytest.raises(KeyboardInterrupt):
        train_ensemble(config, tmp_path / "e", 3, quiet=True)
    assert not (tmp_path / "e" / "ensemble.json").exists()
    done = train_ensemble(config, tmp_path / "e", 3, quiet=True)
    assert calls[2:] == [(3, None, "member.0"), (4, None, "member.1"), (5, None, "member.2")]
    assert done.content["members"] == ["member.0", "member.1", "member.2"]
    # the mean of independent errors has a smaller one
    assert done.content["spread"]["force_rmse_mean"] < min(
        done.content["spread"]["force_rmse_members"]
    )


def test_spread_is_the_sample_deviation() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(scale=0.1, size=(2000, 4000, 3))[:5]
    assert np.sqrt(np.mean(force_spread(noise) ** 2)) == pytest.approx(0.1 * np.sqrt(3), rel=0.02)
    assert np.all(force_spread(np.ones((3, 7, 3))) == 0.0)


def test_correlation_finds_the_beads_that_are_off() -> None:
    rng = np.random.default_rng(2)
    label = rng.normal(size=(500, 3))
    scale = np.linspace(0.01, 1.0, 500)[:, None]
    members = [
        {
            "force_label": label,
            "force_model": label + scale * rng.normal(size=(500, 3)),
            "pressure_model_bar": np.zeros(2),
        }
        for _ in range(6)
    ]
    found = spread_statistics(members)
    assert found["spearman_spread_error"] > 0.6
    assert found["force_rmse_mean"] < 0.6 * min(found["force_rmse_members"])
    for member in members:
        member["force_model"] = label
    assert spread_statistics(members)["pearson_spread_error"] is None


def test_seeds_of_members(case: Path) -> None:
    config = load_config(case)
    assert member_config(config, 2, bootstrap=False).seed == 5
    assert member_config(config, 2, bootstrap=False).data.bootstrap is None
    assert member_config(config, 2, bootstrap=True).data.bootstrap == 5
    fixed = config.model_copy(update={"data": config.data.model_copy(update={"bootstrap": 100})})
    assert member_config(fixed, 2, bootstrap=True).data.bootstrap == 102


def test_errors(case: Path, trained: Path, tmp_path: Path) -> None:
    config = load_config(case)
    with pytest.raises(ConfigError, match="key 'members': an ensemble has at least 2 members, f"):
        train_ensemble(config, tmp_path, 1)
    with pytest.raises(InputError, match=r"the folder holds a run with other inputs \(config.seed"):
        train_ensemble(config.model_copy(update={"seed": 9}), trained, 2, quiet=True)
    label = np.zeros((4, 3))
    a = {"force_label": label, "force_model": label, "pressure_model_bar": label[0]}
    with pytest.raises(DataError, match="member 1 was tested on other frames than member 0"):
        spread_statistics([a, {**a, "force_label": label + 1}])
    with pytest.raises(InputError, match="no such ensemble"):
        read_ensemble(tmp_path)
    (tmp_path / "ensemble.json").write_text("{}")
    with pytest.raises(InputError, match="expected format 'cgpot-ensemble-1'"):
        read_ensemble(tmp_path)
    with pytest.raises(InputError, match="expected format 'cgpot-ensemble-1'"):
        deploy_ensemble(tmp_path, tmp_path / "d")
    record = {"format": "cgpot-ensemble-1", "members": ["member.7"], "kind": "mscg"}
    (tmp_path / "ensemble.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"the member member\.7 is missing"):
        read_ensemble(tmp_path)
    with pytest.raises(InputError, match="an ensemble of mscg models without their mean; run"):
        deploy_ensemble(tmp_path, tmp_path / "d")


@pytest.mark.slow
def test_deployed_members_and_a_run(trained: Path, case: Path, tmp_path: Path) -> None:
    """Two compilations, then MD with the mean: the forces of LAMMPS are those of the members."""
    from cgpot.deploy.verify import CompiledModel
    from cgpot.md.md_settings import MdConfig
    from cgpot.md.md_stage import run_md
    from cgpot.molecules.extxyz import read_frames

    assert is_ensemble(trained)
    done = deploy_ensemble(trained, tmp_path / "deploy", quiet=True)
    assert done.sidecar.name == "model.ensemble.json"
    assert done.content["members"] == ["model.0.nequip.pt2", "model.1.nequip.pt2"]
    assert deploy_ensemble(trained, tmp_path / "deploy", quiet=True).skipped
    start = case.parent / "test.extxyz"
    settings = MdConfig(
        start=start, model=tmp_path / "deploy", length_ps=0.02, timestep_fs=1.0, thermo_ps=0.01,
        dump_ps=0.01, temperature=5.0, spread_every=10, spread_threshold=1e-9,
    )  # fmt: skip
    record = run_md("nvt", settings, tmp_path / "md", quiet=True)
    assert record["complete"]
    frame = next(iter(read_frames(start)))
    labels = [
        CompiledModel(tmp_path / "deploy" / name).labels(frame) for name in done.content["members"]
    ]
    spread = force_spread(np.stack([label.forces for label in labels]))
    from cgpot.ensemble.trajectory_spread import load_members

    np.testing.assert_allclose(
        load_members([tmp_path / "deploy"]).spread(frame), spread, rtol=1e-4, atol=1e-6
    )
    header, first = (tmp_path / "md" / "thermo.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert float(row["force_spread_max_eV_A"]) == pytest.approx(spread.max(), rel=1e-3)
    assert float(row["pe_eV"]) == pytest.approx(np.mean([x.energy for x in labels]), rel=1e-4)
    frames = list(read_frames(tmp_path / "md" / "run.spread.extxyz"))
    assert [f.source_frame for f in frames] == [0, 10, 20]
