# SPDX-License-Identifier: GPL-2.0-or-later
"""The report stage: HTML, JSON and CSV, the flat results, and the manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgpot.core.files import write_json, write_text
from cgpot.core.manifest import write_manifest
from cgpot.report.gather import Gathered, gather
from cgpot.report.limits import Limits
from cgpot.report.page import caveats, default_title, render, summary
from cgpot.report.results import flat_results, git_commit, verdict_csv
from cgpot.report.row import Row
from cgpot.report.verdict import verdict

FORMAT = "cgpot-report-1"


@dataclass(frozen=True)
class ReportInput:
    """What to report.

    Attributes:
        analysis: folder of ``cgpot analyze``.
        dataset: folder of ``cgpot dataset``, if any; likewise ``train`` and ``deploy``.
        aa_speed: JSON with the speed of the atomistic engine, if any.
        limits: the bars.
        title: heading of the page.
        command: command that made everything, for the page and results.json.
        results: where to write the flat results, if wanted.
        parity: forces of held-out frames, for an analysis that was made without them.
    """

    analysis: Path
    dataset: Path | None = None
    train: Path | None = None
    deploy: Path | None = None
    aa_speed: Path | None = None
    limits: Limits = field(default_factory=Limits)
    title: str | None = None
    command: str | None = None
    results: Path | None = None
    parity: dict[str, Any] | None = None


def write_report(task: ReportInput, output: str | Path) -> tuple[dict[str, Any], list[Row]]:
    """Write ``report.html`` and, with the same stem, ``.json`` and ``.csv``.

    Args:
        task: what to report.
        output: the HTML file.

    Returns:
        The content of the JSON file, and the rows of the verdict.

    Raises:
        InputError: no analysis, a named folder that does not exist, or a damaged file.
    """
    path = Path(output)
    data: Gathered = gather(
        task.analysis,
        dataset=task.dataset,
        train=task.train,
        deploy=task.deploy,
        aa_speed=task.aa_speed,
    )
    if task.parity is not None and not data.analysis.get("parity"):
        data.analysis["parity"] = task.parity
    rows = verdict(data, task.limits)
    commit = git_commit()
    results = flat_results(data, rows, command=task.command, commit=commit)
    text, _ = summary(rows)
    record = {
        "format": FORMAT,
        "title": task.title or default_title(data),
        "summary": text,
        "results": results,
        "verdict": [row.as_dict() for row in rows],
        "limits": task.limits.model_dump(),
        "parity": data.analysis.get("parity"),
        "caveats": caveats(data),
    }
    page = render(data, rows, task.limits, title=task.title, command=task.command, commit=commit)
    html = write_text(path, page)
    outputs = [
        write_json(path.with_suffix(".json"), record),
        write_text(path.with_suffix(".csv"), verdict_csv(rows)),
    ]
    if task.results is not None:
        write_json(task.results, results)
    write_manifest(
        html,
        stage="report",
        inputs={"files": data.files},
        outputs=outputs,
        config={"limits": task.limits.model_dump(), "title": task.title},
    )
    return record, rows
