# SPDX-License-Identifier: GPL-2.0-or-later
"""The analysis stage: mapped atomistic references and CG runs in, analysis.json and tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.analysis.analysis_tables import tables
from cgpot.analysis.cg_run import RunFolder, read_run
from cgpot.analysis.observables.equation_of_state import slope_over_systems
from cgpot.analysis.parity import analyse_parity
from cgpot.analysis.sections import Context, point_section, reference_section, run_section
from cgpot.analysis.sources import Scan, common_range, scan
from cgpot.core.errors import DataError, InputError
from cgpot.core.files import write_json, write_text
from cgpot.core.manifest import write_manifest
from cgpot.core.statistics import MIN_SAMPLES
from cgpot.core.versions import ANALYSIS_FORMAT

BINS = 300


@dataclass(frozen=True)
class AnalysisInput:
    """What to analyse.

    Attributes:
        references: mapped data sets for g(r) and pressure (several files are replicas).
        runs: run folders of ``cgpot md``.
        temperature: K.
        npt_references: mapped data sets from NPT, for the density (replicas).
        density_references: mapped data sets at constant volume and other densities, each a
            system of its own, for the slope of the pressure with the density.
        r_max: upper end of g(r), Å; None takes 15 Å or half the smallest box.
        bins: number of bins of g(r).
        parity: table of held-out predictions (.npz), if any.
        compressibility: of the atomistic liquid, 1/GPa, if known from elsewhere.
    """

    references: Sequence[Path]
    runs: Sequence[Path]
    temperature: float
    npt_references: Sequence[Path] = ()
    density_references: Sequence[Path] = ()
    r_max: float | None = None
    bins: int = BINS
    parity: Path | None = None
    compressibility: float | None = None


def analyze(task: AnalysisInput, output: str | Path, *, quiet: bool = False) -> dict[str, Any]:
    """Analyse, compare, and write ``analysis.json``, tables (`tables`) and the manifest.

    Args:
        task: what to analyse.
        output: folder.
        quiet: no progress bar.

    Returns:
        The content of analysis.json.

    Raises:
        InputError: missing or damaged files, systems that differ, a wrong option.
        DataError: too few frames, NaN, r_max beyond half the box.
        ManifestError: a file is not the one its manifest describes.
    """
    if not task.references:
        raise InputError("no reference; expected at least one mapped data set")
    if not np.isfinite(task.temperature) or task.temperature <= 0:
        raise InputError(f"temperature {task.temperature} K; expected a positive number")
    if task.bins < 10:
        raise InputError(f"{task.bins} bins; expected at least 10")
    runs = [read_run(p, task.temperature) for p in task.runs]
    names = _unique_names(runs)
    reference_scans = [scan(p) for p in task.references]
    shared = [Path(p).resolve() for p in task.npt_references] == [
        Path(p).resolve() for p in task.references
    ]
    npt_scans = [] if shared else [scan(p) for p in task.npt_references]
    density_scans = [scan(p) for p in task.density_references]
    run_scans = [scan(r.trajectory) if r.trajectory else None for r in runs]
    for s in (*reference_scans, *npt_scans, *density_scans):
        _require_frames(s)
    scans = [*reference_scans, *npt_scans, *[s for s in run_scans if s]]
    context = Context(
        temperature=task.temperature,
        r_max=_upper_end(task.r_max, scans),
        bins=task.bins,
        quiet=quiet,
    )
    reference = reference_section(task.references, reference_scans, context, "reference")
    npt = (
        reference_section(task.npt_references, npt_scans, context, "NPT reference")
        if npt_scans
        else None
    )
    sections = [
        run_section(run, s, name, context)
        for run, s, name in zip(runs, run_scans, names, strict=True)
    ]
    if shared and reference["ensemble"] != "npt":
        raise InputError(
            "the volume is constant; expected an NPT run for the density", file=task.references[0]
        )
    others = [
        point_section(path, s, context)
        for path, s in zip(task.density_references, density_scans, strict=True)
    ]
    density = _reference_density(reference, npt, task)
    result: dict[str, Any] = {
        "format": ANALYSIS_FORMAT,
        "temperature_K": task.temperature,
        "bead_names": list(context.topology.type_names) if context.topology else [],
        "settings": {
            "r_max_A": context.r_max,
            "bins": context.bins,
            "bin_width_A": context.r_max / context.bins,
            "shell_radius_A": context.radii,
        },
        "reference": reference,
        "npt_reference": npt,
        "density_aa": density,
        "density_references": others,
        "runs": sections,
        "equation_of_state": {
            "reference": _slope([reference, *others]),
            "runs": _slope(sections),
        },
        "parity": analyse_parity(task.parity) if task.parity else None,
        "caveats": _caveats(
            reference, npt, sections, [*reference_scans, *npt_scans, *density_scans]
        ),
    }
    return _write(task, runs, result, Path(output))


def _unique_names(runs: Sequence[RunFolder]) -> list[str]:
    names: list[str] = []
    for run in runs:
        name, n = run.name, 2
        while name in names:
            name, n = f"{run.name}-{n}", n + 1
        names.append(name)
    return names


def _require_frames(found: Scan) -> None:
    if found.n_frames < MIN_SAMPLES:
        raise DataError(
            f"{found.n_frames} frames; expected at least {MIN_SAMPLES} for a mean with an error",
            file=found.file,
        )


def _upper_end(wanted: float | None, scans: Sequence[Scan]) -> float:
    smallest = min(scans, key=lambda s: s.half_box)
    if wanted is None:
        return common_range(scans)
    if not np.isfinite(wanted) or wanted <= 0:
        raise InputError(f"r_max {wanted} Å; expected a positive number")
    if wanted > smallest.half_box:
        raise DataError(
            f"r_max {wanted:.3f} Å exceeds half the smallest box, {smallest.half_box:.3f} Å",
            file=smallest.file,
        )
    return wanted


def _reference_density(
    reference: dict[str, Any], npt: dict[str, Any] | None, task: AnalysisInput
) -> dict[str, Any]:
    """The atomistic density at 1 atm, and how it is known."""
    for section, name in ((npt, "NPT reference"), (reference, "reference")):
        if section is not None and section["ensemble"] == "npt":
            return {
                "value": section["density"]["mean"],
                "error": section["density"]["error"],
                "halves": section["density"]["halves"],
                "unit": "kg/m3",
                "method": f"mean over the {name} (constant pressure)",
            }
    density = reference["density"]["mean"]
    pressure = reference["pressure"]
    if task.compressibility is None or pressure is None:
        return {
            "value": None,
            "error": None,
            "halves": None,
            "unit": "kg/m3",
            "method": "not measured: the reference has constant volume, and neither an NPT "
            "reference nor a compressibility with labelled pressures is given",
        }
    kappa = task.compressibility * 1e-4
    one_atm = 1.01325
    return {
        "value": density * (1.0 + kappa * (one_atm - pressure["mean"])),
        "error": density * kappa * pressure["error"],
        "halves": [density * (1.0 + kappa * (one_atm - p)) for p in pressure["halves"]],
        "unit": "kg/m3",
        "method": f"estimated from the constant-volume reference, {density:.1f} kg/m³ at "
        f"{pressure['mean']:.0f} ± {pressure['error']:.0f} bar, with the given compressibility "
        f"{task.compressibility:g} 1/GPa",
    }


def _caveats(
    reference: dict[str, Any],
    npt: dict[str, Any] | None,
    runs: Sequence[dict[str, Any]],
    scans: Sequence[Scan],
) -> list[str]:
    found: list[str] = []
    bare = [s.file.name for s in scans if not s.manifest]
    bare += [f"the run {run['name']}" for run in runs if not run["manifest"]]
    if bare:
        found.append(f"No manifest beside {', '.join(sorted(set(bare)))}: the origin is not known.")
    for what, section in (("reference", reference), ("NPT reference", npt)):
        if section is None:
            continue
        found += [f"In the {what}, {note}." for note in section["notes"]]
        if section["pressure"] is None:
            found.append(f"The {what} carries no virials: its pressure is not measured.")
    for run in runs:
        found += [f"In the run {run['name']}, {note}." for note in run["notes"]]
        if run["ensemble"] == "nvt":
            ratio = run["density"]["mean"] / reference["density"]["mean"]
            if abs(ratio - 1.0) > 2e-3:
                found.append(
                    f"The run {run['name']} has {run['density']['mean']:.1f} kg/m³, the reference "
                    f"{reference['density']['mean']:.1f}: g(r) and pressure are compared at "
                    "different densities."
                )
        n = run.get("n_sites")
        if n and n != reference["n_sites"]:
            found.append(
                f"The run {run['name']} has {n} beads, the reference {reference['n_sites']}: "
                "finite-size effects on g(r), fluctuations and diffusion differ."
            )
    found.append(
        "Diffusion coefficients carry no finite-size correction, and those of a CG model are "
        "faster than the atomistic ones by construction (the lost degrees of freedom give no "
        "friction; a Langevin thermostat adds some): they describe the run, not the liquid."
    )
    return found


def _slope(sections: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """dP/dρ over the systems at constant volume, if their densities differ."""
    return slope_over_systems(
        [
            (s["density"]["mean"], s["pressure"]["mean"], s["pressure"]["error"])
            for s in sections
            if s["ensemble"] == "nvt" and s["pressure"] is not None
        ]
    )


def _write(
    task: AnalysisInput, runs: Sequence[RunFolder], result: dict[str, Any], output: Path
) -> dict[str, Any]:
    written = [write_text(output / name, text) for name, text in tables(result).items()]
    main = write_json(output / "analysis.json", result)
    inputs: dict[str, Any] = {
        "references": list(task.references),
        "npt_references": list(task.npt_references),
        "density_references": list(task.density_references),
        "runs": [p for run in runs for p in run.files],
    }
    if task.parity:
        inputs["parity"] = task.parity
    write_manifest(
        main,
        stage="analysis",
        inputs=inputs,
        outputs=written,
        config={
            "temperature_K": task.temperature,
            "r_max_A": task.r_max,
            "bins": task.bins,
            "compressibility_per_GPa": task.compressibility,
        },
    )
    return result
