# SPDX-License-Identifier: GPL-2.0-or-later
"""Bring the fluid of a UF3 student onto that of its teacher.

Small errors of the forces add up in a simulation: the student's own g(r) and pressure differ
from the teacher's.  The pair part is changed by the Newton steps of `cgpot.refine`, with the
teacher's runs as reference and its pressure imposed at every density.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgpot.core.errors import DataError
from cgpot.core.files import read_json, sha256_file, write_json
from cgpot.molecules.rdf import half_box
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_potential import UF3Potential
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.frame_counts import FrameTally, Grid
from cgpot.refine.judge import judge
from cgpot.refine.refine_settings import StepConfig, ToleranceConfig
from cgpot.refine.refine_target import BINS, Target, collect
from cgpot.refine.relative_entropy import State, largest_change, newton_step
from cgpot.refine.reweighting import Samples, weighted_averages

if TYPE_CHECKING:
    from cgpot.distill.distill_md import MdPlan, Run
    from cgpot.training.settings.train_settings import TrainConfig
    from cgpot.training.training_stage import Outcome

RDF_R_MAX = 15.0
LEAST_FRAMES = 20


def compared(
    table: PairTable, runs: Sequence[Run], reference: Sequence[Run], temperature: float
) -> list[State]:
    """Averages of the student and what the teacher has, for each density.

    Args:
        table: pair part of the student.
        runs: of the student.
        reference: of the teacher, at the same densities.
        temperature: K.

    Raises:
        DataError: too few frames, or a box narrower than twice the table's cutoff.
    """
    states = []
    for own, other in zip(runs, reference, strict=True):
        if min(len(own.frames), len(other.frames)) < LEAST_FRAMES:
            raise DataError(
                f"expected at least {LEAST_FRAMES} frames of student and teacher each, found "
                f"{len(own.frames)} and {len(other.frames)}; give longer runs"
            )
        limit = half_box(own.frames[0].cell)
        if table.r_max > limit:
            raise DataError(
                f"the pair part reaches {table.r_max} Å, half the box is {limit:.2f} Å; expected "
                "a larger box"
            )
        grid = Grid(min(RDF_R_MAX, limit), BINS)
        target = _target(other, grid)
        coefficients = table.coefficients.reshape(-1)
        samples = Samples(target.tally.counts(own.frames), own.pressures, coefficients)
        basis = CountsBasis(target.tally.pairs, table.r_max, table.intervals, grid)
        averages = weighted_averages(
            [samples], coefficients, basis, temperature=temperature, volume=target.volume
        )
        states.append((averages, target))
    return states


def _target(run: Run, grid: Grid) -> Target:
    """What the teacher has."""
    pressures = iter(run.pressures)
    return collect(
        ((0, frame) for frame in run.frames),
        len(run.frames),
        lambda topology: FrameTally(topology, grid),
        pressure_of=lambda frame: float(next(pressures)),
    )


def matched(potential: UF3Potential, states: Sequence[State]) -> UF3Potential:
    """The potential after one step.

    Args:
        potential: of the student.
        states: of `compared`.

    Raises:
        DataError: a singular step.
    """
    step = StepConfig()
    change = newton_step(
        states, value_kT=step.value_kT, curvature_kT=step.curvature_kT, match_pressure=True
    )
    change *= min(1.0, step.max_kT / max(largest_change(states, change), 1e-300))
    table = potential.pair
    coefficients = table.coefficients + change.reshape(table.coefficients.shape)
    return UF3Potential(
        PairTable(table.type_names, table.r_max, coefficients, table.info),
        potential.grid,
        potential.three,
        potential.info,
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
        DataError: too few frames, or too small a box (`compared`).
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
    states: list[State] = []
    for number in range(steps + 1):
        if number:
            potential = matched(potential, states)
        outcome = replace_potential(config, training, potential, {"step": number}, quiet=True)
        runs = md_runs(
            folder / f"md_match.{number}",
            plan,
            start,
            deployed_student(training, folder / f"match.{number}", plan.temperature),
            replace=replace,
            quiet=quiet,
        )
        states = compared(potential.pair, runs, reference, plan.temperature)
        judged = [judge(cg, target, ToleranceConfig()) for cg, target in states]
        tried.append(potential)
        history.append(
            {
                "step": number,
                "rdf_error": max(float(record["rdf_error"]) for record in judged),
                "pressure_difference_bar": [
                    record["pressure_bar"] - record["pressure_reference_bar"] for record in judged
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
