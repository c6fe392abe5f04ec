# SPDX-License-Identifier: GPL-2.0-or-later
"""Active learning: configurations on which an ensemble disagrees go back to the atomistic engine.

``cgpot md`` with a spread threshold leaves them in ``run.spread.extxyz``.  Here a few are chosen,
spread over the run, the most uncertain of each stretch, and for each a folder is written in which
the atomistic engine samples the mean force on just this configuration (deck aa_benzene_held).
The labels that come back (`cgpot map`) are averaged into one frame: a mean force has less noise
than a single frame by the square root of the number of independent samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.extxyz import read_frames, write_frames
from cgpot.core.files import open_text, read_json, require_file, write_json, write_text
from cgpot.core.frame import CGFrame
from cgpot.core.manifest import write_manifest

FORMAT = "cgpot-selection-1"
STAGE = "selection"
RESULT = "selection.json"
SELECTED = "selected.extxyz"
SPREAD_FRAMES = "run.spread.extxyz"
DECK = "aa_benzene_held"
SAME_SITE = 0.05
"""Å: frames of a held run whose sites lie further apart were not held."""
_SPREAD = re.compile(r"\bforce_spread_max=(\S+)")


@dataclass(frozen=True)
class Candidate:
    """A configuration with its largest force spread of a bead (eV/Å).

    ``frame.source_frame`` is the step of the run, ``frame.time`` its time in ps.
    """

    frame: CGFrame
    spread: float
    file: Path


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


def select(
    runs: Sequence[str | Path],
    output: str | Path,
    *,
    count: int = 8,
    temperature: float | None = None,
    length_ps: float = 20.0,
    mapping: str | Path | None = None,
    atomistic: bool = True,
    seed: int = 1,
) -> dict[str, Any]:
    """Choose configurations and write what the atomistic engine needs.

    Args:
        runs: folders of `cgpot md`, or files of dumped frames.
        output: folder for selected.extxyz, selection.json and ``frame.K/`` with system.data
            and in.deck.
        count: at most this many, over all runs.
        temperature: K, of the atomistic runs; None: that of the first run folder.
        length_ps: length of each atomistic run, ps.
        mapping: mapping file, named in the commands of selection.json.
        atomistic: write the folders of the atomistic runs (benzene, one site a molecule).
        seed: of orientations, velocities and baths.

    Returns:
        The content of selection.json.

    Raises:
        InputError: nothing to select from, runs of different systems, or molecules that cannot
            be built.
        ConfigError: a count below 1, or no temperature.
    """
    from cgpot.lammps.aa_benzene import write_aa_data
    from cgpot.lammps.backmap import benzene_box
    from cgpot.lammps.deck import deck_path, fill_deck

    found = [candidate for run in runs for candidate in candidates(run)]
    if not found:
        raise InputError("no runs given; expected folders of 'cgpot md' with a spread_threshold")
    for candidate in found:
        if not candidate.frame.topology.same_as(found[0].frame.topology):
            raise InputError(
                f"another system than in {found[0].file}", file=candidate.file,
                frame=candidate.frame.source_frame,
            )  # fmt: skip
    chosen = thin(found, count)
    if temperature is None:
        temperature = _temperature(runs)
    boxes = [benzene_box(c.frame, seed + k) for k, c in enumerate(chosen)] if atomistic else []
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / SELECTED, (candidate.frame for candidate in chosen))
    written = [folder / SELECTED]
    for k, box in enumerate(boxes):
        # half of the shortest edge bounds the cutoff of small test systems
        cutoff = min(12.0, round(0.45 * float(box.edges.min()), 3))
        text = fill_deck(
            deck_path(DECK),
            {
                "data": "system.data", "temperature": temperature, "length_ps": length_ps,
                "seed": 12345 + seed + k, "cutoff": cutoff,
            },
        )  # fmt: skip
        written.append(write_aa_data(folder / f"frame.{k}" / "system.data", box))
        written.append(write_text(folder / f"frame.{k}" / "in.deck", text))
    record = {
        "format": FORMAT,
        "candidates": len(found),
        "temperature_K": temperature,
        "frames": [
            {
                "folder": f"frame.{k}" if atomistic else None,
                "source": candidate.file.parent.name + "/" + candidate.file.name,
                "step": candidate.frame.source_frame,
                "time_ps": candidate.frame.time,
                "force_spread_max": candidate.spread,
            }
            for k, candidate in enumerate(chosen)
        ],
        "commands": _commands(mapping) if atomistic else [],
    }
    write_json(folder / RESULT, record)
    write_manifest(
        folder / RESULT,
        stage=STAGE,
        inputs={"frames": sorted({candidate.file for candidate in chosen})},
        outputs=written,
        config={"count": count, "temperature": temperature, "length_ps": length_ps},
        seed=seed,
    )
    return record


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


def _commands(mapping: str | Path | None) -> list[str]:
    """What to run in each ``frame.K`` folder, and then beside them."""
    name = "mapping.yaml" if mapping is None else str(Path(mapping).resolve())
    return [
        "lmp -in in.deck -log run.0.log",
        f"cgpot map {name} --topology system.data --trajectory run.0.dump --energy run.0.log "
        "--output held.extxyz",
        "cgpot select --average frame.*/held.extxyz --output labelled.extxyz",
    ]


def mean_frame(frames: Iterable[CGFrame], file: str | Path | None = None) -> CGFrame:
    """One frame with the mean labels of frames whose sites were held.

    Args:
        frames: frames of the same configuration with forces (and virials).
        file: named in errors.

    Returns:
        Mean positions, forces (n, 3) and, where all frames have one, virial (3, 3).

    Raises:
        InputError: no frames.
        DataError: no forces, or sites that moved.
    """
    every = list(frames)
    if not every:
        raise InputError("no frames to average", file=file)
    first = every[0]
    inverse = np.linalg.inv(first.cell)
    positions, forces = [], []
    for number, frame in enumerate(every):
        if frame.forces is None:
            raise DataError("the frame has no forces", file=file, frame=number)
        moved = (frame.positions - first.positions) @ inverse
        moved = (moved - np.round(moved)) @ first.cell
        largest = float(np.linalg.norm(moved, axis=1).max())
        if largest > SAME_SITE or not np.allclose(frame.cell, first.cell, atol=1e-6):
            raise DataError(
                f"a site moved by {largest:.3f} Å; expected a run with the centres held (deck "
                f"{DECK})",
                file=file,
                frame=number,
            )
        positions.append(first.positions + moved)
        forces.append(frame.forces)
    virials = [frame.virial for frame in every if frame.virial is not None]
    return replace(
        first,
        positions=np.mean(positions, axis=0),
        forces=np.mean(forces, axis=0),
        virial=np.mean(virials, axis=0) if len(virials) == len(every) else None,
        time=None,
        source_frame=None,
    )


def average(files: Sequence[str | Path], output: str | Path) -> int:
    """Write one mean frame for each mapped held run; returns their number.

    Raises:
        InputError, DataError: see `mean_frame`.
    """
    frames = [mean_frame(read_frames(file), file) for file in files]
    if not frames:
        raise InputError("no data sets given; expected those of 'cgpot map' of held runs")
    count = write_frames(output, (replace(f, source_frame=k) for k, f in enumerate(frames)))
    write_manifest(output, stage=STAGE, inputs={"held": list(files)}, config={"average": True})
    return count
