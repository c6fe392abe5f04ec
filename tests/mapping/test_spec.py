# SPDX-License-Identifier: GPL-2.0-or-later
"""Mapping files and what is refused in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mapping_systems import make_chains

from cgpot.core.config import validate
from cgpot.core.errors import CgpotError, ConfigError, DataError, InputError
from cgpot.formats.atomistic import AtomTopology
from cgpot.formats.gromacs import read_topology
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import MappingSpec, load_mapping

GOOD: dict[str, Any] = {
    "site-types": {"MOL": {"index": [0, 1, 2]}},
    "system": [{"anchor": 0, "repeat": 12, "offset": 3, "sites": [["MOL", 0]]}],
}

BLOCK = GOOD["system"][0]


@pytest.fixture
def topology(rng: np.random.Generator) -> AtomTopology:
    return make_chains(rng, "orthorhombic").topology()


def build(topology: AtomTopology, data: dict[str, Any]) -> SiteMap:
    return resolve(validate(MappingSpec, data, "m.yaml"), topology, "m.yaml")


def changed(**parts: Any) -> dict[str, Any]:
    """The good mapping with keys of its site type or its block replaced."""
    site = {**GOOD["site-types"]["MOL"]}
    block = {**GOOD["system"][0]}
    for key, value in parts.items():
        name = key.replace("_", "-") if key in ("x_weight", "f_weight") else key
        target = block if name in ("anchor", "repeat", "offset", "sites") else site
        target[name] = value
    return {"site-types": {"MOL": site}, "system": [block]}


def test_good_mapping(topology: AtomTopology) -> None:
    sites = build(topology, GOOD)
    assert sites.topology.n_sites == 12
    assert sites.topology.type_masses == (29.0,)
    (group,) = sites.groups
    assert group.block == (0, 36)
    assert group.reference == 1  # the middle of a chain of three
    np.testing.assert_allclose(group.position_weights, np.array([12.0, 1.0, 16.0]) / 29.0)
    np.testing.assert_allclose(group.force_weights, 1.0)


def test_repeat_all_counts_the_molecules(topology: AtomTopology) -> None:
    assert build(topology, changed(repeat="all")).topology.n_sites == 12


def test_file_in_openmscg_terms(tmp_path: Path, topology: AtomTopology) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(
        "site-types:\n"
        "  CH:\n    index: [0, 1]\n    x-weight: [12.0, 1.0]\n    f-weight: [1.0, 1.0]\n"
        "  O:\n    index: [0]\n    x-weight: [16.0]\n    f-weight: [1.0]\n"
        "system:\n"
        "  - anchor: 0\n    repeat: 12\n    offset: 3\n    sites:\n"
        "      - [CH, 0]\n      - [O, 2]\n"
    )
    sites = resolve(load_mapping(path), topology, path)
    assert sites.topology.type_names == ("CH", "O")
    assert sites.topology.type_masses == (13.0, 16.0)
    assert sites.topology.n_sites == 24


def test_stated_mass_wins_and_is_noted(topology: AtomTopology) -> None:
    sites = build(topology, changed(mass=30.0))
    assert sites.topology.type_masses == (30.0,)
    assert "30 amu from the mapping, 29.0000 amu" in sites.notes[0]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (changed(x_wieght=[1, 1, 1]), r"m.yaml, key '.*x_wieght': unknown key"),
        ({**GOOD, "sytem": []}, r"key 'sytem': unknown key; did you mean"),
        (changed(index=[]), "'index' is empty"),
        (changed(index=[0, 1, 1]), "names an atom twice"),
        (changed(index=[0, 1, -2]), "greater than or equal to 0"),
        (changed(x_weight=[1.0, 1.0]), "'x-weight' has 2 values, 'index' has 3"),
        (changed(f_weight=[1.0]), "'f-weight' has 1 values"),
        (changed(x_weight=[0.0, 0.0, 0.0]), "'x-weight' sums to 0"),
        (changed(x_weight=[float("nan"), 0.0, 0.0]), "finite number"),
        (changed(mass=0.0), "'mass' is 0"),
        (changed(selection="all"), "exactly one of 'index' and 'selection'"),
        (changed(sites=[]), "'sites' is empty"),
        (changed(sites=[["BNZ", 0]]), "'BNZ' of 'system' is not among"),
        ({"site-types": {}, "system": []}, "'site-types' is empty"),
        ({"site-types": GOOD["site-types"]}, "'system' is missing"),
        ({"site-types": {"A-B": {"index": [0]}}, "system": GOOD["system"]}, "letters and digits"),
        (
            {"site-types": {**GOOD["site-types"], "B": {"selection": "all"}}},
            "some 'selection'; use one of them",
        ),
        (
            {"site-types": {**GOOD["site-types"], "B": {"index": [0]}}, "system": GOOD["system"]},
            "never used: \\['B'\\]",
        ),
        ({"site-types": {"A": {"selection": " "}}}, "'selection' is empty"),
        ({**GOOD, "temperature": -1.0}, "key 'temperature': .*greater than 0"),
        # Against the atoms:
        (changed(repeat=13), r"13 molecules of 3 atoms from atom 0 need 39 atoms; .* has 36"),
        (changed(repeat=11), "atom 33 belongs to no site"),
        (changed(repeat="all", offset=5), "36 atoms follow anchor 0; expected a multiple of the 5"),
        (changed(offset=2), "reaches atom 2 of a molecule of 2 atoms"),
        (
            changed(index=[0, 1], sites=[["MOL", 0], ["MOL", 1]]),
            "overlapping sites: atoms that",
        ),
        (changed(index=[0, 1]), "atom 2 belongs to no site"),
        (changed(f_weight=[1.0, 1.0, 0.5]), r"sum of b c is 0\.72.*; expected 1"),
        (
            {
                **GOOD,
                "system": [GOOD["system"][0], {**GOOD["system"][0], "anchor": 30, "repeat": 2}],
            },
            "starts at atom 30, inside the block before, which ends at 36",
        ),
    ],
)
def test_refused(topology: AtomTopology, data: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        build(topology, data)


@pytest.mark.parametrize("mass", [-1.0, float("nan")])
def test_no_mass(topology: AtomTopology, mass: float) -> None:
    masses = topology.masses
    assert masses is not None
    masses[4] = mass
    with pytest.raises(DataError, match=r"chains.tpr: atom 4 has mass .*expected a positive mass"):
        build(topology, GOOD)


def test_sites_of_one_type_with_different_masses(topology: AtomTopology) -> None:
    assert topology.masses is not None
    topology.masses[4] = 3.0
    with pytest.raises(DataError, match=r"sites of 29\.000 to 31\.000 amu"):
        build(topology, GOOD)


def test_without_masses(topology: AtomTopology) -> None:
    bare = replace(topology, masses=None)
    with pytest.raises(InputError, match="holds no masses; give 'x-weight' and 'mass'"):
        build(bare, GOOD)
    with pytest.raises(InputError, match="holds no masses; give 'mass'"):
        build(bare, changed(x_weight=[12, 1, 16]))
    sites = build(bare, changed(x_weight=[12, 1, 16], mass=29.0))
    assert sites.topology.type_masses == (29.0,)


def two_sites(**extra: Any) -> dict[str, Any]:
    return {
        "site-types": {"A": {"index": [0, 1]}, "B": {"index": [0]}},
        "system": [{"repeat": 12, "offset": 3, "sites": [["A", 0], ["B", 2]]}],
        **extra,
    }


def test_constraint_across_sites(topology: AtomTopology) -> None:
    inside = replace(topology, constraints=np.array([[0, 1], [3, 4]]))
    assert build(inside, two_sites()).n_constraints == 2
    across = replace(topology, constraints=np.array([[0, 1], [4, 5]]))
    with pytest.raises(ConfigError, match="atoms 4 and 5 are joined by a rigid constraint"):
        build(across, two_sites())
    assert build(across, GOOD).n_constraints == 2


def test_constraint_with_unequal_force_weights(topology: AtomTopology) -> None:
    joined = replace(topology, constraints=np.array([[0, 1]]))
    weights = changed(x_weight=[0.5, 0.5, 0.0], f_weight=[1.5, 0.5, 1.0])
    with pytest.raises(ConfigError, match="different force weights"):
        build(joined, weights)


def test_stated_constraints(topology: AtomTopology) -> None:
    unknown = replace(topology, constraints=None)
    assert build(unknown, GOOD).n_constraints is None
    assert build(unknown, {**GOOD, "constraints": "none"}).n_constraints == 0
    assert build(unknown, {**GOOD, "constraints": 24}).n_constraints == 24
    with pytest.raises(ConfigError, match="cannot be checked against several sites per molecule"):
        build(unknown, two_sites(constraints=24))
    some = replace(topology, constraints=np.array([[0, 1]]))
    with pytest.raises(ConfigError, match=r"'none', but chains\.tpr holds 1 constraints"):
        build(some, {**GOOD, "constraints": "none"})
    with pytest.raises(ConfigError, match=r"24 constraints, but chains\.tpr holds 1"):
        build(some, {**GOOD, "constraints": 24})


def test_selections(raw: Path) -> None:
    topology = read_topology(raw / "flexible.tpr")
    by_name = build(topology, {"site-types": {"BNZ": {"selection": "resname BNZ"}}})
    by_index = build(
        topology,
        {
            "site-types": {"BNZ": {"index": list(range(12))}},
            "system": [{"repeat": 500, "offset": 12, "sites": [["BNZ", 0]]}],
        },
    )
    assert by_name.topology.same_as(by_index.topology)
    np.testing.assert_array_equal(by_name.groups[0].atoms, by_index.groups[0].atoms)
    halves = build(
        topology,
        {
            "site-types": {
                "A": {"selection": "name C1 C2 C3 H1 H2 H3"},
                "B": {"selection": "name C4 C5 C6 H4 H5 H6"},
            }
        },
    )
    assert list(halves.topology.types[:4]) == [0, 1, 0, 1]
    assert halves.groups[0].block is None


def test_empty_and_wrong_selection(raw: Path, topology: AtomTopology) -> None:
    atoms = read_topology(raw / "flexible.tpr")
    with pytest.raises(ConfigError, match=r"types.W.selection': 'resname SOL' selects no"):
        build(atoms, {"site-types": {"W": {"selection": "resname SOL"}}})
    with pytest.raises(ConfigError, match="MDAnalysis refuses 'resnam BNZ'"):
        build(atoms, {"site-types": {"W": {"selection": "resnam BNZ"}}})
    with pytest.raises(InputError, match="selections need molecules"):
        build(topology, {"site-types": {"W": {"selection": "all"}}})


def test_missing_mapping_file(tmp_path: Path) -> None:
    with pytest.raises(CgpotError, match="no such YAML file"):
        load_mapping(tmp_path / "none.yaml")
