# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot analyze``: mapped atomistic data and CG runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("analyze")
    def analyze_command(
        reference: Annotated[
            list[Path],
            typer.Option(
                "--reference",
                help="Mapped atomistic data set (.extxyz[.xz]) for g(r) and pressure; "
                "several files are replicas.",
            ),
        ],
        output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
        temperature: Annotated[float, typer.Option(help="Temperature, K.")],
        run: Annotated[
            list[Path] | None, typer.Option("--run", help="Run folder of 'cgpot md'; repeatable.")
        ] = None,
        npt_reference: Annotated[
            list[Path] | None,
            typer.Option(
                "--npt-reference",
                help="Mapped atomistic data set at constant pressure, for the density.",
            ),
        ] = None,
        density_reference: Annotated[
            list[Path] | None,
            typer.Option(
                "--density-reference",
                help="Mapped atomistic data set at constant volume and another density, for the "
                "slope of the pressure with the density; repeatable.",
            ),
        ] = None,
        parity: Annotated[
            Path | None,
            typer.Option(help="Held-out predictions of the training stage (parity.npz)."),
        ] = None,
        r_max: Annotated[
            float | None,
            typer.Option(help="Upper end of g(r), Å; default 15 or half the smallest box."),
        ] = None,
        bins: Annotated[int, typer.Option(help="Bins of g(r).")] = 300,
        compressibility: Annotated[
            float | None,
            typer.Option(
                help="Compressibility of the atomistic liquid, 1/GPa, to bring the density of a "
                "constant-volume reference to 1 atm."
            ),
        ] = None,
        quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    ) -> None:
        """Compare CG runs with the mapped atomistic reference: g(r), pressure, density, errors."""
        from cgpot.analysis.analyze import AnalysisInput, analyze

        result = analyze(
            AnalysisInput(
                references=reference,
                runs=run or [],
                temperature=temperature,
                npt_references=npt_reference or [],
                density_references=density_reference or [],
                r_max=r_max,
                bins=bins,
                parity=parity,
                compressibility=compressibility,
            ),
            output,
            quiet=quiet,
        )
        _print(result, output)


def _print(result: dict[str, Any], output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    reference = result["reference"]
    rows = [("reference", reference)]
    if result["npt_reference"]:
        rows.append(("NPT reference", result["npt_reference"]))
    rows += [(f"{run['name']}: {run['ensemble']}", run) for run in result["runs"]]

    def pm(value: dict[str, Any] | None, digits: int = 1) -> str:
        return "–" if value is None else f"{value['mean']:.{digits}f} ± {value['error']:.{digits}f}"

    for label in reference["rdf"]:
        table = Table(title=f"{label} at {result['temperature_K']:g} K")
        table.add_column("", no_wrap=True)
        for head in ("kg/m³", "bar", "first peak", "Δg"):
            table.add_column(head, justify="right", no_wrap=True)
        for name, section in rows:
            rdf = (section["rdf"] or {}).get(label)
            found = (section.get("comparison") or {}).get("rdf", {}).get(label)
            table.add_row(
                name,
                pm(section["density"]),
                pm(section["pressure"], 0),
                f"{rdf['peak']['height']:.3f} at {rdf['peak']['position']:.2f} Å" if rdf else "–",
                f"{found['rdf_error']:.4f} ± {found['rdf_error_error']:.4f}"
                if found
                else (f"halves {rdf['halves_error']:.4f}" if rdf else "–"),
            )
        console.print(table)
    _print_overlaps(console, result["runs"])
    for name, found in result["equation_of_state"].items():
        if found:
            console.print(
                f"{name}: dP/dρ {found['slope']:.2f} ± {found['slope_error']:.2f} bar m³/kg over "
                f"{found['n']} systems at constant volume"
            )
    force = (result["parity"] or {}).get("force")
    if force:
        pair = "" if force["rmse_pair"] is None else f", pair fit {force['rmse_pair']:.4f}"
        console.print(
            f"held-out force RMSE {force['rmse_model']:.4f} eV/Å{pair}, "
            f"labels {force['label_rms']:.4f} rms"
        )
    console.print(f"written: {output / 'analysis.json'}, {output / 'observables.csv'}")


def _print_overlaps(console: Any, runs: list[dict[str, Any]]) -> None:
    """What else was compared, one line for each number."""
    from rich.table import Table

    from cgpot.analysis.observables.registry import OBSERVABLES

    table = Table(title="Distributions")
    table.add_column("")
    cells: dict[str, list[str]] = {}
    for k, run in enumerate(runs):
        table.add_column(f"{run['name']}: {run['ensemble']}", justify="right")
        for kind in OBSERVABLES:
            record = run["comparison"].get(kind.name)
            if not record or kind.name == "rdf":
                continue
            for row in kind.compared_rows(record):
                line = cells.setdefault(f"{kind.title}: {row.label}", ["–"] * len(runs))
                line[k] = f"{row.value:.3f} ± {row.error or 0.0:.3f}"
    for label, line in cells.items():
        table.add_row(label, *line)
    if cells:
        console.print(table)
