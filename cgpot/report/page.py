# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: tables of facts, caveats, and the template."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cgpot import __version__
from cgpot.report.figures import state_figures, structure_figures
from cgpot.report.figures_model import (
    force_figures,
    run_figures,
    speed_figure,
    training_figures,
)
from cgpot.report.gather import Gathered
from cgpot.report.limits import Limits
from cgpot.report.numbers import MISSING, dig, number, plus_minus, real
from cgpot.report.verdict import INFO, MET, MISSED, UNKNOWN, Row

HERE = Path(__file__).parent
CLASSES = {MET: "met", MISSED: "missed", UNKNOWN: "", INFO: ""}
MARKS = {MET: "✓", MISSED: "✗", UNKNOWN: "–", INFO: "·"}


def default_title(data: Gathered) -> str:
    """``Coarse-grained BNZ at 300 K``."""
    beads = ", ".join(data.analysis.get("bead_names") or ["model"])
    temperature = real(data.analysis.get("temperature_K"))
    return f"Coarse-grained {beads}" + (f" at {temperature:g} K" if temperature else "")


def render(
    data: Gathered,
    rows: list[Row],
    limits: Limits,
    *,
    title: str | None,
    command: str | None,
    commit: str | None,
) -> str:
    """The whole page as one HTML document without outside resources."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    speed = speed_figure(data)
    now = datetime.datetime.now(datetime.UTC)
    return environment.get_template("template.html.j2").render(
        version=__version__,
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        title=title or default_title(data),
        subtitle=subtitle(data),
        missing=MISSING,
        rows=rows,
        classes=CLASSES,
        marks=MARKS,
        summary=summary(rows)[0],
        summary_class=summary(rows)[1],
        bins=_bins(data),
        structure=structure_figures(data),
        shell=_shell(data),
        state=state_figures(data, limits),
        systems=_systems(data),
        forces=force_figures(data),
        force_facts=_force_facts(data),
        training=training_figures(data),
        model_facts=_model_facts(data),
        runs=[*run_figures(data), *([speed] if speed else [])],
        speed_facts=speed_facts(data),
        data_facts=_data_facts(data),
        caveats=caveats(data),
        command=command,
        commit=commit,
        versions=_versions(data),
        stages=_stages(data),
        hashes=_hashes(data),
        date=now.strftime("%Y-%m-%d %H:%M UTC"),
    )


def summary(rows: list[Row]) -> tuple[str, str]:
    """One sentence and the class of its box."""
    judged = [row for row in rows if row.status != INFO]
    met = [row for row in judged if row.status == MET]
    missed = [row for row in judged if row.status == MISSED]
    unknown = [row for row in judged if row.status == UNKNOWN]
    text = f"{len(met)} of {len(judged)} checks met."
    if missed:
        text += " Missed: " + _names(missed) + "."
    if unknown:
        text += " Not measured: " + _names(unknown) + "."
    if not missed and not unknown:
        return f"All {len(met)} checks met.", "met"
    return text, "missed" if missed else ""


def _names(rows: list[Row]) -> str:
    return "; ".join(row.label for row in rows)


def subtitle(data: Gathered) -> str:
    """Beads, frames and times in a line."""
    analysis = data.analysis
    reference = analysis.get("reference") or {}
    parts = []
    if reference:
        total = sum(t for t in reference.get("time_ps") or [] if isinstance(t, int | float))
        parts.append(
            f"Reference: {reference.get('n_frames')} mapped atomistic frames of "
            f"{reference.get('n_sites')} beads, {total:.0f} ps"
        )
    for run in analysis.get("runs", []):
        ns = real(run.get("ns"))
        if ns is not None:
            parts.append(f"CG {run['ensemble'].upper()} {1000 * ns:.0f} ps")
    return " · ".join(parts)


def _bins(data: Gathered) -> str:
    settings = data.analysis.get("settings") or {}
    return (
        f"{settings.get('bins')} bins of {number(real(settings.get('bin_width_A')), 3)} Å up to "
        f"{number(real(settings.get('r_max_A')), 2)} Å"
    )


def _sections(data: Gathered) -> list[tuple[str, dict[str, Any]]]:
    analysis = data.analysis
    found = []
    if analysis.get("reference"):
        found.append(("Atomistic reference", analysis["reference"]))
    if analysis.get("npt_reference"):
        found.append(("Atomistic, NPT reference", analysis["npt_reference"]))
    for run in analysis.get("runs", []):
        found.append((f"CG {run['ensemble'].upper()} ({run['name']})", run))
    return found


def _shell(data: Gathered) -> list[tuple[str, str]]:
    rows = []
    for label in dig(data.analysis, "reference", "rdf") or {}:
        for name, section in _sections(data):
            rdf = dig(section, "rdf", label)
            if not rdf:
                continue
            peak, count = rdf["peak"], rdf.get("coordination")
            text = f"first peak at {plus_minus(peak['position'], peak['position_error'], 'Å')}"
            if count:
                neighbours = plus_minus(count["number"], count["error"])
                text += f"; {neighbours} neighbours within {count['radius']:.2f} Å"
            rows.append((f"{name}, {label}", text))
    return rows


def _systems(data: Gathered) -> dict[str, Any]:
    heads = ["Density kg/m³", "Pressure bar", "Temperature K", "Compressibility 1/GPa", "Frames"]
    rows = []
    for name, section in _sections(data):
        kappa = section.get("compressibility") or {}
        density, pressure = section.get("density") or {}, section.get("pressure") or {}
        temperature = section.get("temperature") or {}
        rows.append(
            (
                name,
                [
                    plus_minus(density.get("mean"), density.get("error"), fallback_digits=1),
                    plus_minus(pressure.get("mean"), pressure.get("error"), fallback_digits=0),
                    plus_minus(temperature.get("mean"), temperature.get("error"))
                    if temperature
                    else "–",
                    plus_minus(kappa.get("value"), kappa.get("error")) if kappa else "–",
                    str(section.get("n_frames") or "–"),
                ],
            )
        )
    return {"heads": heads, "rows": rows}


def _force_facts(data: Gathered) -> list[tuple[str, str]]:
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


def _model_facts(data: Gathered) -> list[tuple[str, str]]:
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
        rows.append(
            (
                "Loss weights",
                ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in weights.items()),
            )
        )
    check = sidecar.get("verification")
    if isinstance(check, dict) and check:
        rows.append(("Compiled against checkpoint", _flat(check)))
    return rows


def speed_facts(data: Gathered) -> list[tuple[str, str]]:
    """Speeds in ns/day."""
    aa = data.aa_speed or {}
    rows = [
        (
            "Atomistic engine",
            _join(
                _unit(aa.get("ns_per_day"), 2, "ns/day"),
                aa.get("engine"),
                None if aa.get("n_molecules") is None else f"{aa['n_molecules']} molecules",
                None if aa.get("threads") is None else f"{aa['threads']} thread(s)",
            ),
        )
    ]
    for run in data.analysis.get("runs", []):
        md = run.get("md") or {}
        rows.append(
            (
                f"CG {run['ensemble'].upper()} ({run['name']})",
                _join(
                    _unit(run.get("ns_per_day"), 2, "ns/day"),
                    None if run.get("n_sites") is None else f"{run['n_sites']} beads",
                    None if md.get("threads") is None else f"{md['threads']} thread(s)",
                    _unit(md.get("timestep_fs"), 1, "fs steps"),
                    _unit(run.get("ns"), 3, "ns run"),
                ),
            )
        )
    return rows


def _data_facts(data: Gathered) -> list[tuple[str, str]]:
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
    """Plain numbers of the data set's own report, whatever it names."""
    if dataset is None:
        return [("Data set report", MISSING)]
    rows = []
    for key, value in dataset.items():
        if key in ("format", "rdf", "series", "files", "g", "r"):
            continue
        if isinstance(value, dict):
            text = _flat(value)
        elif isinstance(value, bool | int | float | str):
            text = _text(value)
        else:
            continue
        if text and len(text) < 300:
            rows.append((f"Data set: {key.replace('_', ' ')}", text))
    return rows


