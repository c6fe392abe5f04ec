# SPDX-License-Identifier: GPL-2.0-or-later
"""Open what was trained, whatever its kind: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import InputError
from cgpot.core.files import read_json
from cgpot.core.records import EnsembleRecord, TrainingRecord
from cgpot.core.versions import check_checkpoint, read_result
from cgpot.molecules.frame import CGFrame
from cgpot.potential import splines, uf3_potential
from cgpot.potential.base import Base
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.potential import Labels, MeanOfPotentials, Potential, SumOfPotentials
from cgpot.potential.refined import refined_model
from cgpot.potential.splines import PairTable
from cgpot.training.folder.training_folder import Folder
from cgpot.training.linear import mscg
from cgpot.training.linear.bonded_part import BondedPart


@dataclass(frozen=True)
class Linear:
    """A kind of linear potential: its file in a folder, the file's format, how it is read."""

    file: str
    format: str
    read: Callable[[str | Path], Potential]


LINEAR = {
    "mscg": Linear("mscg.json", mscg.FORMAT, mscg.MSCGPotential.read),
    "uf3": Linear("uf3.json", uf3_potential.FORMAT, uf3_potential.UF3Potential.read),
    "pair": Linear("pair.json", splines.FORMAT, lambda path: Base(PairTable.read(path))),
}


@dataclass(frozen=True)
class Trained:
    """A trained potential (`cgpot.potential.potential.Potential`) and where it comes from.

    Attributes:
        path: file or folder that it was opened from.
        kind: ``network``, ``mscg``, ``uf3`` or ``pair`` (of a refinement).
        potential: labels frames.
        yardstick: pair fit of the same training frames, if there is one.
        result: result.json of its training or ensemble.json; None for a lone file.
        members: of an ensemble, whose mean the potential is; empty for one model.
    """

    path: Path
    kind: str
    potential: Potential
    yardstick: Potential | None = None
    result: TrainingRecord | EnsembleRecord | None = None
    members: tuple[Trained, ...] = ()

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.potential.type_names

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.potential.cutoff

    def labels(self, frame: CGFrame) -> Labels:
        """Forces, virial and energy of a frame."""
        return self.potential.labels(frame)


def open_potential(path: str | Path) -> Trained:
    """A folder of `cgpot train`, `cgpot refine` or `cgpot ensemble`, or a file of a potential.

    Files are checkpoints of networks, and pair tables, MS-CG and UF3 potentials as JSON.

    Raises:
        InputError: no such thing, unfinished, damaged, of an unknown kind, or of other versions.
    """
    place = refined_model(path)
    if not place.exists():
        raise InputError(
            "no such file or folder; expected a folder of `cgpot train` or its model.ckpt",
            file=place,
        )
    if place.is_file():
        return _lone(place)
    if (place / "ensemble.json").is_file():
        record = EnsembleRecord.read(place / "ensemble.json")
        members = tuple(open_potential(place / name) for name in record.members)
        first = members[0]
        mean = MeanOfPotentials(members)
        return Trained(place, first.kind, mean, first.yardstick, record, members)
    result = read_result(place)
    file = place / "pair_fit.json"
    table = PairTable.read(file) if file.is_file() else None
    if result.kind == "network":
        return _network(place / "model.ckpt", place, table, result)
    if result.kind not in LINEAR:
        raise InputError(
            f"expected a model of kind network, mscg, uf3 or pair, found {result.kind!r}",
            file=place / "result.json",
            key="kind",
        )
    linear = LINEAR[result.kind]
    potential = linear.read(place / linear.file)
    yardstick: Potential | None = None if table is None else Base(table)
    if table is not None and isinstance(potential, mscg.MSCGPotential):
        yardstick = potential.with_pair(table)
    return Trained(place, result.kind, potential, yardstick, result)


def _lone(file: Path) -> Trained:
    """A file without its folder."""
    if file.suffix != ".json":
        return _network(file, file)
    content = read_json(file)
    form = content.get("format") if isinstance(content, dict) else None
    for kind, linear in LINEAR.items():
        if linear.format == form:
            return Trained(file, kind, linear.read(file))
    raise InputError(
        f"expected a potential of format {', '.join(x.format for x in LINEAR.values())}, found "
        f"{form!r}",
        file=file,
        key="format",
    )


def _network(
    checkpoint: Path,
    place: Path,
    table: PairTable | None = None,
    result: TrainingRecord | None = None,
) -> Trained:
    """A network, with the bonded part that stands beside its checkpoint."""
    check_checkpoint(checkpoint)
    network = NetworkPotential.read(checkpoint)
    yardstick = None if table is None else Base(table, pairs=network.pairs)
    file = Folder(checkpoint.parent.resolve()).bonded
    if not file.is_file():
        return Trained(place, "network", network, yardstick, result)
    part = BondedPart.read(file)
    beside = None if yardstick is None else SumOfPotentials([part, yardstick])
    return Trained(place, "network", SumOfPotentials([part, network]), beside, result)
