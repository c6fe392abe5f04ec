# SPDX-License-Identifier: GPL-2.0-or-later
"""The compile target of `pair_style cgpot`: what its `.nequip.pt2` takes and returns.

Command line::

    python -m cgpot.deploy.target model.nequip.zip model.nequip.pt2 --device cpu

The input is a package (`.nequip.zip`) or a checkpoint (`.ckpt`), or several of one shape: the
members of an ensemble, evaluated in one batch. From Python, :func:`compile_file` does the same,
:func:`compile_model` and :func:`compile_ensemble` take models that are in memory.

Inputs, in this order (N beads, C of them computed, E edges; one frame, no batch keys):

=============  ==========  ========  =====================================================
field          shape       dtype     meaning
=============  ==========  ========  =====================================================
`pos`          (C, 3)      float64   only its length is used; values are ignored
`edge_index`   (2, E)      int64     row 0 the centre i < C, row 1 the neighbour j < N
`atom_types`   (N,)        int64     index into the model's `type_names`
`edge_vectors` (E, 3)      float64   r_j + image - r_i in the length unit of the model; float32
                                     where `cgpot_vectors` says so
`num_local_ghost_atoms` (1, 2) int64  first: how many of the beads (the first ones) are owned:
                                     their energies make up E; second: other computed ones
=============  ==========  ========  =====================================================

Outputs, in this order:

================  ========  ============================================================
field             shape     meaning
================  ========  ============================================================
`atomic_energy`   (C, 1)    energy of each bead, 0 for those not owned; their sum is E
`edge_forces`     (E, 3)    g_e = dE/d(edge vector e): a gradient, no sign is changed; in the
                            precision of the vectors
================  ========  ============================================================

With several members M both have a first dimension more, (M, C, 1) and (M, E, 3).
From these everything else is a sum over edges:
forces `F_i += g_e`, `F_j -= g_e`; virial `W = -Σ_e r_e ⊗ g_e` (LAMMPS sign, `σ = -W/V`);
per-bead virial: half of each edge's term to i and half to j.

The first C beads are computed: those that this process owns, and with a halo the beads that their
energies follow from.  The others are ghosts, whose features come from their owners
(`cgpot::exchange`, :mod:`cgpot.deploy.operators`); C = N where there are none.

The edge list may hold several periodic images of one pair, and a bead's own images (i = j).
Edges are sorted by centre: models with "triton" tables (:mod:`cgpot.deploy.gpu`) rely on it.
Edges beyond the cutoff contribute nothing (NequIP's envelope is zero there), and a model's other
edge terms (a prior) must do the same. C and E are at least 2: a caller with less pads with beads
and with edges longer than the cutoff. A model that uses `pos` or `cell` other than through
`nequip.nn.utils.with_edge_vectors_` cannot be compiled for this target.

The archive's metadata hold NequIP's own keys (`type_names`, `r_max`, `model_dtype`,
`per_edge_type_cutoff` where there is one), `nequip_aoti_inputs`, `nequip_aoti_outputs`, and
`torch_version` (without a local part such as `+cpu`), `threads`, `cgpot_operators` (version of
the operators' signatures), `cgpot_layers` and `cgpot_exchange_width`
(:class:`cgpot.deploy.ranks.Reach`), `cgpot_members`, `cgpot_tables` (JSON: what
:func:`cgpot.deploy.acceleration.accelerate` did, null for nothing), `cgpot_vectors` (precision of
the vectors) and `cgpot_centers` ("unread" where row 0 of the edge index is read by the operators
alone, which in the pair style know the edges of each centre without it; else "read").

Threads: the number of CPU threads is fixed in the generated code. One thread is the default and
the fastest for liquids of some hundred beads (with code for a number chosen at run time the
scatter operations become atomic: 2.1 times slower on one thread, 64 beads, 1,164 edges).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from nequip.data import AtomicDataDict, register_fields
from nequip.nn.utils import with_edge_vectors_

from cgpot.core.native import built_operators
from cgpot.deploy.acceleration import WAYS, accelerate, tables_of
from cgpot.deploy.batch import together
from cgpot.deploy.export import export
from cgpot.deploy.operators import VERSION
from cgpot.deploy.operators import load as load_operators
from cgpot.deploy.package import choose, has_triton
from cgpot.deploy.ranks import Reach, only_owned, with_own_rows
from cgpot.deploy.vectors import take_single

INPUTS: Final[list[str]] = [
    AtomicDataDict.POSITIONS_KEY,
    AtomicDataDict.EDGE_INDEX_KEY,
    AtomicDataDict.ATOM_TYPE_KEY,
    AtomicDataDict.EDGE_VECTORS_KEY,
    AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY,
]
OUTPUTS: Final[list[str]] = [
    AtomicDataDict.PER_ATOM_ENERGY_KEY,
    AtomicDataDict.EDGE_FORCE_KEY,
]
VERSION_KEY: Final = "cgpot_operators"
"""Of the archive's strings: version of the operators, and that C may be less than N."""
MEMBERS_KEY: Final = "cgpot_members"
"""Of the archive's strings: number of models whose results stand one after the other."""
TABLES_KEY: Final = "cgpot_tables"
"""Of the archive's strings: what :func:`cgpot.deploy.acceleration.accelerate` says, as JSON."""
VECTORS_KEY: Final = "cgpot_vectors"
"""Of the archive's strings: precision of vectors and gradients of edges."""
# known to NequIP as an integer input; that it belongs to the graph must be said for tracing
register_fields(graph_fields=[AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY])


