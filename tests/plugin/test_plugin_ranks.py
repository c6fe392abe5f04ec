# SPDX-License-Identifier: GPL-2.0-or-later
"""`pair_style cgpot` on several MPI ranks: the same numbers as on one, whatever is combined."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from plugin_models import grid
from plugin_support import THERMO, Result, Runner, deck, same, write_data

BOX = grid(np.diag([21.6, 20.8, 22.4]), (6, 6, 6), 11)
TRICLINIC = grid(np.array([[20.0, 0, 0], [3.0, 20.4, 0], [-2.0, 4.0, 19.6]]), (6, 6, 6), 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("ranks"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    files = {name: folder / f"{name}.data" for name in ("box", "triclinic", "slab")}
    write_data(files["box"], BOX)
    write_data(files["triclinic"], TRICLINIC)
    write_data(files["slab"], BOX, extra=60.0)
    return files


@pytest.fixture(scope="module")
def reference(run: Runner, data: dict[str, Path], fast_model: Path) -> dict[str, Result]:
    """One rank, ghosts as images of their owners."""
    return {name: run(1, deck(data[name], fast_model)) for name in ("box", "triclinic")}


@pytest.mark.parametrize("ghosts", ["exchange", "halo"])
@pytest.mark.parametrize(
    ("name", "ranks"),
    [("box", 1), ("box", 2), ("box", 3), ("box", 4), ("triclinic", 1), ("triclinic", 3)],
)
def test_ranks_agree(
    run: Runner,
    data: dict[str, Path],
    reference: dict[str, Result],
    fast_model: Path,
    name: str,
    ranks: int,
    ghosts: str,
) -> None:
    found = run(ranks, deck(data[name], fast_model, ghosts=ghosts))
    same(found, reference[name], 1e-10)
    words = {"exchange": "features of ghosts are exchanged", "halo": "a halo of ghosts as deep"}
    assert words[ghosts] in found.log


@pytest.mark.parametrize("network", ["fast32"], indirect=True)
def test_single_precision(run: Runner, data: dict[str, Path], network: Path) -> None:
    one = run(1, deck(data["box"], network))
    for ghosts in ("exchange", "halo"):
        same(run(2, deck(data["box"], network, ghosts=ghosts)), one, 1e-6)


def test_plain_network(
    run: Runner, data: dict[str, Path], float64_model: Path, reference: dict[str, Result]
) -> None:
    """Without tables: NequIP's own interaction blocks, with the exchange in its hook for ghosts."""
    one = run(1, deck(data["box"], float64_model))
    for ghosts in ("exchange", "halo"):
        same(run(2, deck(data["box"], float64_model, ghosts=ghosts)), one, 1e-10)
    same(one, reference["box"], 1e-8)


def test_strictly_local_model(run: Runner, data: dict[str, Path], lj_model: Path) -> None:
    one = run(1, deck(data["box"], lj_model))
    two = run(2, deck(data["box"], lj_model))
    assert "strictly local model" in two.log
    same(two, one, 1e-10)


def test_the_cheaper_way_is_taken(run: Runner, data: dict[str, Path], fast_model: Path) -> None:
    found = run(2, deck(data["box"], fast_model))
    assert "features of ghosts are exchanged between them (a halo is 4." in found.log


DECOMPOSITIONS = {
    "uneven": ("", "balance 1.0 z 0.3"),
    "tiled": ("comm_style tiled", "balance 1.0 rcb"),
    "shift": ("", "balance 1.0 shift xyz 10 1.0"),
    "layers": ("processors 1 1 *", ""),
    "dynamic": ("comm_style tiled", "fix b all balance 5 1.0 rcb\nrun 0"),
}


@pytest.mark.parametrize(
    ("name", "ghosts"), [*((name, "exchange") for name in DECOMPOSITIONS), ("tiled", "halo")]
)
def test_decompositions(
    run: Runner,
    data: dict[str, Path],
    reference: dict[str, Result],
    fast_model: Path,
    name: str,
    ghosts: str,
) -> None:
    before, after = DECOMPOSITIONS[name]
    ranks = 2 if name == "uneven" else 4
    text = deck(data["box"], fast_model, ghosts=ghosts, before=before, body=f"{after}\nrun 0")
    same(run(ranks, text), reference["box"], 1e-10)


@pytest.mark.parametrize(
    ("boundary", "ghosts"),
    [
        ("p p p", "exchange"),
        ("p p f", "exchange"),
        ("f f f", "exchange"),
        ("s p p", "exchange"),
        ("p p f", "halo"),
    ],
)
def test_empty_subdomains_and_open_boundaries(
    run: Runner, data: dict[str, Path], fast_model: Path, boundary: str, ghosts: str
) -> None:
    one = run(1, deck(data["slab"], fast_model, boundary=boundary))
    text = deck(
        data["slab"], fast_model, boundary=boundary, ghosts=ghosts, before="processors 1 1 4"
    )
    same(run(4, text), one, 1e-10)


