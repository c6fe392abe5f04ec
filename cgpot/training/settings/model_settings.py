# SPDX-License-Identifier: GPL-2.0-or-later
"""The section ``model`` of train.yaml: one class for each ``type``.

Changing the line ``type: ...`` changes the model; options that the new type lacks are refused
by name.  ``preset: NAME`` stands for the keys of `cgpot.training.settings.presets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from cgpot.core.config import StrictModel
from cgpot.training.settings.bonded_settings import (
    SECTION_OF_SPAN,
    AngleSection,
    BondSection,
    DihedralSection,
    Section,
    check_bonded,
)
from cgpot.training.settings.density_settings import LocalDensitySection

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
    """What every network has.

    `ARGUMENTS` maps the arguments of the network's builder to the keys here that set them; any
    other argument of the builder is reached through ``options``.
    """

    NETWORK: ClassVar[str] = ""
    ARGUMENTS: ClassVar[Mapping[str, str]] = {}

    energy_scale: Annotated[float, Field(gt=0)] | Auto = Field(
        default="auto",
        description="eV; scale of the network's energy per bead. auto: the rms force component "
        "times 1 Å, 0.3 of it above a pair spline",
    )
    readout_start: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="factor on the initial weights of the readout's last layer; small, so that "
        "training starts at the prior",
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32", description="precision of the model"
    )
    pairs: Literal["auto", "all", "intermolecular", "not-1-2", "not-1-3", "not-1-4"] = Field(
        default="auto",
        description="which pairs of sites the network sees, for molecules of several sites: "
        "not-1-3 leaves out sites joined by one or two bonds; auto: not-1-4 (bonded terms act "
        "there)",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="further arguments of the model's builder, by its own names; see the "
        "documentation of NequIPGNNModel, AllegroModel or SchNetModel (`builders`)",
    )

    @property
    def is_network(self) -> bool:
        """Whether the model is trained by nequip-train; otherwise by linear least squares."""
        return True

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Refuse what the builder does not take (which only the installed packages know)."""
        if options:
            from cgpot.training.settings.builder_options import check_options

            check_options(cls.NETWORK, options, cls.ARGUMENTS)
        return options

    def arguments(self) -> dict[str, Any]:
        """Arguments of the builder that the keys set."""
        return {name: getattr(self, key) for name, key in self.ARGUMENTS.items()}


class EquivariantConfig(NetworkConfig):
    """What the networks with equivariant features have."""

    ARGUMENTS: ClassVar[Mapping[str, str]] = {
        "num_layers": "layers",
        "l_max": "l_max",
        "parity": "parity",
    }

    l_max: int = Field(
        default=1, ge=0, le=11, description="highest rotation order of the features or tensors"
    )
    parity: bool = Field(default=False, description="also features or tensors of odd mirror parity")
    bessels: int = Field(default=8, ge=1, description="radial basis functions")
    polynomial_cutoff: int = Field(default=6, ge=2, description="exponent of the cutoff polynomial")


class NequIPConfig(EquivariantConfig):
    """NequIP: Batzner et al., Nat. Commun. 13, 2453 (2022)."""

    NETWORK: ClassVar[str] = "nequip"
    ARGUMENTS: ClassVar[Mapping[str, str]] = {
        **EquivariantConfig.ARGUMENTS,
        "num_features": "features",
        "num_bessels": "bessels",
        "polynomial_cutoff_p": "polynomial_cutoff",
        "radial_mlp_depth": "radial_depth",
        "radial_mlp_width": "radial_width",
        "readout_mlp_hidden_layers_depth": "readout_depth",
    }

    type: Literal["nequip"] = Field(default="nequip", description="architecture")
    layers: int = Field(default=2, description="interaction blocks, at least 1")
    features: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] = Field(
        default=16, description="multiplicity of each rotation order, or one for all"
    )
    radial_depth: int = Field(default=1, ge=0, description="hidden layers of the radial MLP")
    radial_width: int = Field(default=32, ge=1, description="width of the radial MLP")
    readout_depth: int = Field(default=0, ge=0, description="hidden layers of the readout")

    @field_validator("layers")
    @classmethod
    def _at_least_one(cls, layers: int) -> int:
        if layers < 1:
            raise ValueError(
                "without an interaction block no bead knows of its neighbours: the network is a "
                "constant for each bead type, and forces of zero leave nothing to train; expected "
                "at least 1 (the prior alone, a pair potential, is the model type mscg)"
            )
        return layers

    @model_validator(mode="after")
    def _one_multiplicity_an_order(self) -> NequIPConfig:
        if isinstance(self.features, list) and len(self.features) != self.l_max + 1:
            raise ValueError(
                f"features {self.features} must hold one number for each rotation order from 0 "
                f"to l_max {self.l_max}"
            )
        return self


