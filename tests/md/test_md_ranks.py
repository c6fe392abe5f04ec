# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md`` on several MPI ranks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from lammps_support import app
from typer.testing import CliRunner

from cgpot.core.errors import ConfigError, ToolError
from cgpot.core.manifest import check_manifest
from cgpot.md import engine
from cgpot.md.engine import find_lammps
from cgpot.md.md_settings import load_config


def run(start: Path, pair: Path, out: Path, *more: object) -> dict:
    arguments = ["md", "nve", "--start", start, "--pair-file", pair, "-T", 300, "-o", out, "-q"]
    result = CliRunner().invoke(app(), [*map(str, arguments), *map(str, more)])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return dict(json.loads((out / "md.json").read_text()), printed=result.output)


def table(out: Path) -> tuple[list[str], np.ndarray]:
    lines = (out / "thermo.csv").read_text().splitlines()
    return lines[0].split(","), np.array([line.split(",") for line in lines[1:]], float)


def test_two_ranks_and_a_continuation_on_one(tmp_path: Path, lj_data: Path, lj_file: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    more = ("--thermo-ps", 0.1, "--dump-ps", 0.5)
    assert run(lj_data, lj_file, one, "--length-ps", 2, *more)["ranks"] == 1
    record = run(lj_data, lj_file, two, "--length-ps", 1, "--ranks", 2, *more)
    assert (record["ranks"], record["threads"], record["complete"]) == (2, 1, True)
    assert "2 rank(s) x 1 thread(s)" in record["printed"]
    assert check_manifest(two / "md.json", stage="lammps")["config"]["ranks"] == 2
    record = run(lj_data, lj_file, two, "--length-ps", 2, *more)
    assert record["ranks"] == 1
    assert [s["ranks"] for s in record["segments"]] == [2, 1]
    assert [s["last_step"] for s in record["segments"]] == [200, 400]
    assert all(s["cpu_use_percent"] > 0 for s in record["segments"])
    (names, a), (_, b) = table(one), table(two)
    assert len(a) == len(b) == 21
    # the first step as printed; later ones drift apart by rounding
    np.testing.assert_allclose(b[0], a[0], rtol=1e-9, atol=1e-9)
    energy = names.index("pe_eV")
    np.testing.assert_allclose(b[:, energy], a[:, energy], rtol=1e-6)


def test_ranks_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "md.yaml"
    file.write_text("start: a.data\npair_file: b\nranks: 4\n")
    assert load_config(file, {}).ranks == 4
    assert load_config(file, {"ranks": 2}).ranks == 2
    file.write_text("start: a.data\npair_file: b\nranks: 0\n")
    with pytest.raises(ConfigError, match="ranks"):
        load_config(file, {})


def test_without_mpiexec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_tool", lambda name: None)
    assert find_lammps().command
    with pytest.raises(ToolError, match="2 MPI ranks need 'mpiexec', found none"):
        find_lammps(ranks=2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('shift 2; "$@" & "$@"; wait', "started 2 LAMMPS of one rank each: either .* without MPI"),
        ("echo no slots; exit 7", r"does not start on 2 MPI ranks \(exit status 7\):\n  no slots"),
    ],
)
def test_an_mpiexec_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    program = tmp_path / "mpiexec"
    program.write_text(f"#!/bin/sh\n{body}\n")
    os.chmod(program, 0o755)
    monkeypatch.setattr(engine, "find_tool", lambda name: str(program))
    with pytest.raises(ToolError, match=message):
        find_lammps(ranks=2)
