# SPDX-License-Identifier: GPL-2.0-or-later
"""Sample the CG fluid of an iteration with LAMMPS."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.cg_run import RunFolder, read_run
from cgpot.core.config import validate
from cgpot.core.errors import CgpotError, DataError, ToolError
from cgpot.core.statistics import MIN_SAMPLES, estimate
from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames
from cgpot.refine.frame_counts import FrameTally
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.reweighting import Samples

Array = NDArray[np.float64]


@dataclass
class Sampled:
    """One run.

    Attributes:
        samples: frames after equilibration.
        facts: equilibration dropped (ps), temperature (K), wall seconds, plain data.
        final: last configuration, a LAMMPS data file.
    """

    samples: Samples
    facts: dict[str, Any]
    final: Path


def sample(
    config: RefineConfig,
    folder: Path,
    *,
    pair_file: Path,
    coefficients: Array,
    start: Path,
    density: float,
    tally: FrameTally,
    number: int,
    quiet: bool,
) -> Sampled:
    """Run, or continue, the simulation of an iteration, and count its pairs and bonded terms.

    Raises:
        ToolError: LAMMPS failed or the fluid blew up.
        DataError: NaN in the results.
    """
    md = config.md
    every = max(1, round(md.sample_ps * 1000.0 / md.timestep_fs))
    sample_ps = every * md.timestep_fs / 1000.0
    settings = validate(
        MdConfig,
        {
            "start": start,
            "pair_file": pair_file,
            "temperature": config.temperature,
            "density_kg_m3": density,
            "length_ps": md.length_ps,
            "timestep_fs": md.timestep_fs,
            "thermostat": "langevin",
            "tdamp_ps": md.tdamp_ps,
            "seed": config.seed + 7919 * number,
            "minimize": md.minimize and number == 0,
            "thermo_ps": sample_ps,
            "dump_ps": sample_ps,
            "restart_ps": max(sample_ps, md.length_ps / 4),
            "skin": md.skin,
            "threads": config.threads,
            "temperature_max": 3.0 * config.temperature,
        },
    )
    record = run_md("nvt", settings, folder, quiet=quiet)
    if not record["complete"]:
        raise ToolError("the run did not reach its end", file=folder)
    run = read_run(folder, config.temperature)
    return _collect(config, run, tally, coefficients, sample_ps)


def _collect(
    config: RefineConfig, run: RunFolder, tally: FrameTally, coefficients: Array, sample_ps: float
) -> Sampled:
    frames = int(run.md["frames"])
    thermo = run.thermo
    energy = thermo["pe_eV"]
    if len(energy) != frames or run.trajectory is None:
        raise DataError(
            f"{len(energy)} thermo lines, {frames} frames; expected as many", file=run.path
        )
    first = min(int(np.ceil(config.md.equilibration_ps / sample_ps)), frames - MIN_SAMPLES)
    drift = estimate(energy[first:]).start
    dropped = first + min(drift, (frames - first) // 2)
    pressure, _ = run.pressure(config.temperature, int(run.md["n_sites"]))
    later = (f for k, f in enumerate(read_frames(run.trajectory)) if k >= dropped)
    counts = tally.counts(later)
    temperature = float(thermo["temperature_K"][dropped:].mean())
    hot = abs(temperature / config.temperature - 1.0)
    if hot > 0.1:
        raise ToolError(
            f"the fluid is at {temperature:.0f} K where {config.temperature:g} K are set; "
            "the time step is too long or the potential too steep",
            file=run.path,
        )
    facts = {
        "dropped_ps": round(dropped * sample_ps, 6),
        "frames": int(frames - dropped),
        "temperature_K": temperature,
        "wall_seconds": float(run.md["wall_seconds"]),
    }
    samples = Samples(counts, pressure[dropped:], coefficients)
    return Sampled(samples, facts, run.path / "run.final.data")


def is_blow_up(error: CgpotError) -> bool:
    """Whether a smaller step may help: LAMMPS failed, or results are not finite."""
    return isinstance(error, ToolError | DataError)


def set_aside(folder: Path) -> None:
    """Rename the folder of a failed run, so that it can be looked at."""
    if not folder.is_dir():
        return
    n = 1
    while (target := folder.with_name(f"{folder.name}.failed.{n}")).exists():
        n += 1
    shutil.move(folder, target)