class AllegroConfig(EquivariantConfig):
    """Allegro, strictly local: Musaelian et al., Nat. Commun. 14, 579 (2023)."""

    NETWORK: ClassVar[str] = "allegro"
    ARGUMENTS: ClassVar[Mapping[str, str]] = {
        **EquivariantConfig.ARGUMENTS,
        "num_scalar_features": "features",
        "num_tensor_features": "tensors",
    }

    type: Literal["allegro"] = Field(default="allegro", description="architecture")
    layers: int = Field(default=1, ge=1, description="Allegro layers")
    features: int = Field(default=32, ge=1, description="scalar features of an edge")
    tensors: int = Field(default=8, ge=1, description="multiplicity of the tensor features")
    width: int = Field(default=32, ge=1, description="width of all hidden layers")


class SchNetConfig(NetworkConfig):
    """SchNet: Schuett et al., J. Chem. Phys. 148, 241722 (2018)."""

    NETWORK: ClassVar[str] = "schnet"
    ARGUMENTS: ClassVar[Mapping[str, str]] = {
        "num_interactions": "interactions",
        "num_features": "features",
        "num_filters": "filters",
        "num_gaussians": "gaussians",
        "cutoff_function": "cutoff_function",
    }

    type: Literal["schnet"] = Field(default="schnet", description="architecture")
    interactions: int = Field(default=2, ge=1, description="interaction blocks")
    features: int = Field(default=64, ge=1, description="features of a bead")
    filters: int = Field(default=64, ge=1, description="width of the continuous filters")
    gaussians: int = Field(default=50, ge=2, description="Gaussians that expand a distance")
    cutoff_function: Literal["cosine", "polynomial"] = Field(
        default="cosine",
        description="cosine, as published, has a jump in its second derivative at the cutoff; "
        "polynomial has none",
    )


PairSpacing = Annotated[float, Field(gt=0, description="Å between the knots of the pair part")]
VirialWeight = Annotated[
    Weight | Auto | None,
    Field(
        description="weight of the virial rows (squared error of W/V, eV^2/Å^6, against that of "
        "a force component); auto: inverse label variances; null: forces alone"
    ),
]
MeanVirial = Annotated[
    bool, Field(description="impose the mean virial of the training frames exactly")
]
Ridge = Annotated[float, Field(ge=0, description="penalty on coefficients, relative")]


class LinearConfig(BaseModelConfig):
    """What the models have that are fitted by linear least squares."""

    spacing: PairSpacing
    energy: Weight | Auto = Field(
        default="auto",
        description="weight of the energy rows (per bead; used where every frame has an energy, "
        "a constant per bead is free); auto: inverse label variances; 0: no energy rows",
    )

    @model_validator(mode="after")
    def _enough_intervals(self) -> Self:
        if self.spacing * 4 >= self.cutoff:
            raise ValueError(
                f"spacing {self.spacing} Å leaves fewer than 4 intervals up to {self.cutoff} Å"
            )
        return self


class UF3Config(LinearConfig):
    """UF3, run by LAMMPS itself: Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023)."""

    type: Literal["uf3"] = Field(default="uf3", description="architecture")
    spacing: PairSpacing = 0.25
    three_body_cutoff: float | None = Field(
        default=6.0,
        gt=0,
        description="Å; range of the three-body part, which takes most of the time: its cost "
        "grows with the sixth power. null: pairs alone",
    )
    three_body_inner: float = Field(
        default=3.0,
        ge=0,
        description="Å; the three-body part is zero where a distance is shorter; just inside "
        "the closest pairs of the data",
    )
    three_body_intervals: int = Field(
        default=6, ge=4, description="intervals of the three-body knots from inner to cutoff"
    )
    virial: VirialWeight = "auto"
    match_mean_virial: MeanVirial = True
    smooth: float = Field(default=1e-7, ge=0, description="penalty on second differences, relative")
    ridge: Ridge = 1e-9
    overlay: bool = Field(
        default=True,
        description="deploy the pair part as pair_style table beside the three-body part "
        "(faster); false: all in one uf3 file",
    )

    @model_validator(mode="after")
    def _ranges(self) -> UF3Config:
        if self.three_body_cutoff is not None:
            if self.three_body_cutoff > self.cutoff:
                raise ValueError(
                    f"three_body_cutoff {self.three_body_cutoff} Å exceeds cutoff {self.cutoff} Å"
                )
            if self.three_body_inner >= self.three_body_cutoff:
                raise ValueError(
                    f"three_body_inner {self.three_body_inner} Å is not below "
                    f"three_body_cutoff {self.three_body_cutoff} Å"
                )
        return self


