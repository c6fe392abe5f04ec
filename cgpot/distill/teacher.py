# SPDX-License-Identifier: GPL-2.0-or-later
"""Teachers of a distillation: forces, virial and energy from trained models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file, sha256_file
from cgpot.core.manifest import check_manifest
from cgpot.core.records import EnsembleRecord, TrainingRecord
from cgpot.molecules.frame import CGFrame
from cgpot.potential.refined import refined_model

Array = NDArray[np.float64]


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
        self.folders = [member for path in paths for member in members(path)]
        if not self.folders:
            raise InputError("no teacher was given")
        results = [_result(folder) for folder in self.folders]
        names = {result.bead_names for result in results}
        if len(names) > 1:
            raise InputError(
                f"the bead types of the teachers differ: {sorted(map(list, names))}",
                file=self.folders[-1],
            )
        self.type_names: tuple[str, ...] = names.pop()
        self.thermal = any(result.temperature_input is not None for result in results)
        self._models = [
            _labels(folder, result) for folder, result in zip(self.folders, results, strict=True)
        ]

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
        found = [model(frame) for model in self._models]
        forces = np.stack([f for f, _, _ in found])
        spread = 0.0
        if len(found) > 1:
            spread = float(np.sqrt(forces.var(axis=0, ddof=1).mean()))
        return (
            replace(
                frame,
                forces=forces.mean(axis=0),
                virial=np.mean([w for _, w, _ in found], axis=0),
                energy=float(np.mean([e for _, _, e in found])),
            ),
            spread,
        )


def members(path: str | Path) -> list[Path]:
    """Training folders that a path names: itself, or the members of an ensemble.

    Raises:
        InputError: neither.
    """
    folder = refined_model(Path(path).resolve())
    if not folder.is_dir():
        raise InputError("expected a training folder or an ensemble as teacher", file=path)
    record = folder / "ensemble.json"
    if not record.is_file():
        return [folder]
    return [folder / name for name in EnsembleRecord.read(record).members]


def _result(folder: Path) -> TrainingRecord:
    path = folder / "result.json"
    if not path.is_file():
        raise InputError(
            "the teacher has no result.json: its training has not finished; run 'cgpot train' "
            "again, it goes on where it stopped",
            file=folder,
        )
    check_manifest(path, stage="training")
    return TrainingRecord.read(path)


def _labels(
    folder: Path, result: TrainingRecord
) -> Callable[[CGFrame], tuple[Array, Array, float]]:
    kind = result.kind
    if kind == "uf3":
        from cgpot.training.linear.uf3 import UF3Potential

        return UF3Potential.read(folder / "uf3.json").labels
    if kind == "mscg":
        from cgpot.training.linear.mscg import MSCGPotential

        return MSCGPotential.read(folder / "mscg.json").labels
    if kind == "pair":
        from cgpot.potential.splines import PairTable
        from cgpot.training.evaluation.predictions import pair_labels_and_energy

        table = PairTable.read(folder / "pair.json")
        return lambda frame: pair_labels_and_energy(table, frame)
    if kind != "network":
        raise InputError(
            f"expected a network, an MS-CG or UF3 model, or a refined pair table, found {kind!r}",
            file=folder / "result.json",
            key="kind",
        )
    import torch
    from nequip.data import AtomicDataDict

    from cgpot.training.evaluation.predictions import cutoff_of, load_model
    from cgpot.training.folder.graph_frames import neighbours, to_data

    model = load_model(require_file(folder / "model.ckpt", "checkpoint"))
    cutoff = cutoff_of(model)
    thermal = result.temperature_input is not None

    def network(frame: CGFrame) -> tuple[Array, Array, float]:
        data = to_data(
            frame, *neighbours(frame, cutoff), forces=False, stress=False, temperature=thermal
        )
        out = model(AtomicDataDict.to_(data, torch.device("cpu")))

        def array(key: str) -> Array:
            value: Array = out[key].detach().double().numpy()
            return value

        stress = array(AtomicDataDict.STRESS_KEY).reshape(3, 3)
        energy = float(array(AtomicDataDict.TOTAL_ENERGY_KEY).sum())
        return array(AtomicDataDict.FORCE_KEY), -stress * frame.volume, energy

    return network
