# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole stage on synthetic data, its files, and what it refuses."""

from __future__ import annotations

import csv
import json

import pytest
from analysis_systems import ideal_gas, write_run
from typer.testing import CliRunner

from cgpot.analysis.analyze import AnalysisInput, analyze
from cgpot.analysis.cg_run import read_run, read_thermo
from cgpot.core.errors import DataError, InputError, ManifestError
from cgpot.core.manifest import check_manifest, write_manifest
from cgpot.molecules.extxyz import write_frames


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "aa.extxyz"
    write_frames(path, ideal_gas(60, n=60, seed=1))
    return path


def run_task(tmp_path, reference, runs=(), **options):
    task = AnalysisInput(
        references=[reference] if not isinstance(reference, list) else reference,
        runs=list(runs),
        temperature=options.pop("temperature", 300.0),
        **options,
    )
    return analyze(task, tmp_path / "analysis", quiet=True)


def test_everything_together(tmp_path, reference):
    nvt = write_run(tmp_path / "md" / "nvt", ideal_gas(80, n=60, seed=2))
    npt = write_run(
        tmp_path / "md" / "npt", ideal_gas(40, n=60, seed=3, breathing=0.01), ensemble="npt"
    )
    found = run_task(tmp_path, reference, [nvt, npt], bins=60)
    assert found == json.loads((tmp_path / "analysis" / "analysis.json").read_text())
    # r_max: half of the smallest breathing box, below 12 Å.
    assert 11.5 < found["settings"]["r_max_A"] < 12.0
    first, second = found["runs"]
    assert [first["name"], second["name"]] == ["nvt", "npt"]
    assert first["n_frames"] + first["n_frames_dropped"] == 80
    # Two ideal gases differ by what chance gives.
    compared = first["comparison"]["rdf"]["BNZ-BNZ"]
    assert compared["rdf_error"] == pytest.approx(compared["rdf_error_noise"], rel=0.35)
    # Labels of the reference: virials of zero mean, so n kT/V = 60 kT/24^3 Å^3.
    ideal = 60 * 8.617333e-5 * 300 / 24.0**3 * 1.602176634e6
    assert found["reference"]["pressure"]["mean"] == pytest.approx(
        ideal, abs=4 * found["reference"]["pressure"]["error"]
    )
    # The run's: the virial column (mean -300) plus the same kinetic part.
    assert first["pressure"]["method"] == "virial"
    assert first["pressure"]["mean"] == pytest.approx(
        ideal - 300, abs=5 * first["pressure"]["error"]
    )
    assert first["temperature"]["mean"] == pytest.approx(300, abs=2)
    # dV/V = 1 %: kappa = var(V)/(kT V).
    exact = 1e-4 * 24.0**3 / (8.617333e-5 * 300) / 1.602176634e6 * 1e4
    assert second["compressibility"]["value"] == pytest.approx(exact, rel=0.3)
    assert first["stable_ns"] == 1.5
    check_manifest(tmp_path / "analysis" / "analysis.json", stage="analysis")
    rows = list(csv.reader((tmp_path / "analysis" / "rdf.csv").read_text().splitlines()))
    assert rows[0][:3] == ["r_A", "reference:BNZ-BNZ:g", "reference:BNZ-BNZ:error"]
    assert len(rows) == 61
    assert any("No manifest beside" in text for text in found["caveats"])


def test_energy_drift_of_an_nve_run(tmp_path, reference):
    nve = write_run(tmp_path / "nve", ideal_gas(20, n=60), ensemble="nve")
    (found,) = run_task(tmp_path, reference, [nve])["runs"]
    drift = found["energy_drift"]
    assert abs(drift["ev_per_bead_ps"]) < 4 * drift["error_ev_per_bead_ps"]
    assert found["pressure"]["method"] == "engine"


def test_a_drifting_run_is_noted(tmp_path, reference):
    folder = write_run(tmp_path / "nvt", ideal_gas(80, n=60, seed=2))
    path = folder / "thermo.csv"
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("pe_eV")
    for k in range(1, len(lines)):
        cells = lines[k].split(",")
        cells[column] = f"{float(cells[column]) + 5.0 * k / len(lines):.6f}"
        lines[k] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    found = run_task(tmp_path, reference, [folder])
    assert any("in the run nvt" in text.lower() and "drifts" in text for text in found["caveats"])
    assert found["runs"][0]["equilibration_ps"] == pytest.approx(38, abs=3)


