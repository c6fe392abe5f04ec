# SPDX-License-Identifier: GPL-2.0-or-later
"""Refinement loops in LAMMPS: a known pair potential is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refine_systems import KT, TEMPERATURE, simulate, truth, write_config, write_reference
from typer.testing import CliRunner

from cgpot.analysis.cg_run import read_run
from cgpot.cli import build_app
from cgpot.core.errors import InputError, ToolError
from cgpot.core.files import read_json
from cgpot.core.manifest import check_manifest
from cgpot.core.statistics import estimate
from cgpot.molecules.extxyz import read_frames
from cgpot.potential.splines import PairTable
from cgpot.refine import refine_loop as refine_run
from cgpot.refine.counts_basis import CountsBasis
from cgpot.refine.pressure_correction import predicted
from cgpot.refine.refine_loop import Refinement, refine
from cgpot.refine.refine_settings import load_config
from cgpot.refine.refine_target import Target, read_target
from cgpot.refine.reweighting import Samples, weighted_averages


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def target(reference: Path) -> Target:
    return read_target(
        [reference],
        temperature=TEMPERATURE,
        pressure="match",
        density=None,
        cutoff=truth().r_max,
        quiet=True,
    )


@pytest.fixture(scope="module")
def found(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    """A finished relative-entropy refinement from zero, by the command line."""
    folder = tmp_path_factory.mktemp("refined")
    config = write_config(folder / "refine.yaml", reference)
    done = CliRunner().invoke(
        build_app("refine"), ["refine", str(config), "-o", str(folder / "out"), "-q"]
    )
    assert done.exit_code == 0, done.output
    assert "model:" in done.output
    history = read_json(folder / "out" / "history.json")
    return Refinement(folder / "out", history)


def difference(table: PairTable, target: Target) -> float:
    """Largest difference of u(r) from the truth where pairs are frequent, k_B T."""
    r = target.grid.r
    near = (target.coarse[0] > 0.3) & (r < truth().r_max)
    return float(np.abs(table.energy(r) - truth().energy(r))[near].max() / KT)


def test_relative_entropy_finds_the_potential(found: Refinement, target: Target) -> None:
    history = found.history
    records = history["iterations"]
    last = records[history["chosen"]]
    assert records[0]["rdf_error"] > 3.0 * last["rdf_error"]
    assert last["rdf_error"] < 1.2 * last["rdf_error_noise"]
    assert target.pressure is not None
    wanted, error = target.pressure
    assert abs(last["pressure_bar"] - wanted) < 3.0 * np.hypot(last["pressure_error_bar"], error)
    table = PairTable.read(found.folder / "model" / "pair.json")
    first = PairTable.read(found.folder / "iter.000" / "potential.json")
    assert difference(table, target) < 0.1
    assert difference(first, target) > 1.0
    check_manifest(found.folder / "history.json", stage="refine")
    for name in ("rdf.png", "correction.png", "history.png"):
        assert (found.folder / name).stat().st_size > 5000
    lines = (found.folder / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + len(records)


def test_lammps_runs_the_table(found: Refinement) -> None:
    """Energies of LAMMPS's log are those of the splines summed over pairs."""
    table = PairTable.read(found.folder / "iter.001" / "potential.json")
    run = read_run(found.folder / "iter.001" / "md", TEMPERATURE)
    assert run.trajectory is not None
    for k, frame in enumerate(read_frames(run.trajectory)):
        delta = frame.positions[:, None, :] - frame.positions[None, :, :]
        cell = np.diag(frame.cell)
        delta -= np.round(delta / cell) * cell
        r = np.linalg.norm(delta, axis=-1)[np.triu_indices(len(delta), 1)]
        assert run.thermo["pe_eV"][k] == pytest.approx(table.energy(r).sum(), abs=2e-3)
        if k == 5:
            break


def test_the_result_is_what_ran(found: Refinement, tmp_path: Path) -> None:
    """The written model gives the pressure that history.json tells."""
    table = PairTable.read(found.folder / "model" / "pair.json")
    simulate(tmp_path, table, 150.0, seed=99, pair_file=found.folder / "model" / "model.pair.lmp")
    run = read_run(tmp_path / "md", TEMPERATURE)
    pressure, _ = run.pressure(TEMPERATURE, 64)
    measured = estimate(pressure[20:])
    last = found.history["iterations"][found.history["chosen"]]
    error = np.hypot(measured.error, last["pressure_error_bar"])
    assert abs(measured.mean - last["pressure_bar"]) < 3.5 * error


def test_predicted_pressure(found: Refinement, target: Target, tmp_path: Path) -> None:
    """Linear response against a second simulation with another well."""
    basis = CountsBasis(1, truth().r_max, truth().intervals, target.grid)
    files = sorted(found.folder.glob("iter.*/samples.npz"))
    runs = [Samples.read(path) for path in files]
    samples = runs[-1]
    now = weighted_averages(
        runs, samples.coefficients, basis, temperature=TEMPERATURE, volume=target.volume
    )
    change = (truth(depth=1.0).coefficients - truth(depth=0.9).coefficients).reshape(-1)
    other = PairTable(
        target.topology.type_names,
        truth().r_max,
        (samples.coefficients + change)[None, :],
        {},
    )
    simulate(tmp_path, other, 150.0)
    run = read_run(tmp_path / "md", TEMPERATURE)
    pressure, _ = run.pressure(TEMPERATURE, 64)
    measured = estimate(pressure[20:])
    shift = predicted(now, change) - now.pressure
    error = np.hypot(measured.error, now.pressure_error)
    assert abs(shift) > 3.0 * error
    assert abs(now.pressure + shift - measured.mean) < 4.0 * error
    assert abs(now.pressure + shift - measured.mean) < 0.4 * abs(shift)


