# SPDX-License-Identifier: GPL-2.0-or-later
"""Learning rate per step: linear warm-up, then constant or half a cosine."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch.optim.lr_scheduler import LambdaLR


def factor(step: int, total: int, warmup: int, final: float, kind: str) -> float:
    """Fraction of the largest learning rate at a step (zero-based)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if kind == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


class WarmupSchedule(LambdaLR):
    """`factor` as a scheduler of torch, to be stepped after every optimiser step.

    Args:
        optimizer: the optimiser.
        total_steps: steps of the whole run.
        warmup_steps: steps of the warm-up.
        final: last fraction (cosine).
        kind: ``cosine`` or ``constant``.
    """

    def __init__(
        self,
        optimizer: Any,
        total_steps: int,
        warmup_steps: int = 0,
        final: float = 0.01,
        kind: Literal["cosine", "constant"] = "cosine",
    ) -> None:
        super().__init__(
            optimizer, lambda step: factor(step, total_steps, warmup_steps, final, kind)
        )