class ThreeBodySection(StrictModel):
    """Three-body terms of Stillinger-Weber form, f(theta) h(r_ij) h(r_ik)."""

    cutoff: float = Field(default=8.0, gt=0, description="Å; h(r) = exp(gamma / (r - cutoff))")
    gamma: float = Field(default=1.5, gt=0, description="Å; how slowly h rises inside the cutoff")
    intervals: int = Field(default=12, ge=2, description="of the spline f(theta) from 0 to 180°")


class MSCGConfig(LinearConfig):
    """MS-CG, linear force matching: Noid et al., J. Chem. Phys. 128, 244115 (2008)."""

    type: Literal["mscg"] = Field(default="mscg", description="architecture")
    spacing: PairSpacing = 0.2
    three_body: ThreeBodySection | None = Field(default=None, description="null: none")
    bonds: BondSection | None = Field(default=None, description="null: none")
    angles: AngleSection | None = Field(default=None, description="null: none")
    dihedrals: DihedralSection | None = Field(default=None, description="null: none")
    bonded: Literal["inversion", "forces"] = Field(
        default="forces",
        description="bonds, angles and dihedrals: forces: as the fit with the others gives them; "
        "inversion: by Boltzmann inversion of their distributions, less the pull of the others",
    )
    local_density: LocalDensitySection | None = Field(
        default=None,
        description="a term of the local density, which can carry mean and slope of the pressure; "
        "null: none",
    )
    virial: VirialWeight = None
    match_mean_virial: MeanVirial = False
    match_slope: bool = Field(
        default=False,
        description="impose the slope of the pressure with density over the training frames, "
        "which must hold several densities (an NPT run does)",
    )
    smooth: Weight | Auto = Field(
        default=1e-6,
        description="penalty on second differences, relative; auto: the strength that predicts "
        "left-out blocks of frames best",
    )
    ridge: Ridge = 0.0

    @property
    def sections(self) -> dict[int, Section]:
        """Sections of the bonded terms that are asked for, by number of bonds they span."""
        sections = {1: self.bonds, 2: self.angles, 3: self.dihedrals}
        return {k: section for k, section in sections.items() if section is not None}

    @property
    def excluded(self) -> tuple[int, ...]:
        """Distances along bonds (1 to 3) at which sites do not interact through the pair part."""
        return tuple(k for k, section in self.sections.items() if section.exclude)

    @property
    def needs_virial(self) -> bool:
        """Whether the labels must hold a virial."""
        return self.virial is not None or self.match_mean_virial or self.match_slope

    @model_validator(mode="after")
    def _ranges(self) -> MSCGConfig:
        if self.three_body is not None and self.three_body.cutoff > self.cutoff:
            raise ValueError(
                f"three_body.cutoff {self.three_body.cutoff} Å exceeds cutoff {self.cutoff} Å"
            )
        if self.local_density is not None and self.local_density.cutoff > self.cutoff:
            raise ValueError(
                f"local_density.cutoff {self.local_density.cutoff} Å exceeds cutoff {self.cutoff} Å"
            )
        check_bonded(self.sections)
        if self.bonded == "inversion" and not self.sections:
            raise ValueError("bonded is 'inversion', but bonds is null; expected bonds to invert")
        if self.three_body is not None and self.excluded:
            word = SECTION_OF_SPAN[self.excluded[0]]
            raise ValueError(
                f"three_body and {word} with exclude cannot be deployed together: LAMMPS leaves "
                f"excluded neighbours out of the three-body sum too; set {word}.exclude to false"
            )
        return self


ModelConfig = Annotated[
    NequIPConfig | AllegroConfig | SchNetConfig | UF3Config | MSCGConfig,
    Field(discriminator="type"),
]
"""Any of the models, told apart by ``type``."""
