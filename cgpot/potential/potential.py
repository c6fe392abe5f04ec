# SPDX-License-Identifier: GPL-2.0-or-later
"""What a potential is: it labels a frame with forces, virial and energy.

Pair tables, linear fits, UF3 and networks all answer the same question; sums and means of
potentials are potentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.molecules.frame import CGFrame

Array = NDArray[np.float64]


class Labels(NamedTuple):
    """What a potential says about one frame.

    Attributes:
        forces: (n, 3) eV/Å.
        virial: (3, 3) eV, W = sum r (x) f.
        energy: eV.
    """

    forces: Array
    virial: Array
    energy: float


class Potential(Protocol):
    """A potential of sites."""

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types that it knows, in the order of their indices."""
        ...

    @property
    def cutoff(self) -> float:
        """Largest distance at which two sites act on each other without bonds, Å."""
        ...

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame."""
        ...


@dataclass(frozen=True)
class _Several:
    """Potentials of the same bead types.

    Attributes:
        members: at least one.

    Raises:
        InputError: no potential, or other bead types than those of the first.
    """

    members: Sequence[Potential]

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("no potential was given, expected one at least")
        for number, member in enumerate(self.members):
            if member.type_names != self.type_names:
                raise InputError(
                    f"potential {number} is of bead types {list(member.type_names)}, expected "
                    f"those of the first, {list(self.type_names)}"
                )

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types of the members."""
        return self.members[0].type_names

    @property
    def cutoff(self) -> float:
        """The longest cutoff, Å."""
        return max(member.cutoff for member in self.members)

    def each(self, frame: CGFrame) -> list[Labels]:
        """The labels of each member."""
        return [member.labels(frame) for member in self.members]


class SumOfPotentials(_Several):
    """The sum of potentials: what stands beside each other in one simulation."""

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame, summed."""
        forces, virials, energies = zip(*self.each(frame), strict=True)
        return Labels(np.sum(forces, axis=0), np.sum(virials, axis=0), float(sum(energies)))


class MeanOfPotentials(_Several):
    """The mean of potentials: an ensemble."""

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame, averaged over the members."""
        return mean_labels(self.each(frame))


def mean_labels(each: Sequence[Labels]) -> Labels:
    """The mean of several labels of one frame."""
    forces, virials, energies = zip(*each, strict=True)
    return Labels(np.mean(forces, axis=0), np.mean(virials, axis=0), float(np.mean(energies)))
