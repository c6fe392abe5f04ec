# SPDX-License-Identifier: GPL-2.0-or-later
"""Energies, forces and stress of schnetpack's own SchNet, for comparison with ours.

Runs in an interpreter that has schnetpack (`make test-schnetpack` makes one); the project need
not be installed there.  The committed numbers are written by

    python tests/training/schnetpack_reference.py tests/training/schnetpack_reference.json

and the comparison at the size of the published setting by ``... OUTPUT.npz --paper``.
"""

from __future__ import annotations

import argparse
import json
import typing
from pathlib import Path
from typing import Any

import numpy as np

SMALL = {"features": 6, "filters": 5, "interactions": 2, "gaussians": 7, "cutoff": 5.0}
PAPER = {"features": 240, "filters": 256, "interactions": 2, "gaussians": 80, "cutoff": 7.0}
NUMBERS = (6, 8)
"""Atomic numbers that stand for the bead types 0 and 1."""


def schnetpack() -> Any:
    """The module; it looks for a name that torch 2.13 no longer has, which is put back."""
    import torch.utils.data.dataloader as loader

    if not hasattr(loader, "T_co"):
        loader.T_co = typing.TypeVar("T_co", covariant=True)
    import schnetpack as module

    return module


def system(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (n, 3), a triclinic cell (3, 3) with vectors as rows, Å, and bead types (n,)."""
    rng = np.random.default_rng(seed)
    length = 3.2 * n ** (1 / 3)
    cell = np.array([[length, 0, 0], [1.1, length, 0], [-0.7, 0.9, length]])
    points: list[np.ndarray] = []
    while len(points) < n:
        trial = rng.random(3)
        delta = np.array([trial - p for p in points]).reshape(-1, 3)
        delta = (delta - np.round(delta)) @ cell
        if not len(points) or np.linalg.norm(delta, axis=1).min() > 1.6:
            points.append(trial)
    return np.round(np.array(points) @ cell, 6), cell, np.arange(n) % 2


def reference(size: dict[str, Any], n: int, seed: int) -> dict[str, Any]:
    """Weights with random biases, the system, and what schnetpack says in double precision."""
    spk = schnetpack()
    import torch
    from schnetpack.data.loader import _atoms_collate_fn

    torch.manual_seed(seed)
    positions, cell, types = system(n, seed)
    model = spk.model.NeuralNetworkPotential(
        representation=spk.representation.SchNet(
            n_atom_basis=size["features"],
            n_interactions=size["interactions"],
            n_filters=size["filters"],
            radial_basis=spk.nn.GaussianRBF(size["gaussians"], size["cutoff"]),
            cutoff_fn=spk.nn.CosineCutoff(size["cutoff"]),
        ),
        input_modules=[spk.atomistic.Strain(), spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(
                n_in=size["features"],
                output_key="energy",
                activation=spk.nn.activations.shifted_softplus,
            ),
            spk.atomistic.Forces(calc_forces=True, calc_stress=True),
        ],
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    record: dict[str, Any] = {
        "made_by": f"schnetpack {spk.__version__}, torch {torch.__version__.split('+')[0]}: "
        "python tests/training/schnetpack_reference.py tests/training/schnetpack_reference.json",
        "size": size,
        "positions": positions,
        "cell": cell,
        "types": types,
        "weights": {
            k: v[list(NUMBERS)] if k.endswith("embedding.weight") else v for k, v in state.items()
        },
    }
    record["weights"] = {k: v.double().numpy() for k, v in record["weights"].items()}
    model.double().eval()
    sample = {
        "_idx": torch.tensor([0]),
        "_n_atoms": torch.tensor([n]),
        "_atomic_numbers": torch.tensor([NUMBERS[t] for t in types]),
        "_positions": torch.tensor(positions),
        "_cell": torch.tensor(cell).view(1, 3, 3),
        "_pbc": torch.tensor([True, True, True]),
    }
    sample = spk.transform.ASENeighborList(cutoff=size["cutoff"])(sample)
    out = model(_atoms_collate_fn([sample]))
    record["float64"] = {k: out[k].detach().numpy() for k in ("energy", "forces", "stress")}
    return record


def flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by '/'."""
    out: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}/"))
        else:
            out[prefix + key] = value
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="*.json or *.npz")
    parser.add_argument("--paper", action="store_true", help="the size of the published setting")
    options = parser.parse_args()
    record = flat(reference(PAPER if options.paper else SMALL, 64 if options.paper else 8, 7))
    if options.output.suffix == ".npz":
        np.savez(options.output, **record)
        return
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in record.items()}
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in plain.items()]
    options.output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
