# SPDX-License-Identifier: GPL-2.0-or-later
"""The trained network: its final checkpoint, with the pair part refitted, and its figures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cgpot.core.files import atomic_path
from cgpot.core.progress import progress
from cgpot.core.versions import RESULT_FORMAT
from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import hidden_pairs
from cgpot.potential.base import Base
from cgpot.potential.density_table import DensityTable
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.held_out import HeldOut
from cgpot.training.evaluation.noise_floor import floor_record, of_means, read_noise
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.training_folder import Folder
from cgpot.training.folder.training_result import Subsets, counts, system
from cgpot.training.folder.weights import describe_states, type_weights
from cgpot.training.linear.bonded_part import BondedPart, seen_pairs
from cgpot.training.network.lightning_module import read_table
from cgpot.training.network.loss_curves import draw_curves
from cgpot.training.network.nequip_settings import energy_weight, loss_weights, slope_weight
from cgpot.training.network.refit import refit_base
from cgpot.training.settings.train_settings import TrainConfig


def finish(config: TrainConfig, folder: Folder, frames: Subsets, *, quiet: bool) -> dict[str, Any]:
    """Evaluate the best epoch on the test frames; write model.ckpt, parity.npz and loss.png.

    Args:
        config: of a network.
        folder: in which nequip-train has ended.
        frames: of each subset.
        quiet: no progress bars.

    Returns:
        The content of result.json.
    """
    torch.set_num_threads(config.threads)
    refitted = None
    if config.prior.type == "spline" and config.prior.refit:
        refitted = _refit(config, folder, frames["train"], quiet=quiet)
        density = refitted.density
        ev.save_checkpoint_with_pair(
            folder.best,
            folder.final,
            refitted.pair.coefficients,
            None if density is None else density.coefficients,
        )
    else:
        with atomic_path(folder.final) as temporary:
            shutil.copyfile(folder.best, temporary)
    network = NetworkPotential.read(folder.final)
    test = frames["test"]
    pairs = seen_pairs(config, catalogue(topologies_of(frames["train"])))
    yardstick = Base(PairTable.read(folder.yardstick), pairs=pairs)
    held_out = HeldOut.of(test, network, yardstick, temperature=config.temperature, quiet=quiet)
    held_out.save(folder.parity)
    val, _ = ev.evaluate(frames["val"], yardstick)
    draw_curves(folder.metrics, folder.curves, pair_force_rmse=val["force_rmse"])
    noise = None if config.data.noise is None else of_means(read_noise(config.data.noise), test)
    facts = DataFacts.of(frames["train"], 0.0, config.data.state_weights)
    weights = loss_weights(config, facts)
    return {
        "format": RESULT_FORMAT,
        "kind": "network",
        "model": config.model.type,
        **held_out.figures,
        **floor_record(
            held_out.labels["force"],
            held_out.arrays["force"],
            [frame.topology.n_sites for frame in test],
            noise,
        ),
        "n_parameters": ev.parameter_count(network.model),
        **counts(frames),
        **_epochs(folder, len(frames["train"])),
        "loss_weights": {
            "forces": weights[0],
            "stress": weights[1],
            "mean_pressure": weights[2],
            "slope": slope_weight(config, facts),
            "energy": energy_weight(config, facts),
            "per_type": type_weights(config.loss.per_type, facts.type_names, facts.type_force_rms),
        },
        "states": describe_states(frames["train"], config.data.state_weights),
        "temperature_input": dict(zip(("reference", "scale"), facts.temperature, strict=True))
        if config.system.temperature_input and facts.temperature is not None
        else None,
        **system(frames["train"], config.model.cutoff, config.temperature),
        "dtype": getattr(config.model, "dtype", None),
        "pairs": pairs,
        **bonded_record(folder),
        "prior": config.prior.type,
        "local_density": None
        if config.prior.local_density is None
        else config.prior.local_density.model_dump(),
        "refit": refitted.pair.info["refit"] if refitted is not None else None,
    }


def bonded_record(folder: Folder) -> dict[str, Any]:
    """Key ``lammps`` of result.json: tables, commands and terms of the bonded part."""
    if not folder.bonded.is_file():
        return {}
    return {"lammps": write_for_lammps(folder.path, BondedPart.read(folder.bonded)).record}


def outputs(folder: Folder) -> list[Path]:
    """The files of the result, those that are there."""
    names = (
        folder.final,
        folder.pair,
        folder.refit,
        folder.density,
        folder.density_refit,
        folder.bonded,
        folder.bonded_fit,
        folder.bond_table,
        folder.bend_table,
        folder.torsion_table,
        folder.yardstick,
        folder.nequip,
        folder.metrics,
        folder.curves,
        folder.parity,
        folder.example,
    )
    return [path for path in names if path.is_file()]


def _epochs(folder: Folder, n_train: int) -> dict[str, Any]:
    """What the table of the epochs says."""
    rows = read_table(folder.metrics)
    best = min(rows, key=lambda row: float(row["val_loss"])) if rows else {}
    seconds = sum(float(row["seconds"]) for row in rows)
    return {
        "epochs": len(rows),
        "best_epoch": int(best["epoch"]) if best else None,
        "seconds": round(seconds, 2),
        "frames_per_second": round(len(rows) * n_train / seconds, 3) if seconds else None,
    }


def _refit(config: TrainConfig, folder: Folder, frames: list[CGFrame], *, quiet: bool) -> Base:
    """Refit the base beside the network of the best epoch; writes pair_refit.json."""
    old = DensityTable.read(folder.density) if folder.density.is_file() else None
    network = NetworkPotential.read(folder.best)
    with progress("pair refit", len(frames), quiet=quiet) as advance:

        def labels() -> Iterator[tuple[CGFrame, Labels]]:
            for frame in frames:
                yield frame, network.labels(frame)
                advance(1)

        base = refit_base(
            labels(),
            len(frames),
            Base(PairTable.read(folder.pair), old),
            temperature=config.temperature,
            smooth=config.prior.smooth,
            match_mean_virial=config.loss.stress not in (None, 0),
            match_slope=config.prior.match_slope,
            exclude=hidden_pairs(seen_pairs(config, catalogue(topologies_of(frames)))),
        )
    base.pair.write(folder.refit)
    if base.density is not None:
        base.density.write(folder.density_refit)
    return base
