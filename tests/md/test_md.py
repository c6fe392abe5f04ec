# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md`` with the real LAMMPS and classical potentials."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_support import EPSILON, IDEAL, OVERLAP, SIGMA, app, lattice, lmp, script
from typer.testing import CliRunner

from cgpot.core.errors import CgpotError, ConfigError, DataError, InputError, ToolError
from cgpot.core.manifest import check_manifest
from cgpot.core.statistics import estimate
from cgpot.core.units import KB, ideal_pressure_bar
from cgpot.formats.lammps.cg_data import read_data, write_data
from cgpot.formats.lammps.log import read_log
from cgpot.md.engine import folder_lock
from cgpot.md.md_settings import load_config
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.species import Species

DRIVER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from lammps_support import app
app()()
"""


def invoke(*arguments: object) -> str:
    """Run ``cgpot md ...`` in this process; errors come out as they are."""
    result = CliRunner().invoke(app(), ["md", *map(str, arguments)], catch_exceptions=False)
    if result.exit_code not in (0, 3):
        raise RuntimeError(result.output)
    return result.output


def series(folder: Path) -> dict[str, np.ndarray]:
    with open(folder / "thermo.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    data = np.array(rows[1:], dtype=float)
    return {name: data[:, i] for i, name in enumerate(rows[0])}


def result(folder: Path) -> dict:
    return json.loads((folder / "md.json").read_text())


def test_nvt_writes_what_the_next_stages_read(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    out = tmp_path / "nvt"
    printed = invoke(
        "nvt", "--start", lj_data, "--pair-file", lj_file, "-T", 300, "--length-ps", 150,
        "--density-kg-m3", 740, "-o", out, "-q",
    )  # fmt: skip
    assert "30000 of 30000" in printed
    record = result(out)
    assert record["complete"] is True
    assert record["ns"] == pytest.approx(0.15)
    assert record["failures"] == []
    assert record["ns_per_day"] > 0
    assert record["frames"] == 151
    assert check_manifest(out / "md.json", stage="lammps")["seed"] == 12345
    data = series(out)
    np.testing.assert_allclose(data["time_ps"], 0.5 * np.arange(301), atol=1e-9)
    np.testing.assert_allclose(data["density_kg_m3"], 740.0, rtol=1e-6)
    # the thermostat: the mean temperature within four standard errors of the set one, and its
    # fluctuation that of the canonical ensemble, T sqrt(2/(3N-3)), within 15 %
    temperature = estimate(data["temperature_K"][40:], equilibrated=True)
    assert temperature.error < 4.0
    assert abs(temperature.mean - 300.0) < 4.0 * temperature.error
    assert temperature.std == pytest.approx(300.0 * np.sqrt(2.0 / 372.0), rel=0.15)
    # units: kinetic energy from the temperature, pressure from its two parts; LAMMPS has seven
    # digits of older constants (kB 1.1e-6 above that of CODATA 2018)
    np.testing.assert_allclose(data["ke_eV"], 1.5 * 124 * KB * data["temperature_K"], rtol=3e-6)
    kinetic = ideal_pressure_bar(124, 1.0, data["volume_A3"]) * data["temperature_K"]
    np.testing.assert_allclose(
        data["pressure_bar"], data["pressure_virial_bar"] + kinetic, rtol=3e-6, atol=1e-2
    )
    np.testing.assert_allclose(
        data["pressure_bar"], (data["pxx_bar"] + data["pyy_bar"] + data["pzz_bar"]) / 3, atol=1e-4
    )
    frames = list(read_frames(out / "traj.extxyz.xz"))
    np.testing.assert_allclose([f.time for f in frames], np.arange(151), atol=1e-9)
    assert frames[0].topology.type_names == ("BNZ",)
    assert frames[0].forces is None
    assert frames[-1].density == pytest.approx(740.0, rel=1e-5)


def test_by_hand_and_by_command_agree(
    root: Path, tmp_path: Path, lj_data: Path, lj_file: Path
) -> None:
    out = tmp_path / "run"
    config = tmp_path / "md.yaml"
    config.write_text(
        f"start: {lj_data.name}\npair_file: lj.lmp\ntemperature: 300\nlength_ps: 3\nseed: 7\n"
    )
    invoke("nvt", config, "-o", out, "-q")
    arguments = ["-in", str(root / "lammps_inputs" / "cg_nvt.lmp"), "-log", "hand.log"]
    for name, value in (
        ("data", str(out / "system.data")),
        ("pair_file", "lj.lmp"),
        ("seed", "7"),
        ("length_ps", "3"),
    ):
        arguments += ["-var", name, value]
    lmp(arguments, tmp_path)
    hand = read_log(tmp_path / "hand.log")[-1]
    command = read_log(out / "run.0.log")[-1]
    for name in ("Step", "Temp", "Press", "PotEng"):
        np.testing.assert_array_equal(hand[name], command[name])
    # the filled deck in the folder runs by itself, and can be overridden
    lmp(["-in", "in.deck", "-log", "again.log", "-var", "out", "again"], out)
    np.testing.assert_array_equal(read_log(out / "again.log")[-1]["Press"], hand["Press"])


def test_ideal_gas_pressure_and_volume(tmp_path: Path) -> None:
    (tmp_path / "ideal.lmp").write_text(IDEAL)
    data = write_data(tmp_path / "s.data", lattice(5, 9.0))
    common = ["--start", data, "--pair-file", tmp_path / "ideal.lmp", "-T", 300, "-q"]
    invoke("nvt", *common, "--length-ps", 100, "-o", tmp_path / "nvt")
    nvt = series(tmp_path / "nvt")
    # 3N-3 degrees of freedom: the mean is (N-1) kT/V
    pressure = estimate(nvt["pressure_bar"])
    expected = 124 * 1.380649e-23 * 300.0 / (45.0e-10) ** 3 / 1e5
    assert np.all(nvt["pressure_virial_bar"] == 0.0)
    assert abs(pressure.mean - expected) < 4.0 * pressure.error
    # constant pressure: p(V) ~ V^N exp(-PV/kT) gives <V> = (N+1) kT/P and std sqrt(N+1) kT/P,
    # N = 124 or 125 with the total momentum fixed
    invoke(
        "npt", *common, "--thermostat", "langevin", "-P", 60, "--length-ps", 1500,
        "--timestep-fs", 10, "-o", tmp_path / "npt",
    )  # fmt: skip
    npt = series(tmp_path / "npt")
    volume = estimate(npt["volume_A3"])
    unit = 1.380649e-23 * 300.0 / 60e5 * 1e30
    assert volume.error < 0.02 * volume.mean
    assert abs(volume.mean - 126 * unit) < 4.0 * volume.error + unit
    assert volume.std == pytest.approx(np.sqrt(126) * unit, rel=0.25)


def test_npt_density_agrees_with_an_independent_run(
    tmp_path: Path, lj_data: Path, lj_file: Path
) -> None:
    out = tmp_path / "npt"
    invoke(
        "npt", "--start", lj_data, "--pair-file", lj_file, "-T", 300, "-P", 500,
        "--length-ps", 200, "-o", out, "-q",
    )  # fmt: skip
    density = estimate(series(out)["density_kg_m3"])
    pressure = estimate(series(out)["pressure_bar"][40:], equilibrated=True)
    assert abs(pressure.mean - 500.0) < 4.0 * pressure.error
    # independent: a script of its own in units real (kcal/mol, atm, fs), Langevin, Berendsen
    script(
        tmp_path,
        "units real\natom_style molecular\nread_data start.data\n"
        f"pair_style lj/cut 12.0\npair_coeff * * {EPSILON * 23.0605478:.9g} {SIGMA}\n"
        "velocity all create 300 99 mom yes\nfix 1 all nve\n"
        "fix 2 all langevin 300 300 500 4711 zero yes\n"
        f"fix 3 all press/berendsen iso {500 / 1.01325} {500 / 1.01325} 2000 modulus 10000\n"
        "timestep 4.0\nthermo 100\nthermo_style custom step temp press density\nrun 50000\n",
    )
    table = read_log(tmp_path / "in.test.log")[0]
    reference = estimate(table["Density"] * 1000.0)
    combined = float(np.hypot(density.error, reference.error))
    assert combined < 0.01 * reference.mean
    assert abs(density.mean - reference.mean) < 4.0 * combined


def test_nve_conserves_energy(tmp_path: Path, lj_data: Path) -> None:
    # a potential whose force is smooth at the cut-off, else the drift is that of the cut
    (tmp_path / "smooth.lmp").write_text(
        f"pair_style lj/smooth/linear 12.0\npair_coeff * * {EPSILON} {SIGMA}\n"
    )
    out = tmp_path / "nve"
    invoke(
        "nve", "--start", lj_data, "--pair-file", tmp_path / "smooth.lmp", "-T", 300,
        "--minimize", "--length-ps", 40, "-o", out, "-q",
    )  # fmt: skip
    data = series(out)
    slope = np.polyfit(data["time_ps"], data["etotal_eV"], 1)[0]
    assert abs(slope) < 1e-5 * data["ke_eV"].mean()
    assert np.ptp(data["etotal_eV"]) < 2e-3 * data["ke_eV"].mean()


def test_replicate(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    out = tmp_path / "big"
    invoke(
        "nvt", "--start", lj_data, "--pair-file", lj_file, "-T", 300, "--length-ps", 2,
        "--replicate", 2, 1, 1, "--dump-forces", "-o", out, "-q",
    )  # fmt: skip
    frame = next(read_frames(out / "traj.extxyz.xz"))
    small = read_data(lj_data)
    assert frame.topology.n_sites == result(out)["n_sites"] == 250
    assert len(set(frame.topology.molecules)) == 250
    np.testing.assert_allclose(np.diag(frame.cell), np.diag(small.cell) * [2, 1, 1])


def test_killed_run_continues_to_the_full_length(
    tmp_path: Path, lj_data: Path, lj_file: Path
) -> None:
    out = tmp_path / "run"
    arguments = [
        "md", "nvt", "--start", lj_data, "--pair-file", lj_file, "-T", 300, "--length-ps", 100,
        "--dump-ps", 0.5, "--restart-ps", 2, "-o", out, "-q",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, arguments)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not (out / "run.restart.b").is_file() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # LAMMPS ends with it: its lock is free
    while True:
        try:
            with folder_lock(out):
                break
        except InputError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not (out / "md.json").exists()
    assert not (out / "traj.extxyz.xz").exists()
    interrupted = read_log(out / "run.0.log")[-1]
    assert not interrupted.complete
    # an interrupted line and frame, as a full disk or a dying node leaves them
    with open(out / "run.0.log", "a") as stream:
        stream.write("     99999  12.5 30")
    with open(out / "run.0.dump", "a") as stream:
        stream.write("ITEM: TIME\n77\nITEM: TIMESTEP\n154")

    invoke(*arguments[1:])
    record = result(out)
    assert record["complete"] is True
    assert record["steps"] == 20000
    first, second = record["segments"]
    assert second["first_step"] >= 400
    assert second["first_step"] % 400 == 0
    assert (first["ended"], second["ended"]) == (False, True)
    data = series(out)
    np.testing.assert_array_equal(data["step"], 100 * np.arange(201))
    np.testing.assert_allclose(data["time_ps"], 0.5 * np.arange(201), atol=1e-9)
    # the state at the restart is the state before it
    before = dict(zip(interrupted["Step"], interrupted["PotEng"], strict=True))
    after = read_log(out / "run.1.log")[-1]
    if second["first_step"] in before:
        assert after["PotEng"][0] == pytest.approx(before[second["first_step"]], rel=1e-8)
    frames = list(read_frames(out / "traj.extxyz.xz"))
    np.testing.assert_allclose([f.time for f in frames], 0.5 * np.arange(201), atol=1e-9)
    edge = frames[0].cell[0, 0]
    moved = []
    for a, b in itertools.pairwise(frames):
        step = b.positions - a.positions
        step -= edge * np.round(step / edge)
        moved.append(float(np.sqrt(np.mean(step**2))))
    seam = second["first_step"] // 100
    assert max(moved[seam - 1 : seam + 1]) < 1.5 * np.mean(moved)
    # once complete, the same command does nothing but say so; a longer one goes on
    invoke(*arguments[1:])
    assert len(result(out)["segments"]) == 2
    longer = [*arguments[1:]]
    longer[longer.index("--length-ps") + 1] = 105
    invoke(*longer)
    assert result(out)["steps"] == 21000
    assert series(out)["step"][-1] == 21000


def test_walltime_stops_cleanly_and_continues(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    out = tmp_path / "run"
    arguments = [
        "md", "nvt", "--start", lj_data, "--pair-file", lj_file, "-T", 300,
        "--thermo-ps", 0.1, "-o", out, "-q",
    ]  # fmt: skip
    stopped = CliRunner().invoke(
        app(), [*map(str, arguments), "--length-ps", "100000", "--walltime", "0:00:01"]
    )
    assert stopped.exit_code == 3
    assert "stopped at its walltime" in stopped.stderr
    record = result(out)
    assert record["complete"] is False
    assert 0 < record["steps"] < 20_000_000
    assert (out / "traj.extxyz.xz").is_file()
    length = (record["steps"] + 100) * 0.005
    invoke(*arguments[1:], "--length-ps", length)
    assert result(out)["complete"] is True
    assert result(out)["segments"][1]["first_step"] == record["steps"]


@pytest.mark.parametrize(
    ("sigma", "message"), [("7.0", "Fix halt condition"), ("9.0", "0 atoms|Lost atoms")]
)
def test_explosion_is_an_error_that_names_the_step(
    tmp_path: Path, lj_data: Path, sigma: str, message: str
) -> None:
    (tmp_path / "hot.lmp").write_text(OVERLAP.replace("9.0", sigma))
    out = tmp_path / "run"
    with pytest.raises(
        ToolError, match=rf"blew up at step \d+ \([\d.]+ ps\): ERROR: .*({message})"
    ):
        invoke(
            "nvt", "--start", lj_data, "--pair-file", tmp_path / "hot.lmp", "-T", 300,
            "-o", out, "-q",
        )  # fmt: skip
    record = result(out)
    assert record["complete"] is False
    assert record["failures"][0]["step"] <= 200
    assert "blew up" in record["failures"][0]["message"]
    assert not (out / "traj.extxyz.xz").exists()


def test_lammps_errors_are_shown(tmp_path: Path, lj_data: Path) -> None:
    (tmp_path / "bad.lmp").write_text("pair_style nonsense\n")
    with pytest.raises(
        ToolError, match=r"(?s)Unrecognized pair style 'nonsense'.*cgpot doctor.*Last input line"
    ):
        invoke(
            "nvt", "--start", lj_data, "--pair-file", tmp_path / "bad.lmp", "-T", 300,
            "-o", tmp_path / "run", "-q",
        )  # fmt: skip


def test_model_is_checked_before_lammps_starts(tmp_path: Path) -> None:
    model = tmp_path / "model.nequip.pt2"
    model.write_bytes(b"compiled")
    (tmp_path / "model.cgpot.json").write_text(
        json.dumps(
            {
                "format": "cgpot-model-1",
                "bead_names": ["TOL"],
                "masses": [92.141],
                "units": {},
                "temperature": 300,
            }
        )
    )
    data = write_data(tmp_path / "s.data", lattice(3, 6.0))
    with pytest.raises(InputError, match=r"s\.data: the system's bead type 'BNZ' is not one of"):
        invoke("nvt", "--start", data, "--model", model, "-o", tmp_path / "run", "-q")
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    out = tmp_path / "run"
    good = {"start": lj_data, "pair_file": lj_file, "temperature": 300.0, "length_ps": 1.0}
    with pytest.raises(ConfigError, match="key 'temperature': give a temperature in K"):
        run_md("nvt", load_config(None, {**good, "temperature": None}), out, quiet=True)
    with pytest.raises(ConfigError, match="key 'start': a starting configuration is needed"):
        load_config(None, {"pair_file": lj_file})
    with pytest.raises(ConfigError, match="expected either 'model' or 'pair_file'"):
        load_config(None, {"start": lj_data})
    with pytest.raises(ConfigError, match=r"key 'replicate'.*at least 1"):
        load_config(None, {**good, "replicate": (1, 0, 1)})
    with pytest.raises(ConfigError, match=r"key 'thermostat'.*'magic'"):
        load_config(None, {**good, "thermostat": "magic"})
    config = tmp_path / "md.yaml"
    config.write_text("start: start.data\npair_file: lj.lmp\ntemprature: 300\n")
    with pytest.raises(
        ConfigError, match=r"md\.yaml, key 'temprature': unknown key; did you mean 'temperature'"
    ):
        load_config(config, {})
    with pytest.raises(InputError, match="no such pair file"):
        run_md("nvt", load_config(None, {**good, "pair_file": tmp_path / "x"}), out, quiet=True)
    assert not out.exists()
    run_md("nvt", load_config(None, good), out, quiet=True)
    with pytest.raises(ConfigError, match=r"key 'temperature': the folder holds a run with 300\.0"):
        run_md("nvt", load_config(None, {**good, "temperature": 310.0}), out, quiet=True)
    with pytest.raises(ConfigError, match="key 'ensemble': the folder holds a run with 'nvt'"):
        run_md("npt", load_config(None, good), out, quiet=True)
    lj_file.write_text(lj_file.read_text().replace("5.0", "5.1"))
    with pytest.raises(ConfigError, match="key 'pair_file_sha256'"):
        run_md("nvt", load_config(None, good), out, quiet=True)
    (out / "keep.txt").write_text("not of the run")
    run_md("nvt", load_config(None, good), out, fresh=True, quiet=True)
    assert len(result(out)["segments"]) == 1
    assert (out / "keep.txt").is_file()
    (out / "settings.json").unlink()
    with pytest.raises(ConfigError, match=r"logs of a run but no settings\.json"):
        run_md("nvt", load_config(None, good), out, quiet=True)


def test_nan_in_the_start(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    text = lj_data.read_text()
    lj_data.write_text(text.replace(text.split()[-1], "nan"))
    with pytest.raises(DataError, match=r"start\.data: positions hold NaN"):
        invoke("nvt", "--start", lj_data, "--pair-file", lj_file, "-T", 300, "-o", tmp_path / "r")


def test_missing_frames_are_noticed(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    out = tmp_path / "run"
    options = {"start": lj_data, "pair_file": lj_file, "temperature": 300.0, "length_ps": 5.0}
    run_md("nvt", load_config(None, options), out, quiet=True)
    dump = out / "run.0.dump"
    text = dump.read_text()
    starts = [i for i in range(len(text)) if text.startswith("ITEM: TIME\n", i)]
    dump.write_text(text[: starts[2]] + text[starts[3] :])
    with pytest.raises(CgpotError, match="frames are missing between steps 200 and 600"):
        run_md("nvt", load_config(None, options), out, quiet=True)


def test_charges_run_in_atom_style_full(tmp_path: Path) -> None:
    """The deck reads them, a pair file with a Coulomb style acts on them, frames keep them."""
    frame = lattice(3, 6.0, names=("AA", "B2"))
    topology = replace(frame.topology, type_charges=(0.2, -0.2))
    write_data(tmp_path / "s.data", replace(frame, topology=topology))
    (tmp_path / "p.lmp").write_text(
        f"pair_style lj/cut/coul/cut 9.0\npair_coeff * * {EPSILON} {SIGMA}\n"
    )
    out = tmp_path / "nvt"
    invoke(
        "nvt", "--start", tmp_path / "s.data", "--pair-file", tmp_path / "p.lmp", "-T", 300,
        "--length-ps", 2, "-o", out, "-q",
    )  # fmt: skip
    assert "variable        atom_style index full" in (out / "in.deck").read_text()
    assert "warnings" not in result(out)  # the user's own styles may have a Coulomb term
    assert next(read_frames(out / "traj.extxyz.xz")).topology.type_charges == (0.2, -0.2)


def test_copies_of_a_box_keep_their_species(tmp_path: Path, lj_file: Path) -> None:
    """Frames of a replicated run hold the species and bonds of the start."""
    frame = lattice(2, 6.0, names=("AA", "B2"))
    kinds = (
        Species("TWO", ("AA", "B2"), ((0, 1),)),
        Species("ONE", ("B2",)),
    )
    types = np.array([0, 1, 1, 0, 1, 1, 0, 1])
    molecules = np.array([0, 0, 1, 2, 2, 3, 4, 4])
    topology = replace(
        frame.topology, types=types, molecules=molecules, species=kinds,
        molecule_species=np.array([0, 1, 0, 1, 0]),
    )  # fmt: skip
    write_frames(tmp_path / "s.extxyz", [replace(frame, topology=topology)])
    (tmp_path / "p.lmp").write_text(f"pair_style lj/cut 5.0\npair_coeff * * {EPSILON} {SIGMA}\n")
    invoke(
        "nvt", "--start", tmp_path / "s.extxyz", "--pair-file", tmp_path / "p.lmp", "-T", 10,
        "--length-ps", 0.5, "--dump-ps", 0.25, "--replicate", 2, 1, 2, "-o", tmp_path / "nvt", "-q",
    )  # fmt: skip
    found = next(read_frames(tmp_path / "nvt" / "traj.extxyz.xz")).topology
    assert found.species == kinds
    assert found.molecule_species.tolist() == [0, 1, 0, 1, 0] * 4
    bonds = np.array([[0, 1], [3, 4], [6, 7]])
    assert found.bonds.tolist() == np.concatenate([bonds + 8 * k for k in range(4)]).tolist()
