# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed and scale of `pair_style cgpot`, beside everything that could be run in its place.

    python workflows/benchmarks/speed.py --train runs/benzene/train --start test.extxyz.xz
    python workflows/benchmarks/speed.py --train a/train --train b/train --start test.extxyz.xz \
        --sizes 1 2 4 8 --ranks 1 2 --only plugin --output workflows/benchmarks/results.json

Sections (`--only`), each on a machine that should do nothing else:

plugin    models as `cgpot deploy` makes them (fast) and with `--plain` (the network as
          `nequip-compile` would make it, in the same plugin), over sizes and MPI ranks; linear
          models as LAMMPS tables; weak scaling with two ranks on a doubled box
ase       the same networks through NequIP's ASE calculator
aa        the atomistic fluid: GROMACS (where installed) and LAMMPS
timestep  energy drift and temperature at constant energy against the step of time

With `--output` every row is written at once and a stopped benchmark goes on; `--redo` measures
again; `--table` only prints the tables of that file.  Without models it says so and ends.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from scale import ase_md, atomistic  # noqa: E402
from scale.decks import Model, deck, measures, run_lammps, thermo_rows  # noqa: E402
from scale.fits import drift  # noqa: E402
from scale.store import Store, available_memory, machine  # noqa: E402
from scale.table import markdown  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("plugin", "ase", "aa", "timestep")
WARM = 20
"""Steps before a timed run, at least: the first new list of neighbours is among them."""
TIMESTEPS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0)


def write_start(start: Path, folder: Path) -> tuple[Path, str]:
    """The first frame as a LAMMPS data file, and its bead names."""
    from cgpot.formats.lammps.cg_data import write_data
    from cgpot.molecules.extxyz import read_frames

    frame = next(read_frames(start))
    path = folder / "start.data"
    write_data(path, frame)
    return path, " ".join(frame.topology.type_names)


def deployed(
    train: Path, name: str, compiled: Path, names: tuple[str, ...], kinds: list[str]
) -> list[Model]:
    """The potentials of a training folder: fast and plain, or a table."""
    from cgpot.deploy.deployment import deploy

    models = []
    for kind in ("fast", "plain"):
        if kind == "plain" and kind not in kinds:
            continue
        folder = (compiled / f"{name}-{kind}").resolve()
        done = deploy(train, folder, fast=kind == "fast", quiet=True)
        if "pair_file" in done.content:
            return [Model(name, "table", folder / str(done.content["pair_file"]), names)]
        models.append(Model(name, kind, folder / "model.nequip.pt2", names))
    return models


