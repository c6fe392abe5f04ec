# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames as ase's Atoms, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import InputError
from cgpot.molecules import fields
from cgpot.molecules.extxyz.species_key import (
    CHARGES_KEY,
    SPECIES_KEY,
    KnownTopologies,
    species_text,
)
from cgpot.molecules.frame import CGFrame

TYPE_NAMES = "bead_type_names"
TYPE_MASSES = "bead_type_masses"
POSITION_DECIMALS = 4
FORCE_DECIMALS = 5


def to_atoms(frame: CGFrame) -> Any:
    """The frame as `ase.Atoms` (species X, labels in a SinglePointCalculator)."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    topology = frame.topology
    atoms = Atoms(
        symbols=[fields.SPECIES] * topology.n_sites,
        positions=np.round(frame.positions, POSITION_DECIMALS),
        cell=frame.cell,
        pbc=frame.pbc,
    )
    atoms.arrays[fields.ATOM_TYPES] = topology.types.astype(np.int64)
    atoms.arrays[fields.MOLECULE_IDS] = topology.molecules.astype(np.int64)
    atoms.arrays[fields.BEAD_NAMES] = np.asarray(topology.names)
    atoms.info[TYPE_NAMES] = " ".join(topology.type_names)
    atoms.info[TYPE_MASSES] = " ".join(f"{m:.6g}" for m in topology.type_masses)
    if any(topology.type_charges):
        atoms.info[CHARGES_KEY] = " ".join(f"{q:.10g}" for q in topology.type_charges)
    if not topology.is_plain:
        atoms.info[SPECIES_KEY] = species_text(topology)
    if frame.time is not None:
        atoms.info[fields.TIME] = float(frame.time)
    if frame.source_frame is not None:
        atoms.info[fields.SOURCE_FRAME] = int(frame.source_frame)
    if frame.temperature is not None:
        atoms.info[fields.TEMPERATURE] = float(frame.temperature)
    if frame.state is not None:
        atoms.info[fields.STATE] = frame.state
    if frame.weight != 1.0:
        atoms.info[fields.WEIGHT] = float(frame.weight)
    results: dict[str, Any] = {}
    if frame.forces is not None:
        results["forces"] = np.round(frame.forces, FORCE_DECIMALS)
    if frame.virial is not None:
        stress = frame.stress
        results["stress"] = full_3x3_to_voigt_6_stress(0.5 * (stress + stress.T))
    if frame.energy is not None:
        results[fields.ENERGY] = float(frame.energy)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def from_atoms(atoms: Any, file: str | Path | None = None, frame: int | None = None) -> CGFrame:
    """A frame from `ase.Atoms` as `to_atoms` writes them.

    Raises:
        InputError: a column or an info key of the format is missing.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    arrays = {**atoms.arrays, "forces": results.get("forces")}
    return from_parts(atoms, arrays, results, KnownTopologies(), file, frame)


def from_parts(
    atoms: Any,
    arrays: dict[str, Any],
    results: dict[str, Any],
    known: KnownTopologies,
    file: str | Path | None,
    frame: int | None,
) -> CGFrame:
    """A frame from what stands in the comment line (in ``atoms``) and from the columns.

    ``known`` holds the topologies of the frames before: equal sites share one object.
    """
    from ase.stress import voigt_6_to_full_3x3_stress

    for key in (fields.ATOM_TYPES, fields.MOLECULE_IDS):
        if key not in arrays:
            raise InputError(
                f"the column '{key}' is missing; expected a data set written by 'cgpot map'",
                file=file,
                frame=frame,
            )
    for key in (TYPE_NAMES, TYPE_MASSES):
        if key not in atoms.info:
            raise InputError(
                "the key is missing from the comment line; expected a data set written by "
                "'cgpot map'",
                file=file,
                key=key,
                frame=frame,
            )
    charges = atoms.info.get(CHARGES_KEY)
    species = atoms.info.get(SPECIES_KEY)
    topology = known.get(
        tuple(str(atoms.info[TYPE_NAMES]).split()),
        _floats(atoms.info[TYPE_MASSES], TYPE_MASSES, "masses in amu", file, frame),
        () if charges is None else _floats(charges, CHARGES_KEY, "charges in e", file, frame),
        None if species is None else str(species),
        np.asarray(arrays[fields.ATOM_TYPES], dtype=np.int64),
        np.asarray(arrays[fields.MOLECULE_IDS], dtype=np.int64),
        file=file,
        frame=frame,
    )
    cell = np.asarray(atoms.cell.array, dtype=np.float64)
    if np.linalg.det(cell) == 0.0:
        raise InputError(
            "the cell has no volume; expected three box vectors under 'Lattice'",
            file=file,
            frame=frame,
        )
    virial = None
    if "stress" in results:
        stress = np.asarray(results["stress"], dtype=np.float64)
        if stress.shape == (6,):
            stress = voigt_6_to_full_3x3_stress(stress)
        virial = -stress * abs(np.linalg.det(cell))
    forces = arrays["forces"]
    result = CGFrame(
        topology=topology,
        positions=np.asarray(arrays["positions"], dtype=np.float64),
        cell=cell,
        forces=None if forces is None else np.asarray(forces, dtype=np.float64),
        virial=virial,
        time=_optional(atoms.info.get(fields.TIME), float),
        source_frame=_optional(atoms.info.get(fields.SOURCE_FRAME), int),
        pbc=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        energy=_optional(results.get(fields.ENERGY), float),
        temperature=_positive(atoms.info, fields.TEMPERATURE, None, file, frame),
        state=_optional(atoms.info.get(fields.STATE), str),
        weight=_positive(atoms.info, fields.WEIGHT, 1.0, file, frame),
    )
    result.check_finite(file, frame)
    return result


def _floats(
    value: Any, key: str, what: str, file: str | Path | None, frame: int | None
) -> tuple[float, ...]:
    """Numbers of the comment line, which ase leaves as text, makes an array or one number."""
    try:
        words = value.split() if isinstance(value, str) else np.atleast_1d(value)
        return tuple(float(x) for x in words)
    except (TypeError, ValueError) as err:
        raise InputError(
            f"expected {what}, found {value!r}", file=file, key=key, frame=frame
        ) from err


def _positive(
    info: dict[str, Any], key: str, default: Any, file: str | Path | None, frame: int | None
) -> Any:
    """A number above zero from the comment line, or the default."""
    value = info.get(key)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (np.isfinite(number) and number > 0):
        raise InputError(
            f"expected a positive number, found {str(value)!r}",
            file=file,
            key=key,
            frame=frame,
        )
    return number


def _optional(value: Any, kind: Any) -> Any:
    return None if value is None else kind(value)
