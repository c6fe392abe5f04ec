# SPDX-License-Identifier: GPL-2.0-or-later
"""Species: what is kept, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from cgpot.core.errors import DataError
from cgpot.molecules.species import Species, beads_name, plain_species


def test_terms_are_kept_sorted() -> None:
    kind = Species(
        "X+1-a_b",
        ("A", "B", "A", "B"),
        bonds=[[2, 1], [1, 0], [3, 2]],  # type: ignore[arg-type]
        angles=((2, 1, 0), (1, 2, 3)),
        dihedrals=((3, 2, 1, 0),),
    )
    assert kind.bonds == ((0, 1), (1, 2), (2, 3))
    assert kind.angles == ((0, 1, 2), (1, 2, 3))
    assert kind.dihedrals == ((0, 1, 2, 3),)
    assert kind == Species(
        "X+1-a_b",
        ("A", "B", "A", "B"),
        ((0, 1), (1, 2), (2, 3)),
        ((0, 1, 2), (1, 2, 3)),
        ((0, 1, 2, 3),),
    )
    assert kind.describe() == "X+1-a_b (A-B-A-B)"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": ""}, "species name '': expected letters, digits"),
        ({"name": "a b"}, "species name 'a b'"),
        ({"name": "a;b"}, "species name 'a;b'"),
        ({"beads": ()}, "species 'M' has no beads"),
        ({"bonds": ((0, 1), (1, 0), (1, 2))}, r"the bond \[0, 1\] is given twice"),
        ({"bonds": ((0, 1), (1, 1), (1, 2))}, r"the bond \[1, 1\] names a site twice"),
        ({"bonds": ((0, 1), (1, 3))}, r"\[1, 3\] names place 3; expected 0 to 2 for its 3 sites"),
        ({"bonds": ((-1, 1),)}, "names place -1"),
        ({"bonds": ((0, 1, 2),)}, "names 3 sites; expected 2"),
        (
            {"bonds": ((0, 1),)},
            r"leave 2 pieces; no bond joins site 2 \(A\) to site 0 \(A\); expected one connected",
        ),
        ({"bonds": ()}, r"leave 3 pieces; no bond joins site 1 \(B\)"),
        ({"angles": ((0, 1, 0),)}, r"the angle \[0, 1, 0\] names a site twice"),
        ({"angles": ((0, 1, 2), (2, 1, 0))}, r"the angle \[0, 1, 2\] is given twice"),
        ({"angles": ((0, 1, 5),)}, "the angle .* names place 5"),
        ({"dihedrals": ((0, 1, 2, 3),)}, "the dihedral .* names place 3"),
        ({"dihedrals": ((0, 1, 2),)}, "the dihedral .* names 3 sites; expected 4"),
    ],
)
def test_refused(change: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {"name": "M", "beads": ("A", "B", "A"), "bonds": ((0, 1), (1, 2))}
    Species(**good)
    with pytest.raises(DataError, match=match):
        Species(**(good | change))


def test_unknown_bonds_are_not_no_bonds() -> None:
    assert plain_species(("A",)) == Species("A", ("A",), ())
    assert plain_species(("A", "B")) == Species("A-B", ("A", "B"), None)


def test_long_names_are_cut() -> None:
    assert beads_name(["A", "B"] * 6) == "-".join("AB" * 6)
    assert beads_name(["A"] * 1000) == "A-A-A-A-A-A-A-A-and-992-more"
    assert Species(beads_name(["A"] * 1000), ("A",) * 1000, None).n_sites == 1000
