# SPDX-License-Identifier: GPL-2.0-or-later
"""An atomistic structure seen by a mapping: kinds of molecules and their conformations.

The structure is what the atomistic engine runs: its atoms, in its order.  Molecules whose sites
are made of the same atoms in the same way are of one kind, and every such molecule in the
structure (and in further frames of it) is a conformation that the others may take.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import require_file
from cgpot.core.units import NM
from cgpot.formats import gromacs, lammps
from cgpot.formats.atomistic import AtomTopology
from cgpot.mapping.readers import DATA_SUFFIXES
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import load_mapping
from cgpot.molecules.frame import Array, Topology
from cgpot.molecules.whole import reduce_in_place

IntArray = NDArray[np.int64]
MOST = 256
"""Conformations of a kind that are kept, spread evenly over molecules and frames."""
FRAMES = 16
"""Of about this many frames of each file, evenly spaced, conformations are taken."""


@dataclass(frozen=True)
class MoleculeKind:
    """Molecules of one make.

    Attributes:
        atoms: (n, k) atom indices of each molecule.
        sites: (n, m) site indices of each molecule.
        weights: (m, k) position weights of the sites over the atoms; rows sum to 1.
        owner: (k,) the site, 0 to m - 1, that each atom belongs to.
        conformations: (c, k, 3) Å, whole, the mean of their sites at the origin.
    """

    atoms: IntArray
    sites: IntArray
    weights: Array
    owner: IntArray
    conformations: Array

    @property
    def radius(self) -> float:
        """Largest distance of an atom from the mean of the sites, Å."""
        return float(np.linalg.norm(self.conformations, axis=-1).max())


@dataclass(frozen=True)
class Structure:
    """An atomistic structure and its molecules.

    Attributes:
        path: file of the structure.
        topology: its atoms.
        sites: the mapping resolved on it.
        kinds: kinds of molecules.
        names: name of each atom.
        residue_names, residues: residue of each atom, name and number (from 1).
    """

    path: Path
    topology: AtomTopology
    sites: SiteMap
    kinds: tuple[MoleculeKind, ...]
    names: tuple[str, ...]
    residue_names: tuple[str, ...]
    residues: IntArray

    def check(self, beads: Topology, file: str | Path | None, frame: int | None) -> None:
        """Refuse a frame whose sites are not those of the mapped structure.

        Raises:
            InputError: another number of sites or molecules, or another site at some place.
        """
        own = self.sites.topology
        found = [beads.n_sites, len(np.unique(beads.molecules))]
        wanted = [own.n_sites, len(np.unique(own.molecules))]
        if found != wanted:
            raise InputError(
                f"{found[0]} sites in {found[1]} molecules; {self.path.name} maps to {wanted[0]} "
                f"sites in {wanted[1]} molecules (expected the structure of the same system)",
                file=file,
                frame=frame,
            )
        same = np.array(beads.names) == np.array(own.names)
        _, first = np.unique(beads.molecules, return_inverse=True)
        _, second = np.unique(own.molecules, return_inverse=True)
        same &= first == second
        if not same.all():
            k = int(np.flatnonzero(~same)[0])
            raise InputError(
                f"site {k} is {beads.names[k]} of molecule {first[k]}; {self.path.name} maps to "
                f"{own.names[k]} of molecule {second[k]} there",
                file=file,
                frame=frame,
            )


def read_structure(
    structure: str | Path, mapping: str | Path, conformations: Sequence[str | Path] = ()
) -> Structure:
    """Read a structure, map it and collect the conformations of its molecules.

    Args:
        structure: .tpr, .gro, .pdb, LAMMPS data file, or another format of MDAnalysis.
        mapping: mapping file; it needs x-weight and mass where the structure holds no masses.
        conformations: files with coordinates of the same atoms (trajectories too); none: the
            structure's own.

    Raises:
        ConfigError, InputError, DataError: see `cgpot.mapping.sites.resolve`; a file that
            MDAnalysis cannot read, or without coordinates, or of other atoms.
    """
    path = require_file(structure, "atomistic structure")
    topology = _topology(path)
    sites = resolve(load_mapping(mapping), topology, mapping)
    for what, found in (
        ("leaves molecules out", sites.left_out is not None),
        ("has sites that share atoms", len(sites.shared) > 0),
    ):
        if found:
            raise ConfigError(
                f"the mapping {what}, so that atoms cannot be put back; expected every "
                "atom in one site",
                file=mapping,
            )
    universe = topology.universe
    n = topology.n_atoms
    files = [require_file(p, "file of conformations") for p in conformations] or [path]
    members = _members(sites, _attribute(universe, "names", n))
    frames = _frames(universe, files, n)
    if not frames:
        raise InputError("no frame with coordinates", file=files[0])
    kinds = []
    for atoms, where, weights, owner in members:
        every = [(x[rows], cell) for x, cell in frames for rows in atoms]
        kept = np.linspace(0, len(every) - 1, min(MOST, len(every))).round().astype(int)
        shapes = [whole(*every[k]) for k in kept]
        shapes = [shape - (weights @ shape).mean(axis=0) for shape in shapes]
        kinds.append(MoleculeKind(atoms, where, weights, owner, np.stack(shapes)))
    residues = getattr(universe.atoms, "resids", None)
    names = _attribute(universe, "names", n) or _attribute(universe, "types", n) or ("X",) * n
    return Structure(
        path=path,
        topology=topology,
        sites=sites,
        kinds=tuple(kinds),
        names=names,
        residue_names=_attribute(universe, "resnames", n) or ("MOL",) * n,
        residues=np.ones(n, np.int64) if residues is None else np.asarray(residues, np.int64),
    )


def _attribute(universe: Any, name: str, n: int) -> tuple[str, ...]:
    """An attribute of each atom as text; empty where the file holds none."""
    values = tuple(str(v) for v in getattr(universe.atoms, name, ()))
    return values if len(values) == n and any(values) else ()


def _topology(path: Path) -> AtomTopology:
    """The atoms of a structure, by the mapping's own readers or by MDAnalysis alone."""
    if path.suffix in (".tpr", ".gro"):
        return gromacs.read_topology(path)
    if _is_data(path):
        return lammps.read_data(path)
    import MDAnalysis

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(str(path), to_guess=())
    except (ValueError, TypeError, OSError, KeyError, IndexError, StopIteration) as err:
        raise InputError(f"MDAnalysis cannot read it: {err}", file=path) from err
    atoms = universe.atoms
    masses = getattr(atoms, "masses", None)
    bonds = getattr(atoms, "bonds", None)
    pairs = None if bonds is None or not len(bonds) else np.asarray(bonds.indices, np.int64)
    return AtomTopology(
        path=path,
        n_atoms=len(atoms),
        masses=None if masses is None else np.asarray(masses, dtype=np.float64),
        bonds=pairs,
        molecules=None if pairs is None else np.asarray(atoms.fragindices, dtype=np.int64),
        constraints=None,
        universe=universe,
    )


