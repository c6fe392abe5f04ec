# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS input for atomistic runs that start at, or stay at, the sites of a CG frame.

A folder for each frame: ``conf.gro``, ``sites.ndx`` (a group for each site), ``em.mdp``,
``eq.mdp``, ``run.mdp`` and ``run.sh``.  The sites are held by constraint pulling, three
directions a site with an absolute reference: GROMACS keeps every centre where it is to 1e-6 Å,
takes the degrees of freedom away from the thermostat, and leaves the constraint forces out of
the .trr; at zero displacement they add nothing to the virial of the .edr either.  The forces and
virials of such a run are those that the mapping needs, and their mean is the mean force on this
configuration.  With free sampling the sites are held while the atoms relax, and released in the
last run.

Molecules turn slowly while their neighbours stay: the equilibration begins at twice the
temperature and cools down.  `gmx grompp` reads three constraints a site in a time that grows with
their square, 13 s for 500 sites.

The force field is the user's topology; cutoffs and the like come from the user's .mdp, or are
those of the benzene reference (workflows/systems/benzene/gromacs/npt_hmr.mdp).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import require_file, write_text
from cgpot.core.units import NM
from cgpot.molecules.frame import Array
from cgpot.select.backmap import Backmapped
from cgpot.select.conformations import Structure
from cgpot.select.gromacs_files import index_text, pull_text, read_mdp, top_masses, write_gro

PHYSICS: dict[str, str] = {
    "cutoff-scheme": "Verlet",
    "constraints": "none",
    "rvdw": "1.2",
    "rcoulomb": "1.2",
    "coulombtype": "PME",
    "fourierspacing": "0.14",
    "DispCorr": "EnerPres",
}
"""Settings where the user gives none."""
OURS = re.compile(
    r"(integrator|dt|nsteps|init-step|tinit|nst\w+|emtol|emstep|nstcgsteep|tcoupl|nh-.*|tc-grps"
    r"|tau-t|ref-t|ld-seed|pcoupl(type)?|tau-p|ref-p|compressibility|refcoord-scaling|gen-.*"
    r"|continuation|comm-.*|pull.*|annealing.*|title|energygrps|compressed-x-.*)"
)
"""Keys of a user's .mdp that are about the course of a run, which is set here."""
MISMATCH = "sites held, the engine counts no motion of theirs in its pressure"
SCRIPT = """\
#!/bin/sh
# {what}
# sh run.sh; the same command goes on where an earlier one was stopped.
# Other programs, arguments or files: GMX=gmx_mpi MDRUN="-nt 8" TOP=other.top sh run.sh
set -e
cd "$(dirname "$0")"
GMX=${{GMX:-gmx}}
TOP=${{TOP:-{topology}}}
stage() {{ # name, start, warnings to accept, more arguments of grompp
  name=$1; start=$2; warnings=$3; shift 3
  if [ -f "$name.gro" ]; then return; fi
  if [ ! -f "$name.tpr" ]; then
    $GMX grompp -f "$name.mdp" -c "$start" "$@" -p "$TOP" -n sites.ndx -maxwarn "$warnings" \\
      -o "$name.tpr" -po "$name.all.mdp"
  fi
  $GMX mdrun -deffnm "$name" -cpi "$name.cpt" $MDRUN
}}
# holding sites at fixed points draws a warning about the absolute reference
stage em conf.gro 1
stage eq em.gro 1
stage run eq.gro {warnings} -t eq.cpt
if [ ! -f {output} ]; then
  {command}
fi
"""


@dataclass(frozen=True)
class GromacsRun:
    """Settings of the atomistic runs.

    Attributes:
        topology: the user's topol.top.
        mapping: mapping file, for the command that maps the run.
        mdp: the user's .mdp with the settings of the force field, or None.
        held: hold the sites in the last run as well.
        length_ps, equilibrate_ps: lengths of the last run and the one before, ps.
        timestep_fs: fs.
        sample_ps: time between frames, ps.
        anneal: the equilibration begins at this many times the temperature.
    """

    topology: Path
    mapping: Path
    mdp: Path | None = None
    held: bool = True
    length_ps: float = 20.0
    equilibrate_ps: float = 5.0
    timestep_fs: float = 1.0
    sample_ps: float = 0.1
    anneal: float = 2.0

    def check(self) -> None:
        """Refuse files that are missing and times that do not fit.

        Raises:
            InputError: a missing file, or a topology that is not a .top.
            ConfigError: fewer steps between frames than one.
        """
        p = require_file(self.topology, "GROMACS topology")
        if not re.search(r"^\s*\[\s*system\s*\]", p.read_text(errors="replace"), re.MULTILINE):
            raise InputError("no section [ system ]; expected a topol.top", file=p)
        require_file(self.mapping, "mapping file")
        if self.mdp is not None:
            read_mdp(self.mdp)
        if self.steps(self.sample_ps) < 1:
            raise ConfigError(
                f"{self.sample_ps} ps between frames is less than a step of {self.timestep_fs} fs",
                key="sample_ps",
            )

    def steps(self, time_ps: float) -> int:
        """Steps of a time."""
        return round(time_ps * 1e3 / self.timestep_fs)

    def masses(self, structure: Structure) -> Array | None:
        """Masses of the run: of its topology, else of the structure, else None.

        Raises:
            InputError: a topology of another system.
        """
        found = top_masses(self.topology, structure.topology.n_atoms)
        return structure.topology.masses if found is None else found

    @property
    def output(self) -> str:
        """Name of the mapped data set."""
        return "held.extxyz" if self.held else "free.extxyz"

    def command(self, temperature: float) -> str:
        """The command that maps a finished run."""
        words = ["cgpot", "map", str(self.mapping.resolve()), "--topology", "run.tpr"]
        words += ["--trajectory", "run.trr", "--energy", "run.edr"]
        words += ["--temperature", f"{temperature:g}", "--output", self.output]
        if self.held:
            words += ["--accept-pressure-mismatch", MISMATCH]
        return shlex.join(words)


