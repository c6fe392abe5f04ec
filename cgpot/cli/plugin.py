# SPDX-License-Identifier: GPL-2.0-or-later
"""`cgpot plugin build | path | check`: the LAMMPS plugin on this machine."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    plugin = typer.Typer(no_args_is_help=True, help="Build and check `pair_style cgpot`.")
    app.add_typer(plugin, name="plugin")

    @plugin.command()
    def build(
        force: bool = typer.Option(False, "--force", help="Compile even if it is up to date."),
        jobs: int | None = typer.Option(None, "--jobs", "-j", help="Parallel compiler processes."),
        lammps_include: Path | None = typer.Option(
            None, help="Another LAMMPS: its src folder (or include/lammps)."
        ),
        mpi_include: Path | None = typer.Option(None, help="Another LAMMPS: folder of its mpi.h."),
        lammps_version: str | None = typer.Option(
            None, help="Another LAMMPS without version.h: its version, '22 Jul 2025'."
        ),
        lammps_sizes: str = typer.Option("smallbig", help="Another LAMMPS: smallbig or bigbig."),
        output: Path | None = typer.Option(
            None, "--output", "-o", help="Another LAMMPS: folder for cgpotplugin.so."
        ),
    ) -> None:
        """Compile the plugin against the installed lammps and torch (about a minute)."""
        from cgpot.plugin.plugin_build import ForeignLammps
        from cgpot.plugin.plugin_build import build as build_plugin

        foreign = None
        if lammps_include is not None:
            foreign = ForeignLammps(
                include=lammps_include,
                output=output or Path("build"),
                mpi_include=mpi_include,
                version=lammps_version,
                sizes=lammps_sizes,
            )
        elif output or mpi_include or lammps_version:
            raise typer.BadParameter("this option is for another LAMMPS: add --lammps-include")
        result = build_plugin(force=force, jobs=jobs, foreign=foreign, say=typer.echo)
        if result.built:
            typer.echo(f"built in {result.seconds:.0f} s: {result.library}")
        else:
            typer.echo(f"up to date: {result.library}")
        if foreign is not None:
            typer.echo(f"use it with: export LAMMPS_PLUGIN_PATH={result.library.parent}")

    @plugin.command()
    def path() -> None:
        """Print the plugin's file, for `plugin load` in a LAMMPS input."""
        typer.echo(str(_built()))

    @plugin.command()
    def check() -> None:
        """Start LAMMPS with the plugin and make a `pair_style cgpot`."""
        from cgpot.core.native import check_loads

        library = _built()
        version = check_loads(library)
        typer.echo(f"{version} loads {library}")


def _built() -> Path:
    from cgpot.core.errors import InputError
    from cgpot.core.native import built_plugin

    library = built_plugin()
    if library is None:
        raise InputError(
            "pair_style cgpot is not built for the installed torch and lammps: "
            "run `cgpot plugin build`"
        )
    return library