def edge_vector_data(data: dict[str, Any], vectors: torch.dtype = torch.float64) -> dict[str, Any]:
    """Inputs of the target (:data:`INPUTS`) from one frame with its neighbour list.

    `data` holds `pos` (N, 3), `cell` (1, 3, 3), `edge_index` (2, E), `edge_cell_shift` (E, 3) and
    `atom_types` (N,), as :func:`nequip.data.compute_neighborlist_` leaves them.  The edges are
    sorted by centre here; `vectors` is the precision of theirs.
    """
    single = {
        key: value
        for key, value in data.items()
        if key not in (AtomicDataDict.BATCH_KEY, AtomicDataDict.NUM_NODES_KEY)
    }
    single = with_edge_vectors_(single, with_lengths=False)
    nodes = len(single[AtomicDataDict.ATOM_TYPE_KEY])
    single[AtomicDataDict.NUM_LOCAL_GHOST_NODES_KEY] = torch.tensor([[nodes, 0]])
    order = single[AtomicDataDict.EDGE_INDEX_KEY][0].argsort(stable=True)
    result = {key: single[key].detach().clone() for key in INPUTS}
    for key, dim in ((AtomicDataDict.EDGE_INDEX_KEY, 1), (AtomicDataDict.EDGE_VECTORS_KEY, 0)):
        result[key] = result[key].index_select(dim, order).contiguous()
    result[AtomicDataDict.EDGE_VECTORS_KEY] = result[AtomicDataDict.EDGE_VECTORS_KEY].to(vectors)
    return result


def compile_model(
    model: torch.nn.Module,
    data: dict[str, Any],
    output: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    metadata: dict[str, str] | None = None,
    fast: bool = False,
    way: str | None = None,
) -> Path:
    """Compile a model that is in memory for the target; returns the path written.

    Arguments:
        model: a NequIP `GraphModel`, whose metadata are embedded in the archive.
        data: one frame with its neighbour list, see :func:`edge_vector_data`; any realistic one.
        output: `*.nequip.pt2`.
        device: `cpu` or `cuda`.
        threads: CPU threads that the generated code uses.
        metadata: further strings for the archive.
        fast: tabulate radial functions, and sum messages faster
            (:func:`cgpot.deploy.acceleration.accelerate`, which changes the model).
        way: how (:data:`cgpot.deploy.acceleration.WAYS`); None: by the device
            (:func:`cgpot.deploy.package.choose`).

    Raises:
        AssertionError: from NequIP, when compiled and eager model differ beyond their precision.
        ValueError: another way, or "kernels" for another device than the CPU, or without the
            library of operators; "triton" for another device than a GPU, or without Triton.

    """
    chosen = _way(way, device)
    tables = accelerate(model, chosen) if fast else tables_of(model)
    only_owned(model)
    reach = with_own_rows(model)
    vectors = take_single(model, tables)
    strings = _strings(reach, tables, vectors, 1, metadata)
    return _compile(model, data, vectors, output, device, threads, strings)


def compile_ensemble(
    models: Sequence[torch.nn.Module],
    data: dict[str, Any],
    output: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    metadata: dict[str, str] | None = None,
    fast: bool = False,
    way: str | None = None,
) -> Path:
    """Compile the members of an ensemble into one archive, see :func:`compile_model`.

    Raises:
        cgpot.deploy.batch.MembersDiffer: networks of different shapes.
        AssertionError, ValueError: as :func:`compile_model`.
    """
    chosen = _way(way, device)
    model, reach, tables = together(models, chosen if fast else None)
    strings = _strings(reach, tables, model.vectors, model.count, metadata)
    return _compile(model, data, model.vectors, output, device, threads, strings)


