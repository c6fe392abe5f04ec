# SPDX-License-Identifier: GPL-2.0-or-later
"""Run CG molecular dynamics in LAMMPS: fill a deck, run it, continue it, collect it.

A run folder holds ``in.deck`` and ``system.data``, for each segment N (a start or restart)
``run.N.log``, ``run.N.out``, ``run.N.dump``, two restart files written in turn, and at the
end ``thermo.csv``, ``traj.extxyz.xz``, ``md.json`` and its manifest.  The same command
continues a run that was killed, from its newest whole restart file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cgpot.core.errors import ConfigError, DataError, ToolError
from cgpot.core.files import read_json, sha256_file, write_json, write_text
from cgpot.core.manifest import manifest_path, write_manifest
from cgpot.core.progress import progress
from cgpot.formats.lammps.bonded_sections import BondedSections
from cgpot.formats.lammps.cg_data import style_of, write_data
from cgpot.formats.lammps.log import cpu_use
from cgpot.md.compiled_models import batch_file, check_members, model_file, model_files
from cgpot.md.deck import Value, deck_path, fill_deck
from cgpot.md.engine import Failure, diagnose, find_lammps, folder_lock, run_lammps
from cgpot.md.md_settings import MAY_CHANGE, MdConfig, MdEnsemble
from cgpot.md.outputs import (
    merged_thermo,
    production_table,
    segment_files,
    write_thermo_csv,
    write_trajectory,
)
from cgpot.md.restart import newest_restart
from cgpot.md.start import (
    check_model,
    check_pair_file,
    model_terms,
    pair_file_sidecar,
    pair_file_terms,
    read_start,
    scale_to_density,
    sidecar_path,
)
from cgpot.molecules.charges import no_coulomb
from cgpot.molecules.frame import CGFrame

FORMAT = "cgpot-md-1"
TRAJECTORY = "traj.extxyz.xz"
THERMO = "thermo.csv"
RESULT = "md.json"
SPREAD_FRAMES = "run.spread.extxyz"
"""Configurations at which an ensemble disagreed, written by ``pair_style cgpot``."""
SETTINGS = "settings.json"
EXPLOSION_FACTOR = 10.0


def run_md(
    ensemble: MdEnsemble,
    config: MdConfig,
    folder: str | Path,
    *,
    fresh: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run, or continue, CG molecular dynamics.

    Args:
        ensemble: nvt, npt or nve.
        config: settings.
        folder: run folder, created if need be.
        fresh: start anew: remove the files of an earlier run from the folder first.
        quiet: no progress bar.

    Returns:
        The content of md.json: ``complete`` is False when the walltime came first.

    Raises:
        ConfigError: settings that do not fit, or a folder of a run with other settings.
        InputError: a starting configuration or model that does not fit.
        ToolError: LAMMPS failed or the simulation blew up (recorded in md.json too).
    """
    where = Path(folder)
    frame = read_start(config.start, config.frame)
    sidecar = None
    models: list[Path] = []
    if config.model is not None:
        models = model_files(config.model)
        config = config.model_copy(update={"model": model_file(config.model)})
        check_members(config, len(models))
        sidecars = [check_model(path, frame.topology, config.start) for path in models]
        sidecar = sidecars[0]
    bonded = include = None
    if sidecar is not None:
        found = model_terms(models[0], sidecar, frame.topology, config.start)
        bonded, include = (None, None) if found is None else found
    tables = None
    if config.pair_file is not None:
        tables = check_pair_file(config.pair_file, frame.topology, config.start)
        bonded = pair_file_terms(config.pair_file, frame.topology, config.start)
    temperature = config.temperature or next(
        (record.temperature for record in (sidecar, tables) if record is not None), None
    )
    if temperature is None:
        raise ConfigError("give a temperature in K (the potential names none)", key="temperature")
    if config.density_kg_m3 is not None:
        frame = scale_to_density(frame, config.density_kg_m3)
    lammps = find_lammps(config.lammps, config.threads, config.ranks)
    deck = config.deck or deck_path(f"cg_{ensemble}")
    values = _deck_values(ensemble, config, float(temperature), frame, models)
    if include is not None:
        values["bonded_file"] = str(include.resolve())
    if style_of(frame.topology) != "molecular":
        values["atom_style"] = style_of(frame.topology)
    text = fill_deck(deck, values)

    where.mkdir(parents=True, exist_ok=True)
    with folder_lock(where) as lock:
        if fresh:
            _clear(where)
        described = None
        if bonded is not None:
            described = (
                sidecar_path(models[0]) if models else pair_file_sidecar(str(config.pair_file))
            )
        _claim(where, ensemble, config, described)
        write_data(where / "system.data", frame, bonded=bonded)
        write_text(where / "in.deck", text)
        total = config.steps(config.length_ps)
        newest = newest_restart(where)
        first = newest[1] if newest else 0
        failure: Failure | None = None
        if first < total:
            number = len(segment_files(where, "log"))
            log, screen = where / f"run.{number}.log", where / f"run.{number}.out"
            arguments = ["-in", "in.deck", "-log", log.name, "-var", "segment", str(number)]
            if newest:
                arguments += ["-var", "restart", newest[0].name]
            with progress(f"{ensemble} md, steps", total, quiet=quiet) as advance:
                advance(first)
                status = run_lammps(
                    lammps,
                    arguments,
                    folder=where,
                    log=log,
                    screen=screen,
                    advance=advance,
                    first_step=first,
                    lock=lock,
                )
            if status != 0:
                failure = diagnose(status, log, screen, config.timestep_fs)
        return _collect(where, ensemble, config, float(temperature), frame, failure, bonded)


