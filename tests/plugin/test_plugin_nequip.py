# SPDX-License-Identifier: GPL-2.0-or-later
"""A compiled NequIP through `pair_style cgpot` against the eager model, and against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS
from plugin_support import per_atom

TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "fast64": 1e-8, "fast32": 2e-5}
"""Relative to the largest value; those of tabulated models hold the error of their tables."""


def start(lammps: Any, model: Path, name: str) -> Any:
    lmp = lammps(CONFIGURATIONS[name])
    lmp.commands_string(f"pair_style cgpot\npair_coeff * * {model} AAA BBB")
    return lmp


def virial(lmp: Any) -> np.ndarray:
    """W (3, 3) in eV, from LAMMPS's virial pressure P = W / V."""
    lmp.commands_string("compute w all pressure NULL virial\nthermo_style custom step pe c_w[*]")
    lmp.command("run 0 post no")
    xx, yy, zz, xy, xz, yz = np.array(lmp.numpy.extract_compute("w", 0, 1))
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return tensor * lmp.get_thermo("vol") / lmp.extract_global("nktv2p")


def close(value: np.ndarray, expected: np.ndarray, relative: float) -> None:
    np.testing.assert_allclose(value, expected, rtol=0, atol=relative * np.abs(expected).max())


@pytest.mark.parametrize("network", list(TOLERANCE), indirect=True)
@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_agrees_with_the_eager_model(lammps: Any, network: Path, name: str) -> None:
    tolerance = TOLERANCE[network.name.split(".")[0]]
    reference = np.load(network.with_name(network.name.split(".")[0] + ".npz"))
    configuration = CONFIGURATIONS[name]
    lmp = start(lammps, network, name)
    lmp.commands_string("compute pe all pe/atom\ncompute sum all reduce sum c_pe")
    w = virial(lmp)
    if len(configuration.positions) > 1:  # of one bead alone the images' forces cancel
        close(per_atom(lmp, configuration, "f", 3), reference[f"{name}/forces"], tolerance)
    close(w, reference[f"{name}/virial"][0], tolerance)
    close(np.array(lmp.get_thermo("pe")), reference[f"{name}/total_energy"].ravel()[0], tolerance)
    lmp.command("thermo_style custom step c_sum")
    lmp.command("run 0 post no")
    energies = per_atom(lmp, configuration, "pe", 1)
    close(energies, reference[f"{name}/atomic_energy"].ravel(), tolerance)


@pytest.mark.parametrize(
    ("network", "vectors", "centers"),
    [
        ("float64", "float64", "read"),
        ("float32", "float64", "read"),
        ("fast64", "float64", "unread"),
        ("fast32", "float32", "unread"),
    ],
    indirect=["network"],
)
def test_what_the_archives_say_of_edges(network: Path, vectors: str, centers: str) -> None:
    """So that the agreement above is one of all forms of a graph."""
    from cgpot.deploy.verify import CompiledModel

    strings = CompiledModel(network).metadata
    assert (strings["cgpot_vectors"], strings["cgpot_centers"]) == (vectors, centers)


@pytest.mark.parametrize("axes", [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)])
def test_virial_is_the_strain_derivative(
    lammps: Any, float64_model: Path, axes: tuple[int, int]
) -> None:
    """W = -dE/dstrain, by central differences with step 3e-5 (error of order step²: 2e-7)."""
    lmp = start(lammps, float64_model, "triclinic")
    w = virial(lmp)
    step = 3e-5
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[axes] += sign * step
        # rows stay lower triangular when the strain x -> x (1 + e) is
        (a, _, _), (xy, b, _), (xz, yz, c) = (CONFIGURATIONS["triclinic"].cell @ strain).tolist()
        lmp.command(
            f"change_box all x final 0 {a!r} y final 0 {b!r} z final 0 {c!r} "
            f"xy final {xy!r} xz final {xz!r} yz final {yz!r} remap units box"
        )
        lmp.command("run 0 post no")
        energies.append(lmp.get_thermo("pe"))
    np.testing.assert_allclose(w[axes], -(energies[0] - energies[1]) / (2 * step), rtol=1e-5)


def test_per_atom_virials_sum_to_the_virial(lammps: Any, float64_model: Path) -> None:
    configuration = CONFIGURATIONS["small"]
    lmp = start(lammps, float64_model, "small")
    lmp.command("compute stress all stress/atom NULL virial")
    lmp.command("compute total all reduce sum c_stress[*]")
    lmp.commands_string(
        "compute w all pressure NULL virial\nthermo_style custom step pe c_w[*] c_total[*]"
    )
    lmp.command("run 0 post no")
    total = per_atom(lmp, configuration, "stress", 6).sum(0)
    pressure = np.array(lmp.numpy.extract_compute("w", 0, 1))
    close(-total / lmp.get_thermo("vol"), pressure, 1e-10)


def test_energy_is_conserved(lammps: Any, float64_model: Path) -> None:
    """Drift of the total energy in NVE below 1e-5 of the kinetic energy per bead and ps."""
    lmp = start(lammps, float64_model, "cubic")
    lmp.commands_string(
        "minimize 0 0 30 100\nreset_timestep 0\nvelocity all create 300 11 loop all\n"
        "fix nve all nve\ntimestep 0.002\nthermo 10\n"
        "thermo_style custom step pe ke etotal\nthermo_modify format float %.14g"
    )
    totals, kinetics = [], []
    for _ in range(200):
        lmp.command("run 10 pre no post no" if totals else "run 10 post no")
        totals.append(lmp.get_thermo("etotal"))
        kinetics.append(lmp.get_thermo("ke"))
    times = 0.002 * 10 * (1 + np.arange(200))
    n = len(CONFIGURATIONS["cubic"].positions)
    drift = np.polyfit(times, totals, 1)[0] / n
    kinetic = float(np.mean(kinetics)) / n
    # the potential takes part: else nothing could drift
    assert np.std(kinetics) / np.mean(kinetics) > 0.01
    assert abs(drift) / kinetic < 1e-5
