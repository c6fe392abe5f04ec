# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot deploy`: from a trained model to files that LAMMPS loads."""

from __future__ import annotations

from pathlib import Path

import typer

from cgpot.core.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("deploy")
    def deploy_command(
        training: Path = typer.Argument(
            ..., help="Output folder of 'cgpot train', 'cgpot refine' or 'cgpot ensemble'."
        ),
        output: Path = typer.Option(..., "-o", "--output", help="Folder for the files."),
        device: str = typer.Option("cpu", "--device", help="cpu or cuda."),
        name: str = typer.Option("model", "--name", help="Stem of the files."),
        temperature: float | None = typer.Option(
            None, "--temperature", min=0, help="K; of a model with system.temperature_input."
        ),
        plain: bool = typer.Option(
            False,
            "--plain",
            help="The network as it is: no tabulated radial functions and kernels.",
        ),
        tables: str = typer.Option(
            "auto",
            "--tables",
            help="How tabulated radial functions are used: kernels (operators of this package; "
            "CPU, NequIP with l up to 3 and SchNet), triton (the same for GPUs), torch (plain "
            "torch operations; any device and l), auto (kernels on CPUs where the plugin is "
            "built, on GPUs the faster of triton and torch, else torch).",
        ),
        tf32: bool = typer.Option(
            False,
            "--tf32",
            help="Products of float32 matrices with 10 bits of mantissa (cuda); the error against "
            "the checkpoint is measured and stored.",
        ),
        precision: str | None = typer.Option(
            None,
            "--precision",
            help="That of the training (float32 or float64); half precision is refused.",
        ),
        batch: bool | None = typer.Option(
            None,
            "--batch/--no-batch",
            help="Ensembles: also compile the members into one file that evaluates them together "
            "(default: on cuda); runs of their mean take it where it was faster.",
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bar."),
    ) -> None:
        """Package, compile for a device, verify against the checkpoint, and describe."""
        from rich.console import Console
        from rich.table import Table

        from cgpot.deploy.deployed_ensemble import deploy_ensemble, is_ensemble
        from cgpot.deploy.deployment import deploy

        several = is_ensemble(training)
        if several:
            if temperature is not None:
                raise ConfigError(
                    "an ensemble is deployed at the temperature of its members", key="temperature"
                )
            done = deploy_ensemble(
                training,
                output,
                device=device,
                name=name,
                fast=not plain,
                tables=tables,
                tf32=tf32,
                precision=precision,
                quiet=quiet,
                batch=batch,
            )
        else:
            if batch is not None:
                raise ConfigError("--batch is for ensembles", key="batch")
            done = deploy(
                training,
                output,
                device=device,
                name=name,
                temperature=temperature,
                fast=not plain,
                tables=tables,
                tf32=tf32,
                precision=precision,
                quiet=quiet,
            )
        console = Console()
        if done.skipped:
            console.print(f"{done.sidecar.parent} is up to date; nothing to do")
        if "pair_file" in done.content:
            console.print(f"cgpot md nvt --pair-file {done.sidecar.parent}/{name}.pair.lmp ...")
            return
        checks = done.content["verification"]
        table = Table("against the checkpoint", "energy", "forces", "virial")
        for key in ("package", "compiled"):
            table.add_row(key, *[f"{checks[key][q]:.1e}" for q in ("energy", "forces", "virial")])
        console.print(table)
        if tables := checks.get("tables"):
            console.print(
                f"radial functions of {tables['layers']} layers tabulated: largest error "
                f"{tables['value_error']:.1e}, of their slopes {tables['slope_error']:.1e}"
            )
        if times := done.content.get("tables_ms"):
            text = ", ".join(
                f"{way} {time}" if isinstance(time, str) else f"{way} {time:.3f} ms"
                for way, time in times.items()
            )
            console.print(
                f"{done.content['tables']} tables taken: an evaluation of "
                f"{done.content['tables_beads']} beads takes {text} (here, once)"
            )
        if several and (together := done.content.get("batch")):
            if "refused" in together:
                console.print(f"no batch: {together['refused']}")
            else:
                console.print(
                    f"{together['file']}: all members together in {together['batch_ms']:.2f} ms, "
                    f"one after the other in {together['members_ms']:.2f} ms (here, once)"
                )
        models = done.content["members"] if several else [f"{name}.nequip.pt2"]
        console.print(
            f"{checks['frames']} frames, tolerance {checks['tolerance']:.0e} (relative); "
            f"pair_coeff * * {' '.join(models)} {' '.join(done.content['bead_names'])}"
        )
