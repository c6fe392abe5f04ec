# SPDX-License-Identifier: GPL-2.0-or-later
"""Atomistic runs for chosen CG configurations: what to build, and with which engine.

A structure and a mapping say how (`cgpot.select.backmap`), for molecules of any kind; the engine is
GROMACS (`cgpot.select.gromacs_deck`) or LAMMPS (`cgpot.select.lammps_deck`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cgpot.core.errors import ConfigError
from cgpot.core.files import require_file
from cgpot.core.progress import progress
from cgpot.molecules.frame import CGFrame
from cgpot.select.backmap import Backmapped, backmap
from cgpot.select.conformations import Structure, read_structure

Engine = Literal["lammps", "gromacs"]
Sampling = Literal["held", "free"]
AVERAGE = "cgpot select --average frame.*/held.extxyz --output labelled.extxyz"


@dataclass(frozen=True)
class AtomisticRuns:
    """Settings of the atomistic runs.

    Attributes:
        engine: program that runs them.
        structure: atomistic structure of the same system (needed).
        mapping: mapping file (needed).
        conformations: files with coordinates of the structure's atoms.
        topology: topol.top of the user (GROMACS).
        mdp: .mdp of the user with the settings of the force field (GROMACS).
        force_field: LAMMPS commands of the user (LAMMPS).
        sampling: ``held``: mean forces at the configuration; ``free``: a run from it.
        length_ps, equilibrate_ps: ps.
        timestep_fs: fs.
        anneal: the equilibration begins at this many times the temperature.
        seed: of orientations, velocities and baths.
    """

    engine: Engine = "lammps"
    structure: Path | None = None
    mapping: Path | None = None
    conformations: tuple[Path, ...] = ()
    topology: Path | None = None
    mdp: Path | None = None
    force_field: Path | None = None
    sampling: Sampling = "held"
    length_ps: float = 20.0
    equilibrate_ps: float = 10.0
    timestep_fs: float = 1.0
    anneal: float = 2.0
    seed: int = 1

    def check(self) -> None:
        """Refuse settings that lack something or that nothing uses.

        Raises:
            ConfigError: an unknown engine or sampling, a missing file, or one for the other
                engine.
        """
        if self.engine not in ("lammps", "gromacs"):
            raise ConfigError(f"{self.engine!r}; expected lammps or gromacs", key="engine")
        if self.sampling not in ("held", "free"):
            raise ConfigError(f"{self.sampling!r}; expected held or free", key="sampling")
        if not self.anneal >= 1.0:
            raise ConfigError(f"{self.anneal:g}; expected at least 1", key="anneal")
        engine = ("topology",) if self.engine == "gromacs" else ("force_field",)
        wanted = ("structure", "mapping", *engine)
        missing = [name for name in wanted if getattr(self, name) is None]
        if missing:
            raise ConfigError(
                f"runs in {self.engine.upper()} need --{' and --'.join(missing)}".replace("_", "-")
                + "; --no-atomistic writes the configurations alone",
                key=missing[0],
            )
        other = ("topology", "mdp") if self.engine == "lammps" else ("force_field",)
        for name in other:
            if getattr(self, name):
                raise ConfigError(
                    f"has no use in runs of {self.engine.upper()}",
                    key=name,
                )
        if self.engine == "lammps" and self.sampling == "free":
            raise ConfigError("free sampling is written for GROMACS alone", key="sampling")


Writer = Callable[[Path], list[Path]]


@dataclass(frozen=True)
class Prepared:
    """What is ready to be written.

    Attributes:
        writers: for each frame a function that writes its folder and returns the files.
        facts: for each frame what selection.json tells about it.
        commands: to run in each folder, and then beside them.
        notes: what the user should know.
    """

    writers: tuple[Writer, ...]
    facts: tuple[dict[str, Any], ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()


def prepare(
    frames: Sequence[CGFrame], runs: AtomisticRuns, temperature: float, *, quiet: bool = True
) -> Prepared:
    """Build the atoms of every frame; nothing is written yet.

    Raises:
        ConfigError: see `AtomisticRuns.check`.
        InputError: molecules that cannot be built, files that do not fit the frames.
    """
    runs.check()
    assert runs.structure is not None
    assert runs.mapping is not None
    mapping = require_file(runs.mapping, "mapping file")
    structure = read_structure(runs.structure, mapping, runs.conformations)
    write, commands, notes = _engine(runs, mapping, temperature, structure)
    writers, facts = [], []
    with progress("backmapping", len(frames), quiet=quiet) as advance:
        for k, frame in enumerate(frames):
            placed = backmap(structure, frame, runs.seed + k)
            writers.append(
                lambda folder, placed=placed, frame=frame, k=k: write(
                    folder, placed, frame, 12345 + runs.seed + 2 * k
                )
            )
            facts.append(
                {"misfit_A": round(placed.misfit, 6), "closest_atoms_A": round(placed.contact, 4)}
            )
            advance(1)
    return Prepared(tuple(writers), tuple(facts), commands, notes)


def _engine(
    runs: AtomisticRuns, mapping: Path, temperature: float, structure: Structure
) -> tuple[Callable[..., list[Path]], tuple[str, ...], tuple[str, ...]]:
    """The function that writes a folder, the commands, and notes."""
    assert runs.structure is not None
    if runs.engine == "gromacs":
        from cgpot.select.gromacs_deck import GromacsRun, write_gromacs

        assert runs.topology is not None
        deck = GromacsRun(
            topology=runs.topology,
            mapping=mapping,
            mdp=runs.mdp,
            held=runs.sampling == "held",
            length_ps=runs.length_ps,
            equilibrate_ps=runs.equilibrate_ps,
            timestep_fs=runs.timestep_fs,
            anneal=runs.anneal,
        )
        deck.check()

        notes: tuple[str, ...] = ()
        if deck.masses(structure) is None:
            notes = (
                f"the masses of {runs.topology.name} are unknown (an included file was not "
                "found): the sites are held as centres of mass, taken to be those of the mapping",
            )

        def gromacs(folder: Path, placed: Backmapped, frame: CGFrame, seed: int) -> list[Path]:
            return write_gromacs(
                folder, structure, placed, frame.positions, deck, temperature, seed
            )

        last = (AVERAGE,) if deck.held else ()
        return gromacs, ("sh run.sh", deck.command(temperature), *last), notes
    from cgpot.select.lammps_deck import LammpsRun, write_lammps

    settings = LammpsRun(
        data=runs.structure,
        force_field=require_file(runs.force_field or "", "LAMMPS commands of the force field"),
        length_ps=runs.length_ps,
        equilibrate_ps=runs.equilibrate_ps,
        timestep_fs=runs.timestep_fs,
        anneal=runs.anneal,
    )
    settings.check()

    def lammps(folder: Path, placed: Backmapped, frame: CGFrame, seed: int) -> list[Path]:
        return write_lammps(folder, structure, placed, settings, temperature, seed)

    return lammps, (*_lammps_commands(mapping), AVERAGE), ()


def _lammps_commands(mapping: Path) -> tuple[str, str]:
    name = shlex.quote(str(mapping.resolve()))
    return (
        "lmp -in in.deck -log run.0.log",
        f"cgpot map {name} --topology system.data --trajectory run.0.dump --energy run.0.log "
        "--output held.extxyz",
    )
