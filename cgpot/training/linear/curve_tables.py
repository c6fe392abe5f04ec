# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of a linear potential with error bars, as CSV."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.files import write_text
from cgpot.potential.bonds import BondBasis
from cgpot.potential.term_basis import TermBasis
from cgpot.training.linear.equations import jackknife_error
from cgpot.training.linear.mscg import MSCGPotential

Array = NDArray[np.float64]
STEP = 0.05
"""Å between the rows of a pair or bond."""
FILES = {"bond": "bond", "angle": "bend", "dihedral": "torsion"}
"""Beginning of a file's name by bonded part; that of the three-body part is ``angle``."""


def _csv(path: Path, head: str, columns: list[Array]) -> Path:
    lines = [head]
    lines += [",".join(f"{x:.9g}" for x in row) for row in zip(*columns, strict=True)]
    return write_text(path, "\n".join(lines) + "\n")


def _errors(samples: list[tuple[Array, Array]], like: Array) -> list[Array]:
    """Standard errors of both quantities; NaN where there are fewer than two samples."""
    if len(samples) < 2:
        return [np.full_like(like, np.nan)] * 2
    return [jackknife_error(np.stack(values)) for values in zip(*samples, strict=True)]


def write_curves(folder: Path, potential: MSCGPotential) -> list[Path]:
    """Tables of all parts, with jackknife errors.

    ``pair_A-B.csv``; ``bond_A-B.csv``, ``bend_A-B-C.csv`` and ``torsion_A-B-C-D.csv`` along the
    bonds; ``angle_A-B-C.csv`` of the three-body part.
    Columns: r (Å) or angle (degrees), u (eV), f = -u' (eV/Å, eV/radian), error of u, of f.
    Errors of bonded terms by Boltzmann inversion are not known (NaN).
    Forces are what the data determine; u of a pair is its integral from the cutoff, that of a
    bonded term is zero at its lowest point.
    """
    paths = []
    names = potential.topology.type_names
    head = "r_A,u_eV,f_eV_per_A,u_error_eV,f_error_eV_per_A"
    samples = list(potential.samples)
    tables = [potential.table(sample) for sample in samples]
    table = potential.table()
    r = np.arange(STEP, potential.pair.r_max + 1e-9, STEP)
    for a, b in combinations_with_replacement(range(len(names)), 2):
        u, f = table.energy(r, a, b), table.force(r, a, b)
        errors = _errors([(t.energy(r, a, b), t.force(r, a, b)) for t in tables], r)
        path = folder / f"pair_{names[a]}-{names[b]}.csv"
        paths.append(_csv(path, head, [r, u, f, *errors]))
    degrees = "angle_degrees,u_eV,f_eV_per_rad,u_error_eV,f_error_eV_per_rad"
    for name, part in potential.bonded.parts.items():
        if isinstance(part, BondBasis):
            q = shown = np.arange(part.low, part.high + 1e-9, 0.2 * STEP)
        else:
            shown = np.linspace(0.0 if name == "angle" else -180.0, 180.0, 361)
            q = np.radians(shown)
        for kind in range(part.n_kinds):

            def term(
                c: Array, part: TermBasis = part, kind: int = kind, q: Array = q
            ) -> tuple[Array, Array]:
                u, slope = part.evaluate(c, kind, q)
                return u - u.min(), -slope

            u, f = term(potential.part(name))
            known = (
                samples if part.kind_name(kind) not in potential.info.get("inverted", ()) else []
            )
            errors = _errors([term(potential.part(name, s)) for s in known], q)
            path = folder / f"{FILES[name]}_{part.kind_name(kind)}.csv"
            columns = head if name == "bond" else degrees
            paths.append(_csv(path, columns, [shown, u, f, *errors]))
    three = potential.three
    if three is not None:
        theta = np.linspace(0.0, np.pi, 181)
        for row in range(len(three.blocks)):

            def angle(c: Array, row: int = row, theta: Array = theta) -> tuple[Array, Array]:
                u, slope = three.function(c, row, theta)
                return u, -slope

            u, f = angle(potential.part("three"))
            errors = _errors([angle(potential.part("three", s)) for s in samples], theta)
            path = folder / f"angle_{three.block_name(row)}.csv"
            paths.append(_csv(path, degrees, [np.degrees(theta), u, f, *errors]))
    return paths
