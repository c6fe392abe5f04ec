# SPDX-License-Identifier: GPL-2.0-or-later
"""Which atoms belong to which site: by index within molecules, or by selections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.connections import Assigned, atom_molecules
from cgpot.mapping.spec import MappingSpec

IntArray = NDArray[np.int64]


def assign(
    spec: MappingSpec, topology: AtomTopology, file: Path
) -> tuple[list[Assigned], list[int]]:
    """The sites of a mapping on the atoms of one system.

    Returns:
        The sites, and the block of ``system`` of each molecule (empty for selections).

    Args:
        spec: the mapping.
        topology: the atoms.
        file: mapping file, for messages.

    Raises:
        ConfigError: wrong counts, or an empty selection.
        InputError: the topology lacks molecules that selections need.
    """
    blocks: list[int] = []
    if any(kind.selection is not None for kind in spec.site_types.values()):
        sites = _by_selection(spec, topology, file)
    else:
        sites, blocks = _by_index(spec, topology.n_atoms, file)
    return sites, blocks


def _by_index(spec: MappingSpec, n_atoms: int, file: Path) -> tuple[list[Assigned], list[int]]:
    """Sites of a mapping with ``index`` and ``system``, and the block of each molecule."""
    sites: list[Assigned] = []
    owners: list[int] = []
    molecule = 0
    end = 0
    blocks = spec.system or ()
    for number, block in enumerate(blocks):
        key = f"system.{number}"
        rest = n_atoms - block.anchor
        if block.repeat == "all":
            if rest <= 0 or rest % block.offset:
                raise ConfigError(
                    f"{rest} atoms follow anchor {block.anchor}; expected a multiple of the "
                    f"{block.offset} atoms of a molecule",
                    file=file,
                    key=f"{key}.repeat",
                )
            repeat = rest // block.offset
        else:
            repeat = block.repeat
        if block.anchor + repeat * block.offset > n_atoms:
            raise ConfigError(
                f"{repeat} molecules of {block.offset} atoms from atom {block.anchor} need "
                f"{block.anchor + repeat * block.offset} atoms; the topology has {n_atoms}",
                file=file,
                key=f"{key}.repeat",
            )
        if block.anchor < end:
            raise ConfigError(
                f"starts at atom {block.anchor}, inside the block before, which ends at {end}",
                file=file,
                key=f"{key}.anchor",
            )
        places = block.places()
        for name, offset in places:
            top = offset + max(spec.site_types[name].index or (0,))
            if top >= block.offset:
                raise ConfigError(
                    f"site {name!r} at {offset} reaches atom {top} of a molecule of "
                    f"{block.offset} atoms",
                    file=file,
                    key=f"{key}.sites",
                )
        for r in range(repeat):
            start = block.anchor + r * block.offset
            for name, offset in places:
                index = np.asarray(spec.site_types[name].index, dtype=np.int64)
                sites.append((name, start + offset + index, molecule))
            owners.append(number)
            molecule += 1
        end = block.anchor + repeat * block.offset
    return sites, owners


def _by_selection(spec: MappingSpec, topology: AtomTopology, file: Path) -> list[Assigned]:
    """Sites of a mapping with MDAnalysis selections: one per type and molecule or residue."""
    known = atom_molecules(topology)
    if topology.universe is None or known is None:
        raise InputError(
            "selections need molecules (bonds or molecule numbers), which this topology lacks; "
            "use 'index' and 'system'",
            file=topology.path,
        )
    from MDAnalysis.exceptions import SelectionError

    residues = np.asarray(topology.universe.atoms.resindices, dtype=np.int64)
    by_residue = any(kind.group == "residues" for kind in spec.site_types.values())
    found: list[tuple[tuple[int, ...], str, IntArray]] = []
    for order, (name, kind) in enumerate(spec.site_types.items()):
        key = f"site-types.{name}.selection"
        try:
            selected = topology.universe.select_atoms(kind.selection)
        except (SelectionError, AttributeError, ValueError) as err:
            raise ConfigError(
                f"MDAnalysis refuses {kind.selection!r}: {err}", file=file, key=key
            ) from err
        atoms = np.asarray(selected.indices, dtype=np.int64)
        if not len(atoms):
            raise ConfigError(
                f"{kind.selection!r} selects no atom of {topology.path.name}", file=file, key=key
            )
        parts = known[atoms] * (residues.max() + 1)
        if kind.group == "residues":
            parts = parts + residues[atoms]
        rank = np.argsort(parts, kind="stable")
        for own in np.split(atoms[rank], np.flatnonzero(np.diff(parts[rank])) + 1):
            # along the molecule where residues make sites, else in the order of the types
            place = int(own.min()) if by_residue else order
            found.append(((int(known[own[0]]), place, order), name, own))
    found.sort(key=lambda item: item[0])
    number = {m: i for i, m in enumerate(dict.fromkeys(item[0][0] for item in found))}
    return [(name, atoms, number[place[0]]) for place, name, atoms in found]
