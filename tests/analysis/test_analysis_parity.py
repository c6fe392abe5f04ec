# SPDX-License-Identifier: GPL-2.0-or-later
"""Force errors and the noise in labels of known make."""

from __future__ import annotations

import numpy as np
import pytest

from cgpot.analysis.parity import analyse_parity
from cgpot.core.errors import DataError, InputError


def write(path, **changes):
    rng = np.random.default_rng(0)
    mean = 0.07 * rng.normal(size=(20_000, 3))
    arrays = {
        "force_label": mean + 0.16 * rng.normal(size=mean.shape),
        "force_model": mean + 0.01 * rng.normal(size=mean.shape),
        "force_pair": mean + 0.02 * rng.normal(size=mean.shape),
        "pressure_label_bar": 200 * rng.normal(size=50),
        "pressure_model_bar": np.full(50, 30.0),
    }
    arrays |= changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_rmse_noise_and_gain(tmp_path):
    force = analyse_parity(write(tmp_path / "p.npz"))["force"]
    assert force["label_rms"] == pytest.approx(np.hypot(0.07, 0.16), rel=0.01)
    assert force["rmse_model"] == pytest.approx(np.hypot(0.16, 0.01), rel=0.01)
    assert force["rmse_pair"] == pytest.approx(np.hypot(0.16, 0.02), rel=0.01)
    # The bound lies between the true noise and the model's error.
    assert 0.16 * 0.99 < force["noise_floor_upper"] <= force["rmse_model"]
    assert force["slope"] == pytest.approx(0.07**2 / (0.07**2 + 0.01**2), abs=0.02)
    # The paired difference is known far better than either value.
    exact = np.hypot(0.16, 0.02) - np.hypot(0.16, 0.01)
    assert force["gain_over_pair"] == pytest.approx(exact, abs=4 * force["gain_over_pair_error"])
    assert force["gain_over_pair_error"] < 0.5 * force["rmse_model_error"]


def test_a_given_noise_floor_is_kept_apart_from_the_bound(tmp_path):
    force = analyse_parity(write(tmp_path / "p.npz", noise_floor=np.array(0.158)))["force"]
    assert force["noise_floor"] == pytest.approx(0.158)
    assert analyse_parity(write(tmp_path / "q.npz"))["force"]["noise_floor"] is None


def test_pressure_residual(tmp_path):
    found = analyse_parity(write(tmp_path / "p.npz"))["pressure"]
    assert found["residual_mean"] == pytest.approx(found["model_mean"] - found["label_mean"])
    assert found["residual_error"] == pytest.approx(200 / np.sqrt(50), rel=0.5)


def test_pair_and_pressure_may_be_absent(tmp_path):
    path = write(
        tmp_path / "p.npz", force_pair=None, pressure_model_bar=None, pressure_label_bar=None
    )
    found = analyse_parity(path)
    assert found["force"]["rmse_pair"] is None
    assert "gain_over_pair" not in found["force"]
    assert found["pressure"] is None


def test_errors(tmp_path):
    with pytest.raises(InputError, match=r"p.npz, key 'force_model': the array is missing"):
        analyse_parity(write(tmp_path / "p.npz", force_model=None))
    bad = np.zeros((20_000, 3))
    bad[7, 1] = np.nan
    with pytest.raises(DataError, match="key 'force_model': holds NaN"):
        analyse_parity(write(tmp_path / "p.npz", force_model=bad))
    with pytest.raises(
        InputError, match=r"'force_model': shape \(5, 3\) differs from \(20000, 3\)"
    ):
        analyse_parity(write(tmp_path / "p.npz", force_model=np.zeros((5, 3))))
    (tmp_path / "no.npz").write_text("text")
    with pytest.raises(InputError, match=r"no.npz: not a numpy .npz file"):
        analyse_parity(tmp_path / "no.npz")
    with pytest.raises(InputError, match="no such parity file"):
        analyse_parity(tmp_path / "none.npz")
