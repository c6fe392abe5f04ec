# SPDX-License-Identifier: GPL-2.0-or-later
"""What an observable shows: rows of a table and curves of a figure, as plain data.

Nothing is drawn here: the report draws every figure in its own style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = Sequence[float] | NDArray[np.float64]
AA, NVT, NPT, NVE = "aa", "nvt", "npt", "nve"
"""Roles of systems: the atomistic reference, and CG runs by their ensemble."""


@dataclass(frozen=True)
class Shown:
    """One system with what was measured of one observable.

    Attributes:
        role: `AA`, `NVT`, `NPT` or `NVE`.
        record: of the observable.
        comparison: with the reference; empty for the reference.
    """

    role: str
    record: dict[str, Any]
    comparison: dict[str, Any]

    @property
    def name(self) -> str:
        """Name in legends."""
        return "atomistic, mapped" if self.role == AA else f"CG, {self.role.upper()}"


@dataclass(frozen=True)
class Quantity:
    """A number of one system in a table.

    Attributes:
        label: line of the table, the same in all systems.
        value: None where it was not measured.
        error: its standard error; None where it has none.
        unit: unit of both.
        note: words behind the number.
    """

    label: str
    value: float | None
    error: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        role: of the system; it decides colour and dash. None: a thin dotted line without name.
        name: in the legend.
        x, y: points.
        low, high: edges of a band of uncertainty, or None.
        value, error: a number that is named in the legend, or None.
    """

    role: str | None
    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    value: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes:
        key: anchor, unique on a page.
        title: short heading.
        alt: what a reader who does not see it should know.
        caption: what it shows and how to read it.
        x_label, y_label: axes with units.
        curves: lines, the reference first.
        x_range: ends of the horizontal axis, or None.
        x_ticks: distance of its ticks, or None.
        level: height of a thin horizontal line, or None.
        difference: whether a second panel shows the curves less the first one.
        logarithmic: both axes.
        marks: points with error bars instead of lines with bands, where a curve has edges.
        legend: title of the legend.
    """

    key: str
    title: str
    alt: str
    caption: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    x_range: tuple[float, float] | None = None
    x_ticks: float | None = None
    level: float | None = None
    difference: bool = False
    logarithmic: bool = False
    marks: bool = False
    legend: str = ""


def compared(shown: Sequence[Shown], label: str) -> list[Shown]:
    """The reference, and at most one NVT and one NPT run, that have a record of this label."""
    found = [s for s in shown if s.role in (AA, NVT, NPT) and label in s.record]
    seen: set[str] = set()
    result = []
    for s in sorted(found, key=lambda s: (AA, NVT, NPT).index(s.role)):
        if s.role not in seen:
            seen.add(s.role)
            result.append(s)
    return result if AA in seen else []
