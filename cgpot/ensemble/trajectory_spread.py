# SPDX-License-Identifier: GPL-2.0-or-later
"""The force spread of an ensemble on the frames of any CG trajectory.

For runs whose potential was another one, or that ran before the ensemble was trained, and for
ensembles that LAMMPS cannot run as such (linear models).  The members label every frame; the
spread of bead i is `s_i = sqrt(Σ_m |f_m,i - f̄_i|² / (k - 1))`, as ``pair_style cgpot`` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cgpot.core.errors import InputError
from cgpot.core.files import atomic_path, read_json, write_text
from cgpot.core.progress import progress
from cgpot.core.records import DeployedTablesRecord, ModelRecord, TrainingRecord
from cgpot.ensemble.members import force_spread
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import Array, CGFrame
from cgpot.potential.potential import Potential

DUMP_SUFFIXES = (".dump", ".lammpstrj", ".lammpsdump")
HEAD = "source,frame,step,time_ps,spread_max_eV_A,spread_mean_eV_A,spread_rms_eV_A"


@dataclass(frozen=True)
class Members:
    """Trained models that know the same beads.

    Attributes:
        names: bead types.
        masses: their masses, amu.
        models: label frames.
    """

    names: tuple[str, ...]
    masses: tuple[float, ...]
    models: tuple[Potential, ...]

    def spread(self, frame: CGFrame) -> Array:
        """Force spread of each bead (n,), eV/Å.

        Raises:
            InputError: other bead types than the models'.
        """
        if frame.topology.type_names != self.names:
            raise InputError(
                f"bead types {list(frame.topology.type_names)}; the models know {list(self.names)}",
                frame=frame.source_frame,
            )
        return force_spread(np.stack([model.labels(frame).forces for model in self.models]))


def load_members(paths: Sequence[str | Path]) -> Members:
    """The members of an ensemble, or several trained models.

    Args:
        paths: a folder of `cgpot ensemble`, a folder or file of its deployment (networks), or
            folders of `cgpot train`.

    Raises:
        InputError: fewer than two members, members that know different beads, or a path that is
            none of these.
    """
    from cgpot.ensemble.members import read_ensemble
    from cgpot.training.open_potential import open_potential

    found: list[Potential] = []
    records: list[ModelRecord | TrainingRecord] = []
    origins: list[Path] = []
    for path in map(Path, paths):
        if deployed := _deployed(path):
            from cgpot.deploy.verify import CompiledModel

            for file in deployed:
                found.append(CompiledModel(file))
                records.append(ModelRecord.read(_sidecar(file)))
                origins.append(file)
            continue
        folders = read_ensemble(path)[1] if (path / "ensemble.json").is_file() else [path]
        for folder in folders:
            trained = open_potential(folder)
            found.append(trained)
            if not isinstance(trained.result, TrainingRecord):
                raise InputError(
                    "expected a folder of 'cgpot train' or 'cgpot ensemble'", file=path
                )
            records.append(trained.result)
            origins.append(folder)
    if len(found) < 2:
        raise InputError(
            f"{len(found)} model; a spread needs at least two (a folder of 'cgpot ensemble', or "
            "several trained models)",
            file=paths[0] if paths else None,
        )
    names = records[0].bead_names
    for record, where in zip(records, origins, strict=True):
        if record.bead_names != names:
            raise InputError(
                f"the members know different beads: {list(names)} and {list(record.bead_names)}",
                file=where,
            )
    return Members(names, records[0].masses, tuple(found))


def _deployed(path: Path) -> list[Path]:
    """Compiled members of a deployed ensemble; none where the path is something else."""
    from cgpot.md.compiled_models import ENSEMBLE_SUFFIX, model_files

    files = sorted(path.glob(f"*{ENSEMBLE_SUFFIX}")) if path.is_dir() else [path]
    files = [file for file in files if file.is_file() and file.name.endswith(ENSEMBLE_SUFFIX)]
    for file in files:
        if read_json(file).get("format") == DeployedTablesRecord.FORMAT:
            raise InputError(
                "tables of linear models; expected the folder of 'cgpot ensemble' itself", file=file
            )
    return model_files(path) if files else []


def _sidecar(model: Path) -> Path:
    return model.with_name(model.name.removesuffix(".nequip.pt2") + ".cgpot.json")


def trajectory(path: str | Path, members: Members) -> Iterator[CGFrame]:
    """Frames of a run folder, a dump or an extxyz file; source_frame is the step if it is known.

    Raises:
        InputError: missing, damaged, or a run folder without frames.
    """
    from cgpot.formats.lammps.cg_dump import merged_dumps, to_frame
    from cgpot.md.md_stage import TRAJECTORY
    from cgpot.md.outputs import segment_files

    p = Path(path)
    dumps: list[Path] = []
    if p.is_dir():
        dumps = segment_files(p, "dump")
        if not dumps and (p / TRAJECTORY).is_file():
            p = p / TRAJECTORY
        elif not dumps:
            raise InputError(
                f"no run.N.dump and no {TRAJECTORY}: not a folder of 'cgpot md'", file=p
            )
    elif p.name.removesuffix(".gz").removesuffix(".xz").endswith(DUMP_SUFFIXES):
        dumps = [p]
    if not dumps:
        yield from read_frames(p)
        return
    topology = None
    for snapshot in merged_dumps(dumps):
        if int(snapshot.types.max()) > len(members.names):
            raise InputError(
                f"type {snapshot.types.max()}; the models know {list(members.names)}",
                file=dumps[0],
                frame=snapshot.step,
            )
        frame = to_frame(snapshot, members.names, members.masses, topology)
        topology = frame.topology
        yield replace(frame, forces=None, source_frame=snapshot.step)


@dataclass(frozen=True)
class SpreadFrame:
    """A frame of a trajectory with the spread of its beads.

    Attributes:
        frame: the frame.
        spread: (n,) eV/Å.
        file: where it comes from.
        number: frame in that file.
    """

    frame: CGFrame
    spread: Array
    file: Path
    number: int


def evaluate_spread(
    sources: Sequence[str | Path],
    members: Members,
    *,
    stride: int = 1,
    threads: int = 1,
    quiet: bool = False,
) -> list[SpreadFrame]:
    """The spread of every n-th frame of some trajectories.

    Args:
        sources: run folders, dumps or extxyz files.
        members: the models.
        stride: take every n-th frame.
        threads: CPU threads of torch.
        quiet: no progress bar.

    Raises:
        InputError: no frame, or frames of other beads than the models'.
    """
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    frames = [
        (frame, Path(source), number)
        for source in sources
        for number, frame in enumerate(trajectory(source, members))
        if number % stride == 0
    ]
    if not frames:
        raise InputError("the trajectories hold no frame", file=sources[0] if sources else None)
    found = []
    with progress("force spread", len(frames), quiet=quiet) as advance:
        for frame, file, number in frames:
            try:
                spread = members.spread(frame)
            except InputError as err:
                raise InputError(err.message, file=file, frame=number) from err
            found.append(SpreadFrame(frame, spread, file, number))
            advance(1)
    return found


def write_spread(folder: Path, found: Sequence[SpreadFrame]) -> list[Path]:
    """Write spread.csv (a row for each frame) and spread.npz (``spread``, frames by beads)."""
    rows = [HEAD]
    for item in found:
        s, frame = item.spread, item.frame
        words = [item.file.name, item.number, frame.source_frame, frame.time]
        words += [f"{x:.6g}" for x in (s.max(), s.mean(), float(np.sqrt(np.mean(s**2))))]
        rows.append(",".join("" if w is None else str(w) for w in words))
    written = [write_text(folder / "spread.csv", "\n".join(rows) + "\n")]
    with atomic_path(folder / "spread.npz") as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, spread=np.stack([f.spread for f in found]).astype(np.float32))
    return [*written, folder / "spread.npz"]
