# SPDX-License-Identifier: GPL-2.0-or-later
"""Training throughput, frames/s: `cgpot train` beside plain nequip-train and schnetpack.

The same network on the same frames with the same batch size on one thread, by each pipeline:
`cgpot train` (eager and compiled), nequip-train as its documentation sets it up (ASEDataModule
that reads extxyz and makes neighbour lists frame by frame, eager and compiled), and for SchNet
schnetpack in its own environment.  The first epoch (with the compilation) is timed apart and the
figures are of the median epoch after it, validation left out.  Frames per second of processor
time, and the ratios, hold on a busy machine too.

    python workflows/benchmarks/training.py
    python workflows/benchmarks/training.py --frames 64 --epochs 4 --model nequip
    CGPOT_SCHNETPACK_PYTHON=/opt/schnetpack/bin/python python workflows/benchmarks/training.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT / "workflows" / "systems" / "benzene" / "data" / "benzene_300K_a.extxyz.xz"
BATCH = 4
MODELS: dict[str, dict[str, Any]] = {
    "nequip": {"preset": "nequip-small", "cutoff": 10.0},
    "schnet": {"preset": "schnet-small", "cutoff": 10.0},
    "schnet-benzene": {"preset": "schnet-benzene"},
}
SCHNETPACK = """
import json, sys, tempfile, time, typing
import torch.utils.data.dataloader as loader
if not hasattr(loader, "T_co"):
    loader.T_co = typing.TypeVar("T_co", covariant=True)  # gone from torch 2.13
import numpy, torch, torchmetrics, pytorch_lightning as pl, schnetpack as spk
from ase.io import read
from schnetpack import transform as trn
from schnetpack.data import ASEAtomsData, AtomsDataModule
from schnetpack.task import AtomisticTask, ModelOutput

class Clock(pl.Callback):
    wall, processor = [], []
    def on_train_epoch_start(self, trainer, module):
        self.start = time.perf_counter(), time.process_time()
    def on_train_batch_end(self, *args, **kwargs):
        self.now = time.perf_counter(), time.process_time()
    def on_train_epoch_end(self, trainer, module):
        self.wall.append(self.now[0] - self.start[0])
        self.processor.append(self.now[1] - self.start[1])

if __name__ == "__main__":
    o = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        units = {"forces": "eV/Ang", "stress": "eV/Ang/Ang/Ang"}
        data = ASEAtomsData.create(
            folder + "/data.db", distance_unit="Ang", property_unit_dict=units)
        frames = read(o["train"], ":") + read(o["val"], ":")
        labels = [{"forces": a.get_forces(), "stress": a.get_stress(voigt=False)[None]}
                  for a in frames]
        for atoms in frames:
            atoms.calc = None
            atoms.numbers[:] = 6
        data.add_systems(labels, frames)
        n_val = len(read(o["val"], ":"))
        module = AtomsDataModule(
            folder + "/data.db", batch_size=o["batch"], num_train=len(frames) - n_val,
            num_val=n_val, split_file=None, num_workers=0,
            transforms=[trn.MatScipyNeighborList(cutoff=o["cutoff"]), trn.CastTo32()],
            property_units=units)
        model = spk.model.NeuralNetworkPotential(
            representation=spk.representation.SchNet(
                n_atom_basis=o["features"], n_interactions=o["interactions"],
                n_filters=o["filters"],
                radial_basis=spk.nn.GaussianRBF(o["gaussians"], o["cutoff"]),
                cutoff_fn=spk.nn.CosineCutoff(o["cutoff"])),
            input_modules=[spk.atomistic.Strain(), spk.atomistic.PairwiseDistances()],
            output_modules=[spk.atomistic.Atomwise(n_in=o["features"], output_key="energy"),
                            spk.atomistic.Forces(calc_forces=True, calc_stress=True)])
        mse = torch.nn.functional.mse_loss
        mae = torchmetrics.MeanAbsoluteError
        task = AtomisticTask(
            model=model,
            outputs=[ModelOutput("forces", mse, 1.0, metrics={"mae": mae()}),
                     ModelOutput("stress", mse, 1e6, metrics={})],
            optimizer_cls=torch.optim.Adam, optimizer_args={"lr": 5e-4})
        clock = Clock()
        pl.Trainer(accelerator="cpu", max_epochs=o["epochs"], callbacks=[clock], logger=False,
                   enable_progress_bar=False, enable_model_summary=False,
                   enable_checkpointing=False, num_sanity_val_steps=0,
                   inference_mode=False).fit(task, datamodule=module)
    print("CLOCK " + json.dumps({"wall": clock.wall, "processor": clock.processor}))
