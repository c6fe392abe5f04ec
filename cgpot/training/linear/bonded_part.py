# SPDX-License-Identifier: GPL-2.0-or-later
"""The bonded part below a network: splines along the bonds, fitted jointly with pairs.

A network that sees no bonded neighbours cannot hold a molecule together.  Bonds, angles and
dihedrals come from one linear fit with the pair splines (MS-CG; Noid et al., J. Chem. Phys. 128,
244115 (2008)); their forces and virial are taken from the labels, and the same splines
run in LAMMPS as bonded tables.  What is subtracted is what is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError
from cgpot.core.units import KB
from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.exclusions import bonds_left_out
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.potential.basis import Joint
from cgpot.potential.lammps_commands import LammpsParts
from cgpot.potential.potential import Labels
from cgpot.training.linear.bonded_terms import terms_along_bonds
from cgpot.training.linear.mscg import MSCGPotential, fit_mscg, with_inverted_bonds
from cgpot.training.settings.model_settings import MSCGConfig

if TYPE_CHECKING:
    from cgpot.training.settings.train_settings import TrainConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BondedPart:
    """Bonds, angles and dihedrals of a joint fit, without its pair part.

    Attributes:
        potential: the joint fit.
    """

    potential: MSCGPotential

    @cached_property
    def _joint(self) -> Joint:
        return Joint(dict(self.potential.bonded.parts))

    @cached_property
    def _coefficients(self) -> Array:
        return np.concatenate([self.potential.part(name) for name in self._joint.parts])

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.potential.type_names

    @property
    def cutoff(self) -> float:
        """0: it acts along bonds alone."""
        return 0.0

    def labels(self, frame: CGFrame) -> Labels:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV of the bonded terms.

        Raises:
            DataError: a frame of other sites, or a bond outside the lengths that the splines cover.
        """
        return self._joint.labels(self._coefficients, frame)

    def remainder(self, frame: CGFrame) -> CGFrame:
        """The frame with the part's forces, virial and energy taken from its labels."""
        forces, virial, energy = self.labels(frame)
        return replace(
            frame,
            forces=None if frame.forces is None else frame.forces - forces,
            virial=None if frame.virial is None else frame.virial - virial,
            energy=None if frame.energy is None else frame.energy - energy,
        )

    def lammps_parts(self) -> LammpsParts:
        """The tables along bonds."""
        return self.potential.bonded_parts()

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        return self.potential.write(path)

    @classmethod
    def read(cls, path: str | Path) -> BondedPart:
        """Read what `write` wrote.

        Raises:
            InputError: another format or a missing key.
        """
        return cls(MSCGPotential.read(path))


def has_molecules(topology: Topology) -> bool:
    """Whether some molecule has several sites."""
    return topology.n_molecules < topology.n_sites


def seen_pairs(config: TrainConfig, topology: Topology) -> str:
    """Which pairs of sites a network of these settings sees (`SEEN_PAIRS`).

    ``auto`` leaves out what the bonded terms join: 1-2, 1-3 and 1-4 pairs.  Molecules of one site
    see all pairs.

    Raises:
        ConfigError: pairs that the bonded part cannot stand beside.
    """
    asked = str(getattr(config.model, "pairs", "auto"))
    if not has_molecules(topology):
        return "all"
    if asked == "auto":
        return "not-1-4"
    if asked in ("all", "intermolecular"):
        raise ConfigError(
            f"{asked!r} is not to be had for molecules of several sites yet; expected auto, "
            "not-1-2, not-1-3 or not-1-4",
            key="model.pairs",
        )
    return asked


@dataclass(frozen=True)
class FittedBonds:
    """The bonded part of a training.

    Attributes:
        taken: what the fit to the forces gave; it is taken from the labels.
        run: what runs below the network, where ``prior.bonded`` is inversion with other splines.
    """

    taken: BondedPart
    run: BondedPart


def fit_bonded(
    config: TrainConfig, frames: list[CGFrame], *, quiet: bool = False
) -> FittedBonds | None:
    """The bonded part of molecules of several sites; None for those of one site.

    One fit to the forces with the pair splines, which see the pairs that the network sees; with
    stress labels the mean virial is imposed on it.  ``prior.bonded: inversion`` then takes the
    splines that run from the distributions (`with_inverted_bonds`): where the pair forces
    were fitted to what inverted bonds leave, hexane had 1,250 bar and thrice the error of g(r).

    Args:
        config: of a network.
        frames: training frames.
        quiet: no progress bar.

    Raises:
        InputError: species of several sites whose bonds are not known.
        ConfigError: `seen_pairs`.
        DataError: too few pairs or samples, or a singular system.
    """
    topology = catalogue(topologies_of(frames))
    if not has_molecules(topology):
        return None
    topology.require_bonds("a network", file=config.data.train)
    excluded = tuple(range(1, bonds_left_out(seen_pairs(config, topology)) + 1))
    terms = terms_along_bonds(frames, KB * config.temperature, excluded)
    model = MSCGConfig(
        cutoff=config.prior_range,
        spacing=config.prior.spacing,
        local_density=config.prior.local_density,
        match_mean_virial=bool(config.needs_stress),
        match_slope=config.prior.match_slope,
        smooth=config.prior.smooth,
    )
    potential, _ = fit_mscg(model, frames, config.temperature, bonded=terms, quiet=quiet)
    part = BondedPart(potential)
    if config.prior.bonded == "forces":
        return FittedBonds(part, part)
    return FittedBonds(part, BondedPart(with_inverted_bonds(potential, frames)))
