# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of `cgpot refine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from cgpot.core.config import StrictModel, load_yaml_dict, validate

PATHS = ("start", "deployed", "configuration", "test")


class ZeroConfig(StrictModel):
    """The pair potential of a start from zero."""

    cutoff: float = Field(default=10.0, gt=0, description="Å; u, u' and u'' vanish there")
    spacing: float = Field(default=0.25, gt=0, description="Å between the knots")
    begin: Literal["pmf", "wall"] = Field(
        default="pmf", description="pmf: -k_B T ln g(r); wall: the repulsive wall of g(r) alone"
    )


class SamplingConfig(StrictModel):
    """The LAMMPS run of an iteration (NVT, Langevin)."""

    length_ps: float = Field(default=60.0, gt=0, description="length, equilibration included")
    equilibration_ps: float = Field(
        default=4.0, ge=0, description="dropped at least; more where the energy still drifts"
    )
    timestep_fs: float = Field(default=5.0, gt=0, description="fs")
    sample_ps: float = Field(default=0.2, gt=0, description="between samples of g(r), pressure")
    tdamp_ps: float = Field(default=1.0, gt=0, description="thermostat time constant")
    skin: float = Field(default=2.0, gt=0, description="neighbour-list skin, Å")
    minimize: bool = Field(default=False, description="relax the first configuration")

    @model_validator(mode="after")
    def _long_enough(self) -> SamplingConfig:
        samples = (self.length_ps - self.equilibration_ps) / self.sample_ps
        if samples < 20:
            raise ValueError(
                f"{self.length_ps} ps less {self.equilibration_ps} ps of equilibration at one "
                f"sample in {self.sample_ps} ps leave {max(0, int(samples))} samples; expected "
                "at least 20"
            )
        return self


class StepConfig(StrictModel):
    """How far an iteration goes, and what is believed of a correction beforehand."""

    max_kT: float = Field(
        default=1.0, gt=0, description="largest change of u(r) in an iteration, where pairs are"
    )
    mixing: float = Field(default=1.0, gt=0, le=1, description="fraction of each step taken")
    value_kT: float = Field(default=2.0, gt=0, description="prior: size of a change, k_B T")
    curvature_kT: float = Field(
        default=2.0, gt=0, description="prior: its second derivative, k_B T/Å^2"
    )
    memory: int = Field(
        default=6, ge=1, description="iterations whose samples are reweighted together (MBAR)"
    )
    retries: int = Field(default=4, ge=0, description="halvings of a step after a failed run")


class ToleranceConfig(StrictModel):
    """When to stop.  Without a number: within the errors of reference and run."""

    rdf_error: float | None = Field(default=None, gt=0, description="Δg of every refined pair")
    bonded_overlap: float | None = Field(
        default=None, gt=0, lt=1, description="overlap of every refined bonded distribution"
    )
    pressure_bar: float | None = Field(default=None, gt=0, description="bar")
    sigmas: float = Field(default=2.0, gt=0, description="pressure: combined standard errors")
    noise: float = Field(
        default=1.25,
        ge=1,
        description="Δg, 1 - overlap: multiple of what two runs of one system give",
    )


class RefineConfig(StrictModel):
    """Everything that `cgpot refine` needs."""

    start: Literal["zero"] | Path = Field(
        description="'zero' (bonded distributions are inverted), a training folder, or a pair "
        "table (.json, or a folder with pair.json)"
    )
    deployed: Path | None = Field(
        default=None, description="compiled model of the training folder; null: compile it"
    )
    reference: list[Path] = Field(min_length=1, description="mapped data sets (replicas)")
    configuration: Path | None = Field(
        default=None, description="first configuration; null: the first frame of the reference"
    )
    test: Path | None = Field(
        default=None,
        description="held-out frames on which the refined network is evaluated; null: at most "
        "60 frames of the reference",
    )
    temperature: float = Field(gt=0, description="K")
    density_kg_m3: float | None = Field(default=None, gt=0, description="null: the reference's")
    method: Literal["relative-entropy", "ibi"] = Field(default="relative-entropy")
    iterations: int = Field(default=6, ge=1, description="at most")
    pressure: Literal["match", "ignore"] | float = Field(
        default="match", description="match: that of the reference; a number: bar"
    )
    charges: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="beads with charges, for which there is no Coulomb term: refuse them, or "
        "ignore the charges (interactions within the cutoff alone)",
    )
    pairs: list[str] | None = Field(
        default=None, description="pairs of bead types whose u(r) is changed, as A-B; null: all"
    )
    bonded: bool | list[str] = Field(
        default=False,
        description="change bonds, angles and dihedrals too: true, or which of them, by sort "
        "(bond, angle, dihedral) or by kind (A-B, A-B-A)",
    )
    pressure_weight: Literal["exact"] | float = Field(
        default="exact",
        description="relative entropy: exact imposes the pressure to first order; a number "
        "weighs its square in combined standard errors against g(r) (a compromise)",
    )
    zero: ZeroConfig = ZeroConfig()
    md: SamplingConfig = SamplingConfig()
    step: StepConfig = StepConfig()
    tolerance: ToleranceConfig = ToleranceConfig()
    deploy: bool = Field(
        default=False, description="deploy the refined model at the end, into the folder 'deploy'"
    )
    seed: int = Field(default=1, gt=0, lt=700_000_000, description="of the runs")
    threads: int = Field(default=1, ge=1, description="CPU threads of torch in LAMMPS")

    @model_validator(mode="after")
    def _check(self) -> RefineConfig:
        if self.start == "zero" and self.deployed is not None:
            raise ValueError("'deployed' belongs to the start from a training folder, not 'zero'")
        if isinstance(self.pressure_weight, float) and self.pressure_weight <= 0:
            raise ValueError("pressure_weight: expected 'exact' or a positive number")
        if self.pairs == [] and not self.bonded:
            raise ValueError("nothing to refine: expected pairs of bead types, or bonded terms")
        if self.pairs == [] and self.pressure != "ignore":
            raise ValueError(
                "the pressure is matched by pairs: expected pairs of bead types, or pressure ignore"
            )
        if self.zero.spacing * 4 >= self.zero.cutoff:
            raise ValueError(
                f"zero.spacing {self.zero.spacing} Å leaves fewer than 4 intervals up to "
                f"{self.zero.cutoff} Å"
            )
        return self


def load_config(
    path: str | Path,
    *,
    start: str | Path | None = None,
    reference: list[Path] | None = None,
    deployed: str | Path | None = None,
    iterations: int | None = None,
) -> RefineConfig:
    """Read the YAML file (its paths are relative to it) with overrides.

    Raises:
        ConfigError: unknown key, wrong type or value.
    """
    data = load_yaml_dict(path)
    base = Path(path).resolve().parent

    def absolute(value: Any) -> Any:
        return str(base / value) if isinstance(value, str) and value != "zero" else value

    for key in PATHS:
        if key in data:
            data[key] = absolute(data[key])
    if isinstance(data.get("reference"), str):
        data["reference"] = [data["reference"]]
    if isinstance(data.get("reference"), list):
        data["reference"] = [absolute(value) for value in data["reference"]]
    if start is not None:
        data["start"] = str(start) if str(start) == "zero" else str(Path(start).resolve())
        data.pop("deployed", None)
    if deployed is not None:
        data["deployed"] = str(Path(deployed).resolve())
    if reference:
        data["reference"] = [str(Path(p).resolve()) for p in reference]
    if iterations is not None:
        data["iterations"] = iterations
    return validate(RefineConfig, data, file=path)
