# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot noise``: the noise floor of force labels from runs with the sites held fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("noise", no_args_is_help=True)
    def noise_command(
        mapped: Annotated[
            list[Path],
            typer.Argument(help="Mapped files, one configuration of fixed sites each."),
        ],
        output: Annotated[Path, typer.Option("--output", "-o", help="JSON file of the floor.")],
        frames: Annotated[
            Path | None,
            typer.Option("--frames", help="Data set to write: mean forces with their weights."),
        ] = None,
        tolerance: Annotated[
            float, typer.Option(min=0, help="Largest motion of a site, Å.")
        ] = 0.01,
        skip: Annotated[int, typer.Option(min=0, help="Frames to leave out at the start.")] = 0,
    ) -> None:
        """Measure Var(F|R), which no CG potential can fit; for the key data.noise of training."""
        from rich.console import Console

        from cgpot.training.evaluation.noise_floor import measure_noise

        report = measure_noise(mapped, output, frames=frames, tolerance=tolerance, skip=skip)
        Console().print(
            f"noise floor {report['rmse']:.5f} ± {report['rmse_error']:.5f} eV/Å per component, "
            f"{len(mapped)} configuration(s); {output}"
        )
