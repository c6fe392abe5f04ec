# SPDX-License-Identifier: GPL-2.0-or-later
"""What a refinement leaves: history, pictures, and the refined model."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, write_json, write_text
from cgpot.core.manifest import write_manifest
from cgpot.core.records import TrainingRecord
from cgpot.core.units import KB
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.lammps_commands import include_text, write_for_lammps
from cgpot.potential.splines import PairTable
from cgpot.refine.judge import judge
from cgpot.refine.loop_state import Loop
from cgpot.refine.reweighting import Samples, weighted_averages

Array = NDArray[np.float64]
COLUMNS = (
    "iteration",
    "rdf_error",
    "rdf_error_noise",
    "first_peak",
    "first_peak_reference",
    "pressure_bar",
    "pressure_error_bar",
    "pressure_reference_bar",
    "effective_frames",
    "halvings",
    "seconds",
    "merit",
)


def finish(loop: Loop, records: list[dict[str, Any]], runs: list[Samples]) -> dict[str, Any]:
    """Choose the best iteration, write everything; returns the content of history.json."""
    folder = loop.folder
    best = _best(loop, records, runs)
    change = runs[best].coefficients - loop.initial.coefficients.reshape(-1)
    facts = {
        "method": loop.config.method,
        "iterations": len(records),
        "chosen": best,
        "before": _summary(records[0]),
        "after": _summary(records[best]),
    }
    model = _write_model(loop, runs[best].coefficients, change, facts)
    history = {
        "format": "cgpot-refine-1",
        "method": loop.config.method,
        "start": loop.start.kind if loop.config.start != "zero" else "zero",
        "temperature_K": loop.config.temperature,
        "density_kg_m3": loop.density,
        "converged": bool(records[best]["within"]),
        "chosen": best,
        "model": str(model.relative_to(folder)),
        "reference": {
            "frames": loop.target.n_frames,
            "density_kg_m3": loop.target.density,
            "pressure_bar": loop.target.pressure[0] if loop.target.pressure else None,
            "pressure_error_bar": loop.target.pressure[1] if loop.target.pressure else None,
        },
        "r_A": loop.target.grid.r.round(6).tolist(),
        "g_reference": loop.target.coarse.round(6).tolist(),
        "iterations": records,
    }
    write_json(folder / "history.json", history)
    table = write_text(folder / "history.csv", _csv(records))
    pictures = _pictures(loop, records, change)
    inputs: dict[str, Any] = {"reference": list(loop.config.reference)}
    if loop.start.training is not None:
        inputs["start"] = loop.start.training / "model.ckpt"
    elif loop.config.start != "zero" and Path(loop.config.start).is_file():
        inputs["start"] = loop.config.start
    write_manifest(
        folder / "history.json",
        stage="refine",
        inputs=inputs,
        outputs=[table, *pictures],
        config=json.loads(loop.config.model_dump_json()),
        seed=loop.config.seed,
        extra={"temperature": loop.config.temperature},
    )
    if loop.config.deploy:
        from cgpot.deploy.deployment import deploy

        deploy(model, folder / "deploy", quiet=loop.quiet)
    return history


def _best(loop: Loop, records: list[dict[str, Any]], runs: list[Samples]) -> int:
    """The iteration nearest to the reference, judged with the samples of all of them."""
    merits = []
    for number, record in enumerate(records):
        others = [run for k, run in enumerate(runs) if k != number]
        recent = [*others[-(loop.config.step.memory - 1) or len(others) :], runs[number]]
        if loop.config.step.memory == 1:
            recent = [runs[number]]
        now = weighted_averages(
            recent,
            runs[number].coefficients,
            loop.basis,
            temperature=loop.config.temperature,
            volume=loop.target.volume,
        )
        record["with_all_samples"] = {
            key: value
            for key, value in judge(now, loop.target, loop.config.tolerance).items()
            if key != "pairs"
        }
        merits.append(record["with_all_samples"]["merit"])
    if records[-1]["within"]:
        return len(records) - 1
    return int(np.argmin(merits))


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    keys = ("rdf_error", "rdf_error_noise", "first_peak", "pressure_bar", "pressure_error_bar")
    return {key: record[key] for key in (*keys, "pressure_reference_bar")}


def _csv(records: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, "step_largest_kT", "step_scale"])
    for record in records:
        step = record.get("next_step", {})
        values = [record[key] for key in COLUMNS]
        values += [step.get("largest_kT"), step.get("scale")]
        writer.writerow(
            ["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values]
        )
    return stream.getvalue()


def _write_model(loop: Loop, coefficients: Array, change: Array, facts: dict[str, Any]) -> Path:
    """The refined model: a training folder, or a folder of pair tables."""
    output = loop.folder / "model"
    correction = loop.table(change, {"refined": facts})
    correction.write(loop.folder / "correction.json")
    if loop.start.kind == "pair":
        info = {**loop.initial.info, "refined": facts}
        return write_pair_folder(output, loop.table(coefficients, info), loop, facts)
    from cgpot.training.network.amend import amend

    assert loop.start.table is not None
    assert loop.start.training is not None
    table = loop.start.table.with_coefficients(
        loop.start.table.coefficients + correction.coefficients,
        {**loop.start.table.info, "refined": facts},
    )
    frames, source = _evaluation_frames(loop)
    amend(
        loop.start.training,
        output,
        table,
        frames,
        source=source,
        facts=facts,
        temperature=loop.config.temperature,
        quiet=loop.quiet,
    )
    return output


def _evaluation_frames(loop: Loop) -> tuple[list[CGFrame], list[Path]]:
    if loop.config.test is not None:
        return list(read_frames(loop.config.test)), [loop.config.test]
    if any(frame.forces is None for frame in loop.target.frames):
        raise InputError(
            "the frames hold no forces on which the refined network could be evaluated; give "
            "held-out frames as 'test'",
            file=loop.config.reference[0],
            key="test",
        )
    return loop.target.frames[:60], list(loop.config.reference)


def write_pair_folder(output: Path, table: PairTable, loop: Loop, facts: dict[str, Any]) -> Path:
    """``pair.json``, ``model.table``, ``model.pair.lmp`` and ``result.json`` of a pair potential.

    It is a training folder of kind ``pair`` for `cgpot deploy`, `evaluate` and `distill`; where
    the reference (or ``test``) holds forces, the errors on them stand in it.  The include
    file names its folder in a variable: ``-var pair_folder DIR`` where it was moved.
    """
    topology = loop.target.topology
    with atomic_path(output) as folder:
        folder.mkdir()
        table.write(folder / "pair.json")
        lammps = write_for_lammps(folder, Base(table))
        text = include_text(lammps.commands, output.resolve())
        write_text(folder / "model.pair.lmp", text)
        inputs: dict[str, Any] = {"reference": list(loop.config.reference)}
        errors = _pair_errors(loop, table, folder)
        if errors["evaluated_on"] is not None and loop.config.test is not None:
            inputs["test"] = loop.config.test
        names = ("pair.json", "model.table", "model.pair.lmp", "parity.npz")
        result = {
            "format": TrainingRecord.FORMAT,
            "kind": "pair",
            "model": "pair",
            "n_parameters": int(np.count_nonzero(table.coefficients)),
            "n_train": loop.target.n_frames,
            **errors,
            "bead_names": list(topology.type_names),
            "masses": list(topology.type_masses),
            "cutoff": table.r_max,
            "temperature": loop.config.temperature,
            "density_kg_m3": loop.density,
            "dtype": "float64",
            "lammps": lammps.record,
            "refined": facts,
        }
        TrainingRecord.write(folder / "result.json", result)
        write_manifest(
            folder / "result.json",
            stage="training",
            inputs=inputs,
            outputs=[folder / n for n in names if (folder / n).is_file()],
            config={"refined": facts},
            extra={"temperature": loop.config.temperature},
        )
    return output


def _pair_errors(loop: Loop, table: PairTable, folder: Path) -> dict[str, Any]:
    """Errors of the table on frames with forces, as in other trainings; writes parity.npz."""
    from cgpot.training.evaluation import predictions as ev

    empty = dict.fromkeys(
        ("force_rmse", "force_label_rms", "stress_rmse", "pressure_residual_bar", "evaluated_on")
    )
    empty |= {"force_rmse_pair_fit": None, "n_test": 0}
    try:
        frames, source = _evaluation_frames(loop)
    except InputError:  # the reference holds no forces: structure and pressure are all it has
        return empty
    errors, arrays = ev.evaluate(frames, Base(table))
    labels = ev.label_arrays(frames)
    ev.save_parity(folder / "parity.npz", ev.parity_arrays(labels, arrays))
    return {
        **empty,
        **errors,
        "force_label_rms": float(np.sqrt(np.mean(labels["force"] ** 2))),
        "n_test": len(frames),
        "evaluated_on": {"files": [Path(p).name for p in source], "frames": len(frames)},
    }


def _pictures(loop: Loop, records: list[dict[str, Any]], change: Array) -> list[Path]:
    """rdf.png, correction.png and history.png."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    from cgpot.molecules.pair_counts import pair_labels

    folder, target = loop.folder, loop.target
    labels = pair_labels(target.topology)
    r = target.grid.r
    figure = Figure(figsize=(6.4, 3.6 * len(labels)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(labels)))
    for row, label in enumerate(labels):
        ax = axes[row]
        for record in records:
            shade = 0.75 * (1.0 - record["iteration"] / max(len(records) - 1, 1))
            ax.plot(r, record["g"][row], lw=0.9, color=str(shade))
        ax.plot(r, target.coarse[row], lw=1.2, color="C1", label="reference")
        ax.set(xlabel="r, Å", ylabel=f"g(r) {label}", ylim=(0, None))
        ax.legend(title="grey: first to black: last", frameon=False)
    figure.savefig(folder / "rdf.png", dpi=120)

    kt = KB * loop.config.temperature
    fine = 0.5 * (target.grid.edges[1:] + target.grid.edges[:-1])
    inside = fine < loop.basis.r_max
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.subplots()
    for row, label in enumerate(labels):
        u = loop.basis.potential(change)[row] / kt
        near = inside & (target.g[row] > 0.01)
        ax.plot(fine[inside], u[inside], lw=0.8, ls=":", color=f"C{row}")
        ax.plot(fine[near], u[near], lw=1.3, color=f"C{row}", label=label)
        if near.any():
            ax.set_ylim(float(u[near].min()) - 0.1, float(u[near].max()) + 0.1)
    ax.axhline(0.0, lw=0.6, color="0.6")
    ax.set(xlabel="r, Å", ylabel="correction u(r), $k_B T$")
    ax.legend(title="dotted: no pairs seen", frameon=False)
    figure.savefig(folder / "correction.png", dpi=120)

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    x = [record["iteration"] for record in records]
    top.plot(x, [record["rdf_error"] for record in records], "o-", label="Δg")
    top.plot(x, [record["rdf_error_limit"] for record in records], "--", color="0.5", label="limit")
    top.set(ylabel="Δg", yscale="log")
    top.legend(frameon=False)
    p = [record["pressure_bar"] for record in records]
    bottom.errorbar(x, p, [record["pressure_error_bar"] for record in records], fmt="o-")
    if target.pressure is not None:
        mean, error = target.pressure
        bottom.axhspan(mean - error, mean + error, color="C1", alpha=0.3, label="reference")
        bottom.legend(frameon=False)
    bottom.set(xlabel="iteration", ylabel="pressure, bar")
    figure.savefig(folder / "history.png", dpi=120)
    return [folder / name for name in ("rdf.png", "correction.png", "history.png")]
