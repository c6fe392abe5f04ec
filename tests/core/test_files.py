# SPDX-License-Identifier: GPL-2.0-or-later
"""Outputs appear whole or not at all; inputs are checked before they are read."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from cgpot.core import files
from cgpot.core.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_atomic_file(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "a.txt.xz"
    with files.atomic_path(final) as temporary:
        assert temporary.suffixes == [".txt", ".xz"]
        assert temporary.parent == final.parent
        temporary.write_text("x")
        assert not final.exists()
    assert final.read_text() == "x"
    assert names(final.parent) == ["a.txt.xz"]


def test_atomic_file_replaces(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.write_text("old")
    with files.atomic_path(final) as temporary:
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"


def write_half(final: Path, error: BaseException, *, folder: bool = False) -> None:
    with files.atomic_path(final) as temporary:
        if folder:
            temporary.mkdir()
            temporary = temporary / "half"
        temporary.write_text("half")
        raise error


def test_atomic_failure_leaves_the_old_file(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.write_text("old")
    with pytest.raises(RuntimeError, match="half"):
        write_half(final, RuntimeError("half way"))
    assert final.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_atomic_folder(tmp_path: Path) -> None:
    final = tmp_path / "d"
    final.mkdir()
    (final / "old").touch()
    with files.atomic_path(final) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert names(final) == ["new"]
    with pytest.raises(KeyboardInterrupt):
        write_half(final, KeyboardInterrupt(), folder=True)
    assert names(final) == ["new"]
    assert names(tmp_path) == ["d"]


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a", KeyboardInterrupt())
    assert names(tmp_path) == []


def test_atomic_block_that_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic_path(tmp_path / "a"):
        pass


def test_require_file(tmp_path: Path) -> None:
    p = tmp_path / "a.trr"
    with pytest.raises(InputError, match=r"a\.trr: no such trajectory"):
        files.require_file(p, "trajectory")
    p.touch()
    with pytest.raises(InputError, match=r"a\.trr: the trajectory is empty"):
        files.require_file(p, "trajectory")
    with pytest.raises(InputError, match="expected a trajectory, found a folder"):
        files.require_file(tmp_path, "trajectory")
    p.write_text("x")
    assert files.require_file(str(p)) == p


def test_sha256(tmp_path: Path) -> None:
    p = tmp_path / "a"
    p.write_bytes(b"abc" * 1_000_000)
    assert files.sha256_file(p) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    # FIPS 180-2, appendix B.1
    p.write_bytes(b"abc")
    assert files.sha256_file(p).startswith("ba7816bf8f01cfea414140de5dae2223")


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"ä": "ω"}}
    p = files.write_json(tmp_path / "a.json", value)
    assert files.read_json(p) == value
    assert p.read_text().index('"b"') < p.read_text().index('"a"')


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"x": math.nan})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b'{"a": 1,}'])
def test_damaged_json(tmp_path: Path, content: bytes) -> None:
    p = tmp_path / "a.json"
    p.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        files.read_json(p)


@pytest.mark.parametrize(
    ("value", "found"), [({"format": "b-1"}, "'b-1'"), ({}, "None"), ([], "None")]
)
def test_records_state_their_format(tmp_path: Path, value: object, found: str) -> None:
    p = files.write_json(tmp_path / "a.json", value)
    with pytest.raises(InputError, match=f"expected a table of format 'a-1', found {found}"):
        files.read_record(p, "a-1", "a table")
    record = {"format": "a-1", "x": 1}
    assert files.read_record(files.write_json(p, record), "a-1", "a table") == record


@pytest.mark.parametrize(
    ("suffix", "magic"), [("", b"gr\xc3"), (".xz", b"\xfd7zXZ"), (".gz", b"\x1f\x8b")]
)
def test_open_text_compresses_by_name(tmp_path: Path, suffix: str, magic: bytes) -> None:
    p = tmp_path / f"a.txt{suffix}"
    with files.open_text(p, "w") as stream:
        stream.write("grün\n")
    assert p.read_bytes().startswith(magic)
    with files.open_text(p) as stream:
        assert stream.read() == "grün\n"


def test_open_text_takes_the_kind_from_another_name(tmp_path: Path) -> None:
    p = tmp_path / "temporary"
    with files.open_text(p, "w", kind="data.xz") as stream:
        stream.write("x")
    assert p.read_bytes().startswith(b"\xfd7zXZ")