def caveats(data: Gathered) -> list[str]:
    """What a reader must know before using the model elsewhere."""
    analysis = data.analysis
    temperature = real(analysis.get("temperature_K"))
    density = real(dig(analysis, "reference", "density", "mean"))
    state = " and ".join(
        filter(
            None,
            [
                f"{temperature:g} K" if temperature else "",
                f"{density:.0f} kg/m³" if density else "",
            ],
        )
    )
    texts = [
        "The model is a potential of mean force for one state point"
        + (f" ({state})" if state else "")
        + ": a free energy, not an energy. At other temperatures, densities or compositions it is "
        "an extrapolation until it has been checked there.",
        "The labels are single-frame forces and virials. Most of the force error is thermal noise "
        "of the atoms that were integrated out; no model can remove it, and a lower error than "
        "the noise floor would mean that noise was learned.",
        "The mapped atomistic run is the reference, with the errors of its force field: agreement "
        "here is not agreement with experiment.",
    ]
    texts += [str(c) for c in analysis.get("caveats") or []]
    absent = _absent(data)
    if absent:
        texts.append("Not measured here: " + ", ".join(absent) + ".")
    return texts


def _absent(data: Gathered) -> list[str]:
    analysis = data.analysis
    runs = {run["ensemble"] for run in analysis.get("runs", [])}
    checks = [
        ("an NVT run", "nvt" in runs),
        ("an NPT run", "npt" in runs),
        ("energy conservation (no NVE run)", "nve" in runs),
        ("held-out forces", bool(dig(analysis, "parity", "force")) or data.result is not None),
        ("the noise floor", dig(analysis, "parity", "force", "noise_floor") is not None),
        ("the speed of the atomistic engine", real(dig(data.aa_speed, "ns_per_day")) is not None),
        ("the training (no folder given)", data.result is not None or data.metrics is not None),
        ("the deployed model (no folder given)", data.sidecar is not None),
        ("other state points", False),
    ]
    return [name for name, present in checks if not present]


