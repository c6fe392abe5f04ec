# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of `cgpot train`: one small YAML file.

Paths are relative to the folder of the YAML file, or to the folder of the data set that the
command line names.  Every key has a default that suits a
one-site molecular liquid, except ``data`` and ``system``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cgpot.core.config import StrictModel, load_yaml
from cgpot.core.errors import ConfigError
from cgpot.training.folder.weights import check_linear_loss
from cgpot.training.settings.density_settings import LocalDensitySection
from cgpot.training.settings.machine_settings import (
    LoggerName,
    PrecisionConfig,
    check_loggers,
    check_precision,
    logger_names,
)
from cgpot.training.settings.model_settings import (
    Auto,
    ModelConfig,
    MSCGConfig,
    NequIPConfig,
    Weight,
)
from cgpot.training.settings.presets import expand


class DataConfig(StrictModel):
    """Data sets, as `cgpot dataset` writes them."""

    train: Path = Field(description="extxyz file (.xz allowed) of the training frames")
    val: Path = Field(description="frames that decide the best epoch and early stopping")
    test: Path | None = Field(
        default=None, description="frames of the final figures; null uses `val`"
    )
    report: Path | None = Field(
        default=None,
        description="report.json of `cgpot dataset`; checked against the system, if given",
    )
    frames: int | None = Field(
        default=None,
        ge=1,
        description="use this many training frames, spread evenly over the file; null: all",
    )
    bootstrap: int | None = Field(
        default=None,
        ge=0,
        description="seed: resample the training frames by contiguous blocks with replacement, "
        "for ensembles; null: take each once",
    )
    state_weights: dict[str, Weight] | Literal["frames", "equal"] = Field(
        default="frames",
        description="weights of state points in the losses: frames: by their frames; equal: the "
        "same for each; or factors by name of state, as {300K-868: 2.0}",
    )

    noise: Path | None = Field(
        default=None,
        description="JSON of `cgpot noise`: the measured floor of the force error, for the report",
    )

    @property
    def files(self) -> dict[str, Path]:
        """The files that are named, by key."""
        names = ("train", "val", "test", "report", "noise")
        values = {name: getattr(self, name) for name in names}
        return {name: path for name, path in values.items() if path is not None}


class SystemConfig(StrictModel):
    """Facts about the system that the frames do not hold."""

    temperature: Annotated[float, Field(gt=0)] | None = Field(
        description="K; for the wall and for pressures; null: the mean of what the frames carry"
    )
    temperature_input: bool = Field(
        default=False,
        description="let the network's energy depend on the temperature that the frames carry",
    )
    charges: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="beads with charges, for which there is no Coulomb term: refuse them, or "
        "ignore the charges (interactions within the cutoff alone)",
    )


class PriorConfig(StrictModel):
    """The fixed part of the potential, fitted before the network by linear least squares."""

    type: Literal["none", "wall", "spline"] = Field(
        default="spline",
        description="spline: pair potential by force matching with a repulsive wall inside; "
        "wall: the repulsive wall alone; none: the network alone",
    )
    r_max: float | None = Field(default=None, gt=0, description="Å; null: the cutoff of the model")
    spacing: float = Field(default=0.25, gt=0, description="Å between the knots of the spline")
    virial: Weight | Auto | None = Field(
        default=None,
        description="weight of the virial rows (squared error of W/V, eV^2/Å^6, against that of "
        "a force component); auto: inverse label variances; null: forces alone",
    )
    match_mean_virial: bool = Field(
        default=False, description="impose the mean virial of the training frames on the spline"
    )
    match_slope: bool = Field(
        default=False,
        description="impose the slope of the pressure with density over the training frames, "
        "which must hold several densities (an NPT run does)",
    )
    local_density: LocalDensitySection | None = Field(
        default=None,
        description="a term of the local density beside the pair spline, which can carry mean and "
        "slope of the pressure; null: none",
    )
    bonded: Literal["inversion", "forces"] = Field(
        default="inversion",
        description="bonds, angles and dihedrals of molecules of several sites: inversion: by "
        "Boltzmann inversion of their distributions; forces: by force matching with the pairs "
        "(whose forces are taken from the labels in either case)",
    )
    smooth: float = Field(default=1e-6, ge=0, description="penalty on second differences, relative")
    refit: bool = Field(
        default=True,
        description="after training, refit the spline (and the local density) to what the network "
        "leaves of the labels; with stress labels the mean virial of the training frames is "
        "imposed, with match_slope the slope too",
    )