def test_replicas_npt_reference_and_density(tmp_path, reference):
    second = tmp_path / "aa2.extxyz"
    write_frames(second, ideal_gas(40, n=60, seed=7))
    npt = tmp_path / "npt.extxyz"
    write_frames(npt, ideal_gas(50, n=60, seed=8, breathing=0.02))
    found = run_task(tmp_path, [reference, second], npt_references=[npt])
    assert found["reference"]["n_frames"] == 100
    assert found["reference"]["frames_by_file"] == [60, 40]
    assert found["density_aa"]["value"] == found["npt_reference"]["density"]["mean"]
    assert "NPT reference" in found["density_aa"]["method"]
    assert found["npt_reference"]["compressibility"]["value"] > 0


def test_one_data_set_for_both_is_read_once(tmp_path, reference):
    with pytest.raises(InputError, match=r"aa.extxyz: the volume is constant; expected an NPT run"):
        run_task(tmp_path, reference, npt_references=[reference])
    write_frames(reference, ideal_gas(50, n=60, breathing=0.02))
    found = run_task(tmp_path, reference, npt_references=[reference])
    assert found["npt_reference"] is None
    assert found["density_aa"]["value"] == found["reference"]["density"]["mean"]


def test_density_needs_npt_or_a_compressibility(tmp_path, reference):
    found = run_task(tmp_path, reference)["density_aa"]
    assert found["value"] is None
    assert "not measured" in found["method"]
    found = run_task(tmp_path, reference, compressibility=0.983)
    rho, p = found["reference"]["density"]["mean"], found["reference"]["pressure"]["mean"]
    exact = rho * (1 + 0.983e-4 * (1.01325 - p))
    assert found["density_aa"]["value"] == pytest.approx(exact)
    assert "estimated" in found["density_aa"]["method"]


def test_unlabelled_reference_has_no_pressure(tmp_path):
    path = tmp_path / "aa.extxyz"
    write_frames(path, ideal_gas(20, n=40, virial=False))
    found = run_task(tmp_path, path)
    assert found["reference"]["pressure"] is None
    assert any("carries no virials" in text for text in found["caveats"])


def test_failures_end_the_stable_time(tmp_path):
    frames = ideal_gas(10, n=20)
    md = {"failures": [{"step": 40_000, "message": "lost atoms"}], "timestep_fs": 5.0}
    assert read_run(write_run(tmp_path / "a", frames, md=md), 300.0).stable_ns == pytest.approx(0.2)
    md = {
        "segments": [
            {"wall_seconds": 30.0, "cpu_use_percent": 90.0},
            {"wall_seconds": 10.0, "cpu_use_percent": 50.0},
        ]
    }
    assert read_run(write_run(tmp_path / "c", frames, md=md), 300.0).cpu_use == pytest.approx(80.0)
    md = {"failures": [{"step": None, "message": "?"}]}
    assert read_run(write_run(tmp_path / "b", frames, md=md), 300.0).stable_ns == 0.0


def test_different_systems_are_refused(tmp_path, reference):
    other = write_run(tmp_path / "hex", ideal_gas(20, n=60, names=("HEX",)))
    with pytest.raises(InputError, match=r"traj.extxyz: bead names \['HEX'\] differ"):
        run_task(tmp_path, reference, [other])
    mixed = write_run(tmp_path / "mix", ideal_gas(20, n=60, names=("BNZ", "HEX")))
    with pytest.raises(InputError, match="expected the same system"):
        run_task(tmp_path, reference, [mixed])
    assert not (tmp_path / "analysis").exists()


def test_different_mixtures_are_refused(tmp_path):
    path = tmp_path / "aa.extxyz"
    write_frames(path, ideal_gas(20, n=60, names=("AA", "BB")))
    odd = write_run(tmp_path / "odd", ideal_gas(20, n=61, names=("AA", "BB")))
    with pytest.raises(InputError, match=r"composition AA 50.82 %, BB 49.18 % differs"):
        run_task(tmp_path, path, [odd])


def test_replicas_must_be_alike(tmp_path, reference):
    other = tmp_path / "more.extxyz"
    write_frames(other, ideal_gas(10, n=61))
    with pytest.raises(InputError, match=r"more.extxyz: 61 sites .*, but 60 "):
        run_task(tmp_path, [reference, other])


def test_too_few_frames(tmp_path):
    path = tmp_path / "aa.extxyz"
    write_frames(path, ideal_gas(5))
    with pytest.raises(DataError, match=r"aa.extxyz: 5 frames; expected at least 8"):
        run_task(tmp_path, path)
    write_frames(path, ideal_gas(9))
    short = write_run(tmp_path / "short", ideal_gas(3))
    with pytest.raises(DataError, match=r"traj.extxyz: 3 frames after the equilibration"):
        run_task(tmp_path, path, [short])


def test_r_max_beyond_half_the_box(tmp_path, reference):
    with pytest.raises(DataError, match=r"r_max 13.000 Å exceeds half the smallest box, 12.000 Å"):
        run_task(tmp_path, reference, r_max=13.0)
    with pytest.raises(InputError, match=r"r_max -1.0 Å; expected a positive number"):
        run_task(tmp_path, reference, r_max=-1.0)


