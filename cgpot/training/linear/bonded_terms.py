# SPDX-License-Identifier: GPL-2.0-or-later
"""The bonded terms of a molecule together: bonds, angles, dihedrals, and what they exclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.extxyz.species_key import parse_species, species_text
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.pair_counts import pairs_within
from cgpot.potential.angles import AngleBasis
from cgpot.potential.bonds import BondBasis, bond_vectors
from cgpot.potential.connectivity import (
    TERM_SECTIONS,
    Exclusions,
    bond_sites,
    by_species,
    separated,
    species_record,
    term_sites,
)
from cgpot.potential.dihedrals import DihedralBasis
from cgpot.potential.species_terms import SpeciesTerms
from cgpot.potential.term_basis import TermBasis
from cgpot.training.settings.model_settings import MSCGConfig

BOND_SPACING, ANGLE_SPACING, DIHEDRAL_SPACING = 0.05, 5.0, 10.0
"""Å, degrees and degrees between the knots of `terms_along_bonds`."""
BOND_MARGIN = 0.3
"""Å of bond length beyond the sampled ones that the bond splines cover."""


@dataclass(frozen=True)
class BondedTerms:
    """Splines along the bonds; None where there are none.

    Attributes:
        bonds, angles, dihedrals: the bases.
        excluded: distances along bonds (1 to 3) at which sites do not interact through the pair
            part: LAMMPS's ``special_bonds`` of 1-2, 1-3 and 1-4.
    """

    bonds: BondBasis | None = None
    angles: AngleBasis | None = None
    dihedrals: DihedralBasis | None = None
    excluded: tuple[int, ...] = ()

    @property
    def parts(self) -> dict[str, TermBasis]:
        """Those that there are: bond, angle, dihedral."""
        every: dict[str, TermBasis | None] = {
            "bond": self.bonds,
            "angle": self.angles,
            "dihedral": self.dihedrals,
        }
        return {name: part for name, part in every.items() if part is not None}

    def exclusions(self) -> Exclusions | None:
        """The excluded pairs; None where there are none."""
        if self.bonds is None or not self.excluded:
            return None
        pairs = separated(self.bonds.sites, self.excluded)
        return Exclusions(self.bonds.topology, pairs)

    def special(self) -> str:
        """LAMMPS's weights of 1-2, 1-3 and 1-4 pairs."""
        return " ".join("0.0" if k in self.excluded else "1.0" for k in (1, 2, 3))

    def deployed(self) -> dict[str, Any] | None:
        """What a data file must hold: types in their order, species, and the terms of each.

        A term is its type (from 1) and the places of its sites in the molecule (from 0); None
        without bonded terms.
        """
        parts = self.parts
        if not parts:
            return None
        topology = next(iter(parts.values())).topology
        words = {name: TERM_SECTIONS[part.sites.shape[1]] for name, part in parts.items()}
        return {
            "types": {
                words[name]: [part.kind_name(k) for k in range(part.n_kinds)]
                for name, part in parts.items()
            },
            "special_bonds": [0.0 if k in self.excluded else 1.0 for k in (1, 2, 3)],
            "species": species_record(topology),
            "molecules": by_species(
                topology, {words[name]: (part.sites, part.kind) for name, part in parts.items()}
            ),
        }

    def check_system(self, topology: Topology, file: str | Path) -> None:
        """Refuse a system of other molecules.

        Args:
            topology: the sites.
            file: that they come from, for messages.

        Raises:
            InputError: a molecule that the terms do not know, or kinds of terms that it does not
                have.
        """
        for part in self.parts.values():
            try:
                _, found = part.terms_of(topology)
            except DataError as err:
                raise InputError(err.message, file=file) from err
            kinds, present = (
                [part.kind_name(int(k)) for k in every]
                for every in (range(part.n_kinds), np.unique(found))
            )
            if kinds != present:
                raise InputError(
                    f"the potential has the {TERM_SECTIONS[part.sites.shape[1]]} "
                    f"{', '.join(kinds)}, the system {', '.join(present) or 'none'}; expected the "
                    "same",
                    file=file,
                )

    def acts_within(self, topology: Topology) -> bool:
        """Whether the pair part acts on some pairs of one molecule of a system of these terms."""
        own = int(pairs_within(topology).sum())
        if self.bonds is None or not self.excluded:
            return own > 0
        left_out = separated(self.bonds.sites, self.excluded)
        return own > len(SpeciesTerms(self.bonds.topology, left_out).on(topology)[0])

    def record(self) -> dict[str, Any]:
        """Plain data for `read`, by part."""
        bonds, angles, dihedrals = self.bonds, self.angles, self.dihedrals
        return {
            "sites": None
            if not self.parts
            else {
                "types": next(iter(self.parts.values())).topology.types.tolist(),
                "molecules": next(iter(self.parts.values())).topology.molecules.tolist(),
                "species": species_text(next(iter(self.parts.values())).topology),
            },
            "excluded": list(self.excluded),
            "bonds": None
            if bonds is None
            else {
                "terms": bonds.sites.tolist(),
                "span_A": [bonds.low, bonds.high],
                "intervals": bonds.intervals,
                "springs": [list(bonds.spring(k)) for k in range(bonds.n_kinds)],
                "kT_eV": bonds.kt,
            },
            "angles": None
            if angles is None
            else {
                "terms": angles.sites.tolist(),
                "intervals": angles.intervals,
                "wells": [list(angles.well(k)) for k in range(angles.n_kinds)],
                "kT_eV": angles.kt,
            },
            "dihedrals": None
            if dihedrals is None
            else {
                "terms": dihedrals.sites.tolist(),
                "intervals": dihedrals.intervals,
                "kT_eV": dihedrals.kt,
            },
        }

    @classmethod
    def read(
        cls, record: Mapping[str, Any], names: tuple[str, ...], masses: tuple[float, ...]
    ) -> tuple[Topology, BondedTerms]:
        """What `record` gave, and the sites; also from files written before there were angles.

        Raises:
            KeyError: a missing key.
        """
        bonded = record["bonds"]
        sites = record.get("sites")
        if sites is None and bonded is not None:
            sites = {"types": bonded["site_types"], "molecules": bonded["site_molecules"]}
        types, molecules = (
            np.asarray([] if sites is None else sites[key], dtype=np.int64)
            for key in ("types", "molecules")
        )
        stated: Any = (
            ()
            if sites is None or "species" not in sites
            else ((), *parse_species(sites["species"]))
        )
        topology = Topology(names, masses, types, molecules, *stated)
        bonds = angles = dihedrals = None
        excluded: tuple[int, ...] = tuple(record.get("excluded", ()))
        if bonded is not None:
            span = (float(bonded["span_A"][0]), float(bonded["span_A"][1]))
            spacing = (span[1] - span[0]) / bonded["intervals"]
            if "terms" in bonded:
                terms = np.asarray(bonded["terms"], dtype=np.int64)
            else:
                terms = bond_sites(topology, bonded["types"])
                excluded = (1,) if bonded["exclude"] else ()
            bonds = BondBasis(topology, None, span, spacing, bonded["kT_eV"], bonds=terms)
            bonds.springs = [(float(k), float(r)) for k, r in bonded["springs"]]
        if (found := record.get("angles")) is not None:
            terms = np.asarray(found["terms"], dtype=np.int64)
            angles = AngleBasis(topology, terms, 180.0 / found["intervals"], found["kT_eV"])
            angles.wells = [(float(k), float(c)) for k, c in found["wells"]]
        if (found := record.get("dihedrals")) is not None:
            terms = np.asarray(found["terms"], dtype=np.int64)
            dihedrals = DihedralBasis(topology, terms, 360.0 / found["intervals"], found["kT_eV"])
        return topology, cls(bonds, angles, dihedrals, excluded)


