# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph that the plugin builds (`graph.cpp`, alone) against brute force in NumPy."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, Configuration


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cgpot.core.native import SOURCE
    from cgpot.plugin.plugin_build import find_compiler

    compiler = find_compiler()
    assert compiler is not None
    target = tmp_path_factory.mktemp("graph") / "graph_check"
    here = Path(__file__).parent
    subprocess.run(
        [
            *(compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-I", str(SOURCE / "src"), str(SOURCE / "src" / "graph.cpp")),
            *("-ffp-contract=off", str(SOURCE / "src" / "cells.cpp")),
            *(str(SOURCE / "src" / name) for name in ("edges.cpp", "exclusions.cpp")),
            *(str(here / "graph_check.cpp"), "-o", str(target)),
        ],
        check=True,
    )
    return target


@dataclass
class Output:
    nodes: int
    edges: int
    shortest: float
    padded: tuple[int, int]
    atoms: np.ndarray
    types: np.ndarray
    index: np.ndarray
    vectors: np.ndarray
    virial: np.ndarray
    forces: np.ndarray
    virials: np.ndarray
    modes: np.ndarray
    """(3, 3) owned beads, nodes and edges with exchange, and with halos of depth 1 and 2."""


def run(program: Path, lines: list[str]) -> str:
    result = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    return result.stdout


def parse(text: str) -> Output:
    rows: dict[str, list[list[float]]] = {"node": [], "edge": [], "tally": []}
    for line in text.splitlines():
        word, *values = line.split()
        rows.setdefault(word, []).append([float(v) for v in values])
    node = np.array(rows["node"]).reshape(-1, 2)
    edge = np.array(rows["edge"]).reshape(-1, 5)
    tally = np.array(rows["tally"]).reshape(-1, 12)
    n, e, pn, pe, shortest = rows["sizes"][0]
    return Output(
        *(int(n), int(e), shortest, (int(pn), int(pe))),
        *(node[:, 0].astype(int), node[:, 1].astype(int)),
        *(edge[:, :2].astype(int).T, edge[:, 2:], np.array(rows["virial"][0])),
        *(tally[:, :3], tally[:, 3:]),
        np.array(rows["modes"][0], int).reshape(3, 3),
    )


def with_ghosts(configuration: Configuration, reach: float) -> list[tuple[int, int, np.ndarray]]:
    """(id, type from 1, position) of the beads and then of all images within `reach`."""
    inverse = np.linalg.inv(configuration.cell)
    images = np.ceil(reach * np.linalg.norm(inverse, axis=0)).astype(int)
    rows = [
        (int(i), int(t) + 1, x)
        for i, t, x in zip(
            configuration.ids, configuration.types, configuration.positions, strict=True
        )
    ]
    n = len(rows)
    for shift in itertools.product(*(range(-k, k + 1) for k in images)):
        if shift != (0, 0, 0):
            rows += [(i, t, x + np.array(shift) @ configuration.cell) for i, t, x in rows[:n]]
    return rows


def lines(
    rows: list[tuple[int, int, np.ndarray]],
    nlocal: int,
    cutoff: float,
    types: str,
    scale: float = 1,
) -> list[str]:
    head = f"{cutoff} {scale} {nlocal} {len(rows)} {len(types.split())} {types}"
    return [head, *(f"{i} {t} " + " ".join(map(repr, map(float, x))) for i, t, x in rows)]


def brute_force(configuration: Configuration, cutoff: float) -> list[tuple[int, int, np.ndarray]]:
    """All (centre, neighbour, vector) within the cutoff, images of a bead itself included."""
    rows = with_ghosts(configuration, cutoff)
    n = len(configuration.positions)
    vectors = np.array([x for _, _, x in rows])[None] - configuration.positions[:, None]
    inside = np.linalg.norm(vectors, axis=2) < cutoff
    inside[np.arange(n), np.arange(n)] = False
    return [(int(i), int(k % n), vectors[i, k]) for i, k in np.argwhere(inside)]


@pytest.mark.parametrize("types", ["0 1", "1 -1"])
@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_list_kept_between_steps(program: Path, name: str, types: str) -> None:
    """Twelve steps with one list, beads moving and changing types, against graphs made anew."""
    configuration = CONFIGURATIONS[name]
    n = len(configuration.positions)
    text = run(program, lines(with_ghosts(configuration, 7.0), n, 5.0, types))
    steps = [line.split()[1:] for line in text.splitlines() if line.startswith("steps")]
    assert [same for same, _ in steps] == ["1"] * 4  # image, exchange, halos of one and two steps
    assert n == 1 or all(int(count) > 0 for _, count in steps)
    cells = [line.split()[1:] for line in text.splitlines() if line.startswith("cells")]
    assert [same for same, _, _ in cells] == ["1"] * 3  # image, exchange, halo of one step
    assert n == 1 or all(int(count) > 0 for _, count, _ in cells)
    # while the list is kept, pairs come into the cutoff and leave it
    assert n < 10 or all(int(changes) > 0 for _, _, changes in cells)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_short_form(program: Path, name: str) -> None:
    """Vectors in single precision, no centres: the edges and sums of the long form."""
    configuration = CONFIGURATIONS[name]
    n = len(configuration.positions)
    text = run(program, lines(with_ghosts(configuration, 7.0), n, 5.0, "0 1"))
    found = [line.split()[1:] for line in text.splitlines() if line.startswith("short")]
    assert [row[:2] for row in found] == [["1", "1"]] * 4  # image, exchange, two halos
    assert n == 1 or all(int(edges) > 0 for _, _, edges in found)


def test_large_pages(program: Path) -> None:
    assert run(program, lines([], 0, 5.0, "0")).splitlines()[1] == "pages 1"


@pytest.mark.parametrize("name", [n for n, c in CONFIGURATIONS.items() if len(c.ids) > 1])
def test_beads_of_other_ranks(program: Path, name: str) -> None:
    """Half of the beads are owned: each of the others is one node, however many images it has."""
    configuration = CONFIGURATIONS[name]
    n = len(configuration.positions)
    owned = n // 2
    rows = with_ghosts(configuration, 7.0)
    text = run(program, lines(rows, owned, 5.0, "0 1"))
    found = next(line for line in text.splitlines() if line.startswith("remote")).split()[1:]
    expected = [edge for edge in brute_force(configuration, 5.0) if edge[0] < owned]
    assert list(map(int, found)) == [owned, n, len(expected), 1]


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_edges_and_sums(program: Path, name: str) -> None:
    configuration = CONFIGURATIONS[name]
    cutoff = 5.0
    n = len(configuration.positions)
    out = parse(run(program, lines(with_ghosts(configuration, 7.0), n, cutoff, "0 1")))
    expected = brute_force(configuration, cutoff)
    padding = 2 if n == 1 else 0
    assert (out.nodes, out.edges) == (n, len(expected))
    assert out.padded == (n + padding, len(expected) + padding)
    exchange, one, two = out.modes
    assert exchange.tolist() == [n, n, len(expected)]  # all ghosts are images of owned beads
    assert one[[0, 2]].tolist() == [n, len(expected)]
    assert two[2] > one[2]  # edges of the owned beads' ghost neighbours too
    assert out.types[:n].tolist() == configuration.types.tolist()

    def order(edges: list[tuple[int, int, np.ndarray]]) -> list[tuple[float, ...]]:
        return sorted((i, j, *np.round(v, 9)) for i, j, v in edges)

    edges = [(*out.index[:, e], out.vectors[e]) for e in range(out.edges)]
    assert order(edges) == order(expected)
    assert out.shortest == pytest.approx(min(np.linalg.norm(v) for _, _, v in expected))

    # gradient of an edge (x, y, z) is (y, 2 z, x), see graph_check.cpp
    forces, virials = np.zeros((n, 3)), np.zeros((n, 3, 3))
    for i, j, v in expected:
        g = np.array([v[1], 2 * v[2], v[0]])
        forces[i] += g
        forces[j] -= g
        for k in (i, j):
            virials[k] -= 0.5 * np.outer(v, g)
    np.testing.assert_allclose(out.forces, forces, atol=1e-10)
    nine = virials.reshape(n, 9)[:, [0, 4, 8, 1, 2, 5, 3, 6, 7]]
    np.testing.assert_allclose(out.virials, nine, atol=1e-10)
    total = nine.sum(0)
    np.testing.assert_allclose(
        out.virial, [*total[:3], *(0.5 * (total[3:6] + total[6:]))], atol=1e-9
    )


def test_length_scale(program: Path) -> None:
    """Positions in Å for a model in nm: ten times shorter vectors, the cutoff is the model's."""
    configuration = CONFIGURATIONS["small"]
    rows = with_ghosts(configuration, 7.0)
    a = parse(run(program, lines(rows, 2, 5.0, "0 1")))
    b = parse(run(program, lines(rows, 2, 0.5, "0 1", scale=0.1)))
    assert a.index.tolist() == b.index.tolist()
    np.testing.assert_allclose(0.1 * a.vectors, b.vectors, rtol=1e-14)


def test_unmapped_types_are_left_out(program: Path) -> None:
    configuration = CONFIGURATIONS["cubic"]
    n = len(configuration.positions)
    out = parse(run(program, lines(with_ghosts(configuration, 7.0), n, 5.0, "-1 3")))
    kept = np.flatnonzero(configuration.types == 1)
    assert out.atoms.tolist() == kept.tolist()
    assert set(out.types) == {3}
    pairs = [(i, j) for i, j, _ in brute_force(configuration, 5.0) if {i, j} <= set(kept)]
    assert sorted(zip(*(kept[row] for row in out.index), strict=True)) == sorted(pairs)


@pytest.mark.parametrize("positions", [[], [[0.0, 0, 0]], [[0.0, 0, 0], [9.0, 0, 0]]])
def test_padding(program: Path, positions: list[list[float]]) -> None:
    n = len(positions)
    rows = [(k + 1, 1, np.array(x)) for k, x in enumerate(positions)]
    out = parse(run(program, lines(rows, n, 5.0, "0")))
    assert (out.nodes, out.edges) == (n, 0)
    if n == 0:
        assert out.padded == (0, 0)
        return
    # two further beads, twice the cutoff apart, that see each other only
    assert out.padded == (n + 2, 2)
    assert out.index.tolist() == [[n, n + 1], [n + 1, n]]
    assert np.linalg.norm(out.vectors, axis=1).tolist() == [10.0, 10.0]
    assert not out.forces.any()
    assert not out.virial.any()


def test_pairs_at_the_cutoff_are_no_edges(program: Path) -> None:
    rows = [(1, 1, np.zeros(3)), (2, 1, np.array([5.0, 0, 0])), (3, 1, np.array([0, 4.999, 0]))]
    out = parse(run(program, lines(rows, 3, 5.0, "0")))
    assert sorted(zip(*out.index, strict=True)) == [(0, 2), (2, 0)]


@pytest.mark.parametrize("far", [1, 10**12])
def test_large_ids_and_orphans(program: Path, far: int) -> None:
    """Ids beyond any table are found too; a ghost without an owner is named."""
    rows = [
        (5 * far, 1, np.zeros(3)),
        (7 * far, 1, np.array([1.0, 0, 0])),
        (5 * far, 1, np.array([0, 2.0, 0])),
    ]
    out = parse(run(program, lines(rows, 2, 5.0, "0")))
    assert sorted(zip(*out.index, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 0)]
    rows.append((6 * far, 1, np.array([0, 3.0, 0])))
    assert run(program, lines(rows, 2, 5.0, "0")).splitlines()[-1] == "orphan 3"


def test_vector_and_scalar_loops_agree(program: Path) -> None:
    """Zero to 41 candidates, a position that is no number among them; equal to the last bit.

    On a processor without AVX-512 the scalar form is compared with itself.
    """
    same, kept = run(program, lines([], 0, 5.0, "0")).splitlines()[0].split()[1:]
    assert same == "1"
    assert 2 * 41 * 42 // 8 < int(kept) < 2 * 41 * 42  # some candidates are within, some are not
