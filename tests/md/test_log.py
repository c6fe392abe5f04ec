# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lammps_support import LJ, lattice, script

from cgpot.core.errors import DataError, InputError
from cgpot.formats.lammps.atomistic_thermo import parse_thermo
from cgpot.formats.lammps.cg_data import write_data
from cgpot.formats.lammps.log import cpu_use, last_step, merge, parse_log, read_log, unit_style
from cgpot.md.outputs import COLUMNS, merged_thermo, write_thermo_csv

THERMO = "thermo_style custom step time temp press pe c_virial pxy cpu"


def run(folder: Path, style: str, steps: int = 50) -> Path:
    write_data(folder / "s.data", lattice(3, 6.0))
    script(
        folder,
        f"units metal\natom_style molecular\nread_data s.data\n{LJ}\n"
        "velocity all create 300 5\nfix 1 all nve\ntimestep 0.005\n"
        "compute virial all pressure NULL virial\nthermo 10\n"
        f"{THERMO}\nthermo_modify line {style} format float %.10g\n"
        f"run {steps}\nrun 20\n",
        f"in.{style}",
    )
    return folder / f"in.{style}.log"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("logs")
    return {style: run(folder, style) for style in ("one", "multi", "yaml")}


def test_all_styles_give_the_same_numbers(logs: dict[str, Path]) -> None:
    tables = {style: read_log(path) for style, path in logs.items()}
    one = tables["one"]
    assert [len(t) for t in one] == [6, 3]
    assert list(one[0]["Step"]) == [0, 10, 20, 30, 40, 50]
    for style in ("multi", "yaml"):
        assert [len(t) for t in tables[style]] == [6, 3], style
        assert all(t.complete for t in tables[style]), style
        for a, b in zip(one, tables[style], strict=True):
            assert set(a.columns) == set(b.columns), style
            for name in set(a.columns) - {"CPU"}:
                # the multi style prints fewer digits
                np.testing.assert_allclose(b[name], a[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("style", ["one", "multi", "yaml"])
def test_cut_off_anywhere_gives_a_prefix(logs: dict[str, Path], style: str) -> None:
    text = logs[style].read_text()
    whole = parse_log(text, logs[style])
    begin = text.index("Per MPI rank")
    seen = set()
    for end in range(begin, len(text), 7):
        tables = parse_log(text[:end], logs[style])
        seen.add(tuple(len(t) for t in tables))
        for table, full in zip(tables, whole, strict=False):
            assert len(table) <= len(full)
            for name, values in table.columns.items():
                np.testing.assert_array_equal(values, full[name][: len(values)])
    assert {(1,), (3,), (6,), (6, 2)} <= seen


def test_pymatgen_fails_on_the_log_that_this_reader_is_for(
    logs: dict[str, Path], tmp_path: Path
) -> None:
    from pymatgen.io.lammps.outputs import parse_lammps_log

    text = logs["one"].read_text()
    cut = tmp_path / "cut.log"
    cut.write_text(text[: text.index("Loop time of")])
    with pytest.raises(ValueError, match="zip"):
        parse_lammps_log(str(cut))
    assert len(read_log(cut)[0]) == 6
    assert not read_log(cut)[0].complete


@pytest.mark.parametrize("style", ["one", "multi", "yaml"])
def test_the_mapping_reads_the_same_tables(logs: dict[str, Path], style: str) -> None:
    names, rows, units = parse_thermo(logs[style])
    assert units == "metal"
    tables = read_log(logs[style])
    for i, name in enumerate(names):
        np.testing.assert_array_equal(rows[:, i], np.concatenate([t[name] for t in tables]))


@pytest.mark.parametrize("style", ["one", "multi", "yaml"])
def test_a_run_behind_a_killed_one(logs: dict[str, Path], style: str) -> None:
    """A log appended to: the run that was killed ends where the next begins."""
    text = logs[style].read_text()
    killed = text[: text.index("Loop time of")].replace("...\n", "")
    tables = parse_log(killed + text, logs[style])
    assert [len(t) for t in tables] == [6, 6, 3]
    assert [t.complete for t in tables] == [False, True, True]


def test_tables_alone(logs: dict[str, Path]) -> None:
    """Files of thermo output without the rest of a log."""
    for style, head in (("one", "   Step"), ("yaml", "keywords:")):
        text = logs[style].read_text()
        alone = text[text.index(head) : text.index("Loop time of")]
        assert [len(t) for t in parse_log(alone, logs[style])] == [6]
    assert unit_style("units real\n  units   metal\nunits lj x\n") == "metal"
    assert unit_style("thermo 5\n") is None


def test_warnings_within_a_table(logs: dict[str, Path]) -> None:
    lines = logs["one"].read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[:1] == ["20"])
    lines.insert(row, "WARNING: Inconsistent image flags (src/domain.cpp:1051)")
    table = parse_log("\n".join(lines) + "\n", logs["one"])[0]
    assert list(table["Step"]) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("style", ["one", "multi", "yaml"])
def test_last_step(logs: dict[str, Path], style: str) -> None:
    text = logs[style].read_text()
    table = text[text.index("Per MPI rank") : text.index("Loop time of")]
    assert last_step(table) == 50
    assert last_step(table[: len(table) // 2]) in (0, 10, 20, 30)
    assert last_step("Setting up Verlet run ...\n  Unit style    : metal\n") is None


def test_merge_drops_what_was_computed_again(logs: dict[str, Path]) -> None:
    text = logs["one"].read_text()
    first, second = parse_log(text, logs["one"])
    assert second["Step"][0] == 50
    merged = merge([first, second])
    assert list(merged["Step"]) == [0, 10, 20, 30, 40, 50, 60, 70]
    again = merge([first, second, first])
    np.testing.assert_array_equal(again["Temp"], first["Temp"])


def test_cpu_use(logs: dict[str, Path]) -> None:
    used = cpu_use(logs["one"].read_text())
    assert used is not None
    assert used >= 0.0
    line = "% CPU use with 1 MPI tasks x 2 OpenMP threads"
    assert cpu_use(f"12.5{line}\nx\n187.3{line}\n") == 187.3
    assert cpu_use("nothing") is None


def test_errors_name_file_and_column(logs: dict[str, Path], tmp_path: Path) -> None:
    table = read_log(logs["one"])[0]
    with pytest.raises(InputError, match=r"in\.one\.log: .* no column 'Lx' \(columns: Step"):
        table["Lx"]
    with pytest.raises(InputError, match="no column 'KinEng'"):
        write_thermo_csv(tmp_path / "t.csv", table)
    assert not (tmp_path / "t.csv").exists()
    with pytest.raises(InputError, match="no such LAMMPS log"):
        read_log(tmp_path / "none.log")
    text = logs["one"].read_text()
    multi = parse_log(text.replace("c_virial", "c_other"), logs["one"])[0]
    with pytest.raises(InputError, match="differ from those of the segment before"):
        merge([table, multi])


def test_nan_is_refused_with_its_step(logs: dict[str, Path], tmp_path: Path) -> None:
    lines = logs["one"].read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[:1] == ["60"])
    values = lines[row].split()
    values[3] = "-nan"
    lines[row] = " ".join(values)
    bad = tmp_path / "bad.log"
    bad.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="'Press' is not a finite number at step 60"):
        merged_thermo([bad])
    empty = tmp_path / "empty.log"
    empty.write_text("LAMMPS\n")
    with pytest.raises(InputError, match="no thermo output"):
        merged_thermo([empty])


def test_columns_cover_the_decks(root: Path) -> None:
    deck = (root / "lammps_inputs" / "cg_nvt.lmp").read_text()
    assert len(COLUMNS) == 22
    assert "pxx pyy pzz pxy pxz pyz c_virial cpu" in deck
