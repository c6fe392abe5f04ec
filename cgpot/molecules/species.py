# SPDX-License-Identifier: GPL-2.0-or-later
"""A species: the kind of a molecule, with its beads in order and the bonds between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cgpot.core.errors import DataError

Places = tuple[tuple[int, ...], ...]
"""Terms of a molecule by the places of its sites, counted from 0."""

TERM_NAMES = {2: "bond", 3: "angle", 4: "dihedral"}
_NAME = re.compile(r"[A-Za-z0-9+_-]+")


@dataclass(frozen=True)
class Species:
    """One kind of molecule.

    Terms may be given in any order and from either end; they are kept sorted, a bond with its
    lower place first, an angle with its lower end first, a dihedral i-j-k-l with j < k.

    Attributes:
        name: letters, digits, ``+``, ``-`` and ``_``.
        beads: bead type of each site, in the order of the sites in the molecule.
        bonds: pairs of places (from 0); None: not known.
        angles: triples of places; None: those along the bonds.
        dihedrals: quadruples of places; None: those along the bonds.

    Raises:
        DataError: a wrong name, no beads, a place out of range, a site bonded to itself, a term
            given twice, or bonds that leave the molecule in several pieces.
    """

    name: str
    beads: tuple[str, ...]
    bonds: Places | None = ()
    angles: Places | None = None
    dihedrals: Places | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(
                f"species name {self.name!r}: expected letters, digits, '+', '-' and '_' only"
            )
        if not self.beads:
            raise DataError(f"species {self.name!r} has no beads; expected at least one")
        object.__setattr__(self, "beads", tuple(self.beads))
        for width, word in TERM_NAMES.items():
            given = getattr(self, f"{word}s")
            if given is not None:
                object.__setattr__(self, f"{word}s", self._checked(given, width, word))
        if self.bonds is not None:
            pieces = connected_pieces(len(self.beads), self.bonds)
            if len(pieces) > 1:
                second = pieces[1][0]
                raise DataError(
                    f"species {self.name!r}: its bonds leave {len(pieces)} pieces; no bond joins "
                    f"site {second} ({self.beads[second]}) to site 0 ({self.beads[0]}); expected "
                    "one connected molecule"
                )

    def _checked(self, given: Iterable[Sequence[int]], width: int, word: str) -> Places:
        found: set[tuple[int, ...]] = set()
        for row in given:
            term = tuple(int(place) for place in row)
            if len(term) != width:
                raise DataError(
                    f"species {self.name!r}: the {word} {list(term)} names {len(term)} sites; "
                    f"expected {width}"
                )
            wrong = [place for place in term if not 0 <= place < len(self.beads)]
            if wrong:
                raise DataError(
                    f"species {self.name!r}: the {word} {list(term)} names place {wrong[0]}; "
                    f"expected 0 to {len(self.beads) - 1} for its {len(self.beads)} sites"
                )
            if len(set(term)) != width:
                raise DataError(
                    f"species {self.name!r}: the {word} {list(term)} names a site twice; expected "
                    f"{width} different sites"
                )
            middle = (width - 1) // 2
            if term[middle] > term[width - 1 - middle] or (width == 3 and term[0] > term[2]):
                term = term[::-1]
            if term in found:
                raise DataError(
                    f"species {self.name!r}: the {word} {list(term)} is given twice; expected "
                    "each once"
                )
            found.add(term)
        return tuple(sorted(found))

    @property
    def n_sites(self) -> int:
        """Number of sites of a molecule."""
        return len(self.beads)

    def describe(self) -> str:
        """Name and beads for messages, as ``HEX (CT-CM-CT)``."""
        beads = "-".join(self.beads[:8]) + ("..." if len(self.beads) > 8 else "")
        return self.name if self.name == beads else f"{self.name} ({beads})"


def beads_name(beads: Sequence[str]) -> str:
    """Name of a species whose beads alone are known: ``A-B-A``, of long ones the first eight."""
    if len(beads) <= 12:
        return "-".join(beads)
    return "-".join(beads[:8]) + f"-and-{len(beads) - 8}-more"


def plain_species(beads: Sequence[str], name: str | None = None) -> Species:
    """The species of a molecule of which the beads alone are known.

    One site has no bonds; of several the bonds are not known (None).
    """
    return Species(
        beads_name(beads) if name is None else name,
        tuple(beads),
        () if len(beads) == 1 else None,
    )


def connected_pieces(n: int, bonds: Iterable[Sequence[int]]) -> list[list[int]]:
    """Places 0 to n - 1 in connected pieces, each in order, by their lowest place."""
    parent = list(range(n))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for a, b in bonds:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    pieces: dict[int, list[int]] = {}
    for place in range(n):
        pieces.setdefault(root(place), []).append(place)
    return [pieces[key] for key in sorted(pieces)]
