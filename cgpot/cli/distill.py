# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot distill`: a student from the labels of a teacher."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("distill")
    def distill_command(
        student: Path = typer.Argument(
            ..., help="train.yaml of the student; its data are replaced."
        ),
        output: Path = typer.Option(
            ..., "-o", "--output", help="Training folder of the student, with all else inside."
        ),
        teacher: list[Path] = typer.Option(
            ..., "--teacher", help="Training folder or ensemble; again for the mean of several."
        ),
        dataset: Path = typer.Option(..., "--dataset", help="Folder of 'cgpot dataset'."),
        frames: int | None = typer.Option(
            None, "--frames", min=1, help="At most so many training frames of the data set."
        ),
        deployed: Path | None = typer.Option(
            None, "--deployed", help="Compiled teacher, for new frames from its own MD."
        ),
        rounds: int = typer.Option(
            0, "--rounds", min=0, help="Further trainings with frames from MD with the student."
        ),
        match: int = typer.Option(
            0, "--match", min=0, help="Steps that bring the UF3 student's fluid onto the teacher's."
        ),
        student_length_ps: float | None = typer.Option(
            None, "--student-length-ps", help="Of the student's MD runs. Default: --length-ps."
        ),
        density: list[float] | None = typer.Option(
            None, "--density", help="kg/m^3 of the MD; again for several. Default: the data's."
        ),
        temperature: float | None = typer.Option(
            None, "--temperature", help="K of the MD. Default: that of the train.yaml."
        ),
        length_ps: float = typer.Option(100.0, "--length-ps", min=0.0, help="Of each MD run, ps."),
        every_ps: float = typer.Option(2.0, "--every-ps", min=0.0, help="Between frames, ps."),
        timestep_fs: float = typer.Option(5.0, "--timestep-fs", min=0.0, help="Of the MD, fs."),
        deploy_to: Path | None = typer.Option(
            None, "--deploy", help="Also deploy the student, into this folder."
        ),
        restart: bool = typer.Option(
            False, "--restart", help="Replace a student trained with other settings."
        ),
        quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bars."),
    ) -> None:
        """Label frames by the teacher, train the student on them, and compare the two.

        A distillation that was interrupted goes on with the same command.
        """
        from cgpot.cli.train import print_summary
        from cgpot.core.config import load_yaml_dict
        from cgpot.core.errors import ConfigError
        from cgpot.distill.distill_md import MdPlan
        from cgpot.distill.distillation import distill

        md = None
        if temperature is None:
            temperature = (load_yaml_dict(student).get("system") or {}).get("temperature")
        if deployed is not None or rounds:
            if temperature is None:
                raise ConfigError("give --temperature for the MD", file=student)
            md = MdPlan(
                tuple(density or ()),
                float(temperature),
                length_ps,
                every_ps,
                timestep_fs,
                student_length_ps=student_length_ps,
            )
        outcome = distill(
            student,
            output,
            teachers=teacher,
            dataset=dataset,
            frames=frames,
            deployed=deployed,
            md=md,
            rounds=rounds,
            match=match,
            restart=restart,
            quiet=quiet,
        )
        print_summary(outcome.folder, outcome.result, outcome.skipped, outcome.resumed)
        if deploy_to is not None:
            from cgpot.distill.distill_md import deploy_student

            sidecar = deploy_student(output, deploy_to, temperature, quiet=quiet)
            typer.echo(f"deployed: {sidecar}")
