# SPDX-License-Identifier: GPL-2.0-or-later
"""Read what the other stages wrote; what is absent stays absent."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, require_file
from cgpot.core.versions import ANALYSIS_FORMAT

MANIFEST_SUFFIX = ".manifest.json"


@dataclass
class Gathered:
    """Everything a report is made from.

    Attributes:
        analysis: analysis.json.
        dataset: report.json of the data set, or None.
        result: train/result.json, or None.
        metrics: columns of train/metrics.csv, or None.
        pair: train/pair.json, or None.
        forces: label and model forces on held-out frames, (n, 3) each, or None.
        sidecar: model.cgpot.json, or None.
        aa_speed: speed of the atomistic engine, or None.
        manifests: (path, manifest) of every stage found.
        files: what was read.
    """

    analysis: dict[str, Any]
    dataset: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    metrics: dict[str, NDArray[np.float64]] | None = None
    pair: dict[str, Any] | None = None
    forces: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    sidecar: dict[str, Any] | None = None
    aa_speed: dict[str, Any] | None = None
    manifests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def gather(
    analysis: str | Path,
    *,
    dataset: str | Path | None = None,
    train: str | Path | None = None,
    deploy: str | Path | None = None,
    aa_speed: str | Path | None = None,
) -> Gathered:
    """Read the folders of the stages.

    Args:
        analysis: folder of ``cgpot analyze`` (or its analysis.json).
        dataset: folder of ``cgpot dataset``.
        train: folder of ``cgpot train``.
        deploy: folder of ``cgpot deploy``.
        aa_speed: JSON with ``ns_per_day``, ``engine``, ``n_molecules``, ``threads``.

    Raises:
        InputError: a folder that was named does not exist, no analysis.json, or a damaged file.
    """
    main = _analysis_file(Path(analysis))
    content = _mapping(main)
    if content.get("format") != ANALYSIS_FORMAT:
        raise InputError(
            f"expected {ANALYSIS_FORMAT!r}, found {content.get('format')!r}; run cgpot analyze "
            "again",
            file=main,
            key="format",
        )
    found = Gathered(analysis=content, files=[main])
    folders = [main.parent]
    if dataset is not None:
        folder = _folder(dataset, "data set")
        folders.append(folder)
        found.dataset = _optional(found, folder / "report.json")
    if train is not None:
        folder = _folder(train, "training")
        folders.append(folder)
        found.result = _optional(found, folder / "result.json")
        found.pair = _optional(found, folder / "pair.json")
        found.metrics = _table(found, folder / "metrics.csv")
        found.forces = _forces(found, folder / "parity.npz")
    if deploy is not None:
        folder = _folder(deploy, "deploy")
        folders.append(folder)
        sidecars = sorted(folder.glob("*.cgpot.json"))
        if len(sidecars) > 1:
            names = ", ".join(p.name for p in sidecars)
            raise InputError(f"{len(sidecars)} models ({names}); expected one", file=folder)
        if sidecars:
            found.sidecar = _optional(found, sidecars[0])
    if aa_speed is not None:
        found.aa_speed = _mapping(require_file(aa_speed, "speed of the atomistic engine"))
        found.files.append(Path(aa_speed))
    _find_manifests(found, folders)
    return found


def _analysis_file(path: Path) -> Path:
    return require_file(path / "analysis.json" if path.is_dir() else path, "analysis")


def _folder(path: str | Path, what: str) -> Path:
    p = Path(path)
    if not p.is_dir():
        raise InputError(f"no such {what} folder", file=p)
    return p


def _mapping(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"expected a mapping, found {type(data).__name__}", file=path)
    return data


def _optional(found: Gathered, path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found.files.append(path)
    return _mapping(path)


def _table(found: Gathered, path: Path) -> dict[str, NDArray[np.float64]] | None:
    """Columns of numbers; what is not a number becomes NaN (an empty cell has no label)."""
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if len(rows) < 2:
        return None
    found.files.append(path)
    columns: dict[str, list[float]] = {name.strip(): [] for name in rows[0]}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise InputError(
                f"line {line} has {len(row)} values, the header {len(rows[0])}", file=path
            )
        for name, text in zip(columns, row, strict=True):
            try:
                columns[name].append(float(text))
            except ValueError:
                columns[name].append(float("nan"))
    return {name: np.array(values) for name, values in columns.items()}


def _forces(found: Gathered, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            label = np.asarray(data["force_label"], dtype=np.float64)
            model = np.asarray(data["force_model"], dtype=np.float64)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as err:
        raise InputError(
            f"expected arrays force_label and force_model in an .npz file: {err}", file=path
        ) from err
    if label.shape != model.shape:
        raise InputError(f"{label.shape} labels but {model.shape} predictions", file=path)
    found.files.append(path)
    return label, model


def _find_manifests(found: Gathered, folders: list[Path]) -> None:
    """Manifests in the folders, and beside the data sets and runs that were analysed."""
    analysis = found.analysis
    paths: list[Path] = []
    for folder in folders:
        paths += sorted(folder.glob(f"*{MANIFEST_SUFFIX}"))
        paths.append(folder.with_name(folder.name + MANIFEST_SUFFIX))
    sections = [analysis.get("reference"), analysis.get("npt_reference")]
    for section in sections:
        for name in (section or {}).get("files", []):
            paths.append(Path(name + MANIFEST_SUFFIX))
    for run in analysis.get("runs", []):
        folder = Path(run.get("path", ""))
        paths += sorted(folder.glob(f"*{MANIFEST_SUFFIX}"))
        paths.append(folder.with_name(folder.name + MANIFEST_SUFFIX))
    seen: set[Path] = set()
    for path in paths:
        if not path.is_file() or path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as err:
            raise InputError(f"not valid JSON: {err}", file=path) from err
        if isinstance(record, dict):
            label = f"{path.parent.name}/{path.name.removesuffix(MANIFEST_SUFFIX)}"
            found.manifests.append((label, record))
