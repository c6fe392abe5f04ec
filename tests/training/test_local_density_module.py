# SPDX-License-Identifier: GPL-2.0-or-later
"""The local-density part inside a model against the numpy basis, to 1e-10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from linear_systems import shaken
from model_systems import CUTOFF, NAMES, SMALL, build, frame, predict

from cgpot.core.errors import InputError
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.density_table import DensityTable
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation.predictions import save_checkpoint_with_pair
from cgpot.training.network.lightning_module import without_base_files


def tables(kind: str = "smooth") -> tuple[PairTable, DensityTable]:
    """A pair spline and embedding functions whose knots do not cover all densities."""
    rng = np.random.default_rng(5)
    pair = rng.normal(size=(3, 23))
    pair[:, -3:] = 0.0
    spans = np.array([[0.6, 1.4], [0.7, 1.2]])
    density = DensityTable(
        NAMES, 4.0, kind, (1.0, 0.6), spans, rng.normal(size=(2, 9)), {"note": "x"}
    )
    return PairTable(NAMES, CUTOFF, pair, {}), density


def section(folder: Path, kind: str = "smooth") -> dict[str, Any]:
    """Option ``pair_potential`` of a model."""
    pair, density = tables(kind)
    return {
        "_target_": "cgpot.training.network.local_density_module.PairAndDensity",
        "pair": {"pair_file": str(pair.write(folder / "pair.json"))},
        "density": {"density_file": str(density.write(folder / "density.json"))},
    }


def silent(model: Any) -> Any:
    """The model with a network whose energy is zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "readout" in name:
                parameter.zero_()
    return model


def expected(base: CGFrame, kind: str = "smooth") -> tuple[float, np.ndarray, np.ndarray]:
    pair, density = tables(kind)
    forces, virial, energy = Base(pair, density).labels(base)
    return energy, forces, -virial / base.volume


@pytest.mark.parametrize("kind", ["smooth", "lammps"])
@pytest.mark.parametrize("system", ["triclinic", "larger"])
def test_energy_forces_and_stress_equal_the_basis(kind: str, system: str, tmp_path: Path) -> None:
    model = silent(build(SMALL["nequip-scalar"], pair_potential=section(tmp_path, kind)))
    base = frame() if system == "triclinic" else shaken(2, 2)
    energy, forces, stress = predict(model, base)
    truth = expected(base, kind)
    assert energy == pytest.approx(truth[0], rel=1e-10)
    np.testing.assert_allclose(forces, truth[1], atol=1e-10 * np.abs(truth[1]).max())
    np.testing.assert_allclose(stress, truth[2], atol=1e-10 * np.abs(truth[2]).max())
    # some densities lie beyond the knots, on both sides, some between
    from cgpot.potential.local_density import LocalDensityBasis

    density = tables(kind)[1]
    x = LocalDensityBasis.of(density).around(base).rho - density.spans[base.topology.types, 0]
    x /= (density.spans[:, 1] - density.spans[:, 0])[base.topology.types]
    if system == "triclinic" or kind == "lammps":
        assert np.any((x > 0) & (x < 1))
    assert np.any((x < 0) | (x > 1))


def test_single_precision_keeps_the_base_in_double(tmp_path: Path) -> None:
    options = {**SMALL["nequip-scalar"], "dtype": "float32"}
    model = silent(build(options, pair_potential=section(tmp_path)))
    _, forces, _ = predict(model, frame())
    truth = expected(frame())[1]
    np.testing.assert_allclose(forces, truth, atol=2e-6 * np.abs(truth).max())
    for name, buffer in model.named_buffers():
        if ".density." in name:
            assert buffer.dtype == torch.float64


def test_a_batch_is_the_frames_one_by_one(tmp_path: Path) -> None:
    from model_systems import graph
    from nequip.data import AtomicDataDict

    model = build(SMALL["nequip-scalar"], pair_potential=section(tmp_path))
    frames = [frame(), frame(8, seed=4)]
    out = model(AtomicDataDict.batched_from_list([graph(item) for item in frames]))
    alone = [predict(model, item) for item in frames]
    np.testing.assert_allclose(
        out["total_energy"].detach().numpy().ravel(), [item[0] for item in alone], rtol=1e-12
    )
    together = np.concatenate([item[1] for item in alone])
    np.testing.assert_allclose(
        out["forces"].detach().numpy(), together, atol=1e-12 * np.abs(together).max()
    )


