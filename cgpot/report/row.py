# SPDX-License-Identifier: GPL-2.0-or-later
"""One line of the headline table, and how it is held against its limit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from cgpot.report.numbers import MISSING, real, signed

MET, MISSED, UNKNOWN, INFO = "met", "missed", "not measured", "no limit"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the verdict.

    Attributes:
        key: name in files.
        label: name on the page.
        unit: unit of the numbers.
        aa: atomistic value, aa_error its standard error.
        cg: CG value, cg_error its standard error.
        difference: what is held against the limit (absolute value).
        difference_error: its standard error.
        limit: the bar.
        halves: the same difference between two halves of the reference.
        status: met, missed, not measured or no limit.
        texts: how the numbers are shown: aa, cg, difference, limit, halves.
        note: a remark.
    """

    key: str
    label: str
    unit: str = ""
    aa: float | None = None
    aa_error: float | None = None
    cg: float | None = None
    cg_error: float | None = None
    difference: float | None = None
    difference_error: float | None = None
    limit: float | None = None
    halves: float | None = None
    status: str
    texts: dict[str, str]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def status_of(difference: float | None, limit: float | None) -> str:
    """Met, missed, not measured or no limit."""
    if difference is None:
        return UNKNOWN
    if limit is None:
        return INFO
    return MET if abs(difference) <= limit else MISSED


def notes_of(
    difference: float | None,
    error: float | None,
    limit: float | None,
    halves: float | None,
    share: float,
) -> str:
    """Remarks: a limit within the error, or a reference too short to decide.

    Args:
        difference: what is held against the limit.
        error: its standard error.
        limit: the bar.
        halves: the same difference between two halves of the reference.
        share: of the limit that the halves may differ by.
    """
    notes = []
    if difference is not None and error and limit and abs(abs(difference) - limit) < error:
        notes.append("the limit lies within one standard error")
    if halves is not None and limit and abs(halves) > share * limit:
        notes.append(
            "the reference's own two halves differ by more than "
            f"{_share(share)} of the limit: a longer reference would decide more"
        )
    return "; ".join(notes)


def _share(share: float) -> str:
    return "a third" if abs(share - 1 / 3) < 1e-3 else f"{100 * share:.0f} %"


def limit_text(value: float | None, pattern: str) -> str:
    """A limit in words; a dash without one."""
    return "–" if value is None else pattern.format(value)


def percent(value: float | None) -> str:
    """A relative difference in percent, with its sign."""
    return MISSING if value is None else signed(100 * value, 1, "%")


def combined(a: Any, b: Any) -> float | None:
    """The error of a difference from those of its two values."""
    x, y = real(a), real(b)
    return None if x is None or y is None else math.hypot(x, y)


def spread_of(halves: Any) -> float | None:
    """Difference between the two halves of a run."""
    if not isinstance(halves, list) or len(halves) != 2:
        return None
    first, second = real(halves[0]), real(halves[1])
    return None if first is None or second is None else abs(second - first)
