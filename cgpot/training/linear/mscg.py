# SPDX-License-Identifier: GPL-2.0-or-later
"""MS-CG potentials: pair, bonded and three-body splines from one linear fit.

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

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import read_record, write_json
from cgpot.core.units import KB
from cgpot.molecules.compositions import catalogue, topologies_of
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.angles import AngleBasis
from cgpot.potential.basis import Basis, Joint
from cgpot.potential.bonds import BondBasis
from cgpot.potential.density_table import DensityTable
from cgpot.potential.dihedrals import DihedralBasis
from cgpot.potential.inversion import invert
from cgpot.potential.lammps_commands import LammpsParts
from cgpot.potential.local_density import (
    Exclude,
    LocalDensityBasis,
    sampled_spans,
    spread,
)
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.potential.surroundings import ring_kinds
from cgpot.potential.threebody import ThreeBodySW
from cgpot.training.folder.weights import frame_weights
from cgpot.training.linear.bonded_terms import BondedTerms, bonded_terms
from cgpot.training.linear.equations import NormalEquations
from cgpot.training.linear.pair_fit import N_BLOCKS
from cgpot.training.linear.solver import Options, Penalties
from cgpot.training.linear.sums import Sums
from cgpot.training.settings.model_settings import MSCGConfig

Array = NDArray[np.float64]
FORMAT = "cgpot-mscg-1"
STRENGTHS = tuple(10.0**k for k in range(-8, -1))
"""Strengths of the smoothness penalty that ``auto`` chooses from."""


@dataclass(frozen=True)
class MSCGPotential:
    """A fitted MS-CG potential.

    Attributes:
        topology: one molecule of each species that it was fitted to.
        pair: basis of the pair part; bonds, three, angles, dihedrals, density: of the others, or
            None.
        coefficients: (size,) eV, in the order of `joint`.
        samples: (blocks, size) without one block of frames each, for error bars; no rows where
            there was a single block.
        info: facts about the fit (plain data).
        excluded: distances along bonds at which the pair part does not act (`BondedTerms`).
    """

    topology: Topology
    pair: PairBasis
    bonds: BondBasis | None
    three: ThreeBodySW | None
    coefficients: Array
    samples: Array
    info: dict[str, Any]
    angles: AngleBasis | None = None
    dihedrals: DihedralBasis | None = None
    excluded: tuple[int, ...] = ()
    density: LocalDensityBasis | None = None

    @property
    def bonded(self) -> BondedTerms:
        """The terms along bonds."""
        return BondedTerms(self.bonds, self.angles, self.dihedrals, self.excluded)

    @property
    def joint(self) -> Joint:
        """All parts as one basis."""
        parts: dict[str, Basis] = {"pair": self.pair}
        if self.bonds is not None:
            parts["bond"] = self.bonds
        if self.three is not None:
            parts["three"] = self.three
        parts |= {name: part for name, part in self.bonded.parts.items() if name not in parts}
        if self.density is not None:
            parts["density"] = self.density
        return Joint(parts)

    def part(self, name: str, coefficients: Array | None = None) -> Array:
        """Coefficients of one part: pair, bond, three, angle, dihedral or density."""
        c = self.coefficients if coefficients is None else coefficients
        return self.joint.split(c)[name]

    def table(self, coefficients: Array | None = None) -> PairTable:
        """The pair part."""
        c = self.part("pair", coefficients).reshape(self.pair.pairs, self.pair.width)
        return PairTable(self.topology.type_names, self.pair.r_max, c, self.info)

    def with_pair(self, table: PairTable) -> MSCGPotential:
        """The bonded terms beside another pair part, and nothing else."""
        parts = self.joint.split(np.zeros(self.joint.size))
        parts |= {name: self.part(name) for name in self.bonded.parts}
        parts["pair"] = table.coefficients.ravel()
        c = np.concatenate([parts[name] for name in self.joint.parts])
        return replace(self, coefficients=c, samples=np.zeros((0, len(c))))

    def density_table(self) -> DensityTable | None:
        """The local-density part."""
        if self.density is None:
            return None
        return self.density.table(self.part("density"), {})

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.topology.type_names

    @property
    def cutoff(self) -> float:
        """The longest of the parts without bonds, Å."""
        others = [part.cutoff for part in (self.three, self.density) if part is not None]
        return max([self.pair.r_max, *others])

    def lammps_parts(self) -> LammpsParts:
        """All parts as LAMMPS's own tables."""
        return replace(
            self.bonded_parts(),
            pair=self.table(),
            three=None if self.three is None else (self.three, self.part("three")),
            density=self.density_table(),
            special=self.bonded.special() if self.bonded.parts else None,
        )

    def bonded_parts(self) -> LammpsParts:
        """The tables along bonds alone."""
        terms = {name: (part, self.part(name)) for name, part in self.bonded.parts.items()}
        return LammpsParts(terms=terms, bonded=self.bonded.deployed())

    def labels(self, frame: CGFrame) -> Labels:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV on a frame."""
        return self.joint.labels(self.coefficients, frame)

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        topology, three = self.topology, self.three
        record: dict[str, Any] = {
            "format": FORMAT,
            "type_names": list(topology.type_names),
            "type_masses": list(topology.type_masses),
            "r_max_A": self.pair.r_max,
            "intervals": self.pair.intervals,
            **self.bonded.record(),
            "three_body": None
            if three is None
            else {
                "cutoff_A": three.cutoff,
                "gamma_A": three.gamma,
                "intervals": three.intervals,
                "blocks": [three.block_name(k) for k in range(len(three.blocks))],
            },
            **self._density_record(),
            "coefficients_eV": {
                k: v.tolist() for k, v in self.joint.split(self.coefficients).items()
            },
            "jackknife_eV": self.samples.tolist(),
            "info": self.info,
        }
        return write_json(path, record)

    def _density_record(self) -> dict[str, Any]:
        table = self.density_table()
        if table is None:
            return {}
        record = {k: v for k, v in table.record().items() if k != "type_names"}
        return {"local_density": {**record, "linear": self.density and self.density.linear}}

    @classmethod
    def read(cls, path: str | Path) -> MSCGPotential:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or coefficients of the wrong number.
        """
        record = read_record(path, FORMAT, "an MS-CG potential")
        try:
            names = tuple(record["type_names"])
            triple = record["three_body"]
            topology, bonded = BondedTerms.read(record, names, tuple(record["type_masses"]))
            r_max = float(record["r_max_A"])
            pair = PairBasis(
                names, r_max, r_max / record["intervals"], 1.0, exclude=bonded.exclusions()
            )
            three = None
            if triple is not None:
                three = ThreeBodySW(
                    names, triple["cutoff_A"], triple["gamma_A"], triple["intervals"]
                )
            density, term = None, record.get("local_density")
            if term is not None:
                table = DensityTable.from_record({"type_names": list(names), **term}, path)
                density = LocalDensityBasis.of(
                    table, bonded.exclusions(), linear=bool(term["linear"])
                )
            parts = record["coefficients_eV"]
            c = np.concatenate([np.asarray(v, dtype=np.float64) for v in parts.values()])
            samples = np.asarray(record["jackknife_eV"], dtype=np.float64).reshape(-1, len(c))
            found = cls(
                topology,
                pair,
                bonded.bonds,
                three,
                c,
                samples,
                dict(record["info"]),
                bonded.angles,
                bonded.dihedrals,
                bonded.excluded,
                density,
            )
        except KeyError as err:
            raise InputError("the key is missing", file=path, key=str(err.args[0])) from err
        if found.joint.size != len(c):
            raise InputError(
                f"expected {found.joint.size} coefficients, found {len(c)}",
                file=path,
                key="coefficients_eV",
            )
        return found


