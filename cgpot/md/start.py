# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting configurations: read, brought to a density, and checked against the model."""

from __future__ import annotations

import itertools
import re
from collections import deque
from dataclasses import replace
from pathlib import Path

from cgpot.core.errors import DataError, InputError, ManifestError
from cgpot.core.files import require_file, sha256_file
from cgpot.core.manifest import check_manifest
from cgpot.core.records import ModelRecord
from cgpot.formats.lammps.bonded_sections import BondedSections, check_own_terms, sections_of
from cgpot.formats.lammps.cg_data import read_data
from cgpot.molecules.exclusions import SEEN_PAIRS
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.molecules.single_sites import require_single_sites
from cgpot.molecules.whole import molecule_centres, wrap

MODEL_SUFFIX = ".nequip.pt2"
DATA_SUFFIXES = (".data", ".lmpdat")
MASS_TOLERANCE = 1e-3


def read_start(path: str | Path, frame: int = 0) -> CGFrame:
    """A configuration from a data set (frame by number, -1: the last) or a LAMMPS data file.

    Raises:
        InputError: missing file, no such frame, unknown format.
    """
    p = require_file(path, "starting configuration")
    stem = p.name.removesuffix(".xz").removesuffix(".gz")
    if stem.endswith(DATA_SUFFIXES):
        return read_data(p)
    if not stem.endswith((".extxyz", ".xyz")):
        raise InputError(
            "expected a data set (.extxyz, .extxyz.xz) or a LAMMPS data file (.data)", file=p
        )
    if frame < 0:
        last = deque(read_frames(p, several=True), maxlen=-frame)
        if len(last) < -frame:
            raise InputError(f"the data set has {len(last)} frames only", file=p, frame=frame)
        return last[0]
    found = next(itertools.islice(read_frames(p, several=True), frame, None), None)
    if found is None:
        raise InputError("the data set ends before this frame", file=p, frame=frame)
    return found


def scale_to_density(frame: CGFrame, density_kg_m3: float) -> CGFrame:
    """The frame with its box, and the centres of its molecules, scaled to a density.

    Molecules keep their shape.  Labels (forces, virial, energy) are dropped: they belong to the
    configuration before.

    Raises:
        DataError: a molecule that cannot be made whole (`cgpot.molecules.whole.image_flags`).
    """
    factor = (frame.density / density_kg_m3) ** (1.0 / 3.0)
    centres, whole = molecule_centres(frame.topology, frame.positions, frame.cell)
    moved = whole + ((factor - 1.0) * centres)[frame.topology.molecule_index]
    cell = frame.cell * factor
    return replace(
        frame, positions=wrap(moved, cell), cell=cell, forces=None, virial=None, energy=None
    )


def sidecar_path(model: str | Path) -> Path:
    """Path of the sidecar of a compiled model.

    Raises:
        InputError: the name does not end in .nequip.pt2.
    """
    p = Path(model)
    if not p.name.endswith(MODEL_SUFFIX):
        raise InputError(f"expected a compiled model whose name ends in {MODEL_SUFFIX}", file=p)
    return p.with_name(p.name.removesuffix(MODEL_SUFFIX) + ".cgpot.json")


def check_model(model: str | Path, topology: Topology, start: str | Path) -> ModelRecord:
    """Check a model against the system it shall run; returns the sidecar.

    Raises:
        InputError: missing model or sidecar, a key of it that is not as expected, a bead of the
            system that the model lacks, or molecules of several sites.
        DataError: a mass that differs from that of the training data.
        ManifestError: the model is not the one that the sidecar describes.
    """
    p = require_file(model, "compiled model")
    path = sidecar_path(p)
    if not path.is_file():
        raise InputError(f"no sidecar '{path.name}' beside the model; run 'cgpot deploy'", file=p)
    sidecar = ModelRecord.read(path)
    if sidecar.pairs not in SEEN_PAIRS:
        raise InputError(
            f"expected one of {', '.join(SEEN_PAIRS)}, found {sidecar.pairs!r}",
            file=path,
            key="pairs",
        )
    _check_beads(sidecar, path, topology, start)
    if sidecar.bonded is None:
        require_single_sites(topology, "a network without bonded part in MD", file=start)
    stated = sidecar.sha256.get(p.name)
    if stated is not None and stated != sha256_file(p):
        raise ManifestError(
            f"changed since {path.name} was written (sha256 differs); run 'cgpot deploy' again",
            file=p,
        )
    return sidecar


