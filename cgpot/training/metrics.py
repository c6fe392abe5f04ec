# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics of the mean virial, for nequip's `MetricsManager` (entries without a field).

Single-frame stresses are noisy; what matters for the equation of state is their mean.
Signs: P_model - P_label = -(tr sigma_model - tr sigma_label) / 3; the kinetic part cancels.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.train import MeanSquaredError
from torchmetrics import Metric

from cgpot.core.statistics import MIN_SAMPLES, estimate
from cgpot.core.units import EV_PER_A3_IN_BAR


def pressure_difference(
    predicted: AtomicDataDict.Type, target: AtomicDataDict.Type
) -> torch.Tensor:
    """P_model - P_label of each frame, (frames,), eV/Å^3."""
    difference = predicted[AtomicDataDict.STRESS_KEY] - target[AtomicDataDict.STRESS_KEY]
    return -torch.einsum("bii->b", difference) / 3.0


def mean_with_error(series: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of a correlated series; of few samples as if independent."""
    if len(series) >= MIN_SAMPLES:
        result = estimate(series, equilibrated=True)
        return result.mean, result.error
    error = float(np.std(series, ddof=1) / math.sqrt(len(series))) if len(series) > 1 else 0.0
    return float(np.mean(series)), error


class ReducedMSE(MeanSquaredError):
    """Mean square error in units of the labels' variance, so that losses are of order one.

    (`MetricsManager` normalises the weights to one; in raw units the loss would be so small
    that the epsilon of Adam rules.)

    Args:
        std: standard deviation of a label component.
    """

    def __init__(self, std: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not std > 0:
            raise ValueError(f"expected a positive standard deviation, found {std}")
        self.std = std

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add predictions and labels of a batch."""
        super().update(preds / self.std, target / self.std)

    def __str__(self) -> str:
        return "reduced_mse"


class PressureResidual(Metric):
    """Mean over frames of P_model - P_label in bar, or its standard error.

    Args:
        what: ``mean`` or ``error`` (autocorrelation of the frames in their order included).
    """

    full_state_update = True

    def __init__(self, what: Literal["mean", "error"] = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if what not in ("mean", "error"):
            raise ValueError(f"expected 'mean' or 'error', found {what!r}")
        self.what = what
        self.add_state("series", default=[], dist_reduce_fx="cat")
        self.series: list[torch.Tensor]

    def update(self, preds: AtomicDataDict.Type, target: AtomicDataDict.Type) -> None:
        """Add the frames of a batch."""
        self.series.append(pressure_difference(preds, target).detach() * EV_PER_A3_IN_BAR)

    def compute(self) -> torch.Tensor:
        """The mean or the error, bar."""
        values = torch.cat([part.view(-1) for part in self.series]).double()
        if not torch.isfinite(values).all():
            return torch.tensor(math.nan, dtype=torch.float64)
        mean, error = mean_with_error(values.cpu().numpy())
        return torch.tensor(mean if self.what == "mean" else error, dtype=torch.float64)

    def __str__(self) -> str:
        return f"pressure_residual_{self.what}"


class MeanPressureLoss(Metric):
    """Square of the mean of P_model - P_label over a batch, in units of ``std`` squared.

    Args:
        std: standard deviation of a stress component, eV/Å^3.
    """

    full_state_update = True

    def __init__(self, std: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not std > 0:
            raise ValueError(f"expected a positive standard deviation, found {std}")
        self.std = std
        self.add_state("sum", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")
        self.sum: torch.Tensor
        self.count: torch.Tensor

    def update(self, preds: AtomicDataDict.Type, target: AtomicDataDict.Type) -> None:
        """Add a batch."""
        mean = pressure_difference(preds, target).double().mean() / self.std
        self.sum = self.sum + mean.square()
        self.count = self.count + 1

    def compute(self) -> torch.Tensor:
        """Mean over batches."""
        return self.sum / self.count

    def __str__(self) -> str:
        return "mean_pressure"
