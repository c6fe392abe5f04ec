# SPDX-License-Identifier: GPL-2.0-or-later
"""The base below a network: pair splines, and a local-density term beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError
from cgpot.molecules.exclusions import bonds_left_out
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import half_list, hidden_pairs
from cgpot.potential.density_table import DensityTable
from cgpot.potential.lammps_commands import LammpsParts
from cgpot.potential.local_density import Exclude, LocalDensityBasis
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable, pair_index

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Base:
    """A pair table, alone or with a local-density part.

    Attributes:
        pair: the pair part.
        density: the local-density part, or None.
        pairs: which pairs of sites it sees (`cgpot.molecules.exclusions.SEEN_PAIRS`).
    """

    pair: PairTable
    density: DensityTable | None = None
    pairs: str = "all"

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.pair.type_names

    @property
    def cutoff(self) -> float:
        """The longer of the two cutoffs, Å."""
        return max(self.pair.r_max, 0.0 if self.density is None else self.density.cutoff)

    def lammps_parts(self) -> LammpsParts:
        """Tables of pairs and of the local density.

        Raises:
            ConfigError: pairs that LAMMPS's ``special_bonds``, which end at 1-4, do not tell.
        """
        if self.pairs == "intermolecular":
            raise ConfigError(
                "LAMMPS's tables see 1-5 pairs; expected all, not-1-2, not-1-3 or not-1-4",
                key="pairs",
            )
        special = None
        if self.pairs != "all":
            left_out = bonds_left_out(self.pairs)
            special = " ".join("0.0" if k < left_out else "1.0" for k in range(3))
        return LammpsParts(pair=self.pair, density=self.density, special=special)

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame.

        Raises:
            ConfigError: `pairs` is none of the known words.
            DataError: two sites at the same place.
        """
        found = _pair_labels(self.pair, frame, self.pairs)
        if self.density is None:
            return found
        more = density_labels(self.density, frame, hidden_pairs(self.pairs))
        return Labels(
            found.forces + more.forces, found.virial + more.virial, found.energy + more.energy
        )


def _pair_labels(table: PairTable, frame: CGFrame, seen: str) -> Labels:
    """Labels of the pair part, by sums over a half list."""
    pairs = half_list(frame, table.r_max).seen(seen)
    i, j, vector, distance = pairs.i, pairs.j, pairs.vector, pairs.distance
    types = frame.topology.types
    forces = np.zeros((frame.topology.n_sites, 3))
    virial = np.zeros((3, 3))
    energy = 0.0
    index = pair_index(len(table.type_names))
    rows = index[types[i], types[j]]
    for row in np.unique(rows):
        a, b = np.argwhere(index == row)[0]
        mask = rows == row
        along = (table.force(distance[mask], a, b) / distance[mask])[:, None] * vector[mask]
        np.subtract.at(forces, i[mask], along)
        np.add.at(forces, j[mask], along)
        virial += np.einsum("ea,eb->ab", vector[mask], along)
        energy += float(table.energy(distance[mask], a, b).sum())
    return Labels(forces, virial, energy)


def density_labels(table: DensityTable, frame: CGFrame, exclude: Exclude | None = None) -> Labels:
    """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV of a local-density part.

    Args:
        table: of the part.
        frame: the sites.
        exclude: pairs of sites that do not count: frame and pairs -> mask.
    """
    rows = LocalDensityBasis.of(table, exclude).spline_rows(frame)
    c = table.coefficients.ravel()
    energy = 0.0 if rows.energy is None else float(rows.energy @ c)
    return Labels((rows.forces @ c).reshape(-1, 3), rows.virial @ c, energy)
