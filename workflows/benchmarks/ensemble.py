# SPDX-License-Identifier: GPL-2.0-or-later
"""What an ensemble costs in `pair_style cgpot`, beside one of its members.

    python workflows/benchmarks/ensemble.py --deploy deploy --start dataset/test.extxyz.xz

The folder is one of `cgpot deploy --batch` for an ensemble.  Constant energy, one core: one member,
the mean of all one after the other and together, and one member with the spread at every tenth
step.  Each is run `--repeats` times in turn, the best counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from scale.decks import Model, deck, measures, run_lammps  # noqa: E402
from scale.store import machine  # noqa: E402
from speed import write_start  # noqa: E402


def ways(record: dict[str, Any], folder: Path) -> list[tuple[str, list[Path], str]]:
    """Title, model files and keywords of the pair style for each way to run the ensemble."""
    members = [folder / name for name in record["members"]]
    several = f"mean of {len(members)}"
    result = [("one member", members[:1], ""), (f"{several}, files", members, "")]
    batch = record.get("batch") or {}
    if "file" in batch:
        result.append((f"{several}, one batch", [folder / batch["file"]], ""))
    result.append(("one member, spread of all every 10 steps", members, "use 1 spread 10"))
    return result


def main(words: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--deploy", type=Path, help="folder of cgpot deploy for an ensemble")
    parser.add_argument("--start", type=Path, help="data set whose first frame is replicated")
    parser.add_argument("--replicate", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the rows")
    options = parser.parse_args(words)
    if options.deploy is None or options.start is None:
        print("no ensemble: give --deploy (of `cgpot deploy --batch`) and --start")
        return
    found = sorted(options.deploy.glob("*.ensemble.json"))
    if len(found) != 1:
        sys.exit(f"{options.deploy}: expected one *.ensemble.json, found {len(found)}")
    from cgpot.core.files import read_json, write_json

    record = read_json(found[0])
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data, names = write_start(options.start, Path(scratch))
        for _ in range(options.repeats):
            for title, files, style in ways(record, found[0].parent.resolve()):
                model = Model(title, "fast", files[0], tuple(names.split()))
                text = deck(
                    model,
                    data,
                    (options.replicate,) * 3,
                    warm=20,
                    steps=options.steps,
                    style=style,
                ).replace(str(files[0]), " ".join(map(str, files)))
                speed = measures(run_lammps(text, 1, Path(scratch)), 1)["steps_per_second"]
                best[title] = max(speed, best.get(title, 0.0))
    alone = best["one member"]
    for title, speed in best.items():
        print(f"{title:42} {speed:8.1f} steps/s  {alone / speed:5.2f} times one member")
    if options.output:
        rows = [
            {"way": title, "steps_per_second": speed, "cost": alone / speed}
            for title, speed in best.items()
        ]
        write_json(
            options.output,
            {
                "command": "python workflows/benchmarks/ensemble.py " + " ".join(sys.argv[1:]),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine(),
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
