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

from cgpot.core.files import write_json, write_text
from cgpot.core.manifest import write_manifest
from cgpot.core.units import KB
from cgpot.molecules.charges import require_no_charges
from cgpot.refine.frame_counts import TERM_FINE, term_rows
from cgpot.refine.judge import distributions, judge
from cgpot.refine.loop_state import Loop
from cgpot.refine.refined_files import write_model
from cgpot.refine.reweighting import Samples, weighted_averages
from cgpot.training.linear.mscg_stage import POTENTIAL

Array = NDArray[np.float64]
COLUMNS = (
    "iteration",
    "rdf_error",
    "rdf_error_noise",
    "first_peak",
    "first_peak_reference",
    "bonded_overlap",
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
    change = runs[best].coefficients - loop.initial
    facts = {
        "method": loop.config.method,
        "iterations": len(records),
        "chosen": best,
        "before": _summary(records[0]),
        "after": _summary(records[best]),
    }
    model = write_model(loop, runs[best].coefficients, facts)
    history = {
        "format": "cgpot-refine-1",
        "method": loop.config.method,
        "start": loop.start.kind if loop.config.start != "zero" else "zero",
        "temperature_K": loop.config.temperature,
        "density_kg_m3": loop.density,
        "converged": bool(records[best]["within"]),
        "chosen": best,
        "model": str(model.relative_to(folder)),
        "warnings": require_no_charges([loop.target.topology], ignore=True),
        "reference": {
            "frames": loop.target.n_frames,
            "density_kg_m3": loop.target.density,
            "pressure_bar": loop.target.pressure[0] if loop.target.pressure else None,
            "pressure_error_bar": loop.target.pressure[1] if loop.target.pressure else None,
        },
        "r_A": loop.target.grid.r.round(6).tolist(),
        "g_reference": loop.target.coarse.round(6).tolist(),
        "distributions_reference": distributions(loop.target.tally, loop.target.g),
        "iterations": records,
    }
    write_json(folder / "history.json", history)
    table = write_text(folder / "history.csv", _csv(records))
    pictures = _pictures(loop, records, change)
    inputs: dict[str, Any] = {"reference": list(loop.config.reference)}
    if loop.start.training is not None:
        network = loop.start.kind == "network"
        inputs["start"] = loop.start.training / ("model.ckpt" if network else POTENTIAL)
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
            if key not in ("pairs", "terms")
        }
        merits.append(record["with_all_samples"]["merit"])
    if records[-1]["within"]:
        return len(records) - 1
    return int(np.argmin(merits))


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    keys = ("rdf_error", "rdf_error_noise", "first_peak", "bonded_overlap")
    more = ("pressure_bar", "pressure_error_bar", "pressure_reference_bar")
    return {key: record[key] for key in (*keys, *more)}


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
        u = loop.basis.potential(change)[row, : len(fine)] / kt
        near = inside & (target.g[row, : len(fine)] > 0.01)
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
    pictures = [folder / name for name in ("rdf.png", "correction.png", "history.png")]
    return pictures + ([_bonded_picture(loop, records)] if target.tally.terms else [])


def _bonded_picture(loop: Loop, records: list[dict[str, Any]]) -> Path:
    """bonded.png: the distributions of the iterations and of the reference."""
    from matplotlib.figure import Figure

    target = loop.target
    kinds = list(term_rows(target.tally))
    figure = Figure(figsize=(6.4, 3.0 * len(kinds)), layout="constrained")
    for place, (rows, row, label) in enumerate(kinds):
        ax = figure.add_subplot(len(kinds), 1, place + 1)
        edges = rows.edges[::TERM_FINE]
        q = 0.5 * (edges[1:] + edges[:-1])
        x, unit = (q, "Å") if rows.name == "bond" else (np.degrees(q), "°")
        known = rows.coarse(target.g[row, : rows.bins])
        near = x[known > 1e-3 * known.max()]
        for record in records:
            shade = 0.75 * (1.0 - record["iteration"] / max(len(records) - 1, 1))
            ax.plot(x, record["distributions"][label], lw=0.9, color=str(shade))
        ax.plot(x, known / known.sum(), lw=1.2, color="C1", label="reference")
        margin = 0.3 * float(np.ptp(near)) + float(x[1] - x[0])
        ax.set(xlim=(near.min() - margin, near.max() + margin), ylim=(0, None))
        ax.set(xlabel=f"{rows.name} {label}, {unit}", ylabel="part in a bin")
        ax.legend(title="grey: first to black: last", frameon=False)
    path = loop.folder / "bonded.png"
    figure.savefig(path, dpi=120)
    return path