def test_state_holds_everything_and_files_can_go(tmp_path: Path) -> None:
    """As a checkpoint is loaded: the module is made without files, then its state is read."""
    from cgpot.training.network.local_density_module import LocalDensity

    option = section(tmp_path)
    model = build(SMALL["nequip-scalar"], pair_potential=option)
    assert without_base_files(option) == {
        "_target_": option["_target_"],
        "pair": {},
        "density": {},
    }
    pair, density = tables()
    bare = {
        "_target_": option["_target_"],
        "pair": {"r_max": pair.r_max, "intervals": pair.intervals},
        "density": {"cutoff": density.cutoff, "intervals": density.intervals},
    }
    again = build(SMALL["nequip-scalar"], pair_potential=bare)
    assert predict(again, frame())[0] != pytest.approx(predict(model, frame())[0], rel=1e-3)
    again.load_state_dict(model.state_dict())
    assert predict(again, frame())[0] == predict(model, frame())[0]
    # nothing of it is trained
    assert not list(LocalDensity(NAMES, cutoff=4.0, intervals=6).parameters())


def test_checkpoints_take_new_coefficients(tmp_path: Path) -> None:
    from cgpot.training.evaluation.predictions import pair_coefficients

    with_term = build(SMALL["nequip-scalar"], pair_potential=section(tmp_path))
    plain = build(SMALL["nequip-scalar"])
    for name, model in (("term", with_term), ("plain", plain)):
        torch.save({"state_dict": model.state_dict()}, tmp_path / f"{name}.ckpt")
    pair, density = tables()
    np.testing.assert_array_equal(pair_coefficients(tmp_path / "term.ckpt"), pair.coefficients)
    new = save_checkpoint_with_pair(
        tmp_path / "term.ckpt",
        tmp_path / "new.ckpt",
        2.0 * pair.coefficients,
        3.0 * density.coefficients,
    )
    state = torch.load(new, weights_only=False)["state_dict"]
    found = next(v for k, v in state.items() if k.endswith("density.coefficients"))
    np.testing.assert_array_equal(found.numpy(), 3.0 * density.coefficients)
    np.testing.assert_array_equal(pair_coefficients(new), 2.0 * pair.coefficients)
    with pytest.raises(InputError, match=r"expected coefficients of shape \(2, 9\), found \(9,\)"):
        save_checkpoint_with_pair(
            tmp_path / "term.ckpt", tmp_path / "x.ckpt", pair.coefficients, np.ones(9)
        )
    with pytest.raises(InputError, match="expected one pair part in the model, found 0"):
        pair_coefficients(tmp_path / "plain.ckpt")


def test_a_term_that_is_not_there_cannot_be_replaced(tmp_path: Path) -> None:
    pair = tables()[0]
    option = {
        "_target_": "cgpot.training.network.pair_module.PairSpline",
        "pair_file": str(pair.write(tmp_path / "pair.json")),
    }
    model = build(SMALL["nequip-scalar"], pair_potential=option)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "pair.ckpt")
    with pytest.raises(InputError, match=r"one local-density part in the model, found 0; .*null"):
        save_checkpoint_with_pair(
            tmp_path / "pair.ckpt", tmp_path / "x.ckpt", pair.coefficients, np.ones((2, 9))
        )


def test_errors_of_the_module(tmp_path: Path) -> None:
    from cgpot.training.network.local_density_module import LocalDensity

    path = str(tables()[1].write(tmp_path / "density.json"))
    with pytest.raises(ValueError, match=r"is for bead types \['A', 'B'\], the model has \['C'\]"):
        LocalDensity(["C"], density_file=path)
    with pytest.raises(ValueError, match=r"has cutoff 4\.0, expected 5\.0"):
        LocalDensity(NAMES, density_file=path, cutoff=5.0)
    with pytest.raises(ValueError, match="needs density_file, or cutoff and intervals"):
        LocalDensity(NAMES)
