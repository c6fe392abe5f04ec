# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be known of the GPU benchmark without a GPU: its counts, its errors, its parsing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_systems import SMALL, build

from cgpot.deploy.operators import Plan

FILE = Path(__file__).parents[2] / "workflows" / "benchmarks" / "gpu.py"
LOG = """Loop time of 1 on 1 procs for 10 steps with 500 atoms
Pair    | 0.5        | 0.5        | 0.5        |   0.0 | 50.00
   Step          Temp          c_C[6]         c_C[7]
        10   300            2.5            3.0
        20   290            4.3            4.9
Loop time of 2 on 1 procs for 10 steps with 500 atoms
Pair    | 1.9        | 1.9        | 1.9        |   0.0 | 95.00
"""


@pytest.fixture(scope="module")
def gpu() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_benchmark"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("first", "traffic", "operations"), [(True, 100, 92), (False, 132, 100)])
def test_counts_of_scalars(gpu: Any, first: bool, traffic: int, operations: int) -> None:
    """Four channels of float32, by hand."""
    plan = Plan(0, ((0, 4),), ((0, 0, 0),))
    assert gpu.message_passing(plan, 4, first).values() == (traffic, 32, operations)


def test_counts_of_vectors(gpu: Any) -> None:
    """The cross product has six nonzero symbols, each for its own pair of components."""
    plan = Plan(1, ((1, 2),), ((0, 1, 1),))
    cost = gpu.message_passing(plan, 8, False)
    channel = (6 + 2 * 6 + 2 * 3) + (6 + 4 * 6 + 4 * 3)
    assert cost.operations_per_edge == 4 * 6 + 2 * channel
    assert cost.bytes_per_edge == 2 * (16 + 24) + 24 + 4 * (2 * 3 * 8)
    assert cost.bytes_per_bead == 2 * 2 * 3 * 8


def test_counts_of_models(gpu: Any) -> None:
    two, three = (gpu.count(build({**SMALL["nequip"], "layers": k}).eval()) for k in (2, 3))
    assert three.bytes_per_edge > two.bytes_per_edge > 0
    assert three.operations_per_edge > two.operations_per_edge > 0
    assert gpu.count(build(SMALL["allegro"]).eval()) is None


def test_the_slower_ceiling_counts(gpu: Any) -> None:
    cost = gpu.Cost(100.0, 10.0, 50.0)
    assert cost.seconds(4, 20, 1e3, 1e9) == pytest.approx(2.04)
    assert cost.seconds(4, 20, 1e9, 1e3) == pytest.approx(1.0)
    row = {"beads": 4, "steps_per_second": 0.25}
    limits = {"bytes_per_second": 1e3, "operations_per_second": 1e9}
    found = gpu.roofline(row, cost, 5.0, limits)
    assert found["bead_steps_per_second_at_ceiling"] == pytest.approx(4 / 2.04)
    assert found["percent_of_ceiling"] == pytest.approx(51.0)
    assert gpu.roofline(row, None, 5.0, limits) == {}


def test_ceilings_are_measured(gpu: Any) -> None:
    found = gpu.ceilings("cpu", megabytes=4, order=64)
    assert all(value > 0 for value in found.values())


def test_the_last_run_of_a_log_counts(gpu: Any) -> None:
    found = gpu.read_log(LOG, timed=True)
    assert found["beads"] == 500
    assert found["steps_per_second"] == 5.0
    assert found["outside_pair_percent"] == pytest.approx(5.0)
    assert found["model_seconds_per_step"] == pytest.approx(0.18)
    assert found["outside_model_percent"] == pytest.approx(10.0)
    assert "outside_model_percent" not in gpu.read_log(LOG, timed=False)
    with pytest.raises(ValueError, match="no finished run in LAMMPS's output"):
        gpu.read_log("ERROR: out of memory", timed=True)


def test_arguments(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = tmp_path / "train"
    train.mkdir()
    for words, message in (
        (["--train", str(train)], "expected the output folder of 'cgpot train'"),
        (["--kinds", "half"], "invalid choice: 'half'"),
        (["--replicate", "0"], "expected whole numbers of at least 1, found 0"),
    ):
        with pytest.raises(SystemExit) as stop:
            gpu.arguments(words)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    (train / "result.json").write_text("{}")
    with pytest.raises(SystemExit):
        gpu.arguments(["--train", str(train), "--start", str(tmp_path / "no.xyz")])
    assert "expected a data set of 'cgpot dataset'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_measured(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main([])
    assert capsys.readouterr().out == "not measured: no CUDA device\n"


def test_evaluations_alone(gpu: Any, deployed: Any, tmp_path: Path) -> None:
    """On a CPU; what is not installed or cannot be compiled says so."""
    from training_systems import fluid

    package = deployed.sidecar.with_name("model.nequip.zip")
    frame = fluid(1, 11)[0]
    found = gpu.evaluations(
        package, frame, tmp_path, device="cpu", beads=3 * frame.topology.n_sites, ways=["triton"]
    )
    assert found["plain"] > 0.0
    assert "Triton is for GPUs, the device is 'cpu'" in found["triton"]
    assert found["openequivariance"] == "not measured: no openequivariance"
