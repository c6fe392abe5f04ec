# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration of a training needs to know about its frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cgpot.core.frame import CGFrame


@dataclass(frozen=True)
class DataFacts:
    """What the configuration needs to know about the training frames.

    Attributes:
        type_names: bead types.
        n_frames: training frames.
        n_sites: sites of a frame.
        neighbours: mean number of neighbours within the cutoff.
        force_rms: rms force component, eV/Å.
        stress_std: standard deviation of a stress component over the frames (mean over the six
            components), eV/Å^3; of a single frame the rms shear component (zero on average in a
            fluid); None without stress labels.
    """

    type_names: tuple[str, ...]
    n_frames: int
    n_sites: int
    neighbours: float
    force_rms: float
    stress_std: float | None

    @classmethod
    def of(cls, frames: list[CGFrame], neighbours: float) -> DataFacts:
        """Facts of frames that have forces."""
        square = [float(np.mean(frame.forces**2)) for frame in frames if frame.forces is not None]
        std = None
        if all(frame.virial is not None for frame in frames):
            upper = np.triu_indices(3)
            stress = np.stack([(0.5 * (f.stress + f.stress.T))[upper] for f in frames])
            if len({id(frame) for frame in frames}) > 1:
                std = float(np.sqrt(stress.var(axis=0, ddof=1).mean()))
            else:
                std = float(np.sqrt(np.mean(stress[0, [1, 2, 4]] ** 2)))
        return cls(
            type_names=frames[0].topology.type_names,
            n_frames=len(frames),
            n_sites=frames[0].topology.n_sites,
            neighbours=neighbours,
            force_rms=math.sqrt(float(np.mean(square))),
            stress_std=std,
        )
