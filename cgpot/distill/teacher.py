# SPDX-License-Identifier: GPL-2.0-or-later
"""Teachers of a distillation: forces, virial and energy from trained models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import sha256_file
from cgpot.core.manifest import check_manifest
from cgpot.core.records import TrainingRecord
from cgpot.molecules.frame import CGFrame
from cgpot.potential.potential import MeanOfPotentials, mean_labels
from cgpot.training.open_potential import open_potential


class Teacher:
    """One trained model, or the mean of several.

    Args:
        paths: training folders, folders of refinements, or folders of ensembles.
        temperature: K, for networks that take it as an input, of frames that carry none.

    Raises:
        InputError: no such folder, unfinished, or bead types that differ between the members.
    """

    def __init__(self, paths: Sequence[str | Path], temperature: float | None = None) -> None:
        self.temperature = temperature
        if not paths:
            raise InputError("no teacher was given")
        for path in paths:
            if not Path(path).is_dir():
                raise InputError("expected a training folder or an ensemble as teacher", file=path)
        opened = [open_potential(path) for path in paths]
        models = [model for found in opened for model in found.members or (found,)]
        self._mean = MeanOfPotentials(models)
        self.folders = [model.path.resolve() for model in models]
        for folder in self.folders:
            check_manifest(folder / "result.json", stage="training")
        self.type_names = self._mean.type_names
        self.thermal = any(
            isinstance(model.result, TrainingRecord) and model.result.temperature_input is not None
            for model in models
        )

    @property
    def digests(self) -> list[str]:
        """sha256 of each member's result."""
        return [sha256_file(folder / "result.json") for folder in self.folders]

    def label(self, frame: CGFrame) -> tuple[CGFrame, float]:
        """The frame with the mean labels, and the rms spread of a force component, eV/Å.

        Raises:
            InputError: other bead types than the teacher's, or no temperature where it is needed.
        """
        if self.thermal and frame.temperature is None:
            if self.temperature is None:
                raise InputError(
                    "the teacher takes the temperature as an input, but the frame carries none; "
                    "give --temperature",
                    frame=frame.source_frame,
                    key="temperature",
                )
            frame = replace(frame, temperature=self.temperature)
        if frame.topology.type_names != self.type_names:
            raise InputError(
                f"bead types {list(frame.topology.type_names)} differ from those of the teacher, "
                f"{list(self.type_names)}",
                frame=frame.source_frame,
            )
        found = self._mean.each(frame)
        spread = 0.0
        if len(found) > 1:
            forces = np.stack([labels.forces for labels in found])
            spread = float(np.sqrt(forces.var(axis=0, ddof=1).mean()))
        mean = mean_labels(found)
        labelled = replace(frame, forces=mean.forces, virial=mean.virial, energy=mean.energy)
        return labelled, spread
