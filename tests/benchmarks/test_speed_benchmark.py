# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark of speed and scale without its timings: logs, fits, rows, tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "workflows" / "benchmarks"
LOG = """
   Step          Temp          PotEng         TotEng         c_c[1]         c_c[2]
         0   300           -10            -5              0              0
        10   290           -11            -6              0              0
Loop time of 1 on 2 procs for 10 steps with 500 atoms
   Step          Temp          PotEng         TotEng         c_c[6]         c_c[7]
        10   290           -11            -6              0              0
        20   295           -12            -6.5            3.0            3.4
Loop time of 2 on 2 procs for 10 steps with 500 atoms
97.5% CPU use with 2 MPI tasks x 1 OpenMP threads
Pair    | 1.7        | 1.8        | 1.9        |   0.0 | 90.00
Neigh   | 0.1        | 0.1        | 0.1        |   0.0 |  5.00
Maximum resident set size: 321.5 Mbyte
"""
GROMACS = """
               Core t (s)   Wall t (s)        (%)
       Time:       22.345       11.180      199.9
                 (ns/day)    (hour/ns)
Performance:        8.640        2.778
"""


MACHINE = {"processor": "P", "cores": 2, "memory_GB": 8, "versions": {}}


@pytest.fixture(scope="module", autouse=True)
def folder() -> Any:
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def test_log() -> None:
    from scale.decks import measures, thermo_rows

    assert [row[0] for row in thermo_rows(LOG)] == [10, 20]
    found = measures(LOG, 2)
    assert found == {
        "beads": 500,
        "steps": 10,
        "steps_per_second": 5.0,
        "outside_model_percent": pytest.approx(25.0),  # 3 s on two ranks in 2 s
        "outside_pair_percent": pytest.approx(10.0),
        "cpu_use_percent": 97.5,
        "memory_MB_per_rank": 321.5,
    }


def test_log_of_a_table_has_no_model() -> None:
    from scale.decks import measures

    text = LOG.replace("            3.0            3.4", "").replace("c_c[6]         c_c[7]", "")
    assert measures(text, 2)["outside_model_percent"] is None


def test_gromacs_log() -> None:
    from scale.atomistic import performance

    found = performance(GROMACS, 0.002)
    assert found["ns_per_day"] == 8.64
    assert found["steps_per_second"] == pytest.approx(50.0)  # 2 fs
    with pytest.raises(ValueError, match="no line 'Performance:'"):
        performance("", 0.001)


def test_exponent() -> None:
    from scale.fits import exponent

    beads = np.array([500.0, 4000.0, 32000.0])
    assert exponent(beads, 1e6 / beads**1.1) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="at least two sizes"):
        exponent([500.0], [10.0])


def test_drift() -> None:
    from scale.fits import KB_EV, drift

    time = np.linspace(1.0, 21.0, 200)
    noise = np.random.default_rng(1).normal(size=200)
    slope, error = drift(time, -50.0 + 0.02 * time + 1e-4 * noise, 500)
    assert slope == pytest.approx(0.02 * 1e3 / (500 * KB_EV * 300.0), rel=1e-2)
    assert 0.0 < error < 0.01 * slope
    # the error is that of the slope: four block means of noise alone, many times
    made = [drift(time, np.random.default_rng(k).normal(size=200), 500) for k in range(200)]
    spread = np.std([value for value, _ in made])
    typical = np.sqrt(np.mean([value**2 for _, value in made]))
    assert 0.5 < typical / spread < 2.0
    with pytest.raises(ValueError, match="at least 8 samples, found 3"):
        drift([1, 2, 3], [1, 2, 3], 10)


def test_rows_are_kept_and_found(tmp_path: Path) -> None:
    from scale.store import Store

    path = tmp_path / "results.json"
    row = {"section": "plugin", "system": "a", "kind": "fast", "beads": 500, "ranks": 1}
    first = Store(path)
    first.add({**row, "steps_per_second": 3.0})
    again = Store(path)
    assert again.find(**row)["steps_per_second"] == 3.0
    assert again.find(**{**row, "ranks": 2}) is None
    redo = Store(path, redo=True)
    assert redo.find(**row) is None
    redo.add({**row, "steps_per_second": 4.0})
    assert redo.find(**row)["steps_per_second"] == 4.0
    content = json.loads(path.read_text())
    assert [r["steps_per_second"] for r in content["rows"]] == [4.0]
    assert content["machine"]["cores"] >= 1


def test_another_file_is_refused(tmp_path: Path) -> None:
    from scale.store import Store

    from cgpot.core.errors import InputError

    path = tmp_path / "other.json"
    path.write_text('{"format": "x"}')
    with pytest.raises(InputError, match=r"other\.json.*format.*cgpot-benchmark-speed-1"):
        Store(path)


