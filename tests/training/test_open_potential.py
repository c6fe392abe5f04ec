# SPDX-License-Identifier: GPL-2.0-or-later
"""One way to open a potential, whatever its kind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "potential"))

from potential_systems import NAMES, chains, mscg, pair_table, uf3

from cgpot.core.errors import InputError
from cgpot.potential.base import Base
from cgpot.potential.potential import MeanOfPotentials, Potential, SumOfPotentials
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.linear.mscg import MSCGPotential
from cgpot.training.open_potential import open_potential


def write_pair(path: Path) -> Potential:
    pair_table().write(path)
    return Base(pair_table())


def write_mscg(path: Path) -> Potential:
    mscg((1, 2, 3)).write(path)
    return mscg((1, 2, 3))


def write_uf3(path: Path) -> Potential:
    uf3(overlay=True).write(path)
    return uf3()


KINDS: dict[str, Callable[[Path], Potential]] = {
    "pair": write_pair,
    "mscg": write_mscg,
    "uf3": write_uf3,
}


def folder_of(place: Path, kind: str) -> Potential:
    """A training folder as far as it is read."""
    place.mkdir(parents=True)
    record = {
        "format": "cgpot-training-1",
        "kind": kind,
        "bead_names": NAMES,
        "masses": [40.0, 60.0],
        "cutoff": 7.0,
        "temperature": 300.0,
    }
    (place / "result.json").write_text(json.dumps(record))
    return KINDS[kind](place / f"{kind}.json")


def same(one: Potential, two: Potential) -> None:
    for a, b in zip(one.labels(chains()), two.labels(chains()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.type_names == two.type_names
    assert one.cutoff == two.cutoff


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_folders(tmp_path: Path, kind: str) -> None:
    known = folder_of(tmp_path / "train", kind)
    found = open_potential(tmp_path / "train")
    assert found.kind == kind
    assert found.result is not None
    assert found.yardstick is None
    same(found, known)
    lone = open_potential(tmp_path / "train" / f"{kind}.json")
    assert (lone.kind, lone.result) == (kind, None)
    same(lone, known)
    pair_table(7).write(tmp_path / "train" / "pair_fit.json")
    beside = open_potential(tmp_path / "train").yardstick
    assert beside is not None
    if isinstance(known, MSCGPotential):  # its bonded terms stand beside the pairs
        word = f"not-1-{max(known.bonded.excluded, default=0) + 1}"
        pairs = Base(pair_table(7), pairs=word if known.bonded.excluded else "all")
        expected = SumOfPotentials([BondedPart(known), pairs]).labels(chains())
        for a, b in zip(beside.labels(chains()), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    else:
        same(beside, Base(pair_table(7)))


def test_an_ensemble_of_several_kinds_is_their_mean(tmp_path: Path) -> None:
    known = [folder_of(tmp_path / kind, kind) for kind in KINDS]
    record = {"format": "cgpot-ensemble-1", "members": list(KINDS)}
    (tmp_path / "ensemble.json").write_text(json.dumps(record))
    found = open_potential(tmp_path)
    assert [member.kind for member in found.members] == list(KINDS)
    same(found, MeanOfPotentials(known))


def test_the_model_of_a_refinement(tmp_path: Path) -> None:
    known = folder_of(tmp_path / "chosen", "pair")
    record = {"format": "cgpot-refine-1", "model": "chosen"}
    (tmp_path / "history.json").write_text(json.dumps(record))
    same(open_potential(tmp_path), known)


def test_what_is_no_potential(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"format": "cgpot-density-1"}')
    with pytest.raises(InputError, match=r"other.json, key 'format': expected a potential of form"):
        open_potential(tmp_path / "other.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="cgpot-mscg-1, cgpot-uf3-1, cgpot-pair-1, found None"):
        open_potential(tmp_path / "list.json")
    with pytest.raises(InputError, match=r"none: no such file or folder"):
        open_potential(tmp_path / "none")
    folder_of(tmp_path / "train", "uf3")
    (tmp_path / "train" / "uf3.json").unlink()
    with pytest.raises(InputError, match=r"uf3.json: .*(no such|not found|missing)"):
        open_potential(tmp_path / "train")
    folder_of(tmp_path / "pod", "pair")
    text = (tmp_path / "pod" / "result.json").read_text().replace('"pair"', '"pod"')
    (tmp_path / "pod" / "result.json").write_text(text)
    with pytest.raises(InputError, match="kind network, mscg, uf3 or pair, found 'pod'"):
        open_potential(tmp_path / "pod")
