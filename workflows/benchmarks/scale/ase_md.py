# SPDX-License-Identifier: GPL-2.0-or-later
"""The same network through NequIP's ASE calculator: MD in Python, on one core."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def compile_for_ase(package: Path, output: Path) -> Path:
    """`nequip-compile` for the target `ase`; a file that is there is taken as it is."""
    if output.is_file():
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("nequip-compile")
    words = [str(program), str(package), str(output), "--device", "cpu"]
    words += ["--mode", "aotinductor", "--target", "ase"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-2000:])
        sys.exit(f"nequip-compile ended with status {done.returncode}")
    return output


def time_steps(
    model: Path,
    start: Path,
    replicate: tuple[int, int, int],
    seconds: float,
    timestep_fs: float,
) -> dict[str, Any]:
    """Time steps of velocity Verlet with NequIP's calculator.

    Returns:
        ``beads``, ``steps``, ``steps_per_second``, ``cpu_use_percent``.
    """
    import ase.units
    import torch
    from ase import Atoms
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet
    from nequip.integrations.ase import NequIPCalculator

    from cgpot.molecules.extxyz import read_frames

    torch.set_num_threads(1)
    frame = next(read_frames(start))
    names = frame.topology.type_names
    # beads are no elements: each type borrows one, the calculator maps it back
    symbols = ["H", "He", "Li", "Be", "B", "C", "N", "O"][: len(names)]
    types = frame.topology.types
    atoms = Atoms(
        [symbols[k] for k in types],
        positions=frame.positions,
        cell=frame.cell,
        pbc=True,
        masses=[frame.topology.type_masses[k] for k in types],
    )
    atoms = atoms.repeat(replicate)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300.0)
    atoms.calc = NequIPCalculator.from_compiled_model(
        str(model),
        device="cpu",
        chemical_species_to_atom_type_map=dict(zip(symbols, names, strict=True)),
    )
    dynamics = VelocityVerlet(atoms, timestep=timestep_fs * ase.units.fs)
    dynamics.run(3)
    steps, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        dynamics.run(5)
        steps += 5
    elapsed = time.perf_counter() - wall
    return {
        "beads": len(atoms),
        "steps": steps,
        "steps_per_second": steps / elapsed,
        "cpu_use_percent": 100.0 * (time.process_time() - cpu) / elapsed,
    }
