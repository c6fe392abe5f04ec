# SPDX-License-Identifier: GPL-2.0-or-later
"""The fastest of several ways to compile a model, by measurement where it will run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cgpot.core.errors import DataError, ToolError
from cgpot.deploy.package import compile_package
from cgpot.deploy.verify import CompiledModel
from cgpot.molecules.extxyz import read_frames

BEADS: Final = 32_000
"""Of the timed system, at least: on a GPU a few hundred beads show little but launches."""


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        tables: the way.
        record: verification of the compiled model.
        times: milliseconds of an evaluation each way, or why there is none.
        beads: of the timed system.
    """

    tables: str
    record: dict[str, Any]
    times: dict[str, float | str]
    beads: int


def compile_fastest(
    package: Path,
    compiled: Path,
    device: str,
    ways: Sequence[str],
    check: Callable[[Path], dict[str, Any]],
    example: Path,
    *,
    tf32: bool = False,
) -> Choice:
    """Compile a model each way, keep the one whose evaluation takes the least time.

    Args:
        package: `model.nequip.zip`.
        compiled: file to write.
        device: ``cpu`` or ``cuda``, this machine's.
        ways: of :data:`cgpot.deploy.acceleration.WAYS`; after an error of the device nothing runs
            there any more, so what is surest stands first.
        check: verifies a compiled file, returns the record; see :func:`cgpot.deploy.verify.verify`.
        example: frames; copies of the first are timed, at least :data:`BEADS` beads.
        tf32: see :func:`cgpot.deploy.package.compile_package`.

    Raises:
        ToolError, DataError, RuntimeError: no way gave a model that agrees with the
            checkpoint; what the last one failed of.
    """
    frame = next(iter(read_frames(example, several=True)))
    beads = 0
    times: dict[str, float | str] = {}
    records: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix=".cgpot-", dir=compiled.parent) as scratch:
        files = {way: Path(scratch) / f"{way}.nequip.pt2" for way in ways}
        failure: ToolError | DataError | RuntimeError | None = None
        for way, file in files.items():
            try:
                compile_package(package, file, device, tables=way, tf32=tf32)
                records[way] = check(file)
                model = CompiledModel(file, device)
                inputs = repeated(model.inputs(frame), BEADS)
                beads = len(inputs[2])
                times[way] = round(model.milliseconds(inputs), 4)
            except (ToolError, DataError, RuntimeError) as err:  # the last: torch's
                failure = err
                times[way] = failed(err)
        measured = {way: time for way, time in times.items() if not isinstance(time, str)}
        if not measured:
            assert failure is not None
            raise failure
        best = min(measured, key=lambda way: measured[way])
        os.replace(files[best], compiled)
    return Choice(best, records[best], times, beads)


def failed(err: Exception) -> str:
    """What stands in the place of a time: the last line of an error."""
    return f"failed: {(str(err).strip().splitlines() or ['?'])[-1]}"


def repeated(inputs: Sequence[Any], beads: int) -> list[Any]:
    """Inputs of `cgpot.deploy.target` for copies of a system, each by itself, of so many beads."""
    import torch

    positions, index, types, vectors, counts = inputs
    nodes = len(types)
    copies = -(-beads // nodes)
    shift = nodes * torch.arange(copies, device=index.device).repeat_interleave(index.shape[1])
    return [
        positions.repeat(copies, 1),
        index.repeat(1, copies) + shift,
        types.repeat(copies),
        vectors.repeat(copies, 1),
        counts * copies,
    ]
