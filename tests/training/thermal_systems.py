# SPDX-License-Identifier: GPL-2.0-or-later
"""A small fluid at two temperatures whose potential is stronger where it is hot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from training_systems import fluid, write_case

from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame

COLD, HOT = 4.0, 6.0


def exact(count: int, seed: int, temperature: float) -> list[CGFrame]:
    """Frames of the potential u(r) (T / 5 K)^2: half again as strong at one end as at the other."""
    factor = (temperature / 5.0) ** 2
    result = []
    for frame in fluid(count, seed):
        assert frame.forces is not None
        assert frame.virial is not None
        result.append(
            replace(
                frame,
                forces=factor * frame.forces,
                virial=factor * frame.virial,
                temperature=temperature,
            )
        )
    return result


def write_two(folder: Path, **changes: Any) -> Path:
    """A case with frames at both temperatures."""
    path = write_case(folder, **changes)
    for seed, (name, count) in enumerate((("train", 8), ("val", 2), ("test", 3))):
        frames = exact(count, seed, COLD) + exact(count, 10 + seed, HOT)
        write_frames(folder / f"{name}.extxyz", frames)
    return path


THERMAL: dict[str, Any] = {
    "system": {"temperature": None, "temperature_input": True},
    "model": {"dtype": "float64", "features": 8},
    "prior": {"type": "none"},
    "optimiser": {"epochs": 40, "learning_rate": 0.02, "ema_decay": 0.9},
}
