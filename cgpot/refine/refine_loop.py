# SPDX-License-Identifier: GPL-2.0-or-later
"""The refinement loop: sample, average, step; an iteration is a folder, a killed run goes on."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import CgpotError, DataError, InputError, ToolError
from cgpot.core.files import read_json, require_file, sha256_file, write_json
from cgpot.md.start import read_start
from cgpot.potential.refined import refined_model
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.inverse_boltzmann import inversion_step
from cgpot.refine.judge import coarse_g, distributions, judge
from cgpot.refine.loop_state import Loop
from cgpot.refine.potential_files import write_potential
from cgpot.refine.pressure_correction import linear_correction, predicted
from cgpot.refine.refine_results import finish
from cgpot.refine.refine_settings import RefineConfig
from cgpot.refine.refine_start import (
    Start,
    compiled_model,
    from_zero,
    refined_functions,
    resolve,
)
from cgpot.refine.refine_target import Target, check_configuration, read_target
from cgpot.refine.relative_entropy import largest_change, newton_step
from cgpot.refine.reweighting import Samples, WeightedAverages, weighted_averages
from cgpot.refine.sampling import is_blow_up, sample, set_aside

Array = NDArray[np.float64]
FORMAT = "cgpot-refine-1"
HISTORY = "history.json"
POTENTIALS = ("model.ckpt", "bonded.json", "mscg.json", "pair.json")
"""Files of a training folder that say what is refined."""
IDENTITY_LEAVES_OUT = {
    "iterations",
    "tolerance",
    "threads",
    "deploy",
    "deployed",
    "test",
    "charges",
}


@dataclass
class Refinement:
    """What a call did.

    Attributes:
        folder: output folder.
        history: content of history.json.
        skipped: everything was there already.
    """

    folder: Path
    history: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False


def refine(
    config: RefineConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> Refinement:
    """Refine a potential, or go on where an interrupted refinement stopped.

    Args:
        config: from `cgpot.refine.refine_settings.load_config`.
        output: folder for all files.
        restart: remove what another refinement left in the folder.
        quiet: no progress bars.

    Raises:
        ConfigError: charged beads, or names of pairs or bonded terms that there are not.
        InputError: start and reference do not fit, or a folder of another refinement.
        DataError: a reference without virial whose pressure is to be matched.
        ToolError: the fluid blew up however short the step.
    """
    folder = Path(output).resolve()
    for path in config.reference:
        require_file(path, "reference")
    start = resolve(config)
    identity = _identity(config)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, identity, restart)
    target = read_target(
        config.reference,
        tally_of=lambda topology, grid: start.tally(config, topology, grid),
        temperature=config.temperature,
        pressure=config.pressure,
        density=config.density_kg_m3,
        cutoff=start.r_max,
        quiet=quiet,
    )
    tally = target.tally
    basis = CountsBasis(
        tally.pairs,
        start.r_max,
        start.intervals,
        tally.grid,
        tally.within,
        tally.terms,
        refined_functions(config, tally),
    )
    model = None
    if start.kind == "network":
        model = compiled_model(config, start, folder / "start", quiet=quiet)
        _check_model(model, target, config)
    start.table = start.table or from_zero(config, target, start)
    initial = _initial(start, basis)
    loop = Loop(config, folder, start, target, basis, initial, model, quiet)
    write_json(folder / "inputs.json", identity)
    done = _iterate(loop)
    return Refinement(folder, finish(loop, *done))


def _initial(start: Start, basis: CountsBasis) -> Array:
    """Coefficients (size,) of the start: those of the pair part beside a network are zero."""
    assert start.table is not None
    flat = np.zeros(basis.size)
    if start.kind != "network":
        flat[: basis.pairs * basis.width] = start.table.coefficients.reshape(-1)
    for rows, block in zip(basis.terms, basis.term_blocks, strict=True):
        assert start.linear is not None
        flat[block.columns] = start.linear.part(rows.name)
    return flat


def _check_model(model: Path, target: Target, config: RefineConfig) -> None:
    from cgpot.md.start import check_model

    check_model(model, target.topology, config.reference[0])


def _identity(config: RefineConfig) -> dict[str, Any]:
    """What decides the iterations: settings and the content of the files."""
    record: dict[str, Any] = json.loads(config.model_dump_json(exclude=IDENTITY_LEAVES_OUT))
    record["reference"] = [sha256_file(path) for path in config.reference]
    if config.configuration is not None:
        record["configuration"] = sha256_file(config.configuration)
    if config.start != "zero":
        path = refined_model(config.start)
        found = [path / n for n in POTENTIALS if (path / n).is_file()]
        record["start"] = [sha256_file(file) for file in found] or (
            sha256_file(path) if path.is_file() else str(path)
        )
    return record


def _claim(folder: Path, identity: dict[str, Any], restart: bool) -> None:
    """Make sure that the folder is that of this refinement, or empty it.

    Raises:
        InputError: iterations of another refinement stand there.
    """
    path = folder / "inputs.json"
    if not path.is_file():
        return
    before = read_json(path)
    other = next((k for k, v in identity.items() if before.get(k) != v), None)
    if other is None:
        return
    if not restart:
        raise InputError(
            f"the folder holds a refinement with another '{other}'; give another folder, or "
            "--restart to replace it",
            file=folder,
            key=other,
        )
    for old in [*folder.glob("iter.*"), folder / "start", folder / "model", folder / "deploy"]:
        shutil.rmtree(old, ignore_errors=True)
    path.unlink()


def _iterate(loop: Loop) -> tuple[list[dict[str, Any]], list[Samples]]:
    """All iterations: their records and samples."""
    config = loop.config
    records: list[dict[str, Any]] = []
    runs: list[Samples] = []
    coefficients = loop.initial.copy()
    configuration = config.configuration or _first_frame(loop)
    check_configuration(read_start(configuration), loop.target, configuration)
    step = np.zeros_like(coefficients)
    for number in range(config.iterations):
        where = loop.iteration(number)
        done = where / "result.json"
        if done.is_file() and (where / "samples.npz").is_file():
            record = read_json(done)
            runs.append(Samples.read(where / "samples.npz"))
            coefficients = runs[-1].coefficients
        else:
            began = time.monotonic()
            samples, record = _sampled(loop, number, coefficients, step, configuration)
            runs.append(samples)
            coefficients = samples.coefficients
            now = _average(loop, runs)
            record = {**record, **judge(now, loop.target, config.tolerance)}
            alone = _average(loop, runs[-1:])
            record["run_alone"] = {
                key: value
                for key, value in judge(alone, loop.target, config.tolerance).items()
                if key not in ("pairs", "terms")
            }
            record["g"] = coarse_g(alone, loop.target).round(6).tolist()
            record["distributions"] = distributions(loop.target.tally, alone.counts)
            record["seconds"] = round(time.monotonic() - began, 2)
            write_json(done, record)
        # the tolerances may have changed since
        now = _average(loop, runs)
        record.update(judge(now, loop.target, config.tolerance))
        records.append(record)
        _tell(loop, record)
        if record["within"] or number == config.iterations - 1:
            break
        step, facts = next_step(loop, now)
        record["next_step"] = facts
        if (where / "md" / "run.final.data").is_file():
            configuration = where / "md" / "run.final.data"
        coefficients = coefficients + step
    return records, runs


def _sampled(
    loop: Loop, number: int, coefficients: Array, step: Array, configuration: Path
) -> tuple[Samples, dict[str, Any]]:
    """Run an iteration; after a failure halve the step that led to it.

    Raises:
        ToolError: no step was short enough.
    """
    where = loop.iteration(number)
    where.mkdir(exist_ok=True)
    state = where / "state.json"
    halvings = int(read_json(state)["halvings"]) if state.is_file() else 0
    while True:
        # halved n times, the step is 2^-n of what it was: take the rest back
        present = coefficients - step * (1.0 - 0.5**halvings)
        present = _begun(where, halvings, present)
        table = loop.table(present, {"halvings": halvings})
        table.write(where / "potential.json")
        write_json(where / "coefficients.json", {"halvings": halvings, "eV": present.tolist()})
        linear, temperature = loop.linear(present), loop.config.temperature
        pair_file = write_potential(where, table, loop.model, linear, temperature)
        try:
            found = sample(
                loop.config,
                where / "md",
                pair_file=pair_file,
                coefficients=present,
                start=configuration,
                density=loop.density,
                tally=loop.target.tally,
                number=number + 1000 * halvings,
                quiet=loop.quiet,
            )
            break
        except CgpotError as err:
            if not is_blow_up(err):
                raise
            if number == 0:
                raise ToolError(
                    "the CG fluid of the potential to start from failed in LAMMPS; a shorter "
                    f"md.timestep_fs or another start is needed: {err.message}",
                    file=where,
                ) from err
            if halvings >= loop.config.step.retries:
                raise ToolError(
                    f"iteration {number} failed in LAMMPS after its step had been halved "
                    f"{halvings} times; lower step.max_kT or md.timestep_fs: {err.message}",
                    file=where,
                ) from err
            set_aside(where / "md")
            halvings += 1
            write_json(state, {"halvings": halvings})
    found.samples.write(where / "samples.npz")
    return found.samples, {"iteration": number, "halvings": halvings, **found.facts}


def _begun(where: Path, halvings: int, coefficients: Array) -> Array:
    """The coefficients with which an interrupted run of this iteration began."""
    path = where / "coefficients.json"
    if not path.is_file() or not (where / "md").is_dir():
        return coefficients
    before = read_json(path)
    return np.array(before["eV"]) if before["halvings"] == halvings else coefficients


def _average(loop: Loop, runs: list[Samples]) -> WeightedAverages:
    """Averages at the coefficients of the last run, from the last runs together."""
    recent = runs[-loop.config.step.memory :]
    return weighted_averages(
        recent,
        recent[-1].coefficients,
        loop.basis,
        temperature=loop.config.temperature,
        volume=loop.target.volume,
    )


def next_step(loop: Loop, cg: WeightedAverages) -> tuple[Array, dict[str, Any]]:
    """The change of the coefficients after an iteration, and facts about it.

    Raises:
        DataError: it is not finite.
    """
    config, target = loop.config, loop.target
    options = {"value_kT": config.step.value_kT, "curvature_kT": config.step.curvature_kT}
    if config.method == "relative-entropy":
        weight = None if config.pressure_weight == "exact" else float(config.pressure_weight)
        change = newton_step([(cg, target)], match_pressure=True, pressure_weight=weight, **options)
    else:
        change = inversion_step(cg, target, **options)
        if target.pressure is not None:
            change = change + linear_correction(cg, change, target.pressure[0], config.step.max_kT)
    if not np.isfinite(change).all():
        raise DataError("the step holds NaN or infinity", file=loop.folder)
    largest = largest_change([(cg, target)], change)
    scale = config.step.mixing * min(1.0, config.step.max_kT / max(largest, 1e-300))
    facts = {
        "largest_kT": largest,
        "scale": scale,
        "predicted_pressure_bar": predicted(cg, change * scale),
    }
    return change * scale, facts


def _first_frame(loop: Loop) -> Path:
    """The first frame of the reference as a file (a data set may take long to open)."""
    from cgpot.molecules.extxyz import write_frames

    path = loop.folder / "start.extxyz"
    write_frames(path, [loop.target.first])
    return path


def _tell(loop: Loop, record: dict[str, Any]) -> None:
    if loop.quiet:
        return
    import sys

    text = f"iteration {record['iteration']}: Δg {record['rdf_error']:.4f} "
    text += f"(limit {record['rdf_error_limit']:.4f}), "
    if record["bonded_overlap"] is not None:
        text += f"overlap {record['bonded_overlap']:.4f} "
        text += f"(limit {record['bonded_overlap_limit']:.4f}), "
    text += f"P {record['pressure_bar']:+.1f} ± {record['pressure_error_bar']:.1f} bar"
    if record["pressure_reference_bar"] is not None:
        text += f" (reference {record['pressure_reference_bar']:+.1f})"
    print(text, file=sys.stderr)
