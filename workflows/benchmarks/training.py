# SPDX-License-Identifier: GPL-2.0-or-later
"""Training throughput, frames/s: `cgpot train` beside plain nequip-train and schnetpack.

The same network on the same frames with the same batch size on one thread, by each pipeline:
`cgpot train` (eager and compiled), nequip-train as its documentation sets it up (ASEDataModule
that reads extxyz and makes neighbour lists frame by frame, eager and compiled), and for SchNet
schnetpack in its own environment.  The pipelines take turns, a few epochs each, so that a busy
machine slows all of them; the first epoch (with the compilation) is timed apart.  The figures
are of the median epoch of the training alone; validation is left out.

    python workflows/benchmarks/training.py
    python workflows/benchmarks/training.py --frames 64 --epochs 4 --model nequip
    CGPOT_SCHNETPACK_PYTHON=/opt/schnetpack/bin/python python workflows/benchmarks/training.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from lightning.pytorch.callbacks import Callback

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT / "workflows" / "systems" / "benzene" / "data" / "benzene_300K_a.extxyz.xz"
BATCH = 4
MODELS: dict[str, dict[str, Any]] = {
    "nequip": {"type": "nequip", "layers": 2, "l_max": 1, "features": 8, "radial_width": 16},
    "schnet": {"type": "schnet", "interactions": 2, "features": 64, "filters": 64},
}


class EpochClock(Callback):
    """Seconds of each training epoch, validation left out, into a JSON file.

    Args:
        path: the file: wall and processor seconds of each epoch.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.wall: list[float] = []
        self.processor: list[float] = []
        self._spent = (0.0, 0.0)
        self._start = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start both clocks."""
        self._start = (time.perf_counter(), time.process_time())

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Read both clocks; the last batch of the epoch counts."""
        now = (time.perf_counter(), time.process_time())
        self._spent = (now[0] - self._start[0], now[1] - self._start[1])

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what the epoch took."""
        self.wall.append(self._spent[0])
        self.processor.append(self._spent[1])
        text = json.dumps({"wall": self.wall, "processor": self.processor})
        self.path.write_text(text, encoding="utf-8")


def ours(folder: Path, data: dict[str, str], model: str, epochs: int, compiled: bool) -> None:
    """nequip.yaml of `cgpot train`, with the clock."""
    import yaml

    from cgpot.core.config import validate
    from cgpot.training.config import TrainConfig
    from cgpot.training.run import Folder, _load, _prepare

    config = validate(
        TrainConfig,
        {
            "data": data,
            "system": {"temperature": 300.0},
            "model": {"cutoff": 10.0, **MODELS[model]},
            "prior": {"type": "none"},
            "optimiser": {"batch_size": BATCH, "epochs": epochs},
            "compile": compiled,
        },
    )
    place = Folder(folder)
    folder.mkdir(parents=True)
    _prepare(config, place, _load(config)["train"], quiet=True)
    record = yaml.safe_load(place.nequip.read_text(encoding="utf-8"))
    record["trainer"]["callbacks"].append(_clock(folder))
    place.nequip.write_text(yaml.safe_dump(record), encoding="utf-8")


def plain(folder: Path, source: Path, data: dict[str, str], epochs: int, compiled: bool) -> None:
    """A configuration after nequip's documentation, with the network of ``source``."""
    import yaml

    from cgpot.training.run import Folder

    record = yaml.safe_load(Folder(source).nequip.read_text(encoding="utf-8"))
    module = record["training_module"]
    model = dict(module["model"])
    if model["_target_"].endswith("CGNequIPModel"):
        model["_target_"] = "nequip.model.NequIPGNNModel"
        model.pop("readout_start")
    model["compile_mode"] = "compile" if compiled else "eager"
    mse = {"_target_": "nequip.train.MeanSquaredError"}
    scale = 1e6  # losses of order one
    loss = [
        {"name": "forces", "field": "forces", "coeff": 1.0, "metric": dict(mse)},
        {"name": "stress", "field": "stress", "coeff": scale, "metric": dict(mse)},
    ]
    folder.mkdir(parents=True)
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": BATCH}
    transform = {
        "_target_": "nequip.data.transforms.NeighborListTransform",
        "r_max": model["r_max"],
    }
    result = {
        "hydra": record["hydra"] | {"run": {"dir": str(folder / "log")}},
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "train_file_path": data["train"],
            "val_file_path": data["val"],
            "include_keys": ["atom_types"],
            "transforms": [transform],
            "train_dataloader": {**loader, "shuffle": True},
            "val_dataloader": loader,
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": epochs,
            "check_val_every_n_epoch": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
            "logger": {
                "_target_": "lightning.pytorch.loggers.CSVLogger",
                "save_dir": str(folder),
            },
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "dirpath": str(folder),
                    "filename": "best",
                    "monitor": "val0_epoch/weighted_sum",
                    "save_last": True,
                },
                _clock(folder),
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "loss": {"_target_": "nequip.train.MetricsManager", "metrics": loss},
            "val_metrics": {"_target_": "nequip.train.MetricsManager", "metrics": loss},
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.002},
            "model": model,
        },
    }
    (folder / "nequip.yaml").write_text(yaml.safe_dump(result), encoding="utf-8")


def _clock(folder: Path) -> dict[str, Any]:
    return {"_target_": "training.EpochClock", "path": str(folder / "clock.json")}


def run(folder: Path) -> dict[str, Any]:
    """Run nequip-train; returns the clock's record and the seconds of the whole process."""
    words = [sys.executable, "-m", "nequip.scripts.train", "-cp", str(folder), "-cn", "nequip.yaml"]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    start = time.perf_counter()
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if done.returncode:
        raise SystemExit(
            f"{folder.name}: nequip-train failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    record: dict[str, Any] = json.loads((folder / "clock.json").read_text(encoding="utf-8"))
    record["process"] = time.perf_counter() - start
    return record