def _frames(universe: Any, files: Sequence[Path], n: int) -> list[tuple[Array, Array | None]]:
    """Coordinates (n, 3) in Å and cells of some frames of the files."""
    found: list[tuple[Array, Array | None]] = []
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if file.suffix in (".trr", ".xtc"):
                    found += _xdr(file, n)
                    continue
                universe.load_new(str(file), format="DATA" if _is_data(file) else None)
                for snapshot in universe.trajectory[:: _stride(len(universe.trajectory))]:
                    cell = snapshot.triclinic_dimensions
                    found.append(
                        (
                            np.array(snapshot.positions, dtype=np.float64),
                            None if cell is None else np.array(cell, dtype=np.float64),
                        )
                    )
        except (ValueError, TypeError, OSError, KeyError, IndexError, StopIteration) as err:
            raise InputError(
                f"no coordinates of these {n} atoms can be read from it: {err}; give a file with "
                "conformations (.gro, .pdb, .trr, .xtc, .data)",
                file=file,
            ) from err
    return found


def _xdr(file: Path, n: int) -> list[tuple[Array, Array | None]]:
    """Frames of a .trr or .xtc, without the index file that MDAnalysis leaves beside it."""
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

    found: list[tuple[Array, Array | None]] = []
    with (TRRFile if file.suffix == ".trr" else XTCFile)(str(file)) as stream:
        if stream.n_atoms != n:
            raise ValueError(f"it holds {stream.n_atoms} atoms")
        for number in range(0, len(stream), _stride(len(stream))):
            stream.seek(number)
            snapshot = stream.read()
            if getattr(snapshot, "hasx", True):
                found.append(
                    (
                        np.asarray(snapshot.x, dtype=np.float64) * NM,
                        np.asarray(snapshot.box, dtype=np.float64) * NM,
                    )
                )
    return found


