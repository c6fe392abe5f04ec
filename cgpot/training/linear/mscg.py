# SPDX-License-Identifier: GPL-2.0-or-later
"""MS-CG potentials: pair splines, bond splines and three-body terms from one linear fit.

Noid et al., J. Chem. Phys. 128, 244115 (2008); three-body terms: Larini, Lu & Voth, J. Chem.
Phys. 132, 164107 (2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import read_json, write_json
from cgpot.core.frame import BeadTopology, CGFrame
from cgpot.core.progress import progress
from cgpot.core.splines import PairTable
from cgpot.core.units import KB
from cgpot.training.linear.basis import Basis, Joint
from cgpot.training.linear.bonded import BondBasis, bond_list, bond_vectors
from cgpot.training.linear.equations import NormalEquations, Options, Penalties, Sums
from cgpot.training.linear.pair import PairBasis
from cgpot.training.linear.threebody import ThreeBodySW
from cgpot.training.model_config import MSCGConfig
from cgpot.training.pairfit import N_BLOCKS

Array = NDArray[np.float64]
FORMAT = "cgpot-mscg-1"
STRENGTHS = tuple(10.0**k for k in range(-8, -1))
"""Strengths of the smoothness penalty that ``auto`` chooses from."""
BOND_MARGIN = 0.3
"""Å of bond length beyond the sampled ones that the bond splines cover."""


@dataclass(frozen=True)
class MSCGPotential:
    """A fitted MS-CG potential.

    Attributes:
        topology: the sites that it was fitted to.
        pair: basis of the pair part; bonds, three: of the others, or None.
        coefficients: (size,) eV, in the order of `joint`.
        samples: (blocks, size) without one block of frames each, for error bars; no rows where
            there was a single block.
        info: facts about the fit (plain data).
    """

    topology: BeadTopology
    pair: PairBasis
    bonds: BondBasis | None
    three: ThreeBodySW | None
    coefficients: Array
    samples: Array
    info: dict[str, Any]

    @property
    def joint(self) -> Joint:
        """All parts as one basis."""
        parts: dict[str, Basis] = {"pair": self.pair}
        if self.bonds is not None:
            parts["bond"] = self.bonds
        if self.three is not None:
            parts["three"] = self.three
        return Joint(parts)

    def part(self, name: str, coefficients: Array | None = None) -> Array:
        """Coefficients of one part: pair, bond or three."""
        c = self.coefficients if coefficients is None else coefficients
        return self.joint.split(c)[name]

    def table(self, coefficients: Array | None = None) -> PairTable:
        """The pair part."""
        c = self.part("pair", coefficients).reshape(self.pair.pairs, self.pair.width)
        return PairTable(self.topology.type_names, self.pair.r_max, c, self.info)

    def labels(self, frame: CGFrame) -> tuple[Array, Array, float]:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV on a frame."""
        rows = self.joint.rows(frame, energy=True)
        c = self.coefficients
        assert rows.energy is not None
        return (rows.forces @ c).reshape(-1, 3), rows.virial @ c, float(rows.energy @ c)

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        topology, bonds, three = self.topology, self.bonds, self.three
        record: dict[str, Any] = {
            "format": FORMAT,
            "type_names": list(topology.type_names),
            "type_masses": list(topology.type_masses),
            "r_max_A": self.pair.r_max,
            "intervals": self.pair.intervals,
            "bonds": None
            if bonds is None
            else {
                "types": [bonds.kind_name(k).split("-") for k in range(len(bonds.kinds))],
                "span_A": [bonds.low, bonds.high],
                "intervals": bonds.intervals,
                "springs": [list(bonds.spring(k)) for k in range(len(bonds.kinds))],
                "kT_eV": bonds.kt,
                "exclude": self.info["bonds_excluded"],
                "site_types": topology.types.tolist(),
                "site_molecules": topology.molecules.tolist(),
            },
            "three_body": None
            if three is None
            else {
                "cutoff_A": three.cutoff,
                "gamma_A": three.gamma,
                "intervals": three.intervals,
                "blocks": [three.block_name(k) for k in range(len(three.blocks))],
            },
            "coefficients_eV": {
                k: v.tolist() for k, v in self.joint.split(self.coefficients).items()
            },
            "jackknife_eV": self.samples.tolist(),
            "info": self.info,
        }
        return write_json(path, record)

    @classmethod
    def read(cls, path: str | Path) -> MSCGPotential:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or coefficients of the wrong number.
        """
        record = read_json(path)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InputError(f"expected an MS-CG potential of format {FORMAT!r}", file=path)
        try:
            names = tuple(record["type_names"])
            bonded, triple = record["bonds"], record["three_body"]
            sites = (
                (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
                if bonded is None
                else (np.asarray(bonded["site_types"]), np.asarray(bonded["site_molecules"]))
            )
            topology = BeadTopology(names, tuple(record["type_masses"]), *sites)
            bonds = None
            if bonded is not None:
                span = (float(bonded["span_A"][0]), float(bonded["span_A"][1]))
                spacing = (span[1] - span[0]) / bonded["intervals"]
                types = [(str(a), str(b)) for a, b in bonded["types"]]
                bonds = BondBasis(topology, types, span, spacing, bonded["kT_eV"])
                bonds.springs = [(float(k), float(r)) for k, r in bonded["springs"]]
            exclude = bonds.is_bonded if bonds is not None and bonded["exclude"] else None
            r_max = float(record["r_max_A"])
            pair = PairBasis(names, r_max, r_max / record["intervals"], 1.0, exclude=exclude)
            three = None
            if triple is not None:
                three = ThreeBodySW(
                    names, triple["cutoff_A"], triple["gamma_A"], triple["intervals"]
                )
            parts = record["coefficients_eV"]
            c = np.concatenate([np.asarray(v, dtype=np.float64) for v in parts.values()])
            samples = np.asarray(record["jackknife_eV"], dtype=np.float64).reshape(-1, len(c))
            found = cls(topology, pair, bonds, three, c, samples, dict(record["info"]))
        except KeyError as err:
            raise InputError("the key is missing", file=path, key=str(err.args[0])) from err
        if found.joint.size != len(c):
            raise InputError(
                f"expected {found.joint.size} coefficients, found {len(c)}",
                file=path,
                key="coefficients_eV",
            )
        return found


def _bases(
    model: MSCGConfig, frames: Sequence[CGFrame], temperature: float
) -> tuple[PairBasis, BondBasis | None, ThreeBodySW | None]:
    topology = frames[0].topology
    names = topology.type_names
    bonds = None
    if model.bonds is not None:
        sites, _ = bond_list(topology, model.bonds.types)
        lengths = [bond_vectors(frame, sites)[1] for frame in frames]
        low = min(float(x.min()) for x in lengths) - BOND_MARGIN
        high = max(float(x.max()) for x in lengths) + BOND_MARGIN
        span = (max(low, 0.0), high)
        bonds = BondBasis(topology, model.bonds.types, span, model.bonds.spacing, KB * temperature)
    exclude = bonds.is_bonded if bonds is not None and model.bonds and model.bonds.exclude else None
    pair = PairBasis(names, model.cutoff, model.spacing, temperature, exclude=exclude)
    three = None
    if model.three_body is not None:
        section = model.three_body
        three = ThreeBodySW(names, section.cutoff, section.gamma, section.intervals)
    return pair, bonds, three


def fit_mscg(
    model: MSCGConfig, frames: Sequence[CGFrame], temperature: float, *, quiet: bool = False
) -> tuple[MSCGPotential, PairTable]:
    """Fit an MS-CG potential, and the plain pair fit (forces alone) to compare it with.

    Args:
        model: section ``model`` of train.yaml.
        frames: with forces; virials where the model asks for them; energies are used where all
            frames have them.
        temperature: K, for the repulsive wall where no pair was seen.
        quiet: no progress bar.

    Raises:
        ConfigError: bonds that the molecules do not have.
        DataError: no frames, too few pairs, labels missing or a singular system.
    """
    if not frames:
        raise DataError("no frames to fit")
    pair, bonds, three = _bases(model, frames, temperature)
    excluded = model.bonds is not None and model.bonds.exclude
    found = MSCGPotential(frames[0].topology, pair, bonds, three, np.zeros(0), np.zeros(0), {})
    joint = found.joint
    equations = NormalEquations(joint.size)
    energies = model.energy != 0 and all(frame.energy is not None for frame in frames)
    with progress("ms-cg fit", len(frames), quiet=quiet) as advance:
        for number, frame in enumerate(frames):
            equations.add(
                joint.rows(frame, energy=energies),
                frame.forces,
                volume=frame.volume,
                virial=frame.virial,
                energy=frame.energy if energies else None,
                weight=frame.weight,
                block=number * N_BLOCKS // len(frames),
            )
            advance(1)
    penalties = Penalties.of(joint)
    options = Options(
        virial_weight=0.0 if model.virial is None else model.virial,
        energy_weight=model.energy if energies else 0.0,
        match_mean_virial=model.match_mean_virial,
        smooth=0.0 if model.smooth == "auto" else model.smooth,
        ridge=model.ridge,
    )
    scores: dict[str, float] = {}
    if model.smooth == "auto":
        options, scores = _smoothest(equations, penalties, options)
    c = equations.solve(penalties, options)
    several = len(equations.filled()) > 1
    samples = (
        equations.jackknife(lambda k: equations.solve(penalties, options, leave_out=k))
        if several
        else np.zeros((0, joint.size))
    )
    info = {
        "wall": {pair.pair_name(row): pair.wall(row).as_dict() for row in range(pair.pairs)},
        "fitted": int(penalties.free.sum()),
        "smooth": options.smooth,
        "cross_validation_force_rmse": scores or None,
        "energy_rows": energies,
        "bonds_excluded": excluded,
        "blocks": len(equations.filled()),
        **equations.quality(c),
    }
    found = replace(found, coefficients=c, samples=samples, info=info)
    return found, _pair_alone(pair, equations, joint.columns["pair"])


def _smoothest(
    equations: NormalEquations, penalties: Penalties, options: Options
) -> tuple[Options, dict[str, float]]:
    """The strength of the smoothness penalty that predicts left-out blocks best."""
    scores = {}
    for strength in STRENGTHS:
        trial = replace(options, smooth=strength)
        scores[f"{strength:.0e}"] = equations.cross_validation(
            lambda k, trial=trial: equations.solve(penalties, trial, leave_out=k)  # type: ignore[misc]
        )
    best = min(STRENGTHS, key=lambda strength: scores[f"{strength:.0e}"])
    return replace(options, smooth=best), scores


def _pair_alone(pair: PairBasis, equations: NormalEquations, columns: slice) -> PairTable:
    """The pair spline by force matching alone, from the same sums."""
    total = equations.total()
    part = Sums(pair.size)
    part.force_matrix = total.force_matrix[columns, columns]
    part.force_vector = total.force_vector[columns]
    part.force_square, part.force_rows = total.force_square, total.force_rows
    part.frames, part.weight = total.frames, total.weight
    small = NormalEquations(pair.size)
    small.blocks = [part]
    c = small.solve(Penalties.of(pair), Options(smooth=1e-6))
    info = small.quality(c)
    return PairTable(pair.type_names, pair.r_max, c.reshape(pair.pairs, pair.width), info)
