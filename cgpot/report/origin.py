# SPDX-License-Identifier: GPL-2.0-or-later
"""Where everything comes from: versions, commands and hashes out of the manifests."""

from __future__ import annotations

from typing import Any

from cgpot import __version__
from cgpot.report.gather import Gathered
from cgpot.report.numbers import dig


def versions(data: Gathered) -> list[tuple[str, str]]:
    """Packages, as the manifests name them."""
    found: dict[str, set[str]] = {}
    for _, manifest in data.manifests:
        for name, version in (manifest.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    for name in ("torch", "nequip"):
        version = (data.sidecar or {}).get(f"{name}_version")
        if version:
            found.setdefault(name, set()).add(str(version).split("+")[0])
    rows = []
    for name, versions in found.items():
        plain = {v for v in versions if "+" not in v or v.split("+")[0] not in versions}
        rows.append((name, ", ".join(sorted(plain))))
    if not rows:
        rows = [("cgpot", __version__)]
    lammps = {
        str(v)
        for run in data.analysis.get("runs", [])
        if (v := dig(run, "md", "lammps")) is not None
    }
    if lammps:
        rows.append(("LAMMPS (from its log)", ", ".join(sorted(lammps))))
    return rows


def stages(data: Gathered) -> list[dict[str, Any]]:
    """Commands of the stages, oldest first."""
    stages = [
        {
            "name": name,
            "stage": record.get("stage", "?"),
            "created": str(record.get("created", "?")),
            "seed": record.get("seed"),
            "command": record.get("command", "?"),
        }
        for name, record in data.manifests
    ]
    return sorted(stages, key=lambda s: s["created"])


def hashes(data: Gathered) -> list[dict[str, str]]:
    """Files of all manifests with their hashes."""
    rows: dict[str, dict[str, str]] = {}
    for name, record in sorted(data.manifests, key=lambda m: str(m[1].get("created", ""))):
        folder = name.rsplit("/", 1)[0]
        entries = [(f"{folder}/{e['file']}", e) for e in record.get("outputs") or []]
        for items in (record.get("inputs") or {}).values():
            entries += [(e["file"], e) for e in items]
        for file, entry in entries:
            sha = str(entry.get("sha256", ""))
            rows.setdefault(
                sha,
                {
                    "file": file,
                    "stage": str(record.get("stage", "?")),
                    "bytes": f"{int(entry.get('bytes', 0)):,}",
                    "sha": sha[:16],
                },
            )
    return list(rows.values())