class Benchmark:
    """What all sections share."""

    def __init__(self, options: argparse.Namespace, start: Path, scratch: Path) -> None:
        self.options = options
        self.start = start
        self.scratch = scratch
        self.store = Store(options.output, redo=options.redo)
        self.data, names = write_start(start, scratch)
        self.names = tuple(names.split())
        self.cost: dict[tuple[str, str], float] = {}  # seconds a bead and step
        self.memory: dict[tuple[str, str], float] = {}  # bytes a bead, of all ranks

    def add(self, row: dict[str, Any]) -> None:
        """Keep and print a row."""
        self.store.add(row)
        shown = ("section", "system", "kind", "beads", "ranks", "timestep_fs", "skipped")
        words = [str(row[key]) for key in shown if row.get(key) is not None]
        for key, form, unit in (
            ("steps_per_second", ".4g", "steps/s"),
            ("ns_per_day", ".4g", "ns/day"),
            ("outside_model_percent", ".1f", "% outside the model"),
            ("drift", ".3g", "kT per bead and ns"),
            ("temperature_K", ".1f", "K"),
            ("cpu_use_percent", ".0f", "% CPU"),
        ):
            if row.get(key) is not None:
                words.append(f"{row[key]:{form}} {unit}")
        print("  ".join(words), flush=True)

    def plugin(self, model: Model, replicate: tuple[int, int, int], ranks: list[int]) -> None:
        """Time one model at one size on so many ranks each, in turns; the fastest runs count."""
        steps = {n: self._steps(model, replicate, n) for n in ranks}
        runs: dict[int, list[dict[str, Any]]] = {n: [] for n, count in steps.items() if count}
        for _ in range(self.options.repeats):
            for n, rows in runs.items():
                rows.append(
                    self._run(model, replicate, n, warm=max(WARM, steps[n] // 10), steps=steps[n])
                )
        for n, rows in runs.items():
            best = max(rows, key=lambda row: float(row["steps_per_second"]))
            slowest = min(float(row["steps_per_second"]) for row in rows)
            self._learn((model.name, model.kind), {**best, "ranks": n})
            self.add(
                {
                    **self._key(model, replicate, n),
                    **best,
                    "runs": len(rows),
                    "slowest_steps_per_second": slowest,
                    "ns_per_day": self.ns_per_day(best["steps_per_second"]),
                }
            )

    def _key(self, model: Model, replicate: tuple[int, int, int], ranks: int) -> dict[str, Any]:
        beads = self.beads_of_frame() * replicate[0] * replicate[1] * replicate[2]
        key = {"section": "plugin", "system": model.name, "kind": model.kind}
        return {**key, "beads": beads, "ranks": ranks}

    def _steps(self, model: Model, replicate: tuple[int, int, int], ranks: int) -> int:
        """Steps of a timed run; 0 where the row is known, or for good reasons left out."""
        key = self._key(model, replicate, ranks)
        beads = int(key["beads"])
        known = self.store.find(**key)
        of = (model.name, model.kind)
        if known is not None:
            if "skipped" not in known:
                self._learn(of, known)
            return 0
        wanted = self.memory.get(of, 0.0) * beads
        if wanted > 0.8 * available_memory():
            self.add({**key, "skipped": f"needs about {wanted / 1e9:.0f} GB"})
            return 0
        if of not in self.cost:
            self._learn(of, self._run(model, replicate, ranks, warm=3, steps=10))
        seconds = self.cost[of] * beads / ranks
        if 6 * seconds > self.options.longest:
            self.add({**key, "skipped": f"a step takes about {seconds:.0f} s"})
            return 0
        return max(20, round(self.options.seconds / seconds))

    def _run(
        self, model: Model, replicate: tuple[int, int, int], ranks: int, *, warm: int, steps: int
    ) -> dict[str, Any]:
        style = f"ghosts {self.options.ghosts}" if self.options.ghosts != "auto" else ""
        text = deck(
            model,
            self.data,
            replicate,
            warm=warm,
            steps=steps,
            timestep_fs=self.options.timestep_fs,
            skin=self.options.skin,
            style=style,
        )
        return measures(run_lammps(text, ranks, self.scratch), ranks)

    def _learn(self, of: tuple[str, str], row: dict[str, Any]) -> None:
        ranks = int(row.get("ranks", 1))
        self.cost[of] = ranks / row["steps_per_second"] / row["beads"]
        self.memory[of] = 1e6 * ranks * row["memory_MB_per_rank"] / row["beads"]

    def beads_of_frame(self) -> int:
        """Beads of the frame that is replicated."""
        lines = self.data.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[0]) for line in lines if line.strip().endswith("atoms"))

    def ns_per_day(self, steps_per_second: float, timestep_fs: float | None = None) -> float:
        """Speed at a step of time (default: that of the options)."""
        step = self.options.timestep_fs if timestep_fs is None else timestep_fs
        return float(steps_per_second * step * 1e-6 * 86400.0)

    def ase(self, model: Model) -> None:
        """Time NequIP's ASE calculator at 500 beads."""
        beads = self.beads_of_frame()
        how = "NequIP's ASE calculator"
        key = {"section": "ase", "system": model.name, "kind": how, "beads": beads, "ranks": 1}
        if self.store.find(**key) is not None:
            return
        package = model.file.with_name("model.nequip.zip")
        folder = self.options.models or self.scratch
        file = ase_md.compile_for_ase(package, folder / f"{model.name}-ase.nequip.pt2")
        step = self.options.timestep_fs
        row = ase_md.time_steps(file, self.start, (1, 1, 1), self.options.seconds, step)
        self.add({**key, **row, "ns_per_day": self.ns_per_day(row["steps_per_second"])})

    def atomistic(self, threads: int) -> None:
        """Time the atomistic engines on 500 molecules."""
        for kind in atomistic.WAYS:
            key = {"section": "aa", "system": "GROMACS, OPLS-AA", "kind": kind, "ranks": threads}
            if self.store.find(**key) is None:
                folder = self.scratch / f"gromacs-{threads}-{len(kind)}"
                folder.mkdir(exist_ok=True)
                row = atomistic.gromacs(kind, self.options.aa_steps, threads, folder)
                if row is None:
                    row = {"skipped": "not measured: gmx is not installed"}
                self.add({**key, "molecules": atomistic.MOLECULES, **row})
        key = {"section": "aa", "system": "LAMMPS, OPLS-AA", "kind": "flexible, 1 fs"}
        key |= {"ranks": threads}
        if self.store.find(**key) is None:
            row = atomistic.lammps(max(self.options.aa_steps // 10, 20), threads, self.scratch)
            self.add({**key, "molecules": atomistic.MOLECULES, **row})

    def timesteps(self, model: Model) -> None:
        """Drift and temperature at constant energy, after a short equilibration."""
        for step in TIMESTEPS:
            key = {"section": "timestep", "system": model.name, "kind": model.kind}
            key |= {"timestep_fs": step}
            if self.store.find(**key) is None:
                self.add({**key, **self._timestep(model, step)})

    def _timestep(self, model: Model, step: float) -> dict[str, Any]:
        steps = round(1000.0 * self.options.drift_ps / step)
        text = deck(
            model,
            self.data,
            (1, 1, 1),
            warm=round(1000.0 / step),
            steps=steps,
            every=max(1, steps // 200),
            timestep_fs=step,
            skin=self.options.skin,
        )
        try:
            log = run_lammps(text, 1, self.scratch)
        except SystemExit:
            return {"drift": None, "failed": "LAMMPS stopped"}
        rows = thermo_rows(log)[1:]
        if not all(math.isfinite(value) for row in rows for value in row[:4]):
            return {"drift": None, "failed": "energy is not finite"}
        time = [row[0] * step / 1000.0 for row in rows]
        slope, error = drift(time, [row[3] for row in rows], self.beads_of_frame())
        speed = measures(log, 1)["steps_per_second"]
        return {
            "drift": slope,
            "drift_error": error,
            "temperature_K": sum(row[1] for row in rows) / len(rows),
            "steps_per_second": speed,
            "ns_per_day": self.ns_per_day(speed, step),
        }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, action="append", help="folder of cgpot train")
    parser.add_argument("--name", action="append", help="of the model in tables, for each --train")
    parser.add_argument("--start", type=Path, help="data set whose first frame is replicated")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--kinds", nargs="+", default=["fast", "plain", "table"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2], help="replicas each way")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ghosts", default="auto", choices=["auto", "exchange", "halo"])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a timed run, about")
    parser.add_argument("--repeats", type=int, default=1, help="timed runs; the fastest counts")
    parser.add_argument("--longest", type=float, default=60.0, help="s that six steps may take")
    parser.add_argument("--timestep-fs", type=float, default=10.0)
    parser.add_argument("--drift-ps", type=float, default=20.0, help="length of a run at NVE")
    parser.add_argument("--aa-steps", type=int, default=1000, help="steps of GROMACS")
    parser.add_argument("--skin", type=float, default=2.0, help="Å")
    parser.add_argument("--models", type=Path, help="folder that keeps the compiled models")
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    parser.add_argument("--redo", action="store_true", help="measure again what the file holds")
    parser.add_argument("--table", action="store_true", help="print the tables of --output")
    options = parser.parse_args(arguments)
    if options.name and len(options.name) != len(options.train or []):
        parser.error("--name is given once for each --train, or not at all")
    if options.table and options.output is None:
        parser.error("--table needs --output")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = parse(arguments)
    if options.table:
        from cgpot.core.files import read_json

        print(markdown(read_json(options.output)))
        return
    runs = [ROOT / "runs" / name for name in ("benzene", "demo")]
    found = [run for run in runs if (run / "train" / "result.json").is_file()]
    trains = options.train or [run / "train" for run in found[:1]]
    start = options.start or (found[0] / "dataset" / "test.extxyz.xz" if found else None)
    if not trains or start is None:
        print("no trained model: run `make demo` first, or give --train and --start")
        sys.exit(0)
    names = options.name or [train.absolute().parent.name for train in trains]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Benchmark(options, start, Path(scratch))
        if "aa" in options.only:
            for threads in options.ranks:
                bench.atomistic(threads)
        for train, name in zip(trains, names, strict=True):
            if options.only == ["aa"]:
                break
            models = deployed(
                train, name, options.models or Path(scratch), bench.names, options.kinds
            )
            models = [model for model in models if model.kind in options.kinds]
            for model in models:
                if "plugin" in options.only:
                    for n in sorted(options.sizes):
                        bench.plugin(model, (n, n, n), sorted(options.ranks))
                    if 2 in options.ranks and 2 in options.sizes:
                        bench.plugin(model, (2, 2, 4), [2])
                if "timestep" in options.only and model.kind == "fast":
                    bench.timesteps(model)
            if "ase" in options.only and models and models[0].compiled:
                bench.ase(models[0])
        content = {"machine": machine(), "rows": bench.store.rows}
        print()
        print(markdown(content))


if __name__ == "__main__":
    main()
