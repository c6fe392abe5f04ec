# SPDX-License-Identifier: GPL-2.0-or-later
"""Trimers A-B-A among monomers B with a known potential, all splines, sampled by LAMMPS.

The pair part acts on all pairs but the bonded ones, so on the two ends of a trimer too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgpot.core.records import TrainingRecord
from cgpot.core.units import KB
from cgpot.md.md_settings import MdConfig
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.potential.angles import AngleBasis
from cgpot.potential.bonds import BondBasis
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.term_basis import TermBasis
from cgpot.refine.potential_files import write_potential
from cgpot.training.linear.bonded_terms import BondedTerms
from cgpot.training.linear.mscg import MSCGPotential

TEMPERATURE = 300.0
KT = KB * TEMPERATURE
NAMES, MASSES = ("A", "B"), (40.0, 60.0)
R_MAX, INTERVALS = 8.0, 16
SIDE, SPACING, TRIMERS = 4, 6.2, 32
SPAN = (1.6, 3.8)
WELLS = {"A-A": 0.6, "A-B": 1.0, "B-B": 0.3}
"""Depths of the pair potentials, k_B T."""


def topology() -> Topology:
    """32 trimers and 32 monomers."""
    monomers = SIDE**3 - TRIMERS
    return Topology(
        NAMES,
        MASSES,
        np.concatenate([np.tile([0, 1, 0], TRIMERS), np.full(monomers, 1)]),
        np.concatenate([np.repeat(np.arange(TRIMERS), 3), TRIMERS + np.arange(monomers)]),
        species=(Species("TRI", ("A", "B", "A"), ((0, 1), (1, 2))), Species("MON", ("B",))),
        molecule_species=np.repeat([0, 1], [TRIMERS, monomers]),
    )


def lattice(seed: int = 5) -> CGFrame:
    """Molecules on a cubic lattice in all directions, some of them across the boundary."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    places = SPACING * grid[rng.permutation(len(grid))]
    sites = []
    for k, place in enumerate(places):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        shape = np.array([[2.3, 0.9, 0.0], [0.0, 0.0, 0.0], [-2.3, 0.9, 0.0]]) @ axes
        sites.append(place + (shape if k < TRIMERS else shape[1:2]))
    return CGFrame(topology(), np.concatenate(sites), np.eye(3) * SIDE * SPACING)


def fitted(part: TermBasis, u: Any, low: float, high: float) -> np.ndarray:
    """Coefficients of one kind whose spline is nearest to u(q)."""
    q = np.linspace(low, high, 400)
    return np.linalg.lstsq(part.splines(q)[0], u(q), rcond=None)[0]


def truth(
    stiffness: float = 150.0,
    bend: float = 12.0,
    depth: float = 1.0,
    excluded: tuple[int, ...] = (1,),
) -> MSCGPotential:
    """The potential.

    Args:
        stiffness: of bonds, k_B T/Å^2.
        bend: of angles, k_B T/rad^2.
        depth: of all wells, in those of `WELLS`.
        excluded: distances along bonds at which the pair part does not act.
    """
    system = topology()
    bonds = BondBasis(system, None, SPAN, 0.1, KT, bonds=system.bonds)
    bonds.springs = [(stiffness * KT, 2.5)]
    angles = AngleBasis(system, system.angles, 6.0, KT)
    angles.wells = [(bend * KT, np.cos(np.radians(130.0)))]
    terms = BondedTerms(bonds, angles, None, excluded)
    h = R_MAX / INTERVALS
    r = (np.arange(INTERVALS + 3) - 1) * h
    rows = []
    for well in WELLS.values():
        u = 30.0 * np.exp(-((r / 2.6) ** 2))
        u -= depth * well * np.exp(-(((r - 5.0) / 1.0) ** 2))
        u[-3:] = 0.0
        rows.append(KT * u)
    c = [
        np.concatenate(rows),
        fitted(bonds, lambda q: 0.5 * stiffness * KT * (q - 2.5) ** 2, *SPAN),
        fitted(angles, lambda q: 0.5 * bend * KT * (q - np.radians(130.0)) ** 2, 0.0, np.pi),
    ]
    pair = PairBasis(NAMES, R_MAX, h, TEMPERATURE, exclude=terms.exclusions())
    coefficients = np.concatenate(c)
    empty = np.zeros((0, len(coefficients)))
    info = {"fitted": len(coefficients)}
    return MSCGPotential(
        system, pair, bonds, None, coefficients, empty, info, angles, None, excluded
    )


def simulate(folder: Path, potential: MSCGPotential, length_ps: float, **changes: Any) -> Path:
    """Run the potential in LAMMPS; the trajectory."""
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "start.extxyz", [lattice()])
    settings: dict[str, Any] = {
        "start": folder / "start.extxyz",
        "pair_file": write_potential(folder, potential.table(), None, potential, TEMPERATURE),
        "temperature": TEMPERATURE,
        "length_ps": length_ps,
        "timestep_fs": 5.0,
        "tdamp_ps": 0.3,
        "thermo_ps": 0.25,
        "dump_ps": 0.25,
        "seed": 11,
    }
    run_md("nvt", MdConfig(**{**settings, **changes}), folder / "md", quiet=True)
    return folder / "md" / "traj.extxyz.xz"


def write_reference(folder: Path, length_ps: float = 150.0) -> Path:
    """A data set of the true fluid with exact forces and virials."""
    potential = truth()
    frames = []
    for frame in list(read_frames(simulate(folder, potential, length_ps)))[20:]:
        forces, virial, _ = potential.labels(replace(frame, topology=potential.topology))
        frames.append(replace(frame, topology=potential.topology, forces=forces, virial=virial))
    write_frames(folder / "reference.extxyz", frames)
    return folder / "reference.extxyz"


def write_start(folder: Path, potential: MSCGPotential) -> Path:
    """A training folder of an MS-CG potential, as far as it is read."""
    folder.mkdir(parents=True, exist_ok=True)
    potential.write(folder / "mscg.json")
    record = {
        "format": TrainingRecord.FORMAT,
        "kind": "mscg",
        "bead_names": list(NAMES),
        "masses": list(MASSES),
        "cutoff": R_MAX,
        "temperature": TEMPERATURE,
    }
    TrainingRecord.write(folder / "result.json", record)
    return folder


def write_config(path: Path, reference: Path, **changes: Any) -> Path:
    """refine.yaml of a short refinement of pairs and bonded terms."""
    record: dict[str, Any] = {
        "start": "zero",
        "reference": [str(reference)],
        "temperature": TEMPERATURE,
        "iterations": 4,
        "bonded": True,
        "step": {"max_kT": 3.0},
        "zero": {"cutoff": R_MAX, "spacing": R_MAX / INTERVALS},
        "md": {
            "length_ps": 40.0,
            "equilibration_ps": 3.0,
            "timestep_fs": 5.0,
            "sample_ps": 0.25,
            "tdamp_ps": 0.3,
        },
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    return path
