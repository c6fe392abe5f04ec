# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiled model and archive against the checkpoint, on stored frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError, InputError, ToolError
from cgpot.core.files import require_file
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.frame import CGFrame
from cgpot.potential.network_potential import NetworkPotential
from cgpot.potential.potential import Labels
from cgpot.potential.site_graph import site_graph

Array = NDArray[np.float64]

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Largest error of energy, forces and virial, relative to their largest value."""
TF32_TOLERANCE = 1e-2
"""The same of a compiled model whose products are in TF32 (a rounding error of 5e-4 each)."""


class CompiledModel:
    """A `.nequip.pt2` of `cgpot.deploy.target`.

    Raises:
        InputError: the archive lacks the keys of the target.
        ToolError: torch cannot load it.
    """

    def __init__(self, path: str | Path, device: str = "cpu", pairs: str = "all") -> None:
        import torch
        from nequip.utils.global_state import set_global_state
        from torch._inductor import codecache as _  # noqa: F401

        from cgpot.core.native import built_operators
        from cgpot.deploy.operators import load
        from cgpot.deploy.target import INPUTS, MEMBERS_KEY, TABLES_KEY, VECTORS_KEY

        load(built_operators())
        set_global_state()  # nequip's dictionaries are in double precision
        self.path = require_file(path, "compiled model")
        self.device = device
        self.pairs = pairs
        try:
            self._model = torch._inductor.aoti_load_package(str(path))
            self.metadata = dict(self._model.loader.get_metadata())
        except Exception as err:
            first = (str(err).strip().splitlines() or [type(err).__name__])[0]
            raise ToolError(f"torch cannot load it: {first}", file=path) from err
        for key in ("r_max", "type_names", "model_dtype", "nequip_aoti_inputs"):
            if key not in self.metadata:
                raise InputError(
                    f"the archive has no {key!r}; expected a file of 'cgpot deploy'", file=path
                )
        self.tf32 = device == "cuda" and self.metadata.get("allow_tf32") == "1"
        if self.tf32:
            set_global_state(allow_tf32=True)  # read when the products are made
        self._inputs = INPUTS
        self.members = int(self.metadata.get(MEMBERS_KEY, "1"))
        self.vectors = getattr(torch, self.metadata.get(VECTORS_KEY, "float64"))
        self.tables: dict[str, Any] | None = json.loads(self.metadata.get(TABLES_KEY, "null"))

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return tuple(self.metadata["type_names"].split())

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.metadata["r_max"])

    def labels(self, frame: CGFrame) -> Labels:
        """Energy, forces and virial of a frame, summed from the edge gradients."""
        (found,) = self.each(frame)
        return found

    def each(self, frame: CGFrame) -> list[Labels]:
        """The labels that each of the models in the file gives to a frame."""
        import torch

        inputs = self.inputs(frame)
        energies, gradients = self.run(inputs)
        edges, vectors = inputs[1].cpu(), inputs[3].double().cpu()
        result = []
        for energy, gradient in zip(
            energies.detach().double().cpu().reshape(self.members, -1),
            gradients.detach().double().cpu().reshape(self.members, -1, 3),
            strict=True,
        ):
            forces = torch.zeros(frame.topology.n_sites, 3, dtype=torch.float64)
            forces.index_add_(0, edges[0], gradient)
            forces.index_add_(0, edges[1], -gradient)
            virial = -torch.einsum("ea,eb->ab", vectors, gradient)
            result.append(
                Labels(forces.numpy(), (0.5 * (virial + virial.T)).numpy(), float(energy.sum()))
            )
        return result

    def inputs(self, frame: CGFrame) -> list[Any]:
        """The tensors that the model takes, on its device."""
        from cgpot.deploy.target import edge_vector_data

        bare = site_graph(frame, self.cutoff, self.pairs)
        data = edge_vector_data(bare, self.vectors)
        return [data[key].to(self.device) for key in self._inputs]

    def run(self, inputs: list[Any]) -> tuple[Any, Any]:
        """Energies of beads and gradients of edges, see :mod:`cgpot.deploy.target`."""
        energies, gradients = self._model(*inputs)
        return energies, gradients

    def milliseconds(self, inputs: list[Any], repeats: int = 20) -> float:
        """The shortest time of an evaluation, here and now."""
        import time

        import torch

        best = float("inf")
        for _ in range(repeats):
            begin = time.perf_counter()
            self.run(inputs)
            if self.device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - begin)
        return 1e3 * best


def compare(reference: list[Labels], other: list[Labels]) -> dict[str, float]:
    """Largest relative errors over frames: ``energy``, ``forces``, ``virial``."""
    result = {}
    for name in ("energy", "forces", "virial"):
        a = np.stack([np.asarray(getattr(x, name)) for x in reference])
        b = np.stack([np.asarray(getattr(x, name)) for x in other])
        scale = float(np.abs(a).max())
        error = float(np.abs(a - b).max())
        result[name] = error / scale if scale > 0 else error
    return result


def compiled_limit(tolerance: float, tables: dict[str, Any] | None, tf32: bool) -> float:
    """Largest relative error that a compiled model may have.

    Args:
        tolerance: of its precision.
        tables: record of its tables, whose slopes' errors add up over neighbours and layers.
        tf32: whether its products are in TF32.
    """
    table_error = 20.0 * tables["slope_error"] if tables else 0.0
    return max(tolerance, table_error, TF32_TOLERANCE if tf32 else 0.0)


def verify_batch(
    batch: str | Path, members: list[Path], frames_file: str | Path, device: str = "cpu"
) -> dict[str, Any]:
    """Compare a file of several models with the compiled models, and their speed with it.

    Returns:
        ``compiled`` (relative errors, the largest of all members), ``tolerance``, ``members_ms``
        and ``batch_ms``: time of an evaluation of all members on the last frame, one after the
        other and together.

    Raises:
        DataError: an error above the tolerance of the models' precision.
    """
    together = CompiledModel(batch, device)
    single = [CompiledModel(member, device) for member in members]
    frames = list(read_frames(frames_file, several=True))
    found = [together.each(frame) for frame in frames]
    tolerance = TOLERANCE[str(together.metadata["model_dtype"])]
    limit = compiled_limit(tolerance, together.tables, together.tf32)
    errors = {"energy": 0.0, "forces": 0.0, "virial": 0.0}
    for number, model in enumerate(single):
        own = compare([model.labels(f) for f in frames], [each[number] for each in found])
        errors = {key: max(value, own[key]) for key, value in errors.items()}
    worst = max(errors, key=lambda key: errors[key])
    if not errors[worst] <= limit:
        raise DataError(
            f"differs from its members: relative error {errors[worst]:.2e} of {worst}, expected "
            f"at most {limit:.0e}",
            file=batch,
        )
    inputs = together.inputs(frames[-1])
    return {
        "compiled": errors,
        "tolerance": tolerance,
        "members_ms": sum(model.milliseconds(inputs) for model in single),
        "batch_ms": together.milliseconds(inputs),
    }


def verify(
    checkpoint: str | Path,
    package: str | Path,
    compiled: str | Path,
    frames_file: str | Path,
    device: str = "cpu",
    pairs: str = "all",
) -> dict[str, Any]:
    """Compare the three forms of a model on stored frames.

    Returns:
        ``frames``, ``tolerance``, and the relative errors of ``package`` and ``compiled``.

    Raises:
        DataError: an error above the tolerance of the model's precision.
        InputError: the compiled model has other bead types, cutoff or precision.
    """
    eager = NetworkPotential.read(checkpoint, pairs)
    model = eager.model
    fast = CompiledModel(compiled, device, pairs)
    for key in ("type_names", "model_dtype", "r_max"):
        if str(fast.metadata[key]) != str(model.metadata[key]):
            raise InputError(
                f"{key} is {fast.metadata[key]!r}, the checkpoint has {model.metadata[key]!r}",
                file=compiled,
            )
    # the temperature stored in the model counts, not that of the frames
    frames = [replace(frame, temperature=None) for frame in read_frames(frames_file, several=True)]
    reference = [eager.labels(frame) for frame in frames]
    archived = NetworkPotential.read(package, pairs)
    tolerance = TOLERANCE[str(model.metadata["model_dtype"])]
    record: dict[str, Any] = {"frames": len(frames), "tolerance": tolerance}
    record["tables"] = fast.tables
    record["tf32"] = fast.tf32
    limits = {"package": tolerance, "compiled": compiled_limit(tolerance, fast.tables, fast.tf32)}
    for name, path, labels in (
        ("package", package, [archived.labels(frame) for frame in frames]),
        ("compiled", compiled, [fast.labels(frame) for frame in frames]),
    ):
        errors = compare(reference, labels)
        record[name] = errors
        worst = max(errors, key=lambda key: errors[key])
        if not errors[worst] <= limits[name]:
            raise DataError(
                f"differs from the checkpoint: relative error {errors[worst]:.2e} of {worst}, "
                f"expected at most {limits[name]:.0e}",
                file=path,
            )
    return record
