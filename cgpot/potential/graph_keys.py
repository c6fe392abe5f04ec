# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields of a frame that nequip does not know (training registers them)."""

from __future__ import annotations

from typing import Final

TEMPERATURE_KEY: Final[str] = "temperature"
"""(frames, 1), K: input of a model whose energy depends on the temperature."""
FRAME_WEIGHT_KEY: Final[str] = "frame_weight"
"""(frames, 1): weight of a frame in the losses, 1 on average."""
OFFSET_KEY: Final[str] = "centre_offset"
"""(sites, 3), Å: from the mass centre of the molecule, for the molecular stress of losses."""
