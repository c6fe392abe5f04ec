# SPDX-License-Identifier: GPL-2.0-or-later
"""The flat summary that a repository keeps, and the table as CSV."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path
from typing import Any

from cgpot.report.gather import Gathered
from cgpot.report.numbers import dig, real
from cgpot.report.row import Row
from cgpot.report.verdict import runs_of

RESULT_KEYS = (
    "rdf_error",
    "rdf_error_reference_halves",
    "force_rmse",
    "force_rmse_pair_fit",
    "first_peak_height_rel_error",
    "pressure_cg_bar",
    "pressure_aa_bar",
    "density_cg",
    "density_aa",
    "stable_ns",
    "ns_per_day",
    "command",
    "commit",
)


def flat_results(
    data: Gathered, rows: list[Row], *, command: str | None, commit: str | None
) -> dict[str, Any]:
    """The keys of ``results.json``; null where nothing was measured.

    With several pairs of bead types ``rdf_error``, its halves and the peak are the worst ones, and
    ``rdf_errors`` and ``first_peak_errors`` name each pair; molecules of several sites add
    ``bonded_overlap``, the worst one.
    """
    by_key = {row.key: row for row in rows}
    rdf = [r for r in rows if r.key.startswith("rdf_error")]
    peaks = [r for r in rows if r.key.startswith("first_peak_height")]

    def worst(values: list[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return max(known, key=abs) if known and len(known) == len(values) else None

    force = by_key["force_rmse"]
    nvt = next(iter(runs_of(data.analysis, "nvt")), None)
    values: dict[str, Any] = {
        "rdf_error": worst([r.difference for r in rdf]),
        "rdf_error_reference_halves": worst([r.halves for r in rdf]),
        "force_rmse": force.cg,
        "force_rmse_pair_fit": force.aa,
        "first_peak_height_rel_error": worst([r.difference for r in peaks]),
        "pressure_cg_bar": by_key["pressure"].cg,
        "pressure_aa_bar": by_key["pressure"].aa,
        "density_cg": by_key["density"].cg,
        "density_aa": by_key["density"].aa,
        "stable_ns": by_key["stable_ns"].cg,
        "ns_per_day": real(dig(nvt, "ns_per_day")),
        "command": command,
        "commit": commit,
    }
    found = {key: values[key] for key in RESULT_KEYS}
    if len(rdf) > 1:
        found["rdf_errors"] = {r.key.removeprefix("rdf_error_"): r.difference for r in rdf}
        found["first_peak_errors"] = {
            r.key.removeprefix("first_peak_height_"): r.difference for r in peaks
        }
    overlaps = [r.cg for r in rows if "_overlap_" in r.key]
    if overlaps:
        known = [v for v in overlaps if v is not None]
        found["bonded_overlap"] = min(known) if len(known) == len(overlaps) else None
    return found


def verdict_csv(rows: list[Row]) -> str:
    """The headline table as CSV; empty cells were not measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ["key", "unit", "aa", "aa_error", "cg", "cg_error", "difference"]
    columns += ["difference_error", "limit", "reference_halves", "status", "note"]
    writer.writerow(columns)
    for row in rows:
        numbers = (row.aa, row.aa_error, row.cg, row.cg_error, row.difference)
        numbers += (row.difference_error, row.limit, row.halves)  # type: ignore[assignment]
        cells = ["" if x is None else f"{x:.8g}" for x in numbers]
        writer.writerow([row.key, row.unit, *cells, row.status, row.note])
    return stream.getvalue()


def git_commit(folder: str | Path = ".") -> str | None:
    """Commit of the repository around ``folder``, with ``+changes`` when code differs from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude)*.json")
    return f"{commit}+changes" if changed else commit
