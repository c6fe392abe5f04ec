# SPDX-License-Identifier: GPL-2.0-or-later
"""Tabulated radial functions and fused kernels against the networks that they replace."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from model_systems import CUTOFF, NAMES, SMALL, build, frame, graph

from cgpot.deploy import operators
from cgpot.deploy.acceleration import accelerate, tables_of
from cgpot.deploy.blocks import NodeContracter
from cgpot.deploy.radial import RadialTable, spline
from cgpot.deploy.ranks import only_owned, with_own_rows
from cgpot.potential.splines import PairTable

FAST = {
    **{name: SMALL[name] for name in ("nequip", "nequip-scalar", "schnet", "schnet-polynomial")},
    "nequip with parity": {**SMALL["nequip"], "parity": True, "features": 9},
    "nequip, three layers": {**SMALL["nequip"], "layers": 3, "l_max": 1},
    "nequip, l = 3": {**SMALL["nequip"], "l_max": 3},
}


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    from cgpot.plugin.plugin_build import build as build_plugin

    operators.load(build_plugin().library.with_name("cgpotops.so"))


def with_pair(section: dict[str, Any], folder: Path) -> Any:
    """A network with a pair spline, its biases random."""
    coefficients = np.outer([1.0, -0.7, 0.4], np.linspace(1.0, 0.0, 20) ** 3)
    coefficients[:, -3:] = 0.0
    path = PairTable(NAMES, CUTOFF, coefficients, {}).write(folder / "pair.json")
    network = build(
        section,
        pair_potential={
            "_target_": "cgpot.training.network.pair_module.PairSpline",
            "pair_file": str(path),
        },
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(0.0, 0.3)
    return network.eval()


def labels(model: Any, **changes: torch.Tensor) -> dict[str, np.ndarray]:
    out = model({**graph(frame()), **changes})
    keys = ("total_energy", "forces", "virial", "atomic_energy")
    return {key: out[key].detach().double().numpy() for key in keys}


def largest_error(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    return max(
        float(np.abs(found[key] - expected[key]).max() / np.abs(expected[key]).max())
        for key in expected
    )


WAYS_OF = [
    *((name, "kernels") for name in FAST),
    *((name, "torch") for name in ("nequip with parity", "schnet", "nequip, three layers")),
]


@pytest.mark.parametrize(("name", "way"), WAYS_OF)
def test_double_precision(name: str, way: str, tmp_path: Path) -> None:
    model = with_pair({**FAST[name], "dtype": "float64"}, tmp_path)
    expected = labels(model)
    record = accelerate(model, way)
    assert record is not None
    assert record["way"] == way
    assert record["layers"] == FAST[name].get("layers", record["layers"])
    assert record["slope_error"] < 1e-9
    assert largest_error(labels(model), expected) < 1e-9
    kinds = {type(m).__name__ for m in model.modules()}
    assert not kinds & {"TensorProductScatter", "SchNetInteraction"}
    assert ("PairSpline" in kinds) == (way == "torch")
    assert ("PlainConvolution" in kinds) == (way == "torch")
    assert accelerate(model, way) == record == tables_of(model)  # nothing is done twice


@pytest.mark.parametrize("way", ["kernels", "torch"])
@pytest.mark.parametrize("name", ["nequip", "schnet", "allegro"])
def test_single_precision(name: str, way: str, tmp_path: Path) -> None:
    model = with_pair({**SMALL[name], "dtype": "float32"}, tmp_path)
    expected = labels(model)
    record = accelerate(model, way)
    assert record is not None
    assert record["slope_error"] < 4e-6
    assert largest_error(labels(model), expected) < 1e-5


ALLEGRO = {
    "parity": SMALL["allegro"],
    "three layers, l = 2": {**SMALL["allegro"], "layers": 3, "l_max": 2, "parity": False},
    "one layer": {**SMALL["allegro"], "layers": 1, "parity": False},
}


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "kernels") for name in ALLEGRO), ("parity", "torch")]
)
def test_allegro(name: str, way: str, tmp_path: Path) -> None:
    """Two types: four functions for each that one type would have."""
    model = with_pair({**ALLEGRO[name], "dtype": "float64"}, tmp_path)
    expected = labels(model)
    record = accelerate(model, way)
    assert record is not None
    assert record["layers"] == 1
    assert largest_error(labels(model), expected) < 1e-9
    by_kind = {type(m).__name__: m for m in model.modules()}
    assert by_kind["TwoBodyTable"].radial.power0.shape[0] == 4 * (record["intervals"][0] + 1)
    assert ("NodeContracter" in by_kind) == (way == "kernels" and "one" not in name)
    # of the embedding nothing but the table is left in what compiling sees
    broken = by_kind["ProductTypeEmbedding"]
    with torch.no_grad():
        broken.basis_linear.mlp[0].weight.zero_()
    assert largest_error(labels(model), expected) < 1e-9


def test_products_summed_at_the_nodes() -> None:
    """Against Allegro's own contraction, with gradients."""
    from allegro.nn._strided import Contracter
    from e3nn.o3._irreps import Irreps

    torch.manual_seed(3)
    irreps = [Irreps(text) for text in ("0e + 1o + 2e", "0e + 1o", "0e + 1o + 1e")]
    old = Contracter(*irreps, mul=3).double()
    assert not old.w3j_is_ij_diagonal
    new = NodeContracter(old)
    x1 = torch.randn(7, 3, 9, dtype=torch.float64, requires_grad=True)
    x2 = torch.randn(4, 3, 4, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0, 1, 3, 3, 3, 2])
    expected, found = old(x1, x2, index), new(x1, x2, index)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    seed = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, (x1, x2), seed),
        torch.autograd.grad(expected, (x1, x2), seed),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_features_of_high_degree_are_summed_by_plain_operations(tmp_path: Path) -> None:
    model = with_pair({**SMALL["nequip"], "l_max": 4, "features": 2}, tmp_path)
    expected = labels(model)
    assert accelerate(model, "kernels") is not None
    kinds = [type(m).__name__ for m in model.modules()]
    assert "PlainConvolution" in kinds
    assert largest_error(labels(model), expected) < 1e-9