def _stride(frames: int) -> int:
    return max(1, frames // FRAMES)


def _is_data(path: Path) -> bool:
    return path.suffix in DATA_SUFFIXES or path.name.startswith("data.")


def _members(
    sites: SiteMap, names: tuple[str, ...]
) -> list[tuple[IntArray, IntArray, Array, IntArray]]:
    """Atoms, sites, weights and owners of each kind of molecule (see `MoleculeKind`)."""
    n = sites.topology.n_sites
    atoms_of: list[IntArray] = [np.zeros(0, np.int64)] * n
    weights_of: list[Array] = [np.zeros(0)] * n
    for group in sites.groups:
        for row, site in enumerate(group.sites):
            atoms_of[site], weights_of[site] = group.atoms[row], group.position_weights
    order = np.argsort(sites.topology.molecules, kind="stable")
    starts = np.flatnonzero(np.diff(sites.topology.molecules[order])) + 1
    kinds: dict[Any, list[tuple[IntArray, IntArray]]] = {}
    for species, members in zip(
        sites.topology.molecule_species, np.split(order, starts), strict=True
    ):
        atoms = np.sort(np.concatenate([atoms_of[s] for s in members]))
        key = (
            int(species),
            tuple(sites.topology.types[members]),
            tuple(names[a] for a in atoms) if names else len(atoms),
            tuple(np.searchsorted(atoms, atoms_of[s]).tobytes() for s in members),
            tuple(np.round(weights_of[s], 6).tobytes() for s in members),
        )
        kinds.setdefault(key, []).append((atoms, members))
    result = []
    for found in kinds.values():
        atoms, members = found[0]
        weights = np.zeros((len(members), len(atoms)))
        owner = np.zeros(len(atoms), np.int64)
        for row, site in enumerate(members):
            columns = np.searchsorted(atoms, atoms_of[site])
            weights[row, columns] = weights_of[site]
            owner[columns] = row
        result.append(
            (np.stack([a for a, _ in found]), np.stack([m for _, m in found]), weights, owner)
        )
    return result


def tree(points: Array, cell: Array | None) -> list[tuple[int, int]]:
    """Pairs (parent, child) that join all points by the shortest steps, parents first.

    The minimum spanning tree of the minimum-image distances: bonds are shorter than contacts,
    so that a molecule hangs together by its bonds, whether the file knows them or not.
    """
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    if len(points) < 2:
        return []
    delta = points[None, :, :] - points[:, None, :]
    if cell is not None:
        reduce_in_place(delta, cell)
    distance = np.linalg.norm(delta, axis=-1) + 1e-9
    graph = minimum_spanning_tree(distance)
    order, parent = breadth_first_order(graph, 0, directed=False)
    return [(int(parent[k]), int(k)) for k in order[1:]]


def whole(points: Array, cell: Array | None, steps: list[tuple[int, int]] | None = None) -> Array:
    """Points (k, 3) of one molecule in one piece, each a minimum image from its parent.

    Args:
        points: Å, wrapped in any way.
        cell: (3, 3) Å, lower triangular rows; None: not periodic, returned as they are.
        steps: of `tree`; None: those of the points.
    """
    result = np.array(points, dtype=np.float64)
    if cell is None:
        return result
    for parent, child in tree(result, cell) if steps is None else steps:
        step = (points[child] - points[parent])[None, :].copy()
        result[child] = result[parent] + reduce_in_place(step, cell)[0]
    return result
