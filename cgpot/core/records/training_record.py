# SPDX-License-Identifier: GPL-2.0-or-later
"""result.json of a training or a refinement: what deployment and evaluation need of it."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from cgpot.core.records.record import Names, Positive, Record


class LammpsFiles(BaseModel):
    """LAMMPS files of a linear model, or of the bonded part below a network.

    Attributes:
        files: names in the folder.
        commands: lines of LAMMPS that use them.
        bonded: which sites bonds, angles and dihedrals join, by molecule; None without them.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    files: tuple[str, ...]
    commands: tuple[str, ...]
    bonded: dict[str, Any] | None = None


class TemperatureInput(BaseModel):
    """Range of a network that takes the temperature: reference ± scale, K."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: float
    scale: float

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest temperature of the training, K."""
        return self.reference - self.scale, self.reference + self.scale


class TrainingRecord(Record):
    """result.json.

    Attributes:
        kind: ``network``, ``mscg``, ``uf3`` or ``pair``.
        bead_names: bead types.
        masses: of each bead type, amu.
        cutoff: Å.
        temperature: K.
        density_kg_m3: mean of the training frames.
        dtype: of the weights.
        pairs: which pairs of sites the model sees (`cgpot.molecules.exclusions`).
        n_train: training frames.
        n_test: held-out frames.
        n_parameters: fitted numbers.
        force_rmse: on held-out frames, eV/Å; with `force_rmse_pair_fit` of the pair fit.
        pressure_residual_bar: mean and error on held-out frames.
        temperature_input: of a network whose energy depends on the temperature.
        lammps: files of a linear model, or of the bonded part of a network; None without.
        refined: where a refined model comes from.
    """

    FORMAT: ClassVar[str] = "cgpot-training-1"
    OTHER_FORMAT: ClassVar[str] = (
        ": a folder of another cgpot; use that version, or train again with `cgpot train --restart`"
    )

    kind: str = "network"
    bead_names: Names
    masses: tuple[Positive, ...]
    cutoff: Positive
    temperature: Positive
    density_kg_m3: Positive | None = None
    dtype: str | None = None
    pairs: str = "all"
    n_train: int | None = None
    n_test: int | None = None
    n_parameters: int | None = None
    force_rmse: float | None = None
    force_rmse_pair_fit: float | None = None
    pressure_residual_bar: dict[str, Any] | float | None = None
    temperature_input: TemperatureInput | None = None
    lammps: LammpsFiles | None = None
    refined: Any = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.masses) != len(self.bead_names):
            raise ValueError(f"{len(self.masses)} masses for {len(self.bead_names)} bead types")
        return self

    def quality(self) -> dict[str, Any]:
        """Key ``data`` of the sidecars: how well the model does on held-out frames."""
        names = ("n_train", "force_rmse", "force_rmse_pair_fit", "pressure_residual_bar")
        return {name: getattr(self, name) for name in names}
