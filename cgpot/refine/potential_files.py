# SPDX-License-Identifier: GPL-2.0-or-later
"""The potential of an iteration as LAMMPS runs it: ``potential.pair.lmp`` and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgpot.core.files import write_text
from cgpot.core.records import TrainingRecord
from cgpot.deploy.tables import deploy_tables
from cgpot.potential.pair_tables import pair_keys, write_lammps_table
from cgpot.potential.splines import PairTable
from cgpot.training.linear.lammps_tables import (
    PAIR,
    lammps_record,
    write_bonded,
    write_tables,
)
from cgpot.training.linear.mscg import MSCGPotential

POINTS = 4000
"""Points of LAMMPS's own table (even in r^2)."""
KEPT = 0.5
"""Weight of 1-2, 1-3 and 1-4 pairs for LAMMPS as a whole, where the parts of a hybrid have their
own: 0 would take the pairs out of the lists, 1 would hide from the parts which they are."""


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
    if linear is None:
        target = write_lammps_table((folder / "potential.table").resolve(), table)
        lines = pair_commands(table, str(target), model)
        return write_text(folder / "potential.pair.lmp", "\n".join(lines) + "\n")
    source = folder / "tables"
    source.mkdir(exist_ok=True)
    if model is None:
        files, commands = write_tables(source, linear)
    else:
        files, commands = write_bonded(source, linear)
        files.append(write_lammps_table(source / PAIR, table))
        special = linear.bonded.special()
        commands += pair_commands(table, f"${{pair_folder}}/{PAIR}", model)
        commands.append(f"special_bonds lj/coul {KEPT} {KEPT} {KEPT}")
        commands.append("pair_modify pair cgpot special lj/coul 1.0 1.0 1.0")
        commands.append(f"pair_modify pair table special lj/coul {special}")
    topology = linear.topology
    result: dict[str, Any] = {
        "format": TrainingRecord.FORMAT,
        "kind": "mscg",
        "bead_names": list(topology.type_names),
        "masses": list(topology.type_masses),
        "cutoff": table.r_max,
        "temperature": temperature,
        "lammps": lammps_record(files, commands, linear),
    }
    path = TrainingRecord.write(source / "result.json", result)
    deploy_tables(source, TrainingRecord.read(path), folder, "potential")
    return folder / "potential.pair.lmp"


def pair_commands(table: PairTable, file: str, model: Path | None = None) -> list[str]:
    """LAMMPS's commands for a table in a file, alone or overlaid on a network."""
    keys = pair_keys(table)
    if model is None:
        lines = [f"pair_style table spline {POINTS}"]
        return lines + [f"pair_coeff {a} {b} {file} {key}" for a, b, key in keys]
    lines = [f"pair_style hybrid/overlay cgpot table spline {POINTS}"]
    lines.append(f"pair_coeff * * cgpot {model.resolve()} {' '.join(table.type_names)}")
    return lines + [f"pair_coeff {a} {b} table {file} {key}" for a, b, key in keys]
