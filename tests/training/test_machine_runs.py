# SPDX-License-Identifier: GPL-2.0-or-later
"""Short trainings with loggers, compiled steps and mixed precision, from end to end."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_systems import write_case

from cgpot.training.network.lightning_module import read_table
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Outcome, train

MODELS: dict[str, dict[str, Any]] = {
    "nequip": {"features": 4, "radial_width": 8},
    "allegro": {"type": "allegro", "features": 4, "tensors": 2, "width": 8, "l_max": 1},
    "schnet": {"type": "schnet", "features": 8, "filters": 8, "gaussians": 10},
}


def trained(folder: Path, **changes: Any) -> Outcome:
    path = write_case(folder, **changes)
    return train(load_config(path), folder / "out", quiet=True)


def section(name: str, **more: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"cutoff": 5.0, "readout_start": 1.0}
    return {**common, **MODELS[name], **more}


def of_type(folder: Path, name: str, **changes: Any) -> Outcome:
    """A training of another type than the support module's (its section is replaced whole)."""
    import yaml

    path = write_case(folder, **changes)
    record = yaml.safe_load(path.read_text())
    record["model"] = section(name)
    path.write_text(yaml.safe_dump(record))
    return train(load_config(path), folder / "out", quiet=True)


def test_tensorboard_holds_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = trained(tmp_path, logger="tensorboard", optimiser={"epochs": 2})
    events = EventAccumulator(str(outcome.folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    loss = next(name for name in names if name == "val0_epoch/weighted_sum")
    rows = read_table(outcome.folder / "metrics.csv")
    logged = [event.value for event in events.Scalars(loss)]
    assert logged == pytest.approx([float(row["val_loss"]) for row in rows], rel=1e-5)


def test_wandb_offline_keeps_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    outcome = trained(tmp_path, logger="wandb-offline", optimiser={"epochs": 1})
    runs = list((outcome.folder / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    assert any(path.suffix == ".wandb" and path.stat().st_size > 0 for path in runs[0].iterdir())
    assert len(read_table(outcome.folder / "metrics.csv")) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed"
)
def test_without_tensorboard_nothing_is_begun(tmp_path: Path) -> None:
    from cgpot.core.errors import ConfigError

    with pytest.raises(ConfigError, match="pip install tensorboard"):
        trained(tmp_path, logger="tensorboard")
    assert not (tmp_path / "out").exists()


def test_schnet_trains_in_mixed_precision(tmp_path: Path) -> None:
    """bfloat16 has 8 bits of mantissa: the course is that of float32 to a few per cent."""
    rows = []
    for name, mixed in (("float32", "none"), ("bf16", "bf16")):
        outcome = of_type(
            tmp_path / name, "schnet", precision={"mixed": mixed}, optimiser={"epochs": 2}
        )
        rows.append(read_table(outcome.folder / "metrics.csv"))
        weights = outcome.folder / "model.ckpt"
        assert np.isfinite(outcome.result["force_rmse"])
        assert weights.is_file()
    losses = np.array([[float(row["train_loss"]) for row in table] for table in rows])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.1)
    assert not np.array_equal(losses[0], losses[1])  # it was on


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_compiled_training_with_an_uneven_last_batch(name: str, tmp_path: Path) -> None:
    """Ten frames in batches of 4, 4 and 2: every epoch as in eager mode, to rounding."""
    tables = []
    for compiled in (False, True):
        outcome = of_type(
            tmp_path / str(compiled),
            name,
            compile=compiled,
            optimiser={"batch_size": 4, "epochs": 2, "learning_rate": 0.005},
        )
        tables.append(read_table(outcome.folder / "metrics.csv"))
        config = json.loads((outcome.folder / "inputs.json").read_text())["config"]
        assert config["compile"] is compiled
    for eager, fast in zip(*tables, strict=True):
        for column in ("train_loss", "val_loss", "val_force_rmse"):
            assert float(fast[column]) == pytest.approx(float(eager[column]), rel=1e-5)
