# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of facts: pairs of a name and a text, or rows of cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgpot.report.gather import Gathered
from cgpot.report.numbers import MISSING, dig, number, plus_minus, real, scientific


def bins_text(data: Gathered) -> str:
    """The bins of g(r) in words."""
    settings = data.analysis.get("settings") or {}
    return (
        f"{settings.get('bins')} bins of {number(real(settings.get('bin_width_A')), 3)} Å up to "
        f"{number(real(settings.get('r_max_A')), 2)} Å"
    )


def force_facts(data: Gathered) -> list[tuple[str, str]]:
    """Held-out forces in numbers."""
    force = dig(data.analysis, "parity", "force") or {}
    pressure = dig(data.analysis, "parity", "pressure") or {}
    result = data.result or {}
    model = real(force.get("rmse_model", result.get("force_rmse")))
    pair = real(force.get("rmse_pair", result.get("force_rmse_pair_fit")))
    label = real(force.get("label_rms", result.get("force_label_rms")))
    floor, upper = real(force.get("noise_floor")), real(force.get("noise_floor_upper"))
    if floor is not None:
        noise = number(floor, 4, "eV/Å")
    elif upper is not None:
        noise = f"{MISSING}; at most {number(upper, 4, 'eV/Å')}"
    else:
        noise = MISSING
    slope = real(force.get("slope"))
    return [
        ("Force RMSE, model", number(model, 4, "eV/Å")),
        ("Force RMSE, pair fit", number(pair, 4, "eV/Å")),
        ("Label rms", number(label, 4, "eV/Å")),
        ("Noise floor of the labels", noise),
        (
            "Calibration ⟨F f⟩/⟨f²⟩",
            MISSING
            if slope is None
            else f"{slope:.3f} (1: right size of the forces; below 1: noise was learned)",
        ),
        (
            "Mean pressure residual, model minus label",
            plus_minus(
                real(pressure.get("residual_mean")), real(pressure.get("residual_error")), "bar"
            ),
        ),
    ]


def model_facts(data: Gathered) -> list[tuple[str, str]]:
    """What the model is."""
    sidecar, result = data.sidecar or {}, data.result or {}
    units = sidecar.get("units") or {}
    masses = sidecar.get("masses") or result.get("masses")
    beads = sidecar.get("bead_names") or result.get("bead_names")
    seconds = real(result.get("seconds"))
    rows: list[tuple[str, str]] = [
        (
            "Beads",
            ", ".join(f"{n} ({m:g} amu)" for n, m in zip(beads, masses, strict=False))
            if beads and masses
            else MISSING,
        ),
        ("Cutoff", number(real(sidecar.get("cutoff", result.get("cutoff"))), 2, "Å")),
        ("Parameters", _text(result.get("n_parameters"))),
        ("Pair part", _text(result.get("prior"))),
        (
            "Precision, device",
            _join(sidecar.get("dtype", result.get("dtype")), sidecar.get("device")),
        ),
        ("Units", _join(units.get("energy"), units.get("length"))),
        (
            "Trained at",
            _join(
                _unit(sidecar.get("temperature", result.get("temperature")), 1, "K"),
                _unit(sidecar.get("density_kg_m3", result.get("density_kg_m3")), 1, "kg/m³"),
            ),
        ),
        (
            "Frames: training, validation, test",
            _join(result.get("n_train"), result.get("n_val"), result.get("n_test")),
        ),
        (
            "Epochs, training time",
            _join(result.get("epochs"), None if seconds is None else f"{seconds / 60:.1f} min"),
        ),
    ]
    weights = result.get("loss_weights")
    if isinstance(weights, dict):
        given = {**weights, **(weights.get("per_type") or {})}  # None: that loss is not used
        used = {k: w for k, v in given.items() if (w := real(v)) is not None}
        rows.append(
            ("Loss weights", ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in used.items()))
        )
    check = sidecar.get("verification")
    if isinstance(check, dict):
        for form in ("compiled", "package"):
            errors = check.get(form)
            if isinstance(errors, dict):
                text = ", ".join(f"{k} {scientific(real(v))}" for k, v in errors.items())
                frames = check.get("frames")
                rows.append(
                    (
                        f"Relative error, {form} against checkpoint",
                        text + (f" ({frames} frames)" if frames else ""),
                    )
                )
    for name, digest in (sidecar.get("sha256") or {}).items():
        rows.append((f"SHA-256 of {name}", str(digest)[:16]))
    return rows


