# SPDX-License-Identifier: GPL-2.0-or-later
"""The section ``model`` of train.yaml: one class for each ``type``.

Changing the line ``type: ...`` changes the model; options that the new type lacks are refused
by name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cgpot.core.config import StrictModel

Auto = Literal["auto"]
Weight = Annotated[float, Field(ge=0)]


class BaseModelConfig(StrictModel):
    """What every model has."""

    cutoff: float = Field(default=10.0, gt=0, description="Å; also the range of the pair base")

    @property
    def is_network(self) -> bool:
        """Whether the model is trained by nequip-train; otherwise by linear least squares."""
        return False


class NetworkConfig(BaseModelConfig):
    """What every network has."""

    energy_scale: Annotated[float, Field(gt=0)] | Auto = Field(
        default="auto",
        description="eV; scale of the network's energy per bead. auto: the rms force component "
        "times 1 Å, 0.3 of it above a pair spline",
    )
    readout_start: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="factor on the initial readout weights; small, so that training starts at "
        "the prior",
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32", description="precision of the model"
    )

    @property
    def is_network(self) -> bool:
        """Whether the model is trained by nequip-train; otherwise by linear least squares."""
        return True


class NequIPConfig(NetworkConfig):
    """NequIP: Batzner et al., Nat. Commun. 13, 2453 (2022)."""

    type: Literal["nequip"] = Field(default="nequip", description="architecture")
    layers: int = Field(default=2, ge=1, le=8, description="interaction blocks")
    l_max: int = Field(default=1, ge=0, le=4, description="highest rotation order of the features")
    features: int = Field(default=16, ge=1, description="multiplicity of each rotation order")
    parity: bool = Field(default=False, description="also features of odd mirror parity")
    bessels: int = Field(default=8, ge=1, description="radial basis functions")
    polynomial_cutoff: int = Field(default=6, ge=2, description="exponent of the cutoff polynomial")
    radial_depth: int = Field(default=1, ge=0, description="hidden layers of the radial MLP")
    radial_width: int = Field(default=32, ge=1, description="width of the radial MLP")
    readout_depth: int = Field(default=0, ge=0, description="hidden layers of the readout")


class SchNetConfig(NetworkConfig):
    """SchNet: Schuett et al., J. Chem. Phys. 148, 241722 (2018)."""

    type: Literal["schnet"] = Field(default="schnet", description="architecture")
    interactions: int = Field(default=2, ge=1, le=8, description="interaction blocks")
    features: int = Field(default=64, ge=1, description="features of a bead")
    filters: int = Field(default=64, ge=1, description="width of the continuous filters")
    gaussians: int = Field(default=50, ge=2, description="Gaussians that expand a distance")


ModelConfig = Annotated[NequIPConfig | SchNetConfig, Field(discriminator="type")]
"""Any of the models, told apart by ``type``."""
