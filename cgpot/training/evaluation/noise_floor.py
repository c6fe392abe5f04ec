# SPDX-License-Identifier: GPL-2.0-or-later
"""The noise floor of force labels, from repeated sampling with the CG sites held fixed.

A mapped force is the mean force at R plus noise of the removed degrees of freedom; the variance
Var(F|R) cannot be fitted by any potential of R, and is the floor of the mean square force error
(Noid et al., J. Chem. Phys. 128, 244114 (2008)).  In a run with the sites held fixed every frame
has the same R: the mean over frames is the mean force, the spread is the noise.  The constraint
forces that hold the sites must not be among the mapped forces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError
from cgpot.core.files import read_json, sha256_file, write_json
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame

FORMAT = "cgpot-noise-1"
NAME = "noise.json"
"""File beside a data set that `cgpot evaluate` takes by itself."""
MIN_FRAMES = 4
TOLERANCE = 0.01
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ConditionalMean:
    """One configuration of the sites, sampled repeatedly.

    Attributes:
        frame: the sites with the mean force (and virial); its weight is the number of
            independent samples.
        variance: (n, 3), Var(F|R) of each force component, (eV/Å)^2.
        n_frames: frames behind it.
        inefficiency: frames per independent sample.
    """

    frame: CGFrame
    variance: Array
    n_frames: int
    inefficiency: float


def conditional_mean(
    path: str | Path, *, tolerance: float = TOLERANCE, skip: int = 0
) -> ConditionalMean:
    """Mean force and its noise from one mapped run with fixed sites.

    Args:
        path: mapped file.
        tolerance: Å; how far a site may be from its mean position.
        skip: frames to leave out at the start.

    Raises:
        DataError: fewer than four frames, a cell that changes, or sites that move.
        InputError: frames without forces.
    """
    frames = [f for k, f in enumerate(read_frames(path)) if k >= skip]
    if len(frames) < MIN_FRAMES:
        raise DataError(
            f"expected at least {MIN_FRAMES} frames of one configuration, found {len(frames)}",
            file=path,
        )
    first = frames[0]
    inverse = np.linalg.inv(first.cell)
    shifts = []
    for number, frame in enumerate(frames):
        if frame.forces is None:
            raise InputError("the frame has no forces", file=path, frame=number + skip)
        if not np.allclose(frame.cell, first.cell, atol=tolerance):
            raise DataError("the cell changes; expected a constant one", file=path)
        shift = frame.positions - first.positions
        shifts.append(shift - np.round(shift @ inverse) @ first.cell)
    moves = np.stack(shifts)
    mean = moves.mean(axis=0)
    distance = np.linalg.norm(moves - mean, axis=-1)
    if distance.max() > tolerance:
        worst, site = divmod(int(distance.argmax()), distance.shape[1])
        raise DataError(
            f"site {site} is {distance.max():.3g} Å from its mean position; expected sites that "
            f"are held fixed within {tolerance:g} Å",
            file=path,
            frame=worst + skip,
        )
    forces = np.stack([f.forces for f in frames if f.forces is not None])
    inefficiency = _inefficiency(forces)
    n = len(frames) / inefficiency
    if n <= 1.5:
        raise DataError(
            f"{len(frames)} frames are {n:.1f} independent samples; expected a longer run",
            file=path,
        )
    # correlated samples: the spread about their own mean is too small by (n - 1)/n
    variance = forces.var(axis=0) * n / (n - 1.0)
    virials = [f.virial for f in frames if f.virial is not None]
    frame = replace(
        first,
        positions=first.positions + mean,
        forces=forces.mean(axis=0),
        virial=np.mean(virials, axis=0) if len(virials) == len(frames) else None,
        weight=float(n),
    )
    return ConditionalMean(frame, variance, len(frames), inefficiency)


def _inefficiency(forces: Array) -> float:
    """Frames per independent sample from the pooled autocorrelation of all force components.

    g = 1 + 2 sum_t (1 - t/n) C(t), up to the first t at which C is not positive (Chodera et
    al., J. Chem. Theory Comput. 3, 26 (2007)); C is corrected for the estimated mean.
    """
    n = len(forces)
    deviations = (forces - forces.mean(axis=0)).reshape(n, -1)
    zero = float(np.mean(deviations**2)) * n / (n - 1)
    if zero == 0:
        return 1.0
    g = 1.0
    for lag in range(1, n - 1):
        correlation = float(np.mean(deviations[:-lag] * deviations[lag:])) / zero + 1.0 / n
        # pooled over many components the statistical error of C is small; see the threshold
        if correlation < 2.0 / np.sqrt(deviations[lag:].size):
            break
        g += 2.0 * correlation * (1.0 - lag / n)
    return g


def noise_report(means: Sequence[ConditionalMean], files: Sequence[str | Path]) -> dict[str, Any]:
    """The floor with its standard error, as plain data (``format``: cgpot-noise-1).

    The error is that between configurations; of a single one, between its sites.

    Raises:
        DataError: no configuration, or bead types that differ.
    """
    if not means:
        raise DataError("no configuration given")
    names = means[0].frame.topology.type_names
    for mean, file in zip(means, files, strict=True):
        if mean.frame.topology.type_names != names:
            raise DataError(
                f"bead types {list(mean.frame.topology.type_names)} differ from {list(names)}",
                file=file,
            )
    single = [float(mean.variance.mean()) for mean in means]
    spread = single if len(single) > 1 else means[0].variance.mean(axis=1).tolist()
    variance = float(np.mean(single))
    error = float(np.std(spread, ddof=1) / np.sqrt(len(spread))) if len(spread) > 1 else 0.0
    by_type = {}
    for number, name in enumerate(names):
        rows = [m.variance[m.frame.topology.types == number] for m in means]
        if sum(len(r) for r in rows):
            by_type[name] = float(np.sqrt(np.concatenate(rows).mean()))
    return {
        "format": FORMAT,
        "variance": variance,
        "variance_error": error,
        "rmse": float(np.sqrt(variance)),
        "rmse_error": 0.5 * error / float(np.sqrt(variance)) if variance > 0 else 0.0,
        "rmse_per_type": by_type,
        "bead_names": list(names),
        "temperature": means[0].frame.temperature,
        "configurations": [
            {
                "file": Path(file).name,
                "sha256": sha256_file(file),
                "n_frames": mean.n_frames,
                "statistical_inefficiency": mean.inefficiency,
                "rmse": float(np.sqrt(mean.variance.mean())),
                "rmse_per_site": [float(x) for x in np.sqrt(mean.variance.mean(axis=1))],
            }
            for mean, file in zip(means, files, strict=True)
        ],
    }


def measure_noise(
    files: Sequence[str | Path],
    output: str | Path,
    *,
    frames: str | Path | None = None,
    tolerance: float = TOLERANCE,
    skip: int = 0,
) -> dict[str, Any]:
    """Write the noise report of runs with fixed sites, and their mean-force labels if asked.

    Args:
        files: mapped files, one configuration of the sites each.
        output: JSON file.
        frames: data set of one frame for each run: mean forces, weight = independent samples.
        tolerance: Å, see `conditional_mean`.
        skip: frames to leave out at the start of each.
    """
    means = [conditional_mean(path, tolerance=tolerance, skip=skip) for path in files]
    report = noise_report(means, files)
    if frames is not None:
        write_frames(frames, [mean.frame for mean in means])
    write_json(Path(output), report)
    return report


def read_noise(path: str | Path) -> dict[str, float]:
    """The floor that `measure_noise` wrote: ``rmse`` and ``rmse_error``, eV/Å.

    Raises:
        InputError: not such a file.
    """
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError(f"expected format {FORMAT!r}, as 'cgpot noise' writes", file=path)
    return {key: float(record[key]) for key in ("rmse", "rmse_error")}


def applicable_noise(
    given: str | Path | None, data: str | Path, frame: CGFrame
) -> tuple[dict[str, float] | None, Path | None]:
    """The measured floor of a data set: of the file given, or of ``noise.json`` beside the data.

    Args:
        given: JSON file of `measure_noise`, or None.
        data: file of the data set.
        frame: one of its frames.

    Returns:
        Result of `read_noise` and its file; None where there is none for these beads at this
        temperature.

    Raises:
        InputError: the file given is not such a file, or belongs to other beads or to another
            temperature.
    """
    path = Path(given) if given is not None else Path(data).parent / NAME
    if given is None and not path.is_file():
        return None, None
    floor = read_noise(path)
    record = read_json(path)
    names, own = list(record.get("bead_names") or []), list(frame.topology.type_names)
    at, here = record.get("temperature"), frame.temperature
    problem = None
    if names and names != own:
        problem = f"the noise is that of bead types {names}, the frames hold {own}"
    elif at is not None and here is not None and abs(at - here) > 0.02 * here:
        problem = f"the noise was measured at {at:g} K, the frames are at {here:g} K"
    if problem is None:
        return floor, path
    if given is not None:
        raise InputError(problem, file=path)
    return None, None


def of_means(floor: dict[str, float], frames: Sequence[CGFrame]) -> dict[str, float]:
    """The floor of frames whose labels are means: a weight of n stands for n samples.

    Args:
        floor: of `read_noise`, that of single samples.
        frames: frames whose errors are averaged; weights below 1 count as 1.
    """
    share = float(np.mean([1.0 / max(frame.weight or 1.0, 1.0) for frame in frames]))
    return {key: value * float(np.sqrt(share)) for key, value in floor.items()}


def noise_free(rmse: float, rmse_error: float, floor: dict[str, float]) -> dict[str, Any]:
    """What is left of a force error without the noise of the labels: sqrt(RMSE^2 - floor^2).

    Args:
        rmse: error on held-out frames, eV/Å.
        rmse_error: its standard error.
        floor: of `read_noise`.

    Returns:
        ``rmse`` (0 where the error is not above the floor) and its ``rmse_error``, eV/Å; where
        the difference is within its error of zero the latter is that of its square, as a root.
    """
    square = rmse**2 - floor["rmse"] ** 2
    error = 2.0 * float(np.hypot(rmse * rmse_error, floor["rmse"] * floor["rmse_error"]))
    root = float(np.sqrt(max(square, 0.0)))
    return {
        "rmse": root,
        "rmse_error": 0.5 * error / root if square > error else float(np.sqrt(error)),
        "within_error_of_zero": square <= error,
    }


def floor_record(
    label: Array, model: Array, sites: int | Sequence[int], measured: dict[str, float] | None
) -> dict[str, Any]:
    """What part of the label variance a model explains, beside the floor or its upper bound.

    Without a measurement the held-out error of the model is an upper bound of the floor; its
    error is that of the mean square over frames, taken as independent.

    Args:
        label: forces on held-out frames, (frames * sites, 3).
        model: those of the model.
        sites: sites of a frame, or of each frame.
        measured: result of `read_noise`, or None.
    """
    square = (np.asarray(model) - np.asarray(label)) ** 2
    if isinstance(sites, int):
        frames = square.reshape(-1, sites * 3).mean(axis=1)
    else:
        parts = np.split(square.reshape(-1, 3), np.cumsum(sites)[:-1])
        frames = np.array([part.mean() for part in parts])
    mean, variance = float(frames.mean()), float(np.mean(np.asarray(label) ** 2))
    error = float(frames.std(ddof=1) / np.sqrt(len(frames))) if len(frames) > 1 else 0.0
    root = float(np.sqrt(mean))
    root_error = 0.5 * error / root if root > 0 else 0.0
    return {
        "explained": 1.0 - mean / variance if variance > 0 else None,
        "noise_floor": measured,
        "noise_floor_upper_bound": {"rmse": root, "rmse_error": root_error},
        "noise_free": None if measured is None else noise_free(root, root_error, measured),
        "explainable": 1.0 - measured["rmse"] ** 2 / variance
        if measured and variance > 0
        else None,
    }