def speed_facts(data: Gathered) -> list[tuple[str, str]]:
    """Speeds in ns/day, and their ratio where molecules and threads are the same."""
    aa = data.aa_speed or {}
    rows = [
        (
            "Atomistic engine",
            _join(
                _unit(aa.get("ns_per_day"), 2, "ns/day"),
                aa.get("engine"),
                aa.get("system"),
                None if aa.get("n_molecules") is None else f"{aa['n_molecules']} molecules",
                _threads(aa),
                _unit(aa.get("timestep_fs"), 1, "fs steps"),
            ),
        )
    ]
    for run in data.analysis.get("runs", []):
        md = run.get("md") or {}
        name = f"CG {run['ensemble'].upper()} ({run['name']})"
        rows.append(
            (
                name,
                _join(
                    _unit(run.get("ns_per_day"), 2, "ns/day"),
                    None if run.get("n_sites") is None else f"{run['n_sites']} beads",
                    _threads({**md, "cpu_use_percent": run.get("cpu_use_percent")}),
                    _unit(md.get("timestep_fs"), 1, "fs steps"),
                    _unit(run.get("ns"), 3, "ns run"),
                ),
            )
        )
        fast, slow = real(run.get("ns_per_day")), real(aa.get("ns_per_day"))
        alike = run.get("n_sites") == aa.get("n_molecules") and md.get("threads") == aa.get(
            "threads"
        )
        if fast and slow and alike:
            ratio = f"{fast / slow:.3g} times as fast"
            if _busy(aa) or _busy({**md, "cpu_use_percent": run.get("cpu_use_percent")}):
                ratio += ", by wall time on a busy machine: uncertain"
            rows.append((f"{name} against the atomistic engine", ratio))
    return rows


def _threads(facts: dict[str, Any]) -> str | None:
    """Threads, and the CPU use where the machine was busy with other work."""
    threads = facts.get("threads")
    if threads is None:
        return None
    text = f"{threads} thread" + ("" if threads == 1 else "s")
    if _busy(facts):
        text += f" (busy machine: only {facts['cpu_use_percent']:.0f} % of a core)"
    return text


def _busy(facts: dict[str, Any]) -> bool:
    use, threads = real(facts.get("cpu_use_percent")), real(facts.get("threads"))
    return use is not None and threads is not None and use < 90.0 * threads


def data_facts(data: Gathered) -> list[tuple[str, str]]:
    """What the references and the training data are."""
    analysis = data.analysis
    reference = analysis.get("reference") or {}
    rows: list[tuple[str, str]] = []
    for name, section in (
        ("Reference", reference),
        ("NPT reference", analysis.get("npt_reference")),
    ):
        if not section:
            continue
        files = ", ".join(Path(f).name for f in section.get("files") or [])
        frames = ", ".join(str(n) for n in section.get("frames_by_file") or [])
        spans = ", ".join(f"{t:.0f} ps" for t in section.get("time_ps") or [])
        rows += [
            (f"{name}, files", files or MISSING),
            (
                f"{name}, frames",
                f"{frames} over {spans}; {section.get('n_sites')} beads, "
                f"{str(section.get('ensemble')).upper()}",
            ),
        ]
    density = analysis.get("density_aa") or {}
    rows.append(("Atomistic density at 1 atm", density.get("method") or MISSING))
    rows += _dataset_rows(data.dataset)
    return rows


def _dataset_rows(dataset: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the data set's own report says of its labels."""
    if dataset is None:
        return [("Data set report", MISSING)]
    rows: list[tuple[str, str]] = []

    def add(name: str, text: str | None) -> None:
        if text is not None:
            rows.append((name, text))

    runs = dataset.get("n_runs")
    add(
        "Data set, frames",
        None
        if dataset.get("n_frames") is None
        else f"{dataset['n_frames']}" + (f" of {runs} run(s)" if runs else ""),
    )
    subsets = dataset.get("subsets")
    if isinstance(subsets, dict):
        add("Subsets", ", ".join(f"{k} {dig(v, 'n_frames')}" for k, v in subsets.items()))
    parts = dataset.get("compositions")
    if isinstance(parts, list):
        words = [f"{part.get('composition')} ({part.get('n_frames')} frames)" for part in parts]
        add("Compositions", "; ".join(words))
    add("Gap between subsets", _unit(dig(dataset, "split", "gap_ps"), 1, "ps"))
    for key, name in (
        ("pressure_label_bar", "Mean pressure of the labels"),
        ("pressure_engine_bar", "Mean pressure of the engine"),
    ):
        found = dataset.get(key)
        if isinstance(found, dict):
            text = plus_minus(real(found.get("mean")), real(found.get("error")), "bar")
            spread = real(found.get("std"))
            add(name, text + (f" (spread of one frame {spread:.0f} bar)" if spread else ""))
    add("Rms force of the labels", _unit(dataset.get("force_rms"), 4, "eV/Å"))
    relative = real(dig(dataset, "net_force", "relative_to_random"))
    if relative is not None:
        add("Net force of a frame", f"{100 * relative:.2g} % of what independent forces sum to")
    add("Shortest distance", _unit(dataset.get("shortest_distance"), 2, "Å"))
    return rows


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, float):
        return number(value)
    return str(value)


def _unit(value: Any, digits: int, unit: str) -> str | None:
    found = real(value)
    return None if found is None else number(found, digits, unit)


def _join(*values: Any) -> str:
    shown = [str(v) for v in values if v is not None and v != ""]
    return ", ".join(shown) if shown else MISSING
