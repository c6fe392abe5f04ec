# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices, precision, loggers and the order in which frames are dealt out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from training_systems import settings, write_case

from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, DataError
from cgpot.training.folder.graph_frames import BlockSampler, EpochSampler
from cgpot.training.folder.subsets import load_subsets
from cgpot.training.network.lightning_module import read_table
from cgpot.training.network.preparation import prepare
from cgpot.training.settings.machine_settings import PrecisionConfig, environment, logger_records
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import Folder, train


def test_processes_share_the_batches_of_one() -> None:
    """Batches of 2 frames on 3 processes are together the batches of 6 on one."""
    whole = EpochSampler(18, 5)
    parts = [EpochSampler(18, 5, rank, 3) for rank in range(3)]
    for epoch in (0, 4):
        for sampler in (whole, *parts):
            sampler.set_epoch(epoch)
        order = list(whole)
        shards = [list(part) for part in parts]
        for step in range(3):
            together = {k for shard in shards for k in shard[2 * step : 2 * step + 2]}
            assert together == set(order[6 * step : 6 * step + 6])


def test_an_uneven_number_of_frames_is_filled_up() -> None:
    parts = [EpochSampler(7, 5, rank, 3) for rank in range(3)]
    shards = [list(part) for part in parts]
    assert [len(shard) for shard in shards] == [len(part) for part in parts] == [3, 3, 3]
    assert set(np.concatenate(shards).tolist()) == set(range(7))


def test_held_out_frames_are_dealt_out_once_and_in_order() -> None:
    shards = [list(BlockSampler(7, rank, 3)) for rank in range(3)]
    assert [k for shard in shards for k in shard] == list(range(7))
    with pytest.raises(DataError, match="at least 3 held-out frames"):
        BlockSampler(2, 0, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devices": 4}, "expected a multiple of devices 4"),
        ({"precision": {"tf32": True}}, "precision.tf32 is of GPUs"),
        ({"precision": {"mixed": "bf16"}}, "works with model.type schnet, found 'nequip'"),
        (
            {"precision": {"tf32": True}, "accelerator": "gpu", "model": {"dtype": "float64"}},
            "tf32: true needs model.dtype float32, found float64",
        ),
        ({"logger": ["wandb", "wandb-offline"]}, "not both"),
    ],
)
def test_combinations_that_do_not_work_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validate(TrainConfig, settings(**changes))


def test_a_missing_logger_names_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        validate(TrainConfig, settings(logger="tensorboard"))
    with pytest.raises(ConfigError, match="pip install wandb"):
        validate(TrainConfig, settings(logger=["none", "wandb-offline"]))


def test_loggers_devices_and_precision_reach_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cgpot.training.settings.train_settings as module

    monkeypatch.setattr(module, "check_loggers", lambda names: None)
    path = write_case(
        tmp_path / "case",
        devices=2,
        accelerator="gpu",
        precision={"tf32": True},
        logger=["tensorboard", "wandb-offline"],
    )
    config = load_config(path)
    folder = Folder(tmp_path / "out")
    folder.path.mkdir()
    prepare(config, folder, load_subsets(config)["train"], quiet=True)
    record = yaml.safe_load(folder.nequip.read_text(encoding="utf-8"))
    trainer = record["trainer"]
    assert trainer["devices"] == 2
    assert trainer["strategy"] == {"_target_": "nequip.train.SimpleDDPStrategy"}
    assert trainer["use_distributed_sampler"] is False
    assert record["data"]["train_dataloader"]["batch_size"] == 1
    targets = [logger["_target_"].rsplit(".", 1)[-1] for logger in trainer["logger"]]
    assert targets == ["TensorBoardLogger", "WandbLogger"]
    assert trainer["logger"][1]["offline"] is True
    callbacks = {c["_target_"]: c for c in trainer["callbacks"]}
    assert callbacks["nequip.train.callbacks.TF32Scheduler"]["schedule"] == {0: True}


def test_no_logger_is_lightnings_false(tmp_path: Path) -> None:
    assert logger_records([], tmp_path) is False


def test_compiled_code_is_kept_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert environment(3)["TORCHINDUCTOR_CACHE_DIR"] == "/cache/cgpot/inductor"
    assert environment(3)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert environment(1)["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"


def test_bf16_is_for_schnet() -> None:
    record = settings(precision={"mixed": "bf16"})
    record["model"] = {"type": "schnet", "cutoff": 5.0, "features": 8}
    assert validate(TrainConfig, record).precision == PrecisionConfig(mixed="bf16")
    with pytest.raises(ConfigError, match="needs compile: false"):
        validate(TrainConfig, {**record, "compile": True})


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    """Two CPU processes (gloo), batch 4 shared, the last batch smaller: equal to rounding."""
    tables = []
    for devices in (1, 2):
        path = write_case(
            tmp_path / str(devices),
            devices=devices,
            model={"dtype": "float64"},
            optimiser={"batch_size": 4, "epochs": 2},
        )
        train(load_config(path), tmp_path / f"out{devices}", quiet=True)
        tables.append(read_table(tmp_path / f"out{devices}" / "metrics.csv"))
    for one, two in zip(*tables, strict=True):
        for column in ("train_loss", "val_loss", "val_force_rmse", "val_pressure_residual_bar"):
            assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-6)
