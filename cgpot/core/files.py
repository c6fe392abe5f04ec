# SPDX-License-Identifier: GPL-2.0-or-later
"""Files: hashes, existence checks, and outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import lzma
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cgpot.core.errors import InputError


def require_file(path: str | Path, what: str = "file") -> Path:
    """The path, if it is a file that is not empty.

    Raises:
        InputError: no such file, a folder, or an empty file.
    """
    p = Path(path)
    if not p.exists():
        raise InputError(f"no such {what}", file=p)
    if not p.is_file():
        raise InputError(f"expected a {what}, found a folder", file=p)
    if p.stat().st_size == 0:
        raise InputError(f"the {what} is empty", file=p)
    return p


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffixes) that becomes ``path`` on success.

    On an exception the temporary file or folder is removed and ``path`` stays as it was.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{final.name}")
    try:
        yield temporary
        if temporary.is_dir() and final.is_dir():
            shutil.rmtree(final)
        os.replace(temporary, final)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file whole (temporary name, then rename)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Write JSON, indented, keys in the given order; NaN is refused.

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        InputError: missing, empty or not JSON (line and column named).
    """
    p = require_file(path, "JSON file")
    try:
        return json.loads(p.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"not valid JSON: {err}", file=p) from err


def read_record(path: str | Path, form: str, what: str) -> dict[str, Any]:
    """Read a JSON object that states its format.

    Args:
        path: the file.
        form: expected value of the key ``format``.
        what: what the file holds, for the message.

    Raises:
        InputError: missing, empty, not JSON, or of another format.
    """
    record = read_json(path)
    found = record.get("format") if isinstance(record, dict) else None
    if found != form:
        raise InputError(
            f"expected {what} of format {form!r}, found {found!r}", file=path, key="format"
        )
    return dict(record)


def thermo_path(data_set: str | Path) -> Path:
    """The table (``.thermo.csv``) that the mapping writes beside a data set."""
    p = Path(data_set)
    name = p.name
    for suffix in (".xz", ".gz", ".extxyz", ".xyz"):
        name = name.removesuffix(suffix)
    return p.with_name(f"{name}.thermo.csv")


def open_text(
    path: str | Path, mode: str = "r", kind: str | Path | None = None, errors: str = "strict"
) -> IO[str]:
    """Open a text file, through xz or gzip when the name (or ``kind``) ends so.

    `errors` says what becomes of bytes that are not UTF-8, as in Python's ``open``.
    """
    name = str(kind if kind is not None else path)
    text_mode = mode + "t"
    if name.endswith(".xz"):
        return lzma.open(path, text_mode, encoding="utf-8", errors=errors)  # type: ignore[return-value]
    if name.endswith(".gz"):
        return gzip.open(path, text_mode, encoding="utf-8", errors=errors)  # type: ignore[return-value]
    return open(path, mode, encoding="utf-8", errors=errors)
