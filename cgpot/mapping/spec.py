# SPDX-License-Identifier: GPL-2.0-or-later
"""The mapping file: which atoms make which site, with which weights.

The keys are those of OpenMSCG's mapping files (``site-types`` with ``index``, ``x-weight``,
``f-weight``; ``system`` with ``anchor``, ``repeat``, ``offset``, ``sites`` and ``groups``), so
that such a file is read as it is.  Additions: ``selection`` (MDAnalysis language) instead of
``index``, ``group``, ``mass``, ``charge``, ``repeat: all``, ``species``, ``bonds``,
``temperature``, ``constraints`` and ``unmapped``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from cgpot.core.config import StrictModel, load_yaml

Index = Annotated[int, Field(ge=0)]


class SiteType(StrictModel):
    """One bead type.

    Attributes:
        index: atoms of a site, zero-based, relative to the site's first atom.
        selection: instead of ``index``: an MDAnalysis selection; the selected atoms of each
            molecule make one site.
        group: with ``selection``: ``residues`` makes one site of each residue's selected atoms,
            so that a molecule has several sites of a type; default: ``molecules``.
        x_weight: position weights, one per atom, normalised to 1 (default: the masses of the
            topology).
        f_weight: force weights b, one per atom (default: 1, the sum of the atomic forces).
        mass: mass of the bead, amu (default: the sum of its atoms' masses); needed where sites
            share atoms.
        charge: charge of the bead, e, or ``sum`` of its atoms' charges (default: none).
    """

    model_config = ConfigDict(populate_by_name=True)

    index: tuple[Index, ...] | None = None
    selection: str | None = None
    group: Literal["molecules", "residues"] | None = None
    x_weight: tuple[float, ...] | None = Field(default=None, alias="x-weight")
    f_weight: tuple[float, ...] | None = Field(default=None, alias="f-weight")
    mass: float | None = None
    charge: Annotated[float, Field(allow_inf_nan=False)] | Literal["sum"] | None = None

    @model_validator(mode="after")
    def _check(self) -> SiteType:
        if (self.index is None) == (self.selection is None):
            raise ValueError("expected exactly one of 'index' and 'selection'")
        if self.index is not None:
            if not self.index:
                raise ValueError("'index' is empty; expected at least one atom")
            if len(set(self.index)) != len(self.index):
                raise ValueError(f"'index' names an atom twice: {list(self.index)}")
            for name, weights in (("x-weight", self.x_weight), ("f-weight", self.f_weight)):
                if weights is not None and len(weights) != len(self.index):
                    raise ValueError(
                        f"'{name}' has {len(weights)} values, 'index' has {len(self.index)}"
                    )
            if self.group is not None:
                raise ValueError("'group' goes with 'selection'; an 'index' is one site")
        if self.selection is not None and not self.selection.strip():
            raise ValueError("'selection' is empty")
        if self.x_weight is not None and not sum(self.x_weight) > 0.0:
            raise ValueError(f"'x-weight' sums to {sum(self.x_weight)}; expected more than 0")
        if self.mass is not None and not self.mass > 0.0:
            raise ValueError(f"'mass' is {self.mass}; expected more than 0")
        return self


Place = tuple[str, int]
"""A site type and the offset of the site's first atom in the molecule."""

SiteOrPattern = Annotated[
    Annotated[tuple[str, Index], Tag("site")] | Annotated["SitePattern", Tag("pattern")],
    Discriminator(lambda item: "pattern" if isinstance(item, dict | StrictModel) else "site"),
]


class SitePattern(StrictModel):
    """Sites that repeat within a molecule, as OpenMSCG's ``groups``.

    Attributes:
        anchor: first atom, counted from that of the group around it (in each of its repeats).
        repeat: number of repeats.
        offset: atoms from one repeat to the next.
        sites: pairs of site type and offset of the site's first atom in a repeat, or further
            patterns.
        groups: further patterns; they come before the sites.
    """

    anchor: Index = 0
    repeat: Annotated[int, Field(ge=1)] = 1
    offset: Annotated[int, Field(ge=1)]
    sites: tuple[SiteOrPattern, ...] | None = None
    groups: tuple[SitePattern, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> SitePattern:
        _require_sites(self.sites, self.groups)
        return self

    def places(self) -> list[Place]:
        """Sites of all repeats, offsets counted from the group around the pattern."""
        own = _places(self.sites, self.groups)
        return [
            (name, self.anchor + k * self.offset + place)
            for k in range(self.repeat)
            for name, place in own
        ]


class MoleculeBlock(StrictModel):
    """A run of equal molecules in the atom list.

    Attributes:
        anchor: index of the block's first atom, zero-based.
        repeat: number of molecules, or ``all``: as many as follow to the end.
        offset: atoms per molecule.
        sites: pairs of site type and offset of the site's first atom in the molecule, or
            patterns of them.
        groups: patterns of sites within the molecule, which come before ``sites``.
        species: name of the molecules (default: that of the topology's molecule type, else
            their beads).
        bonds: pairs of sites (from 0, in the order above) that are bonded, where the topology
            holds no bonds; elsewhere they must be those between the atoms.
    """

    anchor: Index = 0
    repeat: Annotated[int, Field(ge=1)] | Literal["all"]
    offset: Annotated[int, Field(ge=1)]
    sites: tuple[SiteOrPattern, ...] | None = None
    groups: tuple[SitePattern, ...] | None = None
    species: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_-]+$")] | None = None
    bonds: tuple[tuple[Index, Index], ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> MoleculeBlock:
        _require_sites(self.sites, self.groups)
        return self

    def places(self) -> list[Place]:
        """The sites of one molecule."""
        return _places(self.sites, self.groups)


Nested = tuple[tuple[str, int] | SitePattern, ...] | None


def _require_sites(sites: Nested, groups: tuple[SitePattern, ...] | None) -> None:
    if not sites and not groups:
        raise ValueError("'sites' is empty; expected at least one site")


def _places(sites: Nested, groups: tuple[SitePattern, ...] | None) -> list[Place]:
    found: list[Place] = []
    for item in (*(groups or ()), *(sites or ())):
        found += item.places() if isinstance(item, SitePattern) else [item]
    return found


class MappingSpec(StrictModel):
    """A mapping file.

    Attributes:
        site_types: bead types by name (letters and digits); their order numbers the types.
        system: blocks of molecules; left out where all site types are selections.
        temperature: temperature of the run, K; enters the pressure of the labels and the
            virial of constrained runs.
        constraints: bond constraints of the run: ``auto`` (read from the .tpr), ``none``, or
            their number in the whole system.
        unmapped: whole molecules without sites (solvent, counter-ions): ``allow``, or the names
            of their types in the topology; left out: every atom must be in a site.  The
            engine's virial holds them, so that there are no virial labels then.
    """

    model_config = ConfigDict(populate_by_name=True)

    site_types: dict[str, SiteType] = Field(alias="site-types")
    system: tuple[MoleculeBlock, ...] | None = None
    temperature: Annotated[float, Field(gt=0.0)] | None = None
    constraints: Annotated[int, Field(ge=0)] | Literal["auto", "none"] = "auto"
    unmapped: Literal["allow"] | Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> MappingSpec:
        if not self.site_types:
            raise ValueError("'site-types' is empty; expected at least one bead type")
        for name in self.site_types:
            if not (name.isalnum() and name.isascii()):
                raise ValueError(f"site type {name!r}: expected letters and digits only")
        by_index = [n for n, t in self.site_types.items() if t.index is not None]
        if by_index and len(by_index) != len(self.site_types):
            raise ValueError("some site types use 'index' and some 'selection'; use one of them")
        if by_index and not self.system:
            raise ValueError("'system' is missing; site types with 'index' need it")
        if not by_index and self.system:
            raise ValueError("'system' goes with 'index'; selections find the molecules themselves")
        used = set()
        for block in self.system or ():
            for name, _ in block.places():
                if name not in self.site_types:
                    raise ValueError(
                        f"site type {name!r} of 'system' is not among {list(self.site_types)}"
                    )
                used.add(name)
        if self.system and used != set(self.site_types):
            raise ValueError(f"site types never used: {sorted(set(self.site_types) - used)}")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain data under the file's own key names."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def load_mapping(path: str | Path) -> MappingSpec:
    """Read a mapping file.

    Raises:
        ConfigError: unknown key, wrong value; names the file and the key.
        InputError: missing or empty file.
    """
    return load_yaml(path, MappingSpec)
