# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot refine`: bring g(r), bonded terms and pressure of the CG fluid onto the reference."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("refine")
    def refine_command(
        config: Path = typer.Argument(..., help="YAML file of the refinement."),
        output: Path = typer.Option(..., "-o", "--output", help="Folder for all files."),
        start: str | None = typer.Option(
            None, "--start", help="Training folder, pair table (.json), or 'zero'."
        ),
        deployed: Path | None = typer.Option(
            None, "--deployed", help="Compiled model of the training folder."
        ),
        reference: list[Path] | None = typer.Option(
            None, "--reference", help="Mapped data set; give it again for replicas."
        ),
        iterations: int | None = typer.Option(None, "--iterations", help="At most that many."),
        restart: bool = typer.Option(
            False, "--restart", help="Replace another refinement in the folder."
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Change pair splines, and bonded terms if asked, until structure and pressure fit.

        A refinement that was interrupted goes on with the same command; so does one with more
        iterations or other tolerances.
        """
        from rich.console import Console
        from rich.table import Table

        from cgpot.refine.refine_loop import refine
        from cgpot.refine.refine_settings import load_config

        settings = load_config(
            config, start=start, reference=reference, deployed=deployed, iterations=iterations
        )
        outcome = refine(settings, output, restart=restart, quiet=quiet)
        columns = ("iteration", "Δg (noise)", "first peak", "overlap", "pressure, bar", "frames")
        table = Table(*columns)
        for record in outcome.history["iterations"]:
            mark = " *" if record["iteration"] == outcome.history["chosen"] else ""
            table.add_row(
                f"{record['iteration']}{mark}",
                f"{record['rdf_error']:.4f} ({record['rdf_error_noise']:.4f})",
                f"{record['first_peak']:.3f}",
                "" if record["bonded_overlap"] is None else f"{record['bonded_overlap']:.4f}",
                f"{record['pressure_bar']:+.1f} ± {record['pressure_error_bar']:.1f}",
                f"{record['effective_frames']:.0f}",
            )
        reached = "within" if outcome.history["converged"] else "not yet within"
        console = Console()
        for warning in outcome.history["warnings"]:
            console.print(f"warning: {warning}", style="yellow")
        console.print(table)
        console.print(f"{reached} the tolerances; model: {outcome.folder / 'model'}")
