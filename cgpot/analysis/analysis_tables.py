# SPDX-License-Identifier: GPL-2.0-or-later
"""CSV files beside analysis.json: curves of each observable, and all numbers in one table."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from cgpot.analysis.observables.registry import OBSERVABLES

SUMMARY = "observables.csv"


def systems(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and sections of everything that was analysed."""
    found = [("reference", result["reference"])]
    if result["npt_reference"]:
        found.append(("npt_reference", result["npt_reference"]))
    return found + [(run["name"], run) for run in result["runs"]]


def tables(result: dict[str, Any]) -> dict[str, str]:
    """File name -> text: ``<observable>.csv`` of those that have curves, and ``observables.csv``.

    Columns of curves are named ``system:label:quantity``; the abscissa is common to all.
    """
    found = {}
    for kind in OBSERVABLES:
        columns: dict[str, Sequence[float]] = {}
        for name, section in systems(result):
            own = list(kind.curves(section[kind.name] or {}).items())
            for k, (column, values) in enumerate(own):
                if k == 0:
                    columns.setdefault(column, values)
                if k > 0 or columns[column] != values:
                    columns[f"{name}:{column}"] = values
        if columns:
            found[f"{kind.name}.csv"] = _text(
                list(columns), itertools.zip_longest(*columns.values())
            )
    found[SUMMARY] = _summary(result)
    return found


def _summary(result: dict[str, Any]) -> str:
    rows: list[list[Any]] = []
    for name, section in systems(result):
        for kind in OBSERVABLES:
            numbers = kind.rows(section[kind.name]) if section[kind.name] else []
            record = section.get("comparison", {}).get(kind.name)
            numbers += kind.compared_rows(record) if record else []
            rows += [[name, kind.name, n.label, n.value, n.error, n.unit] for n in numbers]
    return _text(["system", "observable", "quantity", "value", "error", "unit"], rows)


def _text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(
            [f"{x:.6g}" if isinstance(x, float) else "" if x is None else x for x in row]
        )
    return stream.getvalue()