def test_cutoffs_by_types_are_left_alone() -> None:
    model = build(SMALL["nequip"], per_edge_type_cutoff={"A": 3.0, "B": CUTOFF}).eval()
    before = [type(m) for m in model.modules()]
    assert accelerate(model) is None
    assert tables_of(model) is None
    assert [type(m) for m in model.modules()] == before


def test_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown way .magic.; expected one of kernels, triton"):
        accelerate(torch.nn.Linear(2, 2), "magic")


def test_a_table_in_plain_torch() -> None:
    """Two pairs of types, values and slopes against the functions; 0 from the cutoff on."""

    def functions(r: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(r) ** 2, np.sin(r) ** 4, 2 * np.sin(r) ** 2, -(np.sin(r) ** 4)], 1)

    table = RadialTable(spline(functions, np.pi, 1e-9), torch.float64, pairs=2)
    r = torch.linspace(0.5, 4.0, 701, dtype=torch.float64, requires_grad=True)
    for pair in (0, 1):
        values = table(r, torch.full((701,), pair))
        exact = torch.as_tensor(functions(r.detach().numpy()))[:, 2 * pair : 2 * pair + 2]
        exact[r.detach() >= np.pi] = 0.0
        torch.testing.assert_close(values, exact, rtol=0, atol=4e-9)
        (slope,) = torch.autograd.grad(values[:, 0].sum(), r)
        expected = (2 * pair or 1) * torch.sin(2 * r.detach())
        expected[r.detach() >= np.pi] = 0.0
        torch.testing.assert_close(slope, expected, rtol=0, atol=4e-8)


def test_a_table_is_as_fine_as_it_must_be() -> None:
    """sin on [0, pi]: value 0 at both ends, but a slope at the end that the table does not have."""

    def bump(r: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(r) ** 2, np.sin(r) ** 4], axis=1)

    coarse, fine = (spline(bump, np.pi, tolerance) for tolerance in (1e-3, 1e-9))
    assert len(coarse.coefficients) < len(fine.coefficients)
    assert max(coarse.value_error, coarse.slope_error) <= 1e-3
    assert max(fine.value_error, fine.slope_error) <= 1e-9
    from scipy.interpolate import BSpline

    n = len(fine.coefficients) - 3
    basis = BSpline(np.arange(-3, n + 4) * np.pi / n, fine.coefficients, 3)
    r = np.linspace(0.5, 3.1, 1000)
    np.testing.assert_allclose(basis(r), bump(r), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        basis.derivative()(r)[:, 0], 2.0 * np.sin(r) * np.cos(r), rtol=0, atol=1e-8
    )


def test_a_function_that_no_table_holds_says_so() -> None:
    """A kink: the finest table is given, with its error."""
    table = spline(lambda r: np.abs(r - 1.7)[:, None] * (r < 3.0)[:, None], 3.0, 1e-6)
    assert table.slope_error > 1e-3


def test_only_energies_of_owned_beads_count() -> None:
    model = build({**SMALL["nequip"], "dtype": "float64"}).eval()
    whole = labels(model)
    masked = deepcopy(model)
    only_owned(masked)
    only_owned(masked)  # a second time changes nothing
    key = AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY
    some = labels(masked, **{key: torch.tensor([[10, 17]])})
    np.testing.assert_allclose(some["atomic_energy"][:10], whole["atomic_energy"][:10], rtol=1e-12)
    assert np.all(some["atomic_energy"][10:] == 0)
    np.testing.assert_allclose(some["total_energy"], whole["atomic_energy"][:10].sum(), rtol=1e-12)
    # without the key all count
    np.testing.assert_allclose(labels(masked)["forces"], whole["forces"], rtol=1e-12)


def test_a_model_without_a_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one sum of the energies of beads, found 0"):
        only_owned(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [("nequip", 2, 3 * 9), ("schnet", 2, 6), ("allegro", 1, 0), ("nequip-scalar", 1, 0)],
)
@pytest.mark.parametrize("fast", [False, True])
def test_reach(name: str, layers: int, width: int, fast: bool) -> None:
    section = SMALL[name]
    if name == "schnet":
        section = {**section, "interactions": 2}
    model = build(section).eval()
    if fast:
        accelerate(model)
    whole = labels(model)
    reach = with_own_rows(model)
    assert with_own_rows(model) == reach  # a second time changes nothing
    for key, values in labels(model).items():
        np.testing.assert_allclose(values, whole[key], rtol=1e-12, atol=1e-12)
    assert reach.layers == layers
    assert reach.exchange_width == width
    assert reach.metadata()["cgpot_layers"] == str(layers)