def fit_mscg(
    model: MSCGConfig,
    frames: Sequence[CGFrame],
    temperature: float,
    *,
    weights: Sequence[float] | Array | None = None,
    bonded: BondedTerms | None = None,
    quiet: bool = False,
) -> tuple[MSCGPotential, PairTable]:
    """Fit an MS-CG potential, and the plain pair fit (forces alone) to compare it with.

    Args:
        model: section ``model`` of train.yaml.
        frames: with forces; virials where the model asks for them; energies are used where all
            frames have them.
        temperature: K, for the repulsive wall where no pair was seen.
        weights: of the frames (`cgpot.training.folder.weights.frame_weights`); None: their own.
        bonded: terms along bonds, instead of those that the model's sections name.
        quiet: no progress bar.

    Raises:
        ConfigError: bonded terms that the molecules do not have.
        DataError: no frames, too few pairs, labels missing or a singular system.
    """
    if not frames:
        raise DataError("no frames to fit")
    topology = catalogue(topologies_of(frames))
    if bonded is None:
        bonded = bonded_terms(model, frames, KB * temperature)
    pair = PairBasis(
        topology.type_names,
        model.cutoff,
        model.spacing,
        temperature,
        exclude=bonded.exclusions(),
    )
    three = None
    if model.three_body is not None:
        section = model.three_body
        three = ThreeBodySW(topology.type_names, section.cutoff, section.gamma, section.intervals)
    none = np.zeros(0)
    found = MSCGPotential(
        topology,
        pair,
        bonded.bonds,
        three,
        none,
        none,
        {},
        bonded.angles,
        bonded.dihedrals,
        bonded.excluded,
        _density(model, frames, bonded.exclusions()),
    )
    weights = frame_weights(frames) if weights is None else weights
    joint = found.joint
    equations = NormalEquations(joint.size)
    energies = model.energy != 0 and all(frame.energy is not None for frame in frames)
    equations.add_frames(
        joint,
        frames,
        weights,
        virials=True,
        energies=energies,
        blocks=N_BLOCKS,
        title="ms-cg fit",
        quiet=quiet,
    )
    penalties = Penalties.of(joint)
    for part in bonded.parts.values():
        part.freeze()
    options = Options(
        virial_weight=0.0 if model.virial is None else model.virial,
        energy_weight=model.energy if energies else 0.0,
        match_mean_virial=model.match_mean_virial,
        match_slope=model.match_slope,
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
        "bonds_excluded": 1 in bonded.excluded,
        "blocks": len(equations.filled()),
        **equations.quality(c),
    }
    if model.match_slope:
        info["pressure_slope"] = equations.pressure_slope(c, temperature)
    found = replace(found, coefficients=c, samples=samples, info=info)
    return found, _pair_alone(found, equations)


