# SPDX-License-Identifier: GPL-2.0-or-later
"""Systems of molecules for the plugin, and their energies by brute force without its code."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plugin_models import (
    LJ_CUTOFF,
    LJ_EPSILON,
    LJ_SIGMA,
    MASSES,
    Configuration,
    frame,
    network,
    write_sidecar,
)
from plugin_support import Result, deck

from cgpot.molecules.exclusions import seen_mask

NKTV2P = 1.6021765e6
"""bar Å³ per eV, LAMMPS's units metal."""

BOND = 2.6
CHAIN = BOND * np.array([[0.0, 0, 0], [0.82, 0.57, 0], [1.64, 0, 0]])
TEMPLATES = [
    (CHAIN[:2], [(0, 1)]),
    (CHAIN, [(0, 1), (1, 2)]),
    # branched: 1-5 pairs at the long arm
    (
        np.vstack([CHAIN, BOND * np.array([[0.82, 1.57, 0], [0.82, 1.9, 0.94], [1.6, 1.5, 1.2]])]),
        [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)],
    ),
    # a ring: two ways between opposite sites
    (
        BOND * np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]),
        [(0, 1), (1, 2), (2, 3), (3, 0)],
    ),
]


@dataclass(frozen=True)
class Molecules:
    """Sites (from 0) with molecules (n,), from 0, and bonds (n_bonds, 2)."""

    sites: Configuration
    molecules: np.ndarray
    bonds: np.ndarray

    def distance(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Bonds between sites: 1 to 3, 4 for more of one molecule, 0 between molecules (Floyd)."""
        n = len(self.molecules)
        ways = np.where(self.molecules[:, None] == self.molecules[None], 4, 9)
        ways[self.bonds[:, 0], self.bonds[:, 1]] = ways[self.bonds[:, 1], self.bonds[:, 0]] = 1
        for k in range(n):
            ways = np.minimum(ways, ways[:, k, None] + ways[None, k])
        ways[np.arange(n), np.arange(n)] = 4
        return np.where(ways > 4, 0, ways)[i, j]

    def moved(self, positions: np.ndarray) -> Molecules:
        s = self.sites
        return Molecules(
            Configuration(s.cell, positions, s.types, s.ids), self.molecules, self.bonds
        )


def assemble(
    cell: np.ndarray, kinds: list[int], centres: np.ndarray, rng: np.random.Generator
) -> Molecules:
    """Molecules turned at random; centres (n, 3) as fractions of the cell."""
    positions, molecules, bonds = [], [], []
    count = 0
    for number, (kind, centre) in enumerate(zip(kinds, centres, strict=True)):
        sites, own = TEMPLATES[kind]
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        positions.append((sites - sites.mean(0)) @ turn + centre @ cell)
        molecules += [number] * len(sites)
        bonds += [(a + count, b + count) for a, b in own]
        count += len(sites)
    return Molecules(
        Configuration(
            cell,
            np.vstack(positions),
            rng.integers(0, 2, count),
            rng.permutation(count) + 1,
        ),
        np.array(molecules),
        np.array(bonds).reshape(-1, 2),
    )


def liquid(cell: np.ndarray, count: int, seed: int) -> Molecules:
    """A grid of count³ molecules of all kinds, on the boundaries of the cell too."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(count) / count] * 3), -1).reshape(-1, 3)
    return assemble(cell, [k % len(TEMPLATES) for k in range(count**3)], grid, rng)


SYSTEMS = {
    "box": liquid(np.diag([22.5, 21.9, 23.4]), 3, 31),
    "triclinic": liquid(np.array([[21.9, 0, 0], [3.0, 22.2, 0], [-2.0, 4.0, 21.6]]), 3, 32),
    # shorter than two cutoffs, molecules about as long as half of it: several images of all pairs
    "small": assemble(
        np.array([[7.9, 0, 0], [0.9, 8.1, 0], [0, -0.7, 9.0]]),
        [2, 0],
        np.array([[0.9, 0.1, 0.1], [0.4, 0.5, 0.6]]),
        np.random.default_rng(33),
    ),
}


def seen_edges(
    system: Molecules, pairs: str, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (n,), neighbour (n,) and vector (n, 3) of all pairs seen within the cutoff."""
    cell, x = system.sites.cell, system.sites.positions
    most = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int) + 1
    x = ((x @ np.linalg.inv(cell)) % 1.0) @ cell
    found = []
    for shift in itertools.product(*(range(-k, k + 1) for k in most)):
        vectors = x[None] - x[:, None] + np.array(shift) @ cell
        length = np.linalg.norm(vectors, axis=2)
        i, j = np.nonzero((length < cutoff) & (length > 0))
        found.append((i, j, vectors[i, j]))
    i, j, vectors = (np.concatenate(part) for part in zip(*found, strict=True))
    seen = seen_mask(pairs, system.distance(i, j), vectors, cell, np.ones(3, bool))
    return i[seen], j[seen], vectors[seen]


@dataclass(frozen=True)
class Reference:
    """Energy eV, forces (n, 3) eV/Å by id, W (3, 3) eV, and the number of edges."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    edges: int


def by_id(system: Molecules, values: np.ndarray) -> np.ndarray:
    rows = np.empty_like(values)
    rows[system.sites.ids - 1] = values
    return rows


def lennard_jones(system: Molecules, pairs: str) -> Reference:
    """The model of plugin_models.make_lj() in NumPy."""
    i, j, vectors = seen_edges(system, pairs, LJ_CUTOFF)
    t = system.sites.types
    r = np.linalg.norm(vectors, axis=1)
    s6 = (LJ_SIGMA[t[i], t[j]] / r) ** 6
    energy = 2.0 * LJ_EPSILON[t[i], t[j]] * (s6 * s6 - s6)
    slope = 2.0 * LJ_EPSILON[t[i], t[j]] * (6.0 * s6 - 12.0 * s6 * s6) / r
    gradient = (slope / r)[:, None] * vectors
    forces = np.zeros_like(system.sites.positions)
    np.add.at(forces, i, gradient)
    np.add.at(forces, j, -gradient)
    return Reference(
        float(energy.sum()),
        by_id(system, forces),
        -np.einsum("ea,eb->ab", vectors, gradient),
        len(i),
    )


def eager_network(system: Molecules, pairs: str) -> Reference:
    """The eager NequIP of plugin_models.network() with the edges that it sees."""
    import torch
    from nequip.utils.global_state import set_global_state

    set_global_state()
    data = frame(system.sites)
    shift = data["edge_cell_shift"].numpy() @ system.sites.cell
    i, j = data["edge_index"].numpy()
    x = data["pos"].numpy()
    vectors = x[j] - x[i] + shift
    seen = seen_mask(pairs, system.distance(i, j), vectors, system.sites.cell, np.ones(3, bool))
    keep = torch.tensor(seen)
    data["edge_index"] = data["edge_index"][:, keep]
    data["edge_cell_shift"] = data["edge_cell_shift"][keep]
    out = network(7, "float64")(data)
    return Reference(
        float(out["total_energy"].detach()),
        by_id(system, out["forces"].detach().numpy()),
        out["virial"].detach().numpy()[0],
        int(seen.sum()),
    )


def agree(found: Result, expected: Reference, system: Molecules, relative: float) -> None:
    """Energy, forces, per-atom energies and the virial of a run."""
    volume = np.linalg.det(system.sites.cell)
    w = expected.virial
    tensor = np.array([w[0, 0], w[1, 1], w[2, 2], *(0.5 * (w + w.T))[[0, 0, 1], [1, 2, 2]]])
    pressure = np.array([np.trace(w) / 3.0, *tensor]) / volume * NKTV2P

    def close(value: Any, reference: Any) -> None:
        scale = np.abs(reference).max()
        np.testing.assert_allclose(value, reference, rtol=0, atol=relative * scale)

    close(found.thermo[0], expected.energy)
    close(found.thermo[1:], pressure)
    close(found.atoms[:, 1:4], expected.forces)
    close(found.atoms[:, 4].sum(), expected.energy)
    close(-found.atoms[:, 5:8].sum() / 3.0 / volume, pressure[0])


def write_molecules(path: Path, system: Molecules) -> None:
    """A LAMMPS data file with molecules and bonds."""
    s = system.sites
    (a, _, _), (xy, b, _), (xz, yz, c) = s.cell.tolist()
    wrapped = ((s.positions @ np.linalg.inv(s.cell)) % 1.0) @ s.cell
    lines = ["test", "", f"{len(wrapped)} atoms", "2 atom types"]
    lines += [f"{len(system.bonds)} bonds", "1 bond types", ""]
    lines += [f"0 {a!r} xlo xhi", f"0 {b!r} ylo yhi", f"0 {c!r} zlo zhi"]
    if np.any([xy, xz, yz]):
        lines.append(f"{xy!r} {xz!r} {yz!r} xy xz yz")
    lines += ["", "Masses", "", *(f"{k + 1} {m}" for k, m in enumerate(MASSES)), "", "Atoms", ""]
    rows = zip(s.ids.tolist(), system.molecules.tolist(), s.types.tolist(), wrapped, strict=True)
    for i, m, t, x in rows:
        lines.append(f"{i} {m + 1} {t + 1} " + " ".join(map(repr, x.tolist())))
    if len(system.bonds):
        lines += ["", "Bonds", ""]
    for k, (p, q) in enumerate(s.ids[system.bonds].tolist()):
        lines.append(f"{k + 1} 1 {p} {q}")
    path.write_text("\n".join(lines) + "\n")


def seeing(model: Path, folder: Path, pairs: str, **changes: object) -> Path:
    """A model under another name, whose sidecar says which pairs it sees."""
    target = folder / f"{pairs}.nequip.pt2"
    if not target.exists():
        target.symlink_to(model)
    write_sidecar(folder / f"{pairs}.cgpot.json", pairs=pairs, **changes)
    return target


BEFORE = "special_bonds lj/coul 1 1 1\nbond_style zero"


def molecular_deck(
    data: Path,
    model: Path,
    words: str = "",
    *,
    newton: str = "on",
    style: str | None = None,
    **rest: Any,
) -> str:
    """The deck of plugin_support.deck() for molecules."""
    style = style or f"pair_style cgpot {words}\npair_coeff * * {model} AAA BBB"
    text = deck(data, model, before=BEFORE, style=f"{style}\nbond_coeff *", **rest)
    return text.replace("atom_style atomic", "atom_style molecular").replace(
        "newton on", f"newton {newton}"
    )
