# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdict, flat results, tables, limits, and what is refused."""

from __future__ import annotations

import csv
import itertools
import json
import re
from html.parser import HTMLParser

import pytest
from report_samples import analysis, write_all, write_analysis
from typer.testing import CliRunner

from cgpot.core.config import load_yaml
from cgpot.core.errors import ConfigError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.report.build import ReportInput, write_report
from cgpot.report.limits import Limits
from cgpot.report.numbers import plus_minus, scientific, signed
from cgpot.report.results import RESULT_KEYS, git_commit

FIGURES = [
    "rdf-BNZ-BNZ",
    "angles-BNZ",
    "series-pressure",
    "series-density",
    "parity",
    "force-errors",
    "training",
    "pair",
    "temperature",
    "drift",
    "msd",
    "speed",
]


class Page(HTMLParser):
    """Tags and attributes, with a check that they are closed in order."""

    VOID = frozenset({"meta", "link", "br", "hr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("report")
    folders = write_all(base)
    record, rows = write_report(
        ReportInput(**folders, command="make demo", results=base / "results.json"),
        base / "report.html",
    )
    return base, record, rows


def test_all_bars_are_met(made):
    _, record, rows = made
    assert record["summary"] == "All 6 checks met."
    assert {row.key: row.status for row in rows} == {
        "rdf_error": "met",
        "first_peak_height": "met",
        "pressure": "met",
        "density": "met",
        "force_rmse": "met",
        "stable_ns": "met",
        "energy_drift": "no limit",
    }


def test_flat_results(made):
    base, _, _ = made
    found = json.loads((base / "results.json").read_text())
    assert tuple(found) == RESULT_KEYS
    assert found["rdf_error"] == 0.012
    assert found["rdf_error_reference_halves"] == 0.006
    assert found["force_rmse"] == 0.1665
    assert found["force_rmse_pair_fit"] == 0.1676
    assert found["first_peak_height_rel_error"] == 0.0158
    assert found["pressure_cg_bar"] == 12.0
    assert found["pressure_aa_bar"] == -20.0
    assert found["density_cg"] == 849.0
    assert found["density_aa"] == 847.5
    assert found["stable_ns"] == 1.2
    assert found["ns_per_day"] == 45.0
    assert found["command"] == "make demo"


def test_page_is_self_contained_and_well_formed(made):
    base, _, _ = made
    text = (base / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|javascript:", text, re.I)
    assert all(not a.get("src") for _, a in page.tags)
    assert "<angle brackets>" not in text
    assert "&lt;angle brackets&gt; &amp; an ampersand" in text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    figures = [a["id"] for tag, a in page.tags if tag == "figure"]
    assert figures == FIGURES
    labels = [a.get("aria-label") for tag, a in page.tags if tag == "svg"]
    assert len(labels) == len(FIGURES)
    assert all(label and len(label) > 30 for label in labels)
    targets = [a["href"][1:] for tag, a in page.tags if tag == "a"]
    assert set(targets) <= set(ids)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))


def test_page_shows_the_numbers(made):
    text = (made[0] / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    for part in (
        "0.0120 ± 0.0010",
        "−20 ± 9 bar",
        "849.0 ± 1.2 kg/m³",
        "pair fit: 0.1676 eV/Å",
        "−6.4 × 10⁻⁶ per ps",
        "12.00 ns/day, LAMMPS, 500 molecules, 1 thread",
        "1 thread (busy machine: only 61 % of a core)",
        "3.75 times as fast, by wall time on a busy machine: uncertain",
        "−34 ± 9 bar (spread of one frame 208 bar)",
        "energy 1.5 × 10⁻⁷, forces 2.0 × 10⁻⁶, virial 0 (3 frames)",
        "forces 31, stress 2.1e+05, mean pressure 0, BNZ 2",
        "0123456789abcdef",
        "make demo",
        "seed 5",
    ):
        assert part in text, part


def test_csv_json_and_manifest(made):
    base, _, rows = made
    table = list(csv.DictReader((base / "report.csv").read_text().splitlines()))
    assert [line["key"] for line in table] == [row.key for row in rows]
    assert float(table[2]["difference"]) == 32.0
    assert json.loads((base / "report.json").read_text())["format"] == "cgpot-report-1"
    record = check_manifest(base / "report.html", stage="report")
    assert {e["file"] for e in record["outputs"]} == {"report.html", "report.json", "report.csv"}


def test_missing_parts_are_not_measured(tmp_path):
    content = analysis()
    content.update(runs=[], parity=None, density_aa={"value": None, "method": "not measured: x"})
    content["reference"]["pressure"] = None
    folder = write_analysis(tmp_path / "analysis", content)
    record, rows = write_report(
        ReportInput(analysis=folder, results=tmp_path / "r.json"), tmp_path / "report.html"
    )
    assert {row.status for row in rows} == {"not measured"}
    found = json.loads((tmp_path / "r.json").read_text())
    kept = {k for k, v in found.items() if v is not None}
    assert kept <= {"rdf_error_reference_halves", "commit"}
    assert record["summary"].startswith("0 of 6 checks met. Not measured: ")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [a["id"] for tag, a in page.tags if tag == "figure"] == FIGURES[:2]
    text = " ".join(record["caveats"])
    for part in ("an NVT run", "held-out forces", "the training", "atomistic engine"):
        assert part in text


def test_missed_bars_are_named(tmp_path):
    content = analysis()
    nvt = content["runs"][0]
    nvt["comparison"]["rdf"]["BNZ-BNZ"]["rdf_error"] = 0.05
    nvt["pressure"]["mean"] = 260.0
    nvt["stable_ns"] = 0.4
    nvt["failures"] = [{"step": 80000, "message": "Lost atoms"}]
    content["parity"]["force"]["rmse_model"] = 0.1690
    folder = write_analysis(tmp_path / "analysis", content)
    record, rows = write_report(ReportInput(analysis=folder), tmp_path / "r.html")
    missed = [row.key for row in rows if row.status == "missed"]
    assert missed == ["rdf_error", "pressure", "force_rmse", "stable_ns"]
    assert record["summary"].startswith("2 of 6 checks met. Missed: RDF error Δg; Pressure")
    assert "Lost atoms" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_weak_references_and_close_calls_are_noted(tmp_path):
    content = analysis()
    content["reference"]["rdf"]["BNZ-BNZ"]["halves_error"] = 0.02
    content["runs"][0]["comparison"]["rdf"]["BNZ-BNZ"]["rdf_error"] = 0.0295
    content["runs"][0]["density"]["mean"] = 870.0
    folder = write_analysis(tmp_path / "analysis", content)
    _, rows = write_report(ReportInput(analysis=folder), tmp_path / "r.html")
    by_key = {row.key: row for row in rows}
    assert "a third of the limit" in by_key["rdf_error"].note
    assert "within one standard error" in by_key["rdf_error"].note
    assert "at 870.0 instead of 847.0 kg/m³" in by_key["pressure"].note


def test_limits_from_a_file(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("rdf_error: 0.01\nfirst_peak_height_rel_error: null\n")
    limits = load_yaml(path, Limits)
    assert limits.pressure_bar == 100.0
    _, rows = write_report(
        ReportInput(analysis=write_analysis(tmp_path / "a"), limits=limits), tmp_path / "r.html"
    )
    assert rows[0].status == "missed"
    assert rows[1].status == "no limit"
    path.write_text("rdf_eror: 0.01\n")
    with pytest.raises(ConfigError, match=r"limits.yaml, key 'rdf_eror': unknown key; did you"):
        load_yaml(path, Limits)
    path.write_text("density_rel: -1\n")
    with pytest.raises(ConfigError, match="key 'density_rel': Input should be greater than 0"):
        load_yaml(path, Limits)


def test_damaged_input(tmp_path):
    with pytest.raises(InputError, match=r"analysis.json: no such analysis"):
        write_report(ReportInput(analysis=tmp_path), tmp_path / "r.html")
    folder = write_analysis(tmp_path / "a", {"format": "other"})
    with pytest.raises(InputError, match=r"key 'format': expected 'cgpot-analysis-2', found 'oth"):
        write_report(ReportInput(analysis=folder), tmp_path / "r.html")
    folder = write_analysis(tmp_path / "a")
    with pytest.raises(InputError, match="none: no such training folder"):
        write_report(ReportInput(analysis=folder, train=tmp_path / "none"), tmp_path / "r.html")
    train = tmp_path / "train"
    train.mkdir()
    (train / "metrics.csv").write_text("epoch,loss\n1\n")
    with pytest.raises(InputError, match=r"metrics.csv: line 2 has 1 values, the header 2"):
        write_report(ReportInput(analysis=folder, train=train), tmp_path / "r.html")
    (train / "metrics.csv").unlink()
    (train / "parity.npz").write_text("text")
    with pytest.raises(InputError, match="expected arrays force_label and force_model"):
        write_report(ReportInput(analysis=folder, train=train), tmp_path / "r.html")
    for name in ("a.cgpot.json", "b.cgpot.json"):
        (tmp_path / "a" / name).write_text("{}")
    with pytest.raises(InputError, match=r"2 models \(a.cgpot.json, b.cgpot.json\); expected one"):
        write_report(ReportInput(analysis=folder, deploy=folder), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_numbers_as_text():
    assert plus_minus(849.04, 1.23) == "849.0 ± 1.2"
    assert plus_minus(-26.15, 3.4, "bar") == "−26 ± 3 bar"
    assert plus_minus(-0.004, 0.31) == "0.0 ± 0.3"
    assert plus_minus(None, 1.0) == "not measured"
    assert plus_minus(5.0, None) == "5.00"
    assert plus_minus(float("nan"), 1.0) == "not measured"
    assert signed(3.04, 1, "%") == "+3.0 %"
    assert scientific(-6.4e-6) == "−6.4 × 10⁻⁶"


def test_commit_of_a_repository(tmp_path):
    import subprocess

    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("1\n")
    subprocess.run([*git, "add", "code.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "Start"], check=True)
    commit = git_commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", commit or "")
    (tmp_path / "code.py").write_text("2\n")
    assert git_commit(tmp_path) == f"{commit}+changes"


def test_command_line(tmp_path):
    import typer

    from cgpot.cli.report import register

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    content = analysis()
    content["parity"] = None
    folders = write_all(tmp_path)
    write_analysis(tmp_path / "analysis", content)
    arguments = ["report", "-o", str(tmp_path / "out.html"), "--title", "A <title>"]
    for name, path in folders.items():
        arguments += [f"--{name.replace('_', '-')}", str(path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "5 of 6 checks met" in done.output
    # The held-out forces came from the training folder: rms of 0.8 times the labels.
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["results"]["force_rmse"] == pytest.approx(0.8 * 0.18, rel=0.03)
    assert "<h1>A &lt;title&gt;</h1>" in (tmp_path / "out.html").read_text(encoding="utf-8")
