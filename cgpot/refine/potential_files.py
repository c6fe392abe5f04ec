# SPDX-License-Identifier: GPL-2.0-or-later
"""The potential of an iteration as LAMMPS runs it: ``potential.pair.lmp`` and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgpot.core.files import write_text
from cgpot.core.records import TrainingRecord
from cgpot.deploy.tables import deploy_tables
from cgpot.molecules.exclusions import SEEN_PAIRS
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.potential.splines import PairTable
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.linear.mscg import MSCGPotential

NAME = "potential"


def write_potential(
    folder: Path,
    table: PairTable,
    model: Path | None = None,
    linear: MSCGPotential | None = None,
    temperature: float = 300.0,
) -> Path:
    """Write ``potential.pair.lmp``, which LAMMPS includes, and what it names.

    Args:
        folder: where to.
        table: pair table, or the correction beside the model.
        model: compiled network; None without.
        linear: MS-CG potential, or the bonded part below the network; None without.  Where there
            are bonded terms, a description beside the file says which sites they join.
        temperature: K, for the description.
    """
    include = folder / f"{NAME}.pair.lmp"
    if linear is None:
        written = write_for_lammps(
            folder, Base(table), name=NAME, place=folder.resolve(), beside=model
        )
        return write_text(include, "\n".join(written.commands) + "\n")
    source = folder / "tables"
    source.mkdir(exist_ok=True)
    if model is None:
        written = write_for_lammps(source, linear)
    else:
        seen = SEEN_PAIRS[len(linear.excluded)]  # those of a network are the nearest ones
        parts = (Base(table, pairs=seen), BondedPart(linear))
        written = write_for_lammps(source, *parts, beside=model)
    result: dict[str, Any] = {
        "format": TrainingRecord.FORMAT,
        "kind": "mscg",
        "bead_names": list(linear.type_names),
        "masses": list(linear.topology.type_masses),
        "cutoff": table.r_max,
        "temperature": temperature,
        "lammps": written.record,
    }
    path = TrainingRecord.write(source / "result.json", result)
    deploy_tables(source, TrainingRecord.read(path), folder, NAME)
    return include
