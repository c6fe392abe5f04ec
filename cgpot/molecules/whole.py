# SPDX-License-Identifier: GPL-2.0-or-later
"""Periodic boxes: minimum image, wrapping, and molecules made whole along their bonds.

Cells are row vectors of any shape.  A molecule is whole when each of its bonds is the shortest
image of itself: it may be longer than half the box, and lie across its boundary, as long as no
bond is longer than half the box and the molecule is not bonded to its own image.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.molecules.paths import BondPaths, along_tree
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
UNBONDED_FRACTION = 0.45
"""Of the box: how far sites may be from the first of a molecule whose bonds are not known."""


def wrap(positions: Array, cell: Array) -> Array:
    """Positions (n, 3) wrapped into the cell (fractional coordinates in [0, 1))."""
    fractional = positions @ np.linalg.inv(cell)
    fractional -= np.floor(fractional)
    # a tiny negative coordinate rounds to exactly 1
    fractional[fractional >= 1.0] = 0.0
    return fractional @ cell


def reduce_in_place(d: Array, cell: Array) -> Array:
    """Reduce vectors (..., 3) in place, in a lower triangular cell (rows); for long arrays.

    The reduction goes c, b, a, as GROMACS does it; for vectors shorter than half the smallest
    face distance it is the shortest image, which the caller checks.
    """
    if cell[1, 0] == 0.0 and cell[2, 0] == 0.0 and cell[2, 1] == 0.0:
        lengths = np.diagonal(cell)
        rows = d
        if d.ndim == 3 and d.flags.c_contiguous:  # long rows: numpy's inner loop is the last axis
            rows = d.reshape(len(d), -1)
            lengths = np.tile(lengths, d.shape[1])
        shift = rows * (1.0 / lengths)
        np.rint(shift, out=shift)
        shift *= lengths
        rows -= shift
        return d
    for axis in (2, 1, 0):
        d -= np.rint(d[..., axis : axis + 1] / cell[axis, axis]) * cell[axis]
    return d


def image_shift(vectors: Array, cell: Array) -> IntArray:
    """Whole boxes (..., 3) to add to vectors (..., 3), Å, so that they are shortest.

    In a tilted cell the nearest of the neighbouring images is looked for where rounding alone
    may miss it.
    """
    inverse = np.linalg.inv(cell)
    shift = -np.rint(vectors @ inverse).astype(np.int64)
    if np.count_nonzero(cell - np.diag(np.diagonal(cell))) == 0:
        return shift
    reduced = vectors + shift @ cell
    half = 0.5 / np.linalg.norm(inverse, axis=0).max()
    long = np.sum(reduced * reduced, axis=-1) > half * half
    if long.any():
        around = np.array(list(itertools.product((0, -1, 1), repeat=3)))
        candidates = reduced[long][:, None, :] + around @ cell
        best = np.argmin(np.sum(candidates * candidates, axis=-1), axis=1)
        shift[long] += around[best]
    return shift


def minimum_image(vectors: Array, cell: Array) -> Array:
    """The shortest images of vectors (..., 3), Å, in a cell (3, 3) of any shape."""
    return vectors + image_shift(vectors, cell) @ cell


def flags_along(positions: Array, cell: Array, bonds: IntArray, parent: IntArray) -> IntArray:
    """Image flags (n, 3) with which sites are whole along a tree of bonds.

    Args:
        positions: (n, 3) Å, wrapped or not.
        cell: (3, 3) Å, rows.
        bonds: (m, 2) all bonds.
        parent: (n,) parent of each site in a tree along the bonds; roots, which keep the flag
            0, are their own.

    Raises:
        DataError: sites that are bonded to their own image.
    """
    flags = along_tree(parent, image_shift(positions - positions[parent], cell))
    if len(bonds) > np.count_nonzero(parent != np.arange(len(parent))):  # there are rings
        a, b = bonds.T
        shift = image_shift(positions[b] - positions[a], cell)
        wrong = np.any(flags[b] - flags[a] != shift, axis=1)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise DataError(
                f"the molecule of sites {a[first]} and {b[first]} is bonded to its own image; "
                "the box is too small for it"
            )
    return flags


def flags_along_bonds(positions: Array, cell: Array, bonds: IntArray) -> IntArray:
    """`flags_along` for bonds (m, 2) of which nothing else is known; lowest sites keep 0."""
    paths = BondPaths(len(positions), bonds)
    return flags_along(positions, cell, paths.bonds, paths.tree())


def image_flags(topology: Topology, positions: Array, cell: Array) -> IntArray:
    """Image flags (n_sites, 3) with which every molecule is whole; its first site has 0.

    Molecules of several sites whose bonds are not known are taken at minimum image to their
    first site, where that leaves no doubt.

    Args:
        topology: the sites.
        positions: (n_sites, 3) Å, wrapped or not.
        cell: (3, 3) Å, rows.

    Raises:
        DataError: a molecule bonded to its own image; without known bonds, one that reaches
            too far to be made whole.
    """
    if topology.has_bonds:
        return flags_along(positions, cell, topology.bonds, topology.tree)
    bonds = [np.zeros((0, 2), dtype=np.int64)]
    for kind, sites in zip(topology.species, topology.species_sites, strict=True):
        if kind.bonds is not None:
            places = np.array(kind.bonds, dtype=np.int64).reshape(-1, 2)
        else:
            places = np.array([(0, k) for k in range(1, kind.n_sites)], dtype=np.int64)
            _require_near(kind, sites, positions, cell)
        bonds.append(sites[:, places].reshape(-1, 2))
    return flags_along_bonds(positions, cell, np.concatenate(bonds))


def _require_near(kind: Species, sites: IntArray, positions: Array, cell: Array) -> None:
    """Refuse molecules (n, n_sites) that cannot be made whole without their bonds."""
    d = minimum_image(positions[sites] - positions[sites[:, :1]], cell)
    far = np.argwhere(np.abs(d @ np.linalg.inv(cell)).max(axis=2) > UNBONDED_FRACTION)
    if len(far):
        raise DataError(
            f"site {sites[tuple(far[0])]} lies about half the box from the first site of its "
            f"molecule, and the bonds of species {kind.describe()} are not known, so that the "
            "molecule cannot be made whole; use data that state the bonds"
        )


def whole_positions(topology: Topology, positions: Array, cell: Array) -> Array:
    """Positions (n_sites, 3), Å, of whole molecules; first sites stay where they are.

    Raises:
        DataError: see `image_flags`.
    """
    return positions + image_flags(topology, positions, cell) @ cell


def molecule_centres(topology: Topology, positions: Array, cell: Array) -> tuple[Array, Array]:
    """Mass centres of the molecules (n_molecules, 3), and sites made whole (n_sites, 3), Å.

    The row of a site's molecule is ``topology.molecule_index``; centres are not wrapped.

    Raises:
        DataError: see `image_flags`.
    """
    whole = whole_positions(topology, positions, cell)
    index, masses = topology.molecule_index, topology.masses
    total = np.bincount(index, weights=masses)
    sums = [np.bincount(index, weights=masses * whole[:, k]) for k in range(3)]
    return np.stack(sums, axis=1) / total[:, None], whole
