# SPDX-License-Identifier: GPL-2.0-or-later
"""results.html: the table and the pictures in one file."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cgpot.report
from cgpot import __version__
from cgpot.core.files import write_text
from cgpot.report.numbers import MISSING, plus_minus, scientific
from cgpot.study.columns import COLUMNS, TEXT
from cgpot.study.marks import families
from cgpot.study.point_rows import Row, state_text
from cgpot.study.state import DONE, FAILED
from cgpot.study.study_plots import StudyPlot
from cgpot.study.study_speed import ALONE, BESIDE

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Head:
    """A column of the page.

    Attributes:
        column: of results.csv.
        label: heading.
        unit: below it.
        error: column of its error.
        form: format of a number without error.
    """

    column: str
    label: str
    unit: str = ""
    error: str | None = None
    form: str = "{:g}"

    @property
    def number(self) -> bool:
        """Whether it holds numbers."""
        return self.column not in TEXT

    @property
    def meaning(self) -> str:
        """What the column means."""
        return COLUMNS[self.column]


HEADS = (
    Head("point", "point"),
    Head("loss", "loss"),
    Head("frames", "frames", form="{:d}"),
    Head("parameters", "weights", form="{:,d}"),
    Head("force_rmse_eV_A", "force RMSE", "eV/Å", form="{:.4f}"),
    Head("force_rmse_pair_fit_eV_A", "of a pair fit", "eV/Å", form="{:.4f}"),
    Head("stress_rmse_eV_A3", "stress RMSE", "meV/Å³", form="{:.4f}"),
    Head("pressure_residual_bar", "held-out pressure", "bar", "pressure_residual_error_bar"),
    Head("rdf_error", "Δg", "", "rdf_error_error"),
    Head("first_peak_rel_error", "first peak", "%", "first_peak_rel_error_error"),
    Head("pressure_bar", "pressure", "bar", "pressure_error_bar"),
    Head("density_kg_m3", "density", "kg/m³", "density_error_kg_m3"),
    Head("npt_phase", "NPT phase"),
    Head("diffusion_m2_s", "diffusion", "10⁻⁹ m²/s", "diffusion_error_m2_s"),
    Head("stable_ns", "stable", "ns", form="{:.3g}"),
    Head("ns_per_day", "speed", "ns/day", form="{:.3g}"),
    Head("cpu_use_percent", "CPU use", "%", form="{:.0f}"),
    Head("speed_measured", "speed measured"),
    Head("train_seconds", "training", "s", form="{:.0f}"),
    Head("compile_seconds", "compilation", "s", form="{:.0f}"),
    Head("state", "state"),
    Head("settings", "settings"),
    Head("failure", "failure"),
)
SCALES = {
    "first_peak_rel_error": 100.0,
    "diffusion_m2_s": 1e9,
    "stress_rmse_eV_A3": 1e3,
}


def _text(head: Head, row: Row) -> str:
    value = row.get(head.column)
    if head.column == "state":
        return state_text(row)
    if value is None:
        return "–"
    if not isinstance(value, int | float):
        return str(value)
    scale = SCALES.get(head.column, 1.0)
    if head.error is not None:
        error = row.get(head.error)
        text = plus_minus(value * scale, None if error is None else error * scale)
        return (
            "–" if text == MISSING else text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        )
    if head.form.endswith("d}"):
        return head.form.format(int(value))
    if abs(value * scale) >= 1e6:
        return scientific(value * scale)
    return head.form.format(value * scale).replace("-", "\N{MINUS SIGN}")


def write_page(
    path: Path, title: str, about: str, rows: Sequence[Row], plots: Sequence[StudyPlot]
) -> Path:
    """Write the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    report = Path(cgpot.report.__file__).parent
    colours = families(rows)
    heads = [head for head in HEADS if any(row.get(head.column) is not None for row in rows)]
    pictures = [
        {
            "key": plot.key,
            "title": plot.title,
            "caption": plot.caption,
            "data": base64.b64encode(plot.path.read_bytes()).decode("ascii"),
        }
        for plot in plots
    ]
    text = environment.get_template("template.html.j2").render(
        version=__version__,
        style=(report / "style.css").read_text(encoding="utf-8"),
        title=title,
        about=about,
        counts=counts_text(rows),
        heads=heads,
        lines=[[_cell(head, row, colours) for head in heads] for row in rows],
        reference=_reference(rows),
        plots=pictures,
        speeds=speeds_text(rows),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return write_text(path, text)


def _cell(head: Head, row: Row, colours: dict[str, str]) -> dict[str, Any]:
    value = row.get(head.column)
    state = {DONE: "met", FAILED: "missed"}.get(state_text(row), "open")
    return {
        "head": head.column == "point",
        "badge": state if head.column == "state" else "",
        "kind": "num" if head.number else "text" if head.column in ("settings", "failure") else "",
        "colour": colours[str(row["family"])],
        "value": "" if value is None else value,
        "text": _text(head, row),
    }


def speeds_text(rows: Sequence[Row]) -> str:
    """How the speeds were measured."""
    ways = {row.get("speed_measured") for row in rows} - {None}
    if ways == {ALONE}:
        return "Speeds are of one model at a time, with nothing of the study beside it."
    if ways == {ALONE, BESIDE}:
        return "Speeds are of one model at a time where the table says so; else other work ran too."
    return "Speeds were measured with other work on the machine."


def counts_text(rows: Sequence[Row]) -> str:
    """``24 points: 20 done, 2 done but boiled, 1 failed, 1 waiting``."""
    states = [state_text(row).replace(",", " but") for row in rows]
    parts = [f"{states.count(name)} {name}" for name in dict.fromkeys(states)]
    return f"{len(rows)} points: {', '.join(parts)}" if rows else "no points"


def _reference(rows: Sequence[Row]) -> str:
    for row in rows:
        if row.get("pressure_aa_bar") is not None:
            pressure = plus_minus(row["pressure_aa_bar"], row["pressure_aa_error_bar"], "bar")
            text = f"Atomistic reference: pressure {pressure}"
            if row.get("density_aa_kg_m3") is not None:
                density = plus_minus(
                    row["density_aa_kg_m3"], row["density_aa_error_kg_m3"], "kg/m³"
                )
                text += f", density {density}"
            return text + "."
    return ""
