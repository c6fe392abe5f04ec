# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed cgpot holds the same files as the repository's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = {".py", ".cpp", ".h", ".lmp", ".j2", ".css", ".typed"}


def test_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "build", "*.egg-info")
    for folder in ("cgpot", "lammps_inputs"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    expected = {
        str(Path("cgpot", "lammps", "decks", p.name) if folder == "lammps_inputs" else p)
        for folder in ("cgpot", "lammps_inputs")
        for full in (source / folder).rglob("*")
        if (p := full.relative_to(source)).suffix in PACKAGED or p.name == "CMakeLists.txt"
    } | {"cgpot/py.typed"}
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("cgpot-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.startswith("cgpot/")}
    assert found == expected
    assert "cgpot/plugin/src/pair_cgpot.cpp" in found
    assert "cgpot/md/decks/cg_nvt.lmp" in found
