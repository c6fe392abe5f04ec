# SPDX-License-Identifier: GPL-2.0-or-later
"""Pressure tensor and equation of state: known tensors, lines, and an isothermal-isobaric model."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_systems import ideal_gas, topology, write_run

from cgpot.analysis.analyze import AnalysisInput, analyze
from cgpot.analysis.collect import Measurement
from cgpot.analysis.observables.equation_of_state import (
    covariance_ratio,
    plot_over_systems,
    slope_of_frames,
    slope_over_systems,
)
from cgpot.analysis.observables.observable import System
from cgpot.core.errors import DataError, InputError
from cgpot.core.units import EV_PER_A3_IN_BAR, KB
from cgpot.molecules.extxyz import write_frames
from cgpot.molecules.frame import CGFrame

VOLUME = 24.0**3


def with_tensor(tensor: np.ndarray, n_frames: int = 60, noise: float = 0.0) -> list[CGFrame]:
    """Ideal gas whose virial gives this configurational pressure tensor, bar."""
    rng = np.random.default_rng(9)
    frames = ideal_gas(n_frames, n=50)
    for frame in frames:
        extra = noise * rng.normal(size=(3, 3))
        frame.virial = (tensor + extra + extra.T) * VOLUME / EV_PER_A3_IN_BAR
    return frames


def measured(frames: list[CGFrame]) -> Measurement:
    found = Measurement(System(300.0, 11.0, 50))
    found.collect((0, frame) for frame in frames)
    found.system.series = found.frame_series()
    return found


def test_tensor_of_known_virials() -> None:
    tensor = np.array([[100.0, 30.0, -20.0], [30.0, 250.0, 10.0], [-20.0, 10.0, -50.0]])
    record = measured(with_tensor(tensor)).results()["pressure"]
    ideal = 50 * KB * 300 / VOLUME * EV_PER_A3_IN_BAR
    for k, c in enumerate(("xx", "yy", "zz")):
        assert record["tensor"][c]["mean"] == pytest.approx(tensor[k, k] + ideal)
    for c, (a, b) in {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}.items():
        assert record["tensor"][c]["mean"] == pytest.approx(tensor[a, b])
    assert record["mean"] == pytest.approx(np.trace(tensor) / 3 + ideal)


def test_a_fluid_under_shear_is_noted() -> None:
    quiet = measured(with_tensor(np.eye(3) * 20.0, noise=50.0))
    assert quiet.results()["pressure"]["tensor"]["anisotropy"] < 4
    assert not any("directions" in note for note in quiet.system.notes)
    sheared = np.eye(3) * 20.0
    sheared[0, 1] = sheared[1, 0] = 200.0
    loud = measured(with_tensor(sheared, noise=50.0))
    assert loud.results()["pressure"]["tensor"]["anisotropy"] > 6
    assert any("not the same in all directions: P_xy = " in note for note in loud.system.notes)


def test_tensor_of_a_run(tmp_path) -> None:
    """The engine's components, with the k_B T / V that it does not count on the diagonal."""
    folder = write_run(tmp_path / "nvt", ideal_gas(40, n=60))
    lines = (folder / "thermo.csv").read_text().splitlines()
    names = [f"p{c}_bar" for c in ("xx", "yy", "zz", "yz", "xz", "xy")]
    lines[0] += "," + ",".join(names)
    for k in range(1, len(lines)):
        lines[k] += f",{10 + k % 2},{20 + k % 2},{30 + k % 2},{k % 2},{2 + k % 2},{4 + k % 2}"
    (folder / "thermo.csv").write_text("\n".join(lines) + "\n")
    write_frames(tmp_path / "aa.extxyz", ideal_gas(20, n=60))
    task = AnalysisInput([tmp_path / "aa.extxyz"], [folder], 300.0)
    tensor = analyze(task, tmp_path / "out", quiet=True)["runs"][0]["pressure"]["tensor"]
    one = KB * 300 / VOLUME * EV_PER_A3_IN_BAR
    for c, exact in {"xx": 10.5 + one, "yy": 20.5 + one, "zz": 30.5 + one, "xz": 2.5}.items():
        assert tensor[c]["mean"] == pytest.approx(exact, abs=0.02)


