# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a refinement starts: a trained network, a pair table, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import sha256_file
from cgpot.core.records import ModelRecord, TrainingRecord
from cgpot.potential.refined import refined_model
from cgpot.potential.splines import PairTable, pair_index
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.refine_target import Target

Array = NDArray[np.float64]
TEMPERATURE_TOLERANCE = 0.02
PAIR_FILES = ("pair_refined.json", "pair_refit.json", "pair.json")


@dataclass
class Start:
    """The potential that is refined.

    Attributes:
        kind: ``network`` (the coefficients are a correction beside it) or ``pair``.
        type_names: bead types.
        r_max: cutoff of the splines, Å.
        intervals: their number of intervals.
        table: pair part of the network, or the pair table; None for zero until the reference
            is known (`from_zero`).
        training: training folder of a network.
        result: its result.json.
    """

    kind: str
    type_names: tuple[str, ...] | None
    r_max: float
    intervals: int
    table: PairTable | None = None
    training: Path | None = None
    result: TrainingRecord | None = None

    @property
    def thermal(self) -> bool:
        """Whether the network takes the temperature as an input."""
        return self.result is not None and self.result.temperature_input is not None


def resolve(config: RefineConfig) -> Start:
    """Find out what the start is, before the reference is read.

    Raises:
        InputError: no such thing, a network without a pair part, or one of another
            temperature.
    """
    if config.start == "zero":
        intervals = max(4, round(config.zero.cutoff / config.zero.spacing))
        return Start("pair", None, config.zero.cutoff, intervals)
    path = refined_model(config.start)
    if path.is_dir() and (path / "model.ckpt").is_file():
        return _network(path, config.temperature)
    if path.is_dir():
        result = path / "result.json"
        record = TrainingRecord.read(result) if result.is_file() else None
        if record is not None and (record.kind == "uf3" or _more_than_pairs(record)):
            raise InputError(
                "the potential has more than pair terms and no network; expected a pair table, "
                "a network, or 'zero'",
                file=path,
                key="start",
            )
        found = next((path / n for n in PAIR_FILES if (path / n).is_file()), None)
        if found is None:
            raise InputError(
                "neither model.ckpt nor pair.json in the folder; expected the output folder of "
                "'cgpot train', a pair table (.json), or 'zero'",
                file=path,
                key="start",
            )
        path = found
    table = PairTable.read(path)
    return Start("pair", table.type_names, table.r_max, table.intervals, table)


def _more_than_pairs(record: TrainingRecord) -> bool:
    """Whether a linear model has terms beside its pair table."""
    commands = () if record.lammps is None else record.lammps.commands
    plain = ("pair_style table ", "pair_coeff ", "special_bonds ")
    return any(not command.startswith(plain) for command in commands)


def _network(folder: Path, temperature: float) -> Start:
    from cgpot.deploy.deployment import training_result
    from cgpot.training.evaluation.predictions import pair_coefficients

    result = training_result(folder)
    coefficients = pair_coefficients(folder / "model.ckpt")
    found = next((folder / n for n in PAIR_FILES if (folder / n).is_file()), None)
    if found is None:
        raise InputError("no pair.json beside the checkpoint", file=folder)
    table = PairTable.read(found)
    if table.coefficients.shape != coefficients.shape:
        raise InputError(
            f"{found.name} has coefficients {table.coefficients.shape}, the checkpoint "
            f"{coefficients.shape}; expected the same knots",
            file=folder,
        )
    made_at = result.temperature
    if result.temperature_input is not None:
        low, high = result.temperature_input.range
        if not low - 1e-6 <= temperature <= high + 1e-6:
            raise InputError(
                f"the network was trained from {low:g} to {high:g} K, the refinement is at "
                f"{temperature:g} K",
                file=folder / "result.json",
                key="temperature",
            )
    elif abs(made_at - temperature) > TEMPERATURE_TOLERANCE * temperature:
        raise InputError(
            f"the network belongs to {made_at:g} K, the refinement is at {temperature:g} K",
            file=folder / "result.json",
            key="temperature",
        )
    table = table.with_coefficients(coefficients, table.info)
    return Start(
        "network", table.type_names, table.r_max, table.intervals, table, folder.resolve(), result
    )


def check_beads(start: Start, target: Target, file: Path) -> None:
    """Refuse a potential for other beads than those of the reference.

    Raises:
        InputError: the names differ.
    """
    if start.type_names is not None and start.type_names != target.topology.type_names:
        raise InputError(
            f"the reference has bead types {list(target.topology.type_names)}, the potential is "
            f"for {list(start.type_names)}",
            file=file,
        )


def from_zero(config: RefineConfig, target: Target, basis: CountsBasis) -> PairTable:
    """The pair table of a start from zero.

    Raises:
        DataError: too few pairs at short distance for a repulsive wall.
    """
    from cgpot.refine.inverse_boltzmann import potential_of_mean_force
    from cgpot.training.linear.pair_fit import PairFit
    from cgpot.training.network.base_fit import wall_table

    names = target.topology.type_names
    fit = PairFit(names, basis.r_max, basis.r_max / basis.intervals, config.temperature)
    for frame in target.frames:
        fit.basis.observe(frame)
    wall = wall_table(fit)
    if config.zero.begin == "wall":
        return wall
    edges = basis.grid.edges
    r = 0.5 * (edges[1:] + edges[:-1])
    index = pair_index(len(names))
    slopes = np.zeros_like(target.g)
    for row in range(basis.pairs):
        slopes[row] = fit.wall(row).slope(r)
    assert index.max() + 1 == basis.pairs
    flat = potential_of_mean_force(target, basis, config.temperature, slopes)
    return wall.with_coefficients(
        flat.reshape(basis.pairs, basis.width), {**wall.info, "begin": "pmf"}
    )


def compiled_model(config: RefineConfig, start: Start, folder: Path, *, quiet: bool) -> Path:
    """The compiled file of the network: the one given, if it was made from it, or a new one.

    Raises:
        InputError: the deployed model belongs to another training folder.
    """
    from cgpot.deploy.deployment import deploy
    from cgpot.md.start import sidecar_path

    assert start.training is not None
    if config.deployed is None:
        temperature = config.temperature if start.thermal else None
        done = deploy(start.training, folder, temperature=temperature, quiet=quiet)
        return done.sidecar.with_name("model.nequip.pt2")
    sidecar = ModelRecord.read(sidecar_path(config.deployed))
    stated = sidecar.sha256.get("model.ckpt")
    if stated != sha256_file(start.training / "model.ckpt"):
        raise InputError(
            f"made from another checkpoint than that of {start.training}; run 'cgpot deploy' "
            "again, or leave the key out",
            file=config.deployed,
            key="deployed",
        )
    if start.thermal and abs((sidecar.temperature or 0.0) - config.temperature) > 1e-6:
        raise InputError(
            f"deployed at {sidecar.temperature} K, the refinement is at "
            f"{config.temperature:g} K; deploy the network at this temperature, or leave the key "
            "out",
            file=config.deployed,
            key="deployed",
        )
    return config.deployed
