# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot dataset``: subsets, report, and what is refused."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from dataset_runs import FORCE, SIDE, STRESS, N, frames, write_run
from typer.testing import CliRunner

from cgpot.cli.dataset import register
from cgpot.core.errors import ConfigError, DataError, InputError, ManifestError
from cgpot.core.manifest import check_manifest
from cgpot.core.units import AMU_PER_A3_IN_KG_M3, EV_PER_A3_IN_BAR, KB
from cgpot.dataset.dataset_stage import BuiltDataset, build_dataset, report_on
from cgpot.dataset.labels import LabelStatistics, combined
from cgpot.dataset.report import read_engine_pressure
from cgpot.dataset.split import SplitPlan
from cgpot.molecules.extxyz import read_frames, to_atoms, write_frames
from cgpot.molecules.pairs import half_list
from cgpot.molecules.rdf import RDFAccumulator

PLAN = SplitPlan((0.6, 0.2, 0.2), gap_ps=1.0)


def build(
    files: list[Path], folder: Path, plan: SplitPlan = PLAN, **options: object
) -> BuiltDataset:
    return build_dataset(files, folder, plan, quiet=True, **options)  # type: ignore[arg-type]


def test_two_runs(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a.extxyz.xz", seed=1)
    b = write_run(tmp_path / "b.extxyz", seed=2, frames=40, start=100.0)
    result = build([a, b], tmp_path / "set")
    assert result.counts == {"train": 72, "val": 22, "test": 22, "unused": 4}
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == [
        "report.json",
        "report.json.manifest.json",
        "test.extxyz.xz",
        "train.extxyz.xz",
        "val.extxyz.xz",
    ]
    times = {
        s: np.array([f.time for f in read_frames(tmp_path / "set" / f"{s}.extxyz.xz")], float)
        for s in ("train", "val", "test")
    }
    for lo, hi in ((0.0, 50.0), (100.0, 150.0)):
        part = {s: t[(t >= lo) & (t < hi)] for s, t in times.items()}
        assert part["val"].min() - part["train"].max() >= 1.0
        assert part["test"].min() - part["val"].max() >= 1.0
    record = check_manifest(tmp_path / "set" / "report.json", stage="dataset")
    assert next(f["file"] for f in record["outputs"]) == "report.json"
    assert len(record["inputs"]["mapped"]) == 2
    assert record["counts"]["train"] == 72


def test_report_knows_the_statistics(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz", frames=300, seed=3)
    report = build([path], tmp_path / "set").report
    on_disk = json.loads((tmp_path / "set" / "report.json").read_text())
    assert on_disk == report
    assert report["n_frames"] == 300
    assert report["n_sites"] == N
    assert report["bead_type_names"] == ["BNZ"]
    assert report["temperature"] == 300.0
    assert report["force_rms"] == pytest.approx(FORCE, rel=0.02)
    # Symmetrised Gaussian noise: diagonal components twice the variance of the others.
    assert report["stress_std_voigt"][0] == pytest.approx(np.sqrt(2) * STRESS, rel=0.15)
    assert report["stress_std_voigt"][4] == pytest.approx(STRESS, rel=0.15)
    assert report["stress_std"] == pytest.approx(np.sqrt(1.5) * STRESS, rel=0.1)
    density = N * 78.0 / SIDE**3 * AMU_PER_A3_IN_KG_M3
    assert report["density_kg_m3"]["mean"] == pytest.approx(density)
    assert report["density_kg_m3"]["error"] == 0.0
    ideal = N * KB * 300.0 / SIDE**3 * EV_PER_A3_IN_BAR
    label = report["pressure_label_bar"]
    assert label["mean"] == pytest.approx(ideal, abs=5 * label["error"])
    assert label["std"] == pytest.approx(np.sqrt(2 / 3) * STRESS * EV_PER_A3_IN_BAR, rel=0.15)
    assert report["pressure_engine_bar"]["mean"] == pytest.approx(40.0, abs=0.2)
    assert np.abs(report["force_autocorrelation"]).max() < 0.03
    assert report["net_force"]["relative_to_random"] == pytest.approx(0.92, rel=0.1)
    # Uniform sites: g(r) is 1 beyond the first bins.
    g = np.array(report["rdf"]["g"])
    assert g[100:].mean() == pytest.approx(1.0, abs=0.01)
    assert report["rdf"]["r"][-1] < SIDE / 2
    assert 0 < report["shortest_distance"] < 0.5
    ratio = report["suggested_loss_weights"]["stress_to_force_ratio_of_means"]
    assert ratio == pytest.approx(
        6 / (3 * N) * report["force_rms"] ** 2 / report["stress_std"] ** 2
    )


def test_shortest_distance_is_between_molecules() -> None:
    (frame,) = frames(1, n=4, sites_per_molecule=2)
    frame.positions[:] = [[1, 1, 1], [1.5, 1, 1], [23.5, 1, 1], [23.9, 1, 1]]
    statistics = LabelStatistics(r_max=8.0)
    statistics.add(frame)
    assert statistics.shortest == pytest.approx(1.1)  # 23.9 -> 25, across the boundary


def test_pairs_of_types(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz", frames=60, sites_per_molecule=2)
    report = build([path], tmp_path / "set").report
    assert sorted(report["rdf_pairs"]) == ["BNZ-BNZ", "BNZ-BNZ1", "BNZ1-BNZ1"]
    assert np.mean(report["rdf_pairs"]["BNZ-BNZ1"]["g"][100:]) == pytest.approx(1.0, abs=0.02)


def test_autocorrelation_of_a_known_series() -> None:
    """F(t+1) = a F(t) + noise has autocorrelation a, a^2, ..."""
    rng = np.random.default_rng(4)
    made = frames(400)
    f = rng.normal(size=(N, 3))
    statistics = LabelStatistics(r_max=5.0)
    for frame in made:
        f = 0.7 * f + np.sqrt(1 - 0.49) * rng.normal(size=(N, 3))
        frame.forces = f
        statistics.add(frame)
    np.testing.assert_allclose(statistics.autocorrelation(), 0.7 ** np.arange(1, 6), atol=0.03)


def test_forces_alone(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz", stress=False, temperature=None, engine=None)
    report = build([path], tmp_path / "set").report
    assert report["stress_std"] is None
    assert report["pressure_label_bar"] is None
    assert report["pressure_engine_bar"] is None
    assert "suggested_loss_weights" not in report


def test_stride_and_begin(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz")
    result = build([path], tmp_path / "set", begin=10.0, stride=2, compress=False)
    train = [f.time for f in read_frames(tmp_path / "set" / "train.extxyz")]
    assert train[:2] == [10.0, 11.0]
    assert result.report["n_frames"] == 30
    assert result.report["split"]["begin_ps"] == 10.0


def test_systems_in_one_set(tmp_path: Path) -> None:
    """Boxes of two sizes are one composition; two liquids are two (tests/training)."""
    a = write_run(tmp_path / "a.extxyz")
    b = write_run(tmp_path / "b.extxyz", n=50)
    report = build([a, b], tmp_path / "set").report
    assert "compositions" not in report
    assert report["n_sites"] is None
    assert report["rdf"] is not None
    c = write_run(tmp_path / "c.extxyz", name="TOL")
    report = build([a, c], tmp_path / "two").report
    assert [item["composition"] for item in report["compositions"]] == ["BNZ", "TOL"]
    assert report["rdf"] is None
    assert report["bead_type_names"] == ["BNZ", "TOL"]


def test_temperatures_and_stress_must_agree(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a.extxyz")
    hot = write_run(tmp_path / "b.extxyz", temperature=350.0)
    with pytest.raises(DataError, match=r"b.extxyz: temperatures \[300.0, 350.0\] K differ"):
        build([a, hot], tmp_path / "set")
    bare = write_run(tmp_path / "c.extxyz", stress=False)
    with pytest.raises(DataError, match="some files have stress labels and some have none"):
        build([a, bare], tmp_path / "set")
    unknown = write_run(tmp_path / "d.extxyz", temperature=None)
    with pytest.raises(DataError, match=r"d.extxyz: one of the files has no temperature"):
        build([a, unknown], tmp_path / "set")
    assert not list((tmp_path / "set").iterdir())


def test_manifests_are_checked(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz")
    text = path.read_text()
    path.write_text(text + "\n")
    with pytest.raises(ManifestError, match="changed since it was written"):
        build([path], tmp_path / "set")
    other = write_run(tmp_path / "b.extxyz", stage="training")
    with pytest.raises(ManifestError, match="expected a file of stage 'mapping'"):
        build([other], tmp_path / "set")
    write_frames(tmp_path / "c.extxyz", frames(9))
    with pytest.raises(ManifestError, match="no manifest"):
        build([tmp_path / "c.extxyz"], tmp_path / "set")


def test_refused_requests(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz")
    with pytest.raises(ConfigError, match="a mapped file is given twice"):
        build([path, tmp_path / "." / "a.extxyz"], tmp_path / "set")
    with pytest.raises(ConfigError, match="no mapped file given"):
        build([], tmp_path / "set")
    with pytest.raises(ConfigError, match="stride 0; expected 1 or more"):
        build([path], tmp_path / "set", stride=0)
    with pytest.raises(ConfigError, match="the test set gets no frame"):
        build([path], tmp_path / "set", SplitPlan((0.9, 0.09, 0.01), gap_ps=2.0))
    assert not (tmp_path / "set").exists()


def test_no_half_written_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure at the last frame leaves an older set as it was."""
    path = write_run(tmp_path / "a.extxyz", frames=40)
    build([path], tmp_path / "set")
    before = {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()}
    add = LabelStatistics.add

    def failing(self: LabelStatistics, frame: object) -> None:
        if self.n_frames == 39:
            raise DataError("the last frame")
        add(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(LabelStatistics, "add", failing)
    with pytest.raises(DataError, match="the last frame"):
        build([path], tmp_path / "set", SplitPlan((0.5, 0.25, 0.25)))
    assert {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()} == before


def test_damaged_table(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz")
    assert len(read_engine_pressure(path)) == 80
    table = tmp_path / "a.thermo.csv"
    table.write_text(table.read_text().replace("50.0", "fifty", 1))
    with pytest.raises(InputError, match=r"a.thermo.csv: row 1: ValueError"):
        read_engine_pressure(path)
    table.unlink()
    assert read_engine_pressure(path) == {}


def test_nan_in_a_data_set(tmp_path: Path) -> None:
    statistics = LabelStatistics(r_max=5.0)
    (frame,) = frames(1)
    assert frame.forces is not None
    frame.forces[3, 0] = np.nan
    with pytest.raises(DataError, match="frame 0: forces hold NaN"):
        statistics.add(frame)
    frame.forces = None
    with pytest.raises(DataError, match="frame 0: the frame has no forces"):
        statistics.add(frame)


def test_combined_means() -> None:
    from cgpot.core.statistics import estimate

    rng = np.random.default_rng(0)
    a, b = estimate(rng.normal(0, 1, 1000)), estimate(rng.normal(4, 1, 3000))
    both = combined([a, None, b])
    assert both is not None
    weight = a.n / (a.n + b.n)
    assert both["mean"] == pytest.approx(weight * a.mean + (1 - weight) * b.mean)
    assert both["error"] < 0.04
    assert both["std"] == pytest.approx(np.sqrt(1 + 16 * weight * (1 - weight)), rel=0.05)
    assert combined([None]) is None


def test_report_on_the_shipped_training_set(root: Path) -> None:
    """The mapped OPLS-AA run against what VOTCA and MDAnalysis found for it.

    The data's own description: mean molecular pressure -36 ± 9 bar, spread 208 bar; first peak
    of the centre-of-mass g(r) 1.91 at 5.7 Å, found by other programs.
    """
    path = root / "workflows/systems/benzene/data/benzene_flexible.extxyz.xz"
    check_manifest(path, stage="mapping")
    statistics = LabelStatistics(15.0, 300, 300.0)
    for i, frame in enumerate(read_frames(path)):
        if i >= 10 and i % 4 == 0:
            statistics.add(frame)
    assert statistics.n_frames == 133
    assert np.mean(statistics.pressure) == pytest.approx(-36, abs=4 * 208 / np.sqrt(133))
    assert np.std(statistics.pressure) == pytest.approx(208, rel=0.25)
    position, height = statistics.rdf.result().peak
    assert position == pytest.approx(5.7, abs=0.1)
    assert height == pytest.approx(1.91, abs=0.06)
    assert statistics.shortest > 3.2
    assert statistics.force_rms == pytest.approx(0.18, abs=0.005)


def test_written_text_is_that_of_ase(tmp_path: Path) -> None:
    """The writer's own formatting against ase's, read back by ase."""
    from ase.io import read
    from ase.io.extxyz import write_xyz

    for options in ({}, {"sites_per_molecule": 2}, {"stress": False}):
        made = frames(3, **options)  # type: ignore[arg-type]
        write_frames(tmp_path / "ours.extxyz.xz", made)
        text = io.StringIO()
        for frame in made:
            write_xyz(text, to_atoms(frame), write_results=True)
        (tmp_path / "ase.extxyz").write_text(text.getvalue())
        ours = read(tmp_path / "ours.extxyz.xz", index=":")
        theirs = read(tmp_path / "ase.extxyz", index=":")
        assert len(ours) == len(theirs) == 3
        for x, y in zip(ours, theirs, strict=True):
            assert set(x.info) == set(y.info)
            for key, value in x.info.items():
                assert np.array_equal(value, y.info[key]), key
            assert set(x.arrays) == set(y.arrays)
            for key, values in x.arrays.items():
                np.testing.assert_array_equal(values, y.arrays[key])
            assert set(x.calc.results) == set(y.calc.results)
            for key, values in x.calc.results.items():
                np.testing.assert_allclose(values, y.calc.results[key], rtol=1e-12)
            np.testing.assert_array_equal(x.cell, y.cell)


def test_command(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz", frames=120)
    app = typer.Typer()
    register(app)
    out = tmp_path / "set"
    result = CliRunner().invoke(app, [str(path), "-o", str(out), "--gap", "1", "-q"])
    assert result.exit_code == 0, result.output
    assert "120 in 1 run(s)" in result.output
    assert "first peak of g(r)" in result.output
    assert (out / "train.extxyz.xz").is_file()


def test_report_without_a_split(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.extxyz")
    report = report_on(path, quiet=True)
    assert report["n_frames"] == 80
    assert "subsets" not in report
    assert report["sources"][0]["file"] == "a.extxyz"


def test_rdf_is_that_of_freud() -> None:
    """One search for all pairs of types counts what freud counts in one search for each."""
    made = frames(6, n=90, sites_per_molecule=3)
    tilted = frames(3, n=90, sites_per_molecule=3, seed=3)
    for frame in tilted:
        frame.cell[1, 0] = 7.0
    for some in (made, tilted):
        statistics = LabelStatistics(r_max=9.0, bins=30)
        keys = (None, *itertools.combinations_with_replacement(range(3), 2))
        own = {key: RDFAccumulator(9.0, 30) for key in keys}
        for frame in some:
            statistics.add(frame)
            for key, accumulator in own.items():
                accumulator.add(frame, key)
        assert sorted(statistics.pairs) == sorted(key for key in own if key is not None)
        for key, accumulator in own.items():
            mine = statistics.rdf if key is None else statistics.pairs[key]
            np.testing.assert_allclose(mine.result().g, accumulator.result().g, rtol=2e-5)
        pairs = [half_list(frame, 9.0) for frame in some]
        molecules = some[0].topology.molecules
        assert statistics.shortest == pytest.approx(
            min(p.distance[molecules[p.i] != molecules[p.j]].min() for p in pairs)
        )
    with pytest.raises(DataError, match=r"r_max 13.000 Å exceeds half the box, 12.000 Å"):
        LabelStatistics(r_max=13.0).add(made[0])
