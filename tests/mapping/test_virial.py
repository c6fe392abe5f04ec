# SPDX-License-Identifier: GPL-2.0-or-later
"""The virial of the sites against pair sums and finite differences of the energy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mapping_systems import BOXES, Chains, make_chains, shortest

from cgpot.core.config import validate
from cgpot.core.errors import DataError
from cgpot.core.units import KB, MVV_TO_EV
from cgpot.formats.atomistic import AtomFrame
from cgpot.mapping.kernel import internal_dof, map_frame, site_temperature
from cgpot.mapping.sites import SiteMap, resolve
from cgpot.mapping.spec import MappingSpec
from cgpot.molecules.whole import reduce_in_place, wrap

PAIR_TOLERANCE = 1e-12
DIFFERENCE_TOLERANCE = 2e-8
boxes = pytest.mark.parametrize("box", sorted(BOXES))


def one_site(chains: Chains, **site: Any) -> SiteMap:
    spec = validate(
        MappingSpec,
        {
            "site-types": {"MOL": {"index": list(range(chains.size)), **site}},
            "system": [{"repeat": "all", "offset": chains.size, "sites": [["MOL", 0]]}],
        },
    )
    return resolve(spec, chains.topology(), "mapping.yaml")


def two_sites(chains: Chains) -> SiteMap:
    spec = validate(
        MappingSpec,
        {
            "site-types": {"A": {"index": [0, 1]}, "B": {"index": [0, 1]}},
            "system": [{"repeat": "all", "offset": 4, "sites": [["A", 0], ["B", 2]]}],
        },
    )
    return resolve(spec, chains.topology(), "mapping.yaml")


def strained(chains: Chains, sites: SiteMap, strain: np.ndarray) -> float:
    """Energy after straining cell and site positions, atoms moving rigidly with their site."""
    positions = chains.positions.copy()
    for group in sites.groups:
        x = chains.positions[group.atoms]
        centre = np.einsum("k,nkx->nx", group.position_weights, x)
        positions[group.atoms] = x + (centre @ strain)[:, None, :]
    moved = Chains(positions, chains.cell @ (np.eye(3) + strain), chains.size, chains.masses)
    return moved.energy()


def by_differences(chains: Chains, sites: SiteMap, h: float = 1e-5) -> np.ndarray:
    """W_ab = -dE/d strain_ab, symmetric part."""
    w = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            e = np.zeros((3, 3))
            e[a, b] = h
            w[a, b] = -(strained(chains, sites, e) - strained(chains, sites, -e)) / (2 * h)
    return w


@boxes
def test_equals_sum_over_molecule_pairs(rng: np.random.Generator, box: str) -> None:
    chains = make_chains(rng, box)
    sites = one_site(chains)
    _, virial = chains.forces_and_virial()
    frame = map_frame(chains.frame(), sites, virial=virial)
    m = chains.masses.reshape(-1, chains.size)
    x = chains.positions.reshape(-1, chains.size, 3)
    centres = np.einsum("nk,nkx->nx", m / m.sum(axis=1, keepdims=True), x)
    arms = (x - centres[:, None]).reshape(-1, 3)
    i, j, d, f = chains.pair_forces()
    between_centres = d - arms[i] + arms[j]
    expected = between_centres.T @ f
    assert frame.virial is not None
    np.testing.assert_allclose(frame.virial, expected, rtol=0, atol=PAIR_TOLERANCE * 1e3)
    # The atomic virial is another quantity: the test can fail.
    assert np.abs(virial - expected).max() > 0.05


@boxes
@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
def test_equals_finite_differences(
    rng: np.random.Generator, box: str, weights: list[float] | None
) -> None:
    chains = make_chains(rng, box)
    sites = one_site(chains, **({} if weights is None else {"x-weight": weights}))
    _, virial = chains.forces_and_virial()
    frame = map_frame(chains.frame(), sites, virial=virial)
    assert frame.virial is not None
    expected = by_differences(chains, sites)
    np.testing.assert_allclose(frame.virial, expected, atol=DIFFERENCE_TOLERANCE, rtol=0)


@boxes
def test_two_sites_per_molecule(rng: np.random.Generator, box: str) -> None:
    chains = make_chains(rng, box, size=4)
    sites = two_sites(chains)
    _, virial = chains.forces_and_virial()
    frame = map_frame(chains.frame(), sites, virial=virial)
    assert frame.virial is not None
    expected = by_differences(chains, sites)
    np.testing.assert_allclose(frame.virial, expected, atol=DIFFERENCE_TOLERANCE, rtol=0)
    assert list(frame.topology.types[:4]) == [0, 1, 0, 1]
    assert list(frame.topology.molecules[:4]) == [0, 0, 1, 1]


@boxes
def test_forces_are_sums_and_their_own_derivative(rng: np.random.Generator, box: str) -> None:
    chains = make_chains(rng, box)
    sites = one_site(chains)
    frame = map_frame(chains.frame(), sites)
    assert frame.forces is not None
    h = 1e-5
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            moved = chains.positions.copy()
            moved[: chains.size, axis] += sign * h
            energies.append(Chains(moved, chains.cell, chains.size, chains.masses).energy())
        assert frame.forces[0, axis] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * h), abs=DIFFERENCE_TOLERANCE
        )


@boxes
def test_a_molecule_split_over_the_boundary(rng: np.random.Generator, box: str) -> None:
    """Wrapped atoms give the frame of the unwrapped ones."""
    chains = make_chains(rng, box, molecules=40)
    sites = one_site(chains)
    _, virial = chains.forces_and_virial()
    wrapped = wrap(chains.positions, chains.cell)
    split = np.ptp(wrapped.reshape(-1, chains.size, 3), axis=1).max(axis=1) > 5.0
    assert split.any()
    whole = map_frame(chains.frame(whole=True), sites, virial=virial)
    made = map_frame(chains.frame(wrapped), sites, virial=virial)
    assert whole.virial is not None
    assert made.virial is not None
    np.testing.assert_allclose(made.virial, whole.virial, atol=1e-10)
    difference = shortest(made.positions - whole.positions, chains.cell)
    np.testing.assert_allclose(difference, 0.0, atol=1e-10)
    fractional = made.positions @ np.linalg.inv(chains.cell)
    assert (fractional >= 0).all()
    assert (fractional < 1 + 1e-12).all()


@boxes
def test_minimum_image_of_short_vectors(rng: np.random.Generator, box: str) -> None:
    cell = BOXES[box]
    d = rng.normal(size=(500, 3))
    d *= rng.uniform(0, 8.0, (500, 1)) / np.linalg.norm(d, axis=1, keepdims=True)
    shifted = d + rng.integers(-2, 3, (500, 3)) @ cell
    np.testing.assert_allclose(reduce_in_place(shifted, cell), d, atol=1e-9)


def test_a_molecule_larger_than_half_the_box(rng: np.random.Generator) -> None:
    cell = np.diag([20.0, 20.0, 20.0])
    line = np.array([[x, 1.0, 1.0] for x in (0.0, 3.0, 6.0, 9.0, 12.0)])
    chains = Chains(line, cell, 5, np.full(5, 12.0))
    sites = one_site(chains)
    frame = map_frame(chains.frame(wrap(line, cell)), sites)
    assert frame.positions[0, 0] == pytest.approx(6.0)  # reference: the middle atom
    stretched = Chains(line * [1.8, 1, 1], cell, 5, np.full(5, 12.0))
    with pytest.raises(DataError, match=r"frame 0: site 0 extends beyond half the box at atom \d"):
        map_frame(stretched.frame(wrap(stretched.positions, cell)), one_site(stretched))
    # Unwrapped positions need no image at all.
    whole = map_frame(stretched.frame(whole=True), one_site(stretched))
    assert whole.positions[0, 0] == pytest.approx(10.8)


def test_without_bonds_the_margin_decides() -> None:
    cell = np.diag([20.0, 20.0, 20.0])
    chains = Chains(np.array([[0.0, 0, 0], [9.5, 0, 0]]), cell, 2, np.full(2, 12.0))
    topology = chains.topology()
    spec = validate(
        MappingSpec,
        {
            "site-types": {"MOL": {"index": [0, 1]}},
            "system": [{"repeat": "all", "offset": 2, "sites": [["MOL", 0]]}],
        },
    )
    bare = type(topology)(**{**topology.__dict__, "bonds": None})
    with pytest.raises(DataError, match="extends beyond half the box"):
        map_frame(chains.frame(), resolve(spec, bare, "m.yaml"))


@pytest.mark.parametrize("what", ["positions", "forces"])
def test_nan_names_atom_and_frame(rng: np.random.Generator, what: str) -> None:
    chains = make_chains(rng, "orthorhombic")
    frame = chains.frame()
    getattr(frame, what)[7, 1] = np.nan
    frame.index = 3
    with pytest.raises(DataError, match=f"frame 3: {what} of atom 7 hold NaN"):
        map_frame(frame, one_site(chains))


def test_empty_box_is_refused(rng: np.random.Generator) -> None:
    chains = make_chains(rng, "orthorhombic")
    frame = chains.frame()
    frame.cell = np.zeros((3, 3))
    with pytest.raises(DataError, match="expected a finite volume"):
        map_frame(frame, one_site(chains))


def test_degrees_of_freedom_form(rng: np.random.Generator) -> None:
    chains = make_chains(rng, "orthorhombic")
    pairs = chains.bonds[::2]
    spec = validate(
        MappingSpec,
        {
            "site-types": {"MOL": {"index": [0, 1, 2]}},
            "system": [{"repeat": "all", "offset": 3, "sites": [["MOL", 0]]}],
        },
    )
    sites = resolve(spec, chains.topology(pairs), "m.yaml")
    n = chains.n // 3
    assert internal_dof(sites) == 3 * chains.n - len(pairs) - 3 * n
    w = rng.normal(size=(3, 3))
    frame = map_frame(chains.frame(), sites, virial=w, dof_temperature=250.0)
    assert frame.virial is not None
    expected = w + np.eye(3) * (3 * chains.n - len(pairs) - 3 * n) / 3 * KB * 250.0
    np.testing.assert_allclose(frame.virial, expected, rtol=1e-14)


def test_the_two_forms_agree_on_average() -> None:
    """Dimers sampled from exp(-u / k_B T) r^2 dr: sum r.f is -3 k_B T per bond on average.

    Three internal degrees of freedom by equipartition, whatever the spring; the exact formula
    gives no virial at all, since there are no forces between the molecules.
    """
    rng = np.random.default_rng(5)
    temperature, k, r0, n = 300.0, 0.5, 2.0, 40000
    r = np.linspace(0.01, 6.0, 20000)
    weight = r**2 * np.exp(-0.5 * k * (r - r0) ** 2 / (KB * temperature))
    length = np.interp(rng.uniform(size=n), np.cumsum(weight) / weight.sum(), r)
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    bond = length[:, None] * direction
    pull = -(k * (length - r0))[:, None] * direction
    start = rng.uniform(0, 50, (n, 3))
    positions = np.stack([start, start + bond], axis=1).reshape(-1, 3)
    forces = np.stack([-pull, pull], axis=1).reshape(-1, 3)
    cell = np.diag([50.0, 50.0, 50.0])
    sites = one_site(Chains(positions, cell, 2, np.tile([12.0, 1.0], n)))
    frame = AtomFrame(0, 0, 0.0, positions, forces, cell)
    virial = bond.T @ pull
    exact = map_frame(frame, sites, virial=virial)
    form = map_frame(frame, sites, virial=virial, dof_temperature=temperature)
    assert exact.virial is not None
    assert form.virial is not None
    np.testing.assert_allclose(exact.virial, 0.0, atol=1e-9)
    error = np.sqrt(n) * np.sum(bond * pull, axis=1).std()
    assert abs(np.trace(form.virial)) < 4 * error
    assert error < 0.02 * abs(np.trace(virial))


def test_temperature_of_the_sites(rng: np.random.Generator) -> None:
    """Velocities of atoms at T, with molecules pushed as a whole to 2 T."""
    chains = make_chains(rng, "orthorhombic", molecules=4000)
    sites = one_site(chains)
    frame = chains_frame_without_forces(chains)
    assert site_temperature(frame, sites, chains.masses) is None
    sigma = np.sqrt(KB * 300.0 / (chains.masses * MVV_TO_EV))[:, None]
    frame.velocities = sigma * rng.normal(size=(chains.n, 3))
    assert site_temperature(frame, sites, chains.masses) == pytest.approx(300.0, rel=0.05)
    push = np.sqrt(KB * 300.0 / (29.0 * MVV_TO_EV)) * rng.normal(size=(4000, 3))
    frame.velocities += np.repeat(push, 3, axis=0)
    assert site_temperature(frame, sites, chains.masses) == pytest.approx(600.0, rel=0.05)


def chains_frame_without_forces(chains: Chains) -> AtomFrame:
    zeros = np.zeros_like(chains.positions)
    return AtomFrame(0, 0, 0.0, chains.positions, zeros, chains.cell)
