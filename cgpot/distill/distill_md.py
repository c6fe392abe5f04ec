# SPDX-License-Identifier: GPL-2.0-or-later
"""MD of a distillation: new configurations from the teacher and from the student."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.cg_run import read_run
from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.records import ModelRecord, TrainingRecord
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame

TABLES = "tables.json"
"""Digests of the tables of a run."""
EQUILIBRATION = 0.1
"""Part of an MD run that is left out."""


@dataclass(frozen=True)
class MdPlan:
    """MD that gives new configurations.

    Attributes:
        densities: kg/m^3, one run for each; empty: that of the first frame.
        temperature: K.
        length_ps: of each run.
        every_ps: time between frames.
        timestep_fs: of the runs.
        threads: of LAMMPS.
        student_length_ps: of the runs of the student; None: as long as those of the teacher.
    """

    densities: tuple[float, ...]
    temperature: float
    length_ps: float = 100.0
    every_ps: float = 2.0
    timestep_fs: float = 5.0
    threads: int = 1
    student_length_ps: float | None = None


@dataclass(frozen=True)
class Run:
    """What an MD run gave.

    Attributes:
        frames: after the equilibration.
        pressures: (frames,) bar, of the sites as free particles and the virial.
    """

    frames: list[CGFrame]
    pressures: NDArray[np.float64]


def md_runs(
    folder: Path,
    plan: MdPlan,
    start: Path,
    potential: dict[str, Path],
    *,
    student: bool = True,
    replace: bool = False,
    quiet: bool = False,
) -> list[Run]:
    """MD with a deployed potential, one run for each density; finished runs are kept.

    Args:
        folder: of the runs.
        plan: what to run.
        start: data set whose first frame is the start.
        potential: key ``model`` or ``pair_file`` of `MdConfig`, and the file.
        student: with the length of the student's runs.
        replace: start a run anew whose folder holds one with another potential or settings.
        quiet: no progress bars.

    Raises:
        ConfigError: a folder holds a run with other settings.
        InputError: a folder holds a run with other tables.
        DataError: a run whose pressures do not belong to its frames.
    """
    from cgpot.md.md_settings import MdConfig
    from cgpot.md.md_stage import SETTINGS, run_md

    runs: list[Run] = []
    length = plan.student_length_ps if student and plan.student_length_ps else plan.length_ps
    for density in plan.densities or (None,):
        where = folder / ("start" if density is None else f"{density:g}")
        config = MdConfig(
            start=start,
            temperature=plan.temperature,
            density_kg_m3=density,
            length_ps=length,
            timestep_fs=plan.timestep_fs,
            dump_ps=plan.every_ps,
            thermo_ps=plan.every_ps,
            threads=plan.threads,
            **potential,  # type: ignore[arg-type]
        )
        _claim_tables(where, potential, replace=replace)
        try:
            run_md("nvt", config, where, quiet=quiet)
        except ConfigError as err:
            if not replace or err.file is None or Path(err.file).name != SETTINGS:
                raise
            run_md("nvt", config, where, fresh=True, quiet=quiet)
        every = list(read_frames(where / "traj.extxyz.xz"))
        run = read_run(where, plan.temperature)
        pressures, _ = run.pressure(plan.temperature, every[0].topology.n_sites)
        if len(pressures) != len(every):
            raise DataError(
                f"{len(pressures)} thermo lines, {len(every)} frames; expected as many", file=where
            )
        first = max(1, int(EQUILIBRATION * len(every)))
        runs.append(Run(every[first:], pressures[first:]))
    return runs


def _claim_tables(where: Path, potential: dict[str, Path], *, replace: bool) -> None:
    """Record the tables of a run, which the include file only names; remove a run of others.

    Raises:
        InputError: the run may not be replaced.
    """
    if "pair_file" not in potential:
        return
    sidecar = potential["pair_file"].with_name(
        potential["pair_file"].name.replace(".pair.lmp", ".cgpot.json")
    )
    if not sidecar.is_file():
        return
    tables = ModelRecord.read(sidecar).sha256
    record = where / TABLES
    if record.is_file() and read_json(record) != tables:
        if not replace:
            raise InputError(
                "the folder holds a run with another potential; give another folder, or "
                "--restart to replace it",
                file=where,
            )
        shutil.rmtree(where)
    where.mkdir(parents=True, exist_ok=True)
    write_json(record, tables)


def deploy_student(
    training: Path, target: Path, temperature: float | None, *, quiet: bool = True
) -> Path:
    """Deploy a student, at a temperature (K) if it takes that as an input; its description."""
    from cgpot.deploy.deployment import deploy

    thermal = TrainingRecord.read(training / "result.json").temperature_input is not None
    chosen = temperature if thermal else None
    return deploy(training, target, temperature=chosen, quiet=quiet).sidecar


def deployed_student(training: Path, target: Path, temperature: float) -> dict[str, Path]:
    """Deploy a student; key of `MdConfig` and file."""
    deploy_student(training, target, temperature)
    pair_file = target / "model.pair.lmp"
    if pair_file.is_file():
        return {"pair_file": pair_file}
    return {"model": target / "model.nequip.pt2"}
