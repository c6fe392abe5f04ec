# SPDX-License-Identifier: GPL-2.0-or-later
"""Deployment of linear models and refined pair potentials: LAMMPS's own tables, described."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError, ManifestError
from cgpot.core.files import (
    atomic_path,
    read_json,
    require_file,
    sha256_file,
    write_text,
)
from cgpot.core.manifest import check_manifest, manifest_path, write_manifest
from cgpot.core.records import ModelRecord, TrainingRecord
from cgpot.potential.lammps_commands import include_text, renamed


def deploy_tables(
    source: Path, result: TrainingRecord, output: str | Path, name: str
) -> tuple[Path, dict[str, Any], bool]:
    """Write `<name>.pair.lmp`, the files it names, and `<name>.cgpot.json`.

    The include file names its folder in a variable: ``-var pair_folder DIR`` where it was moved.

    Args:
        source: training folder, or the model of a refinement.
        result: its result.json.
        output: folder for the files.
        name: stem of the files.

    Returns:
        Path and content of the description, and whether all was up to date.

    Raises:
        InputError: the training folder lacks a file, or a path with a space.
    """
    folder = Path(output).resolve()
    sidecar = folder / f"{name}.cgpot.json"
    include = folder / f"{name}.pair.lmp"
    copies, text = _files(source, result, folder, name)
    digest = {copy.name: sha256_file(f) for f, copy in copies.items()}
    content = {
        "format": ModelRecord.FORMAT,
        "kind": result.kind,
        "units": {"energy": "eV", "length": "angstrom"},
        "bead_names": list(result.bead_names),
        "masses": list(result.masses),
        "cutoff": result.cutoff,
        "temperature": result.temperature,
        "density_kg_m3": result.density_kg_m3,
        "sha256": digest,
        "pair_file": include.name,
        "data": result.quality(),
    }
    if result.lammps is not None and result.lammps.bonded is not None:
        content["bonded"] = result.lammps.bonded
    if result.refined is not None:
        content["refined"] = result.refined
    if _current(sidecar, content) and include.read_text(encoding="utf-8") == text:
        return sidecar, content, True
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (manifest_path(sidecar), sidecar):
        stale.unlink(missing_ok=True)
    _copy(copies)
    write_text(include, text)
    ModelRecord.write(sidecar, content)
    write_manifest(
        sidecar,
        stage="deploy",
        inputs={"result": source / "result.json"},
        outputs=[*copies.values(), include],
        config={"name": name},
    )
    return sidecar, content, False


def _files(
    source: Path, result: TrainingRecord, folder: Path, name: str
) -> tuple[dict[Path, Path], str]:
    """Files of a training and their copies to be, and the commands for these.

    Raises:
        InputError: no such files, or a path with a space.
    """
    if " " in str(folder):
        raise InputError("the path holds a space, at which LAMMPS splits it", file=folder)
    if result.lammps is None:
        raise InputError("the key is missing", file=source / "result.json", key="lammps")
    copies = {
        require_file(source / f, "file of the training"): folder / (name + Path(f).suffix)
        for f in result.lammps.files
    }
    names = {f.name: copy.name for f, copy in copies.items()}
    title = f"{' '.join(result.bead_names)}: {result.kind}, units metal"
    return copies, include_text(renamed(result.lammps.commands, names), folder, title)


def _copy(copies: dict[Path, Path]) -> None:
    for f, copy in copies.items():
        with atomic_path(copy) as temporary:
            shutil.copyfile(f, temporary)


def deploy_bonded(
    source: Path, result: TrainingRecord, folder: Path, name: str
) -> tuple[list[Path], dict[str, Any]]:
    """Write the bonded tables that belong to a network, and the include file that names them.

    Args:
        source: training folder.
        result: its result.json.
        folder: for the files.
        name: stem of the files.

    Returns:
        The files, and the keys of the sidecar that tell of them.

    Raises:
        InputError: the training folder lacks a file, or a path with a space.
    """
    if result.lammps is None:
        return [], {}
    copies, text = _files(source, result, folder, name)
    _copy(copies)
    include = write_text(folder / f"{name}.bonded.lmp", text)
    return [*copies.values(), include], {
        "bonded": result.lammps.bonded,
        "bonded_file": include.name,
    }


def _current(sidecar: Path, content: dict[str, Any]) -> bool:
    if not sidecar.is_file():
        return False
    try:
        check_manifest(sidecar, stage="deploy")
    except ManifestError:
        return False
    return bool(read_json(sidecar) == content)
