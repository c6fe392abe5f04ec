# SPDX-License-Identifier: GPL-2.0-or-later
"""Ahead-of-time compilation of a model whose computed beads, beads and edges vary in number.

NequIP's own export knows one number of nodes.  Here positions and types have numbers of their own:
what is computed (positions) and what is there with ghosts (types), see :mod:`cgpot.deploy.target`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from nequip.data import AtomicDataDict

CENTERS_KEY: Final = "cgpot_centers"
"""Of the archive's strings: ``read`` or ``unread``, see :func:`reads_centers`."""
GHOSTS: Final = 3
"""Nodes of the traced frame that are not computed."""


def export(
    model: torch.nn.Module,
    data: AtomicDataDict.Type,
    output: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    device: str,
    strings: dict[str, str],
    options: dict[str, Any],
) -> Path:
    """Compile a model; returns the path written.

    Args:
        model: changed by :func:`cgpot.deploy.ranks.with_own_rows`; frozen here, and moved.
        data: one frame without ghosts, the fields of ``inputs``.
        output: `*.nequip.pt2`.
        inputs: fields that the compiled model takes, in order.
        outputs: fields that it gives.
        device: `cpu` or `cuda`.
        strings: for the archive, which also gets :data:`CENTERS_KEY`.
        options: of Inductor.

    Raises:
        AssertionError: from NequIP, when compiled and eager model differ beyond their precision.
        RuntimeError: from NequIP, when the traced code holds to a number of nodes or edges.
    """
    from nequip.nn.compile import DictInputOutputWrapper
    from nequip.utils.dtype import (
        _pt2_compile_error_message,
        test_model_output_similarity_by_dtype,
    )
    from nequip.utils.versions import check_pt2_compile_compatibility

    check_pt2_compile_compatibility()
    data = AtomicDataDict.to_({key: data[key] for key in inputs}, torch.device(device))
    exported = trace(model, data, inputs=inputs, outputs=outputs, device=device)
    read = reads_centers(exported, inputs)
    metadata = {**strings, CENTERS_KEY: "read" if read else "unread"}
    torch._inductor.aoti_compile_and_package(
        exported,
        package_path=str(output),
        inductor_configs={**options, "aot_inductor.metadata": metadata},
    )
    compiled = DictInputOutputWrapper(
        torch._inductor.aoti_load_package(str(output)), inputs, outputs
    )
    for checked in (_with_ghosts(data), data):
        test_model_output_similarity_by_dtype(
            compiled,
            model,
            dict(checked),
            model.model_dtype,
            fields=outputs,
            error_message=_pt2_compile_error_message,
        )
    return output


def trace(
    model: torch.nn.Module,
    data: AtomicDataDict.Type,
    *,
    inputs: list[str],
    outputs: list[str],
    device: str,
) -> torch.export.ExportedProgram:
    """The operations of a model for any number of computed beads, beads and edges.

    Arguments and errors: see :func:`export`; ``data`` are on the device.
    """
    from nequip.nn.compile import ListInputOutputWrapper
    from nequip.utils.compile import prepare_model_for_compile
    from nequip.utils.fx import _nequip_make_fx, check_make_fx_diff

    torch._dynamo.reset()
    frame = _with_ghosts(data)
    wrapped = prepare_model_for_compile(ListInputOutputWrapper(model, inputs, outputs), device)
    traced = _nequip_make_fx(wrapped, [frame[key] for key in inputs])
    # sizes of the frame must not have become constants of the code
    other = _with_ghosts(_cut(data), GHOSTS + 2)
    check_make_fx_diff(traced, _nequip_make_fx(wrapped, [other[key] for key in inputs]), inputs)
    computed, nodes, edges = (
        torch.export.Dim(name, min=2) for name in ("computed", "nodes", "edges")
    )
    shapes = {
        AtomicDataDict.POSITIONS_KEY: {0: computed},
        AtomicDataDict.ATOM_TYPE_KEY: {0: nodes},
        AtomicDataDict.EDGE_INDEX_KEY: {1: edges},
        AtomicDataDict.EDGE_VECTORS_KEY: {0: edges},
    }
    return torch.export.export(
        traced,
        tuple(frame[key] for key in inputs),
        dynamic_shapes=tuple(shapes.get(key, {}) for key in inputs),
    )


def reads_centers(exported: torch.export.ExportedProgram, inputs: list[str]) -> bool:
    """Whether anything but the operators `cgpot::*` reads the edge index.

    Those take its first row, the centres, from the pair style (`Evaluation` in exchange.h).
    """
    name = exported.graph_signature.user_inputs[inputs.index(AtomicDataDict.EDGE_INDEX_KEY)]
    (node,) = (n for n in exported.graph.nodes if n.op == "placeholder" and n.name == name)
    targets = [str(user.target) for user in node.users]
    return not all(t.startswith(("cgpot.", "aten.sym_size")) for t in targets)


def _with_ghosts(data: AtomicDataDict.Type, count: int = GHOSTS) -> AtomicDataDict.Type:
    """Copies of the first nodes as ghosts, which take some of their edges."""
    result = dict(data)
    types = data[AtomicDataDict.ATOM_TYPE_KEY]
    nodes = len(types)
    copied = torch.arange(count, device=types.device) % nodes
    result[AtomicDataDict.ATOM_TYPE_KEY] = torch.cat([types, types[copied]])
    index = data[AtomicDataDict.EDGE_INDEX_KEY].clone()
    neighbors = index[1]
    taken = torch.arange(len(neighbors), device=types.device) % 2 == 0
    taken &= neighbors < count
    neighbors[taken] += nodes
    result[AtomicDataDict.EDGE_INDEX_KEY] = index
    return result


def _cut(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The frame with another number of nodes and edges."""
    result = dict(data)
    for key in (AtomicDataDict.POSITIONS_KEY, AtomicDataDict.ATOM_TYPE_KEY):
        result[key] = torch.cat([data[key], data[key][:2]])
    result[AtomicDataDict.EDGE_INDEX_KEY] = data[AtomicDataDict.EDGE_INDEX_KEY][:, 1:]
    result[AtomicDataDict.EDGE_VECTORS_KEY] = data[AtomicDataDict.EDGE_VECTORS_KEY][1:]
    return result