class LossConfig(StrictModel):
    """Weights of the mean square errors."""

    forces: Weight | Auto = Field(
        default="auto", description="weight of the force MSE, (eV/Å)^-2; auto: see `stress`"
    )
    stress: Weight | Auto | None = Field(
        default="auto",
        description="weight of the stress MSE, (eV/Å^3)^-2; auto: the likelihood of Gaussian "
        "label noise (inverse variance of a component, times components per frame); null: "
        "forces alone",
    )
    mean_pressure: float = Field(
        default=0.0,
        ge=0,
        description="weight of the squared mean pressure residual of a batch, in units of the "
        "stress weight; pulls the mean virial, which single frames hide in noise",
    )
    slope: Weight | None = Field(
        default=None,
        description="weight of the squared covariance of a batch's pressure residuals with the "
        "density (in standard deviations of the training frames), in units of the stress weight; "
        "keeps dP/dρ; null: none",
    )
    energy: Weight | Auto | None = Field(
        default=None,
        description="weight of the MSE of the energy per bead, eV^-2, for data with energies "
        "(as those of a teacher); a constant offset does not count; auto: as for `stress`; "
        "null: none",
    )
    per_type: dict[str, Weight] | Auto | None = Field(
        default=None,
        description="factors on the squared force errors by bead type (others: 1); auto: inverse "
        "force variance of each type; null: all alike",
    )