FEATURES = {
    "nve": "velocity all create 200 7 loop all\nfix 1 all nve\nrun 20",
    "npt": "velocity all create 200 7 loop all\nfix 1 all npt temp 200 200 0.1 iso 0 0 1\nrun 20",
    "npt tri": "change_box all triclinic\nvelocity all create 200 7 loop all\n"
    "fix 1 all npt temp 200 200 0.1 tri 0 0 1\nrun 20",
    "deform": "fix 1 all nve\nfix 2 all deform 1 x erate 0.5 remap x\nrun 20",
    "minimize": "minimize 0 0 5 50",
    "replicate": "replicate 2 1 1\nrun 0",
    "comm_modify": "comm_modify cutoff 12.0 vel yes\nrun 0",
    "neigh_modify": "neigh_modify every 1 delay 5 check no\nvelocity all create 200 7 loop all\n"
    "fix 1 all nve\nrun 20",
    "delete_atoms": "group some id 1:40\ndelete_atoms group some compress no\nrun 0",
    "group": "group some id 1:40\nvelocity some create 200 7 loop all\nfix 1 some nve\nrun 20",
    "two runs": "fix 1 all nve\nrun 5\nrun 5",
    "restart": "fix 1 all nve\nrun 5\nwrite_restart r.bin\nclear\nplugin list\nread_restart r.bin\n"
    "STYLE\nfix 1 all nve\ncompute w all stress/atom NULL virial\ncompute e all pe/atom\n"
    f"thermo_style custom step {THERMO}\nthermo_modify format float %.15g\nrun 5",
    "rerun": "write_dump all custom t.dump id type x y z modify sort id format float %.15g\n"
    "displace_atoms all random 0.1 0.1 0.1 5\nrerun t.dump dump x y z",
}


@pytest.mark.parametrize("name", list(FEATURES))
def test_features_of_lammps(
    run: Runner, data: dict[str, Path], fast_model: Path, name: str
) -> None:
    style = f"pair_style cgpot\npair_coeff * * {fast_model} AAA BBB"
    body = FEATURES[name].replace("STYLE", style)
    text = deck(data["box"], fast_model, body=body)
    # trajectories of a few steps: rounding grows, but slowly
    same(run(2, text), run(1, text), 1e-7)


def test_overlay_with_another_style(
    run: Runner, data: dict[str, Path], fast_model: Path, reference: dict[str, Result]
) -> None:
    style = f"""pair_style hybrid/overlay cgpot lj/cut 6.0
pair_coeff * * cgpot {fast_model} AAA BBB
pair_coeff * * lj/cut 0.001 3.0"""
    one = run(1, deck(data["box"], fast_model, style=style))
    same(run(3, deck(data["box"], fast_model, style=style)), one, 1e-10)
    assert abs(one.thermo[0] - reference["box"].thermo[0]) > 1e-3


def test_types_without_a_bead(run: Runner, data: dict[str, Path], fast_model: Path) -> None:
    """Atoms of type 2 are not the model's: their ghosts have no rows to exchange."""
    style = """pair_style hybrid/overlay cgpot ghosts {ghosts} lj/cut 6.0
pair_coeff * * cgpot {model} AAA NULL
pair_coeff * 2 lj/cut 0.001 3.0"""
    text = {
        ghosts: deck(data["box"], fast_model, style=style.format(ghosts=ghosts, model=fast_model))
        for ghosts in ("auto", "exchange", "halo")
    }
    one = run(1, text["auto"])
    for ghosts in ("exchange", "halo"):
        same(run(4, text[ghosts]), one, 1e-10)


def test_newton_off_is_refused(run: Runner, data: dict[str, Path], fast_model: Path) -> None:
    text = deck(data["box"], fast_model).replace("newton on", "newton off")
    status, output, _ = run.text(2, text)
    assert status != 0
    assert "pair_style cgpot on several MPI ranks needs `newton on`" in output


def test_mean_of_an_ensemble(run: Runner, data: dict[str, Path], lj_members: list[Path]) -> None:
    style = f"pair_style cgpot\npair_coeff * * {' '.join(map(str, lj_members))} AAA BBB"
    text = deck(data["box"], lj_members[0], style=style)
    same(run(2, text), run(1, text), 1e-10)


assert os.environ.get("OMP_NUM_THREADS") == "1"  # set by conftest: ranks share the cores