def with_inverted_bonds(potential: MSCGPotential, frames: Sequence[CGFrame]) -> MSCGPotential:
    """The potential with its bonded terms by Boltzmann inversion, the others as they are.

    Force matching of single coordinates misses what couples them: the angle of three-site hexane
    comes out with 0.29 of its distribution (README).  The other terms keep what the joint fit gave
    them, and their mean pull along the bonds is allowed for (`cgpot.potential.inversion`).
    Kinds with bonds in rings keep the fit's spline.  ``info["inverted"]`` names the others, whose
    samples are all alike: no error of theirs is known.

    Args:
        potential: of a joint fit.
        frames: of the fit.

    Raises:
        DataError: a kind of terms with too few samples.
    """
    terms = potential.bonded.parts
    if not terms:
        return potential
    others = Joint({k: part for k, part in potential.joint.parts.items() if k not in terms})
    rest = np.concatenate([potential.part(name) for name in others.parts])

    def around(frame: CGFrame) -> Array:
        return others.labels(rest, frame).forces

    parts = potential.joint.split(potential.coefficients)
    samples = potential.joint.split(potential.samples)
    inverted: list[str] = []
    for name, term in terms.items():
        parts[name] = invert(term, frames, around, keep=parts[name])
        free = ~ring_kinds(term)
        inverted += [term.kind_name(k) for k in range(term.n_kinds) if free[k]]
        samples[name] = np.where(np.repeat(free, term.width), parts[name], samples[name])
    names = list(potential.joint.parts)
    return replace(
        potential,
        coefficients=np.concatenate([parts[name] for name in names]),
        samples=np.concatenate([samples[name] for name in names], axis=-1),
        info={**potential.info, "inverted": inverted},
    )


def _density(
    model: MSCGConfig, frames: Sequence[CGFrame], exclude: Exclude | None
) -> LocalDensityBasis | None:
    """The basis of the section ``local_density``, with LAMMPS's own indicator."""
    section = model.local_density
    if section is None:
        return None
    topology = frames[0].topology
    weights = section.weights(topology)
    if len(set(weights)) > 1:
        raise ConfigError(
            "LAMMPS's local/density counts every neighbour alike; expected 'count' where bead "
            f"types differ in mass, found {section.weight!r}",
            key="model.local_density.weight",
        )
    spans = sampled_spans(spread(frames), section.cutoff, "lammps", weights, exclude)
    return LocalDensityBasis(
        topology.type_names,
        section.cutoff,
        spans,
        section.knots,
        exclude=exclude,
        kind="lammps",
        weights=weights,
    )


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


def _pair_alone(found: MSCGPotential, equations: NormalEquations) -> PairTable:
    """The pair spline by force matching alone, beside the bonded terms, from the same sums."""
    pair, joint, total = found.pair, found.joint, equations.total()
    columns = joint.columns["pair"]
    bonded = np.zeros(joint.size)
    for name in found.bonded.parts:
        bonded[joint.columns[name]] = found.part(name)
    part = Sums(pair.size)
    part.force_matrix = total.force_matrix[columns, columns]
    part.force_vector = total.force_vector[columns] - total.force_matrix[columns] @ bonded
    part.force_square = total.force_square + float(
        bonded @ total.force_matrix @ bonded - 2.0 * bonded @ total.force_vector
    )
    part.force_rows = total.force_rows
    part.frames, part.weight = total.frames, total.weight
    small = NormalEquations(pair.size)
    small.blocks = [part]
    c = small.solve(Penalties.of(pair), Options(smooth=1e-6))
    info = small.quality(c)
    return PairTable(pair.type_names, pair.r_max, c.reshape(pair.pairs, pair.width), info)
