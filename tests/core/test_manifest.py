# SPDX-License-Identifier: GPL-2.0-or-later
"""Manifests: what they record, and what a later stage refuses."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cgpot.core.errors import InputError, ManifestError
from cgpot.core.files import sha256_file
from cgpot.core.manifest import (
    check_manifest,
    manifest_path,
    package_versions,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/cgpot", "map", "a b.yaml"])
    (tmp_path / "in").mkdir()
    for name in ("in/a.trr", "in/a.edr", "all.extxyz", "report.json"):
        (tmp_path / name).write_text(name)
    out = tmp_path / "all.extxyz"
    write_manifest(
        out,
        stage="mapping",
        inputs={
            "trajectory": [tmp_path / "in/a.trr", tmp_path / "in/a.edr"],
            "mapping": out.parent / "report.json",
        },
        outputs=[tmp_path / "report.json"],
        config={"cutoff": 1.0},
        seed=7,
        extra={"frames": 3},
    )
    return out


def test_content(output: Path) -> None:
    assert manifest_path(output).name == "all.extxyz.manifest.json"
    record = check_manifest(output, stage="mapping")
    assert record["format"] == "cgpot-manifest-1"
    assert record["seed"] == 7
    assert record["config"] == {"cutoff": 1.0}
    assert record["frames"] == 3
    assert record["command"] == "cgpot map 'a b.yaml'"
    assert record["created"].endswith("+00:00")
    assert [item["file"] for item in record["inputs"]["trajectory"]] == ["in/a.trr", "in/a.edr"]
    assert [item["file"] for item in record["outputs"]] == ["all.extxyz", "report.json"]
    assert record["outputs"][0] == {
        "file": "all.extxyz",
        "sha256": sha256_file(output),
        "bytes": output.stat().st_size,
    }


def test_no_absolute_path_is_recorded(output: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in manifest_path(output).read_text()


def test_versions() -> None:
    versions = package_versions()
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == version("torch")
    assert "no-such-package" not in package_versions(["no-such-package", "numpy"])


def test_changed_output(output: Path) -> None:
    output.write_text("other")
    with pytest.raises(ManifestError, match=r"all\.extxyz: changed since it was written: sha256"):
        check_manifest(output)


def test_changed_second_output(output: Path) -> None:
    (output.parent / "report.json").write_text("other")
    with pytest.raises(ManifestError, match=r"report\.json: changed since it was written"):
        check_manifest(output)


def test_missing_output(output: Path) -> None:
    (output.parent / "report.json").unlink()
    with pytest.raises(ManifestError, match=r"report\.json: listed as an output, but the file"):
        check_manifest(output)


def test_emptied_output(output: Path) -> None:
    output.write_text("")
    with pytest.raises(InputError, match=r"all\.extxyz: the file is empty"):
        check_manifest(output)


def test_a_changed_input_is_not_the_outputs_fault(output: Path) -> None:
    (output.parent / "in/a.trr").write_text("other")
    check_manifest(output)


def test_wrong_stage(output: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"key 'stage': expected a file of stage 'training', found .*'mapping'"
    ):
        check_manifest(output, stage="training")


def test_missing_manifest(output: Path) -> None:
    manifest_path(output).unlink()
    with pytest.raises(ManifestError, match=r"no manifest 'all\.extxyz\.manifest\.json' beside it"):
        read_manifest(output)


@pytest.mark.parametrize(("value", "found"), [({"format": "x-2"}, "'x-2'"), ([1], "'list'")])
def test_other_format(output: Path, value: object, found: str) -> None:
    manifest_path(output).write_text(json.dumps(value))
    with pytest.raises(
        ManifestError, match=rf"key 'format': expected .*manifest-1', found {found}"
    ):
        read_manifest(output)


@pytest.mark.parametrize("key", ["stage", "outputs", "inputs"])
def test_damaged_manifest(output: Path, key: str) -> None:
    record = json.loads(manifest_path(output).read_text())
    del record[key]
    manifest_path(output).write_text(json.dumps(record))
    with pytest.raises(ManifestError, match=rf"manifest\.json, key '{key}': the key is missing"):
        check_manifest(output)


def test_folder(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "model.ckpt").write_text("x")
    write_manifest(folder, stage="training", inputs={}, outputs=[folder / "model.ckpt"])
    record = check_manifest(folder, stage="training")
    assert [item["file"] for item in record["outputs"]] == ["train/model.ckpt"]
    (folder / "model.ckpt").write_text("y")
    with pytest.raises(ManifestError, match=r"model\.ckpt: changed"):
        check_manifest(folder)