def test_options_are_checked(tmp_path, reference):
    with pytest.raises(InputError, match="no reference"):
        run_task(tmp_path, [])
    with pytest.raises(InputError, match=r"temperature -5.0 K"):
        run_task(tmp_path, reference, temperature=-5.0)
    with pytest.raises(InputError, match="3 bins; expected at least 10"):
        run_task(tmp_path, reference, bins=3)


def test_temperature_of_the_run_must_fit(tmp_path, reference):
    warm = write_run(tmp_path / "warm", ideal_gas(20, n=60), temperature=350.0)
    with pytest.raises(InputError, match=r"key 'temperature_K': the run was made at 350 K"):
        run_task(tmp_path, reference, [warm])


def test_damaged_run_folders(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        read_run(tmp_path / "none", 300.0)
    folder = write_run(tmp_path / "run", ideal_gas(10, n=20))
    (folder / "md.json").write_text('{"ensemble": "npht"}')
    with pytest.raises(InputError, match="key 'ensemble': expected nvt, npt or nve, found 'npht'"):
        read_run(folder, 300.0)
    (folder / "md.json").write_text("[1]")
    with pytest.raises(InputError, match="expected a mapping, found list"):
        read_run(folder, 300.0)
    (folder / "md.json").write_text("{}")
    assert read_run(folder, 300.0).ensemble == "nvt"


def test_damaged_thermo(tmp_path):
    folder = write_run(tmp_path / "run", ideal_gas(10, n=20))
    path = folder / "thermo.csv"
    good = path.read_text().splitlines()

    def rewrite(lines):
        path.write_text("\n".join(lines) + "\n")
        return path

    with pytest.raises(InputError, match=r"thermo.csv, key 'pe_eV': the column is missing"):
        read_thermo(rewrite([good[0].replace("pe_eV", "energy"), *good[1:]]))
    with pytest.raises(InputError, match=r"line 4 has 3 values, the header 12"):
        read_thermo(rewrite([*good[:3], "1,2,3", *good[4:]]))
    cells = good[5].split(",")
    cells[2] = "nan"
    with pytest.raises(DataError, match=r"key 'pressure_bar': line 6 holds nan"):
        read_thermo(rewrite([*good[:5], ",".join(cells), *good[6:]]))
    cells[2] = "abc"
    with pytest.raises(InputError, match="line 6: could not convert"):
        read_thermo(rewrite([*good[:5], ",".join(cells), *good[6:]]))
    with pytest.raises(DataError, match="expected increasing times"):
        read_thermo(rewrite([*good[:5], good[3], *good[5:]]))
    with pytest.raises(InputError, match="at least 2 lines of values, found 1"):
        read_thermo(rewrite(good[:2]))


def test_damaged_trajectories(tmp_path, reference):
    text = reference.read_text().splitlines(keepends=True)
    reference.write_text("".join(text[:-20]))
    with pytest.raises(InputError, match=r"aa.extxyz, frame 59: truncated"):
        run_task(tmp_path, reference)
    reference.write_text("".join(text).replace("Lattice=", "Lettuce=", 1))
    with pytest.raises(InputError, match="frame 0: no Lattice in the comment line"):
        run_task(tmp_path, reference)
    reference.write_text("not a trajectory\n")
    with pytest.raises(InputError, match="damaged or truncated"):
        run_task(tmp_path, reference)
    with pytest.raises(InputError, match="no such trajectory"):
        run_task(tmp_path, tmp_path / "none.extxyz")


def test_nan_in_a_frame(tmp_path, reference):
    lines = reference.read_text().splitlines(keepends=True)
    cells = lines[62 * 4 + 5].split()
    lines[62 * 4 + 5] = " ".join([cells[0], "nan", *cells[2:]]) + "\n"
    reference.write_text("".join(lines))
    with pytest.raises(DataError, match="frame 4: positions hold NaN or infinity"):
        run_task(tmp_path, reference)


def test_changed_files_are_noticed(tmp_path, reference):
    write_manifest(reference, stage="mapping", inputs={})
    run_task(tmp_path, reference)
    reference.write_text(reference.read_text() + "\n")
    with pytest.raises(ManifestError, match="changed since it was written"):
        run_task(tmp_path, reference)


def test_command_line(tmp_path, reference):
    import typer

    from cgpot.cli.analyze import register

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    nvt = write_run(tmp_path / "nvt", ideal_gas(30, n=60, seed=2))
    arguments = ["analyze", "--reference", str(reference), "--temperature", "300", "--quiet"]
    arguments += ["--run", str(nvt), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "BNZ-BNZ at 300 K" in done.output
    assert (tmp_path / "out" / "analysis.json").is_file()
