# SPDX-License-Identifier: GPL-2.0-or-later
"""Columns of results.csv, in order."""

from __future__ import annotations

from cgpot.analysis.observables.registry import OBSERVABLES

COLUMNS: dict[str, str] = {
    "point": "name of the point",
    "family": "family of models (colour in the plots)",
    "model": "type of the model",
    "settings": "what the point changes",
    "loss": "labels that the loss uses",
    "frames": "training frames",
    "seed": "seed",
    "epochs": "epochs trained",
    "cutoff_A": "cutoff, Å",
    "l_max": "highest rotation order of the features",
    "parameters": "weights of the model",
    "force_rmse_eV_A": "RMSE of the held-out forces, eV/Å",
    "force_rmse_pair_fit_eV_A": "the same of the plain pair fit, eV/Å",
    "stress_rmse_eV_A3": "RMSE of the held-out stress, eV/Å³",
    "pressure_residual_bar": "mean pressure residual on held-out frames, bar",
    "pressure_residual_error_bar": "its standard error, bar",
    **{name: text for kind in OBSERVABLES for name, text in kind.headlines.items()},
    "pressure_bar": "pressure of the CG fluid at the atomistic density, bar",
    "pressure_error_bar": "its standard error, bar",
    "pressure_aa_bar": "atomistic pressure, bar",
    "pressure_aa_error_bar": "its standard error, bar",
    "density_kg_m3": "density of the CG fluid at the reference pressure, kg/m³",
    "density_error_kg_m3": "its standard error, kg/m³",
    "density_aa_kg_m3": "atomistic density, kg/m³",
    "density_aa_error_kg_m3": "its standard error, kg/m³",
    "npt_phase": "what the fluid became at the reference pressure: liquid (density within 20 % of "
    "the atomistic one), boiled (less), dense (more), failed",
    "diffusion_m2_s": "diffusion coefficient of the CG fluid (NVT), m²/s",
    "diffusion_error_m2_s": "its standard error, m²/s",
    "energy_drift_per_ps": "drift of the energy (NVE), of the kinetic energy, per ps",
    "stable_ns": "simulated time at constant volume without a failure, ns",
    "ns_per_day": "speed at constant volume, ns/day",
    "cpu_use_percent": "CPU use of that run, per cent of one core",
    "speed_measured": "alone: a run of its own with no other of the study beside it (--speed); "
    "beside others: the NVT run, whatever ran beside it",
    "train_seconds": "time of the training stage, s",
    "compile_seconds": "time of the deployment stage, s",
    "state": "done, failed, or waiting",
    "failure": "what failed",
}
"""Column -> what it means."""

TEXT = (
    *("point", "family", "model", "settings", "loss", "npt_phase", "speed_measured", "state"),
    "failure",
)
NUMBERS = tuple(name for name in COLUMNS if name not in TEXT)
"""Columns that a search may have as its objective."""
