# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors say where."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgpot.core import errors


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "bad"),
        ({"file": "a.yaml"}, "a.yaml: bad"),
        ({"file": Path("a.yaml"), "key": "x.y"}, "a.yaml, key 'x.y': bad"),
        ({"file": "a.xyz", "frame": 0}, "a.xyz, frame 0: bad"),
        ({"key": "x"}, "key 'x': bad"),
    ],
)
def test_message(where: dict[str, object], text: str) -> None:
    error = errors.CgpotError("bad", **where)  # type: ignore[arg-type]
    assert str(error) == text
    assert error.message == "bad"
    assert error.file == (None if "file" not in where else Path(str(where["file"])))


@pytest.mark.parametrize(
    "kind",
    ["UnitError", "ConfigError", "InputError", "ManifestError", "DataError", "ToolError"],
)
def test_every_kind_is_caught_as_one(kind: str) -> None:
    with pytest.raises(errors.CgpotError, match="frame 3: bad"):
        raise getattr(errors, kind)("bad", frame=3)