def test_goes_on_where_it_was_killed(
    reference: Path, found: Refinement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(write_config(tmp_path / "refine.yaml", reference))
    real = refine_run.sample

    def killed(*args: Any, number: int, **options: Any) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return real(*args, number=number, **options)

    monkeypatch.setattr(refine_run, "sample", killed)
    with pytest.raises(KeyboardInterrupt):
        refine(config, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "history.json").exists()
    before = (tmp_path / "out" / "iter.000" / "result.json").read_bytes()
    monkeypatch.setattr(refine_run, "sample", real)
    short = config.model_copy(update={"iterations": 2})
    outcome = refine(short, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "iter.000" / "result.json").read_bytes() == before
    assert len(outcome.history["iterations"]) == 2
    whole = PairTable.read(found.folder / "iter.001" / "potential.json")
    again = PairTable.read(tmp_path / "out" / "iter.001" / "potential.json")
    np.testing.assert_allclose(again.coefficients, whole.coefficients, rtol=1e-6, atol=1e-9)


def test_another_refinement_is_refused(reference: Path, found: Refinement, tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "refine.yaml", reference, method="ibi"))
    with pytest.raises(InputError, match=r"another 'method'.*--restart"):
        refine(config, found.folder, quiet=True)


def test_inversion_with_pressure_correction(
    reference: Path, target: Target, tmp_path: Path
) -> None:
    path = write_config(tmp_path / "refine.yaml", reference, method="ibi", iterations=4)
    outcome = refine(load_config(path), tmp_path / "out", quiet=True)
    records = outcome.history["iterations"]
    last = records[outcome.history["chosen"]]
    assert target.pressure is not None
    wanted = target.pressure[0]
    assert last["rdf_error"] < 0.5 * records[0]["rdf_error"]
    assert abs(last["pressure_bar"] - wanted) < 0.3 * abs(records[0]["pressure_bar"] - wanted)


def test_a_pair_table_is_refined(reference: Path, target: Target, tmp_path: Path) -> None:
    """From a table whose well is 0.5 k_B T too deep."""
    start = truth(depth=1.3).write(tmp_path / "pair.json")
    path = write_config(tmp_path / "refine.yaml", reference, start=str(start), iterations=3)
    outcome = refine(load_config(path), tmp_path / "out", quiet=True)
    table = PairTable.read(tmp_path / "out" / "model" / "pair.json")
    assert difference(table, target) < 0.15
    assert outcome.history["start"] == "pair"


def fails(times: int, real: Any) -> tuple[Any, list[np.ndarray]]:
    """A sampler that fails that many times after the first iteration, and what it was given."""
    tried: list[np.ndarray] = []

    def sampler(*args: Any, number: int, coefficients: np.ndarray, **options: Any) -> Any:
        if number > 0:
            tried.append(coefficients)
            if len(tried) <= times:
                raise ToolError("the system blew up")
        return real(*args, number=number, coefficients=coefficients, **options)

    return sampler, tried


def test_a_step_that_blows_up_is_halved(
    reference: Path, found: Refinement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path / "refine.yaml", reference, iterations=2)
    sampler, tried = fails(2, refine_run.sample)
    monkeypatch.setattr(refine_run, "sample", sampler)
    outcome = refine(load_config(path), tmp_path / "out", quiet=True)
    assert outcome.history["iterations"][1]["halvings"] == 2
    first = PairTable.read(tmp_path / "out" / "iter.000" / "potential.json")
    steps = [c - first.coefficients.reshape(-1) for c in tried]
    np.testing.assert_allclose(steps[1], 0.5 * steps[0], atol=1e-12)
    np.testing.assert_allclose(steps[2], 0.25 * steps[0], atol=1e-12)


def test_a_step_that_always_blows_up(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path / "refine.yaml", reference, iterations=2, step={"retries": 1})
    sampler, tried = fails(99, refine_run.sample)
    monkeypatch.setattr(refine_run, "sample", sampler)
    with pytest.raises(ToolError, match=r"iteration 1 failed.*halved 1 times.*blew up"):
        refine(load_config(path), tmp_path / "out", quiet=True)
    assert len(tried) == 2


def test_a_start_that_blows_up(reference: Path, tmp_path: Path) -> None:
    """Attraction without a core: the beads collapse."""
    bad = truth(height=0.0, depth=500.0).write(tmp_path / "pair.json")
    path = write_config(tmp_path / "refine.yaml", reference, start=str(bad))
    with pytest.raises(ToolError, match="potential to start from failed in LAMMPS"):
        refine(load_config(path), tmp_path / "out", quiet=True)
