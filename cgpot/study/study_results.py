# SPDX-License-Identifier: GPL-2.0-or-later
"""Write what a study found: results.csv, results.html and the pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, read_json
from cgpot.study.point_rows import Row, collect, write_csv
from cgpot.study.points import Point
from cgpot.study.stage_commands import Surroundings
from cgpot.study.state import wait_lock
from cgpot.study.study_page import write_page
from cgpot.study.study_plots import draw_all
from cgpot.study.study_settings import StudyConfig


@dataclass(frozen=True)
class Results:
    """What was written.

    Attributes:
        rows: the table.
        files: its files.
    """

    rows: list[Row]
    files: list[Path]


def write_results(
    config: StudyConfig, points: Sequence[Point], around: Surroundings, publish: Path | None = None
) -> Results:
    """Collect all points and write table, page and pictures.

    Args:
        config: the study.
        points: all its points.
        around: what they share.
        publish: folder for a copy of results.csv and the pictures.
    """
    with wait_lock(around.folder / ".results.lock"):
        rows = collect(points, around)
        table = write_csv(around.folder / "results.csv", rows)
        plots = draw_all(rows, around.folder / "plots", reference_noise(points, around))
        page = write_page(around.folder / "results.html", config.title, config.about, rows, plots)
        files = [table, page, *(plot.path for plot in plots)]
        if publish is not None:
            for path in [table, *(plot.path for plot in plots)]:
                with atomic_path(publish / path.name) as temporary:
                    shutil.copyfile(path, temporary)
                files.append(publish / path.name)
    return Results(rows, files)


def reference_noise(points: Sequence[Point], around: Surroundings) -> float | None:
    """Δg between two halves of the atomistic reference, from any analysis."""
    for point in points:
        try:
            record = read_json(around.point(point.name).stage("analyze") / "analysis.json")
            return max(float(r["halves_error"]) for r in record["reference"]["rdf"].values())
        except (InputError, KeyError, TypeError, ValueError):
            continue
    return None
