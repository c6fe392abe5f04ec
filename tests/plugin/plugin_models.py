# SPDX-License-Identifier: GPL-2.0-or-later
"""Small configurations, the models that the plugin's tests run, and their references.

`python plugin_models.py NAME FOLDER` (lj, lj-strong, lj-weak, float64, float32, or fast64, fast32,
density64 and other64 with tabulated radial functions and fused kernels) writes `NAME.nequip.pt2`,
`NAME.cgpot.json` and, for the networks, `NAME.npz`: energies, forces and virials from the eager
NequIP model, which goes the way of positions and cell instead of edge vectors.  batch64 holds the
models of fast64 and other64 in one file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LJ_CUTOFF = 6.0
LJ_EPSILON = np.array([[0.010, 0.014], [0.014, 0.021]])
LJ_SIGMA = np.array([[3.0, 3.2], [3.2, 3.5]])
# members of an ensemble: epsilon times the factor, and the cutoff
LJ_MEMBERS = {"lj": (1.0, LJ_CUTOFF), "lj-strong": (1.3, LJ_CUTOFF), "lj-weak": (0.6, 5.0)}
NET_CUTOFF = 5.0
SEEDS = {"fast64": 7, "other64": 8}
NAMES = ["AAA", "BBB"]
MASSES = [40.0, 60.0]


@dataclass(frozen=True)
class Configuration:
    """Beads in a periodic cell.

    `cell` (3, 3): rows, lower triangular; `positions` (n, 3): Å; `types` (n,): from 0;
    `ids` (n,): atom ids, a permutation of 1..n.
    """

    cell: np.ndarray
    positions: np.ndarray
    types: np.ndarray
    ids: np.ndarray


def grid(cell: np.ndarray, count: tuple[int, int, int], seed: int) -> Configuration:
    """A grid of beads, displaced at random by up to 0.3 Å, with random types and ids."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(count))
    fractional = np.stack(np.meshgrid(*[(np.arange(c) + 0.5) / c for c in count]), -1).reshape(n, 3)
    positions = fractional @ cell + rng.uniform(-0.3, 0.3, (n, 3))
    types = rng.permutation(np.arange(n) % 2)
    return Configuration(cell, positions, types, rng.permutation(n) + 1)


CONFIGURATIONS = {
    "cubic": grid(np.diag([14.4, 14.4, 14.4]), (4, 4, 4), 1),
    "triclinic": grid(
        np.array([[13.5, 0.0, 0.0], [3.1, 12.9, 0.0], [-2.2, 4.0, 12.5]]), (4, 4, 3), 2
    ),
    # shorter than the cutoff: a bead is its own neighbour, several images of one pair are
    "small": grid(np.diag([4.2, 4.6, 8.1]), (1, 1, 2), 3),
    "small triclinic": grid(
        np.array([[4.4, 0.0, 0.0], [1.3, 4.3, 0.0], [-0.9, 1.1, 4.7]]), (1, 1, 1), 4
    ),
}


def write_sidecar(path: Path, **changes: object) -> dict[str, object]:
    """The sidecar of a model of these tests, with some keys replaced ("REMOVE" removes one)."""
    import importlib.metadata

    content: dict[str, object] = {
        "format": "cgpot-model-1",
        "units": {"energy": "eV", "length": "angstrom"},
        "bead_names": NAMES,
        "masses": MASSES,
        "cutoff": LJ_CUTOFF,
        "temperature": 300.0,
        "density_kg_m3": None,
        "dtype": "float64",
        "device": "cpu",
        "torch_version": importlib.metadata.version("torch"),
        "per_edge_type_cutoff": None,
        "sha256": {},
    }
    content.update(changes)
    content = {key: value for key, value in content.items() if value != "REMOVE"}
    path.write_text(json.dumps(content))
    return content


