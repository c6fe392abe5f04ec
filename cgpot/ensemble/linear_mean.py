# SPDX-License-Identifier: GPL-2.0-or-later
"""The mean of an ensemble of linear models, which is a linear model of the same form.

``U(R) = Σ_k c_k B_k(R)`` with the same functions B_k in every member: the mean of the members'
potentials has the mean of their coefficients.  The spans of bond splines follow the bonds that a
member saw; members with different ones are sampled on a common span first.  The folder ``mean``
of the ensemble has the files of a training, so that it is evaluated and deployed like one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import InputError, ManifestError
from cgpot.core.files import atomic_path, read_json, require_file, sha256_file
from cgpot.core.manifest import check_manifest, manifest_path, write_manifest
from cgpot.core.records import TrainingRecord
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.frame import Array
from cgpot.potential.lammps_commands import write_for_lammps
from cgpot.potential.splines import PairTable, basis_derivative

FOLDER = "mean"
"""Folder of the mean, in the folder of the ensemble."""
KINDS = ("mscg", "uf3")
RESAMPLED = 0.01
"""Largest rms error of a bond force on the common span, relative to its rms, that is accepted."""


def _agree(values: Sequence[Any], what: str, folders: Sequence[Path]) -> None:
    for value, folder in zip(values, folders, strict=True):
        if value != values[0]:
            raise InputError(
                f"{what} is {value}, that of {folders[0].name} is {values[0]}; expected members "
                "of one form",
                file=folder,
            )


def mean_pair(tables: Sequence[PairTable], folders: Sequence[Path]) -> PairTable:
    """The mean of pair tables on one grid.

    Raises:
        InputError: other bead types, cutoffs or intervals.
    """
    _agree([t.type_names for t in tables], "the list of bead types", folders)
    _agree([(t.r_max, t.intervals) for t in tables], "the pair grid (Å, intervals)", folders)
    return tables[0].with_coefficients(np.mean([t.coefficients for t in tables], axis=0), {})


def mean_uf3(folders: Sequence[Path]) -> Any:
    """The mean of UF3 members, a `UF3Potential`.

    Raises:
        InputError: members of different forms.
    """
    from cgpot.potential.uf3_potential import UF3Potential

    members = [UF3Potential.read(folder / "uf3.json") for folder in folders]
    pair = mean_pair([m.pair for m in members], folders)
    _agree([m.grid for m in members], "the three-body grid", folders)
    three = np.mean([m.three for m in members], axis=0)
    info = {"mean_of": [f.name for f in folders]}
    return replace(members[0], pair=pair, three=three, info=info)


def mean_mscg(folders: Sequence[Path]) -> Any:
    """The mean of MS-CG members, an `MSCGPotential`.

    Raises:
        InputError: members of different forms, or bond splines that no common one describes.
    """
    from cgpot.training.linear.mscg import MSCGPotential

    members = [MSCGPotential.read(folder / "mscg.json") for folder in folders]
    mean_pair([m.table() for m in members], folders)
    for member, folder in zip(members, folders, strict=True):
        if member.density is not None:
            raise InputError(
                "a local-density part, whose knots follow the frames of each member, has no mean; "
                "expected members without local_density, or one member alone",
                file=folder,
            )
    _agree(
        [None if m.three is None else (m.three.cutoff, m.three.gamma, m.three.intervals)
         for m in members], "the three-body form (Å, Å, intervals)", folders,
    )  # fmt: skip
    _agree([_terms(m) for m in members], "the list of bonded terms", folders)
    first = members[0]
    info: dict[str, Any] = {
        "mean_of": [folder.name for folder in folders],
        "bonds_excluded": first.info.get("bonds_excluded", False),
        "fitted": first.info.get("fitted"),
    }
    parts = {name: np.mean([m.part(name) for m in members], axis=0)
             for name in first.joint.parts if name != "bond"}  # fmt: skip
    bonds = first.bonds
    if bonds is not None:
        bonds, parts["bond"], info["bond_resampling"] = _mean_bonds(members, folders)
    from cgpot.potential.pair_basis import PairBasis

    pair = PairBasis(
        first.pair.type_names,
        first.pair.r_max,
        first.table().spacing,
        1.0,
        exclude=first.bonded.exclusions(),
    )
    c = np.concatenate([np.ravel(parts[name]) for name in first.joint.parts])
    return MSCGPotential(
        first.topology, pair, bonds, first.three, c, np.zeros((0, len(c))), info,
        first.angles, first.dihedrals, first.excluded,
    )  # fmt: skip


def _terms(potential: Any) -> str:
    """The bonded terms in words: kinds, numbers, splines but for the spans of bonds, exclusions."""
    bonded = potential.bonded
    words = []
    for name, part in bonded.parts.items():
        kinds = ", ".join(part.kind_name(k) for k in range(part.n_kinds))
        knots = "" if name == "bond" else f" with {part.intervals} intervals"
        digest = hashlib.sha256(part.sites.tobytes()).hexdigest()[:8]
        words.append(f"{len(part.sites)} {name} terms {kinds}{knots} (sites {digest})")
    excluded = [f"1-{k + 1}" for k in bonded.excluded]
    return f"{'; '.join(words) or 'empty'}; excluded: {' '.join(excluded) or 'none'}"


def _mean_bonds(members: Sequence[Any], folders: Sequence[Path]) -> tuple[Any, Array, float]:
    """Basis and coefficients of the mean bond splines, and the relative error of resampling.

    Beyond its span a member goes on as its parabola, as it does in LAMMPS.
    """
    from cgpot.potential.bonds import BondBasis

    every = [m.bonds for m in members]
    n = len(every)
    low, high = min(b.low for b in every), max(b.high for b in every)
    same = all((b.low, b.high, b.intervals) == (low, high, every[0].intervals) for b in every)
    step = (high - low) / every[0].intervals if same else 0.5 * min(b.step for b in every)
    basis = BondBasis(
        members[0].topology, None, (low, high), step, every[0].kt, bonds=every[0].sites
    )
    springs = [[b.spring(k) for b in every] for k in range(len(basis.kinds))]
    basis.springs = [
        (sum(s for s, _ in row) / n, sum(s * r for s, r in row) / sum(s for s, _ in row))
        for row in springs
    ]
    if same:
        return basis, np.mean([m.part("bond") for m in members], axis=0), 0.0
    r = np.linspace(low, high, 16 * basis.intervals + 1)
    first, t = basis._locate(r)
    rows = np.zeros((len(r), basis.width))
    for k, w in enumerate(basis_derivative(t) / basis.step):
        rows[np.arange(len(r)), first + k] += w
    c = np.zeros((len(basis.kinds), basis.width))
    worst = 0.0
    for kind in range(len(basis.kinds)):
        slope = np.mean([m.bonds.evaluate(m.part("bond"), kind, r)[1] for m in members], axis=0)
        # the last coefficient is zero, as in a fit: it fixes the energy's zero
        c[kind, :-1] = np.linalg.lstsq(rows[:, :-1], slope, rcond=None)[0]
        worst = max(worst, float(np.std(rows @ c[kind] - slope) / np.sqrt(np.mean(slope**2))))
    if worst > RESAMPLED:
        raise InputError(
            f"the bond splines of the members have different spans, and a common one is off by "
            f"{100 * worst:.1f} % of the force; deploy the members alone",
            file=folders[0],
        )
    return basis, c.ravel(), worst


def write_mean(ensemble: Path, folders: Sequence[Path], kind: str) -> Path:
    """Write the folder ``mean`` of an ensemble of linear models; returns its result.json.

    The same members leave the folder as it is.

    Raises:
        InputError: members of different forms, or another kind of model.
    """
    if kind not in KINDS:
        raise InputError(f"a model of kind {kind!r} has no mean of the same form", file=ensemble)
    folder = ensemble / FOLDER
    result_file = folder / "result.json"
    sources = [require_file(f / f"{kind}.json", "potential of a member") for f in folders]
    if _current(result_file, sources):
        return result_file
    potential = mean_mscg(folders) if kind == "mscg" else mean_uf3(folders)
    result = dict(read_json(folders[0] / "result.json"))
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (manifest_path(result_file), result_file):
        stale.unlink(missing_ok=True)
    written = [potential.write(folder / f"{kind}.json")]
    lammps = write_for_lammps(folder, potential)
    result["lammps"] = lammps.record
    written += lammps.files
    parity, errors = _mean_parity(folders)
    with atomic_path(folder / "parity.npz") as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **parity)  # type: ignore[arg-type]
    written.append(folder / "parity.npz")
    members = [read_json(f / "result.json") for f in folders]
    result |= {
        **errors,
        "energy_rmse_per_site": None,
        "fit": potential.info,
        "seconds": round(sum(float(m.get("seconds") or 0.0) for m in members), 2),
        "mean_of": [f.name for f in folders],
    }
    TrainingRecord.write(result_file, result)
    write_manifest(
        result_file,
        stage="training",
        inputs={"members": [f / "result.json" for f in folders], "potentials": sources},
        outputs=written,
        config={"mean_of": [f.name for f in folders]},
    )
    return result_file


def _current(result_file: Path, sources: Sequence[Path]) -> bool:
    """Whether the folder was made from these potentials as they are."""
    if not result_file.is_file() or not manifest_path(result_file).is_file():
        return False
    try:
        manifest = check_manifest(result_file, stage="training")
    except ManifestError:
        return False
    digests = [entry["sha256"] for entry in manifest["inputs"]["potentials"]]
    return digests == [sha256_file(source) for source in sources]


def _mean_parity(folders: Sequence[Path]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays of the mean on the test frames, and its errors as in a result.json."""
    from cgpot.training.network.metrics import mean_with_error

    every = []
    for folder in folders:
        with np.load(require_file(folder / "parity.npz", "parity arrays")) as arrays:
            every.append(dict(arrays))
    parity = dict(every[0])
    for key in [k for k in parity if "_model" in k]:
        mean = np.mean([p[key].astype(np.float64) for p in every], axis=0)
        parity[key] = mean.astype(np.float32)
    difference = parity["force_model"].astype(np.float64) - parity["force_label"]
    errors: dict[str, Any] = {
        "force_rmse": float(np.sqrt(np.mean(difference**2))),
        "stress_rmse": None,
        "pressure_residual_bar": None,
    }
    if "stress_label" in parity:
        stress = parity["stress_model"].astype(np.float64) - parity["stress_label"]
        errors["stress_rmse"] = float(np.sqrt(np.mean(stress**2)))
        mean, error = mean_with_error(-np.einsum("fii->f", stress) / 3.0 * EV_PER_A3_IN_BAR)
        errors["pressure_residual_bar"] = {"mean": mean, "error": error}
    return parity, errors
