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

The force field is the user's topology; cutoffs and the like come from the user's .mdp, or are
those of the benzene reference (workflows/systems/benzene/gromacs/npt_hmr.mdp).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgpot.core.errors import ConfigError, InputError
from cgpot.core.files import require_file, write_text
from cgpot.core.frame import Array
from cgpot.core.units import NM
from cgpot.workflow.backmap import Backmapped
from cgpot.workflow.conformations import Structure

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
{command}
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
    """

    topology: Path
    mapping: Path
    mdp: Path | None = None
    held: bool = True
    length_ps: float = 20.0
    equilibrate_ps: float = 5.0
    timestep_fs: float = 1.0
    sample_ps: float = 0.1

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


def read_mdp(path: str | Path) -> dict[str, str]:
    """Settings of a .mdp by key (lower case, '-' for '_').

    Raises:
        InputError: missing, or a line that is no setting.
    """
    p = require_file(path, "GROMACS settings")
    found = {}
    for number, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split(";")[0].strip()
        if not text:
            continue
        key, equal, value = text.partition("=")
        if not equal:
            raise InputError(f"line {number} is {text[:40]!r}; expected 'key = value'", file=p)
        found[key.strip().lower().replace("_", "-")] = value.strip()
    return found


def write_gro(path: str | Path, structure: Structure, placed: Backmapped, title: str) -> Path:
    """Coordinates as a .gro with six decimals (nm): libraries write three, 0.005 Å off."""
    x = placed.positions / NM
    rows = [
        f"{residue % 100000:5d}{name[:5]:<5}{atom[:5]:>5}{(k + 1) % 100000:5d}"
        f"{x[k, 0]:11.6f}{x[k, 1]:11.6f}{x[k, 2]:11.6f}"
        for k, (residue, name, atom) in enumerate(
            zip(structure.residues, structure.residue_names, structure.names, strict=True)
        )
    ]
    cell = placed.cell / NM
    box = [cell[0, 0], cell[1, 1], cell[2, 2]]
    if np.abs(cell - np.diag(box)).max() > 1e-9:
        box += [0.0, 0.0, cell[1, 0], 0.0, cell[2, 0], cell[2, 1]]
    last = " ".join(f"{value:.6f}" for value in box)
    return write_text(path, "\n".join([title, str(len(x)), *rows, last]) + "\n")


def _sites(structure: Structure) -> list[tuple[Array, Array]]:
    """Atoms and position weights of each site, in order."""
    found: list[tuple[Array, Array]] = [(np.zeros(0), np.zeros(0))] * (
        structure.sites.topology.n_sites
    )
    for group in structure.sites.groups:
        for row, site in enumerate(group.sites):
            found[int(site)] = (group.atoms[row], group.position_weights)
    return found


def index_text(structure: Structure) -> str:
    """Index groups: all atoms, and one for each site."""
    lines = ["[ System ]"]
    atoms = [str(k + 1) for k in range(structure.topology.n_atoms)]
    lines += [" ".join(atoms[k : k + 15]) for k in range(0, len(atoms), 15)]
    for number, (members, _) in enumerate(_sites(structure), 1):
        lines += [f"[ site_{number} ]", " ".join(str(int(k) + 1) for k in members)]
    return "\n".join(lines) + "\n"


def top_masses(path: str | Path, n_atoms: int) -> Array | None:
    """Masses (n_atoms,) of a topol.top, amu; None where an included file cannot be found.

    Raises:
        InputError: another number of atoms.
    """
    import MDAnalysis

    program = shutil.which(os.environ.get("GMX", "gmx"))
    share = Path(program or "/usr/bin/gmx").resolve().parents[1] / "share" / "gromacs" / "top"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(
                str(path),
                topology_format="ITP",
                include_dir=os.environ.get("GMXLIB", str(share)),
                infer_system=True,
                to_guess=(),
            )
        masses = np.asarray(universe.atoms.masses, dtype=np.float64)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if not len(masses) or not (masses > 0.0).all():
        return None
    if len(masses) != n_atoms:
        raise InputError(
            f"{len(masses)} atoms, the structure has {n_atoms}; expected the topology of the "
            "same system",
            file=path,
        )
    return masses


def pull_text(structure: Structure, positions: Array, masses: Array | None) -> str:
    """Settings that hold every site at its position (n, 3), Å.

    GROMACS takes centres of mass, with the masses (n_atoms,) of the run; the weights of a site
    whose position weights are not its masses are divided by them.
    """
    sites = _sites(structure)
    lines = ["pull = yes", "pull-nstxout = 0", "pull-nstfout = 0"]
    lines += [f"pull-ngroups = {len(sites)}", f"pull-ncoords = {3 * len(sites)}"]
    for number, (atoms, weights) in enumerate(sites, 1):
        lines.append(f"pull-group{number}-name = site_{number}")
        if masses is not None and len(atoms) > 1:
            ratio = weights / masses[atoms]
            if np.ptp(ratio) > 1e-4 * ratio.max():
                words = " ".join(f"{value:.7g}" for value in ratio / ratio.max())
                lines.append(f"pull-group{number}-weights = {words}")
    for number, origin in enumerate(positions / NM, 1):
        where = " ".join(f"{value:.7f}" for value in origin)
        for axis, vector in enumerate(("1 0 0", "0 1 0", "0 0 1"), 1):
            head = f"pull-coord{3 * (number - 1) + axis}"
            lines += [
                f"{head}-type = constraint",
                f"{head}-geometry = direction",
                f"{head}-groups = 0 {number}",
                f"{head}-origin = {where}",
                f"{head}-vec = {vector}",
            ]
    return "\n".join(lines) + "\n"


def _mdp(what: str, settings: Mapping[str, object], pull: str) -> str:
    rows = [f"{key:<24} = {value}" for key, value in settings.items()]
    return "\n".join([f"; {what}", *rows]) + "\n" + pull


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
                "ld-seed": seed, "gen-vel": "yes", "gen-temp": temperature, "gen-seed": seed,
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
            command=run.command(temperature),
        ),
    }  # fmt: skip
    title = "atoms at the sites of a CG frame, by cgpot"
    written = [write_gro(where / "conf.gro", structure, placed, title)]
    return written + [write_text(where / name, text) for name, text in texts.items()]
