# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections ``bonds``, ``angles`` and ``dihedrals`` of a model of type mscg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from cgpot.core.config import StrictModel

Place = Annotated[int, Field(ge=0)]
Pair = tuple[Place, Place]
Triple = tuple[Place, Place, Place]
Quadruple = tuple[Place, Place, Place, Place]

SECTION_OF_SPAN = {1: "bonds", 2: "angles", 3: "dihedrals"}
"""Sections by the number of bonds that their terms span."""


class BondSection(StrictModel):
    """Bond splines between sites of one molecule."""

    types: list[tuple[str, str]] | None = Field(
        default=None,
        description="pairs of bead types that are bonded within a molecule; null: all its sites",
    )
    between: Literal["chain"] | list[Pair] | dict[str, list[Pair]] | None = Field(
        default=None,
        description="which sites: chain: those that follow each other; or places in the molecule "
        "(from 0), as [[0, 1], [1, 2]], by species (or beads) where molecules differ: "
        "{HEX: [[0, 1]]}; null: every pair of a molecule's sites",
    )
    spacing: float = Field(default=0.05, gt=0, description="Å between the knots")
    exclude: bool = Field(
        default=True, description="bonded sites do not interact through the pair part"
    )


class AngleSection(StrictModel):
    """Angle splines between sites i-j-k of one molecule."""

    types: list[tuple[str, str, str]] | None = Field(
        default=None, description="bead types of the angles, from either end; null: all"
    )
    between: list[Triple] | dict[str, list[Triple]] | None = Field(
        default=None, description="places, as in `bonds`; null: all i-j-k along the bonds"
    )
    spacing: float = Field(default=5.0, gt=0, le=45, description="degrees between the knots")
    exclude: bool = Field(
        default=True,
        description="sites two bonds apart (1-3) do not interact through the pair part",
    )


class DihedralSection(StrictModel):
    """Dihedral splines between sites i-j-k-l of one molecule."""

    types: list[tuple[str, str, str, str]] | None = Field(
        default=None, description="bead types of the dihedrals, from either end; null: all"
    )
    between: list[Quadruple] | dict[str, list[Quadruple]] | None = Field(
        default=None, description="places, as in `bonds`; null: all i-j-k-l along the bonds"
    )
    spacing: float = Field(default=10.0, gt=0, le=90, description="degrees between the knots")
    exclude: bool = Field(
        default=True,
        description="sites three bonds apart (1-4) do not interact through the pair part",
    )


Section = BondSection | AngleSection | DihedralSection


def check_bonded(sections: Mapping[int, Section]) -> None:
    """Refuse angles and dihedrals without bonds to follow.

    Args:
        sections: by the number of bonds that their terms span (`SECTION_OF_SPAN`).

    Raises:
        ValueError: no bonds, or bonds of all sites with all others.
    """
    bonds = sections.get(1)
    every = bonds is not None and bonds.between is None and bonds.types is None
    for distance, section in sections.items():
        word = SECTION_OF_SPAN[distance]
        if distance == 1:
            continue
        if section.between is None and bonds is None:
            raise ValueError(
                f"{word} follow the bonds, but bonds is null; give bonds, or the places of the "
                f"sites in {word}.between"
            )
        if section.between is None and every:
            raise ValueError(
                f"{word} follow the bonds, but bonds join every pair of a molecule's sites; say "
                "in bonds.between (chain, or places) or bonds.types which are bonded"
            )
        if section.exclude and bonds is None:
            raise ValueError(
                f"{word}.exclude counts along bonds, as LAMMPS does, but bonds is null; set "
                f"{word}.exclude to false"
            )
