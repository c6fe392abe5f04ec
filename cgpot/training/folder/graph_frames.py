# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames in memory with neighbour lists made once, as nequip's data module wants them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict, register_fields
from nequip.data.dataset import AtomicDataset
from torch.utils.data import DataLoader, Sampler

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.molecular_virial import centre_offsets, label_stress
from cgpot.potential.graph_keys import FRAME_WEIGHT_KEY, OFFSET_KEY, TEMPERATURE_KEY
from cgpot.potential.site_graph import bare_graph, neighbours
from cgpot.training.folder.selection import choose
from cgpot.training.folder.weights import StateWeights, frame_weights
from cgpot.training.linear.bonded_part import BondedPart

register_fields(graph_fields=[TEMPERATURE_KEY, FRAME_WEIGHT_KEY], node_fields=[OFFSET_KEY])


def to_data(
    frame: CGFrame,
    edges: np.ndarray,
    shifts: np.ndarray,
    *,
    forces: bool = True,
    stress: bool = True,
    energy: bool = True,
    temperature: bool = False,
    weight: float | None = None,
    offsets: np.ndarray | None = None,
) -> AtomicDataDict.Type:
    """One frame as nequip's dictionary (`bare_graph`), with labels where asked and present.

    ``temperature`` adds the frame's own as an input, ``weight`` is its weight in the losses.
    With ``offsets`` (`cgpot.molecules.molecular_virial.centre_offsets`) the stress is molecular.
    """
    data: dict[str, torch.Tensor] = bare_graph(frame, edges, shifts, temperature=temperature)
    if forces and frame.forces is not None:
        data[AtomicDataDict.FORCE_KEY] = torch.from_numpy(frame.forces)
    if forces and energy and frame.energy is not None:
        data[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[frame.energy]], dtype=torch.float64)
    if weight is not None:
        data[FRAME_WEIGHT_KEY] = torch.tensor([[weight]], dtype=torch.float64)
    if stress and frame.virial is not None:
        sigma = label_stress(frame, offsets)
        data[AtomicDataDict.STRESS_KEY] = torch.from_numpy(sigma).view(1, 3, 3)
        if offsets is not None:
            data[OFFSET_KEY] = torch.from_numpy(offsets)
    return data


class CGDataset(AtomicDataset):
    """A data set of `cgpot map` or `cgpot dataset`, read once into memory.

    Neighbour lists are made once and kept in compact integers (about 14 bytes an edge).

    Args:
        file_path: extxyz file, .xz and .gz allowed.
        r_max: cutoff, Å.
        type_names: bead types that the model expects.
        need_stress: whether every frame must hold a stress.
        frames: use only this many, spread evenly (`cgpot.training.folder.selection.choose`).
        bootstrap: seed of a bootstrap sample of the frames.
        need_energy: whether every frame must hold an energy.
        need_temperature: whether every frame must carry its temperature, an input of the model.
        state_weights: give the frames weights (`cgpot.training.folder.weights.frame_weights`).
        pairs: which pairs of sites the model sees (`cgpot.molecules.exclusions.SEEN_PAIRS`).
        bonded_file: bonded part (`cgpot.training.linear.bonded_part`) whose forces and virial are
            taken from the labels.

    Raises:
        InputError: other bead names, or labels missing.
        ConfigError: more frames asked for than the file holds.
    """

    def __init__(
        self,
        file_path: str,
        r_max: float,
        type_names: Sequence[str],
        need_stress: bool = False,
        frames: int | None = None,
        bootstrap: int | None = None,
        need_energy: bool = False,
        need_temperature: bool = False,
        state_weights: StateWeights | None = None,
        pairs: str = "all",
        bonded_file: str | None = None,
    ) -> None:
        super().__init__(transforms=[])
        self.file_path = file_path
        self.r_max = float(r_max)
        every: list[CGFrame] = []
        for index, frame in enumerate(read_frames(file_path, several=True)):
            check_frame(
                frame,
                type_names,
                need_stress,
                file_path,
                index,
                need_energy=need_energy,
                need_temperature=need_temperature,
            )
            every.append(frame)
        chosen = choose(len(every), frames, bootstrap)
        if bonded_file is not None:
            part = BondedPart.read(bonded_file)
            for k in np.unique(chosen):
                every[k] = part.remainder(every[k])
        self.frames = [every[k] for k in chosen]
        graphs = {k: neighbours(every[k], self.r_max, pairs) for k in np.unique(chosen)}
        self._graphs = [graphs[k] for k in chosen]
        self._stress = need_stress or all(frame.virial is not None for frame in self.frames)
        self._energy = all(frame.energy is not None for frame in self.frames)
        self._temperature = need_temperature
        offsets = {k: centre_offsets(every[k]) if self._stress else None for k in graphs}
        if any(found is not None for found in offsets.values()):
            for k, found in offsets.items():  # batches have the same keys in all graphs
                offsets[k] = np.zeros_like(every[k].positions) if found is None else found
        self._offsets = [offsets[k] for k in chosen]
        self._weights: list[float | None] = [None] * len(self.frames)
        if state_weights is not None:
            self._weights = list(frame_weights(self.frames, state_weights, strict=False))

    def __len__(self) -> int:
        return len(self.frames)

    def _get_data_list(self, indices: Any) -> list[AtomicDataDict.Type]:
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        return [
            to_data(
                self.frames[int(k)],
                *self._graphs[int(k)],
                stress=self._stress,
                energy=self._energy,
                temperature=self._temperature,
                weight=self._weights[int(k)],
                offsets=self._offsets[int(k)],
            )
            for k in indices
        ]


