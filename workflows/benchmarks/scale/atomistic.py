# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed of the atomistic engines on the same fluid: GROMACS where it is installed, and LAMMPS."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SYSTEM = Path(__file__).resolve().parents[2] / "systems" / "benzene"
MOLECULES = 500
MDP = """integrator=md
dt={dt}
nsteps={steps}
cutoff-scheme=Verlet
constraints={constraints}
rvdw=1.2
rcoulomb=1.2
coulombtype=PME
fourierspacing=0.14
DispCorr=EnerPres
tcoupl=v-rescale
tc-grps=System
tau-t=0.5
ref-t=300
gen-vel=yes
gen-temp=300
gen-seed=1
nstxout=0
nstfout=0
nstenergy=100
nstcalcenergy=100
nstlog=0
"""
TOPOLOGY = """#include "oplsaa.ff/forcefield.itp"
#include "{molecule}"
[ system ]
benzene
[ molecules ]
BNZ {count}
"""
WAYS = {
    "flexible, 1 fs": ("none", 0.001),
    "bonds to hydrogen constrained, 2 fs": ("h-bonds", 0.002),
}


def gromacs(kind: str, steps: int, threads: int, folder: Path) -> dict[str, Any] | None:
    """Time `gmx mdrun` on 500 flexible or constrained OPLS-AA molecules of benzene at 300 K.

    Settings are those of the reference (cut-offs of 1.2 nm, PME, dispersion correction), without
    output.  The first half of the steps, in which GROMACS balances its own work, does not count.

    Returns:
        ``ns_per_day``, ``steps_per_second``, ``cpu_use_percent`` (of each thread, by the operating
        system), ``command``; None without `gmx`.
    """
    program = shutil.which("gmx")
    if program is None:
        return None
    constraints, dt = WAYS[kind]
    mdp = MDP.format(dt=dt, steps=steps, constraints=constraints)
    (folder / "run.mdp").write_text(mdp, encoding="utf-8")
    molecule = SYSTEM / "gromacs" / "benzene.itp"
    (folder / "topol.top").write_text(
        TOPOLOGY.format(molecule=molecule, count=MOLECULES), encoding="utf-8"
    )
    tpr = SYSTEM / "data" / "raw" / "flexible.tpr"
    _gmx(program, ["editconf", "-f", str(tpr), "-o", "start.gro"], folder)
    words = ["grompp", "-f", "run.mdp", "-c", "start.gro", "-p", "topol.top", "-o", "run.tpr"]
    _gmx(program, [*words, "-maxwarn", "2"], folder)
    command = ["mdrun", "-deffnm", "run", "-ntmpi", "1", "-ntomp", str(threads), "-resethway"]
    command += ["-noconfout", "-pin", "off"]
    wall, before = time.perf_counter(), _children_seconds()
    text = _gmx(program, command, folder)
    busy = (_children_seconds() - before) / (time.perf_counter() - wall)
    log = (folder / "run.log").read_text(encoding="utf-8", errors="replace")
    return {
        **performance(text + log, dt),
        "cpu_use_percent": 100.0 * busy / threads,
        "command": "gmx " + " ".join(command),
    }


def _children_seconds() -> float:
    """Processor time of programs that ended; GROMACS's own (%) is 100 on a busy machine too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def performance(text: str, dt_ps: float) -> dict[str, float]:
    """What GROMACS's log says of the speed.

    Raises:
        ValueError: no such lines.
    """
    speed = re.findall(r"^Performance:\s+(\S+)", text, re.MULTILINE)
    if not speed:
        raise ValueError("the log of GROMACS has no line 'Performance:'")
    ns = float(speed[-1])
    return {
        "ns_per_day": ns,
        "steps_per_second": ns / (dt_ps * 1e-3 * 86400.0),
    }


def _gmx(program: str, words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [program, "-nobackup", "-quiet", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GMX_MAXBACKUP": "-1"},
    )
    if done.returncode != 0:
        print(done.stderr[-2000:])
        sys.exit(f"gmx {words[0]} ended with status {done.returncode}")
    return done.stdout + done.stderr


def lammps(steps: int, threads: int, folder: Path) -> dict[str, Any]:
    """Time LAMMPS on 500 flexible OPLS-AA molecules (`cgpot md aa-speed`)."""
    from cgpot.md.aa_speed import aa_speed

    scripts = SYSTEM / "lammps"
    data = folder / "benzene.data"
    words = ["--molecules", str(MOLECULES), "--density", "850", "-o", str(data)]
    subprocess.run([sys.executable, str(scripts / "benzene_box.py"), *words], check=True)
    variables = {
        "ensemble": "nvt",
        "minimize_steps": "30",
        "sample_every": str(max(steps // 10, 1)),
    }
    result = aa_speed(
        scripts / "aa_benzene.lmp", data, steps, threads, variables=variables, quiet=True
    )
    return {
        "ns_per_day": result["ns_per_day"],
        "steps_per_second": result["steps_per_second"],
        "cpu_use_percent": result["cpu_use_percent"],
        "command": result["command"],
    }
