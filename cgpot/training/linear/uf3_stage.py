# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot train` for models of type uf3: fit, evaluate, and write LAMMPS's files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cgpot.core.errors import ConfigError
from cgpot.core.extxyz import write_frames
from cgpot.core.files import read_json, write_json
from cgpot.core.frame import CGFrame
from cgpot.core.lammps_table import POINTS, pair_keys, write_lammps_table
from cgpot.core.manifest import manifest_path, write_manifest
from cgpot.core.progress import progress
from cgpot.core.splines import PairTable
from cgpot.training import evaluate as ev
from cgpot.training import run as stage
from cgpot.training.config import TrainConfig
from cgpot.training.linear.uf3 import UF3Potential, fit_uf3
from cgpot.training.model_config import UF3Config
from cgpot.training.states import resolve_temperature

POTENTIAL = "uf3.json"
FILES = ("model.uf3", "model.table")
PAIR_FIT = "pair_fit.json"


def train_uf3(
    config: TrainConfig, output: str | Path, *, restart: bool = False, quiet: bool = False
) -> stage.Outcome:
    """Fit UF3 and evaluate it on the held-out frames; a complete folder is left alone.

    Args:
        config: with a section ``model`` of type uf3.
        output: folder for all files.
        restart: replace what was fitted from other inputs.
        quiet: no progress bars.

    Raises:
        ConfigError: another type of model.
        InputError: labels missing, bead names that differ, or a folder of another run.
        DataError: too few pairs or a singular system.
    """
    model = config.model
    if not isinstance(model, UF3Config):
        raise ConfigError(f"expected a model of type 'uf3', found {model.type!r}", key="model")
    folder = stage.Folder(Path(output).resolve())
    folder.path.mkdir(parents=True, exist_ok=True)
    identity = stage.fingerprint(config)
    identity.pop("versions", None)
    earlier = stage.earlier_fit(folder, identity, restart=restart)
    if earlier is not None:
        return earlier
    start = time.monotonic()
    frames = stage._load(config)
    config, warnings = resolve_temperature(config, frames)
    if config.data.report is not None:
        stage._check_report(config, frames["train"])
    temperature = config.temperature
    stress = config.loss.stress not in (None, 0)
    write_json(folder.inputs, identity)
    train = frames["train"]
    potential = fit_uf3(model, train, temperature, stress=stress, quiet=quiet)
    # the yardstick is the plain pair fit: forces alone
    plain = UF3Config(cutoff=model.cutoff, spacing=model.spacing, three_body_cutoff=None, energy=0)
    pair = fit_uf3(plain, train, temperature, stress=False, quiet=True).pair
    _write_potential(folder, potential, model)
    pair.write(folder.path / PAIR_FIT)
    write_frames(folder.example, train[:: max(1, len(train) // 4)][:4])
    result = evaluate_potential(folder, potential, pair, frames["test"], quiet=quiet)
    topology = train[0].topology
    overlay = model.overlay and potential.grid is not None
    result |= {
        "format": stage.RESULT_FORMAT,
        "kind": "uf3",
        "epochs": None,
        "best_epoch": None,
        "n_parameters": potential.info["fitted"],
        "n_train": len(train),
        "n_val": len(frames["val"]),
        "n_test": len(frames["test"]),
        "seconds": round(time.monotonic() - start, 2),
        "frames_per_second": round(len(train) / (time.monotonic() - start), 3),
        "bead_names": list(topology.type_names),
        "masses": list(topology.type_masses),
        "cutoff": potential.cutoff,
        "temperature": temperature,
        "density_kg_m3": float(np.mean([frame.density for frame in train])),
        "dtype": "float64",
        "fit": potential.info,
        "lammps": {
            "files": list(FILES if overlay else FILES[:1]),
            "commands": pair_commands(potential, overlay),
        },
        "warnings": warnings,
        "wall_seconds": round(time.monotonic() - start, 2),
    }
    write_json(folder.result, result)
    _manifest(config, folder)
    return stage.Outcome(folder.path, result)


def replace_potential(
    config: TrainConfig,
    output: str | Path,
    potential: UF3Potential,
    facts: dict[str, Any],
    *,
    quiet: bool = False,
) -> stage.Outcome:
    """Put another potential of the same form into a finished folder, and evaluate it anew.

    Args:
        config: that the folder was made with.
        output: the folder.
        potential: takes the place of the fitted one.
        facts: where it comes from; key ``matching`` of result.json.
        quiet: no progress bars.

    Raises:
        ConfigError: another type of model.
    """
    model = config.model
    if not isinstance(model, UF3Config):
        raise ConfigError(f"expected a model of type 'uf3', found {model.type!r}", key="model")
    folder = stage.Folder(Path(output).resolve())
    result = read_json(folder.result)
    manifest_path(folder.result).unlink(missing_ok=True)
    _write_potential(folder, potential, model)
    pair = PairTable.read(folder.path / PAIR_FIT)
    test = stage._load(config)["test"]
    result |= evaluate_potential(folder, potential, pair, test, quiet=quiet)
    result["matching"] = facts
    write_json(folder.result, result)
    _manifest(config, folder)
    return stage.Outcome(folder.path, result)


def _write_potential(folder: stage.Folder, potential: UF3Potential, model: UF3Config) -> None:
    potential.write(folder.path / POTENTIAL)
    potential.write_lammps(folder.path / FILES[0], pair=not model.overlay)
    write_lammps_table(folder.path / FILES[1], potential.pair)


def _manifest(config: TrainConfig, folder: stage.Folder) -> None:
    names = (POTENTIAL, PAIR_FIT, *FILES, folder.example.name, folder.parity.name)
    write_manifest(
        folder.result,
        stage=stage.STAGE,
        inputs=dict(config.data.files),
        outputs=[folder.path / name for name in names],
        config=json.loads(config.model_dump_json(exclude={"data"})),
        seed=config.seed,
        extra={"temperature": config.temperature},
    )


def pair_commands(potential: UF3Potential, overlay: bool) -> list[str]:
    """LAMMPS's commands for the files, which stand in ``${pair_folder}``.

    Args:
        potential: the potential.
        overlay: the pair part as a table beside the three-body part.
    """
    names = " ".join(potential.type_names)
    bodies = 2 if potential.grid is None else 3
    if not overlay:
        return [f"pair_style uf3 {bodies}", f"pair_coeff * * ${{pair_folder}}/{FILES[0]} {names}"]
    lines = [f"pair_style hybrid/overlay table linear {POINTS} uf3 {bodies}"]
    for a, b, key in pair_keys(potential.pair):
        lines.append(f"pair_coeff {a} {b} table ${{pair_folder}}/{FILES[1]} {key}")
    return [*lines, f"pair_coeff * * uf3 ${{pair_folder}}/{FILES[0]} {names}"]


class Labels(Protocol):
    """A potential that labels frames."""

    def labels(self, frame: CGFrame) -> tuple[np.ndarray, np.ndarray, float]:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV."""
        ...


def evaluate_potential(
    folder: stage.Folder,
    potential: Labels,
    pair: PairTable,
    test: list[CGFrame],
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Errors of a linear potential and of the pair fit on the test frames; writes parity.npz."""
    energies: list[float] = []
    with progress("evaluating", len(test), quiet=quiet) as advance:

        def uf3(frame: CGFrame) -> tuple[np.ndarray, np.ndarray]:
            advance(1)
            forces, virial, energy = potential.labels(frame)
            energies.append(energy / frame.topology.n_sites)
            return forces, virial

        errors, arrays = ev.evaluate(test, uf3)
    pair_errors, pair_arrays = ev.evaluate(test, lambda frame: ev.pair_labels(pair, frame))
    labels = ev.label_arrays(test)
    ev.save_parity(folder.parity, ev.parity_arrays(labels, arrays, pair_arrays))
    energy_rmse = None
    if all(frame.energy is not None for frame in test):
        difference = np.array(energies) - [
            float(frame.energy or 0.0) / frame.topology.n_sites for frame in test
        ]
        energy_rmse = float(np.std(difference))
    return {
        "force_rmse": errors["force_rmse"],
        "force_rmse_pair_fit": pair_errors["force_rmse"],
        "force_label_rms": float(np.sqrt(np.mean(labels["force"] ** 2))),
        "stress_rmse": errors["stress_rmse"],
        "stress_rmse_pair_fit": pair_errors["stress_rmse"],
        "pressure_residual_bar": errors["pressure_residual_bar"],
        "pressure_residual_bar_pair_fit": pair_errors["pressure_residual_bar"],
        "energy_rmse_per_site": energy_rmse,
    }
