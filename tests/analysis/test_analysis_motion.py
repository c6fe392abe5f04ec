# SPDX-License-Identifier: GPL-2.0-or-later
"""Diffusion of Brownian walkers through periodic walls, and angles in the first shell."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_systems import ideal_gas, topology

from cgpot.analysis.observables.shell_angles import angle_distributions
from cgpot.analysis.unwrap import Unwrapper
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.whole import minimum_image


def walkers(n_frames, step, n=100, length=20.0, dt=0.5, seed=0, cell=None):
    """Wrapped random walk; D = step^2/(2 dt) in Å^2/ps."""
    rng = np.random.default_rng(seed)
    box = np.eye(3) * length if cell is None else cell
    path = rng.random((n, 3)) @ box
    for k in range(n_frames):
        fractional = path @ np.linalg.inv(box)
        wrapped = (fractional - np.floor(fractional)) @ box
        yield CGFrame(topology(n), wrapped, box, time=k * dt)
        path = path + step * rng.normal(size=(n, 3))


def follow(frames):
    unwrapper = Unwrapper(file="walk.extxyz")
    for frame in frames:
        unwrapper.add(frame)
    return unwrapper


@pytest.mark.parametrize("triclinic", [False, True])
def test_brownian_walkers(triclinic):
    cell = np.array([[22.0, 0, 0], [7.0, 21.0, 0], [-6.0, 5.0, 23.0]]) if triclinic else None
    found = follow(walkers(1200, 0.5, cell=cell)).result()
    exact = 0.5**2 / (2 * 0.5) * 1e-8  # m^2/s
    # The drift of the whole is removed: 99 of 100 walkers are free.
    exact *= 0.99
    assert found["diffusion_m2_s"] == pytest.approx(exact, abs=4 * found["diffusion_error_m2_s"])
    assert found["diffusion_m2_s"] == pytest.approx(exact, rel=0.05)
    assert found["exponent"] == pytest.approx(1.0, abs=0.05)
    # The walkers have left the box: without unwrapping the MSD would end at half of length^2.
    assert max(found["msd_A2"]) > 50.0


def test_long_walks_are_thinned_and_give_the_same():
    found = follow(walkers(4000, 0.3, n=40)).result()
    exact = 0.3**2 / (2 * 0.5) * 1e-8 * 39 / 40
    assert found["lag_ps"][0] == pytest.approx(2.0)  # every 4th frame was kept
    assert found["diffusion_m2_s"] == pytest.approx(exact, rel=0.06)


def test_frames_too_far_apart_are_refused():
    with pytest.raises(DataError, match=r"walk.extxyz: .* too far apart to unwrap"):
        follow(walkers(100, 3.0)).result()


def test_uneven_and_missing_times_are_refused():
    frames = list(walkers(60, 0.2))
    with pytest.raises(DataError, match=r"not equally spaced in time: 1 ps before frame 30"):
        follow(frames[:30] + frames[31:]).result()
    frames[0].time = None
    with pytest.raises(DataError, match="frame 0 has no time"):
        follow(frames).result()
    with pytest.raises(DataError, match="at least 40 frames for a diffusion coefficient, found 20"):
        follow(walkers(20, 0.2)).result()


def shell(frames, radius):
    """The angles of a system of one type of beads, all neighbours within one radius."""
    return angle_distributions(frames, np.array([[radius]]))["BNZ-BNZ-BNZ"]


def test_angles_of_a_random_gas_follow_the_sine():
    found = shell(ideal_gas(20, n=120), 9.0)
    theta = found.x
    # Neighbours at random: p = sin(theta)/2 per radian.
    exact = np.sin(np.radians(theta)) / 2 * np.pi / 180
    assert np.abs(found.p - exact).max() < 3e-4  # 3 % of the largest value
    assert np.sum(found.p) * 4.0 == pytest.approx(1.0)


def test_angles_of_a_cubic_lattice():
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3) * 5.0
    frame = CGFrame(topology(125), grid, np.eye(3) * 25.0)
    found = shell([frame, frame], 6.0)
    # Six neighbours: 12 right angles and 3 straight ones.
    share = found.p * 4.0
    assert share[found.x > 176][-1] == pytest.approx(3 / 15)
    assert share[(found.x > 86) & (found.x < 94)].sum() == pytest.approx(12 / 15)


def test_no_neighbours_no_angles():
    frames = ideal_gas(3, n=5, length=60.0)
    with pytest.raises(DataError, match=r"no site has two neighbours within 0.50 Å"):
        shell(frames, 0.5)


def test_minimum_image_in_a_skewed_cell_is_the_shortest():
    cell = np.array([[10.0, 0, 0], [4.9, 10.0, 0], [4.9, 4.9, 10.0]])
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 3)) * 15
    shifts = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = np.linalg.norm(vectors[:, None] + (shifts @ cell)[None], axis=2).min(axis=1)
    found = np.linalg.norm(minimum_image(vectors, cell), axis=1)
    assert np.allclose(found, lengths)