def make_lj(folder: Path, name: str = "lj") -> None:
    """Truncated Lennard-Jones with the analytic gradient, compiled with the target's signature."""
    import torch

    factor, cutoff = LJ_MEMBERS[name]

    class LennardJones(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("epsilon", torch.tensor(factor * LJ_EPSILON).view(-1))
            self.register_buffer("sigma", torch.tensor(LJ_SIGMA).view(-1))

        def forward(
            self,
            pos: torch.Tensor,
            edge_index: torch.Tensor,
            atom_types: torch.Tensor,
            edge_vectors: torch.Tensor,
            owned: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            pair = atom_types[edge_index[0]] * 2 + atom_types[edge_index[1]]
            r = edge_vectors.norm(dim=1)
            inside = (r < cutoff).to(r.dtype) * (edge_index[0] < owned[0, 0]).to(r.dtype)
            s6 = (self.sigma[pair] / r) ** 6
            energy = 2.0 * self.epsilon[pair] * (s6 * s6 - s6) * inside
            slope = 2.0 * self.epsilon[pair] * (6.0 * s6 - 12.0 * s6 * s6) / r * inside
            atomic = torch.zeros_like(pos[:, 0]).index_add(0, edge_index[0], energy)
            return atomic.view(-1, 1), (slope / r).view(-1, 1) * edge_vectors

    compile_module(LennardJones(), folder, name, r_max=str(cutoff))
    write_sidecar(folder / f"{name}.cgpot.json", cutoff=cutoff)


def make_shifted(folder: Path) -> None:
    """A model whose operators take other edges than those that it is given."""
    import torch

    from cgpot.core.native import built_operators
    from cgpot.deploy.operators import VERSION, load

    load(built_operators())

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("coefficients", torch.zeros(1, 7, dtype=torch.float64))
            self.register_buffer("rows", torch.zeros(2, 2, dtype=torch.long))

        def forward(
            self,
            pos: torch.Tensor,
            edge_index: torch.Tensor,
            atom_types: torch.Tensor,
            edge_vectors: torch.Tensor,
            owned: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            index = torch.roll(edge_index, 1, 1)
            rest = (index, atom_types, self.coefficients, self.rows, LJ_CUTOFF)
            energy = torch.ops.cgpot.pair_energy(edge_vectors, *rest, pos.shape[0])
            grad = torch.ones_like(energy)
            return energy, torch.ops.cgpot.pair_energy_backward(grad, edge_vectors, *rest)

    strings = {"cgpot_operators": VERSION, "cgpot_layers": "1", "cgpot_centers": "read"}
    compile_module(Shifted(), folder, "shifted", r_max=str(LJ_CUTOFF), **strings)
    write_sidecar(folder / "shifted.cgpot.json")


def compile_module(module: Any, folder: Path, name: str, **strings: str) -> None:
    """A module with the target's signature as an archive with these strings."""
    import torch

    nodes = torch.export.Dim("nodes", min=2)
    edges = torch.export.Dim("edges", min=2)
    example = (
        torch.zeros(5, 3, dtype=torch.float64),
        torch.randint(0, 5, (2, 7)),
        torch.randint(0, 2, (5,)),
        torch.rand(7, 3, dtype=torch.float64) + 3.0,
        torch.tensor([[5, 0]]),
    )
    exported = torch.export.export(
        module,
        example,
        dynamic_shapes=({0: nodes}, {1: edges}, {0: nodes}, {0: edges}, {}),
    )
    metadata = {
        "type_names": " ".join(NAMES),
        "num_types": "2",
        "model_dtype": "float64",
        "nequip_aoti_inputs": "pos edge_index atom_types edge_vectors num_local_ghost_atoms",
        "nequip_aoti_outputs": "atomic_energy edge_forces",
        "torch_version": torch.__version__.split("+")[0],
        **strings,
    }
    torch._inductor.aoti_compile_and_package(
        exported,
        package_path=str(folder / f"{name}.nequip.pt2"),
        inductor_configs={"aot_inductor.metadata": metadata, "cpp.threads": 1},
    )


def network(seed: int, dtype: str) -> Any:
    """A small NequIP with random weights."""
    from nequip.model import NequIPGNNModel

    return NequIPGNNModel(
        seed=seed,
        model_dtype=dtype,
        type_names=NAMES,
        r_max=NET_CUTOFF,
        num_layers=2,
        l_max=1,
        parity=False,
        num_features=4,
        radial_mlp_depth=1,
        radial_mlp_width=8,
        avg_num_neighbors=14.0,
        per_type_energy_scales={"AAA": 0.3, "BBB": 0.5},
        per_type_energy_shifts={"AAA": -0.2, "BBB": 0.1},
    ).eval()


def base_tables() -> tuple[Any, Any]:
    """A pair spline and a local-density part, both as strong as the network."""
    from cgpot.potential.density_table import DensityTable
    from cgpot.potential.splines import PairTable

    rng = np.random.default_rng(9)
    pair = 0.05 * rng.normal(size=(3, 19))
    pair[:, -3:] = 0.0
    density = 0.2 * rng.normal(size=(2, 9))
    spans = np.array([[1.0, 4.5], [0.8, 4.0]])
    return (
        PairTable(tuple(NAMES), NET_CUTOFF, pair, {}),
        DensityTable(tuple(NAMES), 4.8, "smooth", (1.0, 0.7), spans, density, {}),
    )


def density_network(folder: Path, *, base: bool) -> Any:
    """A small NequIP of one layer, with and without `base_tables`."""
    from nequip.model import NequIPGNNModel

    pair, density = base_tables()
    option = {
        "_target_": "cgpot.training.network.local_density_module.PairAndDensity",
        "pair": {"pair_file": str(pair.write(folder / "pair.json"))},
        "density": {"density_file": str(density.write(folder / "density.json"))},
    }
    return NequIPGNNModel(
        seed=3,
        model_dtype="float64",
        type_names=NAMES,
        r_max=NET_CUTOFF,
        num_layers=2,
        l_max=1,
        parity=False,
        num_features=2,
        radial_mlp_depth=1,
        radial_mlp_width=4,
        avg_num_neighbors=14.0,
        per_type_energy_scales={"AAA": 0.3, "BBB": 0.5},
        per_type_energy_shifts={"AAA": -0.2, "BBB": 0.1},
        pair_potential=option if base else None,
    ).eval()


def make_density(folder: Path, name: str) -> None:
    """A network above a base of pairs and local density; references of the network alone."""
    from nequip.utils.global_state import set_global_state

    from cgpot.deploy.target import compile_model

    set_global_state()
    alone = density_network(folder, base=False)
    references = {}
    for title, configuration in CONFIGURATIONS.items():
        out = alone(frame(configuration))
        for key in ("total_energy", "forces", "virial"):
            references[f"{title}/{key}"] = out[key].detach().double().numpy()
    np.savez(folder / f"{name}.npz", **references)
    model = density_network(folder, base=True)
    compile_model(
        model, frame(CONFIGURATIONS["triclinic"]), folder / f"{name}.nequip.pt2", fast=True
    )
    write_sidecar(folder / f"{name}.cgpot.json", cutoff=NET_CUTOFF)


def frame(configuration: Configuration) -> dict[str, Any]:
    """The configuration with its neighbour list."""
    import torch
    from nequip.data import compute_neighborlist_

    data = {
        "pos": torch.tensor(configuration.positions),
        "cell": torch.tensor(configuration.cell)[None],
        "pbc": torch.ones(1, 3, dtype=torch.bool),
        "atom_types": torch.tensor(configuration.types),
    }
    return compute_neighborlist_(data, NET_CUTOFF)


def make_batch(folder: Path) -> None:
    """Two networks in one file."""
    from nequip.utils.global_state import set_global_state

    from cgpot.deploy.target import compile_ensemble

    set_global_state()
    compile_ensemble(
        [network(seed, "float64") for seed in (SEEDS["fast64"], SEEDS["other64"])],
        frame(CONFIGURATIONS["triclinic"]),
        folder / "batch64.nequip.pt2",
        fast=True,
    )
    write_sidecar(folder / "batch64.cgpot.json", cutoff=NET_CUTOFF)


def make_network(folder: Path, name: str) -> None:
    """A network: the compiled model and eager references."""
    from nequip.utils.global_state import set_global_state

    from cgpot.deploy.target import compile_model

    set_global_state()
    dtype = "float" + name[-2:]
    model = network(SEEDS.get(name, 7), dtype)
    references = {}
    for title, configuration in CONFIGURATIONS.items():
        out = model(frame(configuration))
        for key in ("total_energy", "forces", "virial", "atomic_energy"):
            references[f"{title}/{key}"] = out[key].detach().double().numpy()
    np.savez(folder / f"{name}.npz", **references)
    compile_model(
        model,
        frame(CONFIGURATIONS["triclinic"]),
        folder / f"{name}.nequip.pt2",
        device="cpu",
        fast=not name.startswith("float"),
    )
    write_sidecar(folder / f"{name}.cgpot.json", cutoff=NET_CUTOFF, dtype=dtype)


if __name__ == "__main__":
    what, target = sys.argv[1], Path(sys.argv[2])
    if what in LJ_MEMBERS:
        make_lj(target, what)
    elif what == "batch64":
        make_batch(target)
    elif what.startswith("density"):
        make_density(target, what)
    elif what == "shifted":
        make_shifted(target)
    else:
        make_network(target, what)
