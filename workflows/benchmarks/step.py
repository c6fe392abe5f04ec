# SPDX-License-Identifier: GPL-2.0-or-later
"""Time of an MD step with `pair_style cgpot`, and what the model alone takes of it.

Takes a folder of `cgpot deploy` and a starting frame (default: those of `make benzene`, else of
`make demo`) and prints, on one core: a LAMMPS step with the plugin, one evaluation of the same
compiled model from Python with a neighbour list that is there already, the same with the list
made anew each time (what a plain ASE calculator does), and ns/day at the given time step.

    python workflows/benchmarks/step.py
    python workflows/benchmarks/step.py --deploy deploy --start dataset/test.extxyz.xz
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).resolve().parents[2]


def best(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call in milliseconds, after a warm-up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1e3 * sorted(times)[len(times) // 2]


def lammps_step(model: Path, start: Path, steps: int, timestep_fs: float) -> float:
    """Milliseconds a step of an NVT run of `cgpot md`, its own loop time over its steps."""
    from cgpot.md.md_settings import MdConfig
    from cgpot.md.md_stage import run_md

    with tempfile.TemporaryDirectory() as folder:
        length = steps * timestep_fs / 1000.0
        config = MdConfig(
            start=start,
            model=model,
            length_ps=length,
            timestep_fs=timestep_fs,
            thermo_ps=length / 10,
            dump_ps=length,
            restart_ps=10 * length,
        )
        result = run_md("nvt", config, Path(folder) / "nvt", quiet=True)
    return timestep_fs * 1e-6 * 86400.0 / float(result["ns_per_day"]) * 1e3


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--deploy", type=Path, help="folder of cgpot deploy")
    parser.add_argument("--start", type=Path, help="data set whose first frame is taken")
    parser.add_argument("--steps", type=int, default=500, help="MD steps (default: 500)")
    parser.add_argument("--timestep-fs", type=float, default=5.0, help="fs (default: 5)")
    options = parser.parse_args()
    found = [
        run
        for name in ("benzene", "demo")
        if (run := ROOT / "runs" / name).joinpath("deploy", "model.nequip.pt2").is_file()
    ]
    deploy = options.deploy or (found[0] / "deploy" if found else None)
    start = options.start or (found[0] / "dataset" / "test.extxyz.xz" if found else None)
    if deploy is None or start is None:
        print("no compiled model: run `make demo` first, or give --deploy and --start")
        sys.exit(0)

    import torch
    import torch._inductor
    from nequip.utils.global_state import set_global_state

    from cgpot.core.native import built_operators
    from cgpot.deploy.operators import load
    from cgpot.deploy.target import INPUTS, edge_vector_data
    from cgpot.molecules.extxyz import read_frames
    from cgpot.potential.site_graph import site_graph

    set_global_state()
    load(built_operators())
    torch.set_num_threads(1)
    model = deploy / "model.nequip.pt2"
    frame = next(read_frames(start))
    compiled = torch._inductor.aoti_load_package(str(model))
    cutoff = float(compiled.loader.get_metadata()["r_max"])
    ready = [edge_vector_data(site_graph(frame, cutoff))[key] for key in INPUTS]

    def anew() -> object:
        data = edge_vector_data(site_graph(frame, cutoff))
        return compiled(*[data[key] for key in INPUTS])

    alone = best(lambda: compiled(*ready), 20)
    listed = best(anew, 10)
    step = lammps_step(model, start, options.steps, options.timestep_fs)
    ns_per_day = options.timestep_fs * 1e-6 * 86400.0 / (step * 1e-3)
    print(
        f"{frame.topology.n_sites} beads, cutoff {cutoff:g} Å, {ready[1].shape[1]} edges, one core"
    )
    print(f"  model alone, from Python           {alone:8.2f} ms")
    print(f"  with a new neighbour list (Python) {listed:8.2f} ms")
    print(f"  LAMMPS step with pair_style cgpot  {step:8.2f} ms = {ns_per_day:.1f} ns/day")
    print(f"  neighbour list, integration, rest  {step - alone:8.2f} ms")


if __name__ == "__main__":
    main()
