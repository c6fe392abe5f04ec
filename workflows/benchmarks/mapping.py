# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames per second of the mapping, and its memory at two lengths.

Prints, for the same trajectory and each on one core: reading alone (MDAnalysis), reading and
mapping with forces and virial, the same with the data set written, and, where VOTCA is
installed, ``csg_map`` (positions only).  Without arguments it makes a synthetic .trr of 6,000
atoms (500 benzene-like molecules of 12); with ``--trajectory`` (and ``--topology``,
``--energy``) it takes a real run.

    python workflows/benchmarks/mapping.py
    python workflows/benchmarks/mapping.py --topology run.tpr --trajectory run.trr --energy run.edr
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# One core: the measuring processes are spawned and read this when they import numpy.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

MAPPING = Path(__file__).parents[1] / "systems" / "benzene" / "mapping.yaml"
ATOMS = 6000
FRAMES = (500, 2000)


def synthetic(path: Path, frames: int) -> None:
    """A .trr of 500 rings of 12 atoms in a periodic box, atoms wrapped one by one."""
    import MDAnalysis

    rng = np.random.default_rng(1)
    angle = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    ring = np.concatenate([1.40 * circle, 2.48 * circle])
    box = 42.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(ATOMS, trajectory=True, forces=True)
        universe.dimensions = [box, box, box, 90, 90, 90]
        centres = rng.uniform(0, box, (ATOMS // 12, 1, 3))
        with MDAnalysis.Writer(str(path), ATOMS) as writer:
            for i in range(frames):
                centres += rng.normal(scale=0.2, size=centres.shape)
                x = centres + ring + rng.normal(scale=0.05, size=(ATOMS // 12, 12, 3))
                universe.atoms.positions = x.reshape(-1, 3) % box
                universe.atoms.forces = rng.normal(scale=800.0, size=(ATOMS, 3))
                universe.trajectory.ts.time = 0.5 * i
                universe.trajectory.ts.data["step"] = i
                writer.write(universe.atoms)


def rings() -> Any:
    """The topology of the synthetic trajectory."""
    from cgpot.formats.atomistic import AtomTopology

    first = 12 * np.arange(ATOMS // 12)[:, None]
    ring = np.arange(6)
    bonds = np.concatenate(
        [
            np.stack([first + ring, first + (ring + 1) % 6], axis=-1).reshape(-1, 2),
            np.stack([first + ring, first + ring + 6], axis=-1).reshape(-1, 2),
        ]
    )
    return AtomTopology(
        path=Path("synthetic"),
        n_atoms=ATOMS,
        masses=np.tile(np.r_[[12.011] * 6, [1.008] * 6], ATOMS // 12),
        bonds=bonds,
        molecules=np.repeat(np.arange(ATOMS // 12), 12),
        constraints=np.zeros((0, 2), dtype=np.int64),
    )


class FirstFrames:
    """The first ``n`` frames of a trajectory (the whole of it where ``n`` is None)."""

    def __init__(self, trajectory: Any, n: int | None) -> None:
        self.trajectory = trajectory
        self.n = len(trajectory) if n is None else min(n, len(trajectory))
        self.path = trajectory.path

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Any:
        for i, frame in enumerate(self.trajectory):
            if i == self.n:
                return
            yield frame


def system(arguments: argparse.Namespace, trajectory: Path, n: int | None) -> Any:
    """Topology, frames and virial of the run."""
    from cgpot.formats.atomistic import ThermoSeries
    from cgpot.formats.gromacs import TrrTrajectory, read_edr, read_topology

    topology = read_topology(arguments.topology) if arguments.topology else rings()
    frames = FirstFrames(TrrTrajectory(trajectory, topology.n_atoms), n)
    if arguments.energy:
        return topology, frames, read_edr(arguments.energy)
    times = np.asarray([h.time for h in frames.trajectory.headers])
    virial = np.random.default_rng(2).normal(size=(len(times), 3, 3))
    return topology, frames, ThermoSeries(Path("synthetic"), "time", times, virial)


def read_only(arguments: argparse.Namespace, trajectory: Path, n: int | None) -> Iterator[int]:
    """MDAnalysis reading positions and forces, nothing else; 0 when ready, then the count."""
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe.empty(arguments.atoms, trajectory=True, forces=True)
        universe.load_new(str(trajectory))
        yield 0
        count = 0
        for ts in universe.trajectory:
            if count == n:
                break
            count += 1
            _ = ts.positions, ts.forces
    yield count


def read_and_map(arguments: argparse.Namespace, trajectory: Path, n: int | None) -> Iterator[int]:
    """Our reading and mapping with forces and virial."""
    from cgpot.mapping.pipeline import mapped
    from cgpot.mapping.sites import resolve
    from cgpot.mapping.spec import load_mapping
    from cgpot.mapping.thermo import ThermoLookup

    topology, frames, thermo = system(arguments, trajectory, n)
    sites = resolve(load_mapping(arguments.mapping), topology, arguments.mapping)
    yield 0
    yield sum(1 for _ in mapped(frames, sites, ThermoLookup(thermo), None))


def map_and_write(arguments: argparse.Namespace, trajectory: Path, n: int | None) -> Iterator[int]:
    """The whole stage: the data set, its table and manifest written."""
    from cgpot.mapping.pipeline import MapOptions, map_trajectory

    topology, frames, thermo = system(arguments, trajectory, n)
    topology = type(topology)(**{**topology.__dict__, "path": trajectory})
    thermo = type(thermo)(**{**thermo.__dict__, "path": trajectory})
    with tempfile.TemporaryDirectory() as folder:
        yield 0
        yield map_trajectory(
            arguments.mapping, topology, frames, thermo, Path(folder) / "a.extxyz.xz",
            MapOptions(virial="exact", accept_mismatch="benchmark", quiet=True),
        ).n_frames  # fmt: skip


def _peak_mib() -> float:
    """Peak resident memory of this process (``ru_maxrss`` would hold the parent's as well)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measure(queue: Any, work: Callable[..., Iterator[int]], *args: Any) -> None:
    import MDAnalysis.lib.formats.libmdaxdr

    import cgpot.mapping.pipeline  # noqa: F401

    _ = MDAnalysis.lib.formats.libmdaxdr
    begin = time.perf_counter()
    steps = work(*args)
    next(steps)
    start, cpu = time.perf_counter(), time.process_time()
    count = next(steps)
    queue.put(
        (
            count,
            start - begin,
            time.perf_counter() - start,
            time.process_time() - cpu,
            _peak_mib(),
        )
    )


def measured(work: Callable[..., Iterator[int]], *args: Any) -> dict[str, float]:
    """Run in a fresh process on one core: frames/s by wall clock and by CPU time, peak memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure, args=(queue, work, *args))
    process.start()
    count, setup, wall, cpu, peak = queue.get()
    process.join()
    return {
        "frames": count,
        "frames_per_s": count / wall,
        "frames_per_cpu_s": count / cpu,
        "setup_s": setup,
        "peak_mib": peak,
    }


def votca(topology: Path | None, trajectory: Path, frames: int, folder: Path) -> float | None:
    """Frames/s of ``csg_map``, or None where it cannot run (it needs a .tpr)."""
    program = shutil.which("csg_map")
    if program is None or topology is None:
        return None
    beads = " ".join(f"1:BNZ:{e}{i}" for e in "CH" for i in range(1, 7))
    weights = " ".join(["12.011"] * 6 + ["1.008"] * 6)
    xml = folder / "bnz.xml"
    xml.write_text(
        "<cg_molecule><name>BNZ</name><ident>BNZ</ident><topology><cg_beads><cg_bead>"
        "<name>B</name><type>BNZ</type><mapping>M</mapping>"
        f"<beads>{beads}</beads></cg_bead></cg_beads></topology>"
        f"<maps><map><name>M</name><weights>{weights}</weights></map></maps></cg_molecule>"
    )
    start = time.perf_counter()
    subprocess.run(
        [program, "--top", str(topology), "--trj", str(trajectory), "--cg", str(xml),
         "--out", str(folder / "cg.gro"), "--nframes", str(frames)],
        check=True, capture_output=True,
    )  # fmt: skip
    return frames / (time.perf_counter() - start)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectory", type=Path, help=".trr with forces")
    parser.add_argument("--topology", type=Path, help=".tpr")
    parser.add_argument("--energy", type=Path, help=".edr (default: an invented virial)")
    parser.add_argument("--mapping", type=Path, default=MAPPING)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    if bool(arguments.trajectory) != bool(arguments.topology):
        parser.error("--trajectory and --topology go together")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trajectory = folder / "run.trr"
        if arguments.trajectory:
            # A copy: MDAnalysis leaves an index file beside the trajectory.
            shutil.copy(arguments.trajectory, trajectory)
        else:
            synthetic(trajectory, FRAMES[1])
        from cgpot.formats.gromacs import scan_trr

        headers = scan_trr(trajectory)
        arguments.atoms = headers[0].n_atoms
        total = len(headers)
        with open(trajectory, "rb") as stream:  # into the page cache
            while stream.read(1 << 24):
                pass
        part = max(total // 4, 1)
        rows: dict[str, Any] = {}
        rows["MDAnalysis reading alone"] = measured(read_only, arguments, trajectory, None)
        rows["read and map, forces and virial"] = measured(
            read_and_map, arguments, trajectory, None
        )
        rows[f"the same, first {part} frames"] = measured(read_and_map, arguments, trajectory, part)
        rows["read, map and write .extxyz.xz"] = measured(
            map_and_write, arguments, trajectory, part
        )
        print(f"{arguments.atoms} atoms, {total} frames, one core; mapping {arguments.mapping}")
        for title, row in rows.items():
            print(
                f"{title:34s} {row['frames_per_s']:8.0f} frames/s"
                f" ({row['frames_per_cpu_s']:.0f} per CPU second), peak {row['peak_mib']:.0f} MiB,"
                f" {row['setup_s']:.1f} s to open"
            )
        speed = votca(arguments.topology, trajectory, min(total, 400), folder)
        rows["VOTCA csg_map, positions only"] = speed
        print(
            f"{'VOTCA csg_map, positions only':34s} "
            + (f"{speed:8.0f} frames/s" if speed else "not run (needs csg_map and a .tpr)")
        )
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
