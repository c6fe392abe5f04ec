# SPDX-License-Identifier: GPL-2.0-or-later
"""The spread of an ensemble on several MPI ranks: what one rank finds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from plugin_models import grid
from plugin_support import Runner, deck, write_data

BOX = grid(np.diag([14.4, 14.0, 15.2]), (4, 4, 4), 21)
FRAMES = "frames.extxyz"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("spread"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    files = {name: folder / f"{name}.data" for name in ("box", "slab")}
    write_data(files["box"], BOX)
    write_data(files["slab"], BOX, extra=60.0)
    return files


@dataclass
class Found:
    """What an ensemble said: c_s[1..5] of all thermo lines, s_i by id, frames, the output."""

    summary: np.ndarray
    beads: np.ndarray
    frames: str
    output: str


def text(
    data: Path,
    models: list[Path],
    *,
    ghosts: str = "auto",
    style: str = f"spread 2 threshold 1e-3 action dump {FRAMES} action warn",
    before: str = "",
    boundary: str = "p p p",
) -> str:
    names = " ".join(map(str, models))
    return deck(
        data,
        models[0],
        style=f"pair_style cgpot ghosts {ghosts} {style}\npair_coeff * * {names} AAA BBB",
        before=before,
        boundary=boundary,
        body="""compute s all pair cgpot
fix s all pair 2 cgpot spread 1
fix 1 all nve
velocity all create 100 5 loop all
thermo 2
thermo_style custom step pe c_s[1] c_s[2] c_s[3] c_s[4] c_s[5]
thermo_modify format float %.15g
run 4
write_dump all custom spread.dump id f_s modify sort id format float %.15g""",
    )


def result(run: Runner, ranks: int, deck: str) -> Found:
    status, output, folder = run.text(ranks, deck)
    assert status == 0, output
    rows = re.findall(r"^ +\d+ +(-?\d.*)$", output, re.MULTILINE)
    frames = folder / FRAMES
    return Found(
        np.array([row.split() for row in rows], float)[:3, 1:],
        np.loadtxt(folder / "spread.dump", skiprows=9),
        frames.read_text() if frames.exists() else "",
        output,
    )


def numbers(frames: str) -> np.ndarray:
    return np.array(re.findall(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", frames), float)


def same(found: Found, expected: Found) -> None:
    np.testing.assert_allclose(found.summary, expected.summary, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.beads, expected.beads, rtol=1e-9, atol=1e-12)
    assert len(found.frames) > 0
    words = [re.sub(r"[-\d.]+(e[-+]\d+)?", "#", f.frames) for f in (found, expected)]
    assert words[0] == words[1]
    np.testing.assert_allclose(numbers(found.frames), numbers(expected.frames), rtol=1e-8)
    warned = r"disagree on the force on (.*) threshold"
    warnings = [re.findall(warned, f.output) for f in (found, expected)]
    assert warnings[0] == warnings[1]
    assert len(warnings[0]) == 3  # the steps 0, 2 and 4, once each


@pytest.fixture(scope="module")
def network_and_lj(fast_model: Path, lj_model: Path) -> list[Path]:
    """Members of different depth: one passes messages, the other is strictly local."""
    return [fast_model, lj_model]


@pytest.fixture(scope="module")
def one(run: Runner, data: dict[str, Path], network_and_lj: list[Path]) -> Found:
    found = result(run, 1, text(data["box"], network_and_lj))
    assert found.summary[:, 4].tolist() == [0, 2, 4]
    assert np.all(found.summary[:, :4] > 1e-4)
    return found


@pytest.mark.parametrize(("ranks", "ghosts"), [(1, "halo"), (2, "exchange"), (2, "halo")])
def test_spread_of_all_ranks(
    run: Runner,
    data: dict[str, Path],
    network_and_lj: list[Path],
    one: Found,
    ranks: int,
    ghosts: str,
) -> None:
    same(result(run, ranks, text(data["box"], network_and_lj, ghosts=ghosts)), one)


@pytest.mark.parametrize("members", ["network", "local"])
def test_ranks_without_beads(
    run: Runner,
    data: dict[str, Path],
    network_and_lj: list[Path],
    lj_members: list[Path],
    members: str,
) -> None:
    """Three layers of 25 Å, the upper two without beads; both ways with ghosts."""
    models = network_and_lj if members == "network" else lj_members
    expected = result(run, 1, text(data["slab"], models, boundary="p p f"))
    for ghosts in ("exchange", "halo") if members == "network" else ("auto",):
        deck = text(
            data["slab"], models, ghosts=ghosts, before="processors 1 1 3", boundary="p p f"
        )
        same(result(run, 3, deck), expected)


@pytest.mark.parametrize("drives", ["use 2"])
def test_spread_for_fix_pair_alone(
    run: Runner, data: dict[str, Path], lj_members: list[Path], drives: str
) -> None:
    deck = text(data["box"], lj_members, style=drives)
    one, two = result(run, 1, deck), result(run, 2, deck)
    assert np.all(one.beads[:, 1] > 0)
    np.testing.assert_allclose(two.beads, one.beads, rtol=1e-9)
    np.testing.assert_allclose(two.summary, one.summary, rtol=1e-9)


def test_stop_ends_all_ranks(run: Runner, data: dict[str, Path], lj_members: list[Path]) -> None:
    deck = text(data["box"], lj_members, style="spread 2 threshold 1e-3 action stop")
    messages = []
    for ranks in (1, 3):
        status, output, _ = run.text(ranks, deck)
        assert status != 0
        (message,) = set(re.findall(r"ERROR: (cgpot: the models disagree.*?) \(", output))
        messages.append(message)
    assert messages[0] == messages[1]
