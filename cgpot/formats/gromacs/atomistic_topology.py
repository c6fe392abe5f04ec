# SPDX-License-Identifier: GPL-2.0-or-later
"""Topology from a .tpr or a .gro."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.formats.atomistic import AtomTopology


def read_topology(path: str | Path) -> AtomTopology:
    """Read a .tpr (masses, bonds, molecules, constraints) or a .gro (atom count only).

    Raises:
        InputError: missing, or not readable as its suffix says.
    """
    p = require_file(path, "topology")
    if p.suffix == ".tpr":
        return _read_tpr(p)
    if p.suffix == ".gro":
        return _read_gro(p)
    raise InputError(
        f"unknown topology format {p.suffix!r}; expected .tpr or .gro (GROMACS) or .data (LAMMPS)",
        file=p,
    )


def _read_gro(path: Path) -> AtomTopology:
    """A .gro holds neither masses nor bonds: only the atom count and names are taken."""
    import MDAnalysis

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(str(path), to_guess=())
    except (ValueError, OSError, IndexError, StopIteration) as err:
        raise InputError(f"not a readable .gro: {err}", file=path) from err
    return AtomTopology(path, len(universe.atoms), None, None, None, None, universe)


def _read_tpr(path: Path) -> AtomTopology:
    """A .tpr through MDAnalysis, and its constraints.

    MDAnalysis counts constraints among the bonds and does not tell them apart; its interaction
    lists are therefore looked at while it parses the molecule types.
    """
    import MDAnalysis
    from MDAnalysis.topology.tpr import utils
    from MDAnalysis.topology.TPRParser import TPRParser

    lists: list[Any] = []
    kinds: list[tuple[int, list[tuple[int, int]]]] = []
    read_lists, read_type = utils.do_ilists, utils.do_moltype

    def do_ilists(*args: Any, **kwargs: Any) -> Any:
        result = read_lists(*args, **kwargs)
        lists.append(result)
        return result

    def do_moltype(*args: Any, **kwargs: Any) -> Any:
        result = read_type(*args, **kwargs)
        kinds.append((result.number_of_atoms(), constrained_pairs(lists[-1])))
        return result

    order: list[tuple[int, int]] = []
    read_block = utils.do_molblock

    def do_molblock(*args: Any, **kwargs: Any) -> Any:
        result = read_block(*args, **kwargs)
        order.append((result.molb_type, result.molb_nmol))
        return result

    try:
        utils.do_ilists, utils.do_moltype = do_ilists, do_moltype
        utils.do_molblock = do_molblock
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(TPRParser(str(path)).parse(), to_guess=())
    except (OSError, ValueError, EOFError, NotImplementedError, IndexError, struct.error) as err:
        raise InputError(f"not a readable .tpr: {err}", file=path) from err
    finally:
        utils.do_ilists, utils.do_moltype = read_lists, read_type
        utils.do_molblock = read_block

    pairs: list[NDArray[np.int64]] = []
    start = 0
    for kind, count in order:
        n, mine = kinds[kind]
        if mine:
            base = np.asarray(mine, dtype=np.int64)
            shift = start + n * np.arange(count, dtype=np.int64)
            pairs.append((base[None] + shift[:, None, None]).reshape(-1, 2))
        start += n * count
    n_atoms = len(universe.atoms)
    if start != n_atoms:
        raise InputError(
            f"molecule types sum to {start} atoms, the system has {n_atoms}", file=path
        )
    bonds = np.asarray(universe.bonds.indices, dtype=np.int64).reshape(-1, 2)
    return AtomTopology(
        path=path,
        n_atoms=n_atoms,
        masses=_clean_masses(universe.atoms.masses),
        bonds=bonds,
        molecules=np.asarray(universe.atoms.molnums, dtype=np.int64),
        constraints=np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64),
        universe=universe,
        molecule_types=np.asarray(universe.atoms.moltypes),
        charges=np.asarray(universe.atoms.charges, dtype=np.float64),
    )


def _clean_masses(values: NDArray[Any]) -> NDArray[np.float64]:
    """Masses stored as float32 (12.01099968) as the decimal numbers they were (12.011)."""
    return np.asarray([float(f"{m:.7g}") for m in values], dtype=np.float64)


def constrained_pairs(interactions: list[Any]) -> list[tuple[int, int]]:
    """Constrained atom pairs of a molecule type (CONSTR, CONSTRNC; three per SETTLE)."""
    pairs: list[tuple[int, int]] = []
    for item in interactions:
        if item.nr <= 0:
            continue
        name = item.ik[0]
        values = [int(v) for v in item.iatoms]
        if name in ("CONSTR", "CONSTRNC"):
            pairs += list(zip(values[1::3], values[2::3], strict=True))
        elif name == "SETTLE":
            if len(values) == 2:
                triples = [(values[1], values[1] + 1, values[1] + 2)]
            else:
                triples = list(zip(values[1::4], values[2::4], values[3::4], strict=True))
            for o, h1, h2 in triples:
                pairs += [(o, h1), (o, h2), (h1, h2)]
    return pairs
