# SPDX-License-Identifier: GPL-2.0-or-later
"""`pair_style cgpot` on a CUDA device, from some hundred beads to millions, with a roofline.

Deploys each training folder for CUDA several times (`plain`: the network as it is; `torch`: radial
functions as splines in plain torch operations; `triton`: with our kernels; `tf32`: `torch` with
products in TF32, float32 models only), runs `torch` also with neighbours from the host (`host`),
replicates a frame, and times NVE steps in LAMMPS on a device that should do nothing else:

    python workflows/benchmarks/gpu.py --train runs/benzene/train --start test.extxyz.xz \
        --replicate 1 2 4 8 16 --output gpu.json

Prints bead-steps/s, the share of the loop outside LAMMPS's pair time and outside the model, device
memory per bead, and how long the message passing alone would take at the ceilings measured in the
same run (bandwidth of a copy, rate of a product of matrices): bytes and operations are counted from
the model's tensor products, see :func:`message_passing`.  Before that evaluations alone are timed,
in Python, also of the network with the kernels of other packages where they are installed
(:data:`OTHERS`).  Without a CUDA device it says so and ends.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"fast": False},
    "torch": {"tables": "torch"},
    "triton": {"tables": "triton"},
    "host": {"tables": "torch"},
    "tf32": {"tables": "torch", "tf32": True},
}
"""Options of the deployment; neighbours are found on the device unless the kind is ``host``."""
OTHERS: dict[str, tuple[str, str]] = {
    "openequivariance": ("enable_OpenEquivariance", "openequivariance"),
    "cuequivariance": ("enable_CuEquivariance", "cuequivariance_torch"),
    "allegro-triton": ("enable_TritonContracter", "triton"),
    "allegro-cuequivariance": ("enable_CuEquivarianceContracter", "cuequivariance_torch"),
}
"""Modifiers of NequIP and Allegro that put other kernels into a network, and what they need."""
DECK = """units metal
atom_style molecular
special_bonds lj/coul 1 1 1
read_data {data}
replicate {n} {n} {n}
pair_style cgpot graph {graph}
pair_coeff * * {model} {names}
compute C all pair cgpot
neighbor {skin} bin
velocity all create 300.0 7 loop all
fix 1 all nve
timestep {timestep}
thermo_style custom step temp {columns}
thermo 1000000
run {warm} post no
run {steps}
info memory
"""
COLUMNS = "c_C[6] c_C[7]"
"""Seconds in the model and in the pair style, of `compute pair`."""


@dataclass(frozen=True)
class Cost:
    """Of one evaluation with gradients: main memory traffic in bytes, and operations."""

    bytes_per_edge: float = 0.0
    bytes_per_bead: float = 0.0
    operations_per_edge: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[float, float, float]:
        """The three numbers."""
        return self.bytes_per_edge, self.bytes_per_bead, self.operations_per_edge

    def seconds(self, beads: int, edges: int, bandwidth: float, rate: float) -> float:
        """Least time at these ceilings (bytes/s, operations/s)."""
        traffic = self.bytes_per_edge * edges + self.bytes_per_bead * beads
        return max(traffic / bandwidth, self.operations_per_edge * edges / rate)


def message_passing(plan: Any, itemsize: int, first: bool) -> Cost:
    """Least cost of the sums of a layer and of their gradients.

    Traffic: each edge reads its two indices and its vector and the features of its neighbour, in
    both directions; backwards it also writes the gradient of its vector and adds to that of the
    neighbour's features (read and written; not in the first layer, whose features are constants).
    Each bead writes its sums and reads their gradients.  Tables and couplings stay in the caches.

    Operations, each path of c channels from l1 to l3 with p products of components (i, k) that the
    coupling joins and m nonzero symbols: 2 m for the coupling with the harmonics, and a channel
    6 for the radial function, 2 p for the products and 2 (2 l3 + 1) for weight and sum; backwards
    6 for the slope, 2 p for the gradient of the features (not in the first layer), 2 p for that of
    the harmonics, 4 (2 l3 + 1) for that of the weight, and 2 m for the harmonics.

    Args:
        plan: the tensor product (`cgpot.deploy.operators.Plan`).
        itemsize: bytes of a feature, and of a component of a vector.
        first: whether the features are constants.
    """
    from cgpot.deploy.operators import coupling

    width = sum(channels * (2 * degree + 1) for degree, channels in plan.irreps) * itemsize
    vector = 3 * itemsize  # of fast models; plain ones take all in double precision
    bytes_per_edge = 2 * (2 * 8 + vector) + 2 * width + vector + (0 if first else 2 * width)
    operations = 0
    for k, (source, edge, out) in enumerate(plan.paths):
        symbols = coupling(plan.irreps[source][0], edge, out).abs() > 1e-12
        nonzero, pairs = int(symbols.sum()), int(symbols.any(1).sum())
        forward = 6 + 2 * pairs + 2 * (2 * out + 1)
        backward = 6 + (2 if first else 4) * pairs + 4 * (2 * out + 1)
        operations += 4 * nonzero + plan.channels(k) * (forward + backward)
    return Cost(float(bytes_per_edge), 2.0 * plan.width() * itemsize, float(operations))


def count(model: Any) -> Cost | None:
    """Cost of the message passing of a nequip `GraphModel`; None for models without."""
    from cgpot.deploy.acceleration import accelerate

    if accelerate(model, "torch") is None:
        return None
    plans = [m.plan for m in model.modules() if type(m).__name__ == "PlainConvolution"]
    size = model.model_dtype.itemsize
    costs = [message_passing(plan, size, first=k == 0) for k, plan in enumerate(plans)]
    return sum(costs, Cost()) if costs else None


def ceilings(device: str, megabytes: int = 1024, order: int = 8192) -> dict[str, float]:
    """Measured bytes/s of a copy and operations/s of a float32 product of matrices."""
    import torch

    def seconds(work: Any) -> float:
        wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
        times = []
        for _ in range(5):
            wait()
            begin = time.perf_counter()
            work()
            wait()
            times.append(time.perf_counter() - begin)
        return min(times)

    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    bandwidth = 2.0 * source.numel() * 4 / seconds(lambda: target.copy_(source))
    a = torch.rand(order, order, device=device)
    rate = 2.0 * order**3 / seconds(lambda: torch.mm(a, a))
    return {"bytes_per_second": bandwidth, "operations_per_second": rate}


def evaluations(
    package: Path, frame: Any, folder: Path, *, device: str, beads: int, ways: list[str]
) -> dict[str, float | str]:
    """Milliseconds of an evaluation by each kind of compiled model, or why there are none.

    Args:
        package: `model.nequip.zip`.
        frame: a configuration, whose copies are evaluated.
        folder: for the compiled models.
        device: ``cpu`` or ``cuda``.
        beads: at least so many.
        ways: of tabulated models (`cgpot.deploy.acceleration.WAYS`), besides the network as it
            is and that with the kernels of each of :data:`OTHERS`.
    """
    from cgpot.core.errors import CgpotError
    from cgpot.deploy.fastest import failed, repeated
    from cgpot.deploy.package import compile_package
    from cgpot.deploy.verify import CompiledModel

    kinds: dict[str, dict[str, Any]] = {"plain": {"fast": False}}
    kinds |= {way: {"tables": way} for way in ways}
    result: dict[str, float | str] = {}
    for name, (modifier, module) in OTHERS.items():
        if find_spec(module) is None:
            result[name] = f"not measured: no {module}"
        else:
            kinds[name] = {"fast": False, "modifiers": [modifier]}
    for name, options in kinds.items():
        try:
            target = compile_package(package, folder / f"{name}.nequip.pt2", device, **options)
            if name in OTHERS:
                import_module(OTHERS[name][1])  # its operators
            model = CompiledModel(target, device)
            result[name] = model.milliseconds(repeated(model.inputs(frame), beads))
        except (CgpotError, RuntimeError) as err:
            result[name] = failed(err)
    return result


class DeviceMemory(threading.Thread):
    """The most memory in use on a device, MiB, while a program runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.base = self.most = self.used()
        self.ended = threading.Event()

    @staticmethod
    def used() -> float:
        """Now, by nvidia-smi; 0 without it."""
        words = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used"]
        words.append("--format=csv,noheader,nounits")
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError:
            return 0.0
        return float(done.stdout.split()[0]) if done.returncode == 0 else 0.0

    def run(self) -> None:
        """Ask ten times a second."""
        while not self.ended.wait(0.1):
            self.most = max(self.most, self.used())

    def stop(self) -> float:
        """What came on top of what was in use before."""
        self.ended.set()
        self.join()
        return self.most - self.base


