# SPDX-License-Identifier: GPL-2.0-or-later
"""Several models in `pair_style cgpot`: their mean, one of them, and how far they disagree."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, Configuration, write_sidecar
from plugin_support import per_atom

KCAL = 23.060549  # LAMMPS's own eV → kcal/mol
RELATIVE = 1e-11


def commands(models: list[Path], style: str = "") -> str:
    return f"pair_style cgpot {style}\npair_coeff * * {' '.join(map(str, models))} AAA BBB"


def observe(lmp: Any, configuration: Configuration) -> dict[str, np.ndarray]:
    lmp.commands_string(
        "compute p all pressure NULL virial\ncompute pe all pe/atom\ncompute sum all reduce sum "
        "c_pe\nthermo_style custom step pe c_p[*] c_sum\nrun 0 post no"
    )
    return {
        "energy": np.array(lmp.get_thermo("pe")),
        "forces": per_atom(lmp, configuration, "f", 3),
        "pressure": np.array(lmp.numpy.extract_compute("p", 0, 1)),
        "atom energies": per_atom(lmp, configuration, "pe", 1),
    }


def singles(lammps: Any, models: list[Path], name: str) -> list[dict[str, np.ndarray]]:
    """Every model run alone."""
    results = []
    for model in models:
        lmp = lammps(CONFIGURATIONS[name], log="none")
        lmp.commands_string(commands([model]))
        results.append(observe(lmp, CONFIGURATIONS[name]))
    return results


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    for key, expected in b.items():
        np.testing.assert_allclose(
            a[key], expected, rtol=0, atol=RELATIVE * np.abs(expected).max(), err_msg=key
        )


def force_spread(results: list[dict[str, np.ndarray]]) -> np.ndarray:
    forces = np.stack([r["forces"] for r in results])
    deviation: np.ndarray = np.sqrt((np.var(forces, axis=0, ddof=1)).sum(axis=1))
    return deviation


def summary(lmp: Any) -> np.ndarray:
    return np.array(lmp.numpy.extract_compute("s", 0, 1))[:5]  # times follow


def watch(lmp: Any, style: str = "custom step pe c_s[*]") -> None:
    lmp.commands_string(f"compute s all pair cgpot\nthermo_style {style}")


@pytest.mark.parametrize("name", ["cubic", "triclinic", "small"])
@pytest.mark.parametrize("style", ["", "spread 1"])
def test_forces_are_the_mean(lammps: Any, lj_members: list[Path], name: str, style: str) -> None:
    alone = singles(lammps, lj_members, name)
    lmp = lammps(CONFIGURATIONS[name])
    lmp.commands_string(commands(lj_members, style))
    mean = {key: np.mean([r[key] for r in alone], axis=0) for key in alone[0]}
    same(observe(lmp, CONFIGURATIONS[name]), mean)


@pytest.mark.parametrize("member", [1, 2, 3])
@pytest.mark.parametrize("style", ["use {}", "use {} spread 1", "spread 7 use {}"])
def test_one_member_drives(lammps: Any, lj_members: list[Path], member: int, style: str) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members, style.format(member)))
    alone = singles(lammps, [lj_members[member - 1]], "cubic")[0]
    same(observe(lmp, CONFIGURATIONS["cubic"]), alone)


@pytest.mark.parametrize("units", ["metal", "real"])
@pytest.mark.parametrize("style", ["spread 1", "spread 1 use 2"])
def test_spread_by_compute_pair(
    lammps: Any, lj_members: list[Path], units: str, style: str
) -> None:
    alone = singles(lammps, lj_members, "triclinic")
    lmp = lammps(CONFIGURATIONS["triclinic"], units=units)
    lmp.commands_string(commands(lj_members, style))
    watch(lmp)
    lmp.command("run 0 post no")
    beads = force_spread(alone)
    energies = [r["energy"] / len(beads) for r in alone]
    pressures = [r["pressure"][:3].mean() for r in alone]
    # LAMMPS: pressure_real [atm] = pressure_metal [bar] / 1.01325, to the digits of its constants
    energy_unit, pressure_unit = (KCAL, 1 / 1.01325) if units == "real" else (1.0, 1.0)
    expected = [
        beads.max() * energy_unit,
        np.sqrt(np.mean(beads**2)) * energy_unit,
        np.std(energies, ddof=1) * energy_unit,
        np.std(pressures, ddof=1) * pressure_unit,
        0.0,
    ]
    np.testing.assert_allclose(summary(lmp), expected, rtol=1e-6 if units == "real" else 1e-10)


def test_spread_every_n_steps(lammps: Any, lj_members: list[Path]) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members, "spread 4"))
    watch(lmp)
    lmp.commands_string("velocity all create 50 3\nfix 1 all nve\ntimestep 0.002\nthermo 1")
    steps, values = [], []
    for _ in range(10):
        lmp.command("run 1 pre no post no" if steps else "run 1 post no")
        steps.append(summary(lmp)[4])
        values.append(summary(lmp)[0])
    assert steps == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    assert len(set(values)) == 3


def test_nothing_is_evaluated_unasked(lammps: Any, lj_members: list[Path]) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members))
    watch(lmp)
    lmp.command("run 0 post no")
    np.testing.assert_array_equal(summary(lmp), [0, 0, 0, 0, -1])


@pytest.mark.parametrize(("style", "flag"), [("spread 2", 0), ("", 1), ("use 1", 1)])
def test_fix_pair_gives_the_spread_of_each_bead(
    lammps: Any, lj_members: list[Path], tmp_path: Path, style: str, flag: int
) -> None:
    configuration = CONFIGURATIONS["cubic"]
    lmp = lammps(configuration)
    lmp.commands_string(commands(lj_members, style))
    # no atom sorts: the fixture switches that off; beads move between lists all the same
    lmp.commands_string(
        f"fix s all pair 2 cgpot spread {flag}\ndump d all custom 2 s.dump id x y z f_s\n"
        "dump_modify d sort id format float %.12g\nvelocity all create 100 3 loop all\n"
        "fix 1 all nve\ntimestep 0.002\nneigh_modify every 1 delay 0 check no\nrun 4 post no"
    )
    frames = (tmp_path / "s.dump").read_text().split("ITEM: TIMESTEP\n")[1:]
    assert len(frames) == 3
    for text in frames:
        rows = np.array([line.split() for line in text.split("f_s\n")[1].splitlines()], dtype=float)
        moved = Configuration(
            configuration.cell, rows[:, 1:4], configuration.types[np.argsort(configuration.ids)],
            np.arange(1, len(rows) + 1),
        )  # fmt: skip
        results = []
        for model in lj_members:
            other = lammps(moved, log="none")
            other.commands_string(commands([model]))
            results.append(observe(other, moved))
        np.testing.assert_allclose(rows[:, 4], force_spread(results), rtol=1e-6)


def test_fix_pair_at_other_steps_gives_zero_and_says_so(
    lammps: Any, lj_members: list[Path], tmp_path: Path
) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members, "spread 3"))
    lmp.commands_string("fix s all pair 2 cgpot spread 0\nfix 1 all nve\nrun 2 post no")
    values = np.array(lmp.numpy.extract_fix("s", 1, 1)[:64])
    assert np.all(values == 0.0)
    assert "it was not evaluated and is given as zero" in (tmp_path / "log.lammps").read_text()


def test_threshold_stops(lammps: Any, lj_members: list[Path]) -> None:
    beads = force_spread(singles(lammps, lj_members, "cubic"))
    configuration = CONFIGURATIONS["cubic"]
    worst = int(np.argmax(beads))
    lmp = lammps(configuration)
    lmp.commands_string(
        commands(lj_members, f"spread 1 threshold {0.99 * beads.max()} action stop")
    )
    name = "AB"[configuration.types[worst]] * 3
    with pytest.raises(
        Exception,
        match=rf"disagree on the force on atom {configuration.ids[worst]} \({name}\) at step 0: "
        rf"spread {beads.max():.8g} eV/Angstrom, threshold {0.99 * beads.max():.8g} ",
    ):
        lmp.command("run 0")
    calm = lammps(configuration, log="none")
    calm.commands_string(
        commands(lj_members, f"spread 1 threshold {1.01 * beads.max()} action stop")
    )
    calm.command("run 0")


def test_threshold_warns_by_default(lammps: Any, lj_members: list[Path], tmp_path: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members, "spread 2 threshold 1e-6"))
    lmp.commands_string("fix 1 all nve\nrun 2 post no\nrun 2")
    text = (tmp_path / "log.lammps").read_text()
    assert re.findall(r"WARNING: cgpot: the models disagree .* at step (\d+)", text) == [
        "0", "2", "4",
    ]  # fmt: skip


@pytest.mark.parametrize("units", ["metal", "real"])
@pytest.mark.parametrize("name", ["cubic", "triclinic"])
def test_threshold_dumps_frames_that_cgpot_reads(
    lammps: Any, lj_members: list[Path], tmp_path: Path, name: str, units: str
) -> None:
    import ase.io

    from cgpot.molecules.extxyz import read_frames

    configuration = CONFIGURATIONS[name]
    order = np.argsort(configuration.ids)
    beads = force_spread(singles(lammps, lj_members, name))[order]
    lmp = lammps(configuration, units=units)
    lmp.commands_string(
        commands(lj_members, "spread 2 threshold 1e-6 action dump far.extxyz action warn")
    )
    step = 0.001 if units == "metal" else 1.0
    lmp.commands_string(f"fix 1 all nve\ntimestep {step}\nrun 3 post no\nrun 3 post no")
    frames = list(read_frames(tmp_path / "far.extxyz"))
    assert [f.source_frame for f in frames] == [0, 2, 4, 6]
    assert [f.time for f in frames] == pytest.approx([0.0, 0.002, 0.004, 0.006])
    first = frames[0]
    assert first.topology.type_names == ("AAA", "BBB")
    assert first.topology.type_masses == (40.0, 60.0)
    np.testing.assert_array_equal(first.topology.types, configuration.types[order])
    np.testing.assert_allclose(first.cell, configuration.cell, atol=1e-12)
    difference = (first.positions - configuration.positions[order]) @ np.linalg.inv(first.cell)
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-6)
    atoms = ase.io.read(tmp_path / "far.extxyz", index=0)
    np.testing.assert_allclose(atoms.arrays["force_spread"], beads, rtol=1e-5)
    assert atoms.info["force_spread_max"] == pytest.approx(beads.max(), rel=1e-6)
    assert atoms.info["force_spread_rms"] == pytest.approx(np.sqrt(np.mean(beads**2)), rel=1e-6)


def test_dump_and_stop_together(lammps: Any, lj_members: list[Path], tmp_path: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(
        commands(lj_members, "spread 1 threshold 1e-6 action stop action dump far.extxyz")
    )
    with pytest.raises(Exception, match="disagree"):
        lmp.command("run 0")
    assert (tmp_path / "far.extxyz").read_text().startswith("64\n")


def test_hybrid_overlay(lammps: Any, lj_members: list[Path]) -> None:
    """Beads without a name take no part in the spread either."""
    configuration = CONFIGURATIONS["cubic"]
    lmp = lammps(configuration)
    models = " ".join(map(str, lj_members))
    lmp.commands_string(
        f"pair_style hybrid/overlay cgpot spread 1 zero 6.0\n"
        f"pair_coeff * * cgpot {models} NULL BBB\npair_coeff * * zero"
    )
    lmp.commands_string("fix s all pair 1 cgpot spread 0")
    watch(lmp)
    lmp.command("run 0 post no")
    values = np.array(lmp.numpy.extract_fix("s", 1, 1)[:64])
    types = np.array(lmp.numpy.extract_atom("type")[:64])
    assert np.all(values[types == 1] == 0.0)
    assert np.all(values[types == 2] > 0.0)
    assert summary(lmp)[0] == pytest.approx(values.max(), rel=1e-12)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (
            "spraed 10",
            "unknown keyword 'spraed'; expected spread, use, threshold, action, ghosts or graph",
        ),
        ("spread", "keyword 'spread' needs a value"),
        ("spread -1", "keyword 'spread' takes a whole number of at least 0, found '-1'"),
        ("spread 2.5", "keyword 'spread' takes a whole number of at least 0, found '2.5'"),
        ("use 0", "keyword 'use' takes a whole number of at least 1, found '0'"),
        ("use all", "keyword 'use' takes a whole number of at least 1, found 'all'"),
        ("spread 1 threshold 0", "keyword 'threshold' takes a positive force, found '0'"),
        ("spread 1 threshold x", "keyword 'threshold' takes a positive force, found 'x'"),
        ("threshold 1", "keyword 'threshold' needs `spread N`"),
        ("spread 1 action stop", "keyword 'action' needs `threshold X`"),
        ("spread 1 threshold 1 action halt", "takes stop, warn or dump FILE, found 'halt'"),
        ("spread 1 threshold 1 action dump", "keyword 'action dump' needs a value"),
    ],
)
def test_keywords(lammps: Any, style: str, message: str) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        lammps(CONFIGURATIONS["cubic"]).command(f"pair_style cgpot {style}")


@pytest.mark.parametrize(
    ("style", "count", "message"),
    [
        ("spread 10", 1, "keyword 'spread' needs at least two models in pair_coeff, found one"),
        ("use 1", 1, "keyword 'use' needs at least two models in pair_coeff, found one"),
        ("use 4", 3, "`use 4`, but pair_coeff names 3 models"),
    ],
)
def test_number_of_models(
    lammps: Any, lj_members: list[Path], style: str, count: int, message: str
) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        lammps(CONFIGURATIONS["cubic"]).commands_string(commands(lj_members[:count], style))


@pytest.fixture
def other(lj_model: Path, tmp_path: Path) -> Path:
    """The same model under another name, with a sidecar that a test may change."""
    shutil.copy(lj_model, tmp_path / "other.nequip.pt2")
    write_sidecar(tmp_path / "other.cgpot.json")
    return tmp_path / "other.nequip.pt2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": {"energy": "kJ/mol", "length": "angstrom"}}, "the same energy unit"),
        ({"masses": [40.0, 61.0]}, "the same mass of bead BBB: "),
    ],
)
def test_members_that_differ(
    lammps: Any, lj_model: Path, other: Path, changes: dict[str, Any], message: str
) -> None:
    write_sidecar(other.with_name("other.cgpot.json"), **changes)
    with pytest.raises(Exception, match=re.escape(message)) as caught:
        lammps(CONFIGURATIONS["cubic"]).commands_string(commands([lj_model, other]))
    assert "other.nequip.pt2 has '" in str(caught.value)


def test_members_with_other_beads(lammps: Any, lj_model: Path, tmp_path: Path) -> None:
    from test_plugin_errors import with_metadata

    model = with_metadata(lj_model, tmp_path / "beads.nequip.pt2", type_names="AAA CCC")
    write_sidecar(tmp_path / "beads.cgpot.json", bead_names=["AAA", "CCC"])
    with pytest.raises(
        Exception,
        match=r"must have the same bead names: .*lj.nequip.pt2 has 'AAA BBB', "
        r".*beads.nequip.pt2 has 'AAA CCC'",
    ):
        lammps(CONFIGURATIONS["cubic"]).commands_string(commands([lj_model, model]))


def test_the_same_file_twice(lammps: Any, lj_model: Path) -> None:
    with pytest.raises(Exception, match="stands twice in the ensemble"):
        lammps(CONFIGURATIONS["cubic"]).commands_string(commands([lj_model, lj_model]))


def test_dump_into_a_missing_folder(lammps: Any, lj_members: list[Path]) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands(lj_members, "spread 1 threshold 1e-6 action dump no/far.extxyz"))
    with pytest.raises(Exception, match=r"file no/far\.extxyz cannot be opened for writing"):
        lmp.command("run 0")


def test_fix_pair_needs_an_ensemble(lammps: Any, lj_model: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(commands([lj_model]))
    with pytest.raises(Exception, match="the spread needs at least two models in pair_coeff"):
        lmp.command("fix s all pair 1 cgpot spread 1")
