# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: tables of facts, caveats, and the template."""

from __future__ import annotations

import datetime
from pathlib import Path

from cgpot import __version__
from cgpot.report import observed
from cgpot.report.facts import (
    bins_text,
    data_facts,
    force_facts,
    model_facts,
    speed_facts,
)
from cgpot.report.figures import state_figures
from cgpot.report.figures_model import force_figures, training_figures
from cgpot.report.figures_runs import run_figures, speed_figure
from cgpot.report.gather import Gathered
from cgpot.report.limits import Limits
from cgpot.report.numbers import MISSING, dig, real
from cgpot.report.origin import hashes, stages, versions
from cgpot.report.row import INFO, MET, MISSED, UNKNOWN, Row

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
    environment.filters["tie"] = tie
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
        bins=bins_text(data),
        structure=observed.figures(data, "structure"),
        structure_tables=observed.tables(data, "structure"),
        state=[*state_figures(data, limits), *observed.slope_figures(data)],
        systems=observed.state_table(data),
        slope_facts=observed.slope_facts(data),
        forces=force_figures(data),
        force_facts=force_facts(data),
        training=training_figures(data),
        model_facts=model_facts(data),
        runs=[
            *run_figures(data),
            *observed.figures(data, "motion"),
            *([speed] if speed else []),
        ],
        motion_tables=observed.tables(data, "motion"),
        speed_facts=speed_facts(data),
        data_facts=data_facts(data),
        caveats=caveats(data),
        command=command,
        commit=commit,
        versions=versions(data),
        stages=stages(data),
        hashes=hashes(data),
        date=now.strftime("%Y-%m-%d %H:%M UTC"),
    )


def tie(text: str) -> str:
    """Spaces that must not break: around ±, × and before per cent and bar."""
    for part in (" ± ", " × ", " %", " bar", "≤ ", "≥ ", " ns", " K"):
        text = text.replace(part, part.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


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
        ("the training", data.result is not None or data.metrics is not None),
        ("the deployed model", data.sidecar is not None),
        ("other state points", False),
    ]
    return [name for name, present in checks if not present]