def _deck_values(
    ensemble: MdEnsemble, config: MdConfig, temperature: float, frame: CGFrame, models: list[Path]
) -> dict[str, Value]:
    values: dict[str, Value] = {
        "data": "system.data",
        "out": "run",
        "temperature": temperature,
        "length_ps": config.steps(config.length_ps) * config.timestep_fs / 1000.0,
        "timestep_fs": config.timestep_fs,
        "seed": config.seed,
        "nx": config.replicate[0],
        "ny": config.replicate[1],
        "nz": config.replicate[2],
        "minimize": "yes" if config.minimize else "no",
        "thermo_every": config.steps(config.thermo_ps),
        "dump_every": config.steps(config.dump_ps),
        "dump_extra": "fx fy fz" if config.dump_forces else " ",
        "restart_every": config.steps(config.restart_ps),
        "walltime": config.walltime,
        "temp_max": config.temperature_max or EXPLOSION_FACTOR * temperature,
        "skin": config.skin,
    }
    if ensemble != "nve":
        chosen = config.thermostat or ("langevin" if ensemble == "nvt" else "nose-hoover")
        values["thermostat"] = chosen.replace("-", "_")
        if config.tdamp_ps is not None:
            values["tdamp_ps"] = config.tdamp_ps
    if ensemble == "npt":
        values["pressure"] = config.pressure_bar
        values["barostat"] = config.barostat.replace("-", "_")
        values["pdamp_ps"] = config.pdamp_ps
    if config.model is not None:
        batch = None if config.member is not None else batch_file(config.model)
        run = models if batch is None else [batch]
        values["model"] = tuple(str(path.resolve()) for path in run)
        values["beads"] = " ".join(frame.topology.type_names)
        values.update(_ensemble_values(config))
    elif config.pair_file is not None:
        values["pair_file"] = str(config.pair_file.resolve())
    return values


def _ensemble_values(config: MdConfig) -> dict[str, Value]:
    """Variables for an ensemble; none where the settings ask for nothing (other decks)."""
    options = []
    if config.member is not None:
        options.append(f"use {config.member}")
    if config.spread_threshold is not None:
        action = config.spread_action
        file = f" {SPREAD_FRAMES}" if action == "dump" else ""
        options.append(f"threshold {config.spread_threshold!r} action {action}{file}")
    values: dict[str, Value] = {}
    if config.spread_every:
        values["spread_every"] = config.spread_every
    if options:
        values["cgpot_options"] = " ".join(options)
    return values


def _clear(folder: Path) -> None:
    """Remove the files that a run writes; others stay."""
    names = [TRAJECTORY, THERMO, RESULT, SETTINGS, "in.deck", "system.data", "run.final.data"]
    names.append(SPREAD_FRAMES)
    files = [folder / name for name in names]
    files.append(manifest_path(folder / RESULT))
    for ending in ("log", "out", "dump"):
        files += segment_files(folder, ending)
    files += folder.glob("run.restart.*")
    for path in files:
        path.unlink(missing_ok=True)


def _claim(
    folder: Path, ensemble: MdEnsemble, config: MdConfig, tables: Path | None = None
) -> None:
    """Record the settings of the run, or compare them with those recorded.

    With ``tables``, the sidecar of bonded tables, also what it holds: their hashes.

    Raises:
        ConfigError: the folder belongs to a run with other settings; the key is named.
    """
    settings = config.model_dump(mode="json")
    for key in ("start", "model", "pair_file", "deck"):
        path = getattr(config, key)
        settings[key] = None if path is None else str(Path(path).resolve())
        settings[f"{key}_sha256"] = None if path is None else sha256_file(path)
    settings["ensemble"] = ensemble
    if tables is not None:
        settings["sidecar_sha256"] = sha256_file(tables)
    path = folder / SETTINGS
    if path.is_file():
        before = read_json(path)
        for key, value in settings.items():
            # A file may move, but not change.
            moved = f"{key}_sha256" in settings
            # Nor does a setting that is newer than the run, left at its default.
            default = MdConfig.model_fields[key].default if key in MdConfig.model_fields else None
            if key in MAY_CHANGE or moved or before.get(key, default) == value:
                continue
            raise ConfigError(
                f"the folder holds a run with {before.get(key)!r}, not {value!r}; "
                "choose another folder, or start anew with --fresh",
                file=path,
                key=key,
            )
    elif segment_files(folder, "log"):
        raise ConfigError(
            f"the folder holds logs of a run but no {SETTINGS}; choose another folder, or start "
            "anew with --fresh",
            file=folder,
        )
    write_json(path, settings)


