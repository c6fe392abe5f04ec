# SPDX-License-Identifier: GPL-2.0-or-later
"""Several models in one file, evaluated together: the numbers of their own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plugin_models import grid
from plugin_support import Runner, deck, same, write_data

BOX = grid(np.diag([21.6, 20.8, 22.4]), (6, 6, 6), 31)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Runner:
    return Runner(tmp_path_factory.mktemp("batch"), plugin)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "box.data"
    write_data(path, BOX)
    return path


def style(models: list[Path], words: str = "") -> str:
    return f"pair_style cgpot {words}\npair_coeff * * {' '.join(map(str, models))} AAA BBB"


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (1, ""),
        (1, "use 2"),
        (1, "use 1 spread 1"),
        (1, "graph device"),
        (2, "ghosts exchange"),
        (2, "ghosts halo"),
        (3, "ghosts exchange spread 1 graph device"),
    ],
)
def test_energies_forces_and_virials(
    run: Runner, data: Path, network_pair: list[Path], batch_model: Path, ranks: int, words: str
) -> None:
    together = run(ranks, deck(data, Path(), style=style([batch_model], words)))
    apart = run(1, deck(data, Path(), style=style(network_pair, words.split("ghosts")[0])))
    same(together, apart, 1e-10)
    assert "2 models in one batch" in together.log
    assert "cgpot: ensemble of 2 models" in together.log


def test_spread(run: Runner, data: Path, network_pair: list[Path], batch_model: Path) -> None:
    body = "compute s all pair cgpot\nthermo_style custom step pe press c_s[*]\nrun 0"
    rows = [
        run(ranks, deck(data, Path(), style=style(models, "spread 1"), body=body)).thermo[:6]
        for ranks, models in ((1, network_pair), (1, [batch_model]), (2, [batch_model]))
    ]
    assert rows[0][2] > 1e-3
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-9)
    np.testing.assert_allclose(rows[2], rows[0], rtol=1e-9)


def test_beside_another_file(
    run: Runner, data: Path, network_pair: list[Path], batch_model: Path, lj_model: Path
) -> None:
    """The third model of all is that of the second file."""
    for words in ("", "use 3"):
        together = run(1, deck(data, Path(), style=style([batch_model, lj_model], words)))
        apart = run(1, deck(data, Path(), style=style([*network_pair, lj_model], words)))
        same(together, apart, 1e-10)


def test_a_member_that_is_not_there(run: Runner, data: Path, batch_model: Path) -> None:
    status, output, _ = run.text(1, deck(data, Path(), style=style([batch_model], "use 3")))
    assert status != 0
    assert "`use 3`, but pair_coeff names 2 models" in output
