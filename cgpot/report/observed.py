# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and figures of all observables: one column for each system, one row for each number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cgpot.analysis.observables.equation_of_state import plot_over_systems
from cgpot.analysis.observables.observable import Observable
from cgpot.analysis.observables.plot import AA, Quantity, Shown
from cgpot.analysis.observables.registry import OBSERVABLES
from cgpot.report.gather import Gathered
from cgpot.report.numbers import MISSING, number, plus_minus, real
from cgpot.report.observed_plots import draw
from cgpot.report.svg import Figure


@dataclass(frozen=True)
class ObservedTable:
    """One table of the page.

    Attributes:
        title: heading.
        heads: of the columns behind the first one.
        rows: label and cells.
    """

    title: str
    heads: list[str]
    rows: list[tuple[str, list[str]]]


def systems(data: Gathered) -> list[tuple[str, str, dict[str, Any]]]:
    """Role, name and section of every system, the references first."""
    analysis = data.analysis
    found = []
    if analysis.get("reference"):
        found.append((AA, "Atomistic reference", analysis["reference"]))
    if analysis.get("npt_reference"):
        found.append((AA, "Atomistic, NPT reference", analysis["npt_reference"]))
    for run in analysis.get("runs", []):
        name = f"CG {run['ensemble'].upper()} ({run['name']})"
        found.append((run["ensemble"], name, run))
    return found


def figures(data: Gathered, part: str) -> list[Figure]:
    """Figures of the observables of a part of the page: ``structure``, ``state``, ``motion``."""
    found = []
    for kind in _kinds(part):
        shown = [
            Shown(role, section[kind.name], (section.get("comparison") or {}).get(kind.name) or {})
            for role, name, section in systems(data)
            if section.get(kind.name) and name != "Atomistic, NPT reference"
        ]
        found += [draw(plot) for plot in kind.plots(shown)] if shown else []
    return found


def tables(data: Gathered, part: str) -> list[ObservedTable]:
    """One table for each observable of a part of the page that has numbers."""
    every = (_table(data, kind.title, [kind]) for kind in _kinds(part))
    return [table for table in every if table is not None]


def state_table(data: Gathered) -> ObservedTable:
    """All time series in one table, with the frames behind them."""
    table = _table(data, "All systems", _kinds("state")) or ObservedTable("All systems", [], [])
    frames = [str(section.get("n_frames") or "–") for _, _, section in systems(data)]
    return ObservedTable(table.title, table.heads, [*table.rows, ("Frames", frames)])


def slope_facts(data: Gathered) -> list[tuple[str, str]]:
    """dP/dρ over several systems at constant volume, where there are any."""
    rows = []
    for key, name in (("reference", "Atomistic"), ("runs", "CG runs")):
        found = (data.analysis.get("equation_of_state") or {}).get(key)
        if not found:
            continue
        slope = plus_minus(found["slope"], found["slope_error"], "bar m³/kg")
        kappa = found["compressibility"]
        rows.append((f"{name}, dP/dρ at {found['density']:.1f} kg/m³ ({found['n']} runs)", slope))
        text = plus_minus(kappa["value"], kappa["error"], "1/GPa")
        rows.append((f"{name}, compressibility from it", text))
    return rows


def slope_figures(data: Gathered) -> list[Figure]:
    """Pressure against density of the systems at constant volume."""
    plot = plot_over_systems(data.analysis.get("equation_of_state") or {})
    return [] if plot is None else [draw(plot)]


def _kinds(part: str) -> list[type[Observable]]:
    return [kind for kind in OBSERVABLES if kind.part == part]


def _table(data: Gathered, title: str, kinds: list[type[Observable]]) -> ObservedTable | None:
    cells: dict[str, dict[str, str]] = {}
    names = []
    for _, name, section in systems(data):
        names.append(name)
        for kind in kinds:
            record = section.get(kind.name)
            rows = kind.rows(record) if record else []
            comparison = (section.get("comparison") or {}).get(kind.name)
            rows += kind.compared_rows(comparison) if comparison else []
            for row in rows:
                cells.setdefault(row.label, {})[name] = _cell(row)
    if not cells:
        return None
    lines = [(label, [own.get(name, "–") for name in names]) for label, own in cells.items()]
    return ObservedTable(title, names, lines)


def _cell(row: Quantity) -> str:
    value, error = real(row.value), real(row.error)
    if value is None:
        return MISSING
    text = plus_minus(value, error, row.unit) if error else number(value, None, row.unit)
    return f"{text} ({row.note})" if row.note else text