def _collect(
    folder: Path,
    ensemble: MdEnsemble,
    config: MdConfig,
    temperature: float,
    frame: CGFrame,
    failure: Failure | None,
    bonded: BondedSections | None = None,
) -> dict[str, Any]:
    """Write thermo.csv, the trajectory, md.json and the manifest."""
    logs = segment_files(folder, "log")
    total = config.steps(config.length_ps)
    segments: list[dict[str, Any]] = []
    for log in logs:
        table = production_table(log)
        if len(table):
            steps = table["Step"]
            text = log.read_text(encoding="utf-8", errors="replace")
            segments.append(
                {
                    "log": log.name,
                    "first_step": int(steps[0]),
                    "last_step": int(steps[-1]),
                    "wall_seconds": float(table["CPU"][-1]),
                    "cpu_use_percent": cpu_use(text),
                    "ranks": _ranks(text),
                    "ended": table.complete,
                }
            )
    done = segments[-1]["last_step"] if segments else 0
    wall = sum(s["wall_seconds"] for s in segments)
    ran_ns = sum(s["last_step"] - s["first_step"] for s in segments) * config.timestep_fs * 1e-6
    failures = _earlier_failures(folder / RESULT)
    if failure is not None:
        failures.append(
            {"log": logs[-1].name, "step": failure.step, "message": failure.message.split("\n")[0]}
        )
    copies = config.replicate[0] * config.replicate[1] * config.replicate[2]
    result: dict[str, Any] = {
        "format": FORMAT,
        "ensemble": ensemble,
        "complete": failure is None and done >= total,
        "steps": done,
        "steps_requested": total,
        "timestep_fs": config.timestep_fs,
        "ns": round(done * config.timestep_fs * 1e-6, 9),
        "ns_per_day": ran_ns / wall * 86400.0 if wall > 0 else None,
        "wall_seconds": wall,
        "threads": config.threads,
        "ranks": config.ranks,
        "temperature_K": temperature,
        "pressure_bar": config.pressure_bar if ensemble == "npt" else None,
        "start_density_kg_m3": frame.density,
        "n_sites": frame.topology.n_sites * copies,
        "bead_names": list(frame.topology.type_names),
        "potential": "cgpot" if config.model is not None else "pair_file",
        "lammps": _version(logs[-1]) if logs else None,
        "segments": segments,
        "failures": failures,
    }
    if config.model is not None and any(frame.topology.type_charges):
        result["warnings"] = [no_coulomb(frame.topology)]
    if bonded is not None:
        result["bonded"] = {word: len(rows) * copies for word, rows in bonded.terms.items()}
    if failure is not None:
        write_json(folder / RESULT, result)
        raise ToolError(failure.message, file=folder)
    try:
        table = merged_thermo(logs)
    except DataError as err:
        failures.append({"log": logs[-1].name, "step": None, "message": str(err)})
        result["complete"] = False
        write_json(folder / RESULT, result)
        raise
    write_thermo_csv(folder / THERMO, table, config.steps(config.thermo_ps))
    result["frames"] = write_trajectory(
        folder / TRAJECTORY,
        segment_files(folder, "dump"),
        frame.topology,
        config.steps(config.dump_ps),
    )
    write_json(folder / RESULT, result)
    inputs: dict[str, Any] = {"start": config.start}
    if config.model is not None:
        models = model_files(config.model)
        inputs["model"] = models
        inputs["sidecar"] = [sidecar_path(path) for path in models]
    if config.pair_file is not None:
        inputs["pair_file"] = config.pair_file
        if bonded is not None and (beside := pair_file_sidecar(config.pair_file)) is not None:
            inputs["sidecar"] = beside
    write_manifest(
        folder / RESULT,
        stage="lammps",
        inputs=inputs,
        outputs=[
            folder / name
            for name in (TRAJECTORY, THERMO, "in.deck", "system.data", SPREAD_FRAMES)
            if name != SPREAD_FRAMES or (folder / name).is_file()
        ],
        config={"ensemble": ensemble, **config.model_dump(mode="json")},
        seed=config.seed,
    )
    return result


def _earlier_failures(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return list(read_json(path).get("failures", []))


def _ranks(text: str) -> int | None:
    """MPI ranks that the text of a log tells of; None without a box."""
    match = re.search(r"(\d+) by (\d+) by (\d+) MPI processor grid", text)
    return int(match[1]) * int(match[2]) * int(match[3]) if match else None


def _version(log: Path) -> str | None:
    with open(log, encoding="utf-8", errors="replace") as stream:
        match = re.match(r"LAMMPS \((.*)\)", stream.readline())
    return match[1] if match else None