def read_log(text: str, timed: bool) -> dict[str, float]:
    """Figures of the last run in LAMMPS's output.

    Raises:
        ValueError: there is no finished run in it.
    """
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", text)
    pairs = re.findall(r"^Pair\s*\|\s*\S+\s*\|\s*(\S+)", text, re.MULTILINE)
    if not loops or not pairs:
        raise ValueError("no finished run in LAMMPS's output")
    seconds, steps, beads = float(loops[-1][0]), int(loops[-1][1]), int(loops[-1][2])
    result = {
        "beads": beads,
        "steps_per_second": steps / seconds,
        "outside_pair_percent": 100.0 * (1.0 - float(pairs[-1]) / seconds),
    }
    if timed:
        block = text.rsplit("Step", 1)[1].split("Loop time")[0].splitlines()
        rows = [line.split() for line in block[1:] if re.match(r"\s*\d", line)]
        (first, _), (last, _) = ([float(x) for x in rows[k][2:4]] for k in (0, -1))
        result["model_seconds_per_step"] = (last - first) / steps
        result["outside_model_percent"] = 100.0 * (1.0 - (last - first) / seconds)
    return result


def run_lammps(deck: str, folder: Path) -> tuple[str, float]:
    """LAMMPS's output and the device memory it took, MiB.

    Raises:
        RuntimeError: LAMMPS failed (end of its output given).
    """
    from cgpot.core.native import built_plugin, lammps_environment, lammps_program

    plugin = built_plugin()
    if plugin is None:
        sys.exit("the plugin is not built: run `make plugin`")
    (folder / "in.deck").write_text(deck, encoding="utf-8")
    memory = DeviceMemory()
    memory.start()
    done = subprocess.run(
        [str(lammps_program()), "-in", "in.deck", "-log", "none", "-nocite"],
        cwd=folder,
        env=lammps_environment(str(plugin.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    used = memory.stop()
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip().splitlines()[-4:]
        raise RuntimeError(" / ".join(tail))
    return done.stdout, used


def measure(deck: dict[str, Any], folder: Path) -> dict[str, float]:
    """One run; without the times of `compute pair` where the plugin does not give them."""
    timed = True
    try:
        text, memory = run_lammps(DECK.format(columns=COLUMNS, **deck), folder)
    except RuntimeError as err:
        if "c_C" not in str(err):
            raise
        timed = False
        text, memory = run_lammps(DECK.format(columns="", **deck), folder)
    figures = read_log(text, timed)
    figures["bead_steps_per_second"] = figures["steps_per_second"] * figures["beads"]
    figures["device_bytes_per_bead"] = memory * 2**20 / figures["beads"]
    return figures


def roofline(
    row: dict[str, Any], cost: Cost | None, edges_per_bead: float, limits: dict[str, float]
) -> dict[str, float]:
    """What the message passing alone would take at the ceilings, and its share of a step."""
    if cost is None:
        return {}
    beads = int(row["beads"])
    least = cost.seconds(
        beads,
        round(edges_per_bead * beads),
        limits["bytes_per_second"],
        limits["operations_per_second"],
    )
    return {
        "least_seconds_per_step": least,
        "bead_steps_per_second_at_ceiling": beads / least,
        "percent_of_ceiling": 100.0 * least * row["steps_per_second"],
    }


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, its paths checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--train", type=Path, action="append", default=[])
    parser.add_argument("--start", type=Path, help="data set whose first frame is replicated")
    parser.add_argument("--replicate", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--beads", type=int, default=32_000, help="of evaluations alone")
    parser.add_argument("--bead-steps", type=float, default=2e7, help="of a run, about")
    parser.add_argument("--timestep-fs", type=float, default=10.0)
    parser.add_argument("--skin", type=float, default=2.0, help="Å")
    parser.add_argument("--models", type=Path, help="folder that keeps the compiled models")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args(words)
    for train in options.train:
        if not (train / "result.json").is_file():
            parser.error(f"--train {train}: expected the output folder of 'cgpot train'")
    if options.train and (options.start is None or not options.start.is_file()):
        parser.error(f"--start {options.start}: expected a data set of 'cgpot dataset'")
    if min(options.replicate) < 1:
        parser.error(
            f"--replicate: expected whole numbers of at least 1, found {min(options.replicate)}"
        )
    return options


def main(words: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    options = arguments(words)
    import torch

    if not torch.cuda.is_available():
        print("not measured: no CUDA device")
        return
    if not options.train:
        sys.exit("no trained model: give --train and --start")
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state
    from speed import write_start

    from cgpot.core.errors import CgpotError
    from cgpot.deploy.deployment import deploy
    from cgpot.deploy.package import build_package
    from cgpot.molecules.extxyz import read_frames
    from cgpot.potential.site_graph import site_graph

    set_global_state()
    limits = ceilings("cuda")
    print(
        f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}: copy "
        f"{limits['bytes_per_second'] / 1e9:.0f} GB/s, float32 product "
        f"{limits['operations_per_second'] / 1e12:.1f} TFLOP/s"
    )
    rows: list[dict[str, Any]] = []
    costs: dict[str, Any] = {}
    alone: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, names = write_start(options.start, folder)
        frame = next(read_frames(options.start))
        for train in options.train:
            model = load_saved_model(str(train / "model.ckpt")).eval()
            edges = site_graph(frame, float(model.metadata["r_max"]))["edge_index"].shape[1]
            edges_per_bead = edges / frame.topology.n_sites
            cost = count(model)
            name = train.absolute().parent.name
            costs[name] = {"edges_per_bead": edges_per_bead} | (asdict(cost) if cost else {})
            print(f"{name}: {edges_per_bead:.1f} edges a bead; message passing: {cost}")
            package = build_package(
                train / "model.ckpt", train / "example.extxyz", folder / f"{name}.nequip.zip"
            )
            alone[name] = evaluations(
                package,
                frame,
                folder,
                device="cuda",
                beads=options.beads,
                ways=["torch", "triton"],
            )
            for kind, time_or_text in alone[name].items():
                text = time_or_text
                if not isinstance(text, str):
                    text = f"{text:.3f} ms an evaluation of at least {options.beads} beads"
                print(f"{name:22} {kind}: {text}", flush=True)
            for kind in options.kinds:
                target = ((options.models or folder) / f"{name}-cuda-{kind}").resolve()
                try:
                    done = deploy(train, target, device="cuda", quiet=True, **KINDS[kind])
                except CgpotError as err:
                    print(f"{name:22} {kind:6} not deployed: {err}")
                    continue
                errors = done.content["verification"]["compiled"]
                for n in options.replicate:
                    steps = max(10, int(options.bead_steps / (frame.topology.n_sites * n**3)))
                    deck = {
                        "data": data,
                        "n": n,
                        "graph": "host" if kind == "host" else "device",
                        "model": target / "model.nequip.pt2",
                        "names": names,
                        "skin": options.skin,
                        "timestep": options.timestep_fs * 1e-3,
                        "warm": max(10, steps // 10),
                        "steps": steps,
                    }
                    row: dict[str, Any] = {"model": name, "kind": kind, "errors": errors}
                    try:
                        row |= measure(deck, folder)
                    except (RuntimeError, ValueError) as err:
                        print(f"{name:22} {kind:6} replicate {n}: {err}")
                        rows.append({**row, "replicate": n, "failed": str(err)})
                        continue
                    row |= roofline(row, cost, edges_per_bead, limits)
                    rows.append(row)
                    print(line(row), flush=True)
    if options.output:
        from cgpot.core.files import write_json
        from cgpot.core.manifest import package_versions

        write_json(
            options.output,
            {
                "command": "python workflows/benchmarks/gpu.py " + " ".join(sys.argv[1:]),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": torch.cuda.get_device_name(0),
                "versions": package_versions(("torch", "nequip", "lammps")),
                "ceilings": limits,
                "costs": costs,
                "beads_of_evaluations": options.beads,
                "evaluations_ms": alone,
                "rows": rows,
            },
        )


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    model = row.get("outside_model_percent")
    outside = "-" if model is None else f"{model:5.1f} %"
    percent = row.get("percent_of_ceiling")
    ceiling = "-" if percent is None else f"{percent:.2f} %"
    return (
        f"{row['model'][:22]:22} {row['kind']:6} {row['beads']:8} beads "
        f"{row['bead_steps_per_second']:12.0f} bead-steps/s, outside the pair style "
        f"{row['outside_pair_percent']:5.1f} %, outside the model "
        f"{outside}, {row['device_bytes_per_bead']:6.0f} B/bead, "
        f"error of forces {row['errors']['forces']:.1e}, message passing at the ceiling "
        f"{ceiling} of the step"
    )


if __name__ == "__main__":
    main()
