# SPDX-License-Identifier: GPL-2.0-or-later
"""A Lennard-Jones torch model through `pair_style cgpot` against `pair_style lj/cut`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import (
    CONFIGURATIONS,
    LJ_CUTOFF,
    LJ_EPSILON,
    LJ_SIGMA,
    Configuration,
    write_sidecar,
)
from plugin_support import per_atom

KCAL = 23.060549  # LAMMPS's own eV → kcal/mol (utils::get_conversion_factor)
# both codes sum the same terms in double precision
RELATIVE = 1e-11


def lj_commands(units: str = "metal", prefix: str = "") -> str:
    scale = KCAL if units == "real" else 1.0
    coefficients = "\n".join(
        f"pair_coeff {i + 1} {j + 1} {prefix} {float(LJ_EPSILON[i, j] * scale)!r} {LJ_SIGMA[i, j]}"
        for i in range(2)
        for j in range(i, 2)
    )
    return f"pair_style lj/cut {LJ_CUTOFF}\n{coefficients}"


def cgpot_commands(model: Path) -> str:
    return f"pair_style cgpot\npair_coeff * * {model} AAA BBB"


def observe(lmp: Any, configuration: Configuration) -> dict[str, np.ndarray]:
    lmp.commands_string(
        "compute pe all pe/atom\n"
        "compute stress all stress/atom NULL virial\n"
        "compute centroid all centroid/stress/atom NULL virial\n"
        "compute p all pressure NULL virial\n"
        "compute sum all reduce sum c_pe c_stress[1] c_stress[2] c_stress[3] c_stress[4] "
        "c_stress[5] c_stress[6] c_centroid[7] c_centroid[8] c_centroid[9]\n"
        "thermo_style custom step pe c_p[*] c_sum[*]\nrun 0 post no"
    )
    return {
        "energy": np.array(lmp.get_thermo("pe")),
        "forces": per_atom(lmp, configuration, "f", 3),
        "pressure": np.array(lmp.numpy.extract_compute("p", 0, 1)),
        "atom energies": per_atom(lmp, configuration, "pe", 1),
        "atom virials": per_atom(lmp, configuration, "stress", 6),
        "centroid virials": per_atom(lmp, configuration, "centroid", 9),
    }


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray], factor: float = 1.0) -> None:
    for key, expected in b.items():
        scale = np.abs(expected).max()
        assert scale > 0, key
        np.testing.assert_allclose(
            a[key], factor * expected, rtol=0, atol=RELATIVE * factor * scale, err_msg=key
        )


@pytest.mark.parametrize("newton", ["on", "off"])
@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_everything_agrees_with_lj_cut(lammps: Any, lj_model: Path, name: str, newton: str) -> None:
    configuration = CONFIGURATIONS[name]
    ours = lammps(configuration, newton=newton)
    ours.commands_string(cgpot_commands(lj_model))
    theirs = lammps(configuration, newton=newton, log="none")
    theirs.commands_string(lj_commands())
    a, b = observe(ours, configuration), observe(theirs, configuration)
    if name == "small triclinic":
        # one bead: the forces of its own images cancel
        np.testing.assert_allclose(a.pop("forces"), 0, atol=1e-14)
        b.pop("forces")
    assert_same(a, b)
    # the per-atom virials sum to the global one
    volume = abs(np.linalg.det(configuration.cell))
    np.testing.assert_allclose(
        -a["atom virials"].sum(0) / volume,
        a["pressure"],
        atol=1e-11 * np.abs(a["pressure"]).max(),
    )


def test_real_units(lammps: Any, lj_model: Path) -> None:
    configuration = CONFIGURATIONS["triclinic"]
    ours = lammps(configuration, units="real")
    ours.commands_string(cgpot_commands(lj_model))
    theirs = lammps(configuration, units="real", log="none")
    theirs.commands_string(lj_commands("real"))
    assert_same(observe(ours, configuration), observe(theirs, configuration))


def test_hybrid_overlay_accumulates(lammps: Any, lj_model: Path) -> None:
    configuration = CONFIGURATIONS["cubic"]
    both = lammps(configuration)
    both.commands_string(
        f"pair_style hybrid/overlay lj/cut {LJ_CUTOFF} cgpot\n"
        f"pair_coeff * * cgpot {lj_model} AAA BBB\n"
        + "\n".join(lj_commands(prefix="lj/cut").splitlines()[1:])
    )
    alone = lammps(configuration, log="none")
    alone.commands_string(lj_commands())
    assert_same(observe(both, configuration), observe(alone, configuration), factor=2.0)


def test_null_types_take_no_part(lammps: Any, lj_model: Path) -> None:
    configuration = CONFIGURATIONS["cubic"]
    ours = lammps(configuration)
    ours.commands_string(
        f"pair_style hybrid/overlay cgpot zero {LJ_CUTOFF}\n"
        f"pair_coeff * * cgpot {lj_model} NULL BBB\npair_coeff * * zero"
    )
    theirs = lammps(configuration, log="none")
    theirs.commands_string(lj_commands())
    theirs.commands_string("pair_coeff 1 * 0.0 1.0")
    assert_same(observe(ours, configuration), observe(theirs, configuration))


def test_types_are_mapped_by_name(lammps: Any, lj_model: Path) -> None:
    c = CONFIGURATIONS["cubic"]
    swapped = Configuration(c.cell, c.positions, 1 - c.types, c.ids)
    plain, other = lammps(c), lammps(swapped, log="none")
    plain.commands_string(cgpot_commands(lj_model))
    other.commands_string(cgpot_commands(lj_model).replace("AAA BBB", "BBB AAA"))
    assert_same(observe(other, swapped), observe(plain, c))


def test_units_of_the_sidecar_are_converted(lammps: Any, lj_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "kcal.nequip.pt2"
    model.symlink_to(lj_model)
    write_sidecar(tmp_path / "kcal.cgpot.json", units={"energy": "kcal/mol", "length": "angstrom"})
    configuration = CONFIGURATIONS["cubic"]
    ours = lammps(configuration, units="real")
    ours.commands_string(cgpot_commands(model))
    theirs = lammps(configuration, units="metal", log="none")
    theirs.commands_string(lj_commands())
    a, b = observe(ours, configuration), observe(theirs, configuration)
    # the same numbers, now in kcal/mol; the two constants for eV differ by 5e-8
    np.testing.assert_allclose(a["energy"], b["energy"], rtol=1e-7)
    np.testing.assert_allclose(a["forces"], b["forces"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("positions", "pairs"),
    [
        ([], 0),
        ([[1.0, 1.0, 1.0]], 0),
        ([[1.0, 1.0, 1.0], [10.0, 10.0, 10.0]], 0),
        ([[1.0, 1.0, 1.0], [4.5, 1.0, 1.0]], 1),
    ],
)
def test_few_beads(lammps: Any, lj_model: Path, positions: list[Any], pairs: int) -> None:
    n = len(positions)
    configuration = Configuration(
        np.diag([20.0, 20.0, 20.0]),
        np.array(positions).reshape(n, 3),
        np.zeros(n, dtype=int),
        np.arange(n) + 1,
    )
    lmp = lammps(configuration)
    lmp.commands_string(cgpot_commands(lj_model))
    lmp.command("run 0 post no")
    expected = 4 * 0.01 * ((3.0 / 3.5) ** 12 - (3.0 / 3.5) ** 6) * pairs
    assert lmp.get_thermo("pe") == pytest.approx(expected, abs=1e-14)


def test_npt_minimize_and_rerun_follow_lj_cut(lammps: Any, lj_model: Path, tmp_path: Path) -> None:
    logs = []
    for k, commands in enumerate((cgpot_commands(lj_model), lj_commands())):
        lmp = lammps(CONFIGURATIONS["triclinic"], log="none")
        lmp.commands_string(commands)
        lmp.commands_string(
            "minimize 0 1e-6 20 100\nreset_timestep 0\nvelocity all create 100 7 loop all\n"
            "fix npt all npt temp 100 100 0.1 iso 0 0 0.5\ntimestep 0.002\n"
            f"dump d all custom 10 run{k}.dump id type x y z\n"
            "dump_modify d sort id format float %.15g\n"
            "thermo_style custom step pe press vol\nrun 40 post no"
        )
        state = [lmp.get_thermo(name) for name in ("pe", "press", "vol")]
        lmp.commands_string(
            f"undump d\nunfix npt\nrerun run{k}.dump first 40 last 40 dump x y z box yes"
        )
        logs.append([*state, lmp.get_thermo("pe")])
        # the dump keeps 15 digits, the box bounds of a triclinic one as many
        assert logs[k][3] == pytest.approx(logs[k][0], rel=1e-9)
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-7)
