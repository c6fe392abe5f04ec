# SPDX-License-Identifier: GPL-2.0-or-later
"""What a call of the training stage gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """What a call did.

    Attributes:
        folder: output folder.
        result: content of result.json.
        skipped: the folder was complete already.
        resumed: the run went on from a checkpoint.
    """

    folder: Path
    result: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    resumed: bool = False
