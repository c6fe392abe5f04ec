# SPDX-License-Identifier: GPL-2.0-or-later
"""Communication between ranks (its sources alone) under sanitizers; the GPU that a rank takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def compiled(name: str, folder: Path) -> Path:
    """The program `NAME_check` of a source of the plugin."""
    from cgpot.core.native import SOURCE
    from cgpot.plugin.plugin_build import find_compiler

    compiler = find_compiler()
    assert compiler is not None
    target = folder / f"{name}_check"
    subprocess.run(
        [
            *(compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-I", str(SOURCE / "src"), str(SOURCE / "src" / f"{name}.cpp")),
            *(str(Path(__file__).parent / f"{name}_check.cpp"), "-o", str(target)),
        ],
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("ranks", tmp_path_factory.mktemp("ranks"))


def test_rows_go_straight_to_their_owners(tmp_path: Path) -> None:
    """Doubles and floats, ghosts that nobody wants, ranks without beads, numbers that change."""
    done = subprocess.run(
        [str(compiled("direct", tmp_path))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout == "360 cases, 0 failures\n"


def test_rows_travel_between_ranks(program: Path) -> None:
    """Doubles and floats, parts of rows, ghosts that pass on, no atoms, atoms without a node."""
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout == "600 cases, 0 failures\n"


@pytest.mark.parametrize(
    ("place", "variables", "device"),
    [
        # worlds, rank on this machine, rank of all, devices
        ((1, 0, 0, 1), {}, 0),
        ((1, 3, 7, 4), {}, 3),
        ((1, 5, 5, 4), {}, 1),
        # a shell of a batch job tells all ranks that they are the first
        ((1, 2, 2, 4), {"SLURM_LOCALID": "0"}, 2),
        # partitions: one rank each
        ((4, 0, 3, 4), {}, 3),
        ((4, 0, 3, 2), {"MPI_LOCALRANKID": "1"}, 1),
        ((4, 0, 3, 4), {"PMI_LOCAL_RANK": "2"}, 2),
        ((4, 0, 3, 4), {"OMPI_COMM_WORLD_LOCAL_RANK": "nonsense"}, 3),
        ((4, 0, 3, 4), {"MPI_LOCALRANKID": "-1", "SLURM_LOCALID": "6"}, 2),
    ],
)
def test_device_of_a_rank(
    program: Path, place: tuple[int, ...], variables: dict[str, str], device: int
) -> None:
    launchers = ("MPI_", "PMI_", "OMPI_", "SLURM_", "MV2_", "PALS_", "FLUX_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(launchers)}
    done = subprocess.run(
        [str(program), *map(str, place)],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == device
