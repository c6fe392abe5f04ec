# SPDX-License-Identifier: GPL-2.0-or-later
"""Charges of bead types, which no potential of this package makes use of yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cgpot.core.errors import ConfigError
from cgpot.molecules.topology import Topology


def no_coulomb(topology: Topology) -> str:
    """A warning: the charges stay with the sites, but have no Coulomb interaction of their own."""
    return (
        f"the bead types {charged_types(topology)} carry charges, but there is no Coulomb term: "
        "what charges do to each other is in the potential as far as its cutoff, nothing beyond"
    )


def charged_types(topology: Topology) -> str:
    """Bead types with their charges in words, ``NA (+1 e)``."""
    return ", ".join(
        f"{name} ({charge:+g} e)"
        for name, charge in zip(topology.type_names, topology.type_charges, strict=True)
        if charge
    )


def require_no_charges(
    topologies: Iterable[Topology],
    *,
    ignore: bool,
    file: str | Path | None = None,
    key: str = "system.charges",
) -> list[str]:
    """Refuse charges that a fit would leave without a Coulomb term, unless that is asked for.

    Args:
        topologies: of the frames.
        ignore: ``system.charges: ignore`` of train.yaml, ``charges: ignore`` of refine.yaml.
        file: of the frames, for messages.
        key: where that is said, for messages.

    Returns:
        Warnings: that of `no_coulomb` where charges are ignored.

    Raises:
        ConfigError: charged bead types.
    """
    for topology in topologies:
        if not any(topology.type_charges):
            continue
        if ignore:
            return [no_coulomb(topology)]
        raise ConfigError(
            f"the bead types {charged_types(topology)} carry charges, and a Coulomb term is not to "
            "be had yet; expected beads without charges (no 'charge' in the mapping), or 'ignore' "
            "for a potential that has all interactions within its cutoff",
            file=file,
            key=key,
        )
    return []
