# SPDX-License-Identifier: GPL-2.0-or-later
"""The YAML file of `cgpot study`.

Paths are relative to the folder of the YAML file.  ``train`` is the training that all points
share; ``points`` and ``grid`` change it.  A point may hold any section of train.yaml, and
besides ``md``, ``family``, ``distill`` and ``refine``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cgpot.core.config import StrictModel, load_yaml
from cgpot.core.files import require_file

Scalar = bool | int | float | str | None
ENSEMBLES = ("nvt", "npt", "nve")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"


class DatasetConfig(StrictModel):
    """The data set: a folder of `cgpot dataset`, or mapped files that are split first."""

    folder: Path | None = Field(default=None, description="folder that `cgpot dataset` wrote")
    mapped: list[Path] = Field(default_factory=list, description="files that `cgpot map` wrote")
    options: dict[str, float] = Field(
        default_factory=dict,
        description="of `cgpot dataset` for the mapped files: train, val, test, gap, begin, stride",
    )

    @field_validator("options")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        known = ("train", "val", "test", "gap", "begin", "stride")
        for key in value:
            if key not in known:
                raise ValueError(f"unknown option {key!r} (known: {', '.join(known)})")
        return value

    @model_validator(mode="after")
    def _one(self) -> DatasetConfig:
        if (self.folder is None) == (not self.mapped):
            raise ValueError("expected either 'folder' or 'mapped'")
        return self


class SearchSpace(StrictModel):
    """A range of numbers for one key."""

    low: float
    high: float
    log: bool = Field(default=False, description="uniform in the logarithm")
    step: float | None = Field(default=None, gt=0, description="grid of the values")
    integer: bool = Field(default=False, description="whole numbers")

    @model_validator(mode="after")
    def _order(self) -> SearchSpace:
        if not self.low < self.high:
            raise ValueError(f"expected low < high, found {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low > 0 and no step")
        return self


class SearchConfig(StrictModel):
    """A search with Optuna (Akiba et al., KDD 2019) instead of a list of points."""

    sampler: Literal["tpe", "random"] = "tpe"
    trials: int = Field(ge=1, description="number of points in all")
    objective: str | dict[str, float] = Field(
        description="column of the results to make small (its absolute value), or columns with "
        "weights"
    )
    space: dict[str, SearchSpace | list[Scalar]] = Field(
        min_length=1, description="dotted key -> range, or list of choices"
    )
    seed: int = Field(default=1, ge=0)

    @property
    def weights(self) -> dict[str, float]:
        """Column -> weight."""
        return {self.objective: 1.0} if isinstance(self.objective, str) else self.objective

    @field_validator("objective")
    @classmethod
    def _columns(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        from cgpot.study.columns import NUMBERS

        for name in [value] if isinstance(value, str) else value:
            if name not in NUMBERS:
                raise ValueError(
                    f"unknown objective {name!r}; expected one of {', '.join(NUMBERS)}"
                )
        return value


class SpeedConfig(StrictModel):
    """The timing of ``cgpot study --speed``."""

    steps: int = Field(default=500, ge=20, description="NVT steps of each model, at least")
    seconds: float = Field(
        default=10.0, ge=0, description="more steps where these take less time than this"
    )


class StudyConfig(StrictModel):
    """Everything that `cgpot study` needs."""

    title: str = Field(min_length=1)
    about: str = Field(default="", description="a paragraph for the page")
    dataset: DatasetConfig
    reference: list[Path] = Field(
        min_length=1, description="mapped atomistic data sets for g(r), pressure and density"
    )
    npt_reference: bool = Field(
        default=True, description="the reference is at constant pressure: it gives the density too"
    )
    train: Path | dict[str, Any] = Field(description="train.yaml, or its content")
    md: dict[Literal["nvt", "npt", "nve"], Path | dict[str, Any] | None] = Field(
        description="settings of `cgpot md` (file or content) by ensemble; null: not run"
    )
    points: list[dict[str, Any]] = Field(
        default_factory=list, description="named overrides of `train` (and md, distill, refine)"
    )
    grid: dict[str, list[Scalar] | dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="axes: a dotted key with its values, or any name with named overrides; every "
        "point is combined with every combination",
    )
    search: SearchConfig | None = None
    speed: SpeedConfig | None = Field(
        default=None, description="how --speed times the models; null: the defaults"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads of a stage")
    stage_minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="a stage that takes longer is stopped and counts as failed"
    )

    @field_validator("md")
    @classmethod
    def _nvt(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("nvt") is None:
            raise ValueError("expected settings for 'nvt': structure and pressure come from it")
        return value

    @field_validator("grid")
    @classmethod
    def _axes(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, axis in value.items():
            if not axis:
                raise ValueError(f"the axis {key!r} is empty")
        return value

    @model_validator(mode="after")
    def _something(self) -> StudyConfig:
        if self.search is not None and (self.points or self.grid):
            raise ValueError("'search' makes its own points; expected no 'points' and no 'grid'")
        return self


def load_study(path: str | Path) -> StudyConfig:
    """Read the YAML file; paths become absolute.

    Raises:
        ConfigError: unknown key, wrong type or value.
        InputError: a file is missing.
    """
    config = load_yaml(path, StudyConfig)
    base = Path(path).resolve().parent

    def resolve(value: Any) -> Any:
        return (base / value).resolve() if isinstance(value, Path) else value

    references = [require_file(resolve(p), "reference") for p in config.reference]
    mapped = [require_file(resolve(p), "mapped file") for p in config.dataset.mapped]
    folder = resolve(config.dataset.folder)
    if folder is not None:
        require_file(folder / "report.json", "report of 'cgpot dataset'")
    return config.model_copy(
        update={
            "reference": references,
            "dataset": config.dataset.model_copy(update={"folder": folder, "mapped": mapped}),
            "train": resolve(config.train),
            "md": {name: resolve(value) for name, value in config.md.items()},
        }
    )