def _check_beads(sidecar: ModelRecord, path: Path, topology: Topology, start: str | Path) -> None:
    """Refuse beads of the system that the model lacks, or of other mass."""
    masses = dict(zip(sidecar.bead_names, sidecar.masses, strict=True))
    for name, mass in zip(topology.type_names, topology.type_masses, strict=True):
        if name not in masses:
            raise InputError(
                f"the system's bead type '{name}' is not one of the model's "
                f"({', '.join(sidecar.bead_names)}, from {path.name})",
                file=start,
            )
        if abs(mass - masses[name]) > MASS_TOLERANCE * masses[name]:
            raise DataError(
                f"bead type '{name}' has mass {mass:g} amu here, but {masses[name]:g} amu in "
                f"{path.name}",
                file=start,
            )


_STYLE = re.compile(r"^\s*(bond|angle|dihedral|improper)_style\s+(?!none\b)", re.MULTILINE)
PAIR_SUFFIX = ".pair.lmp"


def pair_file_sidecar(pair_file: str | Path) -> Path | None:
    """Sidecar of tables that `cgpot deploy` wrote; None beside any other pair file."""
    p = Path(pair_file)
    if not p.name.endswith(PAIR_SUFFIX):
        return None
    path = p.with_name(p.name.removesuffix(PAIR_SUFFIX) + ".cgpot.json")
    return path if path.is_file() else None


def check_pair_file(
    pair_file: str | Path, topology: Topology, start: str | Path
) -> ModelRecord | None:
    """Content of the sidecar beside a pair file, after it was compared with the system.

    Args:
        pair_file: file with pair_style and pair_coeff.
        topology: the system's sites.
        start: file that they come from, for messages.

    Returns:
        The sidecar; None where there is none.

    Raises:
        InputError: beads in another order than that of the tables.
        DataError: a mass that differs from that of the training data.
        ManifestError: tables that are not the ones that the sidecar describes.
    """
    path = pair_file_sidecar(require_file(pair_file, "pair file"))
    if path is None:
        return None
    sidecar = ModelRecord.read(path)
    check_manifest(path, stage="deploy")
    names = sidecar.bead_names
    if topology.type_names != names:
        raise InputError(
            f"the bead types are {list(topology.type_names)}; the tables of {path.name} are "
            f"numbered for {list(names)}, in this order",
            file=start,
        )
    _check_beads(sidecar, path, topology, start)
    return sidecar


def pair_file_terms(
    pair_file: str | Path, topology: Topology, start: str | Path
) -> BondedSections | None:
    """Bonds, angles and dihedrals of a system that a pair file with such styles needs.

    Args:
        pair_file: file with pair_style and pair_coeff.
        topology: the system's sites.
        start: file that they come from; terms that it holds must be those of the model.

    Returns:
        The terms; None where the file has no bonded style.

    Raises:
        InputError: no sidecar that names the terms, beads in another order than its, a molecule
            that it does not know, or other terms in the starting file.
        DataError: a mass that differs from that of the training data.
        ManifestError: tables that are not the ones that the sidecar describes.
    """
    p = require_file(pair_file, "pair file")
    if not _STYLE.search(p.read_text(encoding="utf-8", errors="replace")):
        return None
    path = pair_file_sidecar(p)
    bonded = None if path is None else ModelRecord.read(path).bonded
    if path is None or bonded is None:
        raise InputError(
            "the file has bonded styles, but no sidecar beside it says which sites they join; "
            f"expected NAME{PAIR_SUFFIX} and NAME.cgpot.json as 'cgpot deploy' writes them",
            file=p,
        )
    check_pair_file(p, topology, start)
    terms = sections_of(bonded, topology, path, start)
    if str(start).endswith(DATA_SUFFIXES):
        check_own_terms(start, terms)
    return terms


def model_terms(
    model: str | Path, sidecar: ModelRecord, topology: Topology, start: str | Path
) -> tuple[BondedSections, Path] | None:
    """Bonds, angles and dihedrals of a system under a network, and the file of their commands.

    Args:
        model: compiled model.
        sidecar: its content (`check_model`).
        topology: the system's sites.
        start: file that they come from; terms that it holds must be those of the model.

    Returns:
        None where the model has no bonded part.

    Raises:
        InputError: a molecule that the model does not know, other terms in the starting file, or
            a missing file.
        ManifestError: tables that are not the ones that the sidecar describes.
    """
    if sidecar.bonded is None:
        return None
    path = sidecar_path(model)
    check_manifest(path, stage="deploy")
    names = sidecar.bead_names
    terms = sections_of(sidecar.bonded, topology, path, start)
    if any(len(table) for table in terms.terms.values()) and topology.type_names != names:
        raise InputError(
            f"the bead types are {list(topology.type_names)}; the model was trained on "
            f"{list(names)}, in this order",
            file=start,
        )
    if str(start).endswith(DATA_SUFFIXES):
        check_own_terms(start, terms)
    include = path.with_name(str(sidecar.bonded_file))
    return terms, require_file(include, "bonded terms of the model")
