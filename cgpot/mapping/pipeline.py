# SPDX-License-Identifier: GPL-2.0-or-later
"""Map a trajectory: readers in, data set, thermodynamic table and manifest out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import thermo_path
from cgpot.core.manifest import write_manifest
from cgpot.core.progress import progress
from cgpot.formats.atomistic import AtomFrame, AtomTopology, ThermoSeries
from cgpot.mapping.check import (
    PressureCheck,
    require_agreement,
    temperature_note,
)
from cgpot.mapping.kernel import internal_dof, map_frame
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import MappingSpec, load_mapping
from cgpot.mapping.tally import Tally
from cgpot.mapping.thermo import ThermoLookup, write_table
from cgpot.molecules.extxyz import FORCE_DECIMALS, POSITION_DECIMALS, ExtxyzWriter
from cgpot.molecules.frame import CGFrame

Array = NDArray[np.float64]
VirialForm = Literal["auto", "exact", "dof"]


class Trajectory(Protocol):
    """Frames with positions and forces, one at a time."""

    path: Path

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[AtomFrame]: ...


@dataclass(frozen=True)
class MapOptions:
    """Choices of a mapping run.

    Attributes:
        temperature: K; None: that of the mapping file, else the mean of the energy file.
        begin, end: first and last time, ps.
        stride: take every n-th frame.
        virial: form of the virial; ``auto``: exact unless constraint forces are missing.
        accept_mismatch: why a pressure of the labels unlike the engine's is accepted.
        position_decimals, force_decimals: digits written (Å, eV/Å).
        quiet: no progress bar.
    """

    temperature: float | None = None
    begin: float | None = None
    end: float | None = None
    stride: int = 1
    virial: VirialForm = "auto"
    accept_mismatch: str | None = None
    position_decimals: int = POSITION_DECIMALS
    force_decimals: int = FORCE_DECIMALS
    quiet: bool = False


@dataclass(frozen=True)
class MapResult:
    """What a mapping run made.

    Attributes:
        output: the data set.
        thermo: the table beside it.
        n_frames: frames written.
        n_sites: sites per frame.
        temperature: K behind the pressures, or None without a virial.
        virial: ``exact``, ``dof`` or ``none``.
        check: pressure of labels and engine.
        notes: what the user should know.
    """

    output: Path
    thermo: Path
    n_frames: int
    n_sites: int
    temperature: float | None
    virial: str
    check: PressureCheck
    notes: tuple[str, ...]


def selected(frames: Iterable[AtomFrame], options: MapOptions, file: Path) -> Iterator[AtomFrame]:
    """Frames within the time window, every ``stride``-th.

    Raises:
        InputError: a time window on frames without times.
    """
    windowed = options.begin is not None or options.end is not None
    count = 0
    for frame in frames:
        if windowed:
            if frame.time is None:
                raise InputError(
                    "the frames have no times, so --begin and --end cannot apply; pass --timestep",
                    file=file,
                    frame=frame.index,
                )
            if options.begin is not None and frame.time < options.begin - 1e-6:
                continue
            if options.end is not None and frame.time > options.end + 1e-6:
                continue
        if count % options.stride == 0:
            yield frame
        count += 1


def virial_form(
    sites: SiteMap, topology: AtomTopology, wanted: VirialForm, mapping: Path
) -> tuple[str, str]:
    """Which form of the virial to use, and why.

    Raises:
        ConfigError: it is unknown whether the run has constraints, molecules are left out, or the
            exact formula is asked for where sites share atoms.
    """
    if sites.left_out is not None:
        raise ConfigError(
            f"{sites.left_out['molecules']} molecules are left out, and the engine's virial holds "
            "them: there are no virial labels of the others; pass --forces-only, without --energy",
            file=mapping,
            key="unmapped",
        )
    if len(sites.shared) and wanted == "exact":
        raise ConfigError(
            f"{len(sites.shared)} atoms are shared by sites (atom {sites.shared[0]}); the exact "
            "formula needs every atom in one site; use --virial dof",
            file=mapping,
        )
    if wanted == "exact":
        return "exact", "exact formula, as asked"
    if sites.n_constraints is None and (not topology.forces_hold_constraints or len(sites.shared)):
        raise ConfigError(
            f"{topology.path.name} does not tell whether the run has constraints, and "
            + (
                "their number enters the virial of sites that share atoms"
                if len(sites.shared)
                else "GROMACS forces leave constraint forces out"
            )
            + "; give the .tpr, or state 'constraints: none' or "
            "their number",
            file=mapping,
            key="constraints",
        )
    if wanted == "dof":
        return "dof", "degrees-of-freedom form, as asked"
    if len(sites.shared):
        return "dof", "degrees-of-freedom form: sites share atoms"
    if sites.n_constraints and not topology.forces_hold_constraints:
        return "dof", (
            f"degrees-of-freedom form: the run has {sites.n_constraints} constraints and the "
            "trajectory leaves their forces out (mean pressure right, single frames noisier)"
        )
    return "exact", "exact formula, frame by frame"


def mapped(
    frames: Iterable[AtomFrame],
    sites: SiteMap,
    lookup: ThermoLookup | None,
    dof_temperature: float | None,
) -> Iterator[tuple[CGFrame, int, AtomFrame]]:
    """Mapped frames, their rows in the thermodynamic series (-1 without one), and their atoms."""
    for frame in frames:
        row = -1
        w: Array | None = None
        if lookup is not None:
            row = lookup.row(frame)
            lookup.check_volume(row, frame)
            w = lookup.virial(row, abs(float(np.linalg.det(frame.cell))))
        yield map_frame(frame, sites, virial=w, dof_temperature=dof_temperature), row, frame


def _temperature(
    spec: MappingSpec, options: MapOptions, thermo: ThermoSeries | None
) -> tuple[float | None, str]:
    if options.temperature is not None:
        return options.temperature, "given on the command line"
    if spec.temperature is not None:
        return spec.temperature, "from the mapping file"
    if thermo is not None and thermo.temperature is not None:
        return float(thermo.temperature.mean()), f"mean of {thermo.path.name}"
    return None, "unknown"


def map_trajectory(
    mapping: str | Path,
    topology: AtomTopology,
    trajectory: Trajectory,
    thermo: ThermoSeries | None,
    output: str | Path,
    options: MapOptions,
    *,
    extra_inputs: dict[str, Path] | None = None,
) -> MapResult:
    """Map a trajectory into a data set, its table and its manifest.

    Nothing is left under the outputs' names when anything fails.

    Args:
        mapping: mapping file.
        topology: atoms.
        trajectory: frames.
        thermo: virial and pressure, or None for a data set of forces alone.
        output: the data set (.extxyz, .extxyz.xz or .extxyz.gz).
        options: choices.
        extra_inputs: further input files for the manifest.

    Raises:
        CgpotError: anything wrong in the input, see the readers; pressure of the labels unlike
            the engine's.
    """
    out = Path(output)
    if not any(out.name.endswith(s) for s in (".extxyz", ".extxyz.xz", ".extxyz.gz")):
        raise InputError(
            "expected an output name ending in .extxyz, .extxyz.xz or .extxyz.gz", file=out
        )
    spec = load_mapping(mapping)
    sites = resolve(spec, topology, mapping)
    notes = list(sites.notes)
    lookup = None if thermo is None else ThermoLookup(thermo)
    temperature, origin = _temperature(spec, options, thermo)
    form = "none"
    if thermo is not None:
        form, why = virial_form(sites, topology, options.virial, Path(mapping))
        notes.append(f"virial: {why}")
        notes += thermo.notes
        if temperature is None:
            raise ConfigError(
                "the temperature of the run is needed for the pressure of the labels; pass "
                "--temperature",
                file=mapping,
                key="temperature",
            )
    dof_temperature = temperature if form == "dof" else None
    expected = len(trajectory)
    tally = Tally(sites, topology, thermo, temperature, trajectory.path)
    thermo_file = thermo_path(out)
    with (
        ExtxyzWriter(
            out,
            position_decimals=options.position_decimals,
            force_decimals=options.force_decimals,
        ) as writer,
        progress("mapping", expected // options.stride or 1, quiet=options.quiet) as advance,
    ):
        source = selected(trajectory, options, trajectory.path)
        for frame, row, atoms in mapped(source, sites, lookup, dof_temperature):
            tally.add(frame, row, atoms)
            writer.write(frame)
            advance(1)
        if not tally.table:
            raise InputError(
                f"no frame left of {expected} after --begin {options.begin}, --end "
                f"{options.end}, --stride {options.stride}",
                file=trajectory.path,
            )
        check = tally.pressures()
        if check.agrees is False and options.accept_mismatch is None:
            require_agreement(check, tally.reason(check, form), trajectory.path)
        write_table(thermo_file, tally.table)
    if warning := temperature_note(tally.motion, temperature):
        notes.append(warning)
    if check.agrees is False:
        notes.append(f"pressure mismatch accepted: {options.accept_mismatch}")
    if thermo is not None and check.agrees is None:
        notes.append("pressure not checked: fewer than 8 frames, or the engine's is not known")
    inputs: dict[str, Any] = {
        "mapping": Path(mapping),
        "topology": topology.path,
        "trajectory": trajectory.path,
    }
    if thermo is not None:
        inputs["energy"] = thermo.path
    inputs.update(extra_inputs or {})
    write_manifest(
        out,
        stage="mapping",
        inputs=inputs,
        outputs=[thermo_file],
        config=spec.as_dict(),
        extra={
            "options": {
                "begin_ps": options.begin,
                "end_ps": options.end,
                "stride": options.stride,
                "virial": options.virial,
                "accept_pressure_mismatch": options.accept_mismatch,
                "decimals": [options.position_decimals, options.force_decimals],
            },
            "n_frames": len(tally.table),
            "n_sites": sites.topology.n_sites,
            "n_atoms": sites.n_atoms,
            "n_constraints": sites.n_constraints,
            "internal_dof": internal_dof(sites),
            "bead_type_names": list(sites.topology.type_names),
            "bead_type_masses": list(sites.topology.type_masses),
            **({"left_out": sites.left_out} if sites.left_out else {}),
            **(
                {"bead_type_charges": list(sites.topology.type_charges)}
                if any(sites.topology.type_charges)
                else {}
            ),
            "temperature": temperature,
            "temperature_from": origin,
            "virial": form,
            "pressure_check_bar": check.as_dict(),
            "site_temperature": None
            if not tally.motion
            else {"mean": float(np.mean(tally.motion)), "n_frames": len(tally.motion)},
            "notes": notes,
        },
    )
    return MapResult(
        output=out,
        thermo=thermo_file,
        n_frames=len(tally.table),
        n_sites=sites.topology.n_sites,
        temperature=temperature,
        virial=form,
        check=check,
        notes=tuple(notes),
    )
