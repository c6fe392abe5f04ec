# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics of the mean virial and its slope, for nequip's `MetricsManager` (without a field).

Single-frame stresses are noisy; what matters for the equation of state is their mean.
Signs: P_model - P_label = -(tr sigma_model - tr sigma_label) / 3; the kinetic part cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.train import MeanSquaredError
from torchmetrics import Metric

from cgpot.core.statistics import MIN_SAMPLES, estimate
from cgpot.core.units import AMU_PER_A3_IN_KG_M3, EV_PER_A3_IN_BAR
from cgpot.potential.graph_keys import FRAME_WEIGHT_KEY


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


class WeightedMSE(Metric):
    """Mean square error with weights of frames and of bead types, in units of the variance.

    The mean over all components of weight times squared error: with frame weights of 1 on
    average over the data set, the mean over batches is the weighted loss, unbiased.

    Args:
        field: a node field (forces) or a frame field (stress).
        std: standard deviation of a label component.
        type_weights: factor of each bead type, for node fields.
    """

    full_state_update = True

    def __init__(
        self,
        field: str,
        std: float,
        type_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not std > 0:
            raise ValueError(f"expected a positive standard deviation, found {std}")
        self.field = field
        self.std = std
        self.type_weights = None if type_weights is None else [float(w) for w in type_weights]
        self.add_state("sum", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")
        self.sum: torch.Tensor
        self.count: torch.Tensor

    def update(self, preds: AtomicDataDict.Type, target: AtomicDataDict.Type) -> None:
        """Add a batch; the frame weights are in ``target`` (absent: 1)."""
        square = ((preds[self.field] - target[self.field]) / self.std).square()
        rows = square.reshape(square.shape[0], -1).sum(dim=1).double()
        weight = target.get(FRAME_WEIGHT_KEY)
        if weight is not None:
            weight = weight.view(-1).double()
            if self.field == AtomicDataDict.FORCE_KEY:
                weight = weight[target[AtomicDataDict.BATCH_KEY].view(-1)]
            rows = rows * weight
        if self.type_weights is not None:
            factors = torch.tensor(self.type_weights, dtype=rows.dtype, device=rows.device)
            rows = rows * factors[target[AtomicDataDict.ATOM_TYPE_KEY].view(-1)]
        self.sum = self.sum + rows.sum()
        self.count = self.count + square.numel()

    def compute(self) -> torch.Tensor:
        """The weighted mean."""
        return self.sum / self.count

    def __str__(self) -> str:
        return f"weighted_{self.field}_mse"


class EnergyDifferenceMSE(Metric):
    """Variance over frames of the error of the energy per bead, in units of ``std`` squared.

    Energies of a teacher and of a model may differ by a constant, which no force depends on:
    the (weighted) mean error of the frames at hand is taken off, with Bessel's correction, so
    that the expected value does not depend on the size of the batch.  One frame gives 0.

    Args:
        std: standard deviation of the energy per bead, eV.
    """

    full_state_update = True

    def __init__(self, std: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not std > 0:
            raise ValueError(f"expected a positive standard deviation, found {std}")
        self.std = std
        for name in ("weight", "weight_square", "first", "second"):
            zero = torch.tensor(0.0, dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")
        self.weight: torch.Tensor
        self.weight_square: torch.Tensor
        self.first: torch.Tensor
        self.second: torch.Tensor

    def update(self, preds: AtomicDataDict.Type, target: AtomicDataDict.Type) -> None:
        """Add the frames of a batch."""
        key = AtomicDataDict.TOTAL_ENERGY_KEY
        beads = target[AtomicDataDict.NUM_NODES_KEY].view(-1)
        error = (preds[key] - target[key]).view(-1).double() / beads / self.std
        weight = target.get(FRAME_WEIGHT_KEY)
        weight = torch.ones_like(error) if weight is None else weight.view(-1).double()
        self.weight = self.weight + weight.sum()
        self.weight_square = self.weight_square + weight.square().sum()
        self.first = self.first + (weight * error).sum()
        self.second = self.second + (weight * error.square()).sum()

    def compute(self) -> torch.Tensor:
        """The variance."""
        spread = self.second - self.first.square() / self.weight
        free = self.weight - self.weight_square / self.weight
        return torch.where(free > 0, spread / torch.where(free > 0, free, 1.0), 0.0 * spread)

    def __str__(self) -> str:
        return "energy_difference_mse"


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


class PressureSlopeLoss(Metric):
    """Square of the covariance of P_model - P_label with the density over a batch.

    In units of the standard deviations of both.  With Bessel's correction, so that the expected
    covariance does not depend on the size of the batch; a batch of one frame does not count.

    Args:
        std: standard deviation of a stress component, eV/Å^3.
        density_std: standard deviation of the mass density over the training frames, kg/m^3.
        masses: of the bead types, amu.
    """

    full_state_update = True

    def __init__(
        self, std: float, density_std: float, masses: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for value in (std, density_std):
            if not value > 0:
                raise ValueError(f"expected positive standard deviations, found {value}")
        self.std = std
        self.density_std = density_std
        self.masses = [float(mass) for mass in masses]
        self.add_state("sum", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")
        self.sum: torch.Tensor
        self.count: torch.Tensor

    def update(self, preds: AtomicDataDict.Type, target: AtomicDataDict.Type) -> None:
        """Add a batch."""
        residual = pressure_difference(preds, target).double() / self.std
        if len(residual) < 2:
            return
        density = self.densities(target) / self.density_std
        covariance = ((density - density.mean()) * residual).sum() / (len(residual) - 1)
        self.sum = self.sum + covariance.square()
        self.count = self.count + 1

    def densities(self, data: AtomicDataDict.Type) -> torch.Tensor:
        """Mass density of each frame, (frames,), kg/m^3."""
        cell = data[AtomicDataDict.CELL_KEY].double().view(-1, 3, 3)
        masses = torch.tensor(self.masses, dtype=torch.float64, device=cell.device)
        of_sites = masses[data[AtomicDataDict.ATOM_TYPE_KEY].view(-1)]
        batch = data[AtomicDataDict.BATCH_KEY].view(-1)
        total = torch.zeros(len(cell), dtype=torch.float64, device=cell.device)
        total = total.index_add(0, batch, of_sites)
        return total / torch.linalg.det(cell).abs() * AMU_PER_A3_IN_KG_M3

    def compute(self) -> torch.Tensor:
        """Mean over batches."""
        return self.sum / torch.clamp(self.count, min=1)

    def __str__(self) -> str:
        return "pressure_slope"
