# SPDX-License-Identifier: GPL-2.0-or-later
"""The system hexane: its raw sample maps to three bonded sites, its settings and data are read."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cgpot.cli import build_app
from cgpot.core.config import load_yaml, load_yaml_dict
from cgpot.core.manifest import check_manifest
from cgpot.md.md_settings import MdConfig
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.molecular_virial import label_pressure
from cgpot.report.limits import Limits
from cgpot.training.settings.train_settings import TrainConfig

HERE = Path("workflows/systems/hexane")


def test_the_raw_sample_maps_to_three_bonded_sites(root: Path, tmp_path: Path) -> None:
    raw = root / HERE / "data/raw"
    output = tmp_path / "hexane.extxyz.xz"
    command = ["map", root / HERE / "mapping.yaml", "--quiet", "--output", output]
    for flag, name in (("topology", "tpr"), ("trajectory", "trr"), ("energy", "edr")):
        command += [f"--{flag}", raw / f"hexane.{name}"]
    found = CliRunner().invoke(build_app(), [str(word) for word in command])
    assert found.exit_code == 0, found.output
    frames = list(read_frames(output))
    assert [frame.time for frame in frames] == pytest.approx([799.2, 799.6, 800.0], abs=1e-3)
    topology = frames[0].topology
    assert topology.n_sites == 600
    assert topology.bonds[:4].tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    # the same frames of the data set: every second one of the run
    data = list(read_frames(root / HERE / "data/hexane_300K.extxyz.xz"))[-2:]
    for known, again in zip(data, (frames[0], frames[2]), strict=True):
        assert known.time == pytest.approx(again.time)
        np.testing.assert_allclose(known.positions, again.positions, atol=2e-4)
        np.testing.assert_allclose(known.forces, again.forces, atol=5e-5)


def test_data_are_those_of_the_readme(root: Path) -> None:
    path = root / HERE / "data/hexane_300K.extxyz.xz"
    check_manifest(path)
    frames = list(itertools.islice(read_frames(path), 0, None, 10))
    assert len(frames) == 101
    assert np.mean([frame.density for frame in frames]) == pytest.approx(646.3, abs=3.0)
    pressure = [label_pressure(frame, 300.0) for frame in frames]
    assert np.mean(pressure) == pytest.approx(10.5, abs=3 * 229 / np.sqrt(101))


def test_settings_are_read(root: Path) -> None:
    config = load_yaml(root / HERE / "train.yaml", TrainConfig)
    assert config.prior.bonded == "inversion"
    assert load_yaml(root / HERE / "train_mscg.yaml", TrainConfig).model.type == "mscg"
    for name in ("md_nvt", "md_npt"):  # start and model come from the command line
        values = load_yaml_dict(root / HERE / f"{name}.yaml")
        assert MdConfig.model_validate({**values, "start": "a", "model": "b"}).timestep_fs == 5.0
    assert load_yaml(root / HERE / "limits.yaml", Limits).bonded_overlap == 0.97
