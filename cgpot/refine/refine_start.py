# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a refinement starts: a network, an MS-CG potential, a pair table, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.sources import scan
from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import sha256_file
from cgpot.core.records import ModelRecord, TrainingRecord
from cgpot.core.units import KB
from cgpot.molecules.charges import require_no_charges
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.single_sites import require_single_sites
from cgpot.molecules.topology import Topology
from cgpot.potential.refined import refined_model
from cgpot.potential.splines import PairTable
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.frame_counts import FrameTally, Grid, TermRows
from cgpot.refine.inverse_boltzmann import potential_of_mean_force
from cgpot.refine.inverted_terms import inverted
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.refine_target import Target
from cgpot.training.folder.training_folder import Folder
from cgpot.training.linear.bonded_part import BondedPart, has_molecules
from cgpot.training.linear.bonded_terms import BondedTerms, terms_along_bonds
from cgpot.training.linear.mscg import MSCGPotential
from cgpot.training.linear.mscg_stage import POTENTIAL
from cgpot.training.linear.pair_fit import PairFit
from cgpot.training.network.base_fit import wall_table

Array = NDArray[np.float64]
TEMPERATURE_TOLERANCE = 0.02
PAIR_FILES = ("pair_refined.json", "pair_refit.json", "pair.json")
INVERTED = 200
"""Frames whose bonded distributions are inverted for a start from zero."""


@dataclass
class Start:
    """The potential that is refined.

    Attributes:
        kind: ``network`` (the pair coefficients are a correction beside it), ``mscg`` or
            ``pair``.
        type_names: bead types.
        r_max: cutoff of the splines, Å.
        intervals: their number of intervals.
        table: pair part of the network, or the pair table; None for zero until the reference
            is known (`from_zero`).
        linear: the MS-CG potential, or the bonded part below a network; None without.
        training: training folder of a network.
        result: its result.json.
    """

    kind: str
    type_names: tuple[str, ...] | None
    r_max: float
    intervals: int
    table: PairTable | None = None
    linear: MSCGPotential | None = None
    training: Path | None = None
    result: TrainingRecord | None = None

    @property
    def thermal(self) -> bool:
        """Whether the network takes the temperature as an input."""
        return self.result is not None and self.result.temperature_input is not None

    def tally(self, config: RefineConfig, topology: Topology, grid: Grid) -> FrameTally:
        """What is counted on the frames of a system.

        Raises:
            ConfigError: charged beads, where nobody said that they are to be ignored.
            InputError: other beads than those of the potential, molecules that it does not know,
                or of several sites that it does not hold together.
        """
        file, ignore = config.reference[0], config.charges == "ignore"
        require_no_charges([topology], ignore=ignore, file=file, key="charges")
        check_beads(self, topology, file)
        bonded = BondedTerms() if self.linear is None else self.linear.bonded
        if not bonded.parts:
            require_single_sites(topology, "refining a potential without bonded terms", file=file)
            return FrameTally(topology, grid)
        bonded.check_system(topology, file)
        rows = [TermRows.of(name, part) for name, part in bonded.parts.items()]
        return FrameTally(
            topology,
            grid,
            bonded.exclusions(),
            bonded.acts_within(topology),
            tuple(found for found in rows if any(chosen_terms(config.bonded, found))),
        )


def chosen_terms(bonded: bool | list[str], rows: TermRows) -> list[bool]:
    """Which kinds of a sort of bonded terms are refined."""
    if isinstance(bonded, bool):
        return [bonded] * len(rows.labels)
    return [
        rows.name in bonded or label in bonded or "-".join(label.split("-")[::-1]) in bonded
        for label in rows.labels
    ]


