# SPDX-License-Identifier: GPL-2.0-or-later
"""Bring the fluid of a UF3 student onto that of its teacher.

Small errors of the forces add up in a simulation: the student's own g(r) and pressure differ
from the teacher's.  The pair part is changed by Newton steps on the relative entropy between
the two fluids (Shell, J. Chem. Phys. 129, 144108 (2008); Chaimovich & Shell, J. Chem. Phys.
134, 094112 (2011)), which for splines match the mean number of pairs under each spline, with
the pressure of the teacher imposed by linear response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.files import read_json, sha256_file, write_json
from cgpot.core.units import EV_PER_A3_IN_BAR, KB
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.rdf import RDFAccumulator, half_box, rdf_error
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.splines import ZERO_AT_CUTOFF, PairTable
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.training.linear.solver import constrained_solve

if TYPE_CHECKING:
    from cgpot.distill.distill_md import MdPlan, Run
    from cgpot.training.settings.train_settings import TrainConfig
    from cgpot.training.training_stage import Outcome

Array = NDArray[np.float64]
RDF_BINS = 300
RDF_R_MAX = 15.0
SMOOTH = 1e-3
"""Penalty on second differences of the change, relative to the mean diagonal of the covariance."""
LEAST_FRAMES = 20
RESPONSE_FRAMES = 150
"""At most so many frames for the response of the pressure, which takes the three-body rows."""


@dataclass(frozen=True)
class Fluids:
    """The fluids of student and teacher at one density.

    Attributes:
        student: frames of the student's run.
        teacher: frames of the teacher's run.
        student_pressure: mean configurational pressure, bar.
        teacher_pressure: the same of the teacher.
    """

    student: Sequence[CGFrame]
    teacher: Sequence[CGFrame]
    student_pressure: float
    teacher_pressure: float


def matched(
    potential: UF3Potential, fluids: Sequence[Fluids], temperature: float, damping: float = 1.0
) -> UF3Potential:
    """The potential after one step.

    Args:
        potential: of the student.
        fluids: one entry for each density.
        temperature: K, of the runs.
        damping: part of the step that is taken.

    Raises:
        DataError: too few frames for the covariance of the splines.
    """
    table = potential.pair
    basis = PairBasis(table.type_names, table.r_max, table.spacing, temperature)
    beta = 1.0 / (KB * temperature)
    hessian = np.zeros((basis.size, basis.size))
    gradient = np.zeros(basis.size)
    rows, values = [], []
    seen = np.zeros(basis.size)
    for fluid in fluids:
        if min(len(fluid.student), len(fluid.teacher)) < LEAST_FRAMES:
            raise DataError(
                f"expected at least {LEAST_FRAMES} frames of student and teacher each, found "
                f"{len(fluid.student)} and {len(fluid.teacher)}; give longer runs"
            )
        counts, virials = _sample(basis, fluid.student)
        target, _ = _sample(basis, fluid.teacher)
        mean = counts.mean(axis=0)
        deviation = counts - mean
        hessian += beta * deviation.T @ deviation / len(counts)
        gradient += mean - target.mean(axis=0)
        seen += np.minimum(mean, target.mean(axis=0))
        # d<tr W/3V>/dc_k = <tr W_k/3V> - beta cov(tr W/3V, B_k)
        some = np.unique(np.linspace(0, len(counts) - 1, RESPONSE_FRAMES).astype(int))
        own = _virials(potential, [fluid.student[k] for k in some])
        response = virials.mean(axis=0) - beta * (own - own.mean()) @ deviation[some] / len(some)
        rows.append(response * EV_PER_A3_IN_BAR)
        values.append(fluid.teacher_pressure - fluid.student_pressure)
    free = basis.free() & (seen > 0.02 * seen.max() / basis.width)
    roughness = basis.roughness()
    scale = np.trace(hessian) / max(int(free.sum()), 1)
    hessian += SMOOTH * scale * roughness
    chosen = np.flatnonzero(free)
    change = np.zeros(basis.size)
    change[chosen] = constrained_solve(
        hessian[np.ix_(chosen, chosen)],
        gradient[chosen],
        np.stack(rows)[:, chosen],
        np.array(values),
        [basis.names[k] for k in chosen],
    )
    change = _extended(change.reshape(basis.pairs, basis.width), free.reshape(basis.pairs, -1))
    coefficients = table.coefficients + damping * change
    return UF3Potential(
        PairTable(table.type_names, table.r_max, coefficients, table.info),
        potential.grid,
        potential.three,
        potential.info,
    )


def _extended(change: Array, free: NDArray[np.bool_]) -> Array:
    """The first fitted change of each pair, carried on into the core, where no pair is."""
    for row, mask in zip(change, free, strict=True):
        inside = mask[: len(mask) - ZERO_AT_CUTOFF]
        if inside.any():
            first = int(np.argmax(inside))
            row[:first] = row[first]
    return change


def _sample(basis: PairBasis, frames: Sequence[CGFrame]) -> tuple[Array, Array]:
    """Per frame: the splines' sums, and their tr W/3V, Å^-3."""
    counts, virials = [], []
    for frame in frames:
        rows = basis.rows(frame, energy=True)
        assert rows.energy is not None
        counts.append(rows.energy)
        virials.append(np.einsum("iik->k", rows.virial) / (3.0 * frame.volume))
    return np.stack(counts), np.stack(virials)


