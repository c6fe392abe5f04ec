# SPDX-License-Identifier: GPL-2.0-or-later
"""data.frames and data.bootstrap: nequip's data set and the linear fits see the same frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from training_systems import NAME, fluid, write_case

from cgpot.core.errors import ConfigError, InputError
from cgpot.molecules.extxyz import write_frames
from cgpot.potential.splines import PairTable
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.graph_frames import CGDataset
from cgpot.training.folder.selection import choose, select
from cgpot.training.folder.subsets import load_subsets
from cgpot.training.network.preparation import prepare
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Folder, train


def test_frames_are_spread_evenly() -> None:
    assert choose(10).tolist() == list(range(10))
    assert choose(10, 10).tolist() == list(range(10))
    assert choose(10, 1).tolist() == [5]
    assert choose(100, 4).tolist() == [12, 37, 62, 87]
    for n in range(1, 60):
        assert len(set(choose(60, n).tolist())) == n
    assert select("abcdef", 3) == ["b", "d", "f"]


def test_a_bootstrap_sample_draws_whole_blocks() -> None:
    drawn = choose(200, None, 7)
    assert drawn.tolist() == choose(200, None, 7).tolist()
    assert drawn.tolist() != choose(200, None, 8).tolist()
    assert len(drawn) == 200
    assert (np.diff(drawn) >= -9).all()
    counts = np.bincount(drawn, minlength=200).reshape(20, 10)
    assert (counts == counts[:, :1]).all()
    # a fraction 1/e of the blocks is never drawn
    missing = [np.mean(np.bincount(choose(200, None, s), minlength=200) == 0) for s in range(200)]
    assert np.mean(missing) == pytest.approx((1 - 1 / 20) ** 20, abs=0.02)
    assert set(choose(200, 20, 3).tolist()) <= set(choose(200, 20).tolist())


def test_more_frames_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"data\.frames.*11 frames are asked.*holds 10"):
        choose(10, 11)


def test_both_data_sets_hold_the_same_frames(tmp_path: Path) -> None:
    path = write_case(tmp_path, data={"frames": 6, "bootstrap": 4})
    config = load_config(path)
    frames = load_subsets(config)["train"]
    folder = Folder(tmp_path / "out")
    folder.path.mkdir()
    prepare(config, folder, frames, quiet=True)
    record = yaml.safe_load(folder.nequip.read_text(encoding="utf-8"))["data"]
    options = {k: v for k, v in record["train_dataset"].items() if k != "_target_"}
    dataset = CGDataset(**options)
    assert len(dataset) == len(frames) == 6
    assert [f.source_frame for f in dataset.frames] == [f.source_frame for f in frames]
    assert len({f.source_frame for f in frames}) < 6
    for k, frame in enumerate(frames):
        assert np.array_equal(dataset[k]["pos"].numpy(), frame.positions)
    assert not {"frames", "bootstrap"} & set(record["val_dataset"][0])
    assert PairTable.read(folder.yardstick).info["frames"] == 6


def test_one_frame_trains_and_another_number_is_another_run(tmp_path: Path) -> None:
    changes = {"optimiser": {"epochs": 1, "batch_size": 1}, "prior": {"type": "spline"}}
    path = write_case(tmp_path, data={"frames": 1}, **changes)
    result = train(load_config(path), tmp_path / "out", quiet=True).result
    assert result["n_train"] == 1
    assert np.isfinite(result["force_rmse"])
    written = json.loads((tmp_path / "out" / "inputs.json").read_text(encoding="utf-8"))
    assert written["selection"] == {"frames": 1, "bootstrap": None}
    path = write_case(tmp_path, data={"frames": 2}, **changes)
    with pytest.raises(InputError, match=r"selection\.frames: 1 before, 2 now"):
        train(load_config(path), tmp_path / "out", quiet=True)


def test_the_stress_spread_of_one_frame_is_its_shear(tmp_path: Path) -> None:
    frames = fluid(400, 5)
    singles = [DataFacts.of([f], 0.0).stress_std for f in frames]
    shear = [0.5 * (f.stress + f.stress.T)[np.triu_indices(3, 1)] for f in frames]
    assert singles[0] == pytest.approx(np.sqrt(np.mean(shear[0] ** 2)))
    assert DataFacts.of([frames[0], frames[0]], 0.0).stress_std == pytest.approx(singles[0])
    write_frames(tmp_path / "a.extxyz", frames[:3])
    assert len(CGDataset(str(tmp_path / "a.extxyz"), 5.0, [NAME], frames=2)) == 2
