# SPDX-License-Identifier: GPL-2.0-or-later
"""`pair_style cgpot` over system sizes and MPI ranks, beside the same network compiled plainly.

Compiles each model twice, as `cgpot deploy` does and with `--plain` (the network as it is, in the
same plugin: what a pair style without tables and fused kernels runs), replicates a frame, and
times NVE steps in LAMMPS, one run after another on a machine that should do nothing else:

    python workflows/benchmarks/speed.py --train runs/benzene/train --start test.extxyz.xz
    python workflows/benchmarks/speed.py --train a/train --train b/train --start test.extxyz.xz \
        --replicate 1 2 4 --ranks 1 2 --output results.json

Prints steps/s, bead-steps/s, ns/day at the time step given, the share of the loop outside the pair
style, memory per bead (of all ranks, the model included), the exponent of the cost with the number
of beads, and for several ranks the gain over one.  Without models it says so and ends.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).resolve().parents[2]
DECK = """units metal
atom_style molecular
special_bonds lj/coul 1 1 1
read_data {data}
replicate {n} {n} {n}
pair_style cgpot ghosts {ghosts}
pair_coeff * * {model} {names}
neighbor {skin} bin
velocity all create {temperature} 7 loop all
fix 1 all nve
timestep {timestep}
thermo 1000000
run {warm} post no
run {steps}
info memory
"""


def deploy(train: Path, folder: Path, plain: bool) -> Path:
    """The compiled model of a training folder."""
    from cgpot.deploy.run import deploy as run

    run(train, folder, fast=not plain, quiet=True)
    return folder / "model.nequip.pt2"


def run_lammps(deck: str, ranks: int, folder: Path) -> dict[str, float]:
    """Times of a run from LAMMPS's own summary."""
    from cgpot.core.native import built_plugin, lammps_environment, lammps_program
    from cgpot.plugin.build import find_tool

    plugin = built_plugin()
    if plugin is None:
        sys.exit("the plugin is not built: run `make plugin`")
    (folder / "in.deck").write_text(deck, encoding="utf-8")
    words = [str(lammps_program()), "-in", "in.deck", "-log", "none", "-nocite"]
    if ranks > 1:
        words = [str(find_tool("mpiexec")), "-n", str(ranks), *words]
    done = subprocess.run(
        words,
        cwd=folder,
        env=lammps_environment(str(plugin.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:])
        sys.exit(f"LAMMPS ended with status {done.returncode}")
    text = done.stdout
    loop = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", text)[-1]
    pair = re.findall(r"^Pair\s*\|\s*\S+\s*\|\s*(\S+)", text, re.MULTILINE)[-1]
    cpu = re.findall(r"^(\S+)% CPU use", text, re.MULTILINE)[-1]
    memory = re.findall(r"Maximum resident set size:\s*(\S+) Mbyte", text)
    seconds, steps, beads = float(loop[0]), int(loop[1]), int(loop[2])
    return {
        "beads": beads,
        "steps_per_second": steps / seconds,
        "outside_pair_percent": 100.0 * (1.0 - float(pair) / seconds),
        "cpu_use_percent": float(cpu),
        "memory_MB_per_rank": float(memory[-1]) if memory else math.nan,
    }


def write_start(start: Path, folder: Path) -> tuple[Path, str]:
    """The first frame as a LAMMPS data file, and its bead names."""
    from cgpot.core.extxyz import read_frames
    from cgpot.lammps.data import write_data

    frame = next(read_frames(start))
    path = folder / "start.data"
    write_data(path, frame)
    return path, " ".join(frame.topology.type_names)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--train", type=Path, action="append", help="folder of cgpot train")
    parser.add_argument("--start", type=Path, help="data set whose first frame is replicated")
    parser.add_argument("--replicate", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ghosts", default="auto", choices=["auto", "exchange", "halo"])
    parser.add_argument("--bead-steps", type=float, default=2.5e5, help="of a run, about")
    parser.add_argument("--timestep-fs", type=float, default=10.0)
    parser.add_argument("--skin", type=float, default=2.0, help="Å")
    parser.add_argument("--models", type=Path, help="folder that keeps the compiled models")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    runs = [ROOT / "runs" / name for name in ("benzene", "demo")]
    found = [run for run in runs if (run / "train" / "result.json").is_file()]
    trains = options.train or [run / "train" for run in found[:1]]
    start = options.start or (found[0] / "dataset" / "test.extxyz.xz" if found else None)
    if not trains or start is None:
        print("no trained model: run `make demo` first, or give --train and --start")
        sys.exit(0)

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        compiled = options.models or folder
        data, names = write_start(start, folder)
        print(
            f"{'model':22} {'kind':6} {'beads':>8} {'ranks':>5} {'steps/s':>9} "
            f"{'bead-steps/s':>12} {'ns/day':>8} {'outside':>8} {'B/bead':>8}"
        )
        for train in trains:
            for kind in ("plain", "fast"):
                name = f"{train.absolute().parent.name}-{kind}"
                model = deploy(train, (compiled / name).resolve(), kind == "plain")
                for n in options.replicate:
                    for ranks in options.ranks:
                        steps = max(10, int(options.bead_steps / (500 * n**3)))
                        deck = DECK.format(
                            data=data,
                            n=n,
                            ghosts=options.ghosts,
                            model=model,
                            names=names,
                            skin=options.skin,
                            temperature=300.0,
                            timestep=options.timestep_fs * 1e-3,
                            warm=max(5, steps // 10),
                            steps=steps,
                        )
                        row = {
                            "model": train.absolute().parent.name,
                            "kind": kind,
                            "ranks": ranks,
                            **run_lammps(deck, ranks, folder),
                        }
                        rate = row["steps_per_second"]
                        row["bead_steps_per_second"] = rate * row["beads"]
                        row["ns_per_day"] = rate * options.timestep_fs * 1e-6 * 86400.0
                        rows.append(row)
                        memory = row["memory_MB_per_rank"] * ranks * 1e6 / row["beads"]
                        print(
                            f"{row['model'][:22]:22} {kind:6} {row['beads']:8} {ranks:5} "
                            f"{rate:9.2f} {row['bead_steps_per_second']:12.0f} "
                            f"{row['ns_per_day']:8.2f} {row['outside_pair_percent']:7.1f}% "
                            f"{memory:8.0f}",
                            flush=True,
                        )
    summary(rows)
    if options.output:
        from cgpot.core.files import write_json
        from cgpot.core.manifest import package_versions

        write_json(
            options.output,
            {
                "command": "python workflows/benchmarks/speed.py " + " ".join(sys.argv[1:]),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
                "versions": package_versions(("torch", "nequip", "lammps")),
                "rows": rows,
            },
        )


def summary(rows: list[dict[str, Any]]) -> None:
    """Gains of fast over plain and of ranks, and the exponent of the cost."""
    import numpy as np

    def find(**wanted: Any) -> list[dict[str, Any]]:
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    for fast in find(kind="fast"):
        key = {name: fast[name] for name in ("model", "beads", "ranks")}
        plain = find(kind="plain", **key)[0]
        gain = fast["steps_per_second"] / plain["steps_per_second"]
        print(f"{key['model']}, {key['beads']} beads, {key['ranks']} rank(s): {gain:.2f} x plain")
        if fast["ranks"] > 1 and (one := find(kind="fast", **{**key, "ranks": 1})):
            gain = fast["steps_per_second"] / one[0]["steps_per_second"]
            print(f"  {gain:.2f} x one rank")
    for model in {row["model"] for row in rows}:
        line = find(kind="fast", model=model, ranks=1)
        if len(line) > 1:
            slope = np.polyfit(
                np.log([row["beads"] for row in line]),
                -np.log([row["steps_per_second"] for row in line]),
                1,
            )[0]
            print(f"{model}: cost grows with the number of beads to the power {slope:.3f}")


if __name__ == "__main__":
    main()