def _mdp(what: str, settings: Mapping[str, object], pull: str) -> str:
    rows = [f"{key:<24} = {value}" for key, value in settings.items()]
    return "\n".join([f"; {what}", *rows]) + "\n" + pull


def _annealing(run: GromacsRun, temperature: float) -> dict[str, object]:
    """Hot for 0.4 of the equilibration, cooling for 0.3, at the temperature for the rest."""
    if run.anneal == 1.0 or run.equilibrate_ps == 0.0:
        return {"gen-temp": temperature}
    times = [share * run.equilibrate_ps for share in (0.0, 0.4, 0.7, 1.0)]
    hot = run.anneal * temperature
    return {
        "gen-temp": hot,
        "annealing": "single",
        "annealing-npoints": 4,
        "annealing-time": " ".join(f"{t:g}" for t in times),
        "annealing-temp": f"{hot:g} {hot:g} {temperature:g} {temperature:g}",
    }


def write_gromacs(
    folder: str | Path,
    structure: Structure,
    placed: Backmapped,
    sites: Array,
    run: GromacsRun,
    temperature: float,
    seed: int,
) -> list[Path]:
    """Write the files of one frame.

    Args:
        folder: for the files.
        structure: atoms of the system.
        placed: their positions.
        sites: (n, 3) Å, positions of the sites.
        run: settings.
        temperature: K.
        seed: of velocities and baths.

    Returns:
        The files.

    Raises:
        InputError: see `GromacsRun.check`.
    """
    where = Path(folder)
    masses = run.masses(structure)
    physics = dict(PHYSICS)
    half = 0.45 * float(1.0 / np.linalg.norm(np.linalg.inv(placed.cell), axis=0).max()) / NM
    if run.mdp is not None:
        physics = {k: v for k, v in read_mdp(run.mdp).items() if not OURS.fullmatch(k)}
    elif half < 1.2:  # small test systems
        physics["rvdw"] = physics["rcoulomb"] = f"{half:.3f}"
    hold = pull_text(structure, sites, masses)
    every = run.steps(run.sample_ps)
    md: dict[str, object] = {
        "integrator": "sd",
        "dt": run.timestep_fs * 1e-3,
        "tc-grps": "System",
        "ref-t": temperature,
        "nstcalcenergy": every,
        "nstenergy": every,
        "nstlog": 10 * every,
    }
    fast = {"tau-t": 0.2, "comm-mode": "none"}
    texts = {
        "em.mdp": _mdp(
            "relax the atoms with the sites held",
            {**physics, "integrator": "steep", "nsteps": 500, "emtol": 100, "emstep": 0.005},
            hold,
        ),
        "eq.mdp": _mdp(
            "equilibrate the atoms with the sites held",
            {
                **physics, **md, **fast, "nsteps": run.steps(run.equilibrate_ps),
                **_annealing(run, temperature), "ld-seed": seed, "gen-vel": "yes",
                "gen-seed": seed,
            },
            hold,
        ),
        "run.mdp": _mdp(
            "mean forces: the sites held" if run.held else "free sampling from the configuration",
            {
                **physics, **md, **(fast if run.held else {"tau-t": 2.0, "comm-mode": "linear"}),
                "nsteps": run.steps(run.length_ps), "ld-seed": seed + 1, "gen-vel": "no",
                "continuation": "yes", "nstxout": every, "nstfout": every,
                "nstvout": 0 if run.held else every,
            },
            hold if run.held else "",
        ),
        "sites.ndx": index_text(structure),
        "run.sh": SCRIPT.format(
            what=f"Atomistic {'mean forces at' if run.held else 'run from'} a CG configuration.",
            topology=shlex.quote(str(run.topology.resolve())),
            warnings=1 if run.held else 0,
            output=run.output,
            command=run.command(temperature),
        ),
    }  # fmt: skip
    title = "atoms at the sites of a CG frame, by cgpot"
    written = [write_gro(where / "conf.gro", structure, placed, title)]
    return written + [write_text(where / name, text) for name, text in texts.items()]
