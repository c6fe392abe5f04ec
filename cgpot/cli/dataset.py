# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot dataset``: split mapped runs and report on their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def summary(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report's main figures as rows of name and value."""

    def value(key: str, unit: str, digits: int = 1) -> str:
        item = report.get(key)
        if item is None:
            return "unknown"
        text = f"{item['mean']:.{digits}f}"
        if "error" in item:
            text += f" ± {item['error']:.{digits}f}"
        text += f" {unit}"
        return text + (f" (spread {item['std']:.0f})" if "std" in item else "")

    counts = report.get("bead_type_counts") or [""] * len(report["bead_type_names"])
    rows = [
        ("frames", f"{report['n_frames']} in {report['n_runs']} run(s)"),
        (
            "sites",
            ", ".join(
                f"{n} {name} ({m:g} amu)".strip()
                for n, name, m in zip(
                    counts, report["bead_type_names"], report["bead_type_masses"], strict=True
                )
            ),
        ),
        ("density", value("density_kg_m3", "kg/m³")),
        ("pressure of the labels", value("pressure_label_bar", "bar")),
        ("pressure of the engine", value("pressure_engine_bar", "bar")),
        ("force rms", f"{report['force_rms']:.4f} eV/Å"),
        (
            "force autocorrelation",
            ", ".join(f"{x:.2f}" for x in report["force_autocorrelation"]) + " at 1, 2, ... frames",
        ),
        (
            "net force",
            f"{report['net_force']['mean']:.2e} eV/Å "
            f"({report['net_force']['relative_to_random']:.1e} of independent forces)",
        ),
    ]
    if report.get("stress_std"):
        rows.append(("stress spread", f"{report['stress_std_bar']:.0f} bar per component"))
    if "suggested_loss_weights" in report:
        ratio = report["suggested_loss_weights"]["stress_to_force_ratio_of_means"]
        rows.append(("loss weight stress : force", f"{ratio:.0f} (inverse variances, means)"))
    if report.get("shortest_distance") is not None:
        rows.append(("shortest distance", f"{report['shortest_distance']:.3f} Å"))
    if report.get("rdf"):
        rdf = report["rdf"]
        rows.append(
            (
                "first peak of g(r)",
                f"{rdf['first_peak_height']:.3f} at {rdf['first_peak_r']:.2f} Å "
                f"(halves differ by {rdf['halves_delta']:.4f})",
            )
        )
    return rows


def print_summary(report: dict[str, Any], title: str) -> None:
    """Print the report's main figures."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    for name, text in summary(report):
        table.add_row(name, text)
    for item in report.get("compositions", []):
        pressure = item["pressure_label_bar"]
        text = f"{item['n_frames']} frames, {item['density_kg_m3']['mean']:.1f} kg/m³"
        if pressure is not None:
            text += f", {pressure['mean']:.1f} ± {pressure['error']:.1f} bar"
        table.add_row(f"composition {item['composition']}", text)
    states = report.get("states", [])
    for item in states if len(states) > 1 else []:
        pressure = item["pressure_label_bar"]
        text = f"{item['n_frames']} frames, {item['density_kg_m3']['mean']:.1f} kg/m³"
        if item["temperature"] is not None:
            text += f", {item['temperature']:g} K"
        if pressure is not None:
            text += f", {pressure['mean']:.1f} ± {pressure['error']:.1f} bar"
        table.add_row(f"state {item['state']}", text)
    for name, item in report.get("subsets", {}).items():
        mean = item["pressure_label_bar_mean"]
        text = f"{item['n_frames']} frames"
        if mean is not None:
            text += f", mean pressure {mean:.1f} bar"
        table.add_row(name, text)
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("dataset", no_args_is_help=True)
    def dataset_command(
        mapped: Annotated[list[Path], typer.Argument(help="Files written by 'cgpot map'.")],
        output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the data set.")],
        train: Annotated[float, typer.Option(help="Fraction for training.")] = 0.8,
        val: Annotated[float, typer.Option(help="Fraction for validation.")] = 0.1,
        test: Annotated[float, typer.Option(help="Fraction for the test.")] = 0.1,
        gap: Annotated[
            float | None, typer.Option(help="Time left out between blocks, ps (default 2).")
        ] = None,
        gap_frames: Annotated[
            int | None, typer.Option(help="The same in frames, instead of --gap.")
        ] = None,
        begin: Annotated[
            float | None, typer.Option(help="Drop frames before this time, ps.")
        ] = None,
        stride: Annotated[int, typer.Option(min=1, help="Take every n-th frame.")] = 1,
        compress: Annotated[bool, typer.Option(help="Write .extxyz.xz.")] = True,
        several_temperatures: Annotated[
            bool,
            typer.Option("--several-temperatures", help="Take runs at different temperatures."),
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    ) -> None:
        """Split mapped runs by contiguous blocks of time and report on the labels."""
        from cgpot.dataset.dataset_stage import build_dataset
        from cgpot.dataset.split import SplitPlan

        if gap is None and gap_frames is None:
            gap = 2.0
        result = build_dataset(
            mapped,
            output,
            SplitPlan((train, val, test), gap_ps=gap, gap_frames=gap_frames or 0),
            begin=begin,
            stride=stride,
            compress=compress,
            several_temperatures=several_temperatures,
            quiet=quiet,
        )
        print_summary(result.report, f"Data set {result.folder}")
