# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of a benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scale.fits import exponent, stable_steps

Row = Mapping[str, Any]
NOT_MEASURED = "not measured"


def _text(value: Any, form: str = ".3g") -> str:
    if value is None or value != value:
        return "–"
    return format(float(value), form) if isinstance(value, int | float) else str(value)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return [NOT_MEASURED + "."]
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _of(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def _gain(row: Row, others: Sequence[Row]) -> str:
    if not others or not row.get("steps_per_second"):
        return "–"
    return f"{row['steps_per_second'] / others[0]['steps_per_second']:.2f}"


def _plugin(rows: Sequence[Row]) -> list[str]:
    table = []
    ordered = sorted(
        _of(rows, section="plugin"),
        key=lambda r: (r["system"], r["kind"], r["beads"], r["ranks"]),
    )
    for row in ordered:
        if row.get("skipped"):
            table.append(
                [row["system"], row["kind"], str(row["beads"]), str(row["ranks"]), row["skipped"]]
                + ["–"] * 6
            )
            continue
        same = {"section": "plugin", "system": row["system"], "beads": row["beads"]}
        plain = [
            r for r in _of(rows, **same, kind="plain", ranks=row["ranks"]) if "skipped" not in r
        ]
        memory = 1e3 * row["memory_MB_per_rank"] * row["ranks"] / row["beads"]
        table.append(
            [
                row["system"],
                row["kind"],
                str(row["beads"]),
                str(row["ranks"]),
                _text(row["steps_per_second"]),
                _text(row["beads"] * row["steps_per_second"]),
                _text(row["ns_per_day"]),
                _gain(row, plain) if row["kind"] == "fast" else "–",
                _text(row["outside_model_percent"], ".1f"),
                _text(memory),
                _text(row["cpu_use_percent"], ".0f"),
            ]
        )
    head = ["model", "kind", "beads", "ranks", "steps/s", "bead-steps/s", "ns/day", "× plain"]
    return _lines([*head, "outside the model, %", "memory, kB/bead", "CPU use, %"], table)


def _scaling(rows: Sequence[Row]) -> list[str]:
    table = []
    plugin = [r for r in _of(rows, section="plugin") if "skipped" not in r]
    for system, kind in dict.fromkeys((r["system"], r["kind"]) for r in plugin):
        mine = _of(plugin, system=system, kind=kind)
        one = _of(mine, ranks=1)
        if len({r["beads"] for r in one}) > 1:
            ordered = sorted(one, key=lambda r: r["beads"])
            for line in (ordered, ordered[1:]):
                if len(line) < 2:
                    continue
                power = exponent([r["beads"] for r in line], [r["steps_per_second"] for r in line])
                sizes = f"{line[0]['beads']} to {line[-1]['beads']} beads"
                table.append([system, kind, "exponent of the cost", sizes, f"{power:.3f}"])
        for row in (r for r in mine if r["ranks"] > 1):
            strong = _of(one, beads=row["beads"])
            if strong:
                what = f"strong scaling, {row['ranks']} ranks over one"
                table.append([system, kind, what, f"{row['beads']} beads", _gain(row, strong)])
            weak = [r for r in one if r["beads"] * row["ranks"] == row["beads"]]
            if weak:
                share = row["steps_per_second"] / weak[0]["steps_per_second"]
                what = f"weak scaling, {row['ranks']} ranks"
                size = f"{weak[0]['beads']} beads a rank"
                table.append([system, kind, what, size, f"{share:.2f}"])
    return _lines(["model", "kind", "quantity", "system", "value"], table)


def _beside(rows: Sequence[Row]) -> list[str]:
    table = []
    for section in ("ase", "aa"):
        for row in _of(rows, section=section):
            if row.get("skipped"):
                table.append([row["system"], row["kind"], row["skipped"], "–", "–", "–", "–"])
                continue
            table.append(
                [
                    row["system"],
                    row["kind"],
                    str(row.get("beads") or f"{row['molecules']} molecules"),
                    str(row["ranks"]),
                    _text(row["steps_per_second"]),
                    _text(row["ns_per_day"]),
                    _text(row["cpu_use_percent"], ".0f"),
                ]
            )
    return _lines(["what", "how", "size", "cores", "steps/s", "ns/day", "CPU use, %"], table)


def _timestep(rows: Sequence[Row]) -> list[str]:
    table = []
    every = _of(rows, section="timestep")
    for row in sorted(every, key=lambda r: (r["system"], r["timestep_fs"])):
        good = stable_steps(_of(every, system=row["system"]))
        drift = row.get("failed", "failed")
        if row.get("drift") is not None:
            drift = f"{row['drift']:.2g} ± {row['drift_error']:.1g}"
        table.append(
            [
                row["system"],
                f"{row['timestep_fs']:g}",
                drift,
                _text(row.get("temperature_K"), ".1f"),
                "yes" if row["timestep_fs"] in good else "no",
                _text(row.get("ns_per_day")),
            ]
        )
    head = ["model", "step, fs", "drift, kT per bead and ns", "mean temperature, K", "stable"]
    return _lines([*head, "ns/day"], table)


def _stable(rows: Sequence[Row]) -> list[str]:
    """Speed at the largest stable step (all smaller ones stable too) over the faster engine's."""
    table = []
    engines = [r for r in _of(rows, section="aa", ranks=1) if not r.get("skipped")]
    engine = max(engines, key=lambda r: r["ns_per_day"], default=None)
    steps = _of(rows, section="timestep")
    for system in dict.fromkeys(row["system"] for row in steps):
        good = stable_steps(_of(steps, system=system))
        for row in _of(rows, section="plugin", system=system, kind="fast", ranks=1, beads=500):
            if not good or row.get("skipped"):
                continue
            speed = row["steps_per_second"] * good[-1] * 1e-6 * 86400.0
            beside = [NOT_MEASURED, "–"]
            if engine is not None:
                beside = [f"{engine['system']}, {engine['kind']}: {_text(engine['ns_per_day'])}"]
                beside.append(f"{speed / engine['ns_per_day']:.1f}")
            table.append([system, f"{good[-1]:g}", _text(speed), *beside])
    head = ["model, 500 beads, one core", "largest stable step, fs", "ns/day"]
    return _lines([*head, "faster atomistic engine, one core, ns/day", "gain"], table)


def markdown(content: Mapping[str, Any]) -> str:
    """All tables of a file of :class:`scale.store.Store`."""
    rows = content["rows"]
    versions = ", ".join(f"{k} {v or '–'}" for k, v in content["machine"]["versions"].items())
    computer = content["machine"]
    parts = [
        f"{computer['processor']}, {computer['cores']} cores, {computer['memory_GB']} GB; "
        f"{versions}.",
        "",
        "### `pair_style cgpot` in LAMMPS",
        "",
        *_plugin(rows),
        "",
        "### Scaling",
        "",
        *_scaling(rows),
        "",
        "### Beside it: the same networks through ASE, and atomistic engines",
        "",
        *_beside(rows),
        "",
        "### Steps of time",
        "",
        *_timestep(rows),
        "",
        "### Speed at the largest stable step",
        "",
        *_stable(rows),
        "",
        "### GPU",
        "",
        "not measured (`python workflows/benchmarks/gpu.py` is ready).",
    ]
    return "\n".join(parts) + "\n"