def isobaric(n: int, kappa: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes and pressures of a Gaussian isothermal-isobaric ensemble.

    var(V) = kappa k_B T V; the mean pressure at V is -(V - V_0) / (kappa V_0), with noise of
    300 bar that does not know the volume.  kappa in 1/bar.
    """
    rng = np.random.default_rng(seed)
    kt = KB * 300.0 * EV_PER_A3_IN_BAR
    v = VOLUME + np.sqrt(kappa * kt * VOLUME) * rng.normal(size=n)
    return v, 1.0 - (v - VOLUME) / (kappa * VOLUME) + 300.0 * rng.normal(size=n)


def test_slope_of_an_isobaric_ensemble() -> None:
    kappa = 1e-4  # 1/bar: 1 per GPa
    parts = [isobaric(4000, kappa, seed) for seed in (1, 2)]
    volume, pressure = [v for v, _ in parts], [p for _, p in parts]
    density = [870.0 * VOLUME / v for v in volume]
    found = slope_of_frames(density, pressure)
    exact = 1.0 / (kappa * found["density"])
    assert found["slope"] == pytest.approx(exact, abs=4 * found["slope_error"])
    assert found["slope_error"] < 0.05 * exact
    assert found["compressibility"]["value"] == pytest.approx(1.0, rel=0.1)
    ratio, error = covariance_ratio(volume, pressure, 300.0)
    assert ratio == pytest.approx(1.0, abs=4 * error)
    assert error < 0.06
    with pytest.raises(DataError, match="at least 16 frames, found 10"):
        slope_of_frames([density[0][:10]], [pressure[0][:10]])
    with pytest.raises(DataError, match="the volume is constant"):
        slope_of_frames([np.full(100, 870.0)], [pressure[0][:100]])


def test_errors_of_a_slope_over_systems() -> None:
    """Against numpy's fit; drawn again, the slope scatters by its error."""
    rho = np.array([850.0, 868.0, 880.0, 900.0])
    sigma = np.array([5.0, 10.0, 5.0, 20.0])
    rng = np.random.default_rng(0)
    slopes, errors = [], []
    for _ in range(400):
        p = 10.0 + 16.0 * (rho - 868.0) + sigma * rng.normal(size=4)
        found = slope_over_systems(list(zip(rho, p, sigma, strict=True)))
        assert found is not None
        (slope, _), cov = np.polyfit(rho, p, 1, w=1 / sigma, cov="unscaled")
        assert found["slope"] == pytest.approx(slope)
        assert found["slope_error"] >= np.sqrt(cov[0, 0]) * (1 - 1e-9)
        slopes.append(slope)
        errors.append(np.sqrt(cov[0, 0]))
    assert np.mean(slopes) == pytest.approx(16.0, abs=0.1)
    assert np.std(slopes) == pytest.approx(errors[0], rel=0.1)
    # points that no line goes through have a larger error
    bent = slope_over_systems([(850.0, 0.0, 1.0), (870.0, 500.0, 1.0), (890.0, 100.0, 1.0)])
    assert bent is not None
    assert bent["slope_error"] > 100 * 1.0 / np.sqrt(2) / 20


def test_no_slope_without_two_densities() -> None:
    assert slope_over_systems([]) is None
    assert slope_over_systems([(870.0, 1.0, 1.0)]) is None
    assert slope_over_systems([(870.0, 1.0, 1.0), (870.1, 5.0, 1.0)]) is None
    with pytest.raises(DataError, match="a mean pressure has no error"):
        slope_over_systems([(850.0, 1.0, 0.0), (870.0, 5.0, 1.0)])
    falling = slope_over_systems([(850.0, 10.0, 1.0), (870.0, 5.0, 1.0)])
    assert falling is not None
    assert falling["compressibility"]["value"] is None
    assert plot_over_systems({"reference": None, "runs": None}) is None


def at_length(length: float, pressure: float, seed: int) -> list[CGFrame]:
    """An ideal gas in a box of this length with a known mean virial pressure, bar."""
    rng = np.random.default_rng(seed)
    frames = ideal_gas(30, n=60, length=length, seed=seed)
    for frame in frames:
        own = (pressure + 20.0 * rng.normal()) * length**3 / EV_PER_A3_IN_BAR
        frame.virial = np.eye(3) * own
    return frames


def test_references_and_runs_at_several_densities(tmp_path) -> None:
    files, runs = [], []
    for k, length in enumerate((24.0, 24.2, 24.4)):
        files.append(tmp_path / f"aa{k}.extxyz")
        write_frames(files[-1], at_length(length, -100.0 * k, k))
        runs.append(write_run(tmp_path / f"nvt{k}", ideal_gas(20, n=60, length=length, seed=k)))
    task = AnalysisInput(files[:1], runs, 300.0, density_references=files[1:])
    found = analyze(task, tmp_path / "out", quiet=True)
    assert len(found["density_references"]) == 2
    slope = found["equation_of_state"]["reference"]
    assert slope["n"] == 3
    rho = [p["density"] for p in slope["points"]]
    ideal = [60 * KB * 300 / x**3 * EV_PER_A3_IN_BAR for x in (24.0, 24.2, 24.4)]
    exact = np.polyfit(rho, [a - 100.0 * k for k, a in enumerate(ideal)], 1)[0]
    assert slope["slope"] == pytest.approx(exact, abs=4 * slope["slope_error"])
    assert found["equation_of_state"]["runs"]["n"] == 3
    plot = plot_over_systems(found["equation_of_state"])
    assert plot is not None
    assert len(plot.curves) == 4

    write_frames(files[1], ideal_gas(30, n=60, breathing=0.02))
    with pytest.raises(InputError, match=r"aa1.extxyz: the volume changes; expected a run at"):
        analyze(task, tmp_path / "out", quiet=True)
    write_frames(files[1], ideal_gas(30, n=60, virial=False))
    with pytest.raises(InputError, match=r"aa1.extxyz: the frames carry no virials"):
        analyze(task, tmp_path / "out", quiet=True)


def test_other_sites_in_the_middle() -> None:
    frames = ideal_gas(10, n=50)
    frames[4] = CGFrame(topology(51), np.ones((51, 3)) * np.arange(51)[:, None] / 3, frames[4].cell)
    found = Measurement(System(300.0, 11.0, 50, files=["aa.extxyz"]))
    with pytest.raises(DataError, match=r"aa.extxyz, frame 4: other sites than in the first frame"):
        found.collect((0, frame) for frame in frames)