"""


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
    from cgpot.training.folder.subsets import load_subsets
    from cgpot.training.folder.training_folder import Folder
    from cgpot.training.network.preparation import prepare
    from cgpot.training.settings.train_settings import TrainConfig

    config = validate(
        TrainConfig,
        {
            "data": data,
            "system": {"temperature": 300.0},
            "model": MODELS[model],
            "prior": {"type": "none"},
            "optimiser": {"batch_size": BATCH, "epochs": epochs},
            "compile": compiled,
        },
    )
    place = Folder(folder)
    folder.mkdir(parents=True)
    prepare(config, place, load_subsets(config)["train"], quiet=True)
    record = yaml.safe_load(place.nequip.read_text(encoding="utf-8"))
    record["trainer"]["callbacks"].append(_clock(folder))
    place.nequip.write_text(yaml.safe_dump(record), encoding="utf-8")


def plain(folder: Path, source: Path, data: dict[str, str], epochs: int, compiled: bool) -> None:
    """A configuration after nequip's documentation, with the network of ``source``."""
    import yaml

    from cgpot.training.folder.training_folder import Folder

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
    """Run nequip-train on the configuration in a folder; returns the clock's record."""
    words = [sys.executable, "-m", "nequip.scripts.train", "-cp", str(folder), "-cn", "nequip.yaml"]
    done = _call(words, folder)
    if not (folder / "clock.json").is_file():
        raise SystemExit(f"{folder.name}: no epoch was timed\n{done[-2000:]}")
    record: dict[str, Any] = json.loads((folder / "clock.json").read_text(encoding="utf-8"))
    return record


def schnetpack(python: str, folder: Path, data: dict[str, str], epochs: int) -> dict[str, Any]:
    """Train schnetpack's SchNet of the same size with its own data module."""
    import yaml

    from cgpot.training.folder.training_folder import Folder

    model = yaml.safe_load(Folder(folder).nequip.read_text(encoding="utf-8"))
    size = model["training_module"]["model"]
    options = {
        **data,
        "batch": BATCH,
        "epochs": epochs,
        "cutoff": size["r_max"],
        **{key: size[f"num_{key}"] for key in ("features", "filters", "interactions", "gaussians")},
    }
    script = folder / "schnetpack_train.py"
    script.write_text(SCHNETPACK, encoding="utf-8")
    text = _call([python, str(script), json.dumps(options)], folder)
    line = next(line for line in text.splitlines() if line.startswith("CLOCK "))
    record: dict[str, Any] = json.loads(line.removeprefix("CLOCK "))
    return record


def _call(words: list[str], folder: Path) -> str:
    from cgpot.training.settings.machine_settings import environment

    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        words,
        env=environment(1) | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(words[:4])} failed\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def line(name: str, record: dict[str, Any], frames: int, base: float | None) -> float:
    """Print a row; returns frames per processor second of the steady epochs."""
    wall = sorted(record["wall"][1:])
    work = sorted(record["processor"][1:])
    rate = frames / work[len(work) // 2]
    first = record["wall"][0]
    times = f"{rate / base:6.2f} x" if base else "  1.00 x"
    print(
        f"  {name:34s} {frames / wall[len(wall) // 2]:8.1f} {rate:10.1f} {times}  {first:8.1f}",
        flush=True,
    )
    return rate


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=32, help="training frames (default: 32)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs, the first apart")
    parser.add_argument("--model", choices=sorted(MODELS), action="append", help="default: all")
    parser.add_argument("--plain-compiled", action="store_true", help="plain nequip compiled too")
    parser.add_argument(
        "--schnetpack-python",
        default=os.environ.get("CGPOT_SCHNETPACK_PYTHON"),
        help="interpreter that has schnetpack",
    )
    options = parser.parse_args()
    from cgpot.molecules.extxyz import read_frames, write_frames

    print(f"{options.frames} frames of 500 sites, batch {BATCH}, one thread; steady epochs")
    print(f"  {'':34s} {'frames/s':>8s} {'per CPU s':>10s} {'':8s}  {'epoch 1, s':>8s}")
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        frames = list(itertools.islice(read_frames(DATA), options.frames + BATCH))
        data = {key: str(base / f"{key}.extxyz") for key in ("train", "val")}
        write_frames(data["train"], frames[: options.frames])
        write_frames(data["val"], frames[options.frames :])
        for model in options.model or MODELS:
            print(f"{model} {MODELS[model]}")
            ours(base / model / "eager", data, model, options.epochs, False)
            ours(base / model / "compiled", data, model, options.epochs, True)
            source = base / model / "eager"
            plain(base / model / "plain", source, data, options.epochs, False)
            rate = line("plain nequip-train", run(base / model / "plain"), options.frames, None)
            if options.plain_compiled:
                plain(base / model / "plainc", source, data, options.epochs, True)
                record = run(base / model / "plainc")
                line("plain nequip-train, compile_mode", record, options.frames, rate)
            if model.startswith("schnet"):
                if options.schnetpack_python:
                    record = schnetpack(options.schnetpack_python, source, data, options.epochs)
                    line("schnetpack", record, options.frames, rate)
                else:
                    print("  schnetpack: no interpreter given (CGPOT_SCHNETPACK_PYTHON)")
            line("cgpot train", run(source), options.frames, rate)
            for label in ("cgpot train, compile: true", "cgpot train, compile: true, again"):
                line(label, run(base / model / "compiled"), options.frames, rate)


if __name__ == "__main__":
    main()