def _way(way: str | None, device: str) -> str:
    """How tables are used; the operators are loaded."""
    native = load_operators(built_operators())
    if way == "kernels" and not native:
        raise ValueError("the library of operators is not built; run 'cgpot plugin build'")
    if way == "kernels" and device != "cpu":
        raise ValueError(f"the kernels are for CPUs, the device is {device!r}; expected 'torch'")
    if way == "triton" and device != "cuda":
        raise ValueError(f"Triton is for GPUs, the device is {device!r}; expected 'torch'")
    if way == "triton" and not has_triton():
        raise ValueError("Triton is not installed; expected 'torch'")
    return way or choose(device)


def _strings(
    reach: Reach,
    tables: dict[str, Any] | None,
    vectors: torch.dtype,
    members: int,
    metadata: dict[str, str] | None,
) -> dict[str, str]:
    """What the archive says of a model besides NequIP's own keys."""
    return {
        **(metadata or {}),
        **reach.metadata(),
        MEMBERS_KEY: str(members),
        TABLES_KEY: json.dumps(tables),
        VECTORS_KEY: str(vectors).removeprefix("torch."),
        VERSION_KEY: VERSION,
    }


def _compile(
    model: Any,
    data: dict[str, Any],
    vectors: torch.dtype,
    output: Path,
    device: str,
    threads: int,
    given: dict[str, str],
) -> Path:
    from nequip.utils.aoti_metadata import (
        NEQUIP_AOTI_INPUTS_KEY,
        NEQUIP_AOTI_OUTPUTS_KEY,
        serialize_aoti_keys,
    )

    strings: dict[str, str] = {}
    for key, value in {**getattr(model, "metadata", {}), **given}.items():
        strings[key] = str(int(value)) if isinstance(value, bool) else str(value)
    strings[NEQUIP_AOTI_INPUTS_KEY] = serialize_aoti_keys(INPUTS)
    strings[NEQUIP_AOTI_OUTPUTS_KEY] = serialize_aoti_keys(OUTPUTS)
    strings["torch_version"] = torch.__version__.split("+")[0]
    strings["threads"] = str(threads)
    return export(
        model,
        edge_vector_data(data, vectors),
        output,
        inputs=INPUTS,
        outputs=OUTPUTS,
        device=device,
        strings=strings,
        options={"cpp.threads": threads},
    )


def compile_file(
    source: Path | Sequence[Path],
    output: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    modifiers: tuple[str, ...] = (),
    tf32: bool = False,
    fast: bool = True,
    way: str | None = None,
) -> Path:
    """Compile a package (`.nequip.zip`) or checkpoint for the target; returns the path written.

    Several are the members of an ensemble (:func:`compile_ensemble`).  The frame that a package
    carries (from a checkpoint: a training frame) sets realistic shapes.
    `modifiers` are NequIP's model modifiers, applied before compiling.
    """
    from nequip.model.modify_utils import modify
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.model.utils import _EAGER_MODEL_KEY
    from nequip.scripts._workflow_utils import set_workflow_state
    from nequip.train.lightning import _SOLE_MODEL_KEY
    from nequip.utils.global_state import get_latest_global_state, set_global_state

    if not output.name.endswith(".nequip.pt2"):
        raise ValueError(f"{output}: a compiled model must be named *.nequip.pt2")
    set_workflow_state("compile")
    try:
        set_global_state(allow_tf32=tf32)
        models = []
        for path in [source] if isinstance(source, Path) else source:
            model, data = load_saved_model(
                str(path), _EAGER_MODEL_KEY, _SOLE_MODEL_KEY, return_data_dict=True
            )
            models.append(modify(model, [{"modifier": name} for name in modifiers]))
        state = get_latest_global_state(only_metadata_related=True)
        options: dict[str, Any] = {
            "device": device,
            "threads": threads,
            "metadata": state,
            "fast": fast,
            "way": way,
        }
        if len(models) > 1:
            return compile_ensemble(models, data, output, **options)
        return compile_model(models[0], data, output, **options)
    finally:
        set_workflow_state(None)


def main(arguments: list[str] | None = None) -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m cgpot.deploy.target", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "source", type=Path, nargs="+", help="*.nequip.zip or a checkpoint; several: an ensemble"
    )
    parser.add_argument("output", type=Path, help="*.nequip.pt2")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the compiled code")
    parser.add_argument("--modifiers", nargs="*", default=[])
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--plain", action="store_true", help="no tables and fused kernels")
    parser.add_argument("--tables", choices=WAYS, help="how, where it is not --plain")
    options = parser.parse_args(arguments)
    compile_file(
        options.source,
        options.output,
        device=options.device,
        threads=options.threads,
        modifiers=tuple(options.modifiers),
        tf32=options.tf32,
        fast=not options.plain,
        way=options.tables,
    )


if __name__ == "__main__":
    main()
