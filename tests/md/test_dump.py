# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_support import LJ, lattice, script

from cgpot.core.errors import InputError
from cgpot.core.units import KCAL_MOL
from cgpot.formats.lammps.cg_data import write_data
from cgpot.formats.lammps.cg_dump import merged_dumps, read_dump, to_frame


def dump(folder: Path, units: str = "metal", modify: str = "units yes time yes") -> Path:
    frame = lattice(3, 6.0, names=("AA", "B2"))
    cell = np.array([[18.0, 0, 0], [2.0, 18.0, 0], [-3.0, 1.0, 18.0]])
    inside = frame.positions @ np.linalg.inv(frame.cell)
    frame = replace(frame, positions=inside @ cell, cell=cell)
    write_data(folder / "s.data", frame)
    pair = LJ if units == "metal" else LJ.replace("0.03 ", f"{0.03 / KCAL_MOL:.12g} ")
    script(
        folder,
        f"units {units}\natom_style molecular\nread_data s.data\n{pair}\n"
        "velocity all create 900 5\nfix 1 all nve\n"
        f"dump 1 all custom 100 {units}.dump id mol type x y z ix iy iz fx fy fz\n"
        f"dump_modify 1 {modify} format float %.10g\nrun 500\n",
    )
    return folder / f"{units}.dump"


def test_reads_steps_times_sites_and_images(tmp_path: Path) -> None:
    path = dump(tmp_path)
    snapshots = list(read_dump(path))
    assert [s.step for s in snapshots] == [0, 100, 200, 300, 400, 500]
    # units metal: 1 fs steps
    np.testing.assert_allclose([s.time for s in snapshots], [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    start = snapshots[0]
    np.testing.assert_allclose(start.cell, [[18, 0, 0], [2, 18, 0], [-3, 1, 18]], atol=1e-9)
    frame = to_frame(snapshots[-1], ("AA", "B2"), (78.114, 88.114))
    assert frame.topology.names[:4] == ["AA", "B2", "AA", "B2"]
    assert list(frame.topology.molecules) == list(range(27))
    fractional = frame.positions @ np.linalg.inv(frame.cell)
    assert fractional.min() >= 0.0
    assert fractional.max() < 1.0
    # wrapped positions and image flags differ from the start by less than a sigma
    last = snapshots[-1]
    assert last.images is not None
    assert start.images is not None
    moved = (last.positions + last.images @ last.cell) - (
        start.positions + start.images @ start.cell
    )
    assert 0.05 < np.abs(moved).max() < 5.0


def test_units_real_are_converted(tmp_path: Path) -> None:
    metal = next(read_dump(dump(tmp_path)))
    real_path = dump(tmp_path, "real")
    real = list(read_dump(real_path))
    assert metal.forces is not None
    assert real[0].forces is not None
    np.testing.assert_allclose(real[0].forces, metal.forces, rtol=1e-6, atol=1e-9)
    assert real[-1].time == pytest.approx(0.5)


def test_truncated_dump(tmp_path: Path) -> None:
    path = dump(tmp_path)
    text = path.read_text()
    third = [i for i in range(len(text)) if text.startswith("ITEM: TIMESTEP", i)][2]
    for end in range(third + 10, third + 900, 37):
        path.write_text(text[:end])
        assert [s.step for s in read_dump(path, truncated=True)] == [0, 100]
        with pytest.raises(InputError, match=r"metal\.dump, frame 2: truncated"):
            list(read_dump(path))


def test_damaged_dumps_name_the_frame(tmp_path: Path) -> None:
    path = dump(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("id mol type x", "id type x"))
    with pytest.raises(InputError, match=r"frame 0: damaged frame: the columns \['mol'\]"):
        list(read_dump(path))
    path.write_text(text.replace("ITEM: UNITS\nmetal\n", ""))
    with pytest.raises(InputError, match="no 'ITEM: UNITS'"):
        list(read_dump(path))
    path.write_text(text.replace("ITEM: UNITS\nmetal", "ITEM: UNITS\nlj"))
    with pytest.raises(Exception, match="LAMMPS units 'lj' are not supported"):
        list(read_dump(path))
    rows = text.splitlines()
    second = [i for i, row in enumerate(rows) if row.startswith("ITEM: ATOMS")][1]
    rows[second + 3] = "oops"
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="frame 1: damaged frame"):
        list(read_dump(path))
    with pytest.raises(InputError, match="no such LAMMPS dump"):
        list(read_dump(tmp_path / "none.dump"))


def test_merged_dumps_take_the_later_segment(tmp_path: Path) -> None:
    path = dump(tmp_path)
    text = path.read_text()
    starts = [i for i in range(len(text)) if text.startswith("ITEM: TIMESTEP", i)]
    cut = tmp_path / "run.0.dump"
    cut.write_text(text[: starts[4] + 300])
    later = tmp_path / "run.1.dump"
    later.write_text("ITEM: UNITS\nmetal\n" + text[starts[2] :].replace("\n1 1 1 ", "\n1 1 2 "))
    merged = list(merged_dumps([cut, tmp_path / "missing.dump", later]))
    assert [s.step for s in merged] == [0, 100, 200, 300, 400, 500]
    assert [int(s.types[0]) for s in merged] == [1, 1, 2, 2, 2, 2]
