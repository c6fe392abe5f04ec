# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders of all stages, small and synthetic, for the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.manifest import write_manifest


def curve(height: float, noise: float, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    r = np.arange(0.05, 15.0, 0.1)
    g = 1 / (1 + np.exp(-(r - 5.0) / 0.12)) + (height - 1) * np.exp(-0.5 * ((r - 5.7) / 0.5) ** 2)
    g = np.maximum(g + noise * rng.normal(size=len(r)) * (r > 5), 0)
    theta = np.arange(2.0, 180, 4.0)
    return {
        "r_A": r.tolist(),
        "g": g.tolist(),
        "error": np.full(len(r), noise).tolist(),
        "halves": [(g + noise).tolist(), (g - noise).tolist()],
        "halves_error": 0.006,
        "peak": {
            "position": 5.7,
            "position_error": 0.01,
            "height": height,
            "height_error": 0.005,
        },
        "halves_peak_height": [height - 0.004, height + 0.004],
        "coordination": {"radius": 8.1, "number": 12.4, "error": 0.02},
        "n_frames": 100,
        "theta": theta.tolist(),
    }


def mean(value: float, error: float, unit: str = "", **more: Any) -> dict[str, Any]:
    found = {"mean": value, "error": error, "std": 10 * error, "n": 400, "start": [0]}
    return found | {"unit": unit, "halves": [value - error, value + error], **more}


def section(height: float, seed: int, ensemble: str) -> dict[str, Any]:
    rdf = curve(height, 0.01, seed)
    theta = np.array(rdf.pop("theta"))
    p = np.sin(np.radians(theta)) / np.sin(np.radians(theta)).sum() / 4.0
    moved = {
        "value": 2.2e-9,
        "error": 1e-10,
        "exponent": 1.0,
        "lag_ps": [1.0, 2.0, 5.0, 10.0],
        "msd_A2": [1.3, 2.7, 6.6, 13.0],
        "msd_error_A2": [0.1, 0.1, 0.2, 0.3],
    }
    return {
        "ensemble": ensemble,
        "n_sites": 500,
        "n_frames": 100,
        "rdf": {"BNZ-BNZ": rdf},
        "angles": {
            "BNZ-BNZ-BNZ": {
                "radius_A": 8.1,
                "second_radius_A": 8.1,
                "theta_deg": theta.tolist(),
                "p_per_deg": p.tolist(),
                "error_per_deg": (0.01 * p).tolist(),
                "n_frames": 100,
            }
        },
        "diffusion": {**moved, "species": {"BNZ": moved}},
        "notes": [],
    }


def series(value: float, spread: float, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    time = np.arange(0.5, 100, 0.5)
    return {"time_ps": time.tolist(), "value": (value + spread * rng.normal(size=199)).tolist()}


def run(name: str, ensemble: str, seed: int) -> dict[str, Any]:
    found = section(1.93, seed, ensemble) | {
        "name": name,
        "path": f"md/{name}",
        "manifest": True,
        "ns": 1.2,
        "stable_ns": 1.2,
        "failures": [],
        "ns_per_day": 45.0,
        "cpu_use_percent": 61.0,
        "md": {"timestep_fs": 5.0, "threads": 1, "lammps": "22 Jul 2025"},
        "temperature": mean(300.1, 0.4, "K"),
        "pressure": mean(12.0, 8.0, "bar", start_ps=10.0, method="virial", tensor=None),
        "density": mean(849.0, 1.2, "kg/m3", start_ps=12.0),
        "compressibility": None,
        "energy_drift": None,
        "comparison": {
            "rdf": {
                "BNZ-BNZ": {
                    "rdf_error": 0.012,
                    "rdf_error_error": 0.001,
                    "rdf_error_noise": 0.006,
                    "first_peak_height_rel_error": 0.0158,
                    "first_peak_height_rel_error_error": 0.004,
                    "first_peak_shift_A": 0.01,
                    "first_peak_shift_error_A": 0.01,
                }
            }
        },
        "series": {
            "temperature": series(300, 3, seed),
            "pressure": series(12, 60, seed + 1),
            "density": series(849, 6, seed + 2),
            "potential_energy": series(-80, 1, seed + 3),
            "total_energy": series(-60, 0.01, seed + 4),
        },
    }
    if ensemble == "nve":
        found["energy_drift"] = {
            "ev_per_bead_ps": -2.4e-7,
            "error_ev_per_bead_ps": 1.0e-7,
            "relative_per_ps": -6.4e-6,
            "rms_ev_per_bead": 2e-5,
        }
    return found


def analysis() -> dict[str, Any]:
    reference = section(1.90, 1, "nvt") | {
        "files": ["aa.extxyz.xz"],
        "manifests": [True],
        "frames_by_file": [100],
        "time_ps": [100.0],
        "volume_A3": 76000.0,
        "density": mean(847.0, 0.0, "kg/m3"),
        "pressure": mean(-20.0, 9.0, "bar", tensor=None),
        "compressibility": None,
        "series": {},
    }
    return {
        "format": "cgpot-analysis-2",
        "temperature_K": 300.0,
        "bead_names": ["BNZ"],
        "settings": {"r_max_A": 15.0, "bins": 150, "bin_width_A": 0.1, "shell_radius_A": {}},
        "reference": reference,
        "npt_reference": None,
        "density_aa": {
            "value": 847.5,
            "error": 1.5,
            "halves": [846.0, 849.0],
            "unit": "kg/m3",
            "method": "mean over the NPT reference (constant pressure)",
        },
        "runs": [run("nvt", "nvt", 10), run("npt", "npt", 20), run("nve", "nve", 30)],
        "parity": {
            "force": {
                "unit": "eV/A",
                "n": 6000,
                "label_rms": 0.1795,
                "rmse_model": 0.1665,
                "rmse_model_error": 0.001,
                "rmse_pair": 0.1676,
                "rmse_pair_error": 0.001,
                "gain_over_pair": 0.0011,
                "gain_over_pair_error": 0.0002,
                "slope": 0.98,
                "noise_floor": None,
                "noise_floor_upper": 0.1664,
            },
            "pressure": {"residual_mean": 5.0, "residual_error": 11.0},
        },
        "caveats": ["A caveat of the analysis with <angle brackets> & an ampersand."],
    }


def write_analysis(folder: Path, content: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "analysis.json"
    path.write_text(json.dumps(analysis() if content is None else content))
    write_manifest(path, stage="analysis", inputs={}, seed=5)
    return folder


def write_all(base: Path) -> dict[str, Path]:
    """Folders of all stages; the keys are the arguments of a report."""
    rng = np.random.default_rng(0)
    train, deploy, dataset = (base / n for n in ("train", "deploy", "dataset"))
    for folder in (train, deploy, dataset):
        folder.mkdir(parents=True)
    label = 0.18 * rng.normal(size=(2000, 3))
    np.savez(train / "parity.npz", force_label=label, force_model=0.2 * label)
    epochs = range(1, 11)
    rows = [f"{e},{1 / e},{1.1 / e},{0.166 + 0.01 / e},{300 / e},12" for e in epochs]
    head = "epoch,train_loss,val_loss,val_force_rmse,val_pressure_residual_bar,"
    head += "val_pressure_residual_error_bar"
    (train / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")
    (train / "result.json").write_text(
        json.dumps(
            {
                "epochs": 10,
                "best_epoch": 9,
                "n_parameters": 1234,
                "prior": "spline",
                "loss_weights": {
                    "forces": 31.0,
                    "stress": 2.1e5,
                    "mean_pressure": 0.0,
                    "energy": None,
                    "per_type": {"BNZ": 2.0},
                },
            }
        )
    )
    r = np.arange(0.05, 10, 0.05)
    u = 0.02 * ((5.5 / r) ** 12 - 2 * (5.5 / r) ** 6)
    (train / "pair.json").write_text(
        json.dumps({"r_A": r.tolist(), "pairs": {"BNZ-BNZ": {"u_eV": u.tolist()}}})
    )
    write_manifest(train / "result.json", stage="training", inputs={}, seed=1)
    (deploy / "model.cgpot.json").write_text(
        json.dumps(
            {
                "bead_names": ["BNZ"],
                "masses": [78.114],
                "cutoff": 10.0,
                "units": {"energy": "eV", "length": "angstrom"},
                "dtype": "float32",
                "torch_version": "2.13.0",
                "sha256": {"model.nequip.pt2": "0123456789abcdef0000"},
                "verification": {
                    "frames": 3,
                    "tolerance": 1e-4,
                    "compiled": {"energy": 1.5e-7, "forces": 2e-6, "virial": 0.0},
                },
            }
        )
    )
    (dataset / "report.json").write_text(
        json.dumps(
            {
                "n_frames": 541,
                "n_runs": 1,
                "subsets": {"train": {"n_frames": 400}, "test": {"n_frames": 60}},
                "pressure_label_bar": {"mean": -34.4, "error": 9.2, "std": 208.0},
                "force_rms": 0.1795,
            }
        )
    )
    speed = base / "aa_speed.json"
    speed.write_text(
        json.dumps({"ns_per_day": 12.0, "engine": "LAMMPS", "n_molecules": 500, "threads": 1})
    )
    return {
        "analysis": write_analysis(base / "analysis"),
        "dataset": dataset,
        "train": train,
        "deploy": deploy,
        "aa_speed": speed,
    }
