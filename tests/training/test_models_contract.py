# SPDX-License-Identifier: GPL-2.0-or-later
"""What every network must do, whatever its type: symmetries, derivatives, cutoff, batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from model_systems import CUTOFF, NAMES, SMALL, build, frame, graph, moved, predict

from cgpot.molecules.frame import CGFrame, Topology
from cgpot.potential.splines import PairTable


@pytest.fixture(scope="module", params=[*SMALL, "schnet with a pair part", "allegro with one"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network with its random start weights; biases of SchNet are made random too."""
    name = request.param.split()[0]
    extra = {}
    if " " in request.param:
        coefficients = np.outer([1.0, -0.7, 0.4], np.linspace(1.0, 0.0, 20) ** 3)
        coefficients[:, -3:] = 0.0
        table = PairTable(NAMES, CUTOFF, coefficients, {})
        path = table.write(tmp_path_factory.mktemp("pair") / "pair.json")
        extra["pair_potential"] = {
            "_target_": "cgpot.training.network.pair_module.PairSpline",
            "pair_file": str(path),
        }
    network = build(SMALL[name], **extra)
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(0.0, 0.3)
    return network


def test_forces_are_minus_the_gradient_of_the_energy(model: Any) -> None:
    """Central differences of 1e-4 Å: 1e-7 of the largest force."""
    base = frame()
    _, forces, _ = predict(model, base)
    size = np.abs(forces).max()
    assert size > 1e-3
    step = 1e-4
    for site, axis in ((0, 0), (9, 1), (20, 2)):
        energies = []
        for sign in (1, -1):
            positions = base.positions.copy()
            positions[site, axis] += sign * step
            energies.append(predict(model, moved(base, positions))[0])
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert forces[site, axis] == pytest.approx(slope, abs=1e-7 * size)


def test_stress_is_the_derivative_by_strain(model: Any) -> None:
    """Central differences, strain 1e-5: sigma = dE/d(strain) / V, 1e-6 of the largest value."""
    base = frame()
    _, _, stress = predict(model, base)
    strain = 1e-5
    for a, b in ((0, 0), (1, 1), (1, 2)):
        energies = []
        for sign in (1, -1):
            matrix = np.eye(3)
            matrix[a, b] += 0.5 * sign * strain
            matrix[b, a] += 0.5 * sign * strain
            changed = moved(base, base.positions @ matrix, base.cell @ matrix)
            energies.append(predict(model, changed)[0])
        slope = (energies[0] - energies[1]) / (2 * strain) / base.volume
        assert stress[a, b] == pytest.approx(slope, abs=1e-6 * np.abs(stress).max())


def test_symmetries(model: Any, rng: np.random.Generator) -> None:
    """Translation, order of the beads, rotation and mirror image, to 1e-10."""
    base = frame()
    energy, forces, stress = predict(model, base)
    size, pressure = np.abs(forces).max(), np.abs(stress).max()

    shifted = moved(base, base.positions + np.array([1.3, -7.0, 20.2]))
    assert predict(model, shifted)[0] == pytest.approx(energy, rel=1e-10)
    np.testing.assert_allclose(predict(model, shifted)[1], forces, atol=1e-10 * size)

    order = rng.permutation(len(forces))
    topology = Topology(NAMES, (40.0, 60.0), base.topology.types[order], np.arange(len(order)))
    swapped = predict(model, CGFrame(topology, base.positions[order], base.cell))
    assert swapped[0] == pytest.approx(energy, rel=1e-10)
    np.testing.assert_allclose(swapped[1], forces[order], atol=1e-10 * size)

    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    for turn in (q, -q):  # a rotation and an improper one
        e, f, s = predict(model, moved(base, base.positions @ turn, base.cell @ turn))
        assert e == pytest.approx(energy, rel=1e-10)
        np.testing.assert_allclose(f, forces @ turn, atol=1e-10 * size)
        np.testing.assert_allclose(s, turn.T @ stress @ turn, atol=1e-10 * pressure)


