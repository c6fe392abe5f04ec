# SPDX-License-Identifier: GPL-2.0-or-later
"""Which species of one list a species of another is: by name, beads and bonds.

Isomers have the beads in common, so that beads alone tell a molecule only where nobody knows more.
"""

from __future__ import annotations

from collections.abc import Sequence

from cgpot.core.errors import DataError
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology


def matching(kind: Species, known: Sequence[Species]) -> int | None:
    """Number of the species in ``known`` that a species is; None where there is none.

    Names alone do not make two species different, but they choose among equal ones.  Where one
    side does not know the bonds, the beads decide if they fit a single species.

    Raises:
        DataError: several fit, and nothing tells which.
    """
    alike = [k for k, other in enumerate(known) if other.beads == kind.beads]
    fits = [k for k in alike if _structure(known[k]) == _structure(kind)]
    if not fits:
        fits = [k for k in alike if known[k].bonds is None or kind.bonds is None]
    named = [k for k in fits if known[k].name == kind.name]
    if len(named) == 1 or len(fits) == 1:
        return (named or fits)[0]
    if not fits:
        return None
    raise DataError(
        f"species {kind.describe()} with {bonds_text(kind)} may be any of "
        f"{', '.join(known[k].describe() for k in fits)}; expected bonds or a name that tell which"
    )


def matched(topology: Topology, known: Sequence[Species], what: str) -> list[int | None]:
    """For each species of a topology, its number in ``known``; None for single sites not there.

    Args:
        topology: the sites.
        known: species that something is made for.
        what: that, for messages, as ``the bonded terms``.

    Raises:
        DataError: molecules of several sites that ``known`` does not hold; site, molecule and what
            was expected are named.
    """
    found: list[int | None] = []
    for k, kind in enumerate(topology.species):
        sites = topology.species_sites[k]
        if not len(sites):
            found.append(None)
            continue
        where = f"molecule {topology.molecules[sites[0, 0]]} (from site {sites[0, 0]})"
        try:
            number = matching(kind, known)
        except DataError as err:
            raise DataError(f"{where}: {err.message}") from err
        if number is None and kind.n_sites > 1:
            expected = "; ".join(f"{other.describe()} with {bonds_text(other)}" for other in known)
            raise DataError(
                f"{where} is {kind.describe()} with {bonds_text(kind)}; {what} expected one of: "
                f"{expected or 'single sites alone'}"
            )
        found.append(number)
    return found


def bonds_text(kind: Species) -> str:
    """The bonds in words, ``bonds 0-1, 1-2``."""
    if kind.bonds is None:
        return "bonds that are not known"
    words = ["-".join(map(str, bond)) for bond in kind.bonds[:12]]
    return f"bonds {', '.join(words) or 'none'}{', ...' if len(kind.bonds) > 12 else ''}"


def _structure(kind: Species) -> tuple[object, ...]:
    return kind.bonds, kind.angles, kind.dihedrals
