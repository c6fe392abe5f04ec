# SPDX-License-Identifier: GPL-2.0-or-later
"""The key `pairs` of a sidecar: all pairs, those between molecules, or no bonded neighbours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import NET_CUTOFF, Configuration
from plugin_molecules import (
    BEFORE,
    SYSTEMS,
    Molecules,
    Reference,
    agree,
    eager_network,
    lennard_jones,
    molecular_deck,
    seeing,
    write_molecules,
)
from plugin_support import Runner

from cgpot.molecules.exclusions import SEEN_PAIRS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("pairs"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    for name, system in SYSTEMS.items():
        write_molecules(folder / f"{name}.data", system)
    return {name: folder / f"{name}.data" for name in SYSTEMS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, lj_model: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {word: seeing(lj_model, folder, word) for word in SEEN_PAIRS}


def test_systems_tell_the_words_apart() -> None:
    """Each word leaves out more; molecules lie across the boundary; small boxes hold images."""
    for system in SYSTEMS.values():
        counts = [lennard_jones(system, word).edges for word in SEEN_PAIRS]
        assert counts == sorted(set(counts), reverse=True)
        cell = np.linalg.inv(system.sites.cell)
        wrapped = (system.sites.positions @ cell) % 1.0
        ends = wrapped[system.bonds]
        assert (np.abs(ends[:, 0] - ends[:, 1]) > 0.5).any()
    small = SYSTEMS["small"]
    # pairs of one molecule that are seen in another image
    assert lennard_jones(small, "intermolecular").edges > 0
    s = small.sites
    alone = Molecules(
        Configuration(s.cell, s.positions[:6], s.types[:6], s.ids[:6]),
        small.molecules[:6],
        small.bonds[:5],
    )
    assert lennard_jones(alone, "intermolecular").edges > 0


@pytest.mark.parametrize("name", list(SYSTEMS))
@pytest.mark.parametrize("pairs", SEEN_PAIRS)
def test_against_brute_force(
    run: Runner, data: dict[str, Path], models: dict[str, Path], pairs: str, name: str
) -> None:
    """One to three ranks, edges found on the host and by torch, newton on and off for pairs."""
    expected = lennard_jones(SYSTEMS[name], pairs)
    for ranks, graph, newton in (
        (1, "host", "off"),
        (1, "device", "on"),
        (2, "host", "on off"),
        (3, "device", "on"),
    ):
        text = molecular_deck(data[name], models[pairs], f"graph {graph}", newton=newton)
        found = run(ranks, text)
        agree(found, expected, SYSTEMS[name], 1e-10)
        assert (f"pairs {pairs}" in found.log) == (pairs != "all")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, float64_model: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {word: seeing(float64_model, folder, word, cutoff=NET_CUTOFF) for word in SEEN_PAIRS}


@pytest.fixture(scope="module")
def network_references() -> dict[tuple[str, str], Reference]:
    return {
        (name, word): eager_network(SYSTEMS[name], word)
        for name, word in (
            ("triclinic", "intermolecular"),
            ("triclinic", "not-1-3"),
            ("small", "not-1-2"),
        )
    }


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("triclinic", "intermolecular"), ("triclinic", "not-1-3"), ("small", "not-1-2")],
)
@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (1, ""),
        (1, "ghosts halo"),
        (2, "ghosts exchange"),
        (2, "ghosts halo"),
        (3, "ghosts exchange graph device"),
        (3, "ghosts halo"),
    ],
)
def test_network_that_passes_messages(
    run: Runner,
    data: dict[str, Path],
    networks: dict[str, Path],
    network_references: dict[tuple[str, str], Reference],
    name: str,
    pairs: str,
    ranks: int,
    words: str,
) -> None:
    """Against the eager network with the same edges; in a halo, ghosts have edges too."""
    found = run(ranks, molecular_deck(data[name], networks[pairs], words))
    agree(found, network_references[name, pairs], SYSTEMS[name], 1e-9)


def stretched() -> Molecules:
    """A dimer that is nearly as long as half the box, and one across the boundary."""
    cell = np.diag([7.6, 7.8, 8.0])
    x = np.array([[1.0, 1.0, 1.0], [4.7, 1.2, 1.1], [1.2, 7.5, 5.0], [1.4, 2.1, 5.3]])
    return Molecules(
        Configuration(cell, x, np.array([0, 1, 1, 0]), np.array([3, 1, 4, 2])),
        np.array([0, 0, 1, 1]),
        np.array([[0, 1], [2, 3]]),
    )


@pytest.mark.parametrize("graph", ["host", "device"])
@pytest.mark.parametrize("pairs", ["intermolecular", "not-1-2"])
def test_nearest_images_change_while_a_list_is_kept(
    lammps: Any, models: dict[str, Path], tmp_path: Path, pairs: str, graph: str
) -> None:
    system = stretched()
    write_molecules(tmp_path / "data", system)
    lmp = lammps(atom_style="molecular")
    lmp.commands_string(f"{BEFORE}\nread_data data\nbond_coeff *")
    lmp.commands_string(f"pair_style cgpot graph {graph}\npair_coeff * * {models[pairs]} AAA BBB")
    lmp.commands_string(
        "neighbor 1.0 bin\nneigh_modify delay 0 every 1 check yes\n"
        "group one id 1\nvelocity one set 30 0 0\nfix 1 all nve\ntimestep 0.001\n"
        "thermo_modify format float %.15g"
    )
    half, lengths, energies = 3.8, [], []
    for step in range(12):
        lmp.command("run 1 post no" if step == 0 else "run 1 pre no post no")
        n = lmp.get_natoms()
        ids = np.array(lmp.numpy.extract_atom("id")[:n])
        rows = np.empty((n, 3))
        rows[ids - 1] = lmp.numpy.extract_atom("x")[:n]
        now = system.moved(rows[system.sites.ids - 1])
        expected = lennard_jones(now, pairs)
        assert lmp.get_thermo("pe") == pytest.approx(expected.energy, rel=1e-10)
        forces = np.empty((n, 3))
        forces[ids - 1] = lmp.numpy.extract_atom("f")[:n]
        np.testing.assert_allclose(forces, expected.forces, atol=1e-9)
        lengths.append(rows[0, 0] - rows[2, 0])
        energies.append(expected.energy)
    # it has passed half the box, with the list of the first step
    assert lengths[0] < half < lengths[-1]
    log = (tmp_path / "log.lammps").read_text()
    assert "Neighbor list builds" not in log or "Neighbor list builds = 0" in log
    assert abs(energies[-1] - energies[0]) > 1e-3


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("graph", ["host", "device"])
def test_exactly_half_the_box(
    run: Runner, models: dict[str, Path], tmp_path: Path, graph: str, ranks: int
) -> None:
    """Both images are nearest, and left out; the ghost cutoff is longer than the box."""
    system = Molecules(
        Configuration(
            np.diag([8.0, 8.0, 8.0]),
            np.array([[1.0, 1.0, 1.0], [5.0, 1.0, 1.0], [3.0, 4.0, 3.0]]),
            np.array([0, 1, 0]),
            np.array([1, 2, 3]),
        ),
        np.array([0, 0, 1]),
        np.array([[0, 1]]),
    )
    write_molecules(tmp_path / "data", system)
    found = run(ranks, molecular_deck(tmp_path / "data", models["not-1-2"], f"graph {graph}"))
    expected = lennard_jones(system, "not-1-2")
    agree(found, expected, system, 1e-10)
    assert lennard_jones(system, "all").edges == expected.edges + 4


MOVES = {
    "nve": "velocity all create 200 7 loop all\nfix 1 all nve\ntimestep 0.002\nrun 60",
    "npt": "velocity all create 200 7 loop all\n"
    "fix 1 all npt temp 200 200 0.1 tri 0 0 1\ntimestep 0.002\nrun 40",
}
STIFF = "bond_style harmonic\nbond_coeff * 5.0 2.6"


@pytest.mark.parametrize("move", list(MOVES))
@pytest.mark.parametrize("words", ["graph host", "graph device"])
def test_lists_made_anew_on_several_ranks(
    run: Runner,
    data: dict[str, Path],
    models: dict[str, Path],
    words: str,
    move: str,
) -> None:
    """Beads change ranks and order; at the end, against brute force at their places."""
    body = f"neighbor 0.3 bin\n{STIFF}\n{MOVES[move]}\nvelocity all set 0 0 0\n"
    body += "bond_style zero\nbond_coeff *\nunfix 1\nrun 0\n"
    body += "write_dump all custom x.dump id x y z modify sort id format float %.17g\n"
    words_of_box = ("xhi-xlo", "yhi-ylo", "zhi-zlo", "xy", "xz", "yz")
    body += 'print "box ' + " ".join(f"$({word}:%.17g)" for word in words_of_box) + '"'
    for pairs in ("intermolecular", "not-1-4"):
        found = run(2, molecular_deck(data["triclinic"], models[pairs], words, body=body))
        builds = max(map(int, re.findall(r"Neighbor list builds = (\d+)", found.log)))
        assert builds > 1
        folder = run.folder / str(run.count)
        rows = np.loadtxt(folder / "x.dump", skiprows=9)
        box = re.search(r"^box (.*)$", found.log, re.M)
        assert box is not None
        a, b, c, xy, xz, yz = map(float, box[1].split())
        system = SYSTEMS["triclinic"]
        sites = system.sites
        now = replace(
            system,
            sites=Configuration(
                np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]]),
                rows[sites.ids - 1, 1:],
                sites.types,
                sites.ids,
            ),
        )
        agree(found, lennard_jones(now, pairs), now, 1e-9)


def test_lammps_list_with_another_style(
    run: Runner, data: dict[str, Path], models: dict[str, Path]
) -> None:
    """pair_style hybrid/overlay, for which LAMMPS makes the list."""
    for pairs in ("intermolecular", "not-1-3"):
        style = f"pair_style hybrid/overlay cgpot zero 5.0\npair_coeff * * cgpot {models[pairs]} "
        style += "AAA BBB\npair_coeff * * zero"
        expected = lennard_jones(SYSTEMS["small"], pairs)
        for ranks in (1, 2):
            text = molecular_deck(data["small"], Path(), style=style)
            agree(run(ranks, text), expected, SYSTEMS["small"], 1e-10)


def test_ensemble(
    run: Runner, data: dict[str, Path], lj_members: list[Path], tmp_path: Path
) -> None:
    members = []
    for k, (member, cutoff) in enumerate(zip(lj_members, (6.0, 6.0, 5.0), strict=True)):
        folder = tmp_path / str(k)
        folder.mkdir()
        members.append(seeing(member, folder, "not-1-3", cutoff=cutoff))
    style = f"pair_style cgpot use 1 spread 1\npair_coeff * * {' '.join(map(str, members))} AAA BBB"
    text = molecular_deck(data["box"], Path(), style=style)
    agree(run(2, text), lennard_jones(SYSTEMS["box"], "not-1-3"), SYSTEMS["box"], 1e-10)


def start(lammps: Any, data: Path, model: Path, before: str = BEFORE) -> Any:
    lmp = lammps(atom_style="molecular")
    lmp.commands_string(f"{before}\nread_data {data}\nbond_coeff *")
    lmp.commands_string(f"pair_style cgpot\npair_coeff * * {model} AAA BBB")
    return lmp


def test_special_bonds_have_no_effect_beside_their_check(
    lammps: Any, data: dict[str, Path], models: dict[str, Path]
) -> None:
    """Neighbours that LAMMPS would take from its list are a mistake, whatever the model sees."""
    lmp = start(lammps, data["box"], models["intermolecular"], "bond_style zero")
    with pytest.raises(Exception, match="special_bonds lj is 0 0 0, which hides bonded neighbors"):
        lmp.command("run 0")
    lmp.command("special_bonds lj 1 1 1 coul 0 0 0")  # there are no charges
    lmp.command("run 0 post no")
    expected = lennard_jones(SYSTEMS["box"], "intermolecular").energy
    assert lmp.get_thermo("pe") == pytest.approx(expected, rel=1e-10)


def test_bonds_of_a_run_before(lammps: Any, data: dict[str, Path], models: dict[str, Path]) -> None:
    """Bonds that are taken away, and molecules that are renamed, count from the next run on."""
    lmp = start(lammps, data["box"], models["not-1-4"])
    lmp.command("run 0 post no")
    lmp.command("delete_bonds all bond 1 remove special")
    lmp.command("run 0 post no")
    expected = lennard_jones(SYSTEMS["box"], "all").energy
    assert lmp.get_thermo("pe") == pytest.approx(expected, rel=1e-10)
    log = Path("log.lammps").read_text()
    assert "leaves out bonded neighbors (pairs: not-1-4), but the system has no bonds" in log
    lmp = start(lammps, data["box"], models["intermolecular"])
    lmp.command("run 0 post no")
    lmp.commands_string("set group all mol 1\nrun 0 post no")
    assert lmp.get_thermo("pe") == 0.0


@pytest.mark.parametrize("graph", ["host", "device"])
def test_bonds_that_are_made_during_a_run(
    lammps: Any, data: dict[str, Path], models: dict[str, Path], graph: str
) -> None:
    """fix bond/create joins sites of different molecules; new ways of three bonds count as well."""
    lmp = lammps(atom_style="molecular")
    lmp.commands_string(
        f"{BEFORE}\nread_data {data['box']} extra/bond/per/atom 6 extra/special/per/atom 40\n"
        f"bond_coeff *\npair_style cgpot graph {graph}\n"
        f"pair_coeff * * {models['not-1-4']} AAA BBB\n"
        "fix 1 all bond/create 2 1 2 4.5 1\nfix 2 all nve\ntimestep 1e-9\nrun 10 post no"
    )
    made = int(lmp.extract_fix("1", 0, 1, nrow=1))
    assert made > 3
    _, rows = lmp.gather_bonds()[0], np.array(lmp.gather_bonds()[1]).reshape(-1, 3)
    system = SYSTEMS["box"]
    place = np.argsort(system.sites.ids)
    now = replace(system, bonds=place[rows[:, 1:] - 1])
    assert len(now.bonds) == len(system.bonds) + made
    expected = lennard_jones(now, "not-1-4")
    assert lmp.get_thermo("pe") == pytest.approx(expected.energy, rel=1e-6)  # sites have moved
    assert expected.edges < lennard_jones(system, "not-1-4").edges


def test_molecules_need_ids(lammps: Any, data: dict[str, Path], models: dict[str, Path]) -> None:
    lmp = start(lammps, data["box"], models["intermolecular"])
    lmp.command("set atom 7 mol 0")
    with pytest.raises(Exception, match="atom 7 has molecule ID 0; expected one from 1"):
        lmp.command("run 0")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("intermolecular", "needs an atom style with molecules .*, found `atom_style atomic`"),
        (
            "not-1-2",
            r"\(pairs: not-1-2\), which needs an atom style with bonds .*`atom_style atomic`",
        ),
    ],
)
def test_atom_styles_without_molecules(
    lammps: Any, models: dict[str, Path], pairs: str, message: str
) -> None:
    lmp = lammps(SYSTEMS["box"].sites)
    lmp.commands_string(f"pair_style cgpot\npair_coeff * * {models[pairs]} AAA BBB")
    with pytest.raises(Exception, match=message):
        lmp.command("run 0")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not-1-5", "key 'pairs': expected one of 'all', 'not-1-2', .*, found 'not-1-5'"),
        (3, "key 'pairs': expected a string, found a number"),
    ],
)
def test_unknown_words_are_refused(
    lammps: Any, lj_model: Path, tmp_path: Path, value: object, message: str
) -> None:
    model = seeing(lj_model, tmp_path, "all")
    from plugin_models import write_sidecar

    write_sidecar(tmp_path / "all.cgpot.json", pairs=value)
    lmp = lammps(SYSTEMS["box"].sites)
    lmp.command("pair_style cgpot")
    with pytest.raises(Exception, match=message):
        lmp.command(f"pair_coeff * * {model} AAA BBB")


def test_ensembles_see_the_same_pairs(lammps: Any, models: dict[str, Path]) -> None:
    lmp = lammps(SYSTEMS["box"].sites)
    lmp.command("pair_style cgpot")
    two = f"{models['not-1-2']} {models['not-1-3']}"
    with pytest.raises(Exception, match=r"must have the same pairs: .* 'not-1-2', .* 'not-1-3'"):
        lmp.command(f"pair_coeff * * {two} AAA BBB")