class OptimiserConfig(StrictModel):
    """Adam (AdamW with weight decay), its schedule and its end."""

    learning_rate: float = Field(default=2e-3, gt=0, description="largest learning rate")
    batch_size: int = Field(default=4, ge=1, description="frames a step, over all devices")
    epochs: int = Field(default=20, ge=1, description="passes over the training frames")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="after the warm-up"
    )
    warmup: float = Field(
        default=0.02, ge=0, lt=1, description="fraction of all steps that warm up"
    )
    final_rate: float = Field(
        default=0.01, ge=0, le=1, description="last learning rate, as a fraction of the largest"
    )
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="moving average of the weights")
    patience: int | None = Field(
        default=None,
        ge=1,
        description="epochs without improvement before the run stops; null: never",
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, description="largest norm of the gradient"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")


class TrainConfig(StrictModel):
    """Everything that `cgpot train` needs."""

    data: DataConfig
    system: SystemConfig
    model: ModelConfig = NequIPConfig()
    prior: PriorConfig = PriorConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    seed: int = Field(default=1, ge=0, description="of weights and shuffling")
    threads: int = Field(default=1, ge=1, description="CPU threads of torch")
    accelerator: Literal["cpu", "gpu"] = Field("cpu", description="where to train")
    devices: int = Field(
        default=1,
        ge=1,
        description="GPUs (or processes on a CPU) that share each batch; the result is that of "
        "one device within rounding",
    )
    compile: bool = Field(
        default=False,
        description="torch.compile for the training steps: more than twice as fast after a "
        "minute or two of compilation (kept for later trainings of the same model); results "
        "are the same within rounding",
    )
    precision: PrecisionConfig = PrecisionConfig()
    logger: LoggerName | list[LoggerName] = Field(
        default="none",
        description="beside metrics.csv: tensorboard, wandb, wandb-offline, or a list of them",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_model(cls, data: Any) -> Any:
        """A preset stands for its keys; a section without ``type`` is a NequIP network."""
        if isinstance(data, dict) and isinstance(data.get("model"), dict):
            return {**data, "model": {"type": "nequip", **expand(data["model"])}}
        return data

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if not self.model.is_network:
            check_linear_loss(self.model.type, self.loss.model_dump(exclude_unset=True))
        weights = (self.loss.forces, self.loss.stress)
        if self.loss.forces == 0 and self.loss.stress in (0, None) and not self.loss.energy:
            raise ValueError("forces and stress cannot both have no weight")
        if (weights[0] == "auto") != (weights[1] == "auto") and weights[1] is not None:
            raise ValueError(
                "give both forces and stress as numbers, or leave both 'auto' "
                "(or stress null for forces alone)"
            )
        if self.loss.energy and (self.loss.energy == "auto") != (self.loss.forces == "auto"):
            raise ValueError("give both forces and energy as numbers, or leave both 'auto'")
        if self.loss.energy and self.optimiser.batch_size < 2 * self.devices:
            raise ValueError(
                "an energy loss compares the frames of a batch with each other; expected "
                f"optimiser.batch_size of at least 2, found {self.optimiser.batch_size}"
            )
        if self.system.temperature_input and not self.model.is_network:
            raise ValueError(
                f"system.temperature_input needs a network, found model.type {self.model.type!r}"
            )
        if self.loss.mean_pressure > 0 and not self.loss.stress:
            raise ValueError("mean_pressure needs a stress weight")
        if self.loss.slope:
            if not self.loss.stress:
                raise ValueError("loss.slope needs a stress weight")
            if self.optimiser.batch_size < 2 * self.devices:
                raise ValueError(
                    "loss.slope compares the frames of a batch with each other; expected "
                    f"optimiser.batch_size of at least 2 a device, found "
                    f"{self.optimiser.batch_size} on {self.devices}"
                )
        if self.optimiser.batch_size % self.devices:
            raise ValueError(
                f"optimiser.batch_size {self.optimiser.batch_size} is shared by all devices; "
                f"expected a multiple of devices {self.devices}"
            )
        check_precision(
            self.precision,
            model=self.model.type,
            dtype=getattr(self.model, "dtype", None),
            gpu=self.accelerator == "gpu",
            compiled=self.compile,
        )
        check_loggers(logger_names(self.logger))
        r_max = self.prior.r_max
        if r_max is not None and r_max > self.model.cutoff:
            raise ValueError(
                f"prior.r_max {r_max} Å exceeds model.cutoff {self.model.cutoff} Å; "
                "the neighbour list ends at the cutoff"
            )
        if self.prior.spacing * 4 >= (r_max or self.model.cutoff):
            raise ValueError(
                f"prior.spacing {self.prior.spacing} Å leaves fewer than 4 intervals "
                f"up to {r_max or self.model.cutoff} Å"
            )
        if self.prior.type != "spline" and (
            self.prior.virial is not None or self.prior.match_mean_virial
        ):
            raise ValueError(
                "prior.virial and prior.match_mean_virial need prior.type spline, "
                f"found {self.prior.type!r}"
            )
        density = self.prior.local_density
        if self.prior.type != "spline" and (density is not None or self.prior.match_slope):
            raise ValueError(
                "prior.local_density and prior.match_slope need prior.type spline, "
                f"found {self.prior.type!r}"
            )
        if density is not None and density.cutoff > self.model.cutoff:
            raise ValueError(
                f"prior.local_density.cutoff {density.cutoff} Å exceeds model.cutoff "
                f"{self.model.cutoff} Å; the neighbour list ends at the cutoff"
            )
        return self

    @property
    def prior_range(self) -> float:
        """Cutoff of the pair part, Å."""
        return self.prior.r_max if self.prior.r_max is not None else self.model.cutoff

    @property
    def temperature(self) -> float:
        """Temperature of the system, K.

        Raises:
            ConfigError: it is null, and not resolved (`cgpot.training.folder.states`).
        """
        if self.system.temperature is None:
            raise ConfigError("null; give it in K", key="system.temperature")
        return self.system.temperature

    @property
    def needs_energy(self) -> bool:
        """Whether the labels must hold an energy."""
        if isinstance(self.model, MSCGConfig):
            return False
        return self.loss.energy not in (None, 0)

    @property
    def needs_stress(self) -> bool:
        """Whether the labels must hold a stress."""
        if isinstance(self.model, MSCGConfig):
            return self.model.needs_virial
        prior = self.prior
        return self.loss.stress not in (None, 0) or prior.virial is not None or prior.match_slope


def load_config(path: str | Path, dataset: str | Path | None = None) -> TrainConfig:
    """Read the YAML file; paths become absolute.

    Args:
        path: the YAML file.
        dataset: folder from which the relative paths of the section ``data`` start, as that of
            `cgpot dataset` (its report.json is then taken too); the YAML file's own folder
            if None.

    Raises:
        ConfigError: unknown key, wrong type or value.
        InputError: a file is missing.
    """
    from cgpot.core.files import require_file

    config = load_yaml(path, TrainConfig)
    base = Path(path).resolve().parent if dataset is None else Path(dataset).resolve()
    if not base.is_dir():
        raise ConfigError("expected the folder that 'cgpot dataset' wrote", file=base)
    resolved = {name: (base / value).resolve() for name, value in config.data.files.items()}
    if dataset is not None and "report" not in resolved and (base / "report.json").is_file():
        resolved["report"] = base / "report.json"
    for name, value in resolved.items():
        if not value.exists():
            raise ConfigError(f"no such file: {value}", file=path, key=f"data.{name}")
        require_file(value, name)
    if resolved["train"] in (resolved["val"], resolved.get("test")):
        raise ConfigError(
            "the training frames cannot be the held-out frames too", file=path, key="data.train"
        )
    return config.model_copy(update={"data": config.data.model_copy(update=resolved)})
