# SPDX-License-Identifier: GPL-2.0-or-later
"""Records that stages exchange: what fits is kept as it is, what does not is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cgpot.core import records
from cgpot.core.errors import InputError
from cgpot.core.records import (
    DeployedEnsembleRecord,
    DeployedTablesRecord,
    EnsembleRecord,
    ModelRecord,
    TrainingRecord,
)

ROOT = Path(__file__).resolve().parents[2]
TRAINING = {
    "format": "cgpot-training-1",
    "kind": "mscg",
    "bead_names": ["A", "B"],
    "masses": [15.0, 14.0],
    "cutoff": 10.0,
    "temperature": 300.0,
    "lammps": {"files": ["a.table"], "commands": ["pair_style zero 5"]},
    "force_rmse": 0.16,
    "n_train": 40,
    "something": {"else": [1, None]},
}
MODEL = {
    "format": "cgpot-model-1",
    "units": {"energy": "eV", "length": "angstrom"},
    "bead_names": ["A"],
    "masses": [78.114],
    "sha256": {"model.nequip.pt2": "0" * 64},
}


def test_what_is_written_is_what_was_given(tmp_path: Path) -> None:
    for kind, content in ((TrainingRecord, TRAINING), (ModelRecord, MODEL)):
        path = kind.write(tmp_path / "x.json", content)
        assert json.loads(path.read_text()) == content
        assert list(json.loads(path.read_text())) == list(content)
        assert kind.read(path).plain() == content


def test_fields() -> None:
    record = TrainingRecord.of(TRAINING, "result.json")
    assert record.bead_names == ("A", "B")
    assert record.pairs == "all"
    assert record.lammps is not None
    assert record.lammps.bonded is None
    assert record.quality() == {
        "n_train": 40, "force_rmse": 0.16, "force_rmse_pair_fit": None,
        "pressure_residual_bar": None,
    }  # fmt: skip
    thermal = {**TRAINING, "temperature_input": {"reference": 325.0, "scale": 25.0}}
    span = TrainingRecord.of(thermal, "result.json").temperature_input
    assert span is not None
    assert span.range == (300.0, 350.0)
    batch = {"file": "a.pt2", "batch_ms": 1.0, "members_ms": 2.0}
    ensemble = {"format": "cgpot-model-ensemble-1", "members": ["a", "b"], "batch": batch}
    found = DeployedEnsembleRecord.of(ensemble, "x").batch
    assert found is not None
    assert found.faster
    assert not found.model_copy(update={"members_ms": 0.5}).faster
    assert not found.model_copy(update={"file": None}).faster


@pytest.mark.parametrize(
    ("kind", "content", "change", "match"),
    [
        (TrainingRecord, TRAINING, {"format": "cgpot-training-0"},
         "key 'format': expected format 'cgpot-training-1', found 'cgpot-training-0': a folder of"),
        (TrainingRecord, TRAINING, {"bead_names": None}, "key 'bead_names': Input should be"),
        (TrainingRecord, TRAINING, {"masses": [1.0]}, "1 masses for 2 bead types"),
        (TrainingRecord, TRAINING, {"masses": [1.0, -2.0]}, r"key 'masses.1': .* greater than 0"),
        (TrainingRecord, TRAINING, {"temperature": "warm"}, "key 'temperature': .*found 'warm'"),
        (TrainingRecord, TRAINING, {"cutoff": float("nan")}, "key 'cutoff'"),
        (TrainingRecord, TRAINING, {"lammps": {"files": []}}, "'lammps.commands': the key is miss"),
        (TrainingRecord, TRAINING, {"temperature_input": {"reference": 3}}, "input.scale"),
        (ModelRecord, MODEL, {"units": "metal"}, "key 'units': "),
        (ModelRecord, MODEL, {"sha256": {"x": 1}}, "key 'sha256.x': "),
        (ModelRecord, MODEL, {"masses": []}, "0 masses for 1 bead types"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(
    tmp_path: Path, kind: Any, content: dict[str, Any], change: dict[str, Any], match: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(InputError, match=rf"x\.json.*{match}"):
        kind.read(path)
    with pytest.raises(InputError, match=match):
        kind.write(tmp_path / "y.json", {**content, **change})
    assert not (tmp_path / "y.json").exists()


def test_missing_keys_and_no_records(tmp_path: Path) -> None:
    for key in ("bead_names", "masses", "cutoff", "temperature"):
        short = {k: v for k, v in TRAINING.items() if k != key}
        with pytest.raises(InputError, match=f"r.json, key '{key}': the key is missing"):
            TrainingRecord.of(short, "r.json")
    for content in ([], None, "text", {}):
        with pytest.raises(InputError, match="expected format 'cgpot-model-1', found None"):
            ModelRecord.of(content, "m.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: not valid JSON"):
        ModelRecord.read(tmp_path / "bad.json")
    with pytest.raises(InputError, match="no such JSON file"):
        ModelRecord.read(tmp_path / "none.json")


def test_members(tmp_path: Path) -> None:
    for value in ([], "member.0", None):
        with pytest.raises(InputError, match="key 'members': expected a list of members, found"):
            EnsembleRecord.of({"format": "cgpot-ensemble-1", "members": value}, "e.json")
    for kind in (DeployedEnsembleRecord, DeployedTablesRecord):
        content = {"format": kind.FORMAT, "members": ["one"], "pair_file": "m.pair.lmp"}
        with pytest.raises(InputError, match="key 'members': expected a list of at least two mem"):
            kind.of(content, "e.json")
    with pytest.raises(InputError, match="key 'pair_file': the key is missing"):
        DeployedTablesRecord.of(
            {"format": DeployedTablesRecord.FORMAT, "members": ["a", "b"]}, "e.json"
        )


def test_a_format_stands_in_one_place() -> None:
    """The string of a record's format is in no other module of cgpot."""
    for name in records.__all__:
        form = getattr(records, name).FORMAT
        if not form:
            continue
        found = [
            p
            for p in sorted((ROOT / "cgpot").rglob("*.py"))
            if re.search(rf'"{form}"', p.read_text(encoding="utf-8"))
        ]
        assert [p.parent.name for p in found] == ["records"], form