def _virials(potential: UF3Potential, frames: Sequence[CGFrame]) -> Array:
    """tr W/3V of the potential on each frame, eV/Å^3."""
    return np.array(
        [np.trace(potential.labels(frame)[1]) / (3.0 * frame.volume) for frame in frames]
    )


def match_fluids(
    config: TrainConfig,
    training: Path,
    outcome: Outcome,
    folder: Path,
    plan: MdPlan,
    start: Path,
    reference: Sequence[Run],
    steps: int,
    *,
    replace: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Run, compare, change, and again; the best of all potentials goes into the folder.

    Args:
        config: of the student.
        training: its training folder.
        outcome: of its training.
        folder: for the runs and match.json.
        plan: of the runs.
        start: data set whose first frame is the start.
        reference: runs of the teacher, one for each density.
        steps: changes of the pair part.
        replace: start runs anew that belong to another student.
        quiet: no progress bars.

    Raises:
        DataError: too few frames (`matched`).
    """
    from cgpot.distill.distill_md import deployed_student, md_runs
    from cgpot.training.linear.uf3_stage import POTENTIAL, replace_potential
    from cgpot.training.training_stage import Outcome

    record = folder / "match.json"
    fitted = folder / "uf3.fitted.json"
    if record.is_file() and outcome.skipped:
        before = read_json(record)
        if before["steps"] == steps and before["final"] == sha256_file(training / POTENTIAL):
            return outcome
    if "matching" not in outcome.result:
        UF3Potential.read(training / POTENTIAL).write(fitted)
    potential = UF3Potential.read(fitted)
    history: list[dict[str, Any]] = []
    tried: list[UF3Potential] = []
    fluids: list[Fluids] = []
    for number in range(steps + 1):
        if number:
            potential = matched(potential, fluids, plan.temperature)
        outcome = replace_potential(config, training, potential, {"step": number}, quiet=True)
        runs = md_runs(
            folder / f"md_match.{number}",
            plan,
            start,
            deployed_student(training, folder / f"match.{number}", plan.temperature),
            replace=replace,
            quiet=quiet,
        )
        fluids = [
            Fluids(own.frames, other.frames, own.pressure, other.pressure)
            for own, other in zip(runs, reference, strict=True)
        ]
        tried.append(potential)
        history.append(
            {
                "step": number,
                "rdf_error": max(_difference(fluid) for fluid in fluids),
                "pressure_difference_bar": [
                    fluid.student_pressure - fluid.teacher_pressure for fluid in fluids
                ],
            }
        )
    best = min(history, key=_badness)
    facts = {"chosen": best["step"], "history": history}
    outcome = replace_potential(config, training, tried[best["step"]], facts, quiet=quiet)
    write_json(record, {"steps": steps, "final": sha256_file(training / POTENTIAL), **facts})
    return Outcome(training, outcome.result)


def _badness(entry: dict[str, Any]) -> float:
    """Of a step: the error of g(r) in units of 0.01 and of the pressure in units of 50 bar."""
    pressure = max(abs(value) for value in entry["pressure_difference_bar"])
    return float(max(entry["rdf_error"] / 0.01, pressure / 50.0))


def _difference(fluid: Fluids) -> float:
    """Integrated |difference| of the two g(r), relative to that of the teacher."""
    curves = []
    for frames in (fluid.teacher, fluid.student):
        accumulator = RDFAccumulator(min(RDF_R_MAX, half_box(frames[0].cell) - 1e-6), RDF_BINS)
        for frame in frames:
            accumulator.add(frame)
        curves.append(accumulator.result().g)
    return rdf_error(curves[1], curves[0])
