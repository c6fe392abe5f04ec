# SPDX-License-Identifier: GPL-2.0-or-later
"""Data set, sampler, schedule, weights, metrics, wall and checkpoint surgery."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training_systems import NAME, RC, K, N, fluid, settings

from cgpot.core.config import validate
from cgpot.core.errors import DataError, InputError
from cgpot.core.statistics import estimate
from cgpot.core.units import EV_PER_A3_IN_BAR
from cgpot.molecules.extxyz import write_frames
from cgpot.potential.base import Base
from cgpot.potential.splines import PairTable, basis, locate
from cgpot.training.evaluation.predictions import evaluate, save_checkpoint_with_pair
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.fingerprint import difference
from cgpot.training.folder.graph_frames import CGDataset, EpochSampler, load_frames, shuffled_loader
from cgpot.training.folder.subsets import check_report
from cgpot.training.network.base_fit import fit_prior
from cgpot.training.network.metrics import MeanPressureLoss, PressureResidual, ReducedMSE
from cgpot.training.network.nequip_settings import loss_weights
from cgpot.training.network.schedule import factor
from cgpot.training.settings.train_settings import TrainConfig


def config(**changes: object) -> TrainConfig:
    return validate(TrainConfig, settings(**changes))


def test_edges_are_those_of_all_images(tmp_path: Path) -> None:
    """Against a brute-force sum over images, also beyond half the box (12 Å cell, 7 Å cutoff)."""
    frames = fluid(1, 5)
    write_frames(tmp_path / "a.extxyz", frames)
    data = CGDataset(str(tmp_path / "a.extxyz"), 7.0, [NAME])[0]
    cell = data["cell"].numpy()[0]
    found = {
        (int(i), int(j), *map(int, s))
        for (i, j), s in zip(
            data["edge_index"].T.tolist(), data["edge_cell_shift"].tolist(), strict=True
        )
    }
    expected = set()
    pos = data["pos"].numpy()
    for shift in np.ndindex(3, 3, 3):
        s = np.asarray(shift) - 1
        r = np.linalg.norm(pos[None] + s @ cell - pos[:, None], axis=-1)
        for i, j in np.argwhere((r < 7.0) & (r > 0)):
            expected.add((int(i), int(j), *map(int, s)))
    assert found == expected
    assert data["edge_index"].dtype == torch.int64
    assert np.all(np.diff(data["edge_index"][0].numpy()) >= 0)


def test_labels_reach_the_data(tmp_path: Path) -> None:
    frames = fluid(3, 5)
    write_frames(tmp_path / "a.extxyz", frames)
    dataset = CGDataset(str(tmp_path / "a.extxyz"), 5.0, [NAME], need_stress=True)
    batch = next(iter(shuffled_loader(dataset, 1, batch_size=1, collate_fn=lambda x: x[0])))
    assert batch["forces"].shape == (N, 3)
    stress = dataset[1]["stress"].numpy()[0]
    np.testing.assert_allclose(stress, frames[1].stress, atol=1e-7)


def test_frames_without_labels_are_refused(tmp_path: Path) -> None:
    frames = [dataclasses.replace(f, virial=None) for f in fluid(2, 5)]
    write_frames(tmp_path / "a.extxyz", frames)
    with pytest.raises(InputError, match=r"frame 0: the loss asks for stress.*loss\.stress to nu"):
        load_frames(tmp_path / "a.extxyz", None, True)
    assert len(load_frames(tmp_path / "a.extxyz", None, False)) == 2
    frames = [dataclasses.replace(f, forces=None) for f in fluid(2, 5)]
    write_frames(tmp_path / "b.extxyz", frames)
    with pytest.raises(InputError, match="no forces to learn from"):
        load_frames(tmp_path / "b.extxyz", None, False)


def test_other_bead_names_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.extxyz", fluid(1, 5))
    with pytest.raises(
        InputError, match=r"bead types \['BEA'\] differ from the expected \['BNZ'\]"
    ):
        load_frames(tmp_path / "a.extxyz", ["BNZ"], False)


def test_nan_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, fluid(2, 5))
    lines = path.read_text(encoding="utf-8").splitlines()
    words = lines[-1].split()
    words[-1] = words[-1] if words[-1].isalpha() else "nan"
    number = next(k for k in range(len(words) - 1, 0, -1) if "." in words[k] or words[k] == "nan")
    words[number] = "nan"
    path.write_text("\n".join([*lines[:-1], " ".join(words)]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.extxyz.*NaN"):
        load_frames(path, None, False)


def test_report_of_another_system_is_refused(tmp_path: Path) -> None:
    frames = fluid(1, 5)
    report = tmp_path / "report.json"
    settings_ = config(data={"report": str(report)}, system={"temperature": 300.0})
    report.write_text('{"bead_names": ["BNZ"], "temperature": 300.0}', encoding="utf-8")
    with pytest.raises(InputError, match=r"about bead types \['BNZ'\], .* hold \['BEA'\]"):
        check_report(settings_, frames)
    report.write_text('{"bead_names": ["BEA"], "temperature": 350.0}', encoding="utf-8")
    with pytest.raises(InputError, match=r"data are at 350 K, system\.temperature is 300 K"):
        check_report(settings_, frames)


def test_sampler_depends_on_the_epoch_alone() -> None:
    a, b = EpochSampler(20, 7), EpochSampler(20, 7)
    list(a)
    a.set_epoch(3)
    b.set_epoch(3)
    assert list(a) == list(b) != list(EpochSampler(20, 7))
    assert sorted(a) == list(range(20))


def test_schedule_warms_up_and_ends_at_its_last_value() -> None:
    rates = [factor(k, 100, 10, 0.05, "cosine") for k in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == pytest.approx(1.0) == rates[10]
    assert rates[100] == pytest.approx(0.05)
    assert np.all(np.diff(rates[10:]) < 0)
    assert factor(99, 100, 10, 0.05, "constant") == 1.0


def test_auto_weights_are_inverse_variances() -> None:
    facts = DataFacts((NAME,), 100, 50, 12.0, force_rms=0.2, stress_std=1e-4)
    forces, stress, pressure = loss_weights(config(loss={"mean_pressure": 3.0}), facts)
    assert forces == pytest.approx(25.0)
    assert stress == pytest.approx(6.0 / 150.0 * 1e8)
    assert pressure == pytest.approx(3.0 * 6.0 / 150.0 * 1e8)
    assert loss_weights(config(loss={"stress": None}), facts)[1] is None
    assert loss_weights(config(loss={"forces": 2.0, "stress": 9.0}), facts)[:2] == (2.0, 9.0)


def test_facts_of_frames() -> None:
    frames = fluid(4, 5)
    facts = DataFacts.of(frames, 10.0)
    all_forces = np.concatenate([f.forces for f in frames])
    assert facts.force_rms == pytest.approx(np.sqrt((all_forces**2).mean()))
    stress = np.stack([f.stress[np.triu_indices(3)] for f in frames])
    assert facts.stress_std == pytest.approx(np.sqrt(stress.var(axis=0, ddof=1).mean()))


def test_pressure_metrics() -> None:
    generator = torch.Generator().manual_seed(1)
    label = torch.randn(40, 3, 3, generator=generator, dtype=torch.float64) * 1e-3
    shift = torch.linspace(-1, 2, 40, dtype=torch.float64)[:, None, None] * 1e-4 * torch.eye(3)
    model = (label - shift).requires_grad_(True)
    mean, error = PressureResidual("mean"), PressureResidual("error")
    loss = MeanPressureLoss(std=1e-3)
    for k in range(0, 40, 8):
        prediction, target = {"stress": model[k : k + 8]}, {"stress": label[k : k + 8]}
        mean(prediction, target)
        error(prediction, target)
        value = loss(prediction, target)
        residual = shift[k : k + 8, 0, 0].mean()
        assert float(value.detach()) == pytest.approx(float(residual**2) / 1e-6)
    series = shift[:, 0, 0].numpy() * EV_PER_A3_IN_BAR
    assert float(mean.compute()) == pytest.approx(series.mean())
    assert float(error.compute()) == pytest.approx(estimate(series, equilibrated=True).error)
    value.backward()
    assert torch.isfinite(model.grad).all()
    assert float(model.grad[-1].abs().max()) > 0
    with pytest.raises(ValueError, match="positive standard deviation, found 0"):
        MeanPressureLoss(std=0.0)
    with pytest.raises(ValueError, match="expected 'mean' or 'error'"):
        PressureResidual("median")  # type: ignore[arg-type]


def test_reduced_mse() -> None:
    metric = ReducedMSE(std=0.5)
    value = metric(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
    assert float(value.detach()) == pytest.approx(0.5 / 0.25)


def test_wall_table_is_repulsive_and_ends_at_the_cutoff() -> None:
    frames = fluid(10, 5)
    prior = fit_prior(config(), frames, DataFacts.of(frames, 10.0), quiet=True)
    assert prior.table is not None
    r = np.linspace(1.0, 5.0, 200)
    force = prior.table.force(r)
    wall = next(iter(prior.table.info["wall"].values()))
    inside = r < wall["onset_A"]
    assert np.all(force[inside] > 0)
    assert abs(prior.table.energy(np.array([4.999]))[0]) < 1e-6
    near = np.array([wall["onset_A"] * 0.95])
    exact = wall["kT_eV"] * wall["exponent"] / near * (wall["sigma_A"] / near) ** wall["exponent"]
    np.testing.assert_allclose(prior.table.force(near), exact, rtol=0.05)


def exact_table() -> PairTable:
    """u(r) of the fluid as a spline, by least squares on a fine grid."""
    r = np.linspace(0.0, 5.0, 2001)
    first, t = locate(r, 5.0, 50)
    design = np.zeros((len(r), 53))
    for k, weight in enumerate(basis(t)):
        design[np.arange(len(r)), first + k] += weight
    u = K * np.clip(1.0 - r / RC, 0.0, None) ** 3
    coefficients = np.zeros((1, 53))
    coefficients[0, :50] = np.linalg.lstsq(design[:, :50], u, rcond=None)[0]
    return PairTable((NAME,), 5.0, coefficients, {})


def test_pair_labels_reproduce_the_exact_fluid() -> None:
    """Forces and virial of the spline against the minimum-image sum, to 1e-3 of their size."""
    frames = fluid(4, 5)
    table = exact_table()
    errors, arrays = evaluate(frames, Base(table))
    rms = np.sqrt(np.mean(np.concatenate([f.forces for f in frames]) ** 2))
    assert errors["force_rmse"] < 1e-3 * rms
    pressure = [np.trace(f.virial) / 3 / f.volume * EV_PER_A3_IN_BAR for f in frames]
    np.testing.assert_allclose(arrays["pressure_bar"], pressure, rtol=1e-3)
    assert abs(errors["pressure_residual_bar"]["mean"]) < 1e-3 * np.mean(pressure)


def test_differences_of_inputs_are_named() -> None:
    old = {"config": {"model": {"cutoff": 5.0}}, "data": {"train": "a"}}
    assert difference(old, {"config": {"model": {"cutoff": 5.0}}, "data": {"train": "a"}}) == ""
    new = {"config": {"model": {"cutoff": 6.0}}, "data": {"train": "a"}}
    assert difference(old, new) == "config.model.cutoff: 5.0 before, 6.0 now"


def test_checkpoint_surgery_refuses_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(2)}}, path)
    with pytest.raises(InputError, match="expected one pair part in the model, found 0"):
        save_checkpoint_with_pair(path, tmp_path / "b.ckpt", np.zeros((1, 4)))
    torch.save({"state_dict": {"m.pair_potential.coefficients": torch.zeros(1, 4)}}, path)
    with pytest.raises(InputError, match=r"shape \(1, 4\), found \(1, 5\)"):
        save_checkpoint_with_pair(path, tmp_path / "b.ckpt", np.zeros((1, 5)))
    with pytest.raises(InputError, match="NaN or infinity"):
        save_checkpoint_with_pair(path, tmp_path / "b.ckpt", np.full((1, 4), np.nan))
    assert not (tmp_path / "b.ckpt").exists()
