# SPDX-License-Identifier: GPL-2.0-or-later
"""The refined model: a training folder for `cgpot deploy`, `evaluate` and `distill`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, write_text
from cgpot.core.manifest import write_manifest
from cgpot.core.records import TrainingRecord
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import include_text, write_for_lammps
from cgpot.potential.potential import Potential
from cgpot.refine.loop_state import Loop
from cgpot.training.evaluation import predictions as ev
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.linear.curve_tables import write_curves
from cgpot.training.linear.mscg_stage import POTENTIAL

Array = NDArray[np.float64]
EVALUATED = 60
"""At most so many frames of the reference."""


def write_model(loop: Loop, coefficients: Array, facts: dict[str, Any]) -> Path:
    """The refined model: a training folder of the kind that was refined.

    Raises:
        InputError: a network whose errors can be evaluated on no frames.
    """
    output = loop.folder / "model"
    change = coefficients - loop.initial
    correction = loop.table(change, {"refined": facts})
    correction.write(loop.folder / "correction.json")
    start = loop.start
    if start.kind != "network":
        return write_linear_folder(output, loop, coefficients, facts)
    from cgpot.training.network.amend import amend

    assert start.table is not None
    assert start.training is not None
    table = start.table.with_coefficients(
        start.table.coefficients + correction.coefficients,
        {**start.table.info, "refined": facts},
    )
    frames, source = evaluation_frames(loop)
    linear = loop.linear(coefficients)
    amend(
        start.training,
        output,
        table,
        frames,
        bonded=None if linear is None else BondedPart(linear),
        source=source,
        facts=facts,
        temperature=loop.config.temperature,
        quiet=loop.quiet,
    )
    return output


def evaluation_frames(loop: Loop) -> tuple[list[CGFrame], list[Path]]:
    """Frames with forces, and the files that they come from.

    Raises:
        InputError: neither ``test`` nor forces in the reference.
    """
    if loop.config.test is not None:
        return list(read_frames(loop.config.test)), [loop.config.test]
    if any(frame.forces is None for frame in loop.target.frames):
        raise InputError(
            "the frames hold no forces on which the refined network could be evaluated; give "
            "held-out frames as 'test'",
            file=loop.config.reference[0],
            key="test",
        )
    return loop.target.frames[:EVALUATED], list(loop.config.reference)


def write_linear_folder(
    output: Path, loop: Loop, coefficients: Array, facts: dict[str, Any]
) -> Path:
    """A training folder of kind ``pair`` or ``mscg``.

    Where the reference (or ``test``) holds forces, the errors on them stand in result.json.  The
    include file names its folder in a variable: ``-var pair_folder DIR`` where it was moved.
    """
    topology = loop.target.topology
    known = {} if loop.start.table is None else loop.start.table.info
    table = loop.table(coefficients, {**known, "refined": facts})
    linear = loop.linear(coefficients)
    with atomic_path(output) as folder:
        folder.mkdir()
        written = [table.write(folder / "pair.json")]
        if linear is not None:
            written += [linear.write(folder / POTENTIAL), *write_curves(folder, linear)]
        potential = linear or Base(table)
        lammps = write_for_lammps(folder, potential)
        if loop.start.training is not None:
            fit = loop.start.training / "pair_fit.json"
            if fit.is_file():
                written.append(Path(shutil.copyfile(fit, folder / fit.name)))
        text = include_text(lammps.commands, output.resolve())
        written.append(write_text(folder / "model.pair.lmp", text))
        inputs: dict[str, Any] = {"reference": list(loop.config.reference)}
        errors = _errors(loop, potential, folder)
        if errors["evaluated_on"] is not None:
            written.append(folder / "parity.npz")
            if loop.config.test is not None:
                inputs["test"] = loop.config.test
        kind = "pair" if linear is None else "mscg"
        result = {
            "format": TrainingRecord.FORMAT,
            "kind": kind,
            "model": kind,
            "n_parameters": int(np.count_nonzero(coefficients)),
            "n_train": loop.target.n_frames,
            **errors,
            "bead_names": list(topology.type_names),
            "masses": list(topology.type_masses),
            "cutoff": table.r_max,
            "temperature": loop.config.temperature,
            "density_kg_m3": loop.density,
            "dtype": "float64",
            "lammps": lammps.record,
            "refined": facts,
        }
        TrainingRecord.write(folder / "result.json", result)
        write_manifest(
            folder / "result.json",
            stage="training",
            inputs=inputs,
            outputs=[*written, *lammps.files],
            config={"refined": facts},
            extra={"temperature": loop.config.temperature},
        )
    return output


def _errors(loop: Loop, potential: Potential, folder: Path) -> dict[str, Any]:
    """Errors on frames with forces, as in other trainings; writes parity.npz."""
    empty = dict.fromkeys(
        ("force_rmse", "force_label_rms", "stress_rmse", "pressure_residual_bar", "evaluated_on")
    )
    empty |= {"force_rmse_pair_fit": None, "n_test": 0}
    try:
        frames, source = evaluation_frames(loop)
    except InputError:  # the reference holds no forces: structure and pressure are all it has
        return empty
    errors, arrays = ev.evaluate(frames, potential)
    known = ev.label_arrays(frames)
    ev.save_parity(folder / "parity.npz", ev.parity_arrays(known, arrays))
    return {
        **empty,
        **errors,
        "force_label_rms": float(np.sqrt(np.mean(known["force"] ** 2))),
        "n_test": len(frames),
        "evaluated_on": {"files": [Path(p).name for p in source], "frames": len(frames)},
    }
