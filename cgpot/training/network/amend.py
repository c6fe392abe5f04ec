# SPDX-License-Identifier: GPL-2.0-or-later
"""A training folder made from another by giving the network's pair part other coefficients.

The new folder holds what `cgpot deploy` and the analysis take from a training folder, its
errors evaluated again; where it came from stands in result.json and in the manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgpot.core.checkpoints import save_at_temperature
from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, read_json, write_json
from cgpot.core.manifest import check_manifest, write_manifest
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation import predictions as ev
from cgpot.training.evaluation.held_out import HeldOut
from cgpot.training.folder.training_folder import STAGE, Folder
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.network.trained_network import bonded_record

COPIED = (
    "example.extxyz",
    "pair_fit.json",
    "bonded_fit.json",
    "density.json",
    "density_refit.json",
    "nequip.yaml",
    "metrics.csv",
    "inputs.json",
)


def amend(
    training: str | Path,
    output: str | Path,
    table: PairTable,
    frames: Sequence[CGFrame],
    *,
    bonded: BondedPart | None = None,
    source: Sequence[str | Path],
    facts: dict[str, Any],
    temperature: float | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Make a training folder whose network has the table as its pair part.

    Args:
        training: output folder of `cgpot train` (or of this function).
        output: folder to make; it appears whole, replacing an older one.
        table: the new pair part, on the knots of the old one.
        frames: frames with forces on which the errors are evaluated again.
        bonded: another bonded part, for molecules of several sites; None keeps that of the
            network.
        source: files of these frames, for the manifest.
        facts: what the change is (plain data); kept as ``refined`` in result.json.
        temperature: K; of a network that takes the temperature as an input, the constant that
            is stored in the new one: what was changed holds there only.
        quiet: no progress bar.

    Returns:
        The new result.json.

    Raises:
        InputError: not a finished training folder, no pair part, other bead types or knots.
        DataError: a frame without forces.
        ManifestError: the training's files were changed.
    """
    old = Path(training).resolve()
    if not (old / "result.json").is_file():
        raise InputError("no result.json: expected a finished training folder", file=old)
    check_manifest(old / "result.json", stage=STAGE)
    result = read_json(old / "result.json")
    names = tuple(result["bead_names"])
    if names != table.type_names:
        raise InputError(
            f"the pair table is for bead types {list(table.type_names)}, the model has "
            f"{list(names)}",
            file=old,
        )
    if not frames:
        raise InputError("no frames on which the amended model can be evaluated", file=old)
    with atomic_path(output) as folder:
        folder.mkdir()
        for name in COPIED:
            if (old / name).is_file():
                shutil.copyfile(old / name, folder / name)
        checkpoint = folder / "model.ckpt"
        ev.save_checkpoint_with_pair(old / "model.ckpt", checkpoint, table.coefficients)
        if temperature is not None and result.get("temperature_input"):
            save_at_temperature(checkpoint, checkpoint, temperature)
            result |= {"temperature": temperature, "temperature_input": None}
        table.write(Folder(folder).pair)
        if bonded is None and Folder(old).bonded.is_file():
            bonded = BondedPart.read(Folder(old).bonded)
        if bonded is not None:
            bonded.write(Folder(folder).bonded)
            result |= bonded_record(Folder(folder))
            fit = Folder(folder).bonded_fit
            taken = BondedPart.read(fit) if fit.is_file() else bonded
            frames = [taken.remainder(frame) for frame in frames]
        _evaluate(folder, result, list(frames), quiet=quiet)
        result["refined"] = facts
        result["evaluated_on"] = {
            "files": [Path(p).name for p in source],
            "frames": len(frames),
        }
        write_json(folder / "result.json", result)
        write_manifest(
            folder / "result.json",
            stage=STAGE,
            inputs={
                "training": old / "result.json",
                "model": old / "model.ckpt",
                "frames": list(source),
            },
            outputs=sorted(p for p in folder.iterdir() if p.is_file() and p.name != "result.json"),
            config={"refined": facts},
            extra={"temperature": result["temperature"]},
        )
    return dict(result)


def _evaluate(folder: Path, result: dict[str, Any], frames: list[CGFrame], *, quiet: bool) -> None:
    """Errors of the amended model into ``result``, arrays into parity.npz."""
    place = Folder(folder)
    network = NetworkPotential.read(place.final)
    yardstick = None
    if place.yardstick.is_file():
        yardstick = Base(PairTable.read(place.yardstick), pairs=network.pairs)
    held_out = HeldOut.of(
        frames, network, yardstick, temperature=result["temperature"], quiet=quiet
    )
    held_out.save(place.parity)
    result |= held_out.figures
    result["n_test"] = len(frames)
