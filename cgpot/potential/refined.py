# SPDX-License-Identifier: GPL-2.0-or-later
"""The model inside a folder of `cgpot refine`."""

from __future__ import annotations

from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.core.files import read_json

HISTORY = "history.json"
FORMAT = "cgpot-refine-1"


def refined_model(path: str | Path) -> Path:
    """The folder of the refined model, where the path is a folder of `cgpot refine`.

    Any other path is given back as it is.

    Raises:
        InputError: the refinement has not finished.
    """
    folder = Path(path)
    record = folder / HISTORY
    if record.is_file():
        content = read_json(record)
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return folder / str(content.get("model", "model"))
    elif (folder / "iter.000").is_dir():
        raise InputError(
            "the refinement has not finished; run the same 'cgpot refine' command again, it "
            "goes on where it stopped",
            file=folder,
        )
    return folder
