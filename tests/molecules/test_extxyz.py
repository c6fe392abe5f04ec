# SPDX-License-Identifier: GPL-2.0-or-later
"""Data sets: what is written comes back; what is damaged is refused with its frame."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest

from cgpot.core.errors import DataError, InputError
from cgpot.molecules.extxyz import ExtxyzWriter, read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology

POSITION_TOLERANCE = 0.5e-4 + 1e-9
"""Å: positions are written with four decimals."""
FORCE_TOLERANCE = 0.5e-5 + 1e-9
"""eV/Å: forces are written with five decimals."""
CELL = np.array([[20.0, 0.0, 0.0], [3.0, 25.0, 0.0], [-4.0, 5.0, 30.0]])


def make(
    rng: np.random.Generator,
    *,
    n: int = 5,
    names: tuple[str, ...] = ("BNZ",),
    masses: tuple[float, ...] = (78.114,),
    **change: object,
) -> CGFrame:
    w = rng.normal(size=(3, 3))
    values: dict[str, object] = {
        "forces": rng.normal(size=(n, 3)),
        "virial": w + w.T,
        "time": 0.5,
        "source_frame": 3,
    }
    return CGFrame(
        topology=Topology(names, masses, np.arange(n) % len(names), np.arange(n) // 2),
        positions=rng.uniform(-5, 40, size=(n, 3)),
        cell=CELL,
        **(values | change),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_round_trip(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    frames = [make(rng, names=("A", "B1"), masses=(78.114, 15.5)) for _ in range(4)]
    path = tmp_path / f"a.extxyz{suffix}"
    assert write_frames(path, frames) == 4
    back = list(read_frames(path))
    assert len(back) == 4
    for old, new in zip(frames, back, strict=True):
        assert old.topology.same_as(new.topology)
        assert new.topology.type_masses == (78.114, 15.5)
        np.testing.assert_allclose(new.positions, old.positions, rtol=0, atol=POSITION_TOLERANCE)
        np.testing.assert_allclose(new.forces, old.forces, rtol=0, atol=FORCE_TOLERANCE)
        np.testing.assert_allclose(new.cell, old.cell, rtol=1e-12)
        np.testing.assert_allclose(new.virial, old.virial, rtol=1e-10, atol=1e-12)
        assert (new.time, new.source_frame, new.pbc) == (0.5, 3, (True, True, True))


@pytest.mark.parametrize("absent", ["forces", "virial", "time", "source_frame"])
def test_optional_quantities(tmp_path: Path, rng: np.random.Generator, absent: str) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng, **{absent: None})])
    back = next(read_frames(path))
    for name in ("forces", "virial", "time", "source_frame"):
        assert (getattr(back, name) is None) == (name == absent)


@pytest.mark.parametrize(
    "names", [("T",), ("T", "F"), ("12",), ("1", "2"), ("1e5",), ("True", "X")]
)
def test_names_that_look_like_values(
    tmp_path: Path, rng: np.random.Generator, names: tuple[str, ...]
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng, names=names, masses=(1.0, 2.0)[: len(names)])])
    assert next(read_frames(path)).topology.type_names == names


def test_what_ase_and_nequip_see(tmp_path: Path, rng: np.random.Generator) -> None:
    frame = make(rng)
    path = tmp_path / "a.extxyz"
    write_frames(path, [frame])
    atoms = ase.io.read(path)
    assert set(atoms.get_chemical_symbols()) == {"X"}
    assert "energy" not in atoms.calc.results
    assert atoms.arrays["atom_types"].dtype.kind == "i"
    np.testing.assert_allclose(
        atoms.get_stress(voigt=False), -frame.virial / frame.volume, rtol=1e-10
    )
    np.testing.assert_allclose(atoms.get_forces(), frame.forces, rtol=0, atol=FORCE_TOLERANCE)


def test_an_exception_leaves_no_file(tmp_path: Path, rng: np.random.Generator) -> None:
    def frames() -> Iterator[CGFrame]:
        yield make(rng)
        raise RuntimeError("the trajectory ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        write_frames(tmp_path / "a.extxyz.xz", frames())
    assert list(tmp_path.iterdir()) == []


def test_writer_outside_its_block(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        ExtxyzWriter(tmp_path / "a.extxyz").write(make(rng))


@pytest.fixture
def good(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng) for _ in range(3)])
    return path


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.extxyz: no such data set"):
        next(read_frames(tmp_path / "no.extxyz"))
    path = tmp_path / "blank.extxyz"
    path.write_text("\n\n")
    with pytest.raises(InputError, match=r"blank\.extxyz: no frames in the data set"):
        next(read_frames(path))


def edit(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new, 1)
    path.write_text("".join(lines))


# a frame is seven lines: 7 is the site count of frame 1, 8 its comment, 9 its first site
@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (7, "5", "five", "expected a number of sites, found 'five'"),
        (7, "5", "-5", "expected a number of sites, found '-5'"),
        (7, "5", "0", "expected a number of sites, found '0'"),
        (7, "5", "6", "damaged frame"),
        (9, "X", "X X", "damaged frame"),
        (9, ".", ".x", "damaged frame"),
        (8, "atom_types", "atom_kinds", "the column 'atom_types' is missing; expected .*cgpot map"),
        (8, "molecule_ids", "mol", "the column 'molecule_ids' is missing"),
        (8, "bead_type_names", "names", "key 'bead_type_names'.*the key is missing"),
        (8, "bead_type_masses", "masses", "key 'bead_type_masses'.*the key is missing"),
        (8, "Lattice", "Box", "the cell has no volume; expected three box vectors under 'Lattice'"),
    ],
)
def test_damaged_frame(good: Path, line: int, old: str, new: str, message: str) -> None:
    edit(good, line, old, new)
    frames = read_frames(good)
    next(frames)
    with pytest.raises(
        InputError, match=rf"a\.extxyz, (key '\w+', )?frame 1: |{message}"
    ) as caught:
        next(frames)
    assert caught.value.frame == 1
    assert caught.match(message)


def test_fewer_sites_than_lines(good: Path) -> None:
    edit(good, 0, "5", "4")
    with pytest.raises(InputError, match="frame 1: expected a number of sites, found 'X "):
        list(read_frames(good))


def test_masses_that_are_no_numbers(good: Path) -> None:
    edit(good, 8, "bead_type_masses=78.114", "bead_type_masses=heavy")
    with pytest.raises(
        InputError, match=r"key 'bead_type_masses', frame 1: expected masses in amu"
    ):
        list(read_frames(good))


def test_not_a_number(good: Path) -> None:
    lines = good.read_text().splitlines(keepends=True)
    words = lines[16].split()
    words[1] = "nan"
    lines[16] = " ".join(words) + "\n"
    good.write_text("".join(lines))
    with pytest.raises(DataError, match=r"a\.extxyz, frame 2: positions hold NaN or infinity"):
        list(read_frames(good))


@pytest.mark.parametrize(("cut", "frame"), [(-1, 2), (-30, 2), (-500, 2)])
def test_truncated_text(good: Path, cut: int, frame: int) -> None:
    good.write_text(good.read_text()[:cut])
    with pytest.raises(InputError, match=rf"a\.extxyz, frame {frame}: (truncated|damaged) frame"):
        list(read_frames(good))


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_truncated_and_damaged_compression(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    path = tmp_path / f"a.extxyz{suffix}"
    write_frames(path, [make(rng, n=50) for _ in range(20)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"frame \d+: truncated file: Compressed file ended"):
        list(read_frames(path))
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(InputError, match=r"frame \d+: (damaged|truncated|not a text)"):
        list(read_frames(path))
    path.write_text("5\nnot compressed at all\n")
    with pytest.raises(InputError, match=r"frame 0: damaged file: "):
        list(read_frames(path))


def test_binary_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(InputError, match=r"frame 0: not a text file"):
        list(read_frames(path))


@pytest.mark.parametrize(
    "other",
    [{"names": ("TOL",)}, {"masses": (92.14,)}],
)
def test_two_systems_in_one_file(
    tmp_path: Path, rng: np.random.Generator, other: dict[str, object]
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng), make(rng), make(rng, **other)])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"frame 2: .*one data set holds one system"):
        list(read_frames(path))


def test_memory_stays_flat(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.extxyz.xz"
    write_frames(path, [make(rng, n=200)] * 60)

    def peak(frames: int) -> int:
        tracemalloc.start()
        for _, _ in zip(range(frames), read_frames(path), strict=False):
            gc.collect()  # ase.Atoms and their calculators refer to each other
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    peak(2)  # imports
    assert peak(60) < 1.5 * peak(6)


@pytest.mark.parametrize("energy", [None, -12.345678901])
def test_the_energy_is_kept_where_there_is_one(
    tmp_path: Path, rng: np.random.Generator, energy: float | None
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng, energy=energy)])
    assert ("energy=" in path.read_text().splitlines()[1]) == (energy is not None)
    back = next(iter(read_frames(path)))
    assert back.energy == energy
    assert ase.io.read(path).calc.results.get("energy") == energy


def test_an_energy_that_is_not_finite_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="energy hold NaN or infinity"):
        write_frames(tmp_path / "a.extxyz", [make(rng, energy=float("nan"))])


def test_columns_read_here_are_those_of_ase(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.extxyz"
    write_frames(path, [make(rng) for _ in range(2)])
    ours = list(read_frames(path))
    monkeypatch.setattr("cgpot.molecules.extxyz.reader._table", lambda lines: None)
    for new, old in zip(ours, read_frames(path), strict=True):
        assert new.topology.same_as(old.topology)
        for name in ("positions", "cell", "forces", "virial"):
            np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
