# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot study`: many models on the same data, each trained, simulated and judged alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("study")
    def study_command(
        study: Path = typer.Argument(..., help="YAML file of the study."),
        folder: Path | None = typer.Option(
            None, "--folder", help="Where everything goes; default: runs/studies/<name of file>."
        ),
        jobs: int = typer.Option(1, "--jobs", "-j", min=1, help="Points worked on at a time."),
        only: list[str] = typer.Option([], "--only", help="This point alone; repeatable."),
        list_points: bool = typer.Option(False, "--list", help="Show all points and their state."),
        collect: bool = typer.Option(False, "--collect", help="Write the results, run nothing."),
        retry: bool = typer.Option(False, "--retry", help="Run failed stages again."),
        speed: bool = typer.Option(
            False, "--speed", help="After all points, time each model alone (section 'speed')."
        ),
        task_id: int | None = typer.Option(
            None, "--task-id", help="Number of this process among --tasks, from 0."
        ),
        tasks: int | None = typer.Option(None, "--tasks", help="Processes that share the points."),
        slurm: Path | None = typer.Option(
            None, "--slurm", help="Write a Slurm job array to this file, run nothing."
        ),
        publish: Path | None = typer.Option(
            None, "--publish", help="Copy results.csv and the pictures to this folder."
        ),
    ) -> None:
        """Train, deploy, simulate and analyse every point; write one table and its pictures.

        What is done is skipped; a study that was stopped goes on with the same command, and
        several processes may share its folder. A point that fails is recorded, the others go on.
        """
        from cgpot.study.points import expand
        from cgpot.study.study_results import write_results
        from cgpot.study.study_run import (
            Driver,
            interruptible,
            open_study,
            select,
            state_table,
        )
        from cgpot.study.study_settings import load_study

        if speed and (task_id is not None or slurm is not None or list_points):
            raise typer.BadParameter("--speed times one model at a time; give it without --task-id")
        config = load_study(study)
        where = folder if folder is not None else Path("runs") / "studies" / study.stem
        where = where.resolve()
        if config.search is not None:
            from cgpot.study.search import run_search, trial_points

            if slurm is not None or only or task_id is not None:
                raise typer.BadParameter("a search chooses its own points; use --jobs")
            with interruptible():
                around = open_study(config, where, [])
                if not (list_points or collect):
                    try:
                        run_search(config, study, around, jobs=jobs)
                    except KeyboardInterrupt:
                        _stopped()
            points = trial_points(config, study, around)
        else:
            points = expand(config, study)
            if slurm is not None:
                from cgpot.core.files import write_text
                from cgpot.study.slurm import slurm_script

                write_text(slurm, slurm_script(study, where, points, config.threads, slurm))
                (where / "logs").mkdir(parents=True, exist_ok=True)
                typer.echo(f"written: {slurm}; submit it with 'sbatch {slurm}'")
                return
            mine = select(points, only=only, task=task_id, tasks=tasks)
            with interruptible():
                try:
                    around = open_study(config, where, points)
                    if not (list_points or collect):
                        typer.echo(f"{config.title}: {len(mine)} points, folder {where}")
                        Driver(config, around, mine, jobs=jobs, retry=retry).run()
                except KeyboardInterrupt:
                    _stopped()
        if speed:
            from cgpot.study.study_run import say
            from cgpot.study.study_speed import measure_speeds

            names = set(only) or {point.name for point in points}
            chosen = [point for point in points if point.name in names]
            with interruptible():
                try:
                    measure_speeds(config, around, chosen, say, retry=retry)
                except KeyboardInterrupt:
                    _stopped()
        if list_points:
            _list(config.title, state_table(points, around))
            return
        results = write_results(config, points, around, publish)
        _summary(config.title, results.rows)
        typer.echo("written: " + ", ".join(str(path) for path in results.files))


def _stopped() -> None:
    typer.echo("stopped; the same command goes on from here", err=True)
    raise typer.Exit(130)


WIDTH = 130
COLOURS = {
    "done": "green",
    "done, boiled": "yellow",
    "done, dense": "yellow",
    "failed": "red",
    "running": "yellow",
}


def _state(text: str) -> str:
    colour = COLOURS.get(text, "dim")
    return f"[{colour}]{text}[/{colour}]"


def _list(title: str, rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("point", "state", "", title=title)
    for name, state, remark in rows:
        table.add_row(name, _state(state), escape(remark))
    Console().print(table)


def _summary(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from cgpot.study.point_rows import state_text

    def pm(row: dict[str, Any], key: str, error: str, form: str) -> str:
        if row[key] is None:
            return "–"
        text = form.format(row[key])
        return text if row[error] is None else f"{text} ± {form.format(row[error])}"

    def number(row: dict[str, Any], key: str, form: str) -> str:
        return "–" if row[key] is None else form.format(row[key])

    table = Table(title=title)
    table.add_column("point", no_wrap=True)
    for head in ("force RMSE", "Δg", "bar", "kg/m³", "ns/day", "stable, ns"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["point"]),
            number(row, "force_rmse_eV_A", "{:.4f}"),
            pm(row, "rdf_error", "rdf_error_error", "{:.4f}"),
            pm(row, "pressure_bar", "pressure_error_bar", "{:.0f}"),
            pm(row, "density_kg_m3", "density_error_kg_m3", "{:.1f}"),
            number(row, "ns_per_day", "{:.3g}"),
            number(row, "stable_ns", "{:.3g}"),
            _state(state_text(row)),
        )
    console = Console()
    if console.width < WIDTH:  # a table cut off in a log tells nothing
        console = Console(width=WIDTH)
    console.print(table)
    for row in rows:
        if row["failure"]:
            typer.echo(f"{row['point']}: {row['failure']}")