def test_types_matter(model: Any) -> None:
    base = frame()
    other = Topology(NAMES, (40.0, 60.0), 1 - base.topology.types, base.topology.types)
    swapped = predict(model, CGFrame(other, base.positions, base.cell))
    assert swapped[0] != pytest.approx(predict(model, base)[0], rel=1e-3)


def trio(distance: float) -> CGFrame:
    """Two beads 2.5 Å apart, and a third on their axis at a distance from the first."""
    topology = Topology(NAMES, (40.0, 60.0), np.array([0, 1, 1]), np.arange(3))
    positions = np.array([[20.0, 20, 20], [17.5, 20, 20], [20 + distance, 20, 20]])
    return CGFrame(topology, positions, np.eye(3) * 40.0)


def test_energy_and_forces_are_continuous_at_the_cutoff(model: Any) -> None:
    """A bead that comes from outside: no jump, and forces that start from zero.

    At 1e-4 Å inside the cutoff a force with a slope is 1e-4 of what it is at 1 Å, and without
    (cosine cutoff: slope of the force pi^2 / 2 r_max^2) of the same order.
    """
    inside = predict(model, trio(CUTOFF - 1.0))
    outside = predict(model, trio(CUTOFF + 1e-6))
    far = predict(model, trio(CUTOFF + 3.0))
    assert outside[0] == pytest.approx(far[0], rel=1e-13)
    np.testing.assert_allclose(outside[1], far[1], atol=1e-13)
    at = predict(model, trio(CUTOFF - 1e-4))
    span = abs(inside[0] - far[0])
    assert span > 1e-5
    assert abs(at[0] - far[0]) < 1e-6 * span
    change = np.abs(inside[1] - far[1]).max()
    assert np.abs(at[1] - far[1]).max() < 2e-3 * change
    nearer = predict(model, trio(CUTOFF - 1e-6))
    assert np.abs(nearer[1] - far[1]).max() < 2e-5 * change


def test_edges_beyond_the_cutoff_change_nothing(model: Any) -> None:
    """The neighbour list of MD has a skin; the model must not see it."""
    base = frame()
    plain = predict(model, base)
    skin = predict(model, base, CUTOFF + 1.0)
    assert graph(base, CUTOFF + 1.0)["edge_index"].shape[1] > graph(base)["edge_index"].shape[1]
    assert skin[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(skin[1], plain[1], atol=1e-12 * np.abs(plain[1]).max())


def test_a_batch_is_its_frames_one_by_one(model: Any) -> None:
    from nequip.data import AtomicDataDict

    frames = [frame(27, 1), frame(8, 2, 0.02)]
    batch = AtomicDataDict.batched_from_list([graph(item) for item in frames])
    out = model(batch)
    start = 0
    for index, item in enumerate(frames):
        energy, forces, stress = predict(model, item)
        n = item.topology.n_sites
        scale = np.abs(forces).max()
        assert float(out["total_energy"][index].detach()) == pytest.approx(energy, rel=1e-11)
        together = out["forces"][start : start + n].detach().numpy()
        np.testing.assert_allclose(together, forces, atol=1e-11 * scale)
        together = out["stress"][index].detach().numpy()
        np.testing.assert_allclose(together, stress, atol=1e-11 * np.abs(stress).max())
        start += n


def test_an_isolated_bead_feels_nothing(model: Any) -> None:
    topology = Topology(NAMES, (40.0, 60.0), np.array([0, 1]), np.arange(2))
    apart = CGFrame(topology, np.array([[5.0, 5, 5], [20.0, 20, 20]]), np.eye(3) * 40.0)
    energy, forces, stress = predict(model, apart)
    assert np.isfinite(energy)
    assert np.abs(forces).max() == 0.0
    assert np.abs(stress).max() == 0.0