def refined_functions(config: RefineConfig, tally: FrameTally) -> tuple[bool, ...]:
    """Of each pair of bead types and each kind of bonded terms, whether it is refined.

    Raises:
        ConfigError: a name that the system does not have.
    """
    labels = tally.counter.labels
    turned = ["-".join(label.split("-")[::-1]) for label in labels]
    asked = labels if config.pairs is None else config.pairs
    for name in asked:
        if name not in (*labels, *turned):
            raise ConfigError(
                f"no such pair {name!r}; expected some of {', '.join(labels)}", key="pairs"
            )
    found = [a in asked or b in asked for a, b in zip(labels, turned, strict=True)]
    for rows in tally.terms:
        found += chosen_terms(config.bonded, rows)
    wanted = [config.bonded] if isinstance(config.bonded, bool) else [[n] for n in config.bonded]
    for sort in wanted:
        if sort and not any(any(chosen_terms(sort, rows)) for rows in tally.terms):
            raise ConfigError(
                "no such bonded terms in the potential; expected bond, angle, dihedral or kinds of "
                f"them as the report of 'cgpot analyze' names them, found {config.bonded}",
                key="bonded",
            )
    return tuple(found)


def resolve(config: RefineConfig) -> Start:
    """Find out what the start is, before the reference is read.

    Raises:
        InputError: no such thing, a network without a pair part, or one of another
            temperature.
    """
    if config.start == "zero":
        return _zero(config)
    path = refined_model(config.start)
    if path.is_dir() and (path / "model.ckpt").is_file():
        return _network(path, config.temperature)
    if path.is_dir():
        result = path / "result.json"
        record = TrainingRecord.read(result) if result.is_file() else None
        if record is not None and record.kind == "uf3":
            raise InputError(
                "the potential has three-body terms of UF3, which are refined by 'cgpot distill'; "
                "expected a pair table, an MS-CG potential, a network, or 'zero'",
                file=path,
                key="start",
            )
        if record is not None and record.kind == "mscg":
            potential = MSCGPotential.read(path / POTENTIAL)
            table = potential.table()
            return Start(
                "mscg", table.type_names, table.r_max, table.intervals, table, potential, path
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


def _zero(config: RefineConfig) -> Start:
    """A start from nothing; of molecules of several sites, from inverted bonded distributions.

    Raises:
        InputError: species of several sites whose bonds are not known.
        DataError: too few samples of a bonded term.
    """
    zero = config.zero
    intervals = max(4, round(zero.cutoff / zero.spacing))
    first = next(read_frames(config.reference[0]), None)
    if first is None or not has_molecules(first.topology):
        return Start("pair", None, zero.cutoff, intervals)
    first.topology.require_bonds("cgpot refine", file=config.reference[0])
    every = max(1, scan(config.reference[0]).n_frames // INVERTED)
    frames = list(islice(read_frames(config.reference[0]), 0, None, every))
    terms = terms_along_bonds(frames, KB * config.temperature, (1, 2, 3))
    potential = inverted(terms, frames, zero.cutoff, zero.cutoff / intervals, config.temperature)
    return Start("mscg", first.topology.type_names, zero.cutoff, intervals, None, potential)


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
    bonded = Folder(folder).bonded
    return Start(
        "network",
        table.type_names,
        table.r_max,
        table.intervals,
        table,
        BondedPart.read(bonded).potential if bonded.is_file() else None,
        folder.resolve(),
        result,
    )


def check_beads(start: Start, topology: Topology, file: Path) -> None:
    """Refuse a potential for other beads than those of the reference.

    Raises:
        InputError: the names differ.
    """
    if start.type_names is not None and start.type_names != topology.type_names:
        raise InputError(
            f"the reference has bead types {list(topology.type_names)}, the potential is "
            f"for {list(start.type_names)}",
            file=file,
        )


def from_zero(config: RefineConfig, target: Target, start: Start) -> PairTable:
    """The pair table of a start from zero.

    Raises:
        DataError: too few pairs at short distance for a repulsive wall.
    """
    names = target.topology.type_names
    basis = CountsBasis(target.tally.pairs, start.r_max, start.intervals, target.grid)
    spacing = basis.r_max / basis.intervals
    hidden = target.tally.hidden
    fit = PairFit(names, basis.r_max, spacing, config.temperature, exclude=hidden)
    for frame in target.frames:
        fit.basis.observe(frame)
    wall = wall_table(fit)
    if config.zero.begin == "wall":
        return wall
    edges = basis.grid.edges
    r = 0.5 * (edges[1:] + edges[:-1])
    slopes = np.stack([fit.wall(row).slope(r) for row in range(basis.pairs)])
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