def _versions(data: Gathered) -> list[tuple[str, str]]:
    found: dict[str, set[str]] = {}
    for _, manifest in data.manifests:
        for name, version in (manifest.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    for name in ("torch", "nequip"):
        version = (data.sidecar or {}).get(f"{name}_version")
        if version:
            found.setdefault(name, set()).add(str(version).split("+")[0])
    rows = []
    for name, versions in found.items():
        plain = {v for v in versions if "+" not in v or v.split("+")[0] not in versions}
        rows.append((name, ", ".join(sorted(plain))))
    if not rows:
        rows = [("cgpot", __version__)]
    lammps = {
        str(v)
        for run in data.analysis.get("runs", [])
        if (v := dig(run, "md", "lammps")) is not None
    }
    if lammps:
        rows.append(("LAMMPS (from its log)", ", ".join(sorted(lammps))))
    return rows


def _stages(data: Gathered) -> list[dict[str, Any]]:
    stages = [
        {
            "name": name,
            "stage": record.get("stage", "?"),
            "created": str(record.get("created", "?")),
            "seed": record.get("seed"),
            "command": record.get("command", "?"),
        }
        for name, record in data.manifests
    ]
    return sorted(stages, key=lambda s: s["created"])


def _hashes(data: Gathered) -> list[dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for name, record in sorted(data.manifests, key=lambda m: str(m[1].get("created", ""))):
        folder = name.rsplit("/", 1)[0]
        entries = [(f"{folder}/{e['file']}", e) for e in record.get("outputs") or []]
        for items in (record.get("inputs") or {}).values():
            entries += [(e["file"], e) for e in items]
        for file, entry in entries:
            sha = str(entry.get("sha256", ""))
            rows.setdefault(
                sha,
                {
                    "file": file,
                    "stage": str(record.get("stage", "?")),
                    "bytes": f"{int(entry.get('bytes', 0)):,}",
                    "sha": sha[:16],
                },
            )
    return list(rows.values())


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


def _flat(value: dict[str, Any]) -> str:
    if set(value) >= {"mean", "error"} and real(value["mean"]) is not None:
        unit = value.get("unit")
        return plus_minus(
            value["mean"], real(value["error"]), unit if isinstance(unit, str) else ""
        )
    parts = [
        f"{k.replace('_', ' ')} {_text(v)}"
        for k, v in value.items()
        if isinstance(v, str | int | float | bool)
    ]
    return ", ".join(parts)