def test_tables() -> None:
    from scale.table import markdown

    def row(kind: str, beads: int, ranks: int, speed: float) -> dict[str, Any]:
        return {
            **{"section": "plugin", "system": "net", "kind": kind, "beads": beads},
            **{"ranks": ranks, "steps_per_second": speed, "ns_per_day": speed, "steps": 10},
            **{"outside_model_percent": 4.25, "cpu_use_percent": 99.0},
            "memory_MB_per_rank": 300.0,
        }

    rows = [row("fast", 500, 1, 400.0), row("fast", 4000, 1, 50.0), row("fast", 4000, 2, 90.0)]
    rows += [row("plain", 500, 1, 100.0), row("fast", 8000, 2, 45.0)]
    rows.append({**row("plain", 4000, 1, 0.0), "skipped": "needs about 90 GB"})
    text = markdown({"machine": MACHINE, "rows": rows})
    assert "| net | fast | 500 | 1 | 400 | 2e+05 | 400 | 4.00 | 4.2 | 600 | 99 |" in text
    assert "| net | plain | 4000 | 1 | needs about 90 GB |" in text
    assert "| net | fast | exponent of the cost | 500 to 4000 beads | 1.000 |" in text
    assert "| net | fast | strong scaling, 2 ranks over one | 4000 beads | 1.80 |" in text
    assert "| net | fast | weak scaling, 2 ranks | 4000 beads a rank | 0.90 |" in text
    assert text.count("not measured") == 4  # beside it, steps of time, at a stable step, GPU


def test_exponents_with_and_without_the_smallest_size() -> None:
    from scale.table import markdown

    same = {"section": "plugin", "system": "net", "kind": "fast", "ranks": 1, "ns_per_day": 1.0}
    same |= {"outside_model_percent": 4.0, "cpu_use_percent": 99.0, "memory_MB_per_rank": 300.0}
    speeds = {500: 1600.0, 4000: 100.0, 32000: 12.5}
    rows = [{**same, "beads": k, "steps_per_second": v} for k, v in speeds.items()]
    text = markdown({"machine": MACHINE, "rows": rows})
    assert "| exponent of the cost | 4000 to 32000 beads | 1.000 |" in text
    assert "| exponent of the cost | 500 to 32000 beads | 1.167 |" in text


def test_speed_at_the_largest_stable_step() -> None:
    from scale.store import Store
    from scale.table import markdown

    def step(fs: float, drift: float, temperature: float = 300.0) -> dict[str, Any]:
        row = {"section": "timestep", "system": "net", "kind": "fast", "timestep_fs": fs}
        row |= {"drift": drift, "drift_error": 0.1, "temperature_K": temperature}
        return {**row, "ns_per_day": 1.0}

    plugin = {"section": "plugin", "system": "net", "kind": "fast", "beads": 500, "ranks": 1}
    plugin |= {"steps_per_second": 500.0, "ns_per_day": 432.0, "memory_MB_per_rank": 300.0}
    plugin |= {"outside_model_percent": 4.0, "cpu_use_percent": 99.0}
    engine = {"section": "aa", "kind": "2 fs", "ranks": 1, "molecules": 500}
    engine |= {"steps_per_second": 1.0, "cpu_use_percent": 99.0}
    rows = [plugin, {**engine, "system": "slow", "ns_per_day": 5.0}]
    rows.append({**engine, "system": "quick", "ns_per_day": 43.2})
    # 30 fs passes by luck after 20 fs failed: it does not count; 40 fs stopped
    rows += [step(10.0, 0.1), step(30.0, 0.1), step(20.0, -0.35)]
    lost = {**step(40.0, 0.1), "drift": None, "failed": "LAMMPS stopped"}
    for key in ("drift_error", "temperature_K", "ns_per_day"):
        del lost[key]
    store = Store(None)
    for row in [*rows, lost]:
        store.add(row)
    text = markdown({"machine": MACHINE, "rows": store.rows})
    assert "| net | 10 | 432 | quick, 2 fs: 43.2 | 10.0 |" in text
    assert "| net | 40 | LAMMPS stopped | – | no | – |" in text


def test_stable_steps() -> None:
    from scale.fits import stable_steps

    def row(fs: float, drift: float | None, error: float, temperature: float) -> dict[str, Any]:
        return {
            **{"timestep_fs": fs, "drift": drift, "drift_error": error},
            "temperature_K": temperature,
        }

    rows = [row(5.0, 0.0, 0.01, 300.0), row(10.0, -0.2, 0.1, 304.0)]
    assert stable_steps(rows) == [5.0, 10.0]
    assert stable_steps([*rows, row(20.0, 0.2, 0.2, 300.0)]) == [5.0, 10.0]  # not known to be small
    assert stable_steps([*rows, row(20.0, 0.0, 0.01, 307.0)]) == [5.0, 10.0]
    assert stable_steps([*rows, row(8.0, None, 0.0, 0.0)]) == [5.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "a", "--name", "b", "--name", "c"], "--name is given once for each --train"),
        (["--table"], "--table needs --output"),
    ],
)
def test_wrong_options(words: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "speed.py"), *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_committed_rows_name_no_folders() -> None:
    path = FOLDER / "results.json"
    if not path.is_file():
        pytest.skip("no results are committed")
    text = path.read_text(encoding="utf-8")
    assert '"/' not in text
    assert "home" not in text
