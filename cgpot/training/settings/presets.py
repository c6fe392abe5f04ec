# SPDX-License-Identifier: GPL-2.0-or-later
"""Named settings of the section ``model``: ``model: {preset: schnet-benzene}``.

``schnet-benzene`` is the SchNet of the study that this project goes on from (liquid benzene,
arXiv:2209.12948): 7 Å, 240 features, 256 filters, 2 interactions, 80 Gaussians.  That study also
adds a fixed wall (5 Å/r)^5 to the network; here the section ``prior`` plays that part, with a
wall or a pair spline fitted to the data (``prior: {type: wall}`` comes closest).  The other
presets are sizes for molecular liquids of one site or a few.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "schnet-benzene": {
        "type": "schnet",
        "cutoff": 7.0,
        "features": 240,
        "filters": 256,
        "interactions": 2,
        "gaussians": 80,
    },
    "schnet-small": {
        "type": "schnet",
        "features": 32,
        "filters": 32,
        "interactions": 2,
        "gaussians": 32,
    },
    "nequip-tiny": {"type": "nequip", "layers": 2, "l_max": 1, "features": 4, "radial_width": 8},
    "nequip-small": {"type": "nequip", "layers": 2, "l_max": 1, "features": 8, "radial_width": 16},
    "nequip-medium": {
        "type": "nequip",
        "layers": 3,
        "l_max": 1,
        "features": 16,
        "radial_width": 32,
    },
    "nequip-large": {
        "type": "nequip",
        "layers": 3,
        "l_max": 2,
        "features": 32,
        "radial_width": 64,
    },
    "allegro-small": {
        "type": "allegro",
        "layers": 1,
        "l_max": 1,
        "features": 16,
        "tensors": 4,
        "width": 16,
    },
    "allegro-medium": {
        "type": "allegro",
        "layers": 2,
        "l_max": 2,
        "features": 32,
        "tensors": 8,
        "width": 32,
    },
}
"""Name -> keys of the section ``model``."""


def expand(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``model`` with its preset, if it names one, replaced by that preset's keys.

    Other keys of the section override those of the preset.

    Raises:
        ValueError: an unknown preset (the known ones are named), or one of another ``type``.
    """
    given = dict(section)
    if "preset" not in given:
        return given
    name = given.pop("preset")
    if not isinstance(name, str) or name not in PRESETS:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"model.preset: no preset {name!r}{hint} (known: {', '.join(PRESETS)})")
    preset = PRESETS[name]
    kind = given.get("type", preset["type"])
    if kind != preset["type"]:
        raise ValueError(
            f"model.preset: {name!r} is a model of type {preset['type']!r}, model.type is {kind!r}"
        )
    return {**preset, **given}