class EpochSampler(Sampler[int]):
    """A permutation per epoch, decided by the seed and the number of the epoch alone.

    nequip's data module does not bring its shuffling back after a restart (its generator is
    made before the saved state arrives); Lightning tells this sampler the epoch instead.

    Several processes share one permutation, dealt out in turn: the batches of ``b`` frames of
    ``w`` processes at a step are together the batch of ``b w`` frames of one process.  The last
    round is filled up from the start of the permutation, so that all make as many steps.

    Args:
        size: number of frames.
        seed: of the permutations.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size = size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation (called by Lightning at the start of an epoch)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        yield from np.resize(order, len(self) * self.world)[self.rank :: self.world].tolist()

    def __len__(self) -> int:
        return -(-self.size // self.world)


class BlockSampler(Sampler[int]):
    """The frames in order, one consecutive block for each process, each frame once.

    Args:
        size: number of frames, at least ``world``.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, size: int, rank: int = 0, world: int = 1) -> None:
        if size < world:
            raise DataError(f"expected at least {world} held-out frames (devices), found {size}")
        self.first, self.last = size * rank // world, size * (rank + 1) // world

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


def _rank() -> tuple[int, int]:
    """Number of this process and of all processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def shuffled_loader(dataset: CGDataset, seed: int, **options: Any) -> DataLoader[Any]:
    """A `DataLoader` that shuffles with `EpochSampler`; options are those of `DataLoader`."""
    return DataLoader(dataset, sampler=EpochSampler(len(dataset), seed, *_rank()), **options)


def ordered_loader(dataset: CGDataset, **options: Any) -> DataLoader[Any]:
    """A `DataLoader` in the order of the frames (`BlockSampler`), for held-out frames."""
    return DataLoader(dataset, sampler=BlockSampler(len(dataset), *_rank()), **options)


def check_frame(
    frame: CGFrame,
    type_names: Sequence[str],
    need_stress: bool,
    file: str | Path,
    index: int,
    *,
    need_energy: bool = False,
    need_temperature: bool = False,
) -> None:
    """Refuse a frame that the training cannot use.

    Raises:
        InputError: other bead names than ``type_names``, or labels missing.
        DataError: a frame without a single edge partner (fewer than two sites).
    """
    if frame.topology.type_names != tuple(type_names):
        raise InputError(
            f"bead types {list(frame.topology.type_names)} differ from the expected "
            f"{list(type_names)}",
            file=file,
            frame=index,
        )
    if frame.forces is None:
        raise InputError("the frame has no forces to learn from", file=file, frame=index)
    if need_stress and frame.virial is None:
        raise InputError(
            "the loss asks for stress, but the frame has none; map the trajectory with its "
            "virial, or set loss.stress to null",
            file=file,
            frame=index,
        )
    if need_energy and frame.energy is None:
        raise InputError(
            "the loss asks for energies, but the frame has none (mapped frames have none); "
            "relabel the frames with a model, or set loss.energy to null",
            file=file,
            frame=index,
        )
    if need_temperature and frame.temperature is None:
        raise InputError(
            "the model takes the temperature as an input, but the frame carries none (key "
            "'temperature' of the comment line)",
            file=file,
            frame=index,
        )
    if frame.topology.n_sites < 2:
        raise DataError(
            f"expected at least 2 sites, found {frame.topology.n_sites}", file=file, frame=index
        )


def load_frames(
    path: str | Path,
    type_names: Sequence[str] | None,
    need_stress: bool,
    *,
    need_energy: bool = False,
) -> list[CGFrame]:
    """All frames of a file, checked (`check_frame`).

    Raises:
        InputError: see `check_frame`.
    """
    frames: list[CGFrame] = []
    for index, frame in enumerate(read_frames(path, several=True)):
        names = frame.topology.type_names if type_names is None else type_names
        check_frame(frame, names, need_stress, path, index, need_energy=need_energy)
        frames.append(frame)
    return frames
