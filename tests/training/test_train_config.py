# SPDX-License-Identifier: GPL-2.0-or-later
"""train.yaml: what is refused, and where paths start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from training_systems import settings

from cgpot.core.config import validate
from cgpot.core.errors import CgpotError, ConfigError
from cgpot.training.settings.train_settings import TrainConfig, load_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"epochs": 3}}, "key 'optimizer': unknown key; did you mean 'optimiser'"),
        ({"model": {"cutof": 8.0}}, "key 'model.cutof': unknown key; did you mean 'cutoff'"),
        (
            {"model": {"type": "schnet"}},
            r"key 'model\.radial_width': unknown key \(known: .*gaussians",
        ),
        ({"model": {"type": "painn"}}, r"key 'model'.*painn"),
        ({"model": {"layers": "two"}}, r"model\.layers.*found 'two'"),
        ({"model": {"cutoff": -1.0}}, r"model\.cutoff.*greater than 0, found -1\.0"),
        ({"system": {"temperature": float("nan")}}, "finite number"),
        ({"loss": {"stress": "strong"}}, r"loss\.stress.*found 'strong'"),
        ({"loss": {"forces": 1.0, "stress": "auto"}}, "both forces and stress as numbers"),
        ({"loss": {"forces": 0.0, "stress": None}}, "cannot both have no weight"),
        ({"loss": {"stress": None, "mean_pressure": 2.0}}, "mean_pressure needs a stress weight"),
        ({"prior": {"type": "spline", "r_max": 9.0}}, r"r_max 9\.0 Å exceeds model\.cutoff 5\.0"),
        ({"prior": {"type": "spline", "spacing": 2.0}}, "fewer than 4 intervals"),
        ({"prior": {"type": "wall", "virial": "auto"}}, "need prior.type spline, found 'wall'"),
        ({"accelerator": "tpu"}, "key 'accelerator'.*found 'tpu'"),
    ],
)
def test_wrong_settings_name_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(TrainConfig, settings(**changes), "train.yaml")


def test_missing_section_is_named() -> None:
    record = settings()
    del record["system"]
    with pytest.raises(ConfigError, match="key 'system': the key is missing"):
        validate(TrainConfig, record, "train.yaml")


def test_every_option_has_a_description() -> None:
    def walk(model: Any) -> None:
        for name, field in model.model_fields.items():
            types = (field.annotation, *getattr(field.annotation, "__args__", ()))
            sections = [t for t in types if hasattr(t, "model_fields")]
            for inner in sections:
                assert inner.__doc__, name
                walk(inner)
            if sections:
                continue
            if model is not TrainConfig or name not in ("data", "system"):
                assert field.description, f"{model.__name__}.{name}"

    walk(TrainConfig)


def test_paths_start_at_the_yaml_file_or_at_the_data_set(tmp_path: Path) -> None:
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        for name in ("train", "val", "test"):
            (folder / f"{name}.extxyz").write_text("1\n", encoding="utf-8")
    path = tmp_path / "here" / "train.yaml"
    path.write_text(yaml.safe_dump(settings()), encoding="utf-8")
    assert load_config(path).data.train == tmp_path / "here" / "train.extxyz"
    (tmp_path / "there" / "report.json").write_text("{}", encoding="utf-8")
    data = load_config(path, tmp_path / "there").data
    assert data.train == tmp_path / "there" / "train.extxyz"
    assert data.report == tmp_path / "there" / "report.json"


def test_missing_and_shared_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings()), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"data\.train.*no such file"):
        load_config(path)
    (tmp_path / "train.extxyz").write_text("1\n", encoding="utf-8")
    record = settings(data={"val": "train.extxyz", "test": None})
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    with pytest.raises(CgpotError, match="cannot be the held-out frames too"):
        load_config(path)
    with pytest.raises(ConfigError, match="expected the folder that 'cgpot dataset' wrote"):
        load_config(path, tmp_path / "nowhere")
