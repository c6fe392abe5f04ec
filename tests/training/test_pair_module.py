# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest
import torch
from pair_systems import R_MAX, fluid

from cgpot.potential.splines import PairTable


@pytest.fixture(scope="module")
def table():
    coefficients = np.random.default_rng(5).normal(size=(3, 33))
    coefficients[:, -3:] = 0.0
    return PairTable(("A", "B"), R_MAX, coefficients, {})


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    from nequip.nn import AtomwiseReduce, ForceStressOutput, SequentialGraphNetwork
    from nequip.utils.global_state import set_global_state

    from cgpot.training.network.pair_module import PairSpline

    set_global_state()
    path = table.write(tmp_path_factory.mktemp("pair") / "pair.json")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        pair = PairSpline(["A", "B"], pair_file=str(path))
    finally:
        torch.set_default_dtype(default)
    total = AtomwiseReduce(
        reduce="sum",
        field="atomic_energy",
        out_field="total_energy",
        irreps_in=pair.irreps_out,
    )
    return ForceStressOutput(SequentialGraphNetwork({"pair": pair, "total": total}))


def test_energy_forces_and_stress_equal_the_table(table, model):
    from nequip.data import AtomicDataDict, compute_neighborlist_, from_dict

    frame = fluid(1)[0]
    types = np.arange(frame.topology.n_sites) % 2
    data = compute_neighborlist_(
        from_dict(
            {
                "pos": torch.tensor(frame.positions),
                "cell": torch.tensor(frame.cell)[None],
                "pbc": torch.ones(1, 3, dtype=torch.bool),
                "atom_types": torch.tensor(types),
            }
        ),
        r_max=R_MAX,
    )
    out = model(data)
    delta = frame.positions[:, None] - frame.positions[None]
    delta -= np.round(delta @ np.linalg.inv(frame.cell)) @ frame.cell
    energy, forces, virial = 0.0, np.zeros_like(frame.positions), np.zeros((3, 3))
    for i in range(len(types)):
        for j in range(i):
            r = np.linalg.norm(delta[i, j])
            if r >= R_MAX:
                continue
            energy += table.energy(r, types[i], types[j]).item()
            f = table.force(r, types[i], types[j]).item() * delta[i, j] / r
            forces[i] += f
            forces[j] -= f
            virial += np.outer(delta[i, j], f)
    scale = np.abs(forces).max()
    assert out["total_energy"].item() == pytest.approx(energy, rel=1e-10)
    np.testing.assert_allclose(
        out[AtomicDataDict.FORCE_KEY].detach().numpy(), forces, atol=1e-10 * scale
    )
    np.testing.assert_allclose(
        out[AtomicDataDict.STRESS_KEY].detach().numpy()[0],
        -virial / frame.volume,
        atol=1e-10 * np.abs(virial).max() / frame.volume,
    )


def test_errors_of_the_module(table, tmp_path):
    from cgpot.training.network.pair_module import PairSpline

    path = str(table.write(tmp_path / "pair.json"))
    with pytest.raises(ValueError, match=r"is for bead types \['A', 'B'\], the model has \['C'\]"):
        PairSpline(["C"], pair_file=path)
    with pytest.raises(ValueError, match=r"has r_max 6.0, expected 7.0"):
        PairSpline(["A", "B"], pair_file=path, r_max=7.0)
    with pytest.raises(ValueError, match="needs pair_file, or r_max and intervals"):
        PairSpline(["A"])