def bonded_terms(model: MSCGConfig, frames: Sequence[CGFrame], kt: float) -> BondedTerms:
    """The bonded terms that a model asks for.

    Args:
        model: section ``model`` of train.yaml.
        frames: of the fit, for the span of the bonds.
        kt: k_B T, eV.

    Raises:
        ConfigError: terms that the molecules do not have.
    """
    topology = catalogue(topologies_of(frames))
    bonds = angles = dihedrals = None
    if model.bonds is not None:
        sites = bond_sites(topology, model.bonds.types, model.bonds.between)
        span = _span(frames, topology, sites)
        bonds = BondBasis(topology, None, span, model.bonds.spacing, kt, bonds=sites)
    along = None if bonds is None else bonds.sites
    if (section := model.angles) is not None:
        sites = term_sites(topology, 3, along, section.types, section.between)
        angles = AngleBasis(topology, sites, section.spacing, kt)
    if (torsion := model.dihedrals) is not None:
        sites = term_sites(topology, 4, along, torsion.types, torsion.between)
        dihedrals = DihedralBasis(topology, sites, torsion.spacing, kt)
    return BondedTerms(bonds, angles, dihedrals, model.excluded)


def terms_along_bonds(
    frames: Sequence[CGFrame], kt: float, excluded: tuple[int, ...]
) -> BondedTerms:
    """Bonds, angles and dihedrals of the topology, all that its species have.

    Args:
        frames: of the fit, for the span of the bonds.
        kt: k_B T, eV.
        excluded: distances along bonds at which the pair part does not act.
    """
    topology = catalogue(topologies_of(frames))
    span = _span(frames, topology, topology.bonds)
    bonds = BondBasis(topology, None, span, BOND_SPACING, kt, bonds=topology.bonds)
    angles = dihedrals = None
    if len(topology.angles):
        angles = AngleBasis(topology, topology.angles, ANGLE_SPACING, kt)
    if len(topology.dihedrals):
        dihedrals = DihedralBasis(topology, topology.dihedrals, DIHEDRAL_SPACING, kt)
    return BondedTerms(bonds, angles, dihedrals, excluded)


def _span(frames: Sequence[CGFrame], topology: Topology, bonds: Any) -> tuple[float, float]:
    """Lengths that splines of bonds, given on a catalogue of the species, cover, Å."""
    terms = SpeciesTerms(topology, bonds)
    lengths = [bond_vectors(frame, terms.on(frame.topology)[0])[1] for frame in frames]
    lengths = [x for x in lengths if len(x)]
    low = min(float(x.min()) for x in lengths) - BOND_MARGIN
    high = max(float(x.max()) for x in lengths) + BOND_MARGIN
    return max(low, 0.0), high
