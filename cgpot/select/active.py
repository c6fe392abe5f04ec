# SPDX-License-Identifier: GPL-2.0-or-later
"""Active learning: configurations on which an ensemble disagrees go back to the atomistic engine.

``cgpot md`` with a spread threshold leaves them in ``run.spread.extxyz``.  Here a few are chosen,
spread over the run, the most uncertain of each stretch, and for each a folder is written in which
the atomistic engine samples the mean force on just this configuration (or runs on from it; see
`cgpot.select.atomistic_runs`).  Frames of plain trajectories are judged here, by the members
of an ensemble (`cgpot.ensemble.trajectory_spread`).
The labels that come back (`cgpot map`) are averaged into one frame (`cgpot.select.averaging`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import open_text, read_json, require_file, write_json
from cgpot.core.manifest import write_manifest
from cgpot.ensemble.trajectory_spread import (
    SpreadFrame,
    evaluate_spread,
    load_members,
    write_spread,
)
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.select.atomistic_runs import AtomisticRuns, prepare

FORMAT = "cgpot-selection-1"
STAGE = "selection"
RESULT = "selection.json"
SELECTED = "selected.extxyz"
SPREAD_FRAMES = "run.spread.extxyz"
_SPREAD = re.compile(r"\bforce_spread_max=(\S+)")


@dataclass(frozen=True)
class Candidate:
    """A configuration with its largest force spread of a bead (eV/Å).

    ``frame.source_frame`` is the step of the run, ``frame.time`` its time in ps; ``mean`` is the
    mean over the beads, where it is known.
    """

    frame: CGFrame
    spread: float
    file: Path
    mean: float | None = None


def spreads(path: str | Path) -> list[float]:
    """Largest force spread of a bead in each frame that ``pair_style cgpot`` dumped, eV/Å.

    Raises:
        InputError: missing file, or a frame without the key force_spread_max.
    """
    p = require_file(path, "file of frames with their spread")
    found: list[float] = []
    with open_text(p) as stream:
        while line := stream.readline():
            if not line.strip().isdigit():
                raise InputError("expected a number of beads", file=p, frame=len(found))
            match = _SPREAD.search(stream.readline())
            if match is None:
                raise InputError(
                    "the frame does not say its spread; expected the file of 'action dump'",
                    file=p,
                    key="force_spread_max",
                    frame=len(found),
                )
            found.append(float(match[1]))
            for _ in range(int(line)):
                stream.readline()
    return found


def candidates(run: str | Path) -> list[Candidate]:
    """Configurations of a run folder (or a dumped file), one a step, in order of time.

    Where a restarted run repeated steps, the later ones count.

    Raises:
        InputError: no such file, or frames of another kind.
    """
    p = Path(run)
    file = p / SPREAD_FRAMES if p.is_dir() else p
    if p.is_dir() and not file.is_file():
        raise InputError(
            f"no {SPREAD_FRAMES}: no configuration was above the threshold, or the run had no "
            "spread_threshold with the action dump",
            file=p,
        )
    values = spreads(file)
    by_step = {}
    for number, (frame, spread) in enumerate(zip(read_frames(file), values, strict=True)):
        step = number if frame.source_frame is None else frame.source_frame
        by_step[step] = Candidate(frame, spread, file)
    return [by_step[step] for step in sorted(by_step)]


def thin(found: Sequence[Candidate], count: int) -> list[Candidate]:
    """At most `count` candidates: of each of `count` equal stretches the most uncertain one.

    Raises:
        ConfigError: a count below 1.
    """
    if count < 1:
        raise ConfigError(f"{count} frames asked for; expected at least 1", key="frames")
    stretches = np.array_split(np.arange(len(found)), min(count, len(found)))
    return [found[max(part, key=lambda k: found[k].spread)] for part in stretches if len(part)]


def judged(
    sources: Sequence[str | Path],
    models: Sequence[str | Path],
    *,
    stride: int = 1,
    threshold: float | None = None,
    threads: int = 1,
    quiet: bool = False,
) -> tuple[list[Candidate], list[SpreadFrame]]:
    """Frames of plain trajectories with the spread of an ensemble; those above the threshold.

    Args:
        sources: run folders, dumps or extxyz files.
        models: see `cgpot.ensemble.trajectory_spread.load_members`.
        stride: take every n-th frame.
        threshold: eV/Å; None: every frame is a candidate.
        threads: CPU threads.
        quiet: no progress bar.

    Raises:
        InputError: no frames, models that do not fit them, or no frame above the threshold.
    """
    every = evaluate_spread(
        sources, load_members(models), stride=stride, threads=threads, quiet=quiet
    )
    found = [
        Candidate(item.frame, float(item.spread.max()), item.file, float(item.spread.mean()))
        for item in every
        if threshold is None or item.spread.max() > threshold
    ]
    if not found:
        largest = max(float(item.spread.max()) for item in every)
        raise InputError(
            f"none of the {len(every)} frames has a force spread above {threshold:g} eV/Å; the "
            f"largest is {largest:.3g} eV/Å",
            file=sources[0],
            key="threshold",
        )
    return found, every


def select(
    runs: Sequence[str | Path],
    output: str | Path,
    *,
    count: int = 8,
    temperature: float | None = None,
    atomistic: AtomisticRuns | None = None,
    models: Sequence[str | Path] = (),
    stride: int = 1,
    threshold: float | None = None,
    threads: int = 1,
    quiet: bool = True,
) -> dict[str, Any]:
    """Choose configurations and write what the atomistic engine needs.

    Args:
        runs: folders of `cgpot md` or files of dumped frames; with `models` any trajectories.
        output: folder for selected.extxyz, selection.json, the atomistic runs (``frame.K/``),
            and with `models` spread.csv and spread.npz.
        count: at most this many, over all runs.
        temperature: K, of the atomistic runs; None: that of the first run folder.
        atomistic: settings of the atomistic runs; None: none are written.
        models: an ensemble that judges every frame of the trajectories.
        stride, threshold, threads: see `judged`.
        quiet: no progress bars.

    Returns:
        The content of selection.json.

    Raises:
        InputError: nothing to select from, runs of different systems, or molecules that cannot
            be built.
        ConfigError: a count below 1, no temperature, or settings that lack something.
    """
    if not runs:
        raise InputError("no runs given; expected folders of 'cgpot md' with a spread_threshold")
    if not models and (threshold is not None or stride != 1):
        raise ConfigError(
            "needs --model: dumped frames were chosen while the run went on",
            key="stride" if threshold is None else "threshold",
        )
    if atomistic is not None:
        atomistic.check()
    every: list[SpreadFrame] = []
    if models:
        found, every = judged(
            runs, models, stride=stride, threshold=threshold, threads=threads, quiet=quiet
        )
    else:
        found = [candidate for run in runs for candidate in candidates(run)]
    for candidate in found:
        if not candidate.frame.topology.same_as(found[0].frame.topology):
            raise InputError(
                f"another system than in {found[0].file}", file=candidate.file,
                frame=candidate.frame.source_frame,
            )  # fmt: skip
    chosen = thin(found, count)
    if temperature is None and (atomistic is not None or not models):
        temperature = _temperature(runs)
    prepared = None
    if atomistic is not None and temperature is not None:
        prepared = prepare([c.frame for c in chosen], atomistic, temperature, quiet=quiet)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / SELECTED, (candidate.frame for candidate in chosen))
    written = [folder / SELECTED]
    if every:
        written += write_spread(folder, every)
    for k, write in enumerate(prepared.writers if prepared else ()):
        written += write(folder / f"frame.{k}")
    record = {
        "format": FORMAT,
        "candidates": len(found),
        "temperature_K": temperature,
        "frames": [
            {
                "folder": f"frame.{k}" if prepared else None,
                "source": _source(candidate.file),
                "step": candidate.frame.source_frame,
                "time_ps": candidate.frame.time,
                "force_spread_max": candidate.spread,
                **({} if candidate.mean is None else {"force_spread_mean": candidate.mean}),
                **(prepared.facts[k] if prepared else {}),
            }
            for k, candidate in enumerate(chosen)
        ],
        "commands": list(prepared.commands) if prepared else [],
        "notes": list(prepared.notes) if prepared else [],
    }
    write_json(folder / RESULT, record)
    write_manifest(
        folder / RESULT,
        stage=STAGE,
        inputs={"frames": sorted({c.file for c in chosen if c.file.is_file()})},
        outputs=written,
        config={
            "count": count,
            "temperature": temperature,
            "length_ps": None if atomistic is None else atomistic.length_ps,
            "engine": None if atomistic is None else atomistic.engine,
            "models": [str(model) for model in models],
            "threshold": threshold,
        },
        seed=None if atomistic is None else atomistic.seed,
    )
    return record


def _source(file: Path) -> str:
    return file.name if file.is_dir() else f"{file.parent.name}/{file.name}"


def _temperature(runs: Sequence[str | Path]) -> float:
    """Temperature of the first run folder, K, from its md.json (absent in a run that stopped)."""
    for run in runs:
        for name, key in (("md.json", "temperature_K"), ("settings.json", "temperature")):
            file = Path(run) / name
            if file.is_file() and (value := read_json(file).get(key)) is not None:
                return float(value)
    raise ConfigError(
        "give the temperature of the atomistic runs in K (the sources name none)",
        key="temperature",
    )
