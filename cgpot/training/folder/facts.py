# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration of a training needs to know about its frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgpot.molecules.compositions import groups_of
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, label_stress
from cgpot.training.folder.states import temperature_scale, temperatures
from cgpot.training.folder.weights import StateWeights, frame_weights


@dataclass(frozen=True)
class DataFacts:
    """What the configuration needs to know about the training frames.

    Attributes:
        type_names: bead types.
        n_frames: training frames.
        n_sites: sites of a frame; of several compositions their mean.
        neighbours: mean number of neighbours within the cutoff.
        force_rms: rms force component, eV/Å.
        stress_std: standard deviation of a component of the (molecular) stress over the frames of a
            composition (mean over the six components), eV/Å^3; of a single frame the rms shear
            component (zero on average in a fluid); None without stress labels.
        type_force_rms: rms force component of each bead type and, last, of all, eV/Å.
        energy_std: standard deviation of the energy per bead over the frames, eV; None without
            energies or with a single frame.
        weighted: whether the weights of the frames differ.
        type_masses: mass of each bead type, amu.
        density_std: standard deviation of the mass density over the frames of a composition,
            kg/m^3.
        temperature: reference and scale of the temperatures (K) that the frames carry; None where
            they are all alike.
    """

    type_names: tuple[str, ...]
    n_frames: int
    n_sites: float
    neighbours: float
    force_rms: float
    stress_std: float | None
    type_force_rms: tuple[float, ...] = ()
    energy_std: float | None = None
    weighted: bool = False
    temperature: tuple[float, float] | None = None
    type_masses: tuple[float, ...] = ()
    density_std: float = 0.0

    @classmethod
    def of(
        cls, frames: list[CGFrame], neighbours: float, state_weights: StateWeights = "frames"
    ) -> DataFacts:
        """Facts of frames that have forces.

        Raises:
            ConfigError: weights for states that the frames do not have.
        """
        weights = frame_weights(frames, state_weights)
        square = [float(np.mean(frame.forces**2)) for frame in frames if frame.forces is not None]
        rms = math.sqrt(float(np.average(square, weights=weights)))
        energies = [f.energy / f.topology.n_sites for f in frames if f.energy is not None]
        energy_std = None
        if len(energies) == len(frames) and len({id(frame) for frame in frames}) > 1:
            energy_std = float(np.std(energies, ddof=1))
        known = temperatures(frames)
        std = None
        groups = list(groups_of(frames).values())
        if all(frame.virial is not None for frame in frames):
            upper = np.triu_indices(3)
            stress = np.stack([label_stress(f, centre_offsets(f))[upper] for f in frames])
            if len({id(frame) for frame in frames}) > len(groups):
                std = float(np.sqrt(_within(stress, groups, len(groups)).mean()))
            else:
                std = float(np.sqrt(np.mean(stress[0, [1, 2, 4]] ** 2)))
        return cls(
            type_names=frames[0].topology.type_names,
            n_frames=len(frames),
            n_sites=float(np.mean([frame.topology.n_sites for frame in frames])),
            neighbours=neighbours,
            force_rms=rms,
            stress_std=std,
            type_force_rms=(*_type_rms(frames, weights), rms),
            energy_std=energy_std,
            weighted=bool(np.ptp(weights) > 1e-9),
            temperature=temperature_scale(frames) if len(known) > 1 else None,
            type_masses=tuple(frames[0].topology.type_masses),
            density_std=float(np.sqrt(_within(np.array([f.density for f in frames]), groups))),
        )


def _within(
    values: NDArray[np.float64], groups: list[list[int]], ddof: int = 0
) -> NDArray[np.float64]:
    """Variance of (frames, ...) about the mean of each group."""
    square = sum(((values[mine] - values[mine].mean(axis=0)) ** 2).sum(axis=0) for mine in groups)
    return np.asarray(square / (len(values) - ddof))


def _type_rms(frames: list[CGFrame], weights: NDArray[np.float64]) -> list[float]:
    """Rms force component of each bead type, eV/Å (0 for a type without sites)."""
    squares = np.zeros(len(frames[0].topology.type_names))
    counts = np.zeros(len(squares))
    for frame, weight in zip(frames, weights, strict=True):
        types = frame.topology.types
        counts += np.bincount(types, minlength=len(squares))
        if frame.forces is not None:
            squares += weight * np.bincount(
                types, (frame.forces**2).mean(axis=1), minlength=len(squares)
            )
    return [math.sqrt(s / c) if c else 0.0 for s, c in zip(squares, counts, strict=True)]
